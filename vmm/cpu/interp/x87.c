/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x87 control: environment, state and words. Intel SDM vol. 1 8.1.10 (formats), vol. 2 (instructions). */
#include "vmm/cpu/interp/vec_priv.h"

/* Tag of a register as FNSTENV stores it: 0 valid, 1 zero, 2 special, 3 empty. */
static unsigned tag_of(const struct x86_fpu *f, unsigned physical)
{
    const uint8_t *r = f->st[(physical - x87_top(f)) & 7u];
    const unsigned exponent = ld_le16(r + 8) & 0x7fffu;
    const uint64_t mantissa = ld_le64(r);

    if (!(f->ftw & BIT(physical)))
        return 3;
    if (exponent == 0)
        return mantissa ? 2 : 1;
    return exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static uint16_t full_tags(const struct x86_fpu *f)
{
    unsigned tags = 0;
    for (unsigned n = 0; n < 8; n++)
        tags |= tag_of(f, n) << (2 * n);
    return (uint16_t)tags;
}

static void init(struct x86_fpu *f)
{
    x87_set_top(f, 0);
    f->fcw = 0x37f;
    f->fsw = 0;
    f->ftw = 0;
    f->fop = 0;
    f->fip = f->fdp = 0;
}

/* ---- environment: 14 bytes with 16-bit operands, else 28; two layouts each ---- */

static unsigned env_size(const struct insn *i)
{
    return i->opsize == 2 ? 14 : 28;
}

static void env_store(const struct cpu *c, const struct insn *i, uint8_t *b)
{
    const struct x86_fpu *f = &c->s.fpu;
    const bool real = !(i->mode & MODE_PE);
    const uint16_t tags = full_tags(f);
    const uint32_t ip = (uint32_t)f->fip, dp = (uint32_t)f->fdp;

    if (i->opsize == 2) {
        st_le16(b, f->fcw);
        st_le16(b + 2, f->fsw);
        st_le16(b + 4, tags);
        st_le16(b + 6, (uint16_t)ip);
        st_le16(b + 8, real ? (uint16_t)((ip >> 16 & 0xf) << 12 | (f->fop & 0x7ff)) : 0);
        st_le16(b + 10, (uint16_t)dp);
        st_le16(b + 12, real ? (uint16_t)((dp >> 16 & 0xf) << 12) : 0);
        return;
    }
    st_le32(b, 0xffff0000u | f->fcw);
    st_le32(b + 4, 0xffff0000u | f->fsw);
    st_le32(b + 8, 0xffff0000u | tags);
    if (real) {
        st_le32(b + 12, 0xffff0000u | (ip & 0xffff));
        st_le32(b + 16, (ip >> 16) << 12 | (f->fop & 0x7ffu));
        st_le32(b + 20, 0xffff0000u | (dp & 0xffff));
        st_le32(b + 24, (dp >> 16) << 12);
    } else {
        st_le32(b + 12, ip);
        st_le32(b + 16, (uint32_t)(f->fop & 0x7ff) << 16);
        st_le32(b + 20, dp);
        st_le32(b + 24, 0xffff0000u);
    }
}

static void env_load(struct cpu *c, const struct insn *i, const uint8_t *b)
{
    struct x86_fpu *f = &c->s.fpu;
    const bool real = !(i->mode & MODE_PE), wide = i->opsize != 2;
    const unsigned w = wide ? 4 : 2;
    const uint16_t fsw = ld_le16(b + w), tags = ld_le16(b + 2 * w);

    x87_set_top(f, (fsw >> 11) & 7u);
    f->fcw = ld_le16(b);
    f->fsw = fsw;
    f->ftw = 0;
    for (unsigned n = 0; n < 8; n++)
        if ((tags >> (2 * n) & 3) != 3)
            f->ftw |= (uint8_t)BIT(n);
    f->fip = ld_le16(b + 3 * w);
    f->fdp = ld_le16(b + 5 * w);
    if (real) {
        const uint32_t high = wide ? ld_le32(b + 16) : ld_le16(b + 8);
        f->fip |= (uint64_t)(high >> 12) << 16;
        f->fdp |= (uint64_t)((wide ? ld_le32(b + 24) : ld_le16(b + 12)) >> 12) << 16;
        f->fop = high & 0x7ff;
    } else if (wide) {
        f->fip = ld_le32(b + 12);
        f->fdp = ld_le32(b + 20);
        f->fop = ld_le16(b + 18) & 0x7ff;
    } else {
        f->fop = 0;
    }
    x87_normalise(f);
}

/* ---- instructions ---- */

void x87_fninit(struct cpu *c, const struct insn *i)
{
    (void)i;
    vec_check(c, VEC_X87);
    init(&c->s.fpu);
    x87_error_cleared(c);
}

void x87_fnclex(struct cpu *c, const struct insn *i)
{
    (void)i;
    vec_check(c, VEC_X87);
    c->s.fpu.fsw &= 0x7f00;
    x87_error_cleared(c);
}

void x87_fnstsw(struct cpu *c, const struct insn *i)
{
    vec_check(c, VEC_X87);
    if (i->flags & INSN_MEM)
        mem_st(c, insn_linear(c, i, 2, true), c->s.fpu.fsw, 2);
    else
        c->s.gpr[X86_RAX] = (c->s.gpr[X86_RAX] & ~UINT64_C(0xffff)) | c->s.fpu.fsw;
}

void x87_fnstcw(struct cpu *c, const struct insn *i)
{
    vec_check(c, VEC_X87);
    mem_st(c, insn_linear(c, i, 2, true), c->s.fpu.fcw, 2);
}

void x87_fldcw(struct cpu *c, const struct insn *i)
{
    vec_check(c, VEC_X87);
    if (!x87_check_pending(c))
        return;
    c->s.fpu.fcw = (uint16_t)mem_ld(c, insn_linear(c, i, 2, false), 2);
    x87_normalise(&c->s.fpu);
}

void x87_fnstenv(struct cpu *c, const struct insn *i)
{
    uint8_t b[28];
    vec_check(c, VEC_X87);
    const uint64_t linear = insn_linear(c, i, env_size(i), true);
    env_store(c, i, b);
    mem_st_bytes(c, linear, b, env_size(i));
    c->s.fpu.fcw |= 0x3f;
    x87_normalise(&c->s.fpu);
}

void x87_fldenv(struct cpu *c, const struct insn *i)
{
    uint8_t b[28];
    vec_check(c, VEC_X87);
    if (!x87_check_pending(c))
        return;
    mem_ld_bytes(c, insn_linear(c, i, env_size(i), false), b, env_size(i));
    env_load(c, i, b);
}

void x87_fnsave(struct cpu *c, const struct insn *i)
{
    const unsigned env = env_size(i);
    uint8_t b[28 + 80];
    vec_check(c, VEC_X87);
    const uint64_t linear = insn_linear(c, i, env + 80, true);
    env_store(c, i, b);
    for (unsigned n = 0; n < 8; n++)
        memcpy(b + env + 10 * n, c->s.fpu.st[n], 10);
    mem_st_bytes(c, linear, b, env + 80);
    init(&c->s.fpu);
    x87_error_cleared(c);
}

void x87_frstor(struct cpu *c, const struct insn *i)
{
    const unsigned env = env_size(i);
    uint8_t b[28 + 80];
    vec_check(c, VEC_X87);
    if (!x87_check_pending(c))
        return;
    mem_ld_bytes(c, insn_linear(c, i, env + 80, false), b, env + 80);
    env_load(c, i, b);
    for (unsigned n = 0; n < 8; n++)
        memcpy(c->s.fpu.st[n], b + env + 10 * n, 10);
}

void x87_fwait(struct cpu *c, const struct insn *i)
{
    (void)i;
    if ((c->s.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        cpu_raise(c, X86_NM);
    if (!x87_check_pending(c))
        return; /* frozen */
}

void x87_nop(struct cpu *c, const struct insn *i)
{
    (void)i;
    vec_check(c, VEC_X87);
}

void x87_emms(struct cpu *c, const struct insn *i)
{
    (void)i;
    vec_check(c, VEC_MMX);
    if (!x87_check_pending(c))
        return;
    x87_set_top(&c->s.fpu, 0);
    c->s.fpu.ftw = 0;
}
