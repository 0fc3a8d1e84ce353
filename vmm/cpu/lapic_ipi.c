/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt messages between APICs and from devices: destinations, lowest priority, INIT, start-up
 * and NMI. Source: SDM vol. 3A 10.6 (IPIs), 10.11 (MSI), 10.12.9 (x2APIC destinations). */
#include "vmm/cpu/lapic_priv.h"

static uint32_t *regs(const struct lapic *l)
{
    return l->cpu->s.lapic;
}

/* Whether the message is for this APIC; its lock is held. */
static bool matches_locked(const struct lapic *l, const struct apic_msg *m)
{
    uint32_t ldr = regs(l)[APIC_LDR];

    if (!lapic_enabled(l))
        return m->delivery == APIC_DM_INIT || m->delivery == APIC_DM_STARTUP
                   ? !m->logical && (m->broadcast || m->dest == l->cpu->index)
                   : false;
    if (m->broadcast)
        return true;
    if (!m->logical)
        return m->dest == l->cpu->index;
    if (lapic_x2(l))
        return m->dest >> 16 == ldr >> 16 && (m->dest & ldr & 0xffff);
    ldr >>= 24;
    if (regs(l)[APIC_DFR] >> 28 == 15) /* flat */
        return m->dest & ldr & 0xff;
    return (m->dest >> 4 & 15) == ldr >> 4 && (m->dest & ldr & 15);
}

static void deliver_one(struct lapic *l, const struct apic_msg *m)
{
    uint32_t post = 0;

    switch (m->delivery) {
    case APIC_DM_FIXED:
    case APIC_DM_LOWEST:
        lock_take(&l->lock);
        post = lapic_accept_locked(l, m->vector, m->level_triggered);
        lock_drop(&l->lock);
        break;
    case APIC_DM_NMI:
        post = CPU_PENDING_NMI;
        break;
    case APIC_DM_INIT:
        post = CPU_PENDING_INIT;
        break;
    case APIC_DM_STARTUP:
        atomic_store(&l->cpu->sipi_vector, m->vector);
        post = CPU_PENDING_SIPI;
        break;
    default: /* SMI: there is no system management mode; ExtINT: comes on a line */
        break;
    }
    if (post)
        cpu_post(l->cpu, post);
}

/* Among those that match, the one that does the least urgent work; a later one wins a tie against
 * the vCPU that got the last such message. */
static struct lapic *lowest_priority(struct cpu_set *set, const struct apic_msg *m)
{
    struct lapic *best = NULL;
    unsigned best_ppr = 256;

    for (unsigned n = 0; n < set->cfg.count; n++) {
        struct lapic *l = set->cpu[n]->lapic;

        lock_take(&l->lock);
        bool ok = matches_locked(l, m) && (regs(l)[APIC_SVR] & APIC_SVR_ENABLE);
        unsigned ppr = lapic_ppr_locked(l);
        lock_drop(&l->lock);
        if (ok && ppr < best_ppr) {
            best = l;
            best_ppr = ppr;
        }
    }
    return best;
}

void apic_deliver(struct cpu_set *set, const struct apic_msg *m)
{
    if (m->delivery == APIC_DM_LOWEST) {
        struct lapic *l = lowest_priority(set, m);

        if (l)
            deliver_one(l, m);
        return;
    }
    for (unsigned n = 0; n < set->cfg.count; n++) {
        struct lapic *l = set->cpu[n]->lapic;

        lock_take(&l->lock);
        bool ok = matches_locked(l, m);
        lock_drop(&l->lock);
        if (ok)
            deliver_one(l, m);
    }
}

void lapic_send_ipi(struct lapic *l, uint32_t icr, uint32_t dest)
{
    enum { DEST, SELF, ALL, OTHERS } shorthand = icr >> 18 & 3;
    struct cpu_set *set = l->cpu->set;
    struct apic_msg m = {.dest = dest, .logical = icr & BIT(11), .vector = (uint8_t)icr,
                         .delivery = icr >> 8 & 7,
                         .broadcast = dest == (lapic_x2(l) ? UINT32_MAX : 0xffu)};

    /* INIT level de-assert only ever set arbitration IDs, which have gone (10.6.1) */
    if (m.delivery == APIC_DM_INIT && (icr & BIT(15)) && !(icr & BIT(14)))
        return;
    if (m.delivery <= APIC_DM_LOWEST && m.vector < 16) {
        uint32_t post = 0;

        lock_take(&l->lock);
        lapic_error_locked(l, APIC_ESR_SEND_ILLEGAL, &post);
        lock_drop(&l->lock);
        if (post)
            cpu_post(l->cpu, post);
        return;
    }
    if (shorthand == DEST) {
        apic_deliver(set, &m);
        return;
    }
    for (unsigned n = 0; n < set->cfg.count; n++) {
        bool self = set->cpu[n] == l->cpu;

        if (shorthand == ALL || self == (shorthand == SELF))
            deliver_one(set->cpu[n]->lapic, &m);
    }
}

/* ---- from the machine ---- */

void cpu_msi(struct cpu_set *set, uint64_t address, uint32_t data)
{
    uint32_t dest = address >> 12 & 0xff;
    struct apic_msg m = {.dest = dest, .logical = address & BIT(2), .broadcast = dest == 0xff,
                         .vector = (uint8_t)data, .delivery = data >> 8 & 7,
                         .level_triggered = data & BIT(15)};

    if (m.delivery == APIC_DM_EXTINT || m.delivery == APIC_DM_STARTUP)
        return;
    apic_deliver(set, &m);
}

void cpu_set_extint(struct cpu_set *set, bool level)
{
    bool was = atomic_exchange(&set->extint, level);

    if (!level)
        return;
    for (unsigned n = 0; n < set->cfg.count; n++) {
        struct lapic *l = set->cpu[n]->lapic;
        uint32_t post = 0;

        lock_take(&l->lock);
        uint32_t lvt = regs(l)[APIC_LVT_LINT0];
        if (atomic_load(&l->lint0_ext))
            post = CPU_PENDING_IRQ;
        else if (!was && !(lvt & APIC_LVT_MASKED) && (lvt >> 8 & 7) == APIC_DM_FIXED)
            post = lapic_accept_locked(l, (uint8_t)lvt, false); /* LINT0 as an edge */
        else if (!was && !(lvt & APIC_LVT_MASKED) && (lvt >> 8 & 7) == APIC_DM_NMI)
            post = CPU_PENDING_NMI;
        lock_drop(&l->lock);
        if (post)
            cpu_post(set->cpu[n], post);
    }
}
