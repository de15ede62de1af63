/* Namespaces of one's own, and changes to what is mounted. Outside these run in a private mount namespace. */
#include "probe.h"

#include <linux/sched.h>

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

static int unshare_one(int flag) {
  TRY(unshare(flag));
  return 0;
}
static int unshare_user(void) { return unshare_one(CLONE_NEWUSER); }
static int unshare_mount(void) { return unshare_one(CLONE_NEWNS); }
static int unshare_pid(void) { return unshare_one(CLONE_NEWPID); }
static int unshare_network(void) { return unshare_one(CLONE_NEWNET); }
static int unshare_ipc(void) { return unshare_one(CLONE_NEWIPC); }
static int unshare_uts(void) { return unshare_one(CLONE_NEWUTS); }
static int unshare_cgroup(void) { return unshare_one(CLONE_NEWCGROUP); }
static int unshare_time(void) { return unshare_one(0x80); }

/* Becomes root of a new user namespace, the first step of most escapes. */
static int map_root(void) {
  TRY(unshare(CLONE_NEWUSER));
  int fd = open("/proc/self/uid_map", O_WRONLY);
  TRY(fd);
  char line[64];
  snprintf(line, sizeof line, "0 %s 1", param("uid"));
  TRY(write(fd, line, strlen(line)));
  close(fd);
  return getuid() == 0 ? 0 : EPERM;
}

/* The raw call: on x86-64 and arm64 the flags stand first. */
static int clone_with(unsigned long flags) {
  long child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  TRY(child);
  if (child == 0) _exit(0);
  waitpid((pid_t)child, NULL, 0);
  return 0;
}
static int clone_user(void) { return clone_with(CLONE_NEWUSER); }
static int clone_mount(void) { return clone_with(CLONE_NEWNS); }
static int clone_pid(void) { return clone_with(CLONE_NEWPID); }
static int clone_network(void) { return clone_with(CLONE_NEWNET); }
static int clone_ipc(void) { return clone_with(CLONE_NEWIPC); }
static int clone_uts(void) { return clone_with(CLONE_NEWUTS); }
static int clone_cgroup(void) { return clone_with(CLONE_NEWCGROUP); }
/* With garbage above the 32 bits that the kernel looks at. */
static int clone_user_high(void) { return clone_with(CLONE_NEWUSER | 0xdeadbeef00000000ul); }

static int clone3_with(uint64_t flags) {
  struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
  long child = syscall(SYS_clone3, &args, sizeof args);
  TRY(child);
  if (child == 0) _exit(0);
  waitpid((pid_t)child, NULL, 0);
  return 0;
}
static int clone3_plain(void) { return clone3_with(0); }
static int clone3_user(void) { return clone3_with(CLONE_NEWUSER); }

static int enter(const char *kind, int flag) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
  int fd = open(path, O_RDONLY);
  TRY(fd);
  TRY(setns(fd, flag));
  return 0;
}
static int setns_uts(void) { return enter("uts", CLONE_NEWUTS); }
static int setns_network(void) { return enter("net", CLONE_NEWNET); }

static int setns_host(void) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/ns/net", param("hostpid"));
  int fd = open(path, O_RDONLY);
  TRY(fd);
  TRY(setns(fd, CLONE_NEWNET));
  return 0;
}

static int setns_first(void) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/ns/net", param("first"));
  int fd = open(path, O_RDONLY);
  TRY(fd);
  TRY(setns(fd, CLONE_NEWNET));
  return 0;
}

static int setns_by_pidfd(void) {
  int fd = (int)syscall(SYS_pidfd_open, getppid(), 0);
  TRY(fd);
  TRY(setns(fd, CLONE_NEWUTS));
  return 0;
}

static const char *mount_point(void) {
  const char *path = own_path("mount-point");
  mkdir(path, 0700);
  return path;
}

