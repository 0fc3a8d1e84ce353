/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event loop of one thread, over libuv: readable/writable fds, work posted from other threads, and a
 * host clock whose timers have nanosecond deadlines (a timerfd; libuv's own have milliseconds). */
#ifndef VMDECK_BASE_LOOP_H
#define VMDECK_BASE_LOOP_H

#include <stdbool.h>

#include "vmm/base/clock.h"
#include "vmm/base/err.h"

struct loop;
struct loop_fd;

#define LOOP_READ  1u
#define LOOP_WRITE 2u
#define LOOP_HUP   4u /* reported, never asked for */

typedef void loop_fd_fn(void *opaque, unsigned events);
typedef void loop_post_fn(void *opaque);

struct loop *loop_new(struct err *e);
void loop_free(struct loop *loop);
/* Runs until loop_stop. */
void loop_run(struct loop *loop);
/* One pass; blocks at most timeout_ms (-1: until something happens). */
void loop_step(struct loop *loop, int timeout_ms);
/* Any thread. */
void loop_stop(struct loop *loop);
/* Any thread: fn runs on the loop's thread, in order of posting. */
void loop_post(struct loop *loop, loop_post_fn *fn, void *opaque);
/* Functions called around every callback of this loop (the machine lock). */
void loop_set_guard(struct loop *loop, void (*enter)(void *), void (*leave)(void *), void *opaque);

/* Loop thread only, or before loop_run. The fd stays the caller's and must outlive the watch. */
struct loop_fd *loop_watch(struct loop *loop, int fd, unsigned events, loop_fd_fn *fn, void *opaque);
void loop_watch_set(struct loop_fd *w, unsigned events);
void loop_unwatch(struct loop_fd *w);

/* Work that is asked for again and again: any number of signals before fn runs are one run of it, and none comes
 * after loop_event_free. new and free as for watches, signal from any thread. */
struct loop_event;
struct loop_event *loop_event_new(struct loop *loop, loop_post_fn *fn, void *opaque);
void loop_event_signal(struct loop_event *ev);
void loop_event_free(struct loop_event *ev);

/* The host clock of this loop, for timer_init. */
struct clock *loop_clock(struct loop *loop);

#endif
