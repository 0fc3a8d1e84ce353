/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiplication, division, and the decimal adjustments (which 64-bit hosts lack, so those are written out from SDM
 * vol. 2). */
#include "vmm/cpu/interp/ops.h"

/* Low and high half into AX, DX:AX, EDX:EAX or RDX:RAX. */
static void set_product(struct cpu *c, const struct insn *i, uint64_t lo, uint64_t hi, unsigned size)
{
    if (size == 1) {
        set_reg(c, i, X86_RAX, (uint16_t)((uint8_t)lo | hi << 8), 2);
        return;
    }
    set_reg(c, i, X86_RAX, lo, size);
    set_reg(c, i, X86_RDX, hi, size);
}

#define MUL(op, T, suffix, mod)                                                                    \
    {                                                                                              \
        T src = (T)b;                                                                              \
        __asm__(op suffix " %" mod "[b]\n\t"                                                       \
                "mov %%rax, %[lo]\n\t" SAVE_FLAGS                                                  \
                : [lo] "=&r"(lo), "+&a"(acc), "+&d"(hi)                                            \
                : [b] "r"(src)                                                                     \
                : "cc");                                                                           \
    }
#define DEFINE_MUL(name, op)                                                                       \
    static void name(struct cpu *c, const struct insn *i)                                          \
    {                                                                                              \
        unsigned size = i->opsize;                                                                 \
        uint64_t b = get_rm(c, i, size), acc = c->s.gpr[X86_RAX], hi = c->s.gpr[X86_RDX], lo;      \
        switch (size) {                                                                            \
        case 1: MUL(op, uint8_t, "b", "b"); hi = lo >> 8; break;                                   \
        case 2: MUL(op, uint16_t, "w", "w"); break;                                                \
        case 4: MUL(op, uint32_t, "l", "k"); break;                                                \
        default: MUL(op, uint64_t, "q", "q"); break;                                               \
        }                                                                                          \
        c->cc = (uint16_t)acc;                                                                     \
        set_product(c, i, lo, hi & mask_bytes(size), size);                                        \
    }
DEFINE_MUL(mul_one, "mul")
DEFINE_MUL(imul_one, "imul")

void op_mul(struct cpu *c, const struct insn *i)
{
    mul_one(c, i);
}

void op_imul(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize;

    if (i->form == FORM_RM) {
        imul_one(c, i);
        return;
    }
    uint64_t b = get_rm(c, i, size), f;
    uint64_t a = i->form == FORM_R_RM_I ? i->imm : get_reg(c, i, i->reg, size);
#define IMUL2(T, suffix, mod)                                                                      \
    {                                                                                              \
        T t = (T)a;                                                                                \
        __asm__("imul" suffix " %" mod "[b], %" mod "[t]\n\t" SAVE_FLAGS                           \
                : [t] "+&r"(t), "=&a"(f)                                                           \
                : [b] "r"((T)b)                                                                    \
                : "cc");                                                                           \
        a = t;                                                                                     \
    }
    switch (size) {
    case 2: IMUL2(uint16_t, "w", "w"); break;
    case 4: IMUL2(uint32_t, "l", "k"); break;
    default: IMUL2(uint64_t, "q", "q"); break;
    }
    c->cc = (uint16_t)f;
    set_reg(c, i, i->reg, a, size);
}

typedef unsigned __int128 u128;
typedef __int128 i128;

static u128 dividend(const struct cpu *c, unsigned size)
{
    uint64_t a = c->s.gpr[X86_RAX], d = c->s.gpr[X86_RDX];

    switch (size) {
    case 1: return (uint16_t)a;
    case 2: return (uint32_t)(uint16_t)d << 16 | (uint16_t)a;
    case 4: return d << 32 | (uint32_t)a;
    default: return (u128)d << 64 | a;
    }
}

void op_div(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize;
    uint64_t b = get_rm(c, i, size);
    u128 n = dividend(c, size);

    if (!b || n / b > mask_bytes(size))
        cpu_raise(c, X86_DE);
    set_product(c, i, (uint64_t)(n / b), (uint64_t)(n % b), size);
}

