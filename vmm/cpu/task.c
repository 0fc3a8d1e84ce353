/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Task state segments: inner stacks, and the hardware task switch with 16- and 32-bit TSS.
 *
 * Source: SDM vol. 3A ch. 7 (task management) and 5.8.5 (stack switching). Up to the commit point
 * faults belong to the old task; what fails later (segment loads) belongs to the new one, whose
 * registers are then in place already. */
#include "vmm/cpu/debug.h"
#include "vmm/cpu/sysutil.h"
#include "vmm/cpu/seg.h"

static bool tss_is_32(const struct cpu *c)
{
    return SEG_TYPE(c->s.tr.attr) & 8u;
}

static _Noreturn void tss_fault(struct cpu *c, uint8_t ext)
{
    cpu_raise_err(c, X86_TS, (c->s.tr.sel & 0xfffcu) | ext);
}

void tss_inner_stack(struct cpu *c, unsigned dpl, uint8_t ext, uint16_t *ss, uint64_t *sp)
{
    unsigned width = tss_is_32(c) ? 4 : 2;
    unsigned at = width + dpl * width * 2;

    if (at + width + 1 > c->s.tr.limit)
        tss_fault(c, ext);
    *sp = mem_ld_sys(c, c->s.tr.base + at, width);
    *ss = (uint16_t)mem_ld_sys(c, c->s.tr.base + at + width, 2);
}

uint64_t tss_long_stack(struct cpu *c, unsigned dpl, unsigned ist, uint8_t ext)
{
    unsigned at = ist ? 0x24 + (ist - 1) * 8 : 4 + dpl * 8;

    if (at + 7 > c->s.tr.limit)
        tss_fault(c, ext);
    uint64_t sp = mem_ld_sys(c, c->s.tr.base + at, 8);
    if (!cpu_canonical(c, sp))
        cpu_raise_err(c, X86_SS_FAULT, ext);
    return sp;
}

void tss_check_ss(struct cpu *c, uint16_t sel, unsigned dpl, uint8_t ext, struct x86_seg *out)
{
    struct seg_rule r = {.cpl = (uint8_t)dpl, .vector = X86_TS, .ext = ext};

    seg_check_data(c, X86_SS, sel, &r, out);
}

/* ---- task switch ---- */

/* Both TSS formats as one. */
struct tss_image {
    uint64_t cr3;
    uint32_t eip, eflags;
    uint32_t gpr[8];
    uint16_t sreg[6]; /* ES, CS, SS, DS, FS, GS */
    uint16_t ldt, trap;
};

/* Offsets of the first register of each group; the groups are contiguous in both formats. */
struct tss_layout {
    uint8_t width, cr3, eip, eflags, gpr, sreg, sregs, ldt, trap, min_limit;
};
static const struct tss_layout layout16 = {.width = 2, .eip = 14, .eflags = 16, .gpr = 18,
                                           .sreg = 34, .sregs = 4, .ldt = 42, .min_limit = 0x2b};
static const struct tss_layout layout32 = {.width = 4, .cr3 = 28, .eip = 32, .eflags = 36, .gpr = 40,
                                           .sreg = 72, .sregs = 6, .ldt = 96, .trap = 100,
                                           .min_limit = 0x67};

static void image_read(struct cpu *c, uint64_t base, const struct tss_layout *l, struct tss_image *t)
{
    *t = (struct tss_image){0};
    if (l->cr3)
        t->cr3 = mem_ld_sys(c, base + l->cr3, 4);
    t->eip = (uint32_t)mem_ld_sys(c, base + l->eip, l->width);
    t->eflags = (uint32_t)mem_ld_sys(c, base + l->eflags, l->width);
    for (unsigned n = 0; n < 8; n++) {
        t->gpr[n] = (uint32_t)mem_ld_sys(c, base + l->gpr + n * l->width, l->width);
        if (l->width == 2)
            t->gpr[n] |= 0xffff0000; /* as processors since the 386 do */
    }
    for (unsigned n = 0; n < l->sregs; n++)
        t->sreg[n] = (uint16_t)mem_ld_sys(c, base + l->sreg + n * l->width, 2);
    t->ldt = (uint16_t)mem_ld_sys(c, base + l->ldt, 2);
    if (l->trap)
        t->trap = (uint16_t)mem_ld_sys(c, base + l->trap, 2);
}

