/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads and locks. A lock has a rank; a thread may take locks only in rising rank, which debug
 * builds assert. Vm < machine < leaf: device code runs under the machine lock of its VM, taken by the
 * bus, by the clock and by loop callbacks; leaf locks guard single structures (LAPIC, memory map, log). */
#ifndef VMDECK_BASE_THREAD_H
#define VMDECK_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "vmm/base/err.h"

enum lock_rank { LOCK_VM, LOCK_MACHINE, LOCK_BACKEND, LOCK_LEAF };

struct lock {
    pthread_mutex_t mutex; /* recursive for LOCK_MACHINE: DMA completion may re-enter the bus */
    enum lock_rank rank;
};

void lock_init(struct lock *l, enum lock_rank rank);
void lock_fini(struct lock *l);
void lock_take(struct lock *l);
void lock_drop(struct lock *l);

/* name: at most 15 characters, shown by top -H. */
bool thread_start(pthread_t *t, const char *name, void *(*fn)(void *), void *arg, struct err *e);

#endif
