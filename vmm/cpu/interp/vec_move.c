/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moves between vector registers and memory: plain, masked, and gathers. Intel SDM vol. 2. */
#include "vmm/cpu/interp/vec_priv.h"

static uint8_t *ymm(struct cpu *c, unsigned n)
{
    return c->s.fpu.ymm[n & 15];
}

static void check_kind(struct cpu *c, const struct insn *i)
{
    vec_check(c, i->imm & MOV_VEX ? VEC_AVX : VEC_SSE);
}

static uint64_t operand(struct cpu *c, const struct insn *i, unsigned size, bool write)
{
    if (i->imm & MOV_ALIGN)
        vec_check_aligned(c, i, size);
    return insn_linear(c, i, size, write);
}

/* Writes the low bytes and clears the rest: of the XMM register, with VEX of the YMM register. */
static void set_low(struct cpu *c, const struct insn *i, const void *src, unsigned size)
{
    uint8_t *dst = ymm(c, i->reg);
    memmove(dst, src, size);
    memset(dst + size, 0, (i->imm & MOV_VEX ? 32 : size > 16 ? size : 16) - size);
}

void vec_mov_load(struct cpu *c, const struct insn *i)
{
    const unsigned size = i->imm & MOV_SIZE;
    uint8_t buf[32];

    check_kind(c, i);
    const uint64_t linear = operand(c, i, size, false);
    if (size <= 8)
        st_le64(buf, mem_ld(c, linear, size));
    else
        mem_ld_bytes(c, linear, buf, size);
    set_low(c, i, buf, size);
}

void vec_mov_store(struct cpu *c, const struct insn *i)
{
    const unsigned size = i->imm & MOV_SIZE;

    check_kind(c, i);
    const uint64_t linear = operand(c, i, size, true);
    if (size <= 8)
        mem_st(c, linear, ld_le(ymm(c, i->reg), size), size);
    else
        mem_st_bytes(c, linear, ymm(c, i->reg), size);
}

void vec_mov_reg(struct cpu *c, const struct insn *i)
{
    check_kind(c, i);
    set_low(c, i, ymm(c, i->rm), i->imm & MOV_SIZE);
}

void vec_zeroupper(struct cpu *c, const struct insn *i)
{
    const unsigned count = i->mode & MODE_CODE64 ? 16 : 8;
    vec_check(c, VEC_AVX);
    for (unsigned n = 0; n < count; n++)
        memset(ymm(c, n) + 16, 0, 16);
}

void vec_zeroall(struct cpu *c, const struct insn *i)
{
    const unsigned count = i->mode & MODE_CODE64 ? 16 : 8;
    vec_check(c, VEC_AVX);
    memset(ymm(c, 0), 0, count * 32);
}

/* ---- masked ---- */

/* An element takes part when the top bit of its mask element is set. */
static bool selected(const uint8_t *mask, unsigned n, unsigned size)
{
    return mask[n * size + size - 1] & 0x80;
}

/* Linear address of an element of the operand, checked as an access of its own, but not for alignment. */
static uint64_t element(struct cpu *c, const struct insn *i, unsigned distance, unsigned size, bool write)
{
    const uint64_t offset = insn_offset(c, i) + distance;

    seg_linear(c, i->seg, offset + size - 1, 1, write);
    return seg_linear(c, i->seg, offset, 1, write);
}

void vec_maskmov_load(struct cpu *c, const struct insn *i)
{
    const unsigned size = i->imm & ELEM_SIZE, total = i->imm & ELEM_YMM ? 32 : 16;
    const uint8_t *mask = ymm(c, i->vvvv);
    uint8_t buf[32] = {0};

    vec_check(c, VEC_AVX);
    for (unsigned n = 0; n < total / size; n++)
        if (selected(mask, n, size))
            st_le(buf + n * size, mem_ld(c, element(c, i, n * size, size, false), size), size);
    memcpy(ymm(c, i->reg), buf, sizeof(buf));
}

/* Stores the selected elements; none when any of them faults. Others are not even looked at. */
static void masked_store(struct cpu *c, const struct insn *i, const uint8_t *src, const uint8_t *mask,
                         unsigned size, unsigned total)
{
    uint64_t linear[32];
    for (unsigned n = 0; n < total / size; n++)
        if (selected(mask, n, size)) {
            linear[n] = element(c, i, n * size, size, true);
            mem_probe_write(c, linear[n], size);
        }
    for (unsigned n = 0; n < total / size; n++)
        if (selected(mask, n, size))
            mem_st_bytes(c, linear[n], src + n * size, size);
}

void vec_maskmov_store(struct cpu *c, const struct insn *i)
{
    vec_check(c, VEC_AVX);
    masked_store(c, i, ymm(c, i->reg), ymm(c, i->vvvv), i->imm & ELEM_SIZE,
                 i->imm & ELEM_YMM ? 32 : 16);
}

/* MASKMOVDQU and MASKMOVQ fault for the whole operand, whatever the mask (SDM: allowed). */
static void byte_mask_store(struct cpu *c, const struct insn *i, const uint8_t *src, const uint8_t *mask,
                            unsigned total)
{
    const uint64_t linear = insn_linear(c, i, total, true);
    mem_probe_write(c, linear, total);
    for (unsigned n = 0; n < total; n++)
        if (mask[n] & 0x80)
            mem_st(c, linear + n, src[n], 1);
}

void vec_maskmovdqu(struct cpu *c, const struct insn *i)
{
    check_kind(c, i);
    byte_mask_store(c, i, ymm(c, i->reg), ymm(c, i->rm), 16);
}

void vec_maskmovq(struct cpu *c, const struct insn *i)
{
    struct x86_fpu *f = &c->s.fpu;
    uint8_t src[8], mask[8];

    vec_check(c, VEC_MMX);
    if (!x87_check_pending(c))
        return;
    const unsigned top = x87_top(f);
    memcpy(src, f->st[(i->reg - top) & 7], sizeof(src));
    memcpy(mask, f->st[(i->rm - top) & 7], sizeof(mask));
    byte_mask_store(c, i, src, mask, 8);
    x87_enter_mmx(f);
}

/* ---- gather ---- */

/* Elements are loaded from the lowest up. What was loaded before a fault stays, with its mask element
 * cleared, so that the instruction can be restarted. */
void vec_gather(struct cpu *c, const struct insn *i)
{
    const unsigned size = i->imm & ELEM_SIZE, isize = i->imm & ELEM_QINDEX ? 8 : 4;
    const unsigned total = i->imm & ELEM_YMM ? 32 : 16;
    const unsigned count = total / (size > isize ? size : isize);
    uint8_t *dst = ymm(c, i->reg), *mask = ymm(c, i->vvvv);
    const uint8_t *index = ymm(c, (unsigned)(i->imm >> ELEM_INDEX_SHIFT));

    vec_check(c, VEC_AVX);
    for (unsigned n = 0; n < count; n++) {
        if (!selected(mask, n, size)) {
            memset(mask + n * size, 0, size);
            continue;
        }
        const int64_t at = isize == 8 ? (int64_t)ld_le64(index + n * 8)
                                      : (int32_t)ld_le32(index + n * 4);
        uint64_t offset = insn_offset(c, i) + (uint64_t)at * i->scale;
        if (i->addrsize < 8)
            offset &= mask_bytes(i->addrsize);
        const uint64_t linear = seg_linear(c, i->seg, offset, size, false);
        st_le(dst + n * size, mem_ld(c, linear, size), size);
        memset(mask + n * size, 0, size);
    }
    memset(mask, 0, 32);
    memset(dst + count * size, 0, 32 - count * size);
}
