/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The run loop: blocks of decoded instructions one after another; between blocks, and when an
 * instruction asks for it by end_block, events are taken: kicks, flushes, INIT, NMI, interrupts,
 * debug traps, halts.
 *
 * Exclusivity: `running` counts the vCPUs that may be executing. A vCPU leaves the count while it
 * sleeps or is parked; who wants the machine for itself becomes owner, tells the others and waits
 * until it is the only one counted. */
#include <string.h>

#include "vmm/cpu/code.h"
#include "vmm/cpu/interp/ops.h"
#include "vmm/cpu/jit/jit.h"
#include "vmm/cpu/jit/verify.h"

/* ---- waking and stopping ---- */

void cpu_post(struct cpu *c, uint32_t pending)
{
    atomic_fetch_or(&c->pending, pending);
    if (c->jit)
        jit_ask_attention(c);
    if (atomic_load(&c->sleeping)) {
        pthread_mutex_lock(&c->sleep_mutex);
        pthread_cond_signal(&c->sleep_cond);
        pthread_mutex_unlock(&c->sleep_mutex);
    }
}

void cpu_kick(struct cpu *c)
{
    cpu_post(c, CPU_PENDING_KICK);
}

void cpu_nmi(struct cpu *c)
{
    cpu_post(c, CPU_PENDING_NMI);
}

static void leave_running(struct cpu_set *set)
{
    pthread_mutex_lock(&set->stop_mutex);
    set->running--;
    pthread_cond_broadcast(&set->stop_cond);
    pthread_mutex_unlock(&set->stop_mutex);
}

static void enter_running(struct cpu_set *set)
{
    pthread_mutex_lock(&set->stop_mutex);
    while (set->owner)
        pthread_cond_wait(&set->stop_cond, &set->stop_mutex);
    set->running++;
    pthread_mutex_unlock(&set->stop_mutex);
}

void cpu_exclusive_begin(struct cpu *c)
{
    struct cpu_set *set = c->set;

    if (set->cfg.count == 1)
        return;
    pthread_mutex_lock(&set->stop_mutex);
    set->running--; /* so that another owner need not wait for us */
    pthread_cond_broadcast(&set->stop_cond);
    while (set->owner)
        pthread_cond_wait(&set->stop_cond, &set->stop_mutex);
    set->owner = c;
    for (unsigned i = 0; i < set->cfg.count; i++)
        if (set->cpu[i] != c)
            cpu_post(set->cpu[i], CPU_PENDING_STOP);
    while (set->running > 0)
        pthread_cond_wait(&set->stop_cond, &set->stop_mutex);
    pthread_mutex_unlock(&set->stop_mutex);
}

void cpu_exclusive_end(struct cpu *c)
{
    struct cpu_set *set = c->set;

    if (set->cfg.count == 1)
        return;
    pthread_mutex_lock(&set->stop_mutex);
    set->owner = NULL;
    set->running++;
    pthread_cond_broadcast(&set->stop_cond);
    pthread_mutex_unlock(&set->stop_mutex);
}

static void park(struct cpu *c)
{
    atomic_fetch_and(&c->pending, ~CPU_PENDING_STOP);
    leave_running(c->set);
    enter_running(c->set);
}

/* ---- raising ---- */

/* An instruction that held exclusivity met a fault. */
static void drop_exclusivity(struct cpu *c)
{
    if (c->set->cfg.count > 1 && atomic_load_explicit(&c->set->owner, memory_order_relaxed) == c)
        cpu_exclusive_end(c);
}

/* ---- events ---- */

static bool shadowed(const struct cpu *c)
{
    return c->s.sti_shadow || c->s.mov_ss_shadow;
}

static bool takes_interrupts(const struct cpu *c)
{
    return (c->s.rflags & X86_IF) && !shadowed(c);
}

/* A vCPU that waits for anything but these stays as it is. */
static bool wakes(const struct cpu *c, uint32_t pending)
{
    uint32_t always = CPU_PENDING_KICK | CPU_PENDING_INIT | CPU_PENDING_FLUSH | CPU_PENDING_STOP;

    if (c->s.mp_state != X86_MP_HALTED)
        return pending & (always | CPU_PENDING_SIPI);
    if (pending & always)
        return true;
    if ((pending & CPU_PENDING_NMI) && !c->s.nmi_masked)
        return true;
    return (pending & CPU_PENDING_IRQ) && (c->s.rflags & X86_IF) && lapic_has_irq(c->lapic);
}

