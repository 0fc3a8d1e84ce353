/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FXSAVE and the XSAVE family, MXCSR. Intel SDM vol. 1 10.5 and chapter 13.
 *
 * Components: x87, SSE, AVX and PKRU; none is a supervisor component, so IA32_XSS is always 0, and XSAVES and XRSTORS
 * differ from XSAVEC and XRSTOR in their checks only. The XSAVE areas are built in a buffer and stored at once, so a
 * fault leaves nothing half written; what an instruction does not write is kept by storing by parts. */
#include "vmm/cpu/interp/vec_priv.h"

#define LEGACY_SIZE   512u
#define HEADER_SIZE   64u
#define OFF_MXCSR     24u
#define OFF_ST        32u
#define OFF_XMM       160u
#define XSTATE_BV     512u
#define XCOMP_BV      520u
#define COMPACT       BIT64(63)
#define AVX_SIZE      256u
#define PKRU_SIZE     8u
#define AREA_MAX      (XSAVE_PKRU_OFFSET + PKRU_SIZE)
#define FXSAVE_ALIGN  16u
#define XSAVE_ALIGN   64u
#define MXCSR_INIT    0x1f80u

/* ---- parts of the image ---- */

static void put_x87(const struct cpu *c, const struct insn *i, uint8_t *b)
{
    const struct x86_fpu *f = &c->s.fpu;
    st_le16(b, f->fcw);
    st_le16(b + 2, f->fsw);
    b[4] = f->ftw;
    b[5] = 0;
    st_le16(b + 6, f->fop);
    st_le64(b + 8, i->opsize == 8 ? f->fip : (uint32_t)f->fip);
    st_le64(b + 16, i->opsize == 8 ? f->fdp : (uint32_t)f->fdp);
    for (unsigned n = 0; n < 8; n++) {
        memcpy(b + OFF_ST + 16 * n, f->st[n], 10);
        memset(b + OFF_ST + 16 * n + 10, 0, 6);
    }
}

static void get_x87(struct cpu *c, const struct insn *i, const uint8_t *b)
{
    struct x86_fpu *f = &c->s.fpu;
    f->fcw = ld_le16(b);
    f->fsw = ld_le16(b + 2);
    f->ftw = b[4];
    f->fop = ld_le16(b + 6) & 0x7ff;
    f->fip = i->opsize == 8 ? ld_le64(b + 8) : ld_le32(b + 8);
    f->fdp = i->opsize == 8 ? ld_le64(b + 16) : ld_le32(b + 16);
    for (unsigned n = 0; n < 8; n++)
        memcpy(f->st[n], b + OFF_ST + 16 * n, 10);
    x87_normalise(f);
}

static void init_x87(struct x86_fpu *f)
{
    f->fcw = 0x37f;
    f->fsw = f->fop = 0;
    f->ftw = 0;
    f->fip = f->fdp = 0;
    memset(f->st, 0, sizeof(f->st));
}

/* XMM8-15 are there in 64-bit code only, and so are the upper halves of YMM8-15. */
static unsigned vec_count(const struct insn *i)
{
    return i->mode & MODE_CODE64 ? 16 : 8;
}

static void put_half(const struct cpu *c, const struct insn *i, uint8_t *b, unsigned half)
{
    for (unsigned n = 0; n < vec_count(i); n++)
        memcpy(b + 16 * n, c->s.fpu.ymm[n] + half, 16);
}

/* b NULL: initial state. */
static void get_half(struct cpu *c, const struct insn *i, const uint8_t *b, unsigned half)
{
    for (unsigned n = 0; n < vec_count(i); n++)
        if (b)
            memcpy(c->s.fpu.ymm[n] + half, b + 16 * n, 16);
        else
            memset(c->s.fpu.ymm[n] + half, 0, 16);
}

static bool half_in_use(const struct cpu *c, unsigned half)
{
    for (unsigned n = 0; n < 16; n++)
        if (ld_le64(c->s.fpu.ymm[n] + half) | ld_le64(c->s.fpu.ymm[n] + half + 8))
            return true;
    return false;
}

static bool x87_in_use(const struct x86_fpu *f)
{
    static const uint8_t zero[sizeof(f->st)];
    return f->fcw != 0x37f || f->fsw || f->ftw || f->fop || f->fip || f->fdp ||
           memcmp(f->st, zero, sizeof(zero));
}

/* XINUSE without MXCSR, which the forms of XSAVE count differently. */
static uint64_t in_use(const struct cpu *c)
{
    return (x87_in_use(&c->s.fpu) ? XCR0_X87 : 0) | (half_in_use(c, 0) ? XCR0_SSE : 0) |
           (half_in_use(c, 16) ? XCR0_AVX : 0) | (c->s.fpu.pkru ? XCR0_PKRU : 0);
}

