/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handlers of the integer instructions, and what they share.
 *
 * Status flags live in c->cc as LAHF and SETO leave them: AH bits 8-15 (SF ZF AF PF CF), AL bit 0 (OF). Operations
 * run on the host's own ALU and capture its flags, so defined and undefined flags alike are those of the host. */
#ifndef VMDECK_CPU_INTERP_OPS_H
#define VMDECK_CPU_INTERP_OPS_H

#include "vmm/cpu/decode/decode.h"
#include "vmm/cpu/mmu/mmu.h"
#include "vmm/cpu/seg.h"

typedef insn_fn *insn_select_fn(const struct insn *i);

#define INSN(m, fn, fl)   insn_fn fn;
#define SELECT(m, fn, fl) insn_select_fn fn;
#include "vmm/cpu/decode/insn.def"
#undef SELECT
#undef INSN
void op_ud(struct cpu *c, const struct insn *i);

/* Operands in guest memory: at any alignment, of any type. */
typedef uint16_t __attribute__((aligned(1), may_alias)) guest16;
typedef uint32_t __attribute__((aligned(1), may_alias)) guest32;
typedef uint64_t __attribute__((aligned(1), may_alias)) guest64;

/* ---- flags ---- */

/* Behind an operation whose output is bound to "=a". */
#define SAVE_FLAGS "lahf\n\tseto %%al"
/* Puts flags from "a" back: OF by an overflowing addition, the rest by SAHF. */
#define LOAD_FLAGS "addb $0x7f, %%al\n\tsahf\n\t"

#define CC_CF 0x100u
#define CC_PF 0x400u
#define CC_AF 0x1000u
#define CC_ZF 0x4000u
#define CC_SF 0x8000u
#define CC_OF 1u

static inline uint32_t cc_to_flags(uint16_t cc)
{
    return (cc >> 8 & (X86_CF | X86_PF | X86_AF | X86_ZF | X86_SF)) | (cc & 1u) << 11;
}

static inline uint16_t flags_to_cc(uint32_t f)
{
    return (uint16_t)((f & (X86_CF | X86_PF | X86_AF | X86_ZF | X86_SF)) << 8 | (f >> 11 & 1) | 0x200);
}

static inline bool cc_test(uint16_t cc, unsigned cond)
{
    bool r;

    switch (cond >> 1) {
    case 0: r = cc & CC_OF; break;
    case 1: r = cc & CC_CF; break;
    case 2: r = cc & CC_ZF; break;
    case 3: r = cc & (CC_CF | CC_ZF); break;
    case 4: r = cc & CC_SF; break;
    case 5: r = cc & CC_PF; break;
    case 6: r = (cc >> 15 & 1) != (cc & 1); break;
    default: r = (cc & CC_ZF) || (cc >> 15 & 1) != (cc & 1); break;
    }
    return r != (cond & 1);
}

/* ---- registers ---- */

/* Byte register n: AH to BH without REX. Little endian host. */
static inline uint8_t *reg8(struct cpu *c, const struct insn *i, unsigned n)
{
    unsigned high = n >= 4 && n < 8 && !(i->flags & INSN_REX);

    return (uint8_t *)&c->s.gpr[high ? n - 4 : n] + high;
}

static inline uint64_t get_reg(struct cpu *c, const struct insn *i, unsigned n, unsigned size)
{
    switch (size) {
    case 1: return *reg8(c, i, n);
    case 2: return (uint16_t)c->s.gpr[n];
    case 4: return (uint32_t)c->s.gpr[n];
    default: return c->s.gpr[n];
    }
}

static inline void set_reg(struct cpu *c, const struct insn *i, unsigned n, uint64_t v, unsigned size)
{
    switch (size) {
    case 1: *reg8(c, i, n) = (uint8_t)v; break;
    case 2: c->s.gpr[n] = (c->s.gpr[n] & ~UINT64_C(0xffff)) | (uint16_t)v; break;
    case 4: c->s.gpr[n] = (uint32_t)v; break;
    default: c->s.gpr[n] = v; break;
    }
}

static inline uint64_t ea(struct cpu *c, const struct insn *i, unsigned size, bool write)
{
    return seg_linear_fast(c, i->seg, insn_offset_fast(c, i), size, write);
}

static inline uint64_t get_rm(struct cpu *c, const struct insn *i, unsigned size)
{
    if (i->flags & INSN_MEM)
        return fast_ld(c, ea(c, i, size, false), size);
    return get_reg(c, i, i->rm, size);
}

static inline void set_rm(struct cpu *c, const struct insn *i, uint64_t v, unsigned size)
{
    if (i->flags & INSN_MEM)
        fast_st(c, ea(c, i, size, true), v, size);
    else
        set_reg(c, i, i->rm, v, size);
}

/* ---- stack ---- */

static inline uint64_t stack_mask(const struct cpu *c)
{
    return c->mode & MODE_CODE64 ? UINT64_MAX : c->mode & MODE_SS32 ? 0xffffffffu : 0xffffu;
}

static inline void set_rsp(struct cpu *c, uint64_t rsp)
{
    uint64_t m = stack_mask(c);

    c->s.gpr[X86_RSP] = m == 0xffffu ? (c->s.gpr[X86_RSP] & ~m) | (rsp & m) : rsp & m;
}

static inline void push(struct cpu *c, uint64_t v, unsigned size)
{
    uint64_t rsp = (c->s.gpr[X86_RSP] - size) & stack_mask(c);

    fast_st(c, seg_linear_fast(c, X86_SS, rsp, size, true), v, size);
    set_rsp(c, rsp);
}

/* Value at offset above the top; the caller moves RSP when nothing can fault any more. */
static inline uint64_t peek(struct cpu *c, unsigned offset, unsigned size)
{
    uint64_t rsp = (c->s.gpr[X86_RSP] + offset) & stack_mask(c);

    return fast_ld(c, seg_linear_fast(c, X86_SS, rsp, size, false), size);
}

/* ---- control flow ---- */

/* Near transfer; checks the target against CS (raises #GP(0)). */
static inline void jump(struct cpu *c, uint64_t rip, unsigned opsize)
{
    if (opsize == 2)
        rip &= 0xffff;
    else if (!(c->mode & MODE_CODE64))
        rip &= 0xffffffffu;
    if (c->mode & MODE_CODE64 ? !cpu_canonical(c, rip) : rip > c->s.seg[X86_CS].limit)
        cpu_gp(c, 0);
    c->s.rip = rip;
    c->branched = true;
}

#endif
