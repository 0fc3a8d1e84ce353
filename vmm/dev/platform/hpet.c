/* SPDX-License-Identifier: GPL-2.0-or-later */
/* High precision event timer: one 64-bit counter at 100 MHz and three comparators, all periodic, with
 * legacy replacement and FSB (MSI) delivery. Source: IA-PC HPET Specification 1.0a (2004). */
#include "vmm/dev/platform/hpet.h"

#define TIMERS     3u
#define TICK_NS    10


/* General capabilities: period in femtoseconds, vendor, legacy route, 64 bits, timers, revision 1. */
#define CAPABILITIES                                                                               \
    ((uint64_t)(TICK_NS * 1000000) << 32 | UINT64_C(0x8086) << 16 | BIT(15) | BIT(13) |            \
     (TIMERS - 1) << 8 | 1)

#define REG_CAPS    0x00u
#define REG_CONFIG  0x10u
#define REG_STATUS  0x20u
#define REG_COUNTER 0xf0u
#define REG_TIMER0  0x100u

#define CONFIG_ENABLE BIT64(0)
#define CONFIG_LEGACY BIT64(1)

#define T_LEVEL    BIT64(1)
#define T_ENABLE   BIT64(2)
#define T_PERIODIC BIT64(3)
#define T_SET_ACC  BIT64(6)
#define T_32BIT    BIT64(8)
#define T_ROUTE(c) ((unsigned)((c) >> 9) & 31)
#define T_FSB      BIT64(14)
#define T_WRITABLE (T_LEVEL | T_ENABLE | T_PERIODIC | T_SET_ACC | T_32BIT | 31u << 9 | T_FSB)
/* periodic, 64 bits, FSB; GSIs 20-23, which nothing else drives */
#define T_CAPS (BIT64(4) | BIT64(5) | BIT64(15) | UINT64_C(0x00f00000) << 32)

/* A period shorter than this is stretched: a guest must not make the host spin. */
#define MIN_PERIOD_NS 20000
/* A periodic comparator that moves on without an interrupt is moved this often, and when somebody looks. */
#define SILENT_NS NS_PER_S

struct hpet_timer_state {
    uint64_t config, comparator, period, fsb;
};

struct hpet_state {
    uint64_t config, status;
    uint64_t counter; /* when halted, or at start */
    int64_t start;    /* guest time at which it began to count from counter */
    struct hpet_timer_state timer[TIMERS];
};

struct hpet_timer {
    struct hpet *hpet;
    unsigned n;
    bool silent; /* the comparator may be behind the counter, by about SILENT_NS */
    struct timer timer;
};

struct hpet {
    struct dev dev;
    uint64_t base;
    struct hpet_timer timers[TIMERS];
    struct irq_line pit_in, rtc_in;
    int pit_level, rtc_level; /* what the replaced devices drive */
    struct hpet_state s;
};

static bool enabled(const struct hpet *h)
{
    return h->s.config & CONFIG_ENABLE;
}

static uint64_t counter(const struct hpet *h)
{
    if (!enabled(h))
        return h->s.counter;
    return h->s.counter + (uint64_t)(clock_now(h->dev.env->clock) - h->s.start) / TICK_NS;
}

static bool narrow(const struct hpet_timer_state *t)
{
    return t->config & T_32BIT;
}

/* ---- interrupts ---- */

static bool legacy(const struct hpet *h)
{
    return h->s.config & CONFIG_LEGACY;
}

static const struct irq_line *line_of(const struct hpet *h, unsigned n)
{
    if (legacy(h) && n < 2)
        return bus_gsi(h->dev.env->bus, n ? 8 : 0);
    unsigned route = T_ROUTE(h->s.timer[n].config);
    return route >= 20 && route < GSI_COUNT ? bus_gsi(h->dev.env->bus, route) : NULL;
}

static void interrupt(struct hpet *h, unsigned n)
{
    const struct hpet_timer_state *t = &h->s.timer[n];

    if (t->config & T_LEVEL)
        h->s.status |= BIT64(n); /* set even when the interrupt is disabled */
    if (!(t->config & T_ENABLE))
        return;
    if (t->config & T_FSB)
        bus_msi(h->dev.env->bus, t->fsb >> 32, (uint32_t)t->fsb);
    else if (t->config & T_LEVEL)
        irq_set(line_of(h, n), 1);
    else
        irq_pulse(line_of(h, n));
}

static void clear_status(struct hpet *h, uint64_t bits)
{
    bits &= h->s.status;
    h->s.status &= ~bits;
    for (unsigned n = 0; n < TIMERS; n++)
        if (bits & BIT64(n))
            irq_set(line_of(h, n), 0);
}

/* ---- comparators ---- */

static uint64_t clip(const struct hpet_timer_state *t, uint64_t ticks)
{
    return narrow(t) ? (uint32_t)ticks : ticks;
}

