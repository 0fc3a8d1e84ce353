/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a vCPU does with its time: a timer's signal interrupts its thread, and the handler writes down where. The tables
 * of translated code change on that thread alone, and not while translated code runs, so the handler may search them. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* cpu_priv.h has a REG_RIP of its own */
enum { HOST_RIP = REG_RIP };
#undef REG_RIP

#include "vmm/base/alloc.h"
#include "vmm/cpu/cpu_priv.h"
#include "vmm/cpu/jit/jit.h"

#define PROFILE_SIGNAL SIGPROF

const char *const cpu_doing_names[CPU_DOING] = {
    [CPU_TRANSLATED] = "translated", [CPU_INTERPRETS] = "interpreter", [CPU_TRANSLATES] = "translator",
    [CPU_DEVICE] = "devices",        [CPU_HALTED] = "halted",          [CPU_STOPPED] = "stopped",
};

const char *const cpu_jit_exit_names[CPU_JIT_EXITS] = {
    [CPU_JIT_LINK] = "link",
    [CPU_JIT_INDIRECT] = "indirect",
    [CPU_JIT_INTERPRET] = "interpret",
    [CPU_JIT_EVENT] = "event",
};

struct sample {
    uint8_t doing;
    struct cpu_hot block; /* of translated code */
};

struct profiler {
    timer_t timer;
    _Atomic bool active;
    _Atomic uint32_t count;
    struct sample sample[CPU_SAMPLES];
};

static _Thread_local struct cpu *volatile this_cpu;

static void on_signal(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;
    struct cpu *c = this_cpu;
    struct profiler *p = c ? c->profiler : NULL;
    uint32_t n = p ? atomic_load(&p->count) : 0;

    (void)sig;
    (void)info;
    if (!p || !atomic_load(&p->active) || n == CPU_SAMPLES)
        return;
    struct sample *s = &p->sample[n];
    s->doing = c->doing;
    if (jit_locate(c, (uintptr_t)uc->uc_mcontext.gregs[HOST_RIP], &s->block))
        s->doing = CPU_TRANSLATED;
    else
        s->block = (struct cpu_hot){0};
    atomic_store(&p->count, n + 1);
}

void profile_thread(struct cpu *c)
{
    sigset_t set;

    if (this_cpu == c)
        return;
    this_cpu = c;
    atomic_store(&c->tid, gettid());
    sigemptyset(&set);
    sigaddset(&set, PROFILE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void profile_free(struct cpu *c)
{
    if (this_cpu == c)
        this_cpu = NULL;
    x_free(c->profiler);
}

bool cpu_profile_start(struct cpu *c, unsigned period_us, struct err *e)
{
    const struct itimerspec often = {.it_interval.tv_sec = period_us / 1000000,
                                     .it_interval.tv_nsec = period_us % 1000000 * 1000,
                                     .it_value.tv_nsec = 1};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = PROFILE_SIGNAL};

    event._sigev_un._tid = atomic_load(&c->tid);
    if (!event._sigev_un._tid)
        return err_set(e, ERR_STATE, "vCPU %u has not run yet", c->index);
    if (!c->profiler)
        c->profiler = X_NEW(struct profiler);
    atomic_store(&c->profiler->count, 0);
    sigaction(PROFILE_SIGNAL, &sa, NULL);
    if (timer_create(CLOCK_MONOTONIC, &event, &c->profiler->timer) < 0)
        return err_errno(e, errno, "vCPU %u cannot be looked at", c->index);
    atomic_store(&c->profiler->active, true);
    timer_settime(c->profiler->timer, 0, &often, NULL);
    return true;
}

/* ---- what was seen ---- */

static int by_block(const void *a, const void *b)
{
    const struct cpu_hot *x = a, *y = b;

    if (x->rip != y->rip)
        return x->rip < y->rip ? -1 : 1;
    return x->cpl != y->cpl ? x->cpl - y->cpl : x->bits - y->bits;
}

static int by_samples(const void *a, const void *b)
{
    const struct cpu_hot *x = a, *y = b;

    return x->samples != y->samples ? (x->samples > y->samples ? -1 : 1) : by_block(a, b);
}

/* Equal neighbours become one; returns how many are left. */
static uint32_t merge(struct cpu_hot *h, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t n = 0; n < count; n++) {
        if (!kept || by_block(&h[kept - 1], &h[n]))
            h[kept++] = h[n];
        else
            h[kept - 1].samples++;
    }
    return kept;
}

void cpu_profile_stop(struct cpu *c, struct cpu_profile *out)
{
    struct profiler *p = c->profiler;
    struct cpu_hot *h;
    uint32_t count = 0;

    memset(out, 0, sizeof(*out));
    if (!p || !atomic_load(&p->active))
        return;
    timer_delete(p->timer);
    atomic_store(&p->active, false);
    out->samples = atomic_load(&p->count);
    h = x_calloc(out->samples + 1, sizeof(*h));
    for (uint32_t n = 0; n < out->samples; n++) {
        const struct sample *s = &p->sample[n];

        out->doing[s->doing < CPU_DOING ? s->doing : CPU_INTERPRETS]++;
        if (s->doing == CPU_TRANSLATED && s->block.instructions) {
            h[count] = s->block;
            h[count++].samples = 1;
        }
    }
    qsort(h, count, sizeof(*h), by_block);
    count = merge(h, count);
    qsort(h, count, sizeof(*h), by_samples);
    out->hot_count = MIN(count, CPU_HOT);
    memcpy(out->hot, h, out->hot_count * sizeof(*h));
    x_free(h);
}
