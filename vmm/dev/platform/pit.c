/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8254 timer with the PC's port 61h (gate and output of channel 2, refresh toggle). Source: Intel 8254
 * data sheet (231164). Counters are computed from guest time on demand; only channel 0 has a timer,
 * because only its output is wired to an interrupt. There is no speaker behind channel 2.
 *
 * The interrupt controllers see rising edges of channel 0 at their exact times; the low phase in
 * between is folded into the edge. */
#include "vmm/dev/dev.h"

#define PIT_HZ 1193182

#define ACCESS_LATCH 0
#define ACCESS_LOW   1
#define ACCESS_HIGH  2
#define ACCESS_BOTH  3

#define READBACK_NO_COUNT  BIT(5)
#define READBACK_NO_STATUS BIT(4)
#define STATUS_OUT         0x80u
#define STATUS_NULL        0x40u

#define P61_GATE2   BIT(0)
#define P61_SPEAKER BIT(1)
#define P61_REFRESH BIT(4)
#define P61_OUT2    BIT(5)
#define REFRESH_NS  15085 /* half period of the refresh request */

struct channel_state {
    int64_t start;     /* guest time of tick 0, while running */
    uint64_t ticks;    /* ticks before start: what had elapsed when the gate closed */
    uint32_t reload;   /* 1 to 65536 (10000 in BCD) */
    uint32_t next;     /* modes 2, 3: reload of the next period; 0: the same */
    uint16_t latch;    /* latched count */
    uint8_t latched;   /* bytes of it still to be read */
    uint8_t status, status_latched;
    uint8_t mode, bcd, access;
    uint8_t gate;
    uint8_t loaded;    /* a count has been written since the mode was set */
    uint8_t triggered; /* modes 1, 5: the gate has risen */
    uint8_t running;   /* start is valid */
    uint8_t read_high, write_high, write_low;
};

struct channel {
    struct pit *pit;
    unsigned n;
    struct channel_state s;
};

struct pit {
    struct dev dev;
    const struct irq_line *irq; /* NULL: GSI 0 */
    struct timer timer;
    struct channel ch[3];
    struct {
        uint8_t port61;
    } s;
};

static uint64_t ns_to_ticks(int64_t ns)
{
    return ns <= 0 ? 0 : (uint64_t)((unsigned __int128)ns * PIT_HZ / NS_PER_S);
}

/* First nanosecond at which ns_to_ticks gives n. */
static int64_t ticks_to_ns(uint64_t n)
{
    return (int64_t)(((unsigned __int128)n * NS_PER_S + PIT_HZ - 1) / PIT_HZ);
}

static bool periodic(const struct channel_state *s)
{
    return s->mode == 2 || s->mode == 3;
}

static uint64_t elapsed(const struct channel_state *s, int64_t now)
{
    return s->ticks + (s->running ? ns_to_ticks(now - s->start) : 0);
}

/* A count written while a periodic counter runs counts from the next period on. */
static void settle(struct channel_state *s, int64_t now)
{
    if (!s->next || !s->running || elapsed(s, now) < s->reload)
        return;
    s->start += ticks_to_ns(s->reload - MIN(s->ticks, s->reload));
    s->ticks = 0;
    s->reload = s->next;
    s->next = 0;
}

