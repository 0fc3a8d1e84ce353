/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by lapic.c (registers, priorities, timer) and lapic_ipi.c (interrupt messages). */
#ifndef VMDECK_CPU_LAPIC_PRIV_H
#define VMDECK_CPU_LAPIC_PRIV_H

#include "vmm/base/thread.h"
#include "vmm/cpu/lapic.h"

/* Registers live in cpu->s.lapic. The lock covers them, and the fields below except ready. */
struct lapic {
    struct lock lock;
    struct cpu *cpu;
    uint32_t esr_pending;   /* errors since the last write to ESR */
    _Atomic bool ready;     /* an interrupt above the processor priority waits in IRR */
    _Atomic bool lint0_ext; /* LINT0 passes the PIC's INTR (or the APIC is off and this is the BSP) */
    struct timer timer;
    bool timer_live;
    int64_t timer_start;    /* clock when the current count began */
    int64_t timer_deadline; /* clock when it ends */
};

/* An interrupt message: what ICR and MSI have in common. */
struct apic_msg {
    uint32_t dest;
    bool logical, level_triggered;
    uint8_t vector;
    uint8_t delivery; /* enum apic_delivery */
    bool broadcast;   /* dest is all ones in the sender's format */
};

static inline bool lapic_enabled(const struct lapic *l)
{
    return l->cpu->s.apic_base & APIC_BASE_ENABLE;
}

static inline bool lapic_x2(const struct lapic *l)
{
    return l->cpu->s.apic_base & APIC_BASE_X2APIC;
}

/* Accepts a fixed interrupt; l->lock is held. Returns what to post. */
uint32_t lapic_accept_locked(struct lapic *l, uint8_t vector, bool level_triggered);
/* Recomputes what waits; returns CPU_PENDING_IRQ when something does. */
uint32_t lapic_update_locked(struct lapic *l);
uint8_t lapic_ppr_locked(const struct lapic *l);
void lapic_error_locked(struct lapic *l, uint32_t bit, uint32_t *post);

/* Delivers to all matching vCPUs of the set. No lock held. */
void apic_deliver(struct cpu_set *set, const struct apic_msg *m);
/* Write to ICR: destination, shorthand and all. No lock held. */
void lapic_send_ipi(struct lapic *l, uint32_t icr, uint32_t dest);

#define APIC_ESR_SEND_ILLEGAL (1u << 5)
#define APIC_ESR_RECV_ILLEGAL (1u << 6)
#define APIC_ESR_REG_ILLEGAL  (1u << 7)

#endif
