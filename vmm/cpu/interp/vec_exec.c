/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Execution of instructions that have a thunk, and the checks all of them share. Exceptions and their
 * order: Intel SDM vol. 2A 2.4, vol. 1 8.7 (x87), vol. 3A 12 (MMX). */
#include "vmm/cpu/interp/vec_priv.h"

#define FSW_ES    0x80u
#define FSW_B     0x8000u
#define FSW_FLAGS 0x3fu
#define FSW_IE    0x01u
#define FSW_OE    0x08u
#define FSW_UE    0x10u

static bool ymm_enabled(const struct cpu *c)
{
    return (c->s.cr4 & CR4_OSXSAVE) &&
           (c->s.xcr0 & (XCR0_SSE | XCR0_AVX)) == (XCR0_SSE | XCR0_AVX);
}

void vec_check(struct cpu *c, enum vec_kind kind)
{
    const bool em = c->s.cr0 & CR0_EM;
    bool ud = false;

    switch (kind) {
    case VEC_X87:
        if (em)
            cpu_raise(c, X86_NM);
        break;
    case VEC_MMX:
        ud = em;
        break;
    case VEC_SSE:
        ud = em || !(c->s.cr4 & CR4_OSFXSR);
        break;
    case VEC_AVX:
        ud = !ymm_enabled(c);
        break;
    }
    if (ud)
        cpu_ud(c);
    if (c->s.cr0 & CR0_TS)
        cpu_raise(c, X86_NM);
}

/* Returns IGNNE#. */
static bool set_ferr(struct cpu *c, bool level)
{
    c->ferr = level;
    return c->set->cfg.io->ferr(c->set->cfg.io_opaque, level);
}

void x87_error_cleared(struct cpu *c)
{
    if (c->ferr)
        set_ferr(c, false);
}

bool x87_check_pending(struct cpu *c)
{
    if (!(c->s.fpu.fsw & FSW_ES)) {
        x87_error_cleared(c);
        return true;
    }
    if ((c->s.cr0 & CR0_NE) || c->index > 0 || !c->set->cfg.io->ferr)
        cpu_raise(c, X86_MF);
    if (set_ferr(c, true))
        return true;
    c->s.mp_state = X86_MP_HALTED;
    c->branched = c->end_block = true;
    return false;
}

void vec_raise_simd(struct cpu *c)
{
    cpu_raise(c, c->s.cr4 & CR4_OSXMMEXCPT ? X86_XM : X86_UD);
}

void x87_set_top(struct x86_fpu *f, unsigned top)
{
    const unsigned shift = (top - x87_top(f)) & 7u;
    uint8_t old[8][16];

    f->fsw = (uint16_t)((f->fsw & ~0x3800u) | top << 11);
    if (!shift)
        return;
    memcpy(old, f->st, sizeof(old));
    for (unsigned n = 0; n < 8; n++)
        memcpy(f->st[n], old[(n + shift) & 7u], sizeof(f->st[n]));
}

void x87_enter_mmx(struct x86_fpu *f)
{
    x87_set_top(f, 0);
    f->ftw = 0xff;
}

void x87_normalise(struct x86_fpu *f)
{
    f->fcw = (f->fcw & 0x1f3fu) | 0x40u;
    f->fsw &= (uint16_t)~(FSW_ES | FSW_B);
    if (f->fsw & ~f->fcw & FSW_FLAGS)
        f->fsw |= FSW_ES | FSW_B;
}

/* ---- memory operand ---- */

/* Loads the operand, or makes sure it can be stored. */
static uint64_t operand_in(struct cpu *c, const struct insn *i, const struct vec_spec *s)
{
    const bool write = s->flags & VOP_MEM_WRITE;

    if (s->flags & VOP_ALIGN)
        vec_check_aligned(c, i, s->mem_size);
    const uint64_t linear = insn_linear(c, i, s->mem_size, write);
    if (write)
        mem_probe_write(c, linear, s->mem_size);
    if (s->flags & VOP_MEM_READ)
        mem_ld_bytes(c, linear, c->vec->io.buf, s->mem_size);
    return linear;
}

/* ---- vectors ---- */

static void check(struct cpu *c, const struct vec_spec *s)
{
    vec_check(c, s->flags & VOP_VEX      ? VEC_AVX
                 : s->flags & VOP_OSFXSR ? VEC_SSE
                                         : VEC_MMX);
}