static void sleep_until_woken(struct cpu *c)
{
    int64_t start = clock_now_ns();

    c->stats.halts += c->s.mp_state == X86_MP_HALTED;
    c->doing = CPU_HALTED;
    leave_running(c->set);
    pthread_mutex_lock(&c->sleep_mutex);
    atomic_store(&c->sleeping, true);
    while (!wakes(c, atomic_load(&c->pending)))
        pthread_cond_wait(&c->sleep_cond, &c->sleep_mutex);
    atomic_store(&c->sleeping, false);
    pthread_mutex_unlock(&c->sleep_mutex);
    enter_running(c->set);
    c->doing = CPU_INTERPRETS;
    c->stats.halted_ns += (uint64_t)(clock_now_ns() - start);
}

enum event_result { EVENT_NONE, EVENT_TAKEN, EVENT_KICK, EVENT_SHUTDOWN };

/* Between instructions RIP is where execution goes on; the marks of a transfer of control mean nothing there. */
static void settle(struct cpu *c)
{
    c->branched = c->end_block = false;
}

static bool deliver(struct cpu *c, unsigned vector, enum event_kind kind)
{
    c->s.mp_state = X86_MP_RUNNABLE;
    bool ok = cpu_deliver(c, vector, kind, false, 0);
    settle(c);
    return ok;
}

/* The exception that a handler raised. False: triple fault. */
static bool deliver_raised(struct cpu *c)
{
    drop_exclusivity(c);
    c->s.sti_shadow = c->s.mov_ss_shadow = 0;
    settle(c);
    bool ok = cpu_deliver_raised(c);
    settle(c);
    return ok;
}

static enum event_result take_interrupt(struct cpu *c)
{
    if (!takes_interrupts(c))
        return EVENT_NONE;
    atomic_fetch_and(&c->pending, ~CPU_PENDING_IRQ);
    int vector = lapic_ack(c->lapic);
    if (vector < 0)
        return EVENT_NONE;
    atomic_fetch_or(&c->pending, CPU_PENDING_IRQ); /* there may be another one */
    return deliver(c, (unsigned)vector, EVENT_EXT_INT) ? EVENT_TAKEN : EVENT_SHUTDOWN;
}

static enum event_result handle_pending(struct cpu *c, uint32_t pending)
{
    if (pending & CPU_PENDING_STOP)
        park(c);
    if (pending & CPU_PENDING_FLUSH) {
        atomic_fetch_and(&c->pending, ~CPU_PENDING_FLUSH);
        tlb_flush_all(c);
    }
    if (pending & CPU_PENDING_KICK) {
        atomic_fetch_and(&c->pending, ~CPU_PENDING_KICK);
        return EVENT_KICK;
    }
    if (pending & CPU_PENDING_INIT) {
        atomic_fetch_and(&c->pending, ~CPU_PENDING_INIT);
        cpu_init_signal(c);
        return EVENT_TAKEN;
    }
    if (pending & CPU_PENDING_SIPI) {
        atomic_fetch_and(&c->pending, ~CPU_PENDING_SIPI);
        cpu_sipi_signal(c, c->sipi_vector);
        return EVENT_TAKEN;
    }
    if (c->s.mp_state != X86_MP_RUNNABLE && c->s.mp_state != X86_MP_HALTED)
        return EVENT_NONE;
    if ((pending & CPU_PENDING_NMI) && !c->s.nmi_masked && !shadowed(c)) {
        atomic_fetch_and(&c->pending, ~CPU_PENDING_NMI);
        c->s.nmi_pending = 0;
        return deliver(c, X86_NMI, EVENT_NMI) ? EVENT_TAKEN : EVENT_SHUTDOWN;
    }
    if (pending & CPU_PENDING_IRQ)
        return take_interrupt(c);
    return EVENT_NONE;
}

/* Events that came with a loaded state. */
static bool deliver_loaded(struct cpu *c)
{
    bool ok = true;

    if (c->s.exc_pending) {
        c->s.exc_pending = 0;
        ok = cpu_deliver(c, c->s.exc_vector, EVENT_FAULT, c->s.exc_has_error, c->s.exc_error);
    } else if (c->s.irq_injected) {
        c->s.irq_injected = 0;
        ok = cpu_deliver(c, c->s.irq_vector, EVENT_EXT_INT, false, 0);
    }
    settle(c);
    return ok;
}

/* ---- execution ---- */

static inline void advance_rip(struct cpu *c, const struct insn *i)
{
    c->s.rip = (c->s.rip + i->len) & c->rip_mask;
}