static bool output(const struct channel_state *s, int64_t now)
{
    uint64_t t = elapsed(s, now);

    switch (s->mode) {
    case 0: return s->loaded && t >= s->reload;
    case 1: return !s->triggered || t >= s->reload;
    case 2: return !s->loaded || !s->gate || t % s->reload != s->reload - 1;
    case 3: return !s->loaded || !s->gate || t % s->reload < (s->reload + 1) / 2;
    case 4: return !s->loaded || t != s->reload;
    default: return !s->triggered || t != s->reload;
    }
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint32_t from_bcd(uint16_t v)
{
    return (v & 15u) + (v >> 4 & 15u) * 10 + (v >> 8 & 15u) * 100 + (v >> 12 & 15u) * 1000;
}

static uint16_t counter(const struct channel_state *s, int64_t now)
{
    uint64_t t = elapsed(s, now), modulo = s->bcd ? 10000 : 65536, value;

    if (s->mode == 2)
        value = s->reload - t % s->reload;
    else if (s->mode == 3) /* counts down by two, twice a period */
        value = (s->reload & ~1u) - t * 2 % s->reload / 2 * 2;
    else
        value = (s->reload + modulo - t % modulo) % modulo;
    return s->bcd ? to_bcd((uint32_t)(value % 10000)) : (uint16_t)value;
}

/* ---- interrupt of channel 0 ---- */

/* Ticks at which the output rises next after tick t; 0: never again. */
static uint64_t next_rise(const struct channel_state *s, uint64_t t)
{
    if (!s->running)
        return 0;
    if (periodic(s))
        return (t / s->reload + 1) * s->reload;
    if (s->mode == 4 || s->mode == 5)
        return t <= s->reload ? s->reload + 1u : 0;
    return t < s->reload ? s->reload : 0;
}

static void schedule(struct pit *p, int64_t now)
{
    const struct channel_state *s = &p->ch[0].s;
    uint64_t rise = next_rise(s, elapsed(s, now));

    if (rise)
        timer_arm(&p->timer, s->start + ticks_to_ns(rise - s->ticks));
    else
        timer_cancel(&p->timer);
}

static void on_timer(void *opaque)
{
    struct pit *p = opaque;
    int64_t now = clock_now(p->dev.env->clock);

    irq_set(p->irq, 0);
    irq_set(p->irq, 1);
    settle(&p->ch[0].s, now);
    schedule(p, now);
}

/* After the guest changed channel 0. */
static void refresh_irq(struct channel *c, int64_t now)
{
    if (c->n != 0)
        return;
    irq_set(c->pit->irq, periodic(&c->s) || output(&c->s, now));
    schedule(c->pit, now);
}

/* ---- programming ---- */

static void restart(struct channel_state *s, int64_t now)
{
    s->ticks = 0;
    s->start = now;
    s->running = 1;
    s->next = 0;
}

static void load(struct channel *c, uint16_t raw, int64_t now)
{
    struct channel_state *s = &c->s;
    uint32_t count = s->bcd ? from_bcd(raw) : raw;

    if (count == 0)
        count = s->bcd ? 10000 : 65536;
    if (periodic(s) && count == 1) /* not allowed by the data sheet */
        count = 2;
    if (periodic(s) && s->loaded && s->running) {
        settle(s, now);
        s->next = count;
    } else {
        s->reload = count;
        if (s->mode == 1 || s->mode == 5) {
            s->running = s->triggered ? s->running : 0; /* waits for the gate */
        } else {
            restart(s, now);
            s->running = s->gate;
        }
    }
    s->loaded = 1;
    refresh_irq(c, now);
}

static void set_gate(struct channel *c, bool gate, int64_t now)
{
    struct channel_state *s = &c->s;

    if (s->gate == gate)
        return;
    settle(s, now);
    if (!gate && s->mode != 1 && s->mode != 5) { /* stops counting */
        s->ticks = elapsed(s, now);
        s->running = 0;
    }
    s->gate = gate;
    if (!gate || !s->loaded)
        return;
    if (s->mode == 0 || s->mode == 4) { /* goes on */
        s->start = now;
        s->running = 1;
    } else { /* a rising gate triggers or restarts */
        restart(s, now);
        s->triggered = 1;
    }
}

static void latch_count(struct channel_state *s, int64_t now)
{
    if (s->latched)
        return;
    s->latch = counter(s, now);
    s->latched = s->access == ACCESS_BOTH ? 2 : 1;
}

static void latch_status(struct channel_state *s, int64_t now)
{
    if (s->status_latched)
        return;
    s->status = (uint8_t)((output(s, now) ? STATUS_OUT : 0) | (s->loaded ? 0 : STATUS_NULL) |
                          s->access << 4 | s->mode << 1 | s->bcd);
    s->status_latched = 1;
}

static void control_write(struct pit *p, uint8_t v, int64_t now)
{
    unsigned n = v >> 6, access = v >> 4 & 3, mode = v >> 1 & 7;

    if (n == 3) {
        for (unsigned i = 0; i < 3; i++) {
            if (!(v & BIT(i + 1)))
                continue;
            settle(&p->ch[i].s, now);
            if (!(v & READBACK_NO_COUNT))
                latch_count(&p->ch[i].s, now);
            if (!(v & READBACK_NO_STATUS))
                latch_status(&p->ch[i].s, now);
        }
        return;
    }
    struct channel *c = &p->ch[n];
    if (access == ACCESS_LATCH) {
        settle(&c->s, now);
        latch_count(&c->s, now);
        return;
    }
    /* counting stops until a count is written; the old reload is what a reader sees */
    c->s = (struct channel_state){.mode = (uint8_t)(mode > 5 ? mode - 4 : mode), .bcd = v & 1,
                                  .access = (uint8_t)access, .gate = c->s.gate,
                                  .reload = c->s.reload};
    refresh_irq(c, now);
}

static void count_write(struct channel *c, uint8_t v, int64_t now)
{
    struct channel_state *s = &c->s;

    switch (s->access) {
    case ACCESS_LOW: load(c, v, now); break;
    case ACCESS_HIGH: load(c, (uint16_t)(v << 8), now); break;
    default:
        s->write_high ^= 1;
        if (s->write_high) {
            s->write_low = v;
            if (s->mode == 0) { /* the first byte stops the counter */
                s->ticks = elapsed(s, now);
                s->running = 0;
                s->loaded = 0;
                refresh_irq(c, now);
            }
        } else {
            load(c, (uint16_t)(v << 8 | s->write_low), now);
        }
        break;
    }
}

static uint8_t count_read(struct channel_state *s, int64_t now)
{
    settle(s, now);
    if (s->status_latched) {
        s->status_latched = 0;
        return s->status;
    }
    uint16_t value = s->latched ? s->latch : counter(s, now);
    bool high = s->access == ACCESS_HIGH;
    if (s->access == ACCESS_BOTH) {
        high = s->read_high;
        s->read_high ^= 1;
    }
    if (s->latched)
        s->latched--;
    return (uint8_t)(high ? value >> 8 : value);
}

static void pit_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct pit *p = opaque;
    int64_t now = clock_now(p->dev.env->clock);

    (void)size;
    if (offset == 3)
        control_write(p, (uint8_t)value, now);
    else
        count_write(&p->ch[offset], (uint8_t)value, now);
}

