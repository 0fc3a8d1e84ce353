/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APIC: what the other system files need besides cpu_priv.h. */
#ifndef VMDECK_CPU_LAPIC_H
#define VMDECK_CPU_LAPIC_H

#include "vmm/cpu/cpu_priv.h"

/* Register numbers: offset in the page / 16, and index into x86_state.lapic. */
enum apic_reg {
    APIC_ID = 0x02, APIC_VERSION = 0x03, APIC_TPR = 0x08, APIC_APR = 0x09, APIC_PPR = 0x0a,
    APIC_EOI = 0x0b, APIC_LDR = 0x0d, APIC_DFR = 0x0e, APIC_SVR = 0x0f, APIC_ISR = 0x10,
    APIC_TMR = 0x18, APIC_IRR = 0x20, APIC_ESR = 0x28, APIC_ICR = 0x30, APIC_ICR2 = 0x31,
    APIC_LVT_TIMER = 0x32, APIC_LVT_THERMAL = 0x33, APIC_LVT_PERF = 0x34, APIC_LVT_LINT0 = 0x35,
    APIC_LVT_LINT1 = 0x36, APIC_LVT_ERROR = 0x37, APIC_TICR = 0x38, APIC_TCCR = 0x39,
    APIC_TDCR = 0x3e, APIC_SELF_IPI = 0x3f,
};

enum apic_delivery {
    APIC_DM_FIXED, APIC_DM_LOWEST, APIC_DM_SMI, APIC_DM_RESERVED, APIC_DM_NMI, APIC_DM_INIT,
    APIC_DM_STARTUP, APIC_DM_EXTINT,
};

#define APIC_VERSION_VALUE 0x00050014u /* integrated, six LVT entries */
#define APIC_LVT_MASKED    (1u << 16)
#define APIC_SVR_ENABLE    (1u << 8)

#define APIC_BASE_BSP      (1u << 8)
#define APIC_BASE_X2APIC   (1u << 10)
#define APIC_BASE_ENABLE   (1u << 11)

/* The vCPU's own thread. */
uint8_t lapic_get_tpr(struct lapic *l);
void lapic_set_tpr(struct lapic *l, uint8_t tpr);
/* x2APIC registers, MSRs 800h-8FFh; false: #GP. */
bool lapic_msr_read(struct lapic *l, uint32_t index, uint64_t *value);
bool lapic_msr_write(struct lapic *l, uint32_t index, uint64_t value);
/* IA32_APIC_BASE; false for a transition that does not exist (SDM vol. 3A figure 10-27). */
bool lapic_set_base(struct lapic *l, uint64_t value);
uint64_t lapic_get_tsc_deadline(struct lapic *l);
void lapic_set_tsc_deadline(struct lapic *l, uint64_t deadline);
/* The TSC jumped: a deadline is now at another time. */
void lapic_tsc_changed(struct lapic *l);
/* x86_state_reset of the vCPU under the APIC's lock, timer stopped. */
void lapic_reset(struct lapic *l, bool init);

#endif