/* One instruction with everything that may surround it. False: triple fault. */
static bool run_one(struct cpu *c)
{
    bool shadow = shadowed(c), debug = debug_active(c);

    if (c->dbg_hits && !shadow) { /* a task switch asked for a trap in front of its first instruction */
        c->dbg_tf = false;
        bool alive = debug_after(c);
        settle(c);
        return alive;
    }
    if (debug)
        debug_before(c);
    const struct insn *i = code_find(c)->insns;
    c->branched = false;
    i->exec(c, i);
    if (!c->branched)
        advance_rip(c, i);
    c->branched = false;
    c->end_block = false;
    c->stats.instructions++;
    if (shadow)
        c->s.sti_shadow = c->s.mov_ss_shadow = 0;
    bool ok = !(debug || c->dbg_hits) || debug_after(c);
    settle(c);
    return ok;
}

static struct block *next_block(struct cpu *c, struct block *last)
{
    uint64_t rip = c->s.rip;

    if (last) {
        for (unsigned k = 0; k < 2; k++) {
            struct block *b = last->next[k].block;
            if (b && last->next[k].rip == rip && last->next[k].epoch == c->tlb_epoch &&
                (uint8_t)b->key == cpu_block_mode(c) && block_valid(c, b))
                return b;
        }
    }
    uint32_t epoch = c->tlb_epoch;
    struct block *b = code_find(c);
    if (last && epoch == c->tlb_epoch) {
        last->next[1] = last->next[0];
        last->next[0].block = b;
        last->next[0].rip = rip;
        last->next[0].epoch = epoch;
    }
    return b;
}

static void run_block(struct cpu *c, const struct block *b)
{
    const struct insn *i = b->insns, *end = i + b->count;

    do {
        i->exec(c, i);
        if (__builtin_expect(c->branched, 0)) {
            c->branched = false;
            i++;
            break;
        }
        advance_rip(c, i);
        i++;
    } while (i < end && !c->end_block);
    c->end_block = false;
    c->stats.instructions += (uint64_t)(i - b->insns);
}

/* Code that is not flat, or seldom executed; or what the translator leaves to the interpreter. False: triple fault, or
 * a difference was found. */
static bool execute(struct cpu *c, struct block **last)
{
    if (debug_active(c) || shadowed(c)) {
        *last = NULL;
        return run_one(c);
    }
    switch (c->jit ? jit_run(c) : JIT_COLD) {
    case JIT_AGAIN:
        *last = NULL;
        return true;
    case JIT_INTERPRET:
        *last = NULL;
        return run_one(c);
    case JIT_DIFFERS: return false;
    case JIT_COLD: break;
    }
    *last = next_block(c, *last);
    run_block(c, *last);
    return true;
}

static enum cpu_exit run(struct cpu *c)
{
    volatile enum cpu_exit exit = CPU_EXIT_KICK;

    if (!deliver_loaded(c))
        return CPU_EXIT_SHUTDOWN;
    if (sigsetjmp(c->raise_env, 0)) {
        c->doing = CPU_INTERPRETS;
        if (!deliver_raised(c))
            return CPU_EXIT_SHUTDOWN;
    }
    struct block *last = NULL;
    for (;;) {
        if (atomic_load_explicit(&c->hot.attention, memory_order_relaxed))
            jit_quiet(c);
        uint32_t pending = atomic_load(&c->pending);
        if (pending && ((pending & ~CPU_PENDING_IRQ) || takes_interrupts(c) || c->s.mp_state != X86_MP_RUNNABLE)) {
            enum event_result r = handle_pending(c, pending);
            last = NULL;
            if (r == EVENT_KICK || r == EVENT_SHUTDOWN) {
                exit = r == EVENT_KICK ? CPU_EXIT_KICK : CPU_EXIT_SHUTDOWN;
                break;
            }
            if (r == EVENT_TAKEN)
                continue;
        }
        if (c->s.mp_state != X86_MP_RUNNABLE) {
            sleep_until_woken(c);
            continue;
        }
        if (!execute(c, &last)) {
            exit = verify_failed(c) ? CPU_EXIT_DIFFERS : CPU_EXIT_SHUTDOWN;
            break;
        }
    }
    return exit;
}

enum cpu_exit cpu_run(struct cpu *c)
{
    profile_thread(c);
    enter_running(c->set);
    c->doing = CPU_INTERPRETS;
    enum cpu_exit exit = run(c);
    c->doing = CPU_STOPPED;
    leave_running(c->set);
    return exit;
}

bool cpu_step(struct cpu *c)
{
    bool ok = true;

    enter_running(c->set);
    if (c->s.exc_pending || c->s.irq_injected) {
        ok = deliver_loaded(c);
    } else {
        if (atomic_load(&c->pending) & CPU_PENDING_FLUSH) {
            atomic_fetch_and(&c->pending, ~CPU_PENDING_FLUSH);
            tlb_flush_all(c);
        }
        if (sigsetjmp(c->raise_env, 0)) {
            ok = deliver_raised(c);
        } else {
            ok = run_one(c);
        }
    }
    leave_running(c->set);
    return ok;
}
