/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two cascaded 8259A interrupt controllers and the ELCR of a PIIX. Source: Intel 8259A data sheet
 * (231468), 82371SB data sheet ch. 2.5.5 (ELCR). The MCS-80 mode and slave addresses other than the
 * PC's (slave on input 2) are left out. */
#include "vmm/dev/dev.h"

#define CASCADE 2u /* the master's input the slave's output is wired to */

#define ICW1         BIT(4) /* of the command port: an initialisation starts */
#define ICW1_SINGLE  BIT(1)
#define ICW1_LEVEL   BIT(3)
#define ICW1_NEED4   BIT(0)
#define ICW4_AEOI    BIT(1)
#define ICW4_SFNM    BIT(4)
#define OCW3         BIT(3)
#define OCW3_POLL    BIT(2)
#define POLL_PENDING 0x80u

enum icw_step { ICW_DONE, ICW_2, ICW_3, ICW_4 };

struct pic_state {
    uint8_t lines;   /* input levels */
    uint8_t irr, imr, isr;
    uint8_t elcr;    /* 1: level triggered */
    uint8_t base;    /* vector of input 0 */
    uint8_t lowest;  /* input of lowest priority */
    uint8_t icw1, icw4;
    uint8_t step;    /* enum icw_step: what the data port expects */
    uint8_t read_isr, poll, special_mask, rotate_aeoi;
};

struct pic;
struct chip {
    struct pic *pic;
    bool slave;
    uint8_t elcr_mask; /* inputs that may be level triggered */
    struct pic_state s;
};

struct pic {
    struct dev dev;
    struct chip master, slave;
    bool intr; /* output as last told */
};

static bool is_level(const struct pic_state *s, unsigned n)
{
    return ((s->elcr >> n) & 1) || (s->icw1 & ICW1_LEVEL);
}

/* 0 is the highest. */
static unsigned priority(const struct pic_state *s, unsigned n)
{
    return (n - s->lowest - 1) & 7;
}

/* Input of the highest priority among set, 8 when empty. */
static unsigned highest(const struct pic_state *s, uint8_t set)
{
    for (unsigned p = 0; p < 8; p++) {
        unsigned n = (s->lowest + 1u + p) & 7;
        if ((set >> n) & 1)
            return n;
    }
    return 8;
}

/* Input to be served now, 8 when none. */
static unsigned pending(const struct chip *c)
{
    const struct pic_state *s = &c->s;
    unsigned n = highest(s, s->irr & (uint8_t)~s->imr);
    uint8_t blocking = s->isr;

    if (n == 8)
        return 8;
    if (s->special_mask)
        blocking &= (uint8_t)~s->imr;
    if (!c->slave && (s->icw4 & ICW4_SFNM)) /* the slave may interrupt its own lower inputs */
        blocking &= (uint8_t)~BIT(CASCADE);
    unsigned serving = highest(s, blocking);
    return serving == 8 || priority(s, n) < priority(s, serving) ? n : 8;
}

static void set_input(struct chip *c, unsigned n, bool level)
{
    struct pic_state *s = &c->s;
    uint8_t bit = (uint8_t)BIT(n);
    bool was = s->lines & bit;

    s->lines = level ? s->lines | bit : s->lines & (uint8_t)~bit;
    /* the cascade input follows the slave's output, so that no request of it can be lost */
    if (is_level(s, n) || (!c->slave && n == CASCADE))
        s->irr = level ? s->irr | bit : s->irr & (uint8_t)~bit;
    else if (level && !was)
        s->irr |= bit;
}

static void update(struct pic *p)
{
    set_input(&p->master, CASCADE, pending(&p->slave) != 8);
    bool intr = pending(&p->master) != 8;
    if (intr != p->intr)
        bus_extint(p->dev.env->bus, intr);
    p->intr = intr;
}

/* INTA for this chip: the input it presents, 7 when the request went away (spurious). */
static unsigned acknowledge(struct chip *c)
{
    struct pic_state *s = &c->s;
    unsigned n = pending(c);

    if (n == 8)
        return 7;
    if (!is_level(s, n))
        s->irr &= (uint8_t)~BIT(n);
    if (!(s->icw4 & ICW4_AEOI))
        s->isr |= (uint8_t)BIT(n);
    else if (s->rotate_aeoi)
        s->lowest = (uint8_t)n;
    return n;
}

static uint8_t intr_ack(void *opaque)
{
    struct pic *p = opaque;
    bool from_slave = pending(&p->master) == CASCADE;
    unsigned n = acknowledge(&p->master);
    uint8_t vector = (uint8_t)(p->master.s.base + n);

    if (from_slave)
        vector = (uint8_t)(p->slave.s.base + acknowledge(&p->slave));
    update(p);
    return vector;
}

static void init_command(struct chip *c, uint8_t v)
{
    struct pic_state *s = &c->s;

    s->icw1 = v;
    s->icw4 = 0;
    s->imr = s->isr = 0;
    s->lowest = 7;
    s->read_isr = s->poll = s->special_mask = s->rotate_aeoi = 0;
    s->step = ICW_2;
    /* edge detection starts anew: a line must fall and rise again */
    s->irr = 0;
    for (unsigned n = 0; n < 8; n++)
        if (is_level(s, n))
            s->irr |= s->lines & (uint8_t)BIT(n);
}