static i128 sign_extend(u128 v, unsigned bits)
{
    return (i128)(v << (128 - bits)) >> (128 - bits);
}

void op_idiv(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize, bits = size * 8;
    i128 b = sign_extend(get_rm(c, i, size), bits);
    i128 n = sign_extend(dividend(c, size), 2 * bits);

    if (b == 0 || (b == -1 && n == (i128)((u128)1 << 127)))
        cpu_raise(c, X86_DE);
    i128 q = n / b, r = n % b;
    if (q != sign_extend((u128)q, bits))
        cpu_raise(c, X86_DE);
    set_product(c, i, (uint64_t)q & mask_bytes(size), (uint64_t)r & mask_bytes(size), size);
}

/* ---- decimal adjustments ---- */

static void set_szp(struct cpu *c, uint8_t v, uint32_t others)
{
    uint32_t f = others | (v ? 0 : X86_ZF) | (v & 0x80 ? X86_SF : 0) |
                 (__builtin_parity(v) ? 0 : X86_PF);

    cpu_set_status_flags(c, f);
}

static void ascii_adjust(struct cpu *c, int sign)
{
    uint16_t ax = (uint16_t)c->s.gpr[X86_RAX];
    uint32_t f = cc_to_flags(c->cc);
    bool adjust = (ax & 15) > 9 || (f & X86_AF);

    if (adjust)
        ax = (uint16_t)(ax + sign * 0x106);
    ax &= 0xff0f;
    c->s.gpr[X86_RAX] = (c->s.gpr[X86_RAX] & ~UINT64_C(0xffff)) | ax;
    set_szp(c, (uint8_t)ax, adjust ? X86_AF | X86_CF : 0);
}

void op_aaa(struct cpu *c, const struct insn *i)
{
    (void)i;
    ascii_adjust(c, 1);
}

void op_aas(struct cpu *c, const struct insn *i)
{
    (void)i;
    ascii_adjust(c, -1);
}

void op_aam(struct cpu *c, const struct insn *i)
{
    uint8_t al = (uint8_t)c->s.gpr[X86_RAX], base = (uint8_t)i->imm;

    if (!base)
        cpu_raise(c, X86_DE);
    uint16_t ax = (uint16_t)((al / base) << 8 | al % base);
    c->s.gpr[X86_RAX] = (c->s.gpr[X86_RAX] & ~UINT64_C(0xffff)) | ax;
    set_szp(c, (uint8_t)ax, 0);
}

void op_aad(struct cpu *c, const struct insn *i)
{
    uint16_t ax = (uint16_t)c->s.gpr[X86_RAX];
    uint8_t al = (uint8_t)((ax & 0xff) + (ax >> 8) * (uint8_t)i->imm);

    c->s.gpr[X86_RAX] = (c->s.gpr[X86_RAX] & ~UINT64_C(0xffff)) | al;
    set_szp(c, al, 0);
}

static void decimal_adjust(struct cpu *c, int sign)
{
    uint8_t old = (uint8_t)c->s.gpr[X86_RAX], al = old;
    uint32_t f = cc_to_flags(c->cc), out = 0;

    if ((al & 15) > 9 || (f & X86_AF)) {
        if (sign < 0 ? al < 6 : al > 0xf9)
            out |= X86_CF;
        al = (uint8_t)(al + sign * 6);
        out |= X86_AF;
    }
    out |= out & X86_CF ? (f & X86_CF) : 0;
    if (old > 0x99 || (f & X86_CF)) {
        al = (uint8_t)(al + sign * 0x60);
        out |= X86_CF;
    } else if (sign > 0) {
        out &= ~X86_CF;
    }
    set_reg(c, &(struct insn){0}, X86_RAX, al, 1);
    set_szp(c, al, out);
}

void op_daa(struct cpu *c, const struct insn *i)
{
    (void)i;
    decimal_adjust(c, 1);
}

void op_das(struct cpu *c, const struct insn *i)
{
    (void)i;
    decimal_adjust(c, -1);
}
