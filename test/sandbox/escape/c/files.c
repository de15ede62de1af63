/* Secrets by other ways than their path, and writes to what belongs to the host. */
#include "probe.h"

#include <dirent.h>
#include <sys/shm.h>
#include <sys/sysmacros.h>

/* Whether this process tree would be looked at anyway. */
static int is_number(const char *name) { return name[0] >= '0' && name[0] <= '9'; }

static int secret_through_proc(const char *pid) {
  char path[4096];
  snprintf(path, sizeof path, "/proc/%s/root%s", pid, param("secret"));
  return read_path(path);
}

static int secret_by_open(void) { return read_path(param("secret")); }
static int secret_by_proc_1_root(void) { return secret_through_proc(param("first")); }
static int secret_by_host_proc_root(void) { return secret_through_proc(param("hostpid")); }

static int secret_by_host_fd(void) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/fd/%s", param("hostpid"), param("hostfd"));
  return read_path(path);
}

static int secret_by_host_cwd(void) {
  char path[4096];
  snprintf(path, sizeof path, "/proc/%s/cwd/%s", param("hostpid"), param("secretname"));
  return read_path(path);
}

/* Every process that can be seen but oneself: perhaps one of them lives under another root. */
static int secret_by_any_proc_root(void) {
  DIR *proc = opendir("/proc");
  if (proc == NULL) return errno;
  int answer = ESRCH;
  for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
    if (!is_number(entry->d_name) || atoi(entry->d_name) == getpid()) continue;
    answer = secret_through_proc(entry->d_name);
    if (answer == 0) break;
  }
  closedir(proc);
  return answer;
}

static int secret_by_inherited_fd(void) {
  int answer = EBADF;
  for (int fd = 3; fd < 1024; fd++) {
    struct stat about;
    if (fstat(fd, &about) == -1 || !S_ISREG(about.st_mode)) continue;
    answer = read_fd(fd);
    if (answer == 0) return 0;
  }
  return answer;
}

/* A fresh program has three descriptors, and what this very directory stream has opened. */
static int any_inherited_fd(void) {
  DIR *open_files = opendir("/proc/self/fd");
  if (open_files == NULL) return errno;
  int answer = EBADF;
  for (struct dirent *entry; (entry = readdir(open_files)) != NULL;) {
    int fd = atoi(entry->d_name);
    if (!is_number(entry->d_name) || fd <= 2 || fd == dirfd(open_files)) continue;
    found(entry->d_name, strlen(entry->d_name));
    answer = 0;
  }
  closedir(open_files);
  return answer;
}

static int environment_has_secret(const char *pid) {
  static char text[1 << 20];
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/environ", pid);
  int fd = open(path, O_RDONLY);
  if (fd == -1) return errno;
  ssize_t length = read(fd, text, sizeof text);
  close(fd);
  if (length == -1) return errno;
  char *at = memmem(text, (size_t)length, "MODHOST_TEST_SECRET=", 20);
  if (at == NULL) return NOTHING_FOUND;
  found(at, strnlen(at, 100));
  return 0;
}

static int host_environment(void) { return environment_has_secret(param("hostpid")); }

static int any_environment(void) {
  DIR *proc = opendir("/proc");
  if (proc == NULL) return errno;
  int answer = ESRCH;
  for (struct dirent *entry; answer != 0 && (entry = readdir(proc)) != NULL;)
    if (is_number(entry->d_name)) answer = environment_has_secret(entry->d_name);
  closedir(proc);
  return answer;
}

/* The old way out of containers: files by their handles, past every path. */
static int secret_by_handle(void) {
  struct {
    struct file_handle head;
    unsigned char room[MAX_HANDLE_SZ];
  } handle = {.head.handle_bytes = MAX_HANDLE_SZ};
  int mount_id;
  const char *secret = param("secret");
  const char *anchor = param("data");
  if (name_to_handle_at(AT_FDCWD, secret, &handle.head, &mount_id, 0) == -1 &&
      name_to_handle_at(AT_FDCWD, anchor, &handle.head, &mount_id, 0) == -1)
    return errno;
  int anchor_fd = open(anchor, O_RDONLY | O_DIRECTORY);
  if (anchor_fd == -1) return errno;
  int fd = open_by_handle_at(anchor_fd, &handle.head, O_RDONLY);
  return fd == -1 ? errno : read_fd(fd);
}

