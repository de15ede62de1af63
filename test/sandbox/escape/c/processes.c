/* Other processes, and privileges over them. */
#include "probe.h"

#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* A child that waits until it is killed, to be looked into. */
static pid_t waiting_child(void) {
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  return child;
}

static int with_child(int (*act)(pid_t child)) {
  pid_t child = waiting_child();
  TRY(child);
  int answer = act(child);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  return answer;
}

static int attach(pid_t child) {
  TRY(ptrace(PTRACE_ATTACH, child, NULL, NULL));
  waitpid(child, NULL, __WALL);
  ptrace(PTRACE_DETACH, child, NULL, NULL);
  return 0;
}
static int ptrace_child(void) { return with_child(attach); }
static int seize(pid_t child) {
  TRY(ptrace(PTRACE_SEIZE, child, NULL, NULL));
  return 0;
}
static int ptrace_seize(void) { return with_child(seize); }
static int ptrace_trace_me(void) {
  TRY(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
  return 0;
}

static char memory[] = "text of a child";
static int read_memory(pid_t child) {
  char text[sizeof memory];
  const struct iovec here = {text, sizeof text};
  const struct iovec there = {memory, sizeof memory};
  TRY(process_vm_readv(child, &here, 1, &there, 1, 0));
  return 0;
}
static int memory_read(void) { return with_child(read_memory); }
static int write_memory(pid_t child) {
  const struct iovec here = {memory, sizeof memory};
  const struct iovec there = {memory, sizeof memory};
  TRY(process_vm_writev(child, &here, 1, &there, 1, 0));
  return 0;
}
static int memory_write(void) { return with_child(write_memory); }

static int take_descriptor(pid_t child) {
  int process = (int)syscall(SYS_pidfd_open, child, 0);
  TRY(process);
  int fd = (int)syscall(SYS_pidfd_getfd, process, 1, 0);
  TRY(fd);
  close(fd);
  return 0;
}
static int descriptor_of_child(void) { return with_child(take_descriptor); }

static int compare(pid_t child) {
  TRY(syscall(SYS_kcmp, getpid(), child, 0, 1, 1));
  return 0;
}
static int compare_kernel_objects(void) { return with_child(compare); }

static int advise(pid_t child) {
  int process = (int)syscall(SYS_pidfd_open, child, 0);
  TRY(process);
  const struct iovec there = {(void *)((uintptr_t)memory & ~4095ul), 4096};
  /* MADV_COLD */
  TRY(syscall(SYS_process_madvise, process, &there, 1, 20, 0));
  return 0;
}
static int advise_child(void) { return with_child(advise); }

/* The first process of the sandbox holds it together: who writes into its memory outlives the host. */
static int of_first(const char *file, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/%s", param("first"), file);
  return open_path(path, flags);
}
static int first_process_memory(void) { return of_first("mem", O_RDWR); }
static int first_process_descriptors(void) { return of_first("fd", O_RDONLY | O_DIRECTORY); }
static int first_process_environment(void) { return of_first("environ", O_RDONLY); }
static int first_process_arguments(void) { return of_first("cmdline", O_RDONLY); }
static int first_process_thread_memory(void) {
  char file[64];
  snprintf(file, sizeof file, "task/%s/mem", param("first"));
  return of_first(file, O_RDWR);
}

/* Any process but this one and the one that counts the probes. */
static int any_foreign_memory(void) {
  DIR *proc = opendir("/proc");
  if (proc == NULL) return errno;
  int answer = ESRCH;
  for (struct dirent *entry; answer != 0 && (entry = readdir(proc)) != NULL;) {
    int pid = atoi(entry->d_name);
    if (pid <= 0 || pid == getpid() || pid == getppid()) continue;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    answer = open_path(path, O_RDWR);
  }
  closedir(proc);
  return answer;
}

static int of_host(const char *file, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/%s", param("hostpid"), file);
  return open_path(path, flags);
}
static int host_memory(void) { return of_host("mem", O_RDWR); }
static int host_maps(void) { return of_host("maps", O_RDONLY); }
static int host_status(void) { return of_host("status", O_RDONLY); }
static int host_oom_score(void) { return of_host("oom_score_adj", O_WRONLY); }

static int signals(const char *name) {
  TRY(kill(number(name), 0));
  return 0;
}
static int signal_host(void) { return signals("hostpid"); }
static int signal_other_module(void) { return signals("otherpid"); }
static int handle_host(void) {
  int fd = (int)syscall(SYS_pidfd_open, number("hostpid"), 0);
  TRY(fd);
  TRY(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
  close(fd);
  return 0;
}
static int renice_other_module(void) {
  errno = 0;
  int now = getpriority(PRIO_PROCESS, (id_t)number("otherpid"));
  if (errno != 0) return errno;
  TRY(setpriority(PRIO_PROCESS, (id_t)number("otherpid"), now));
  return 0;
}
static int limit_of_host(void) {
  struct rlimit limit;
  TRY(prlimit(number("hostpid"), RLIMIT_NOFILE, NULL, &limit));
  return 0;
}
static int affinity_of_host(void) {
  cpu_set_t cpus;
  TRY(sched_getaffinity(number("hostpid"), sizeof cpus, &cpus));
  return 0;
}

/* Up to the hard limit is allowed to everybody, or the probe says nothing; one above it is the question. */
static int raise_limit(int resource) {
  struct rlimit limit;
  TRY(getrlimit(resource, &limit));
  limit.rlim_cur = limit.rlim_max;
  TRY(setrlimit(resource, &limit));
  if (limit.rlim_max == RLIM_INFINITY) return 0;
  limit.rlim_max++;
  TRY(setrlimit(resource, &limit));
  return 0;
}
static int raise_open_files(void) { return raise_limit(RLIMIT_NOFILE); }
static int raise_core_size(void) { return raise_limit(RLIMIT_CORE); }

static int nice_negative(void) {
  TRY(setpriority(PRIO_PROCESS, 0, -5));
  return 0;
}
static int real_time(void) {
  const struct sched_param param = {.sched_priority = 1};
  TRY(sched_setscheduler(0, SCHED_FIFO, &param));
  return 0;
}
static int deadline(void) {
  const struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes = {48, 6, 0, 0, 0, 1000000, 100000000, 100000000};
  TRY(syscall(SYS_sched_setattr, 0, &attributes, 0));
  return 0;
}
static int io_real_time(void) {
  TRY(syscall(SYS_ioprio_set, 1, 0, 1 << 13));
  return 0;
}
static int lock_all_memory(void) {
  TRY(mlockall(MCL_FUTURE));
  void *at = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return errno;
  munmap(at, 64 << 20);
  return 0;
}
static int oom_immunity(void) {
  int fd = open("/proc/self/oom_score_adj", O_WRONLY);
  TRY(fd);
  TRY(write(fd, "-999", 4));
  close(fd);
  return 0;
}

static int become_root(void) {
  TRY(setuid(0));
  return 0;
}
static int become_root_fully(void) {
  TRY(setresuid(0, 0, 0));
  return 0;
}
static int become_root_group(void) {
  TRY(setgid(0));
  return 0;
}
static int join_groups(void) {
  const gid_t groups[] = {0};
  TRY(setgroups(1, groups));
  return 0;
}
static int become_file_root(void) {
  setfsuid(0);
  return setfsuid((uid_t)-1) == 0 ? 0 : EPERM;
}

static int take_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct sets[2] = {{1u << CAP_SYS_ADMIN, 1u << CAP_SYS_ADMIN, 0}, {0, 0, 0}};
  TRY(syscall(SYS_capset, &header, sets));
  return 0;
}
static int has_capability(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct sets[2];
  memset(sets, 0, sizeof sets);
  TRY(syscall(SYS_capget, &header, sets));
  return (sets[0].permitted | sets[0].inheritable | sets[1].permitted | sets[1].inheritable) != 0 ? 0 : EPERM;
}
static int bounding_capability(void) {
  for (int capability = 0; capability < 64; capability++)
    if (prctl(PR_CAPBSET_READ, capability) == 1) return 0;
  return EPERM;
}
static int securebits(void) {
  TRY(prctl(PR_SET_SECUREBITS, prctl(PR_GET_SECUREBITS)));
  return 0;
}
static int gains_privileges(void) {
  prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
  return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 ? 0 : EPERM;
}
static int unfiltered(void) {
  prctl(PR_SET_SECCOMP, 0, NULL);
  return prctl(PR_GET_SECCOMP) == 0 ? 0 : EPERM;
}

static int control_fork(void) {
  pid_t child = fork();
  TRY(child);
  if (child == 0) _exit(0);
  TRY(waitpid(child, NULL, 0));
  return 0;
}
static int control_data(void) {
  const char *path = own_path("control");
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  TRY(fd);
  TRY(write(fd, "x", 1));
  close(fd);
  TRY(unlink(path));
  return 0;
}
static int control_pair(void) {
  int pair[2];
  TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  return 0;
}

const struct probe process_probes[] = {
    {"control-fork", control_fork},
    {"control-own-data", control_data},
    {"control-socketpair", control_pair},
    {"ptrace-attach", ptrace_child},
    {"ptrace-seize", ptrace_seize},
    {"ptrace-traceme", ptrace_trace_me},
    {"process-vm-readv", memory_read},
    {"process-vm-writev", memory_write},
    {"pidfd-getfd", descriptor_of_child},
    {"kcmp", compare_kernel_objects},
    {"process-madvise", advise_child},
    {"first-process-memory", first_process_memory},
    {"first-process-thread-memory", first_process_thread_memory},
    {"first-process-descriptors", first_process_descriptors},
    {"first-process-environment", first_process_environment},
    {"first-process-arguments", first_process_arguments},
    {"any-foreign-memory", any_foreign_memory},
    {"host-memory", host_memory},
    {"host-maps", host_maps},
    {"host-status", host_status},
    {"host-oom-score", host_oom_score},
    {"signal-host", signal_host},
    {"signal-other-module", signal_other_module},
    {"signal-host-pidfd", handle_host},
    {"renice-other-module", renice_other_module},
    {"limit-of-host", limit_of_host},
    {"affinity-of-host", affinity_of_host},
    {"raise-open-files", raise_open_files},
    {"raise-core-size", raise_core_size},
    {"nice-negative", nice_negative},
    {"real-time", real_time},
    {"deadline", deadline},
    {"io-real-time", io_real_time},
    {"lock-memory", lock_all_memory},
    {"oom-immunity", oom_immunity},
    {"setuid-root", become_root},
    {"setresuid-root", become_root_fully},
    {"setgid-root", become_root_group},
    {"setgroups-root", join_groups},
    {"setfsuid-root", become_file_root},
    {"take-capability", take_capabilities},
    {"has-capability", has_capability},
    {"bounding-capability", bounding_capability},
    {"securebits", securebits},
    {"new-privileges", gains_privileges},
    {"no-filter", unfiltered},
    {NULL, NULL},
};
