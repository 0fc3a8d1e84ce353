/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/screens/link.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "tui/ui/app.h"
#include "vmm/base/alloc.h"
#include "vmm/base/buf.h"
#include "vmm/base/clock.h"
#include "vmm/base/thread.h"

#define QUEUE_MAX 8192 /* characters */

struct order {
    struct order *next;
    bool is_key;
    char text[];
};

struct link {
    char name[64], layout[24];
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    /* under mutex */
    struct order *first, **last;
    size_t queued;
    bool stop, watched, have_screen, ended;
    struct text_screen screen;
    char message[600];
    int64_t active_until; /* polls fast until then */
};

static void post_dirty(void *opaque)
{
    (void)opaque;
    app_dirty();
}

/* ---- the thread ---- */

static void publish_error(struct link *l, const struct err *e)
{
    pthread_mutex_lock(&l->mutex);
    bool changed = l->have_screen || strcmp(l->message, e->msg) != 0;
    l->have_screen = false;
    l->ended = e->code == ERR_STATE || e->code == ERR_NOENT;
    str_copy(l->message, sizeof(l->message), e->msg);
    pthread_mutex_unlock(&l->mutex);
    if (changed)
        loop_post(app_loop(), post_dirty, NULL);
}

static void wait_ns(struct link *l, int64_t ns)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_nsec += ns % NS_PER_S;
    ts.tv_sec += ns / NS_PER_S + ts.tv_nsec / NS_PER_S;
    ts.tv_nsec %= NS_PER_S;
    pthread_mutex_lock(&l->mutex);
    if (!l->first && !l->stop)
        pthread_cond_timedwait(&l->wake, &l->mutex, &ts);
    pthread_mutex_unlock(&l->mutex);
}

/* Takes what is queued; neighbouring texts become one. */
static struct order *take(struct link *l, struct buf *text)
{
    struct order *key = NULL;

    pthread_mutex_lock(&l->mutex);
    while (l->first && !key) {
        struct order *o = l->first;

        if (o->is_key && text->len)
            break;
        l->first = o->next;
        if (!l->first)
            l->last = &l->first;
        l->queued -= strlen(o->text);
        if (o->is_key) {
            key = o;
        } else {
            buf_puts(text, o->text);
            x_free(o);
        }
    }
    pthread_mutex_unlock(&l->mutex);
    return key;
}

static bool send_orders(struct link *l, struct client *c, struct err *e)
{
    bool ok = true;

    for (;;) {
        struct buf text = BUF_INIT;
        struct order *key = take(l, &text);
        bool any = key || text.len;

        if (text.len)
            ok = client_type(c, buf_str(&text), l->layout, e);
        else if (key)
            ok = client_send_key(c, key->text, e);
        buf_free(&text);
        x_free(key);
        if (!any || !ok)
            return ok;
        pthread_mutex_lock(&l->mutex);
        l->active_until = clock_now_ns() + 2 * NS_PER_S;
        pthread_mutex_unlock(&l->mutex);
    }
}

static bool poll_screen(struct link *l, struct client *c, struct text_screen *screen, struct err *e)
{
    uint64_t since = screen->frame;

    if (!client_text_screen(c, since, screen, e))
        return false;
    pthread_mutex_lock(&l->mutex);
    bool changed = screen->frame != since || !l->have_screen;
    if (changed) {
        l->screen = *screen;
        l->have_screen = true;
        l->ended = false;
        l->message[0] = '\0';
        l->active_until = clock_now_ns() + NS_PER_S;
    }
    pthread_mutex_unlock(&l->mutex);
    if (changed)
        loop_post(app_loop(), post_dirty, NULL);
    return true;
}

static int64_t interval(struct link *l)
{
    pthread_mutex_lock(&l->mutex);
    bool active = clock_now_ns() < l->active_until;
    int64_t ns = !l->watched ? 500 * NS_PER_MS : active ? 33 * NS_PER_MS : 120 * NS_PER_MS;
    pthread_mutex_unlock(&l->mutex);
    return ns;
}

static bool stopped(struct link *l)
{
    pthread_mutex_lock(&l->mutex);
    bool stop = l->stop;
    pthread_mutex_unlock(&l->mutex);
    return stop;
}

static void *run(void *arg)
{
    struct link *l = arg;
    struct client *c = NULL;
    struct text_screen *screen = X_NEW(struct text_screen);

    while (!stopped(l)) {
        struct err e = ERR_INIT;

        if (!c) {
            screen->frame = 0;
            c = client_connect(l->name, &e);
        }
        /* a key that the VM does not know must not end the connection */
        if (c && !send_orders(l, c, &e) && e.code != ERR_INVALID && e.code != ERR_UNSUPPORTED) {
            client_close(c);
            c = NULL;
        }
        if (c && !poll_screen(l, c, screen, &e)) {
            client_close(c);
            c = NULL;
        }
        if (!c)
            publish_error(l, &e);
        wait_ns(l, c ? interval(l) : 500 * NS_PER_MS);
    }
    if (c)
        client_close(c);
    while (l->first) {
        struct order *o = l->first;

        l->first = o->next;
        x_free(o);
    }
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->wake);
    x_free(screen);
    x_free(l);
    return NULL;
}

/* ---- the UI's side ---- */

struct link *link_new(const char *name, const char *layout)
{
    struct link *l = X_NEW(struct link);
    pthread_condattr_t attr;
    pthread_t t;
    struct err e;

    str_copy(l->name, sizeof(l->name), name);
    str_copy(l->layout, sizeof(l->layout), layout);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attr);
    pthread_condattr_destroy(&attr);
    l->last = &l->first;
    l->watched = true;
    if (!thread_start(&t, "ui-console", run, l, &e)) {
        app_toast_err(&e);
        x_free(l);
        return NULL;
    }
    pthread_detach(t);
    return l;
}

void link_free(struct link *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->mutex);
    l->stop = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->mutex);
}

static bool add(struct link *l, const char *text, bool is_key)
{
    size_t len = strlen(text);
    bool ok;

    pthread_mutex_lock(&l->mutex);
    ok = l->queued + len <= QUEUE_MAX;
    if (ok) {
        struct order *o = x_alloc(sizeof(*o) + len + 1);

        memcpy(o->text, text, len + 1);
        o->is_key = is_key;
        *l->last = o;
        l->last = &o->next;
        l->queued += len;
        pthread_cond_signal(&l->wake);
    }
    pthread_mutex_unlock(&l->mutex);
    return ok;
}

void link_key(struct link *l, const char *combo)
{
    if (!add(l, combo, true))
        app_toast(ROLE_WARN, "the guest does not take keys: some were dropped");
}

bool link_type(struct link *l, const char *utf8)
{
    return add(l, utf8, false);
}

bool link_screen(struct link *l, struct text_screen *out, char *message, size_t size)
{
    pthread_mutex_lock(&l->mutex);
    bool have = l->have_screen;
    if (have)
        *out = l->screen;
    str_copy(message, size, l->message);
    pthread_mutex_unlock(&l->mutex);
    return have;
}

bool link_ended(struct link *l)
{
    pthread_mutex_lock(&l->mutex);
    bool ended = l->ended;
    pthread_mutex_unlock(&l->mutex);
    return ended;
}

void link_watch(struct link *l, bool on)
{
    pthread_mutex_lock(&l->mutex);
    l->watched = on;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->mutex);
}
