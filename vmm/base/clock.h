/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time and timers. Guest-visible timers run on CLOCK_MONOTONIC, so that steps of the host's wall
 * clock never stall or storm them; wall time is only for the RTC.
 *
 * A `struct clock` is a source of "now" with a queue of timers. The host clock's timers are fired by
 * the loop that owns it (loop_clock); a virtual clock is advanced by a test. Thread safe: arm and
 * cancel may be called from any thread. Callbacks run on the thread that fires, with the clock's
 * callback wrapper (clock_set_guard) around them, no clock lock held. */
#ifndef VMDECK_BASE_CLOCK_H
#define VMDECK_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)

/* CLOCK_MONOTONIC of the host, nanoseconds. */
int64_t clock_now_ns(void);
/* CLOCK_REALTIME of the host, nanoseconds since 1970. */
int64_t clock_wall_ns(void);

struct clock;
typedef void timer_fn(void *opaque);

struct timer {
    struct clock *clock;
    timer_fn *fn;
    void *opaque;
    int64_t deadline;
    unsigned index; /* in the heap plus one; 0: not armed */
};

/* rearm is called (any thread, clock lock held, must not call back) when the earliest deadline
 * changes; INT64_MAX means none. NULL for a virtual clock. */
struct clock *clock_new(void (*rearm)(void *opaque, int64_t deadline), void *opaque, bool is_virtual);
void clock_free(struct clock *clock);
/* Functions called around every timer callback: the machine lock. */
void clock_set_guard(struct clock *clock, void (*enter)(void *), void (*leave)(void *), void *opaque);
int64_t clock_now(struct clock *clock);
/* Fires what is due. */
void clock_run(struct clock *clock);
/* Virtual clocks: moves time forward, firing timers in order at their own deadlines. */
void clock_advance(struct clock *clock, int64_t ns);
/* Stops (and restarts) guest time: now stands still and nothing fires. Nested calls are not counted. */
void clock_pause(struct clock *clock);
void clock_resume(struct clock *clock);
bool clock_paused(struct clock *clock);

/* The timer is embedded in its owner; cancel before the owner goes away. */
void timer_init(struct timer *t, struct clock *clock, timer_fn *fn, void *opaque);
/* Absolute time of the clock; a deadline in the past fires as soon as possible. */
void timer_arm(struct timer *t, int64_t deadline);
void timer_cancel(struct timer *t);
bool timer_armed(const struct timer *t);

#endif
