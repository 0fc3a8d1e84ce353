/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An interrupt line: whoever drives it knows nothing of the controller behind. Machine lock. */
#ifndef VMDECK_BUS_IRQ_H
#define VMDECK_BUS_IRQ_H

struct irq_line {
    void (*set)(void *opaque, unsigned n, int level);
    void *opaque;
    unsigned n;
};

static inline void irq_set(const struct irq_line *line, int level)
{
    if (line && line->set)
        line->set(line->opaque, line->n, level);
}

static inline void irq_pulse(const struct irq_line *line)
{
    irq_set(line, 1);
    irq_set(line, 0);
}

#endif
