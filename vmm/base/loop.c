/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "vmm/base/alloc.h"

struct post {
    struct post *next;
    loop_post_fn *fn;
    void *opaque;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t step_timer;
    pthread_mutex_t mutex; /* guards first, last, stopping */
    struct post *first, *last;
    bool stopping, in_step;
    int timer_fd;
    struct loop_fd *timer_watch;
    struct clock *clock;
    void (*enter)(void *), (*leave)(void *);
    void *guard_opaque;
};

struct loop_fd {
    uv_poll_t poll;
    struct loop *loop;
    loop_fd_fn *fn;
    void *opaque;
};

struct loop_event {
    uv_async_t async;
    struct loop *loop;
    loop_post_fn *fn;
    void *opaque;
};

static void enter(struct loop *l)
{
    if (l->enter)
        l->enter(l->guard_opaque);
}

static void leave(struct loop *l)
{
    if (l->leave)
        l->leave(l->guard_opaque);
}

static void rearm(void *opaque, int64_t deadline)
{
    struct loop *l = opaque;
    struct itimerspec its = {0};

    if (deadline != INT64_MAX) {
        if (deadline < 1)
            deadline = 1; /* zero would disarm */
        its.it_value.tv_sec = deadline / NS_PER_S;
        its.it_value.tv_nsec = deadline % NS_PER_S;
    }
    timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void timer_ready(void *opaque, unsigned events)
{
    struct loop *l = opaque;
    uint64_t n;

    (void)events;
    if (read(l->timer_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
        return;
    clock_run(l->clock);
}

static void run_posts(uv_async_t *h)
{
    struct loop *l = h->data;

    pthread_mutex_lock(&l->mutex);
    struct post *p = l->first;
    l->first = l->last = NULL;
    bool stop = l->stopping;
    pthread_mutex_unlock(&l->mutex);
    while (p) {
        struct post *next = p->next;
        enter(l);
        p->fn(p->opaque);
        leave(l);
        x_free(p);
        p = next;
    }
    if (stop)
        uv_stop(&l->uv);
}

struct loop *loop_new(struct err *e)
{
    struct loop *l = X_NEW(struct loop);

    int rc = uv_loop_init(&l->uv);
    if (rc) {
        err_set(e, ERR_FAILED, "cannot create event loop: %s", uv_strerror(rc));
        x_free(l);
        return NULL;
    }
    pthread_mutex_init(&l->mutex, NULL);
    uv_async_init(&l->uv, &l->wake, run_posts);
    l->wake.data = l;
    uv_timer_init(&l->uv, &l->step_timer);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (l->timer_fd < 0) {
        err_errno(e, errno, "cannot create timer");
        loop_free(l);
        return NULL;
    }
    l->clock = clock_new(rearm, l, false);
    l->timer_watch = loop_watch(l, l->timer_fd, LOOP_READ, timer_ready, l);
    return l;
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    if (l->timer_watch)
        loop_unwatch(l->timer_watch);
    uv_walk(&l->uv, close_handle, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_loop_close(&l->uv);
    while (l->first) {
        struct post *next = l->first->next;
        x_free(l->first);
        l->first = next;
    }
    clock_free(l->clock);
    if (l->timer_fd >= 0)
        close(l->timer_fd);
    pthread_mutex_destroy(&l->mutex);
    x_free(l);
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
    pthread_mutex_lock(&l->mutex);
    l->stopping = false;
    pthread_mutex_unlock(&l->mutex);
}

static void step_timeout(uv_timer_t *t)
{
    (void)t;
}

void loop_step(struct loop *l, int timeout_ms)
{
    if (timeout_ms > 0) {
        /* repeating, because libuv may fire it before it polls, and would then poll without end */
        uv_update_time(&l->uv);
        uv_timer_start(&l->step_timer, step_timeout, (uint64_t)timeout_ms, (uint64_t)timeout_ms);
    }
    uv_run(&l->uv, timeout_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    uv_timer_stop(&l->step_timer);
}

void loop_stop(struct loop *l)
{
    pthread_mutex_lock(&l->mutex);
    l->stopping = true;
    pthread_mutex_unlock(&l->mutex);
    uv_async_send(&l->wake);
}

void loop_post(struct loop *l, loop_post_fn *fn, void *opaque)
{
    struct post *p = X_NEW(struct post);

    p->fn = fn;
    p->opaque = opaque;
    pthread_mutex_lock(&l->mutex);
    if (l->last)
        l->last->next = p;
    else
        l->first = p;
    l->last = p;
    pthread_mutex_unlock(&l->mutex);
    uv_async_send(&l->wake);
}

void loop_set_guard(struct loop *l, void (*enter_fn)(void *), void (*leave_fn)(void *), void *opaque)
{
    l->enter = enter_fn;
    l->leave = leave_fn;
    l->guard_opaque = opaque;
    clock_set_guard(l->clock, enter_fn, leave_fn, opaque);
}

static void poll_ready(uv_poll_t *h, int status, int events)
{
    struct loop_fd *w = h->data;
    struct loop *l = w->loop;
    unsigned ev = 0;

    if (status < 0)
        ev = LOOP_READ | LOOP_HUP;
    if (events & UV_READABLE)
        ev |= LOOP_READ;
    if (events & UV_WRITABLE)
        ev |= LOOP_WRITE;
    if (events & UV_DISCONNECT)
        ev |= LOOP_HUP;
    if (w == l->timer_watch) { /* the clock takes the guard itself */
        w->fn(w->opaque, ev);
        return;
    }
    enter(l);
    w->fn(w->opaque, ev);
    leave(l);
}

struct loop_fd *loop_watch(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *opaque)
{
    struct loop_fd *w = X_NEW(struct loop_fd);

    w->loop = l;
    w->fn = fn;
    w->opaque = opaque;
    if (uv_poll_init(&l->uv, &w->poll, fd) != 0) {
        x_free(w); /* a regular file: always ready, cannot be polled */
        return NULL;
    }
    w->poll.data = w;
    loop_watch_set(w, events);
    return w;
}

void loop_watch_set(struct loop_fd *w, unsigned events)
{
    int ev = 0;

    if (events & LOOP_READ)
        ev |= UV_READABLE;
    if (events & LOOP_WRITE)
        ev |= UV_WRITABLE;
    if (ev)
        uv_poll_start(&w->poll, ev, poll_ready);
    else
        uv_poll_stop(&w->poll);
}

static void watch_closed(uv_handle_t *h)
{
    x_free(h->data);
}

void loop_unwatch(struct loop_fd *w)
{
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, watch_closed);
}

static void event_ready(uv_async_t *h)
{
    struct loop_event *ev = h->data;
    struct loop *l = ev->loop;

    enter(l);
    ev->fn(ev->opaque);
    leave(l);
}

struct loop_event *loop_event_new(struct loop *l, loop_post_fn *fn, void *opaque)
{
    struct loop_event *ev = X_NEW(struct loop_event);

    ev->loop = l;
    ev->fn = fn;
    ev->opaque = opaque;
    uv_async_init(&l->uv, &ev->async, event_ready);
    ev->async.data = ev;
    return ev;
}

void loop_event_signal(struct loop_event *ev)
{
    uv_async_send(&ev->async);
}

static void event_closed(uv_handle_t *h)
{
    x_free(h->data);
}

void loop_event_free(struct loop_event *ev)
{
    if (ev)
        uv_close((uv_handle_t *)&ev->async, event_closed);
}

struct clock *loop_clock(struct loop *l)
{
    return l->clock;
}