static int open_by_handle_alone(void) {
  struct {
    struct file_handle head;
    unsigned char room[8];
  } handle = {.head = {.handle_bytes = 8, .handle_type = 1}, .room = {2}};
  int anchor = open(param("data"), O_RDONLY | O_DIRECTORY);
  TRY(anchor);
  int fd = open_by_handle_at(anchor, &handle.head, O_RDONLY | O_DIRECTORY);
  if (fd == -1) return errno;
  close(fd);
  return 0;
}

static int secret_by_hard_link(void) {
  const char *path = own_path("hard-link");
  TRY(link(param("secret"), path));
  int answer = read_path(path);
  unlink(path);
  return answer;
}

static int secret_by_symbolic_link(void) {
  const char *path = own_path("symbolic-link-c");
  TRY(symlink(param("secret"), path));
  int answer = read_path(path);
  unlink(path);
  return answer;
}

/* Where the other module's directories would be, had the sandbox one view for all modules. */
static int other_module_data(void) { return read_path(param("otherdata")); }
static int other_module_token(void) { return read_path(param("othertoken")); }

static int other_module_root(void) {
  char path[4096];
  snprintf(path, sizeof path, "/proc/%s/root%s", param("otherpid"), param("otherinside"));
  return read_path(path);
}

static int host_shared_memory_file(void) { return read_path(param("shmfile")); }

static int host_shared_memory_segment(void) {
  void *at = shmat(number("shmid"), NULL, SHM_RDONLY);
  if (at == (void *)-1) return errno;
  found(at, strnlen(at, 100));
  shmdt(at);
  return 0;
}

static int kernel_log_device(void) { return open_path("/dev/kmsg", O_RDONLY | O_NONBLOCK); }

static int system_tree(void) { return open_path("/sys/kernel", O_RDONLY | O_DIRECTORY); }

/* Makes and removes a file in a directory. */
static int create_in(const char *dir) {
  char path[4096];
  snprintf(path, sizeof path, "%s/modhost-escape-%d", dir, (int)getpid());
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd == -1) return errno;
  close(fd);
  unlink(path);
  return 0;
}

static int write_root(void) { return create_in("/"); }
static int write_usr(void) { return create_in("/usr"); }
static int write_etc(void) { return create_in("/etc"); }
static int write_dev(void) { return create_in("/dev"); }
static int write_code(void) { return create_in(param("code")); }
static int write_socket_directory(void) { return create_in(param("socketdir")); }
static int replace_socket_directory(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s/module.sock", param("socketdir"));
  char aside[4200];
  snprintf(aside, sizeof aside, "%s.aside", path);
  TRY(rename(path, aside));
  TRY(rename(aside, path));
  return 0;
}
/* Changes nothing but the time, yet needs the right to write. */
static int touch_interpreter(void) {
  struct stat about;
  TRY(stat("/usr/bin/env", &about));
  const struct timespec times[2] = {about.st_atim, about.st_mtim};
  TRY(utimensat(AT_FDCWD, "/usr/bin/env", times, 0));
  return 0;
}
static int chmod_code(void) {
  struct stat about;
  TRY(stat(param("code"), &about));
  TRY(chmod(param("code"), about.st_mode & 07777));
  return 0;
}

/* Opened for writing, and nothing written. */
static int sysctl_core_pattern(void) { return open_path("/proc/sys/kernel/core_pattern", O_WRONLY); }
static int sysctl_processes(void) { return open_path("/proc/sys/kernel/pid_max", O_WRONLY); }
static int sysctl_overcommit(void) { return open_path("/proc/sys/vm/overcommit_memory", O_WRONLY); }
static int sysctl_randomization(void) { return open_path("/proc/sys/kernel/randomize_va_space", O_WRONLY); }
static int timer_list(void) { return read_path("/proc/timer_list"); }
static int kernel_messages(void) { return open_path("/proc/kmsg", O_RDONLY | O_NONBLOCK); }