void vec_exec(struct cpu *c, const struct insn *i)
{
    struct vec_ctx *v = c->vec;
    const struct vec_op *op = vec_insn_op(c, i);
    const struct vec_spec *s = &op->spec;
    uint64_t linear = 0;

    check(c, s);
    if ((s->flags & VOP_MMX) && !x87_check_pending(c))
        return;
    if (s->flags & (VOP_MEM_READ | VOP_MEM_WRITE))
        linear = operand_in(c, i, s);
    if (s->flags & VOP_MMX)
        x87_enter_mmx(&c->s.fpu);
    if (s->flags & VOP_FLAGS)
        v->io.flags = 2u | (cpu_flags(c) & X86_STATUS_FLAGS);
    if (vec_op_run(v, op, &c->s))
        vec_raise_simd(c);
    if (s->flags & VOP_FLAGS)
        cpu_set_status_flags(c, (uint32_t)v->io.flags & X86_STATUS_FLAGS);
    if (s->flags & VOP_MEM_WRITE)
        mem_st_bytes(c, linear, v->io.buf, s->mem_size);
}

/* ---- x87 ---- */

/* FXSAVE image: everything up to the data pointer, and the registers from offset 32. */
static void image_in(struct vec_io *io, const struct x86_fpu *f, uint16_t ignored)
{
    st_le16(io->fx, f->fcw);
    st_le16(io->fx + 2, f->fsw & (uint16_t)~ignored);
    io->fx[4] = f->ftw;
    memcpy(io->fx + 32, f->st, sizeof(f->st));
}

static void image_out(struct x86_fpu *f, const struct vec_io *io)
{
    f->fcw = ld_le16(io->fx);
    f->fsw = ld_le16(io->fx + 2);
    f->ftw = io->fx[4];
    memcpy(f->st, io->fx + 32, sizeof(f->st));
}

/* CPUID says that FCS and FDS are deprecated: selectors are saved as zero. Outside protected mode the
 * pointers are linear addresses, as the environment's formats want them. */
static void note_pointers(struct cpu *c, const struct insn *i, const struct vec_spec *s, uint64_t data)
{
    struct x86_fpu *f = &c->s.fpu;
    const bool pe = i->mode & MODE_PE;
    const uint8_t *op = i->bytes;
    while ((*op & 0xf8) != 0xd8) /* prefixes */
        op++;
    f->fip = c->s.rip + (pe ? 0 : c->s.seg[X86_CS].base);
    f->fop = (uint16_t)((op[0] & 7) << 8 | op[1]);
    if (s->flags & (VOP_MEM_READ | VOP_MEM_WRITE))
        f->fdp = data + (pe ? 0 : c->s.seg[i->seg].base);
}

void vec_exec_x87(struct cpu *c, const struct insn *i)
{
    struct vec_ctx *v = c->vec;
    const struct vec_op *op = vec_insn_op(c, i);
    const struct vec_spec *s = &op->spec;
    uint64_t linear = 0, data = 0;
    uint16_t ignored = 0; /* IGNNE#: what is pending must not trap on the host */

    vec_check(c, VEC_X87);
    if (!x87_check_pending(c))
        return;
    if (s->flags & (VOP_MEM_READ | VOP_MEM_WRITE)) {
        data = insn_offset(c, i);
        linear = operand_in(c, i, s);
    }
    if (s->flags & VOP_FLAGS)
        v->io.flags = 2u | (cpu_flags(c) & X86_STATUS_FLAGS);
    if (c->s.fpu.fsw & FSW_ES)
        ignored = c->s.fpu.fsw & (FSW_FLAGS | FSW_ES | FSW_B);
    image_in(&v->io, &c->s.fpu, ignored);
    vec_op_run(v, op, &c->s);
    image_out(&c->s.fpu, &v->io);
    note_pointers(c, i, s, data);
    if (s->flags & VOP_FLAGS)
        cpu_set_status_flags(c, (uint32_t)v->io.flags & X86_STATUS_FLAGS);
    /* an unmasked invalid operation, overflow or underflow leaves the destination alone */
    const unsigned unmasked = c->s.fpu.fsw & ~(unsigned)c->s.fpu.fcw;
    c->s.fpu.fsw |= ignored;
    if ((s->flags & VOP_MEM_WRITE) && !(unmasked & (FSW_IE | FSW_OE | FSW_UE)))
        mem_st_bytes(c, linear, v->io.buf, s->mem_size);
}
