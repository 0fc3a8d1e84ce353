/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads for calls that may block: the UI thread itself never waits. Threads are made on demand up
 * to a few and then stay. */
#include <pthread.h>
#include <stdatomic.h>

#include "tui/ui/app.h"
#include "vmm/base/alloc.h"
#include "vmm/base/thread.h"

#define MAX_THREADS 16 /* a shutdown may take a minute, and more VMs may be told to */

struct job {
    struct job *next;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct job *first, **last;
    unsigned threads, idle;
} pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, &pool.first, 0, 0};
static atomic_uint outstanding;

static void finish(void *opaque)
{
    struct job *j = opaque;

    atomic_fetch_sub(&outstanding, 1);
    if (j->done)
        j->done(j->arg);
    x_free(j);
    app_dirty();
}

static void *run(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_mutex_lock(&pool.mutex);
        pool.idle++;
        while (!pool.first)
            pthread_cond_wait(&pool.wake, &pool.mutex);
        pool.idle--;
        struct job *j = pool.first;
        pool.first = j->next;
        if (!pool.first)
            pool.last = &pool.first;
        pthread_mutex_unlock(&pool.mutex);
        j->work(j->arg);
        loop_post(app_loop(), finish, j);
    }
    return NULL;
}

void job_run(void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct job *j = X_NEW(struct job);
    bool more;

    *j = (struct job){NULL, work, done, arg};
    atomic_fetch_add(&outstanding, 1);
    pthread_mutex_lock(&pool.mutex);
    *pool.last = j;
    pool.last = &j->next;
    more = pool.idle == 0 && pool.threads < MAX_THREADS;
    pool.threads += more;
    pthread_cond_signal(&pool.wake);
    pthread_mutex_unlock(&pool.mutex);
    if (more) {
        pthread_t t;
        struct err e;

        if (thread_start(&t, "ui-job", run, NULL, &e))
            pthread_detach(t);
        else
            app_toast_err(&e);
    }
}

unsigned job_count(void)
{
    return atomic_load(&outstanding);
}
