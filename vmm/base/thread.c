/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/base/thread.h"

#include <assert.h>
#include <signal.h>

#include "vmm/base/bits.h"

/* Highest rank this thread holds, by counting how many locks of each rank. */
static _Thread_local unsigned held[LOCK_LEAF + 1];

void lock_init(struct lock *l, enum lock_rank rank)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    if (rank == LOCK_MACHINE)
        pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&l->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    l->rank = rank;
}

void lock_fini(struct lock *l)
{
    pthread_mutex_destroy(&l->mutex);
}

void lock_take(struct lock *l)
{
#ifndef NDEBUG
    for (unsigned r = l->rank + 1; r <= LOCK_LEAF; r++)
        assert(held[r] == 0 || (l->rank == LOCK_MACHINE && held[LOCK_MACHINE] > 0));
#endif
    pthread_mutex_lock(&l->mutex);
    held[l->rank]++;
}

void lock_drop(struct lock *l)
{
    held[l->rank]--;
    pthread_mutex_unlock(&l->mutex);
}

bool thread_start(pthread_t *t, const char *name, void *(*fn)(void *), void *arg, struct err *e)
{
    static const int faults[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGSYS};
    sigset_t most, old;

    /* signals go to the thread that asked for them, and vCPU threads unblock their kick signal; but those that report
     * what the thread itself did end the process when they are blocked, even if there is a handler */
    sigfillset(&most);
    for (unsigned i = 0; i < ARRAY_LEN(faults); i++)
        sigdelset(&most, faults[i]);
    pthread_sigmask(SIG_SETMASK, &most, &old);
    int rc = pthread_create(t, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc)
        return err_errno(e, rc, "cannot start thread \"%s\"", name);
    pthread_setname_np(*t, name);
    return true;
}
