/* SPDX-License-Identifier: GPL-2.0-or-later */
/* INT n, INT1, INT3, INTO, BOUND, UD and IRET. Source: SDM vol. 2 "INT n", "IRET"; vol. 3A 20.3. */
#include "vmm/cpu/excp.h"
#include "vmm/cpu/seg.h"
#include "vmm/cpu/sys.h"
#include "vmm/cpu/sysutil.h"

static void soft_int(struct cpu *c, const struct insn *i, unsigned vector, bool is_int_n)
{
    struct event ev = {.vector = (uint8_t)vector, .kind = EVENT_SOFT_INT, .check_dpl = true,
                       .is_int_n = is_int_n, .ret = c->s.rip + i->len};

    if (!(c->mode & (MODE_CODE64 | MODE_CODE32)))
        ev.ret = (uint16_t)ev.ret;
    excp_deliver_once(c, &ev);
}

void op_int(struct cpu *c, const struct insn *i)
{
    soft_int(c, i, (uint8_t)i->imm, true);
}

void op_int3(struct cpu *c, const struct insn *i)
{
    soft_int(c, i, X86_BP, false);
}

void op_into(struct cpu *c, const struct insn *i)
{
    if (cpu_flags(c) & X86_OF)
        soft_int(c, i, X86_OF_TRAP, false);
}

/* No privilege check, and DR6 stays as it is. */
void op_int1(struct cpu *c, const struct insn *i)
{
    struct event ev = {.vector = X86_DB, .kind = EVENT_TRAP, .ext = 1, .ret = c->s.rip + i->len};

    excp_deliver_once(c, &ev);
}

void op_bound(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize;
    uint64_t at = insn_linear(c, i, size * 2, false);
    int64_t low = (int32_t)mem_ld(c, at, size), high = (int32_t)mem_ld(c, at + size, size);
    int64_t v = (int32_t)reg_get(c, i->reg, size);

    if (size == 2) {
        low = (int16_t)low;
        high = (int16_t)high;
        v = (int16_t)v;
    }
    if (v < low || v > high)
        cpu_raise(c, X86_BR);
}

void op_ud(struct cpu *c, const struct insn *i)
{
    (void)i;
    cpu_ud(c);
}

/* ---- IRET ---- */

/* Flags that IRET may change in protected mode. */
static uint64_t iret_mask(const struct cpu *c, unsigned opsize)
{
    uint64_t mask = X86_STATUS_FLAGS | X86_TF | X86_DF | X86_NT;

    if (opsize > 2)
        mask |= X86_RF | X86_AC | X86_ID;
    if (c->cpl <= cpu_iopl(c))
        mask |= X86_IF;
    if (c->cpl == 0)
        mask |= X86_IOPL | (opsize > 2 ? X86_VIF | X86_VIP : 0);
    return mask;
}

static void iret_real(struct cpu *c, unsigned size)
{
    bool vm = c->s.rflags & X86_VM;
    bool vme = vm && cpu_iopl(c) < 3;
    struct stack st;

    if (vme && (!(c->s.cr4 & CR4_VME) || size != 2))
        cpu_gp(c, 0);
    stack_current(c, &st, 0);
    uint64_t rip = stack_pop(c, &st, size);
    struct x86_seg cs = seg_real(c, X86_CS, (uint16_t)stack_pop(c, &st, size));
    uint64_t flags = stack_pop(c, &st, size);
    uint64_t mask = X86_STATUS_FLAGS | X86_TF | X86_DF | X86_NT | X86_IF;

    seg_check_rip(c, &cs, rip, 0);
    if (vme) {
        /* IF of the image goes to VIF (SDM vol. 3A table 20-2) */
        if ((flags & X86_TF) || ((flags & X86_IF) && (c->s.rflags & X86_VIP)))
            cpu_gp(c, 0);
        flags = (flags & ~(uint64_t)X86_VIF) | (flags & X86_IF ? X86_VIF : 0);
        mask = (mask & ~(uint64_t)X86_IF) | X86_VIF;
    } else if (!vm) {
        mask |= X86_IOPL;
    }
    if (size > 2)
        mask |= X86_RF | X86_AC | X86_ID;
    flags_write(c, flags, mask);
    stack_set_rsp(c, &st);
    seg_commit_cs(c, &cs, c->cpl, rip);
}