static uint64_t mxcsr_in_use(const struct cpu *c)
{
    return c->s.fpu.mxcsr != MXCSR_INIT ? XCR0_SSE : 0;
}

uint64_t vec_xinuse(const struct cpu *c)
{
    return c->s.xcr0 & (in_use(c) | mxcsr_in_use(c));
}

/* Alignment is looked at before the address by XSAVE and after it by FXSAVE. */
static uint64_t area(struct cpu *c, const struct insn *i, unsigned size, unsigned align, bool write)
{
    if (align == XSAVE_ALIGN)
        vec_check_aligned(c, i, align);
    const uint64_t linear = insn_linear(c, i, size, write);
    vec_check_aligned(c, i, align);
    return linear;
}

/* ---- FXSAVE, FXRSTOR ---- */

void vec_fxsave(struct cpu *c, const struct insn *i)
{
    uint8_t b[OFF_XMM + 256];

    if (c->s.cr0 & (CR0_EM | CR0_TS))
        cpu_raise(c, X86_NM);
    const uint64_t linear = area(c, i, LEGACY_SIZE, FXSAVE_ALIGN, true);
    mem_probe_write(c, linear, LEGACY_SIZE);
    put_x87(c, i, b);
    st_le32(b + OFF_MXCSR, c->s.fpu.mxcsr);
    st_le32(b + OFF_MXCSR + 4, MXCSR_MASK);
    put_half(c, i, b + OFF_XMM, 0);
    mem_st_bytes(c, linear, b, OFF_XMM + 16 * vec_count(i));
}

void vec_fxrstor(struct cpu *c, const struct insn *i)
{
    uint8_t b[LEGACY_SIZE];

    if (c->s.cr0 & (CR0_EM | CR0_TS))
        cpu_raise(c, X86_NM);
    mem_ld_bytes(c, area(c, i, LEGACY_SIZE, FXSAVE_ALIGN, false), b, LEGACY_SIZE);
    const uint32_t mxcsr = ld_le32(b + OFF_MXCSR);
    if (mxcsr & ~MXCSR_MASK)
        cpu_gp(c, 0);
    get_x87(c, i, b);
    c->s.fpu.mxcsr = mxcsr;
    get_half(c, i, b + OFF_XMM, 0);
}

/* ---- MXCSR ---- */

void vec_ldmxcsr(struct cpu *c, const struct insn *i)
{
    vec_check(c, i->imm & MOV_VEX ? VEC_AVX : VEC_SSE);
    const uint32_t v = (uint32_t)mem_ld(c, insn_linear(c, i, 4, false), 4);
    if (v & ~MXCSR_MASK)
        cpu_gp(c, 0);
    c->s.fpu.mxcsr = v;
}

void vec_stmxcsr(struct cpu *c, const struct insn *i)
{
    vec_check(c, i->imm & MOV_VEX ? VEC_AVX : VEC_SSE);
    mem_st(c, insn_linear(c, i, 4, true), c->s.fpu.mxcsr, 4);
}

/* ---- XSAVE ---- */

static void xsave_check(struct cpu *c, const struct insn *i)
{
    if (!(c->s.cr4 & CR4_OSXSAVE))
        cpu_ud(c);
    if ((i->imm & XSAVE_SUPERVISOR) && c->cpl)
        cpu_gp(c, 0);
    if (c->s.cr0 & CR0_TS)
        cpu_raise(c, X86_NM);
}

static uint64_t requested(const struct cpu *c)
{
    const uint64_t all = c->s.gpr[X86_RDX] << 32 | (uint32_t)c->s.gpr[X86_RAX];
    return all & c->s.xcr0 & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_PKRU);
}

/* Where a component lies; layout is XCOMP_BV of the compacted form, or 0 for the standard form. */
static unsigned component_offset(uint64_t component, uint64_t layout)
{
    if (component == XCR0_AVX)
        return XSAVE_AVX_OFFSET;
    if (!layout)
        return XSAVE_PKRU_OFFSET;
    return XSAVE_AVX_OFFSET + (layout & XCR0_AVX ? AVX_SIZE : 0);
}

static unsigned area_size(uint64_t components, uint64_t layout)
{
    if (components & XCR0_PKRU)
        return component_offset(XCR0_PKRU, layout) + PKRU_SIZE;
    return XSAVE_AVX_OFFSET + (components & XCR0_AVX ? AVX_SIZE : 0);
}

