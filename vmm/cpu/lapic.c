/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APIC of one vCPU: registers in xAPIC and x2APIC form, priorities, local vector table, timer.
 *
 * Source: SDM vol. 3A ch. 10. Threads: the vCPU's own for registers, any for incoming messages and the
 * timer; one leaf lock per APIC, never held while another APIC, the PIC, the IOAPIC or the run loop is
 * called (the clock's own lock alone lies below it). The timer counts at 1 GHz, so that clock
 * nanoseconds shifted by the divider are counts. */
#include "vmm/cpu/lapic_priv.h"

#include "vmm/base/alloc.h"

#define TIMER_MODE(lvt)    ((lvt) >> 17 & 3)
#define TIMER_ONE_SHOT     0
#define TIMER_PERIODIC     1
#define TIMER_TSC_DEADLINE 2
/* A guest may ask for periods of nanoseconds; the host's loop must keep breathing. */
#define TIMER_MIN_PERIOD (50 * NS_PER_US)

#define SVR_NO_EOI_BROADCAST (1u << 12)

static uint32_t *regs(const struct lapic *l)
{
    return l->cpu->s.lapic;
}

static int64_t now(const struct lapic *l)
{
    return l->timer.clock ? clock_now(l->timer.clock) : clock_now_ns();
}

/* ---- priorities ---- */

static int highest(const uint32_t *bitmap)
{
    for (int n = 7; n >= 0; n--)
        if (bitmap[n])
            return n * 32 + 31 - __builtin_clz(bitmap[n]);
    return -1;
}

static void bit_set(uint32_t *bitmap, unsigned n, bool on)
{
    bitmap[n / 32] = on ? bitmap[n / 32] | BIT(n % 32) : bitmap[n / 32] & ~BIT(n % 32);
}

uint8_t lapic_ppr_locked(const struct lapic *l)
{
    uint8_t tpr = (uint8_t)regs(l)[APIC_TPR];
    int isr = highest(regs(l) + APIC_ISR);
    uint8_t served = isr < 0 ? 0 : (uint8_t)(isr & 0xf0);

    return (tpr & 0xf0) >= served ? tpr : served;
}

static bool lint0_is_ext(const struct lapic *l)
{
    uint32_t lvt = regs(l)[APIC_LVT_LINT0];

    if (!lapic_enabled(l))
        return l->cpu->index == 0;
    return !(lvt & APIC_LVT_MASKED) && (lvt >> 8 & 7) == APIC_DM_EXTINT;
}

uint32_t lapic_update_locked(struct lapic *l)
{
    int irr = highest(regs(l) + APIC_IRR);
    bool ready = lapic_enabled(l) && irr >= 0 && (irr & 0xf0) > (lapic_ppr_locked(l) & 0xf0);
    bool ext = lint0_is_ext(l);

    atomic_store(&l->ready, ready);
    atomic_store(&l->lint0_ext, ext);
    return ready || (ext && atomic_load(&l->cpu->set->extint)) ? CPU_PENDING_IRQ : 0;
}

uint32_t lapic_accept_locked(struct lapic *l, uint8_t vector, bool level_triggered)
{
    uint32_t post = 0;

    if (!lapic_enabled(l) || !(regs(l)[APIC_SVR] & APIC_SVR_ENABLE))
        return 0;
    if (vector < 16) {
        lapic_error_locked(l, APIC_ESR_RECV_ILLEGAL, &post);
        return post;
    }
    bit_set(regs(l) + APIC_IRR, vector, true);
    bit_set(regs(l) + APIC_TMR, vector, level_triggered);
    return lapic_update_locked(l);
}

void lapic_error_locked(struct lapic *l, uint32_t bit, uint32_t *post)
{
    uint32_t lvt = regs(l)[APIC_LVT_ERROR];

    l->esr_pending |= bit;
    if (!(lvt & APIC_LVT_MASKED) && (lvt & 0xff) >= 16)
        *post |= lapic_accept_locked(l, (uint8_t)lvt, false);
}

static void post_self(struct lapic *l, uint32_t post)
{
    if (post)
        cpu_post(l->cpu, post);
}

bool lapic_has_irq(struct lapic *l)
{
    return atomic_load(&l->ready) ||
           (atomic_load(&l->cpu->set->extint) && atomic_load(&l->lint0_ext));
}

int lapic_ack(struct lapic *l)
{
    const struct cpu_set_cfg *cfg = &l->cpu->set->cfg;
    int vector = -1;

    if (atomic_load(&l->cpu->set->extint) && atomic_load(&l->lint0_ext) && cfg->io->pic_ack)
        return cfg->io->pic_ack(cfg->io_opaque);
    lock_take(&l->lock);
    lapic_update_locked(l);
    if (atomic_load(&l->ready)) {
        vector = highest(regs(l) + APIC_IRR);
        bit_set(regs(l) + APIC_IRR, (unsigned)vector, false);
        bit_set(regs(l) + APIC_ISR, (unsigned)vector, true);
        lapic_update_locked(l);
    }
    lock_drop(&l->lock);
    return vector;
}

static void end_of_interrupt(struct lapic *l)
{
    const struct cpu_set_cfg *cfg = &l->cpu->set->cfg;
    bool broadcast = false;
    uint32_t post = 0;

    lock_take(&l->lock);
    int vector = highest(regs(l) + APIC_ISR);
    if (vector >= 0) {
        bit_set(regs(l) + APIC_ISR, (unsigned)vector, false);
        broadcast = (regs(l)[APIC_TMR + vector / 32] >> (vector % 32) & 1) &&
                    !(regs(l)[APIC_SVR] & SVR_NO_EOI_BROADCAST);
        post = lapic_update_locked(l);
    }
    lock_drop(&l->lock);
    post_self(l, post);
    if (broadcast && cfg->io->ioapic_eoi)
        cfg->io->ioapic_eoi(cfg->io_opaque, (uint8_t)vector);
}

/* ---- task priority ---- */

uint8_t lapic_get_tpr(struct lapic *l)
{
    return (uint8_t)(l->cpu->s.cr8 << 4);
}

void lapic_set_tpr(struct lapic *l, uint8_t tpr)
{
    lock_take(&l->lock);
    regs(l)[APIC_TPR] = tpr;
    l->cpu->s.cr8 = tpr >> 4;
    uint32_t post = lapic_update_locked(l);
    lock_drop(&l->lock);
    post_self(l, post);
}

/* ---- timer ---- */

static unsigned timer_shift(const struct lapic *l)
{
    uint32_t v = regs(l)[APIC_TDCR];

    return ((v & 3) + (v >> 1 & 4) + 1) & 7;
}

static int64_t timer_period(const struct lapic *l)
{
    return (int64_t)((uint64_t)regs(l)[APIC_TICR] << timer_shift(l));
}

static bool timer_in_mode(const struct lapic *l, unsigned mode)
{
    return TIMER_MODE(regs(l)[APIC_LVT_TIMER]) == mode;
}

static void timer_stop_locked(struct lapic *l)
{
    l->timer_live = false;
    timer_cancel(&l->timer);
}

static void timer_run_locked(struct lapic *l, int64_t deadline)
{
    l->timer_live = true;
    l->timer_deadline = deadline;
    if (l->timer.clock)
        timer_arm(&l->timer, deadline);
}

/* TICR was written: count from the start. */
static void timer_begin_locked(struct lapic *l)
{
    if (timer_in_mode(l, TIMER_TSC_DEADLINE))
        return;
    timer_stop_locked(l);
    if (!regs(l)[APIC_TICR])
        return;
    l->timer_start = now(l);
    timer_run_locked(l, l->timer_start + timer_period(l));
}

static uint32_t timer_count_locked(const struct lapic *l)
{
    if (!l->timer_live || timer_in_mode(l, TIMER_TSC_DEADLINE) || !regs(l)[APIC_TICR])
        return 0;
    uint64_t gone = (uint64_t)(now(l) - l->timer_start) >> timer_shift(l);
    uint32_t total = regs(l)[APIC_TICR];

    if (gone < total)
        return total - (uint32_t)gone;
    return timer_in_mode(l, TIMER_PERIODIC) ? total - (uint32_t)(gone % total) : 0;
}

/* The divider changes while counting: the count so far stays. */
static void timer_divide_locked(struct lapic *l, uint32_t tdcr)
{
    uint32_t count = timer_count_locked(l);

    regs(l)[APIC_TDCR] = tdcr;
    if (!count)
        return;
    uint64_t gone = (uint64_t)(regs(l)[APIC_TICR] - count) << timer_shift(l);
    l->timer_start = now(l) - (int64_t)gone;
    timer_run_locked(l, l->timer_start + timer_period(l));
}

static void timer_deadline_locked(struct lapic *l)
{
    uint64_t deadline = l->cpu->s.tsc_deadline;

    timer_stop_locked(l);
    if (!deadline)
        return;
    /* a TSC tick is a clock nanosecond */
    int64_t in = (int64_t)(deadline - cpu_tsc(l->cpu));
    if (in > INT64_MAX / 2)
        in = INT64_MAX / 2;
    timer_run_locked(l, now(l) + MAX(in, 0));
}

static void timer_fired(void *opaque)
{
    struct lapic *l = opaque;
    uint32_t post = 0;

    lock_take(&l->lock);
    int64_t t = now(l);
    uint32_t lvt = regs(l)[APIC_LVT_TIMER];
    if (l->timer_live && t < l->timer_deadline) {
        timer_arm(&l->timer, l->timer_deadline); /* reprogrammed meanwhile */
    } else if (l->timer_live) {
        if (timer_in_mode(l, TIMER_PERIODIC)) {
            int64_t period = MAX(timer_period(l), 1);

            /* periods that were missed are lost, as in hardware whose interrupt is still pending */
            l->timer_start += (t - l->timer_start) / period * period;
            timer_run_locked(l, MAX(l->timer_start + period, t + TIMER_MIN_PERIOD));
        } else {
            l->timer_live = false;
            l->cpu->s.tsc_deadline = 0;
        }
        if (!(lvt & APIC_LVT_MASKED))
            post = lapic_accept_locked(l, (uint8_t)lvt, false);
    }
    lock_drop(&l->lock);
    post_self(l, post);
}

uint64_t lapic_get_tsc_deadline(struct lapic *l)
{
    lock_take(&l->lock);
    uint64_t v = timer_in_mode(l, TIMER_TSC_DEADLINE) ? l->cpu->s.tsc_deadline : 0;
    lock_drop(&l->lock);
    return v;
}

void lapic_set_tsc_deadline(struct lapic *l, uint64_t deadline)
{
    lock_take(&l->lock);
    if (timer_in_mode(l, TIMER_TSC_DEADLINE)) {
        l->cpu->s.tsc_deadline = deadline;
        timer_deadline_locked(l);
    }
    lock_drop(&l->lock);
}

void lapic_tsc_changed(struct lapic *l)
{
    lock_take(&l->lock);
    if (timer_in_mode(l, TIMER_TSC_DEADLINE) && l->timer_live)
        timer_deadline_locked(l);
    lock_drop(&l->lock);
}

/* ---- registers ---- */

static uint32_t reg_read_locked(struct lapic *l, unsigned n)
{
    switch (n) {
    case APIC_TPR:
        return regs(l)[APIC_TPR] & 0xff;
    case APIC_PPR:
        return lapic_ppr_locked(l);
    case APIC_TCCR:
        return timer_count_locked(l);
    case APIC_EOI:
    case APIC_APR:
    case APIC_SELF_IPI:
        return 0;
    default:
        return regs(l)[n];
    }
}

/* Bits of LVT entries that can be written; delivery status and remote IRR cannot. */
static uint32_t lvt_mask(unsigned n)
{
    switch (n) {
    case APIC_LVT_TIMER:
        return 0x700ff;
    case APIC_LVT_LINT0:
    case APIC_LVT_LINT1:
        return 0x1a7ff;
    case APIC_LVT_ERROR:
        return 0x100ff;
    default:
        return 0x107ff;
    }
}

static void lvt_write_locked(struct lapic *l, unsigned n, uint32_t v)
{
    bool was_deadline = timer_in_mode(l, TIMER_TSC_DEADLINE);

    v &= lvt_mask(n);
    if (!(regs(l)[APIC_SVR] & APIC_SVR_ENABLE))
        v |= APIC_LVT_MASKED;
    regs(l)[n] = v;
    if (n == APIC_LVT_TIMER && was_deadline != timer_in_mode(l, TIMER_TSC_DEADLINE)) {
        l->cpu->s.tsc_deadline = 0;
        timer_stop_locked(l);
    }
}

static void svr_write_locked(struct lapic *l, uint32_t v)
{
    regs(l)[APIC_SVR] = v & (0x1ff | SVR_NO_EOI_BROADCAST);
    if (!(v & APIC_SVR_ENABLE))
        for (unsigned n = APIC_LVT_TIMER; n <= APIC_LVT_ERROR; n++)
            regs(l)[n] |= APIC_LVT_MASKED;
}

/* ICR, EOI, TPR and SELF IPI are done by the caller. False: no such register. */
static bool reg_write_locked(struct lapic *l, unsigned n, uint32_t v, uint32_t *post)
{
    switch (n) {
    case APIC_LDR:
        regs(l)[n] = v & 0xff000000;
        break;
    case APIC_DFR:
        regs(l)[n] = v | 0x0fffffff;
        break;
    case APIC_SVR:
        svr_write_locked(l, v);
        break;
    case APIC_ESR:
        regs(l)[n] = l->esr_pending;
        l->esr_pending = 0;
        break;
    case APIC_LVT_TIMER:
    case APIC_LVT_THERMAL:
    case APIC_LVT_PERF:
    case APIC_LVT_LINT0:
    case APIC_LVT_LINT1:
    case APIC_LVT_ERROR:
        lvt_write_locked(l, n, v);
        break;
    case APIC_TICR:
        regs(l)[n] = v;
        timer_begin_locked(l);
        break;
    case APIC_TDCR:
        timer_divide_locked(l, v & 0xb);
        break;
    case APIC_ID:
    case APIC_VERSION:
    case APIC_PPR:
    case APIC_TCCR:
        break; /* read-only */
    default:
        lapic_error_locked(l, APIC_ESR_REG_ILLEGAL, post);
        return false;
    }
    *post |= lapic_update_locked(l);
    return true;
}

static void reg_write(struct lapic *l, unsigned n, uint32_t v)
{
    uint32_t post = 0;

    lock_take(&l->lock);
    reg_write_locked(l, n, v, &post);
    lock_drop(&l->lock);
    post_self(l, post);
}

uint32_t lapic_mmio_read(struct lapic *l, unsigned offset)
{
    if ((offset & 15) || offset >= 0x400)
        return 0;
    lock_take(&l->lock);
    uint32_t v = reg_read_locked(l, offset >> 4);
    lock_drop(&l->lock);
    return v;
}

void lapic_mmio_write(struct lapic *l, unsigned offset, uint32_t value)
{
    unsigned n = offset >> 4;

    if ((offset & 15) || offset >= 0x400)
        return;
    l->cpu->end_block = true; /* TPR, EOI and self IPIs may have made an interrupt deliverable */
    switch (n) {
    case APIC_EOI:
        end_of_interrupt(l);
        break;
    case APIC_TPR:
        lapic_set_tpr(l, (uint8_t)value);
        break;
    case APIC_ICR2:
        lock_take(&l->lock);
        regs(l)[n] = value & 0xff000000;
        lock_drop(&l->lock);
        break;
    case APIC_ICR:
        lock_take(&l->lock);
        regs(l)[n] = value & ~(1u << 12); /* delivered at once */
        uint32_t dest = regs(l)[APIC_ICR2] >> 24;
        lock_drop(&l->lock);
        lapic_send_ipi(l, value, dest);
        break;
    default:
        reg_write(l, n, value);
        break;
    }
}

/* ---- x2APIC ---- */

static bool x2_readable(unsigned n)
{
    return n == APIC_ID || n == APIC_VERSION || n == APIC_TPR || n == APIC_PPR || n == APIC_LDR ||
           n == APIC_SVR || (n >= APIC_ISR && n <= APIC_ESR) ||
           (n >= APIC_LVT_TIMER && n <= APIC_TCCR) || n == APIC_TDCR || n == APIC_ICR;
}

bool lapic_msr_read(struct lapic *l, uint32_t index, uint64_t *value)
{
    unsigned n = index - 0x800;

    if (!lapic_x2(l) || n >= 0x40 || !x2_readable(n))
        return false;
    lock_take(&l->lock);
    *value = reg_read_locked(l, n);
    if (n == APIC_ICR)
        *value |= (uint64_t)regs(l)[APIC_ICR2] << 32;
    lock_drop(&l->lock);
    return true;
}

bool lapic_msr_write(struct lapic *l, uint32_t index, uint64_t value)
{
    unsigned n = index - 0x800;

    if (!lapic_x2(l) || n >= 0x40 || (n != APIC_ICR && value >> 32))
        return false;
    switch (n) {
    case APIC_EOI:
        if (value)
            return false;
        end_of_interrupt(l);
        return true;
    case APIC_TPR:
        if (value > 0xff)
            return false;
        lapic_set_tpr(l, (uint8_t)value);
        return true;
    case APIC_ICR:
        lock_take(&l->lock);
        regs(l)[APIC_ICR] = (uint32_t)value & ~(1u << 12);
        regs(l)[APIC_ICR2] = value >> 32;
        lock_drop(&l->lock);
        lapic_send_ipi(l, (uint32_t)value, value >> 32);
        return true;
    case APIC_SELF_IPI:
        if (value > 0xff)
            return false;
        lapic_send_ipi(l, (uint32_t)value | 1u << 18, 0);
        return true;
    case APIC_ESR:
        if (value)
            return false;
        break;
    case APIC_SVR:
    case APIC_TICR:
    case APIC_TDCR:
        break;
    default:
        if (n < APIC_LVT_TIMER || n > APIC_LVT_ERROR || (value & ~(uint64_t)(lvt_mask(n) | 0x5000)))
            return false;
        break;
    }
    reg_write(l, n, (uint32_t)value);
    return true;
}

/* ---- life and mode ---- */

static void set_id_locked(struct lapic *l)
{
    uint32_t id = l->cpu->index;

    if (lapic_x2(l)) {
        regs(l)[APIC_ID] = id;
        regs(l)[APIC_LDR] = id >> 4 << 16 | BIT(id & 15);
    } else {
        regs(l)[APIC_ID] = id << 24;
    }
}

/* Registers as after power-on, with what the vCPU's APIC_BASE says about ID and form. */
static void reset_regs_locked(struct lapic *l)
{
    struct x86_state *s = &l->cpu->s;
    struct x86_state *fresh = x_alloc(sizeof(*fresh));

    x86_state_reset(fresh, l->cpu->index, l->cpu->index == 0, false);
    memcpy(s->lapic, fresh->lapic, sizeof(s->lapic));
    x_free(fresh);
    s->cr8 = 0;
    s->tsc_deadline = 0;
    l->esr_pending = 0;
    timer_stop_locked(l);
    set_id_locked(l);
}

bool lapic_set_base(struct lapic *l, uint64_t value)
{
    struct cpu *c = l->cpu;
    uint64_t old = c->s.apic_base;
    uint64_t mode = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    uint64_t from = old & mode, to = value & mode;

    if ((value & 0x2ff) || (value & ~(BIT64(GPA_BITS) - 1)))
        return false;
    if (to == APIC_BASE_X2APIC || (to == mode && !cpu_has(c->set->cfg.model, CPUF_X2APIC)))
        return false;
    if ((from == mode && to == APIC_BASE_ENABLE) || (from == 0 && to == mode))
        return false;

    lock_take(&l->lock);
    c->s.apic_base = (value & ~(uint64_t)APIC_BASE_BSP) | (old & APIC_BASE_BSP);
    if (from && !to)
        reset_regs_locked(l); /* also what an APIC that is enabled again starts from */
    else if (from != to)
        set_id_locked(l);
    uint32_t post = lapic_update_locked(l);
    lock_drop(&l->lock);
    post_self(l, post);
    tlb_flush_all(c);
    return true;
}

struct lapic *lapic_new(struct cpu *c)
{
    struct lapic *l = X_NEW(struct lapic);

    l->cpu = c;
    lock_init(&l->lock, LOCK_LEAF);
    timer_init(&l->timer, c->set->cfg.clock, timer_fired, l);
    return l;
}

void lapic_free(struct lapic *l)
{
    if (!l)
        return;
    timer_cancel(&l->timer);
    lock_fini(&l->lock);
    x_free(l);
}

void lapic_reset(struct lapic *l, bool init)
{
    lock_take(&l->lock);
    timer_stop_locked(l);
    x86_state_reset(&l->cpu->s, l->cpu->index, l->cpu->index == 0, init);
    l->esr_pending = 0;
    set_id_locked(l);
    lapic_update_locked(l);
    lock_drop(&l->lock);
}

void lapic_save(struct lapic *l)
{
    lock_take(&l->lock);
    regs(l)[APIC_TCCR] = timer_count_locked(l);
    regs(l)[APIC_PPR] = lapic_ppr_locked(l);
    lock_drop(&l->lock);
}

void lapic_load(struct lapic *l)
{
    lock_take(&l->lock);
    uint32_t count = regs(l)[APIC_TCCR], total = regs(l)[APIC_TICR];
    timer_stop_locked(l);
    regs(l)[APIC_TPR] = (regs(l)[APIC_TPR] & 15) | (uint32_t)(l->cpu->s.cr8 & 15) << 4;
    if (timer_in_mode(l, TIMER_TSC_DEADLINE)) {
        timer_deadline_locked(l);
    } else if (count && count <= total) {
        l->timer_start = now(l) - (int64_t)((uint64_t)(total - count) << timer_shift(l));
        timer_run_locked(l, l->timer_start + timer_period(l));
    }
    uint32_t post = lapic_update_locked(l);
    lock_drop(&l->lock);
    post_self(l, post);
}