/* A comparator that the counter reached moves behind it; periods missed are not made up for. */
static void next_period(struct hpet *h, struct hpet_timer_state *t)
{
    uint64_t step = MAX(t->period, (uint64_t)MIN_PERIOD_NS / TICK_NS);
    uint64_t late = clip(t, counter(h) - t->comparator);

    t->comparator = clip(t, t->comparator + (late / step + 1) * step);
}

/* Before anybody looks at the comparator, or it is to interrupt again. */
static void catch_up(struct hpet *h, unsigned n)
{
    struct hpet_timer_state *t = &h->s.timer[n];

    if (!h->timers[n].silent)
        return;
    uint64_t late = counter(h) - t->comparator;
    if (narrow(t) ? (int32_t)late >= 0 : (int64_t)late >= 0)
        next_period(h, t);
}

/* How much later than the next match the timer may fire, for nothing happens at the ones between. */
static uint64_t silence(const struct hpet_timer_state *t, uint64_t ahead)
{
    const uint64_t most = SILENT_NS / TICK_NS;

    if ((t->config & (T_ENABLE | T_LEVEL)) || !(t->config & T_PERIODIC) || !t->period || t->period > most ||
        ahead > t->period)
        return 0;
    return most / t->period * t->period;
}

static void schedule(struct hpet *h, unsigned n)
{
    const struct hpet_timer_state *t = &h->s.timer[n];
    struct timer *timer = &h->timers[n].timer;

    h->timers[n].silent = false;
    if (!enabled(h)) {
        timer_cancel(timer);
        return;
    }
    uint64_t ahead = clip(t, t->comparator - counter(h));
    if (ahead == 0) /* equal now: the match was, the next is a full turn away */
        ahead = narrow(t) ? UINT64_C(1) << 32 : UINT64_MAX;
    if (ahead > INT64_MAX / TICK_NS / 2) { /* centuries */
        timer_cancel(timer);
        return;
    }
    uint64_t more = silence(t, ahead);
    h->timers[n].silent = more > 0;
    timer_arm(timer, clock_now(h->dev.env->clock) + (int64_t)((ahead + more) * TICK_NS));
}

static void on_timer(void *opaque)
{
    struct hpet_timer *ht = opaque;
    struct hpet *h = ht->hpet;
    struct hpet_timer_state *t = &h->s.timer[ht->n];

    if (ht->silent)
        catch_up(h, ht->n);
    else if ((t->config & T_PERIODIC) && t->period)
        next_period(h, t);
    interrupt(h, ht->n);
    schedule(h, ht->n);
}

static void write_comparator(struct hpet *h, unsigned n, uint64_t v, uint64_t mask)
{
    struct hpet_timer_state *t = &h->s.timer[n];

    catch_up(h, n);
    if (narrow(t)) {
        v = (uint32_t)v;
        mask &= UINT32_MAX;
        t->comparator = (uint32_t)t->comparator;
        t->period = (uint32_t)t->period;
    }
    if (!(t->config & T_PERIODIC) || (t->config & T_SET_ACC))
        t->comparator = (t->comparator & ~mask) | (v & mask);
    if (t->config & T_PERIODIC)
        t->period = (t->period & ~mask) | (v & mask);
    t->config &= ~T_SET_ACC; /* good for one write */
    schedule(h, n);
}

static void write_timer_config(struct hpet *h, unsigned n, uint64_t v)
{
    struct hpet_timer_state *t = &h->s.timer[n];

    catch_up(h, n);
    if ((h->s.status & BIT64(n)) && !(v & T_LEVEL))
        clear_status(h, BIT64(n));
    t->config = T_CAPS | (v & T_WRITABLE);
    if (narrow(t)) {
        t->comparator = (uint32_t)t->comparator;
        t->period = (uint32_t)t->period;
    }
    schedule(h, n);
}

/* ---- general registers ---- */

static void drive_replaced(struct hpet *h)
{
    struct bus *bus = h->dev.env->bus;

    irq_set(bus_gsi(bus, 0), legacy(h) ? 0 : h->pit_level);
    irq_set(bus_gsi(bus, 8), legacy(h) ? 0 : h->rtc_level);
}

static void write_config(struct hpet *h, uint64_t v)
{
    uint64_t old = h->s.config;

    for (unsigned n = 0; n < TIMERS; n++)
        catch_up(h, n);
    v &= CONFIG_ENABLE | CONFIG_LEGACY;
    if (old & ~v & CONFIG_ENABLE) /* halted: keeps its value */
        h->s.counter = counter(h);
    h->s.config = v;
    if (~old & v & CONFIG_ENABLE)
        h->s.start = clock_now(h->dev.env->clock);
    if ((old ^ v) & CONFIG_LEGACY)
        drive_replaced(h);
    for (unsigned n = 0; n < TIMERS; n++)
        schedule(h, n);
}

static uint64_t *timer_reg(struct hpet *h, uint64_t offset)
{
    struct hpet_timer_state *t = &h->s.timer[(offset - REG_TIMER0) / 0x20];

    switch (offset & 0x18) {
    case 0x00: return &t->config;
    case 0x08: return &t->comparator;
    case 0x10: return &t->fsb;
    default: return NULL;
    }
}