/* From ring 0 into a virtual-8086 task. */
static void iret_to_vm86(struct cpu *c, struct stack *st, uint64_t rip, uint16_t cs, uint64_t flags)
{
    static const uint8_t order[] = {X86_ES, X86_DS, X86_FS, X86_GS};
    uint16_t sel[6];

    uint64_t rsp = stack_pop(c, st, 4);
    sel[X86_CS] = cs;
    sel[X86_SS] = (uint16_t)stack_pop(c, st, 4);
    for (unsigned n = 0; n < ARRAY_LEN(order); n++)
        sel[order[n]] = (uint16_t)stack_pop(c, st, 4);
    if (rip > 0xffff)
        cpu_gp(c, 0);

    flags_write_all(c, flags);
    c->mode = (uint8_t)((c->mode & ~MODE_PE) | MODE_VM86);
    for (unsigned n = 0; n < 6; n++)
        c->s.seg[n] = seg_real(c, n, sel[n]);
    c->s.gpr[X86_RSP] = (uint32_t)rsp;
    struct x86_seg s = c->s.seg[X86_CS];
    seg_commit_cs(c, &s, 3, rip);
}

/* Back to the task that the link field of the current TSS names. */
static void iret_task(struct cpu *c, const struct insn *i)
{
    if (c->long_mode)
        cpu_gp(c, 0);
    uint16_t link = (uint16_t)mem_ld_sys(c, c->s.tr.base, 2);
    if (SEL_IS_NULL(link) || (link & SEL_TI))
        cpu_raise_err(c, X86_TS, link & 0xfffcu);
    task_switch(c, link, TASK_IRET, c->s.rip + i->len, 0, false, 0);
}

static void iret_protected(struct cpu *c, unsigned size)
{
    struct stack st, to;
    struct desc d;

    stack_current(c, &st, 0);
    uint64_t rip = stack_pop(c, &st, size);
    uint16_t sel = (uint16_t)stack_pop(c, &st, size);
    uint64_t flags = stack_pop(c, &st, size);
    if (size == 4 && (flags & X86_VM) && c->cpl == 0 && !c->long_mode) {
        iret_to_vm86(c, &st, rip, sel, flags);
        return;
    }
    ret_check_cs(c, sel, &d);
    uint8_t rpl = SEL_RPL(sel);
    bool outer = rpl > c->cpl, pops_stack = outer || (c->mode & MODE_CODE64);
    bool to64 = c->long_mode && (d.attr & SEG_L);
    struct x86_seg ss = c->s.seg[X86_SS];

    stack_other(c, &to, &ss, 0, to64, rpl, 0);
    if (pops_stack) {
        struct seg_rule r = {.cpl = rpl, .code64 = to64, .vector = X86_GP};
        uint64_t rsp = stack_pop(c, &st, size);

        seg_check_data(c, X86_SS, (uint16_t)stack_pop(c, &st, size), &r, &ss);
        stack_other(c, &to, &ss, rsp, to64, rpl, 0);
    }
    struct x86_seg cs = desc_seg(c, &d, sel);
    seg_check_rip(c, &cs, rip, 0);

    flags_write(c, flags, iret_mask(c, size));
    c->s.seg[X86_SS] = ss;
    stack_set_rsp(c, pops_stack ? &to : &st);
    seg_commit_cs(c, &cs, rpl, rip);
    if (outer)
        seg_drop_privileged(c);
}

void op_iret(struct cpu *c, const struct insn *i)
{
    if (!(c->mode & MODE_PE))
        iret_real(c, i->opsize);
    else if (c->s.rflags & X86_NT)
        iret_task(c, i);
    else
        iret_protected(c, i->opsize);
    c->s.nmi_masked = 0;
}
