/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions on RFLAGS. Source: SDM vol. 2 under each mnemonic; virtual interrupt flag: vol. 3A
 * 20.3 and 20.4. */
#include "vmm/cpu/seg.h"
#include "vmm/cpu/sys.h"
#include "vmm/cpu/sysutil.h"

/* Which flag CLI and STI work on: IF, VIF under VME or PVI, or none (#GP). */
static uint32_t interrupt_flag(struct cpu *c)
{
    if (!(c->mode & (MODE_PE | MODE_VM86)) || c->cpl <= cpu_iopl(c))
        return X86_IF;
    if (c->mode & MODE_VM86 ? c->s.cr4 & CR4_VME : c->cpl == 3 && (c->s.cr4 & CR4_PVI))
        return X86_VIF;
    cpu_gp(c, 0);
}

void op_cli(struct cpu *c, const struct insn *i)
{
    (void)i;
    c->s.rflags &= ~(uint64_t)interrupt_flag(c);
}

void op_sti(struct cpu *c, const struct insn *i)
{
    uint32_t flag = interrupt_flag(c);

    (void)i;
    if (flag == X86_VIF && (c->s.rflags & X86_VIP))
        cpu_gp(c, 0);
    if (flag == X86_IF && !(c->s.rflags & X86_IF))
        c->s.sti_shadow = 1;
    c->s.rflags |= flag;
    c->end_block = true;
}

static bool vm86_virtual(struct cpu *c, const struct insn *i)
{
    if (!(c->mode & MODE_VM86) || cpu_iopl(c) == 3)
        return false;
    if (!(c->s.cr4 & CR4_VME) || i->opsize != 2)
        cpu_gp(c, 0);
    return true;
}

void op_pushf(struct cpu *c, const struct insn *i)
{
    bool virtual_if = vm86_virtual(c, i);
    uint64_t flags = cpu_flags(c) & ~(uint64_t)(X86_VM | X86_RF);
    struct stack st;

    if (virtual_if)
        flags = (flags & ~(uint64_t)X86_IF) | X86_IOPL | (flags & X86_VIF ? X86_IF : 0);
    stack_current(c, &st, 0);
    stack_push(c, &st, flags, i->opsize);
    stack_write(c, &st);
    stack_set_rsp(c, &st);
}

void op_popf(struct cpu *c, const struct insn *i)
{
    bool virtual_if = vm86_virtual(c, i);
    uint64_t mask = X86_STATUS_FLAGS | X86_TF | X86_DF | X86_NT;
    struct stack st;

    stack_current(c, &st, 0);
    uint64_t flags = stack_pop(c, &st, i->opsize);
    if (i->opsize > 2)
        mask |= X86_AC | X86_ID;
    if (virtual_if) {
        if ((flags & X86_TF) || ((flags & X86_IF) && (c->s.rflags & X86_VIP)))
            cpu_gp(c, 0);
        flags = (flags & ~(uint64_t)X86_VIF) | (flags & X86_IF ? X86_VIF : 0);
        mask |= X86_VIF;
    } else {
        if (c->cpl <= cpu_iopl(c))
            mask |= X86_IF;
        if (c->cpl == 0)
            mask |= X86_IOPL;
    }
    flags_write(c, flags, mask);
    stack_set_rsp(c, &st);
    cpu_mode_changed(c);
}

static void need_lahf(struct cpu *c)
{
    if ((c->mode & MODE_CODE64) && !cpu_has(c->set->cfg.model, CPUF_LAHF))
        cpu_ud(c);
}

void op_lahf(struct cpu *c, const struct insn *i)
{
    (void)i;
    need_lahf(c);
    uint64_t flags = (cpu_flags(c) & 0xd5) | 2;

    c->s.gpr[X86_RAX] = (c->s.gpr[X86_RAX] & ~UINT64_C(0xff00)) | flags << 8;
}

static void set_status(struct cpu *c, uint32_t value, uint32_t mask)
{
    cpu_set_status_flags(c, ((uint32_t)cpu_flags(c) & ~mask & X86_STATUS_FLAGS) | (value & mask));
}

void op_sahf(struct cpu *c, const struct insn *i)
{
    (void)i;
    need_lahf(c);
    set_status(c, c->s.gpr[X86_RAX] >> 8 & 0xff, X86_STATUS_FLAGS & ~X86_OF);
}

void op_clc(struct cpu *c, const struct insn *i)
{
    (void)i;
    set_status(c, 0, X86_CF);
}

void op_stc(struct cpu *c, const struct insn *i)
{
    (void)i;
    set_status(c, X86_CF, X86_CF);
}

void op_cmc(struct cpu *c, const struct insn *i)
{
    (void)i;
    set_status(c, ~(uint32_t)cpu_flags(c), X86_CF);
}

void op_cld(struct cpu *c, const struct insn *i)
{
    (void)i;
    c->s.rflags &= ~(uint64_t)X86_DF;
}

void op_std(struct cpu *c, const struct insn *i)
{
    (void)i;
    c->s.rflags |= X86_DF;
}

static void set_ac(struct cpu *c, bool on)
{
    if (!cpu_has(c->set->cfg.model, CPUF_SMAP) || c->cpl)
        cpu_ud(c);
    c->s.rflags = (c->s.rflags & ~(uint64_t)X86_AC) | (on ? X86_AC : 0);
    cpu_mode_changed(c);
}

void op_clac(struct cpu *c, const struct insn *i)
{
    (void)i;
    set_ac(c, false);
}

void op_stac(struct cpu *c, const struct insn *i)
{
    (void)i;
    set_ac(c, true);
}
