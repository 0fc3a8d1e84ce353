/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String instructions. REP is interruptible: between elements state is exact (count, pointers),
 * RIP stays at the instruction until the count is done, and after each run of at most one page the
 * run loop gets to see what is pending. */
#include <string.h>

#include "vmm/cpu/interp/ops.h"

#define REP_RUN 4096u /* elements before the run loop is asked again */

static uint64_t src_offset(const struct cpu *c, const struct insn *i)
{
    return c->s.gpr[X86_RSI] & mask_bytes(i->addrsize);
}

static uint64_t dst_offset(const struct cpu *c, const struct insn *i)
{
    return c->s.gpr[X86_RDI] & mask_bytes(i->addrsize);
}

static uint64_t src_linear(struct cpu *c, const struct insn *i)
{
    return seg_linear_fast(c, i->seg, src_offset(c, i), i->opsize, false);
}

static uint64_t dst_linear(struct cpu *c, const struct insn *i, bool write)
{
    return seg_linear_fast(c, X86_ES, dst_offset(c, i), i->opsize, write);
}

static int64_t step_of(const struct cpu *c, const struct insn *i)
{
    return c->s.rflags & X86_DF ? -(int64_t)i->opsize : i->opsize;
}

static void advance(struct cpu *c, const struct insn *i, enum x86_gpr r, int64_t by)
{
    uint64_t v = c->s.gpr[r] + (uint64_t)by;

    set_reg(c, &(struct insn){0}, r, v & mask_bytes(i->addrsize), i->addrsize);
}

static uint64_t rep_count(const struct cpu *c, const struct insn *i)
{
    return c->s.gpr[X86_RCX] & mask_bytes(i->addrsize);
}

static bool has_rep(const struct insn *i)
{
    return i->flags & (INSN_REP | INSN_REPNE);
}

/* More to do: the instruction runs again. */
static void again(struct cpu *c)
{
    c->branched = true;
}

/* One element at a time; returns how many may be done in this go. */
static uint64_t budget(struct cpu *c, const struct insn *i)
{
    if (!has_rep(i))
        return 1;
    return debug_active(c) ? MIN(rep_count(c, i), UINT64_C(1)) : MIN(rep_count(c, i), (uint64_t)REP_RUN);
}

static void done(struct cpu *c, const struct insn *i, uint64_t n)
{
    if (has_rep(i))
        advance(c, i, X86_RCX, -(int64_t)n);
}

/* Elements that lie in one page going up from a linear address. */
static uint64_t in_page(uint64_t linear, unsigned size)
{
    return (PAGE_SIZE - (linear & ~PAGE_MASK)) / size;
}

/* A run of bytes that may be moved with host instructions: going up, no segment limit or wrap within, both ends in the
 * fast TLB. 0: do one element the slow way. */
static uint64_t run_length(struct cpu *c, const struct insn *i, uint64_t n, uint64_t linear, uint64_t offset,
                           enum x86_sreg seg)
{
    uint64_t k = MIN(n, in_page(linear, i->opsize));

    if (c->s.rflags & X86_DF || k < 2)
        return 0;
    if (!(c->mode & MODE_CODE64)) {
        uint64_t limit = c->s.seg[seg].limit;
        if (c->s.seg[seg].attr & SEGT_DOWN || offset + k * i->opsize - 1 > limit)
            return 0;
    }
    if (offset + k * i->opsize - 1 > mask_bytes(i->addrsize))
        return 0;
    return k;
}

void op_movs(struct cpu *c, const struct insn *i)
{
    uint64_t left = budget(c, i);
    unsigned size = i->opsize;
    int64_t step = step_of(c, i);

    while (left > 0) {
        uint64_t from = src_linear(c, i), v = 0, k = 0;
        uint8_t *src = tlb_read_hit(c, from, 1), *dst = NULL;
        if (!src) /* now: its fault comes before whatever is wrong with the destination */
            v = fast_ld(c, from, size);
        uint64_t to = dst_linear(c, i, true);
        if (src) {
            k = run_length(c, i, left, from, src_offset(c, i), i->seg);
            k = run_length(c, i, k, to, dst_offset(c, i), X86_ES);
            dst = k ? tlb_write_hit(c, to, 1) : NULL;
        }
        if (dst && (dst <= src || dst >= src + k * size)) {
            memmove(dst, src, k * size);
        } else {
            k = 1;
            if (src)
                v = fast_ld(c, from, size);
            fast_st(c, to, v, size);
        }
        advance(c, i, X86_RSI, step * (int64_t)k);
        advance(c, i, X86_RDI, step * (int64_t)k);
        done(c, i, k);
        left -= k;
        if (c->end_block)
            break; /* the store hit code */
    }
    if (has_rep(i) && rep_count(c, i))
        again(c);
}