void vec_xsave(struct cpu *c, const struct insn *i)
{
    uint8_t b[AREA_MAX];

    xsave_check(c, i);
    const bool compact = i->imm & XSAVE_COMPACT;
    const uint64_t want = requested(c), use = in_use(c), layout = compact ? want | COMPACT : 0;
    const unsigned size = area_size(want, layout);
    const uint64_t linear = area(c, i, size, XSAVE_ALIGN, true);
    uint64_t bv = want & use;
    if (compact)
        bv |= want & mxcsr_in_use(c);
    const uint64_t write = i->imm & XSAVE_OPT ? bv : want;

    mem_probe_write(c, linear, size);
    mem_ld_bytes(c, linear, b, size); /* what is not written stays */
    if (write & XCR0_X87)
        put_x87(c, i, b);
    if (compact ? write & XCR0_SSE : want & (XCR0_SSE | XCR0_AVX)) {
        st_le32(b + OFF_MXCSR, c->s.fpu.mxcsr);
        st_le32(b + OFF_MXCSR + 4, MXCSR_MASK);
    }
    if (write & XCR0_SSE)
        put_half(c, i, b + OFF_XMM, 0);
    if (write & XCR0_AVX)
        put_half(c, i, b + component_offset(XCR0_AVX, layout), 16);
    if (write & XCR0_PKRU)
        st_le64(b + component_offset(XCR0_PKRU, layout), c->s.fpu.pkru);
    if (compact) {
        st_le64(b + XSTATE_BV, bv);
        st_le64(b + XCOMP_BV, layout);
    } else {
        st_le64(b + XSTATE_BV, (ld_le64(b + XSTATE_BV) & ~want) | bv);
    }
    mem_st_bytes(c, linear, b, size);
}

/* ---- XRSTOR ---- */

static bool header_valid(const struct cpu *c, const struct insn *i, const uint8_t *h)
{
    const uint64_t bv = ld_le64(h), comp = ld_le64(h + 8);
    const uint64_t known = c->s.xcr0;
    unsigned reserved = 0;

    for (unsigned n = comp & COMPACT ? 16 : 8; n < (comp & COMPACT ? 64 : 24); n++)
        reserved |= h[n];
    if (reserved)
        return false;
    if (!(comp & COMPACT)) /* XRSTORS has the compacted form only */
        return !(bv & ~known) && !comp && !(i->imm & XSAVE_SUPERVISOR);
    return cpu_has(c->set->cfg.model, CPUF_XSAVEC) && !(comp & ~COMPACT & ~known) && !(bv & ~(comp & ~COMPACT));
}

void vec_xrstor(struct cpu *c, const struct insn *i)
{
    uint8_t b[AREA_MAX];

    xsave_check(c, i);
    const uint64_t want = requested(c);
    const uint64_t linear = area(c, i, LEGACY_SIZE + HEADER_SIZE, XSAVE_ALIGN, false);
    mem_ld_bytes(c, linear, b, LEGACY_SIZE + HEADER_SIZE);
    if (!header_valid(c, i, b + XSTATE_BV))
        cpu_gp(c, 0);
    const uint64_t bv = ld_le64(b + XSTATE_BV), comp = ld_le64(b + XCOMP_BV);
    const uint64_t layout = comp & COMPACT ? comp : 0, load = want & bv;
    if (load & ~(uint64_t)(XCR0_X87 | XCR0_SSE)) {
        const unsigned size = area_size(load, layout);
        mem_ld_bytes(c, insn_linear(c, i, size, false), b, size);
    }
    const uint32_t mxcsr = ld_le32(b + OFF_MXCSR);
    const bool with_mxcsr = layout ? load & XCR0_SSE : want & (XCR0_SSE | XCR0_AVX);
    if (with_mxcsr && (mxcsr & ~MXCSR_MASK))
        cpu_gp(c, 0);

    if (load & XCR0_X87)
        get_x87(c, i, b);
    else if (want & XCR0_X87)
        init_x87(&c->s.fpu);
    if (with_mxcsr)
        c->s.fpu.mxcsr = mxcsr;
    else if (layout && (want & XCR0_SSE))
        c->s.fpu.mxcsr = MXCSR_INIT;
    if (want & XCR0_SSE)
        get_half(c, i, load & XCR0_SSE ? b + OFF_XMM : NULL, 0);
    if (want & XCR0_AVX)
        get_half(c, i, load & XCR0_AVX ? b + component_offset(XCR0_AVX, layout) : NULL, 16);
    if (want & XCR0_PKRU) {
        c->s.fpu.pkru = load & XCR0_PKRU ? ld_le32(b + component_offset(XCR0_PKRU, layout)) : 0;
        tlb_flush_all(c); /* access rights by protection key are cached there */
    }
}
