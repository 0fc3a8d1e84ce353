/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dispatch of requests to worker threads and of completions back to the loop.
 *
 * Locks: queue.mutex guards the two lists, in_flight and quit; it is a leaf. A flush need not wait
 * for writes in flight: a guest flushes what was completed before, and those have been written. */
#include "vmm/block/blk_priv.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/base/thread.h"

#define WORKERS 4

struct req_list {
    struct blk_req *first, *last;
};

struct blk_queue {
    struct blk *blk;
    struct loop_event *completed;
    pthread_mutex_t mutex;
    pthread_cond_t work, idle;
    struct req_list todo, finished;
    unsigned in_flight; /* submitted, done not called yet */
    bool quit;
    pthread_t threads[WORKERS];
    unsigned thread_count;
};

static const struct blk_format *const formats[] = {&blk_raw};

static void append(struct req_list *l, struct blk_req *r)
{
    r->next = NULL;
    if (l->last)
        l->last->next = r;
    else
        l->first = r;
    l->last = r;
}

static struct blk_req *take(struct req_list *l)
{
    struct blk_req *r = l->first;

    if (r) {
        l->first = r->next;
        if (!l->first)
            l->last = NULL;
    }
    return r;
}

static void account(struct blk *b, const struct blk_req *r)
{
    if (r->err_) {
        b->stats.errors++;
        return;
    }
    switch (r->op) {
    case BLK_READ:
        b->stats.reads++;
        b->stats.read_bytes += r->len;
        break;
    case BLK_WRITE:
        b->stats.writes++;
        b->stats.write_bytes += r->len;
        break;
    case BLK_FLUSH: b->stats.flushes++; break;
    case BLK_DISCARD:
    case BLK_WRITE_ZEROES: break;
    }
}

/* Loop thread, or whoever drains. */
static void complete(void *opaque)
{
    struct blk_queue *q = opaque;

    for (;;) {
        pthread_mutex_lock(&q->mutex);
        struct blk_req *r = take(&q->finished);
        pthread_mutex_unlock(&q->mutex);
        if (!r)
            return;
        account(q->blk, r);
        r->done(r, r->err_);
        pthread_mutex_lock(&q->mutex);
        q->in_flight--;
        pthread_mutex_unlock(&q->mutex);
    }
}

static void *worker(void *arg)
{
    struct blk_queue *q = arg;

    pthread_mutex_lock(&q->mutex);
    for (;;) {
        struct blk_req *r = take(&q->todo);
        if (!r) {
            if (q->quit)
                break;
            pthread_cond_wait(&q->work, &q->mutex);
            continue;
        }
        pthread_mutex_unlock(&q->mutex);
        r->err_ = q->blk->format->execute(q->blk, r);
        pthread_mutex_lock(&q->mutex);
        append(&q->finished, r);
        pthread_cond_broadcast(&q->idle);
        loop_event_signal(q->completed);
    }
    pthread_mutex_unlock(&q->mutex);
    return NULL;
}

static void queue_stop(struct blk_queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->quit = true;
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&q->mutex);
    for (unsigned i = 0; i < q->thread_count; i++)
        pthread_join(q->threads[i], NULL);
    q->thread_count = 0;
}

static bool queue_start(struct blk *b, struct loop *loop, struct err *e)
{
    struct blk_queue *q = X_NEW(struct blk_queue);

    b->queue = q;
    q->blk = b;
    q->completed = loop_event_new(loop, complete, q);
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->work, NULL);
    pthread_cond_init(&q->idle, NULL);
    for (; q->thread_count < WORKERS; q->thread_count++)
        if (!thread_start(&q->threads[q->thread_count], "blk", worker, q, e))
            return false;
    return true;
}

struct blk *blk_open(const char *format, int fd, bool readonly, struct loop *loop, struct err *e)
{
    struct blk *b = X_NEW(struct blk);

    b->fd = fd;
    b->readonly = readonly;
    for (unsigned i = 0; i < ARRAY_LEN(formats); i++)
        if (strcmp(formats[i]->name, format) == 0)
            b->format = formats[i];
    if (!b->format) {
        err_set(e, ERR_UNSUPPORTED, "unknown image format \"%s\"", format);
        goto fail;
    }
    if (!b->format->open(b, e))
        goto fail;
    if (!queue_start(b, loop, e)) {
        blk_close(b);
        return NULL;
    }
    return b;
fail:
    fd_close(&b->fd);
    x_free(b);
    return NULL;
}

void blk_close(struct blk *b)
{
    if (!b)
        return;
    struct blk_queue *q = b->queue;
    blk_drain(b);
    queue_stop(q);
    if (!b->readonly)
        b->format->execute(b, &(struct blk_req){.op = BLK_FLUSH});
    b->format->close(b);
    loop_event_free(q->completed);
    pthread_mutex_destroy(&q->mutex);
    pthread_cond_destroy(&q->work);
    pthread_cond_destroy(&q->idle);
    x_free(q);
    fd_close(&b->fd);
    x_free(b);
}

void blk_get_info(const struct blk *b, struct blk_info *out)
{
    *out = (struct blk_info){.size = b->size, .readonly = b->readonly, .format = b->format->name};
}

void blk_get_stats(const struct blk *b, struct blk_stats *out)
{
    *out = b->stats;
}

/* What no format needs to look at twice. */
static int check(const struct blk *b, const struct blk_req *r)
{
    if (r->op == BLK_FLUSH)
        return 0;
    if (r->op != BLK_READ && b->readonly)
        return EROFS;
    if ((r->offset | r->len) % BLK_SECTOR || !range_within(r->offset, r->len, 0, b->size))
        return EIO;
    return 0;
}

bool blk_at_once(struct blk *b, struct blk_req *r)
{
    if (!b->format->at_once || check(b, r) != 0 || !b->format->at_once(b, r))
        return false;
    r->err_ = 0;
    account(b, r);
    return true;
}

void blk_submit(struct blk *b, struct blk_req *r)
{
    struct blk_queue *q = b->queue;

    r->err_ = check(b, r);
    pthread_mutex_lock(&q->mutex);
    q->in_flight++;
    if (r->err_) {
        append(&q->finished, r);
        loop_event_signal(q->completed);
    } else {
        append(&q->todo, r);
        pthread_cond_signal(&q->work);
    }
    pthread_mutex_unlock(&q->mutex);
}

void blk_drain(struct blk *b)
{
    struct blk_queue *q = b->queue;

    for (;;) {
        complete(q);
        pthread_mutex_lock(&q->mutex);
        bool busy = q->in_flight > 0;
        while (busy && !q->finished.first && q->in_flight > 0)
            pthread_cond_wait(&q->idle, &q->mutex);
        pthread_mutex_unlock(&q->mutex);
        if (!busy)
            return;
    }
}
