/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helpers of the system instructions: RFLAGS as a whole, and general registers by operand size. */
#ifndef VMDECK_CPU_SYSUTIL_H
#define VMDECK_CPU_SYSUTIL_H

#include "vmm/cpu/cpu_priv.h"

/* Every flag that exists (SDM vol. 1 figure 3-8). */
#define X86_ALL_FLAGS                                                                              \
    (X86_STATUS_FLAGS | X86_TF | X86_IF | X86_DF | X86_IOPL | X86_NT | X86_RF | X86_VM | X86_AC |  \
     X86_VIF | X86_VIP | X86_ID)

static inline unsigned cpu_iopl(const struct cpu *c)
{
    return c->s.rflags >> 12 & 3;
}

/* Replaces the flags in mask by those of value. The caller calls cpu_mode_changed when VM or AC may
 * be among them. */
static inline void flags_write(struct cpu *c, uint64_t value, uint64_t mask)
{
    uint64_t flags = (cpu_flags(c) & ~mask) | (value & mask);

    cpu_set_status_flags(c, (uint32_t)flags & X86_STATUS_FLAGS);
    c->s.rflags = (c->s.rflags & X86_STATUS_FLAGS) | (flags & ~(uint64_t)X86_STATUS_FLAGS) | 2;
    c->end_block = true; /* IF, TF: look for interrupts and breakpoints */
}

static inline void flags_write_all(struct cpu *c, uint64_t value)
{
    flags_write(c, value & X86_ALL_FLAGS, UINT64_MAX);
}

/* The register operand's value, and its replacement: 32 bits clear the upper half. */
static inline uint64_t reg_get(const struct cpu *c, unsigned r, unsigned size)
{
    return c->s.gpr[r] & mask_bytes(size);
}

static inline void reg_set(struct cpu *c, unsigned r, uint64_t v, unsigned size)
{
    uint64_t keep = size == 4 ? 0 : ~mask_bytes(size);

    c->s.gpr[r] = (c->s.gpr[r] & keep) | (v & mask_bytes(size));
}

/* Register or memory operand of that size. */
static inline uint64_t rm_get(struct cpu *c, const struct insn *i, unsigned size)
{
    if (i->flags & INSN_MEM)
        return mem_ld(c, insn_linear(c, i, size, false), size);
    return reg_get(c, i->rm, size);
}

static inline void rm_set(struct cpu *c, const struct insn *i, uint64_t v, unsigned size)
{
    if (i->flags & INSN_MEM)
        mem_st(c, insn_linear(c, i, size, true), v, size);
    else
        reg_set(c, i->rm, v, size);
}

/* Privileged instructions outside ring 0: #GP(0). */
static inline void need_cpl0(struct cpu *c)
{
    if (c->cpl)
        cpu_gp(c, 0);
}

#endif