static void ocw2(struct pic_state *s, uint8_t v)
{
    bool rotate = v & 0x80, specific = v & 0x40, eoi = v & 0x20;
    unsigned n = v & 7;

    if (eoi) {
        if (!specific) {
            uint8_t set = s->special_mask ? s->isr & (uint8_t)~s->imr : s->isr;
            n = highest(s, set);
        }
        if (n < 8)
            s->isr &= (uint8_t)~BIT(n);
        if (rotate && n < 8)
            s->lowest = (uint8_t)n;
    } else if (!specific) {
        s->rotate_aeoi = rotate;
    } else if (rotate) {
        s->lowest = (uint8_t)n;
    }
}

static void command_write(struct chip *c, uint8_t v)
{
    struct pic_state *s = &c->s;

    if (v & ICW1) {
        init_command(c, v);
    } else if (v & OCW3) {
        if (v & OCW3_POLL)
            s->poll = 1;
        if (v & 2)
            s->read_isr = v & 1;
        if (v & 0x40)
            s->special_mask = (v >> 5) & 1;
    } else {
        ocw2(s, v);
    }
}

static void data_write(struct chip *c, uint8_t v)
{
    struct pic_state *s = &c->s;

    switch ((enum icw_step)s->step) {
    case ICW_DONE: s->imr = v; break;
    case ICW_2:
        s->base = v & 0xf8;
        if (!(s->icw1 & ICW1_SINGLE))
            s->step = ICW_3;
        else
            s->step = s->icw1 & ICW1_NEED4 ? ICW_4 : ICW_DONE;
        break;
    case ICW_3: s->step = s->icw1 & ICW1_NEED4 ? ICW_4 : ICW_DONE; break;
    case ICW_4:
        s->icw4 = v;
        s->step = ICW_DONE;
        break;
    }
}

static void pic_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct chip *c = opaque;

    (void)size;
    if (offset == 0)
        command_write(c, (uint8_t)value);
    else
        data_write(c, (uint8_t)value);
    update(c->pic);
}

static uint32_t pic_read(void *opaque, uint16_t offset, unsigned size)
{
    struct chip *c = opaque;
    struct pic_state *s = &c->s;

    (void)size;
    if (s->poll) {
        bool some = pending(c) != 8;
        unsigned n = acknowledge(c);
        s->poll = 0;
        update(c->pic);
        return some ? POLL_PENDING | n : 0;
    }
    if (offset == 1)
        return s->imr;
    return s->read_isr ? s->isr : s->irr;
}

static const struct pio_ops pic_ops = {.read = pic_read, .write = pic_write, .max_size = 1};

static uint32_t elcr_read(void *opaque, uint16_t offset, unsigned size)
{
    const struct pic *p = opaque;

    (void)size;
    return offset ? p->slave.s.elcr : p->master.s.elcr;
}

static void elcr_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct pic *p = opaque;
    struct chip *c = offset ? &p->slave : &p->master;
    struct pic_state *s = &c->s;

    (void)size;
    s->elcr = (uint8_t)value & c->elcr_mask;
    /* level inputs show their line from now on */
    s->irr = (uint8_t)((s->irr & ~s->elcr) | (s->lines & s->elcr));
    update(p);
}

static const struct pio_ops elcr_ops = {.read = elcr_read, .write = elcr_write, .max_size = 1};

static void on_gsi(void *opaque, unsigned n, int level)
{
    struct pic *p = opaque;

    if (n >= 16 || n == CASCADE)
        return;
    set_input(n < 8 ? &p->master : &p->slave, n & 7, level);
    update(p);
}

static bool pic_realize(struct dev *d, struct err *e)
{
    struct pic *p = container_of(d, struct pic, dev);
    struct bus *bus = d->env->bus;

    (void)e;
    p->master.pic = p->slave.pic = p;
    p->slave.slave = true;
    /* timer, keyboard, cascade; RTC and FPU error are edges for ever */
    p->master.elcr_mask = 0xf8;
    p->slave.elcr_mask = 0xde;
    bus_add_pio(bus, "pic", 0x20, 2, &pic_ops, &p->master);
    bus_add_pio(bus, "pic", 0xa0, 2, &pic_ops, &p->slave);
    bus_add_pio(bus, "elcr", 0x4d0, 2, &elcr_ops, p);
    bus_connect_gsi(bus, on_gsi, p);
    bus_connect_pic(bus, intr_ack, p);
    return true;
}

static void reset_chip(struct chip *c)
{
    uint8_t lines = c->s.lines;

    c->s = (struct pic_state){.lines = lines, .lowest = 7};
}

static void pic_reset(struct dev *d)
{
    struct pic *p = container_of(d, struct pic, dev);

    reset_chip(&p->master);
    reset_chip(&p->slave);
    p->intr = true; /* so that the processor hears of it */
    update(p);
}

const struct dev_class pic_class = {
    .name = "pic",
    .summary = "two cascaded 8259A interrupt controllers",
    .size = sizeof(struct pic),
    .realize = pic_realize,
    .reset = pic_reset,
};
