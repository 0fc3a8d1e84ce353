/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File descriptors: everything close-on-exec, memfds sealed against shrinking, passing over sockets. */
#ifndef VMDECK_BASE_FD_H
#define VMDECK_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/base/err.h"

#define FD_PASS_MAX 8

/* A memfd of that size, sealed against shrinking, growing and further sealing. -1 on error. */
int fd_memfd(const char *name, uint64_t size, struct err *e);
/* Sends len bytes (len > 0) with nfds descriptors attached; blocks until all is sent. */
bool fd_send(int sock, const void *data, size_t len, const int *fds, unsigned nfds, struct err *e);
/* One recvmsg. Received descriptors are close-on-exec and belong to the caller; *nfds is how many came.
 * Returns bytes received, 0 at end of stream, -1 with errno (EAGAIN included). */
ssize_t fd_recv(int sock, void *data, size_t size, int fds[FD_PASS_MAX], unsigned *nfds);
/* Writes everything; false with errno. Waits (poll) when the fd is non-blocking. */
bool fd_write_all(int fd, const void *data, size_t len);
/* Reads a whole file of at most max bytes; NUL-terminated, caller frees with x_free. */
char *fd_read_file(int dirfd, const char *path, size_t max, size_t *len, struct err *e);
/* Writes path.tmp, fsyncs, renames over path, fsyncs the folder: old or new, never a mix. */
bool fd_write_file_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e);
bool fd_set_nonblock(int fd, bool on);
bool fd_set_cloexec(int fd, bool on);
/* Closes *fd if it is >= 0 and sets it to -1. */
void fd_close(int *fd);

#endif
