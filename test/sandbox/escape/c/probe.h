/*
 * What the families of probes share. A probe tries one act and answers 0 when it succeeded, or the errno with which it
 * was refused. It runs in a process of its own, undoes what it has done, and harms nothing where it succeeds: it is run
 * outside of the sandbox too.
 */
#ifndef PROBE_H
#define PROBE_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Answer of a probe that was not refused and yet did not get what it wanted. */
#define NOTHING_FOUND ENODATA

struct probe {
  const char *name;
  int (*run)(void);
};

extern const struct probe file_probes[], namespace_probes[], kernel_probes[], socket_probes[], process_probes[];

/* Value of the argument NAME=VALUE; ends the probe when there is none. */
const char *param(const char *name);
int number(const char *name);
/* What the probe has got hold of; it is printed beside its name. */
void found(const char *text, size_t length);
/* Reads the beginning of an open file, or of one by its path, into what was found. */
int read_fd(int fd);
int read_path(const char *path);
/* Opens a file, reads nothing, closes it. */
int open_path(const char *path, int flags);
/* A path of its own in the module's data directory. */
const char *own_path(const char *name);

/* Refused with the errno of a call that answers -1. */
#define TRY(call)                  \
  do {                             \
    if ((call) == -1) return errno; \
  } while (0)

#endif
