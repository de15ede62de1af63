/*
 * The doors of the kernel. Where success would change the machine (a module loaded, the clock set, a reboot) the call
 * has an argument that the kernel refuses after it has looked at the privilege: outside it says so (EINVAL, EBADF,
 * ENOENT), inside it does not come that far.
 */
#include "probe.h"

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <termios.h>
#include <time.h>

/* A call whose success gives a descriptor. */
static int opens(long fd) {
  if (fd == -1) return errno;
  close((int)fd);
  return 0;
}

static int bpf_map(void) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.map_type = BPF_MAP_TYPE_ARRAY;
  attr.key_size = 4;
  attr.value_size = 4;
  attr.max_entries = 1;
  return opens(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static int bpf_program(void) {
  /* r0 = 0; exit */
  const struct bpf_insn code[] = {{.code = 0xb7, .imm = 0}, {.code = 0x95}};
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attr.insns = (uintptr_t)code;
  attr.insn_cnt = 2;
  attr.license = (uintptr_t) "GPL";
  return opens(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
}

static int keyring(void) {
  /* KEYCTL_GET_KEYRING_ID of the session's keyring, which is made when there is none. */
  TRY(syscall(SYS_keyctl, 0, -3, 1));
  return 0;
}
static int keyring_of_user(void) {
  /* KEYCTL_GET_KEYRING_ID of the user's keyring, which all processes of the uid share, whatever their namespaces. */
  TRY(syscall(SYS_keyctl, 0, -4, 1));
  return 0;
}
static int add_key(void) {
  /* Into the process's own keyring, which ends with it. */
  TRY(syscall(SYS_add_key, "user", "modhost-escape", "x", 1, -2));
  return 0;
}
static int request_key(void) {
  /* Nobody has this key: the kernel looks for it and says so. */
  TRY(syscall(SYS_request_key, "user", "modhost-escape-absent", NULL, 0));
  return 0;
}

static int uring(void) {
  unsigned char params[120];
  memset(params, 0, sizeof params);
  return opens(syscall(SYS_io_uring_setup, 1, params));
}
static int uring_enter(void) {
  TRY(syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0));
  return 0;
}
static int uring_register(void) {
  TRY(syscall(SYS_io_uring_register, -1, 0, NULL, 0));
  return 0;
}

static int perf(void) {
  struct perf_event_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.type = PERF_TYPE_SOFTWARE;
  attr.size = sizeof attr;
  attr.config = PERF_COUNT_SW_CPU_CLOCK;
  attr.exclude_kernel = 1;
  return opens(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static int fault_handler(void) {
  /* UFFD_USER_MODE_ONLY: allowed to everybody by default. */
  return opens(syscall(SYS_userfaultfd, O_CLOEXEC | 1));
}

static int fanotify(void) { return opens(syscall(SYS_fanotify_init, 0, O_RDONLY)); }

static int kexec(void) {
  TRY(syscall(SYS_kexec_load, 0, 1000, NULL, 0));
  return 0;
}
static int kexec_file(void) {
  TRY(syscall(SYS_kexec_file_load, -1, -1, 0, NULL, 0xffff0000));
  return 0;
}
static int load_module(void) {
  static const char image[256] = "no module";
  TRY(syscall(SYS_init_module, image, sizeof image, ""));
  return 0;
}
static int load_module_file(void) {
  TRY(syscall(SYS_finit_module, -1, "", 0));
  return 0;
}
static int remove_module(void) {
  TRY(syscall(SYS_delete_module, "modhost_escape_absent", O_NONBLOCK));
  return 0;
}

static int randomization_off(void) {
  /* ADDR_NO_RANDOMIZE */
  TRY(syscall(SYS_personality, 0x0040000));
  return 0;
}

static int disk_quota(void) {
  /* Q_SYNC of all file systems: flushes, changes nothing. */
  TRY(syscall(SYS_quotactl, 0x800001 << 8, NULL, 0, NULL));
  return 0;
}
static int swap_on(void) {
  TRY(syscall(SYS_swapon, "/modhost-escape-absent", 0));
  return 0;
}
static int swap_off(void) {
  TRY(syscall(SYS_swapoff, "/modhost-escape-absent"));
  return 0;
}
static int reboot_machine(void) {
  /* Wrong magic numbers. */
  TRY(syscall(SYS_reboot, 1, 2, 3, NULL));
  return 0;
}
static int accounting(void) {
  TRY(syscall(SYS_acct, "/modhost-escape-absent"));
  return 0;
}
static int kernel_log(void) {
  char text[256];
  /* SYSLOG_ACTION_READ_ALL */
  TRY(syscall(SYS_syslog, 3, text, sizeof text));
  return 0;
}
static int set_time(void) {
  const struct timeval impossible = {.tv_sec = 0, .tv_usec = 2000000};
  TRY(syscall(SYS_settimeofday, &impossible, NULL));
  return 0;
}
static int set_clock(void) {
  const struct timespec impossible = {.tv_sec = 0, .tv_nsec = -1};
  TRY(syscall(SYS_clock_settime, CLOCK_REALTIME, &impossible));
  return 0;
}
static int adjust_clock(void) {
  struct timex question;
  memset(&question, 0, sizeof question);
  TRY(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &question));
  return 0;
}

static int host_name(void) {
  char name[256];
  TRY(gethostname(name, sizeof name));
  TRY(sethostname(name, strlen(name)));
  return 0;
}
static int domain_name(void) {
  TRY(setdomainname("modhost", 7));
  return 0;
}

/* A terminal of its own, and typing into it as if somebody had: how one comes back into the shell that started one. */
static int own_terminal(void) {
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master == -1 || grantpt(master) == -1 || unlockpt(master) == -1) return -1;
  setsid();
  int terminal = open(ptsname(master), O_RDWR);
  if (terminal != -1) ioctl(terminal, TIOCSCTTY, 0);
  return terminal;
}
static int terminal_request(unsigned long request, void *argument) {
  int terminal = own_terminal();
  TRY(terminal);
  TRY(syscall(SYS_ioctl, terminal, request, argument));
  return 0;
}
static int type_into_terminal(void) { return terminal_request(TIOCSTI, "x"); }
/* The kernel drops the upper half of the request; a filter that compared it would let this through. */
static int type_with_high_bits(void) { return terminal_request(TIOCSTI | 0x100000000ul, "x"); }
static int paste_into_console(void) {
  char subcode[] = {3};
  return terminal_request(TIOCLINUX, subcode);
}
static int line_discipline(void) {
  int number = 0;
  return terminal_request(TIOCSETD, &number);
}

static int system_control(void) {
#ifdef SYS_iopl
  TRY(syscall(SYS_iopl, 3));
#else
  errno = ENOSYS;
  return errno;
#endif
  return 0;
}
static int port_access(void) {
#ifdef SYS_ioperm
  TRY(syscall(SYS_ioperm, 0x80, 1, 1));
#else
  errno = ENOSYS;
  return errno;
#endif
  return 0;
}
static int segment_table(void) {
#ifdef SYS_modify_ldt
  char table[64];
  TRY(syscall(SYS_modify_ldt, 0, table, sizeof table));
#else
  errno = ENOSYS;
  return errno;
#endif
  return 0;
}

/* The 32-bit entry of x86-64: getpid through `int 0x80`. The x32 table: getpid with bit 30. */
static int entry_32(void) {
#ifdef __x86_64__
  int answer;
  __asm__ volatile("int $0x80" : "=a"(answer) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
  return answer > 0 ? 0 : -answer;
#else
  return ENOSYS;
#endif
}
static int entry_x32(void) {
  TRY(syscall(0x40000000 | SYS_getpid));
  return 0;
}
static int future_call(void) {
  /* listxattrat of Linux 6.13 stands for every call that the filter has not judged. */
  TRY(syscall(465, AT_FDCWD, param("data"), 0, NULL, 0));
  return 0;
}
static int old_x32_call(void) {
  /* 520 was execve of x32, reachable without bit 30. */
  TRY(syscall(520, "/modhost-escape-absent", NULL, NULL));
  return 0;
}
static int memory_policy(void) {
  TRY(syscall(SYS_set_mempolicy, 0, NULL, 0));
  return 0;
}
static int list_mounts(void) {
  /* listmount with a request that is too short to be one. */
  const uint64_t request[3] = {1, 0, 0};
  TRY(syscall(458, request, NULL, 0, 0));
  return 0;
}

const struct probe kernel_probes[] = {
    {"bpf-map", bpf_map},
    {"bpf-program", bpf_program},
    {"keyctl-session", keyring},
    {"keyctl-user", keyring_of_user},
    {"add-key", add_key},
    {"request-key", request_key},
    {"io-uring-setup", uring},
    {"io-uring-enter", uring_enter},
    {"io-uring-register", uring_register},
    {"perf-event", perf},
    {"userfaultfd", fault_handler},
    {"fanotify", fanotify},
    {"kexec", kexec},
    {"kexec-file", kexec_file},
    {"init-module", load_module},
    {"finit-module", load_module_file},
    {"delete-module", remove_module},
    {"personality", randomization_off},
    {"quotactl", disk_quota},
    {"swapon", swap_on},
    {"swapoff", swap_off},
    {"reboot", reboot_machine},
    {"acct", accounting},
    {"syslog", kernel_log},
    {"settimeofday", set_time},
    {"clock-settime", set_clock},
    {"clock-adjtime", adjust_clock},
    {"sethostname", host_name},
    {"setdomainname", domain_name},
    {"tiocsti", type_into_terminal},
    {"tiocsti-high-bits", type_with_high_bits},
    {"tioclinux", paste_into_console},
    {"tiocsetd", line_discipline},
    {"iopl", system_control},
    {"ioperm", port_access},
    {"modify-ldt", segment_table},
    {"entry-32-bit", entry_32},
    {"entry-x32", entry_x32},
    {"future-call", future_call},
    {"old-x32-call", old_x32_call},
    {"set-mempolicy", memory_policy},
    {"listmount", list_mounts},
    {NULL, NULL},
};