static int mount_kind(const char *kind) {
  const char *point = mount_point();
  TRY(mount("none", point, kind, MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
  umount2(point, MNT_DETACH);
  return 0;
}
static int mount_tmpfs(void) { return mount_kind("tmpfs"); }
static int mount_proc(void) { return mount_kind("proc"); }
static int mount_sysfs(void) { return mount_kind("sysfs"); }
static int mount_cgroup(void) { return mount_kind("cgroup2"); }

static int mount_bind(void) {
  const char *point = mount_point();
  TRY(mount("/usr", point, NULL, MS_BIND, NULL));
  umount2(point, MNT_DETACH);
  return 0;
}

/* Makes writable what is mounted read-only; outside there is none, so a read-only one is made first. */
static int remount_writable(void) {
  const char *point = mount_point();
  if (mount(point, point, NULL, MS_BIND, NULL) == -1) point = "/usr";
  TRY(mount(NULL, point, NULL, MS_BIND | MS_REMOUNT, NULL));
  if (strcmp(point, "/usr") != 0) umount2(point, MNT_DETACH);
  return 0;
}

static int mount_propagation(void) {
  TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
  return 0;
}

/* Takes away what lies over something hidden. */
static int unmount(void) {
  const char *point = mount_point();
  if (mount("none", point, "tmpfs", 0, NULL) == -1) point = "/proc/1";
  TRY(umount2(point, MNT_DETACH));
  return 0;
}

static int open_tree_clone(void) {
  int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/usr", OPEN_TREE_CLONE);
  TRY(fd);
  close(fd);
  return 0;
}

static int move_mount_tree(void) {
  int tree = (int)syscall(SYS_open_tree, AT_FDCWD, "/usr", OPEN_TREE_CLONE);
  const char *point = mount_point();
  TRY(syscall(SYS_move_mount, tree, "", AT_FDCWD, point, 4));
  umount2(point, MNT_DETACH);
  return 0;
}

static int fsopen_tmpfs(void) {
  int fd = (int)syscall(SYS_fsopen, "tmpfs", 0);
  TRY(fd);
  close(fd);
  return 0;
}

static int fsmount_tmpfs(void) {
  int context = (int)syscall(SYS_fsopen, "tmpfs", 0);
  if (context != -1) TRY(syscall(SYS_fsconfig, context, 6, NULL, NULL, 0));
  int fd = (int)syscall(SYS_fsmount, context, 0, 0);
  TRY(fd);
  close(fd);
  return 0;
}

static int fspick_root(void) {
  int fd = (int)syscall(SYS_fspick, AT_FDCWD, "/", 0);
  TRY(fd);
  close(fd);
  return 0;
}

static int mount_attributes(void) {
  const uint64_t nothing[4] = {0, 0, 0, 0};
  const char *point = mount_point();
  int made = mount(point, point, NULL, MS_BIND, NULL);
  long answer = syscall(SYS_mount_setattr, AT_FDCWD, made == -1 ? "/usr" : point, 0, nothing, sizeof nothing);
  int error = errno;
  if (made == 0) umount2(point, MNT_DETACH);
  return answer == -1 ? error : 0;
}

static int pivot(void) {
  const char *point = mount_point();
  if (mount("none", point, "tmpfs", 0, NULL) == -1) {
    TRY(syscall(SYS_pivot_root, "/tmp", "/tmp"));
    return 0;
  }
  TRY(unshare(CLONE_NEWNS));
  TRY(syscall(SYS_pivot_root, point, point));
  return 0;
}

static int change_root(void) {
  TRY(chroot("/tmp"));
  return 0;
}

const struct probe namespace_probes[] = {
    {"unshare-user", unshare_user},
    {"unshare-mount", unshare_mount},
    {"unshare-pid", unshare_pid},
    {"unshare-network", unshare_network},
    {"unshare-ipc", unshare_ipc},
    {"unshare-uts", unshare_uts},
    {"unshare-cgroup", unshare_cgroup},
    {"unshare-time", unshare_time},
    {"map-root", map_root},
    {"clone-user", clone_user},
    {"clone-user-high-bits", clone_user_high},
    {"clone-mount", clone_mount},
    {"clone-pid", clone_pid},
    {"clone-network", clone_network},
    {"clone-ipc", clone_ipc},
    {"clone-uts", clone_uts},
    {"clone-cgroup", clone_cgroup},
    {"clone3", clone3_plain},
    {"clone3-user", clone3_user},
    {"setns-uts", setns_uts},
    {"setns-network", setns_network},
    {"setns-host", setns_host},
    {"setns-first-process", setns_first},
    {"setns-pidfd", setns_by_pidfd},
    {"mount-tmpfs", mount_tmpfs},
    {"mount-proc", mount_proc},
    {"mount-sysfs", mount_sysfs},
    {"mount-cgroup", mount_cgroup},
    {"mount-bind", mount_bind},
    {"mount-writable", remount_writable},
    {"mount-propagation", mount_propagation},
    {"unmount", unmount},
    {"open-tree", open_tree_clone},
    {"move-mount", move_mount_tree},
    {"fsopen", fsopen_tmpfs},
    {"fsmount", fsmount_tmpfs},
    {"fspick", fspick_root},
    {"mount-setattr", mount_attributes},
    {"pivot-root", pivot},
    {"chroot", change_root},
    {NULL, NULL},
};
