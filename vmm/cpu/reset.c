/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Power-on and INIT state, INIT and start-up IPIs. Source: SDM vol. 3A 9.1 (table 9-1), 8.4.3,
 * 10.4.7.1. */
#include "vmm/cpu/debug.h"
#include "vmm/cpu/lapic.h"
#include "vmm/cpu/seg.h"

#define APIC_BASE_DEFAULT UINT64_C(0xfee00000)

static struct x86_seg reset_seg(uint16_t attr)
{
    return (struct x86_seg){.limit = 0xffff, .attr = attr};
}

static void reset_lapic(struct x86_state *s, unsigned apic_id, bool is_bsp)
{
    memset(s->lapic, 0, sizeof(s->lapic));
    s->lapic[APIC_ID] = s->apic_base & APIC_BASE_X2APIC ? apic_id : apic_id << 24;
    s->lapic[APIC_VERSION] = APIC_VERSION_VALUE;
    s->lapic[APIC_DFR] = 0xffffffff;
    s->lapic[APIC_SVR] = 0xff;
    for (unsigned n = APIC_LVT_TIMER; n <= APIC_LVT_ERROR; n++)
        s->lapic[n] = APIC_LVT_MASKED;
    /* what firmware does first on every PC: the PIC's INTR reaches the BSP through LINT0 */
    if (is_bsp)
        s->lapic[APIC_LVT_LINT0] = APIC_DM_EXTINT << 8;
}

/* What neither INIT nor anything but power-on touches. */
static void reset_power_on(struct x86_state *s, unsigned apic_id, bool is_bsp)
{
    (void)apic_id;
    memset(s, 0, sizeof(*s));
    s->cr0 = CR0_CD | CR0_NW;
    s->xcr0 = XCR0_X87;
    s->pat = UINT64_C(0x0007040600070406);
    s->misc_enable = BIT(0) | BIT(11) | BIT(12); /* fast strings; no BTS, no PEBS */
    s->apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE | (is_bsp ? APIC_BASE_BSP : 0);
    s->fpu.fcw = 0x40;
    s->fpu.ftw = 0xff; /* empty is 0: all registers hold +0.0 */
    s->fpu.mxcsr = 0x1f80;
}

void x86_state_reset(struct x86_state *s, unsigned apic_id, _Bool is_bsp, _Bool init)
{
    if (!init)
        reset_power_on(s, apic_id, is_bsp);
    memset(s->gpr, 0, sizeof(s->gpr));
    s->gpr[X86_RDX] = CPUID_SIGNATURE;
    s->rip = 0xfff0;
    s->rflags = 2;
    for (unsigned n = 0; n < ARRAY_LEN(s->seg); n++)
        s->seg[n] = reset_seg(SEG_P | SEG_S | SEGT_WRITE | SEGT_ACCESSED);
    s->seg[X86_CS] = (struct x86_seg){.base = 0xffff0000, .limit = 0xffff, .sel = 0xf000,
                                      .attr = SEG_P | SEG_S | SEGT_CODE | SEGT_READ | SEGT_ACCESSED};
    s->tr = reset_seg(SEG_P | SYS_TSS32_BUSY);
    s->ldt = reset_seg(SEG_P | SYS_LDT);
    s->gdt = s->idt = (struct x86_dtable){.limit = 0xffff};
    s->cr0 = (s->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
    s->cr2 = s->cr3 = s->cr4 = s->cr8 = 0;
    s->efer = 0;
    memset(s->dr, 0, sizeof(s->dr));
    s->dr[6] = DR6_FIXED;
    s->dr[7] = DR7_FIXED;
    s->tsc_deadline = 0;
    s->sti_shadow = s->mov_ss_shadow = 0;
    s->nmi_pending = s->nmi_masked = 0;
    s->exc_pending = s->irq_injected = 0;
    s->mp_state = is_bsp ? X86_MP_RUNNABLE : X86_MP_WAIT_SIPI;
    reset_lapic(s, apic_id, is_bsp);
}

void cpu_init_signal(struct cpu *c)
{
    lapic_reset(c->lapic, true);
    c->dbg_hits = 0;
    c->cpl = 0;
    debug_changed(c);
    tlb_flush_all(c);
    c->branched = c->end_block = true;
    cpu_mode_changed(c);
}

void cpu_sipi_signal(struct cpu *c, uint8_t vector)
{
    struct x86_seg *cs = &c->s.seg[X86_CS];

    if (c->s.mp_state != X86_MP_WAIT_SIPI)
        return;
    cs->sel = (uint16_t)(vector << 8);
    cs->base = (uint64_t)vector << 12;
    c->s.rip = 0;
    c->s.mp_state = X86_MP_RUNNABLE;
    c->branched = c->end_block = true;
    cpu_mode_changed(c);
}