static int make_device(void) {
  const char *path = own_path("device");
  TRY(mknod(path, S_IFCHR | 0600, makedev(1, 3)));
  unlink(path);
  return 0;
}

static int make_disk(void) {
  const char *path = own_path("disk");
  TRY(mknod(path, S_IFBLK | 0600, makedev(7, 0)));
  unlink(path);
  return 0;
}

/* A program of root's with the set-user-id bit, started by an ordinary user. */
static int setuid_program(void) {
  int pipes[2];
  TRY(pipe(pipes));
  pid_t child = fork();
  TRY(child);
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) == -1) _exit(1);
    dup2(pipes[1], 1);
    execl(param("setuid"), "probes", "print-euid", (char *)NULL);
    dprintf(1, "%d\n", -errno);
    _exit(1);
  }
  close(pipes[1]);
  char text[32] = {0};
  ssize_t length = read(pipes[0], text, sizeof text - 1);
  waitpid(child, NULL, 0);
  if (length <= 0) return EIO;
  int euid = atoi(text);
  return euid == 0 ? 0 : euid < 0 ? -euid : EPERM;
}

/* A capability on a file of one's own, which would be gained by running it. */
static int file_capability(void) {
  const char *path = own_path("capable");
  int fd = open(path, O_WRONLY | O_CREAT, 0700);
  TRY(fd);
  close(fd);
  const uint32_t capability[5] = {0x02000001, 1u << 21, 0, 0, 0};
  long answer = syscall(SYS_setxattr, path, "security.capability", capability, sizeof capability, 0);
  int error = errno;
  unlink(path);
  return answer == -1 ? error : 0;
}

static int give_away_file(void) {
  const char *path = own_path("given");
  int fd = open(path, O_WRONLY | O_CREAT, 0700);
  TRY(fd);
  int answer = fchown(fd, 0, 0) == -1 ? errno : 0;
  close(fd);
  unlink(path);
  return answer;
}

const struct probe file_probes[] = {
    {"secret-by-open", secret_by_open},
    {"secret-by-proc-1-root", secret_by_proc_1_root},
    {"secret-by-host-proc-root", secret_by_host_proc_root},
    {"secret-by-host-fd", secret_by_host_fd},
    {"secret-by-host-cwd", secret_by_host_cwd},
    {"secret-by-any-proc-root", secret_by_any_proc_root},
    {"secret-by-inherited-fd", secret_by_inherited_fd},
    {"any-inherited-fd", any_inherited_fd},
    {"host-environment", host_environment},
    {"any-environment", any_environment},
    {"secret-by-handle", secret_by_handle},
    {"open-by-handle", open_by_handle_alone},
    {"secret-by-hard-link", secret_by_hard_link},
    {"secret-by-symbolic-link", secret_by_symbolic_link},
    {"other-module-data", other_module_data},
    {"other-module-token", other_module_token},
    {"other-module-root", other_module_root},
    {"host-shared-memory-file", host_shared_memory_file},
    {"host-shared-memory-segment", host_shared_memory_segment},
    {"kernel-log-device", kernel_log_device},
    {"kernel-log-proc", kernel_messages},
    {"kernel-timer-list", timer_list},
    {"system-tree", system_tree},
    {"write-root", write_root},
    {"write-usr", write_usr},
    {"write-etc", write_etc},
    {"write-dev", write_dev},
    {"write-code", write_code},
    {"write-socket-directory", write_socket_directory},
    {"rename-own-socket", replace_socket_directory},
    {"touch-interpreter", touch_interpreter},
    {"chmod-code", chmod_code},
    {"sysctl-core-pattern", sysctl_core_pattern},
    {"sysctl-processes", sysctl_processes},
    {"sysctl-overcommit", sysctl_overcommit},
    {"sysctl-randomization", sysctl_randomization},
    {"make-character-device", make_device},
    {"make-block-device", make_disk},
    {"setuid-program", setuid_program},
    {"file-capability", file_capability},
    {"give-file-to-root", give_away_file},
    {NULL, NULL},
};
