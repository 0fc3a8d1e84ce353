/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text lines over a stream socket, for both ends of the control protocol: bounded in both directions, never
 * blocking, with descriptors attached to lines (SCM_RIGHTS).
 *
 * The peer is trusted with nothing: a line longer than the limit, a NUL byte or a reader slower than the queue
 * closes the connection. Loop thread only. */
#ifndef VMDECK_CTL_LINES_H
#define VMDECK_CTL_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/loop.h"

#define LINES_MAX_LINE  (1024u * 1024u)
#define LINES_MAX_QUEUE (4096u * 1024u)

struct lines;

struct lines_ops {
    /* One line without its end, terminated; fd came with it or is -1, and is the callee's. */
    void (*line)(void *opaque, const char *text, size_t len, int fd);
    /* The connection is over; called once, the callee frees. why is NULL at a plain end of stream. */
    void (*closed)(void *opaque, const char *why);
};

/* sock becomes the connection's. ops stay the caller's. NULL when it cannot be watched (sock is closed). */
struct lines *lines_new(struct loop *loop, int sock, const struct lines_ops *ops, void *opaque);
/* No callback comes after it; may be called inside one. */
void lines_free(struct lines *l);
/* Queues text and a line end. fd (or -1) is passed with the line and becomes the connection's. A full queue
 * closes the connection (closed is called from the loop, not from here). */
void lines_send(struct lines *l, const char *text, size_t len, int fd);
/* Bytes not sent yet. */
size_t lines_queued(const struct lines *l);
/* Stops and starts reading. */
void lines_pause(struct lines *l, bool paused);
/* Delivers what the peer sent before it went away. */
void lines_drain(struct lines *l);
/* Sends what is queued while the peer takes it, for at most timeout_ms. */
void lines_flush(struct lines *l, int timeout_ms);

#endif