static void fill(uint8_t *dst, uint64_t v, unsigned size, uint64_t n)
{
    switch (size) {
    case 1: memset(dst, (int)v, n); break;
    case 2:
        for (uint64_t k = 0; k < n; k++)
            st_le16(dst + 2 * k, (uint16_t)v);
        break;
    case 4:
        for (uint64_t k = 0; k < n; k++)
            st_le32(dst + 4 * k, (uint32_t)v);
        break;
    default:
        for (uint64_t k = 0; k < n; k++)
            st_le64(dst + 8 * k, v);
        break;
    }
}

void op_stos(struct cpu *c, const struct insn *i)
{
    uint64_t left = budget(c, i), v = c->s.gpr[X86_RAX];
    unsigned size = i->opsize;

    while (left > 0) {
        uint64_t to = dst_linear(c, i, true);
        uint64_t k = run_length(c, i, left, to, dst_offset(c, i), X86_ES);
        uint8_t *dst = k ? tlb_write_hit(c, to, 1) : NULL;

        if (dst) {
            fill(dst, v, size, k);
        } else {
            k = 1;
            fast_st(c, to, v, size);
        }
        advance(c, i, X86_RDI, step_of(c, i) * (int64_t)k);
        done(c, i, k);
        left -= k;
        if (c->end_block)
            break;
    }
    if (has_rep(i) && rep_count(c, i))
        again(c);
}

void op_lods(struct cpu *c, const struct insn *i)
{
    for (uint64_t left = budget(c, i); left > 0; left--) {
        set_reg(c, &(struct insn){0}, X86_RAX, fast_ld(c, src_linear(c, i), i->opsize), i->opsize);
        advance(c, i, X86_RSI, step_of(c, i));
        done(c, i, 1);
    }
    if (has_rep(i) && rep_count(c, i))
        again(c);
}

/* REPE goes on while equal, REPNE while not. */
static bool ended(const struct cpu *c, const struct insn *i)
{
    bool zf = c->cc & CC_ZF;

    return i->flags & INSN_REP ? !zf : i->flags & INSN_REPNE ? zf : true;
}

static void compare(struct cpu *c, uint64_t a, uint64_t b, unsigned size)
{
    uint64_t f, shift = 64 - 8 * size;

    /* in the top bytes of a word, so that one comparison serves all sizes; AF and PF come from the low byte */
    a <<= shift;
    b <<= shift;
    __asm__("cmpq %[b], %[a]\n\t" SAVE_FLAGS : "=&a"(f) : [a] "r"(a), [b] "r"(b) : "cc");
    uint16_t cc = (uint16_t)f;
    a >>= shift;
    b >>= shift;
    __asm__("cmpb %b[b], %b[a]\n\t" SAVE_FLAGS : "=&a"(f) : [a] "r"(a), [b] "r"(b) : "cc");
    c->cc = (uint16_t)((cc & ~(CC_AF | CC_PF)) | (f & (CC_AF | CC_PF)));
}

void op_cmps(struct cpu *c, const struct insn *i)
{
    bool stop = false;

    for (uint64_t left = budget(c, i); left > 0 && !stop; left--) {
        uint64_t a = fast_ld(c, src_linear(c, i), i->opsize);
        uint64_t b = fast_ld(c, dst_linear(c, i, false), i->opsize);

        compare(c, a, b, i->opsize);
        advance(c, i, X86_RSI, step_of(c, i));
        advance(c, i, X86_RDI, step_of(c, i));
        done(c, i, 1);
        stop = ended(c, i);
    }
    if (has_rep(i) && rep_count(c, i) && !stop)
        again(c);
}

void op_scas(struct cpu *c, const struct insn *i)
{
    bool stop = false;

    for (uint64_t left = budget(c, i); left > 0 && !stop; left--) {
        uint64_t b = fast_ld(c, dst_linear(c, i, false), i->opsize);

        compare(c, get_reg(c, &(struct insn){0}, X86_RAX, i->opsize), b, i->opsize);
        advance(c, i, X86_RDI, step_of(c, i));
        done(c, i, 1);
        stop = ended(c, i);
    }
    if (has_rep(i) && rep_count(c, i) && !stop)
        again(c);
}
