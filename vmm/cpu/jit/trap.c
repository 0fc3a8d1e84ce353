/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>

/* cpu_priv.h has a REG_RIP of its own */
enum { HOST_RIP = REG_RIP };
#undef REG_RIP

#include "vmm/cpu/jit/jit_priv.h"
#include "vmm/cpu/jit/trap.h"

_Thread_local struct cpu *volatile jit_trap_cpu;

static struct sigaction old[3]; /* of SIGFPE, SIGSEGV and SIGILL */

static const struct jit_trap *find(const struct jit *j, uint32_t at)
{
    uint32_t low = 0, high = j->trap_count;

    while (low < high) { /* by rising address: code memory fills from its start */
        uint32_t mid = low + (high - low) / 2;
        if (at >= j->traps[mid].end)
            low = mid + 1;
        else
            high = mid;
    }
    return low < j->trap_count && at >= j->traps[low].start ? &j->traps[low] : NULL;
}

static bool handled(ucontext_t *uc)
{
    struct cpu *c = jit_trap_cpu;
    uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[HOST_RIP];
    const struct jit_trap *t;

    if (!c || !c->jit || rip - (uintptr_t)c->jit->rx >= c->jit->size)
        return false;
    t = find(c->jit, (uint32_t)(rip - (uintptr_t)c->jit->rx));
    if (!t)
        return false;
    c->s.rip = t->rip;
    if (t->last_back) {
        c->s.fpu.fip = t->rip - t->last_back;
        c->s.fpu.fop = t->last_fop;
    }
    uc->uc_mcontext.gregs[HOST_RIP] = (greg_t)(uintptr_t)c->jit->trap;
    return true;
}

/* A mistake of the translator: says which block it was, for the log. */
static void report(int sig, const ucontext_t *uc)
{
    struct cpu *c = jit_trap_cpu;
    const struct jit *j = c ? c->jit : NULL;
    uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[HOST_RIP];

    if (!j || rip - (uintptr_t)j->rx >= j->size)
        return;
    const struct jit_block *b = jit_block_at(j, (const void *)(uintptr_t)rip);
    dprintf(2, "signal %d in translated code at %+lld\n", sig, (long long)(rip - (uintptr_t)j->rx));
    if (!b)
        return;
    dprintf(2, "block at %#llx, host code %+lld, guest code:", (unsigned long long)b->rip,
            (long long)(rip - (uintptr_t)b->body));
    for (unsigned n = 0; n < b->len; n++)
        dprintf(2, " %02x", b->bytes[n]);
    dprintf(2, "\n");
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    const struct sigaction *o = &old[sig == SIGILL ? 2 : sig == SIGSEGV];

    if (handled(context))
        return;
    report(sig, context);
    if (o->sa_flags & SA_SIGINFO)
        o->sa_sigaction(sig, info, context);
    else if (o->sa_handler != SIG_DFL && o->sa_handler != SIG_IGN)
        o->sa_handler(sig);
    else
        signal(sig, SIG_DFL); /* our own mistake: comes again on return and ends the process */
}

static void install(int sig, struct sigaction *before)
{
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER}, now;

    sigemptyset(&sa.sa_mask);
    sigaction(sig, NULL, &now);
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_signal)
        return;
    *before = now;
    sigaction(sig, &sa, NULL);
}

void jit_trap_install(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&mutex);
    install(SIGFPE, &old[0]);
    install(SIGSEGV, &old[1]);
    install(SIGILL, &old[2]);
    pthread_mutex_unlock(&mutex);
}