/* Stores the dynamic part of the current task. The caller has probed the range. */
static void image_save(struct cpu *c, const struct tss_layout *l, uint32_t eip, uint32_t eflags)
{
    uint64_t base = c->s.tr.base;

    mem_st_sys(c, base + l->eip, eip, l->width);
    mem_st_sys(c, base + l->eflags, eflags, l->width);
    for (unsigned n = 0; n < 8; n++)
        mem_st_sys(c, base + l->gpr + n * l->width, c->s.gpr[n], l->width);
    for (unsigned n = 0; n < l->sregs; n++)
        mem_st_sys(c, base + l->sreg + n * l->width, c->s.seg[n].sel, 2);
}

static void probe_sys(struct cpu *c, uint64_t at, unsigned size)
{
    uint8_t mmu = c->mmu;

    c->mmu = MMU_KERNEL;
    mem_probe_write(c, at, size);
    c->mmu = mmu;
}

static void load_ldt(struct cpu *c, uint16_t sel, uint8_t ext)
{
    struct desc d;

    c->s.ldt = seg_null(sel, 0);
    if (SEL_IS_NULL(sel))
        return;
    if ((sel & SEL_TI) || !desc_fetch(c, sel, &d) || (d.attr & (SEG_S | 15)) != SYS_LDT ||
        !(d.attr & SEG_P))
        cpu_raise_err(c, X86_TS, (sel & 0xfffcu) | ext);
    c->s.ldt = (struct x86_seg){.base = desc_base32(d.raw), .limit = desc_limit(d.raw), .sel = sel,
                                .attr = d.attr};
}

static void load_cs(struct cpu *c, uint16_t sel, uint8_t ext)
{
    uint32_t error = (sel & 0xfffcu) | ext;
    struct desc d;

    if (SEL_IS_NULL(sel) || !desc_fetch(c, sel, &d) || !desc_is_code(&d))
        cpu_raise_err(c, X86_TS, error);
    if (desc_is_conforming(&d) ? SEG_DPL(d.attr) > SEL_RPL(sel) : SEG_DPL(d.attr) != SEL_RPL(sel))
        cpu_raise_err(c, X86_TS, error);
    if (!(d.attr & SEG_P))
        cpu_raise_err(c, X86_NP, error);
    c->s.seg[X86_CS] = desc_seg(c, &d, sel);
    cpu_mode_changed(c);
}

/* The new task's selectors, already in s.seg as unusable, become segments (SDM vol. 3A 7.3). */
static void load_segments(struct cpu *c, const struct tss_image *t, uint8_t ext)
{
    static const uint8_t order[] = {X86_SS, X86_DS, X86_ES, X86_FS, X86_GS};
    struct seg_rule r = {.vector = X86_TS, .ext = ext};

    load_ldt(c, t->ldt, ext);
    if (c->s.rflags & X86_VM) {
        for (unsigned n = 0; n < 6; n++)
            c->s.seg[n] = seg_real(c, n, t->sreg[n]);
        cpu_mode_changed(c);
        return;
    }
    load_cs(c, t->sreg[X86_CS], ext);
    r.cpl = c->cpl;
    for (unsigned n = 0; n < ARRAY_LEN(order); n++) {
        struct x86_seg s;

        seg_check_data(c, order[n], t->sreg[order[n]], &r, &s);
        seg_commit(c, order[n], &s);
    }
}