static uint32_t pit_read(void *opaque, uint16_t offset, unsigned size)
{
    struct pit *p = opaque;

    (void)size;
    if (offset == 3) /* the control word cannot be read */
        return 0xff;
    return count_read(&p->ch[offset].s, clock_now(p->dev.env->clock));
}

static const struct pio_ops pit_ops = {.read = pit_read, .write = pit_write, .max_size = 1};

static uint32_t port61_read(void *opaque, uint16_t offset, unsigned size)
{
    struct pit *p = opaque;
    int64_t now = clock_now(p->dev.env->clock);
    uint8_t v = p->s.port61;

    (void)offset;
    (void)size;
    settle(&p->ch[2].s, now);
    if (now / REFRESH_NS % 2)
        v |= P61_REFRESH;
    if (output(&p->ch[2].s, now))
        v |= P61_OUT2;
    return v;
}

static void port61_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct pit *p = opaque;

    (void)offset;
    (void)size;
    p->s.port61 = value & (P61_GATE2 | P61_SPEAKER | 0x0c); /* 2, 3: NMI masks, no NMI source */
    set_gate(&p->ch[2], value & P61_GATE2, clock_now(p->dev.env->clock));
}

static const struct pio_ops port61_ops = {
    .read = port61_read, .write = port61_write, .max_size = 1};

static bool pit_realize(struct dev *d, struct err *e)
{
    struct pit *p = container_of(d, struct pit, dev);

    (void)e;
    if (!p->irq)
        p->irq = bus_gsi(d->env->bus, 0);
    for (unsigned i = 0; i < 3; i++) {
        p->ch[i].pit = p;
        p->ch[i].n = i;
    }
    timer_init(&p->timer, d->env->clock, on_timer, p);
    bus_add_pio(d->env->bus, "pit", 0x40, 4, &pit_ops, p);
    bus_add_pio(d->env->bus, "port61", 0x61, 1, &port61_ops, p);
    return true;
}

static void pit_unrealize(struct dev *d)
{
    struct pit *p = container_of(d, struct pit, dev);

    if (p->timer.clock)
        timer_cancel(&p->timer);
}

static void pit_reset(struct dev *d)
{
    struct pit *p = container_of(d, struct pit, dev);

    for (unsigned i = 0; i < 3; i++)
        p->ch[i].s = (struct channel_state){.mode = 3, .access = ACCESS_BOTH, .gate = i != 2,
                                            .reload = 65536};
    p->s.port61 = 0;
    timer_cancel(&p->timer);
    irq_set(p->irq, 0);
}

static const struct dev_prop pit_props[] = {
    DEV_PROP("irq", PROP_PTR, struct pit, irq, 0, "interrupt line of channel 0, GSI 0 by default"),
    {0},
};

const struct dev_class pit_class = {
    .name = "pit",
    .summary = "8254 programmable interval timer",
    .size = sizeof(struct pit),
    .props = pit_props,
    .realize = pit_realize,
    .unrealize = pit_unrealize,
    .reset = pit_reset,
};
