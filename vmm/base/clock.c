/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Binary heap of timers by deadline. While the clock is paused nothing is armed in the host. */
#include "vmm/base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "vmm/base/alloc.h"

#define STANDS_STILL INT64_MIN /* paused, or virtual */

struct clock {
    pthread_mutex_t mutex;
    struct timer **heap;
    unsigned count, cap;
    bool is_virtual, paused;
    int64_t offset;    /* host clock: guest now = host now - offset */
    _Atomic int64_t running; /* the same for who has no lock, or STANDS_STILL; every resumption has another offset */
    int64_t virtual_now; /* virtual clock, or the moment of the pause */
    void (*rearm)(void *, int64_t);
    void *rearm_opaque;
    void (*enter)(void *), (*leave)(void *);
    void *guard_opaque;
};

static int64_t host_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_now_ns(void)
{
    return host_ns(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(void)
{
    return host_ns(CLOCK_REALTIME);
}

struct clock *clock_new(void (*rearm)(void *, int64_t), void *opaque, bool is_virtual)
{
    struct clock *c = X_NEW(struct clock);

    pthread_mutex_init(&c->mutex, NULL);
    c->rearm = rearm;
    c->rearm_opaque = opaque;
    c->is_virtual = is_virtual;
    atomic_init(&c->running, is_virtual ? STANDS_STILL : 0);
    return c;
}

void clock_free(struct clock *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->mutex);
    x_free(c->heap);
    x_free(c);
}

void clock_set_guard(struct clock *c, void (*enter)(void *), void (*leave)(void *), void *opaque)
{
    c->enter = enter;
    c->leave = leave;
    c->guard_opaque = opaque;
}

static int64_t now_locked(const struct clock *c)
{
    if (c->is_virtual || c->paused)
        return c->virtual_now;
    return clock_now_ns() - c->offset;
}

int64_t clock_now(struct clock *c)
{
    int64_t offset = atomic_load(&c->running), now;

    if (offset != STANDS_STILL) {
        now = clock_now_ns() - offset;
        if (atomic_load(&c->running) == offset)
            return now;
    }
    pthread_mutex_lock(&c->mutex);
    now = now_locked(c);
    pthread_mutex_unlock(&c->mutex);
    return now;
}

static void notify_locked(struct clock *c)
{
    int64_t first = INT64_MAX;

    if (!c->rearm)
        return;
    if (c->count && !c->paused && c->heap[0]->deadline < INT64_MAX - c->offset)
        first = c->heap[0]->deadline + c->offset;
    c->rearm(c->rearm_opaque, first);
}

static void place(struct clock *c, unsigned i, struct timer *t)
{
    c->heap[i] = t;
    t->index = i + 1;
}

static void sift_up(struct clock *c, unsigned i, struct timer *t)
{
    while (i > 0) {
        unsigned parent = (i - 1) / 2;
        if (c->heap[parent]->deadline <= t->deadline)
            break;
        place(c, i, c->heap[parent]);
        i = parent;
    }
    place(c, i, t);
}

static void sift_down(struct clock *c, unsigned i, struct timer *t)
{
    for (;;) {
        unsigned child = 2 * i + 1;
        if (child >= c->count)
            break;
        if (child + 1 < c->count && c->heap[child + 1]->deadline < c->heap[child]->deadline)
            child++;
        if (c->heap[child]->deadline >= t->deadline)
            break;
        place(c, i, c->heap[child]);
        i = child;
    }
    place(c, i, t);
}

static void remove_locked(struct clock *c, struct timer *t)
{
    unsigned i = t->index - 1;
    struct timer *last = c->heap[--c->count];

    t->index = 0;
    if (last == t)
        return;
    place(c, i, last);
    sift_up(c, i, last);
    sift_down(c, last->index - 1, last);
}

void timer_init(struct timer *t, struct clock *clock, timer_fn *fn, void *opaque)
{
    *t = (struct timer){.clock = clock, .fn = fn, .opaque = opaque};
}

void timer_arm(struct timer *t, int64_t deadline)
{
    struct clock *c = t->clock;

    pthread_mutex_lock(&c->mutex);
    struct timer *was = c->count ? c->heap[0] : NULL;
    bool was_first = was == t;
    if (t->index)
        remove_locked(c, t);
    t->deadline = deadline;
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->heap = x_realloc(c->heap, c->cap * sizeof(c->heap[0]));
    }
    c->count++;
    sift_up(c, c->count - 1, t);
    if (was_first || c->heap[0] == t)
        notify_locked(c);
    pthread_mutex_unlock(&c->mutex);
}

void timer_cancel(struct timer *t)
{
    struct clock *c = t->clock;

    if (!c)
        return;
    pthread_mutex_lock(&c->mutex);
    if (t->index)
        remove_locked(c, t); /* an early wake-up finds nothing due and rearms */
    pthread_mutex_unlock(&c->mutex);
}

bool timer_armed(const struct timer *t)
{
    return __atomic_load_n(&t->index, __ATOMIC_RELAXED) != 0;
}

/* Fires timers due by limit, in order. */
static void fire_until(struct clock *c, int64_t limit)
{
    if (c->enter)
        c->enter(c->guard_opaque);
    pthread_mutex_lock(&c->mutex);
    while (c->count && !c->paused && c->heap[0]->deadline <= limit) {
        struct timer *t = c->heap[0];
        timer_fn *fn = t->fn;
        void *opaque = t->opaque;

        if (c->is_virtual && t->deadline > c->virtual_now)
            c->virtual_now = t->deadline;
        remove_locked(c, t);
        pthread_mutex_unlock(&c->mutex);
        fn(opaque);
        pthread_mutex_lock(&c->mutex);
    }
    notify_locked(c);
    pthread_mutex_unlock(&c->mutex);
    if (c->leave)
        c->leave(c->guard_opaque);
}

void clock_run(struct clock *c)
{
    fire_until(c, clock_now(c));
}

void clock_advance(struct clock *c, int64_t ns)
{
    int64_t target = clock_now(c) + ns;

    fire_until(c, target);
    c->virtual_now = target;
}

void clock_pause(struct clock *c)
{
    pthread_mutex_lock(&c->mutex);
    if (!c->paused) {
        atomic_store(&c->running, STANDS_STILL);
        c->virtual_now = now_locked(c);
        c->paused = true;
        notify_locked(c);
    }
    pthread_mutex_unlock(&c->mutex);
}

void clock_resume(struct clock *c)
{
    pthread_mutex_lock(&c->mutex);
    if (c->paused) {
        c->paused = false;
        if (!c->is_virtual)
            atomic_store(&c->running, c->offset = clock_now_ns() - c->virtual_now);
        notify_locked(c);
    }
    pthread_mutex_unlock(&c->mutex);
}

bool clock_paused(struct clock *c)
{
    pthread_mutex_lock(&c->mutex);
    bool paused = c->paused;
    pthread_mutex_unlock(&c->mutex);
    return paused;
}