/* Everything of the new task that cannot fault. */
static void commit(struct cpu *c, const struct tss_image *t, const struct tss_layout *l,
                   const struct desc *d, uint32_t eflags)
{
    bool vm = eflags & X86_VM;
    unsigned cpl = vm ? 3 : SEL_RPL(t->sreg[X86_CS]);

    c->s.tr = (struct x86_seg){.base = desc_base32(d->raw), .limit = desc_limit(d->raw),
                               .sel = d->sel, .attr = d->attr};
    c->s.cr0 |= CR0_TS;
    if (l->cr3 && (c->s.cr0 & CR0_PG)) {
        c->s.cr3 = t->cr3;
        tlb_flush_nonglobal(c);
    }
    c->s.rip = t->eip;
    flags_write_all(c, eflags);
    for (unsigned n = 0; n < 8; n++)
        c->s.gpr[n] = t->gpr[n];
    for (unsigned n = 0; n < 6; n++)
        c->s.seg[n] = seg_null(t->sreg[n], cpl);
    c->cpl = (uint8_t)cpl;
    c->s.dr[7] &= ~(uint64_t)0x155; /* local breakpoint enables, and LE */
    debug_changed(c);
    c->branched = true;
    c->end_block = true;
    cpu_mode_changed(c);
}

static bool tss_usable(const struct desc *d, enum task_cause cause)
{
    unsigned type = d->attr & (SEG_S | 15);

    if (cause == TASK_IRET)
        return type == SYS_TSS16_BUSY || type == SYS_TSS32_BUSY;
    return type == SYS_TSS16 || type == SYS_TSS32;
}

void task_switch(struct cpu *c, uint16_t sel, enum task_cause cause, uint64_t next_rip, uint8_t ext,
                 bool has_error, uint32_t error)
{
    bool nest = cause == TASK_CALL || cause == TASK_INT;
    uint32_t sel_error = (sel & 0xfffcu) | ext;
    unsigned bad = cause == TASK_IRET ? X86_TS : X86_GP;
    struct desc d, old;
    struct tss_image t;

    if (SEL_IS_NULL(sel) || (sel & SEL_TI) || !desc_fetch(c, sel, &d) || !tss_usable(&d, cause))
        cpu_raise_err(c, bad, sel_error);
    if (!(d.attr & SEG_P))
        cpu_raise_err(c, X86_NP, sel_error);
    const struct tss_layout *l = d.attr & 8 ? &layout32 : &layout16;
    const struct tss_layout *from = tss_is_32(c) ? &layout32 : &layout16;
    uint64_t base = desc_base32(d.raw);
    if (desc_limit(d.raw) < l->min_limit)
        cpu_raise_err(c, X86_TS, sel_error);

    image_read(c, base, l, &t);
    probe_sys(c, c->s.tr.base, from->min_limit + 1);
    if (nest)
        probe_sys(c, base, 2);

    uint32_t eflags = (uint32_t)cpu_flags(c);
    if (cause == TASK_IRET)
        eflags &= ~X86_NT;
    if (!nest && desc_fetch(c, c->s.tr.sel, &old))
        desc_set_access(c, &old, 0, 2); /* not busy */
    image_save(c, from, (uint32_t)next_rip, eflags);
    if (nest)
        mem_st_sys(c, base, c->s.tr.sel, 2);
    if (cause != TASK_IRET)
        desc_set_access(c, &d, 2, 0);
    eflags = t.eflags | (nest ? X86_NT : 0);
    if (!l->cr3)
        eflags &= 0xffff;
    commit(c, &t, l, &d, eflags);

    load_segments(c, &t, ext);
    if (t.trap & 1)
        c->dbg_hits |= DR6_BT;
    if (has_error) {
        struct stack st;

        stack_current(c, &st, ext);
        stack_push(c, &st, error, l->width);
        stack_write(c, &st);
        stack_set_rsp(c, &st);
    }
    seg_check_rip(c, &c->s.seg[X86_CS], c->s.rip, ext);
}

void task_gate(struct cpu *c, const struct desc *gate, enum task_cause cause, uint64_t next_rip,
               uint8_t ext, bool has_error, uint32_t error)
{
    uint16_t sel = gate->raw >> 16 & 0xffff;

    task_switch(c, sel, cause, next_rip, ext, has_error, error);
}