static bool is_timer(uint64_t offset)
{
    return offset >= REG_TIMER0 && offset < REG_TIMER0 + TIMERS * 0x20;
}

/* The 64-bit register at offset (a multiple of 8). */
static uint64_t reg_read(struct hpet *h, uint64_t offset)
{
    switch (offset) {
    case REG_CAPS: return CAPABILITIES;
    case REG_CONFIG: return h->s.config;
    case REG_STATUS: return h->s.status;
    case REG_COUNTER: return counter(h);
    default: break;
    }
    if (!is_timer(offset))
        return 0;
    catch_up(h, (unsigned)(offset - REG_TIMER0) / 0x20);
    const uint64_t *r = timer_reg(h, offset);
    return r ? *r : 0;
}

/* v has its bytes in place, mask says which count. */
static void reg_write(struct hpet *h, uint64_t offset, uint64_t v, uint64_t mask)
{
    uint64_t merged = (reg_read(h, offset) & ~mask) | (v & mask);

    switch (offset) {
    case REG_CONFIG: write_config(h, merged); return;
    case REG_STATUS: clear_status(h, v & mask); return;
    case REG_COUNTER:
        for (unsigned i = 0; i < TIMERS; i++)
            catch_up(h, i);
        if (enabled(h)) /* undefined by the specification: taken as it comes */
            h->s.start = clock_now(h->dev.env->clock);
        h->s.counter = merged;
        for (unsigned n = 0; n < TIMERS; n++)
            schedule(h, n);
        return;
    default: break;
    }
    if (!is_timer(offset))
        return;
    unsigned n = (unsigned)(offset - REG_TIMER0) / 0x20;
    switch (offset & 0x18) {
    case 0x00: write_timer_config(h, n, merged); break;
    case 0x08: write_comparator(h, n, v, mask); break;
    case 0x10: h->s.timer[n].fsb = merged; break;
    default: break;
    }
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    (void)size;
    return reg_read(opaque, offset & ~UINT64_C(7)) >> (offset & 4) * 8;
}

static void hpet_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    unsigned shift = (unsigned)(offset & 4) * 8;

    reg_write(opaque, offset & ~UINT64_C(7), value << shift, mask_bytes(size) << shift);
}

static const struct mmio_ops hpet_ops = {
    .read = hpet_read, .write = hpet_write, .min_size = 4, .max_size = 8};

static void on_pit(void *opaque, unsigned n, int level)
{
    struct hpet *h = opaque;

    (void)n;
    h->pit_level = level;
    if (!legacy(h))
        irq_set(bus_gsi(h->dev.env->bus, 0), level);
}

static void on_rtc(void *opaque, unsigned n, int level)
{
    struct hpet *h = opaque;

    (void)n;
    h->rtc_level = level;
    if (!legacy(h))
        irq_set(bus_gsi(h->dev.env->bus, 8), level);
}

const struct irq_line *hpet_pit_line(struct dev *d)
{
    return &container_of(d, struct hpet, dev)->pit_in;
}

const struct irq_line *hpet_rtc_line(struct dev *d)
{
    return &container_of(d, struct hpet, dev)->rtc_in;
}

static bool hpet_realize(struct dev *d, struct err *e)
{
    struct hpet *h = container_of(d, struct hpet, dev);

    (void)e;
    h->pit_in = (struct irq_line){.set = on_pit, .opaque = h};
    h->rtc_in = (struct irq_line){.set = on_rtc, .opaque = h};
    for (unsigned n = 0; n < TIMERS; n++) {
        h->timers[n].hpet = h;
        h->timers[n].n = n;
        timer_init(&h->timers[n].timer, d->env->clock, on_timer, &h->timers[n]);
    }
    mem_add_mmio(d->env->mem, "hpet", h->base, PAGE_SIZE, MEM_PRIO_DEVICE, &hpet_ops, h);
    return true;
}

static void hpet_unrealize(struct dev *d)
{
    struct hpet *h = container_of(d, struct hpet, dev);

    for (unsigned n = 0; n < TIMERS; n++)
        if (h->timers[n].timer.clock)
            timer_cancel(&h->timers[n].timer);
}

static void hpet_reset(struct dev *d)
{
    struct hpet *h = container_of(d, struct hpet, dev);

    clear_status(h, UINT64_MAX);
    h->s = (struct hpet_state){0};
    for (unsigned n = 0; n < TIMERS; n++) {
        h->s.timer[n].config = T_CAPS;
        h->s.timer[n].comparator = UINT64_MAX;
        h->timers[n].silent = false;
        timer_cancel(&h->timers[n].timer);
    }
    drive_replaced(h);
}

static const struct dev_prop hpet_props[] = {
    DEV_PROP("base", PROP_U64, struct hpet, base, HPET_BASE, "guest physical address"),
    {0},
};

const struct dev_class hpet_class = {
    .name = "hpet",
    .summary = "high precision event timer",
    .size = sizeof(struct hpet),
    .props = hpet_props,
    .realize = hpet_realize,
    .unrealize = hpet_unrealize,
    .reset = hpet_reset,
};
