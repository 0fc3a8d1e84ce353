/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bit tests, scans, counts, CRC32, BMI1, BMI2 and ADX. */
#include "vmm/cpu/interp/ops.h"

#define BY_WORD(size, X)                                                                           \
    switch (size) {                                                                                \
    case 2: X(guest16, 2, "w", "w"); break;                                                       \
    case 4: X(guest32, 4, "l", "k"); break;                                                       \
    default: X(guest64, 8, "q", "q"); break;                                                      \
    }

/* Linear address of the word that holds the bit, for a memory operand with a register bit offset: the offset is signed
 * and reaches beyond the operand (SDM vol. 2A BT). */
static uint64_t bit_address(struct cpu *c, const struct insn *i, uint64_t bit, bool write)
{
    unsigned size = i->opsize;
    uint64_t offset = insn_offset_fast(c, i);

    if (i->form == FORM_RM_R) {
        int64_t signed_bit = size == 2 ? (int16_t)bit : size == 4 ? (int32_t)bit : (int64_t)bit;
        offset += (uint64_t)((signed_bit >> (size == 2 ? 4 : size == 4 ? 5 : 6)) * (int64_t)size);
        if (i->addrsize < 8)
            offset &= mask_bytes(i->addrsize);
    }
    return seg_linear_fast(c, i->seg, offset, size, write);
}

#define BIT_ON_REG(op, T, suffix, mod)                                                             \
    {                                                                                              \
        T t = (T)v;                                                                                \
        __asm__(LOAD_FLAGS op suffix " %" mod "[b], %" mod "[t]\n\t" SAVE_FLAGS                    \
                : [t] "+&r"(t), "+&a"(f)                                                           \
                : [b] "r"((T)bit)                                                                  \
                : "cc");                                                                           \
        v = t;                                                                                     \
    }
/* bit is below the word's width here, so the locked form stays in the word */
#define BIT_ON_MEM(op, T, suffix, mod)                                                             \
    __asm__ volatile(LOAD_FLAGS "lock; " op suffix " %" mod "[b], %[m]\n\t" SAVE_FLAGS             \
                     : [m] "+m"(*(T *)host), "+&a"(f)                                              \
                     : [b] "r"((T)bit)                                                             \
                     : "cc", "memory")

#define DEFINE_BT(name, op, writes)                                                                \
    void name(struct cpu *c, const struct insn *i)                                                 \
    {                                                                                              \
        unsigned size = i->opsize;                                                                 \
        uint64_t bit = i->form == FORM_RM_R ? get_reg(c, i, i->reg, size) : i->imm, f = c->cc, v;  \
        if (!(i->flags & INSN_MEM)) {                                                              \
            v = get_reg(c, i, i->rm, size);                                                        \
            BY_WORD(size, ON_REG_##name)                                                           \
            if (writes)                                                                            \
                set_reg(c, i, i->rm, v, size);                                                     \
            c->cc = (uint16_t)f;                                                                   \
            return;                                                                                \
        }                                                                                          \
        uint64_t linear = bit_address(c, i, bit, writes);                                          \
        bit &= size * 8 - 1;                                                                       \
        void *host = (i->flags & INSN_LOCK) ? mem_rmw(c, linear, size) : NULL;                     \
        if (host) {                                                                                \
            BY_WORD(size, ON_MEM_##name)                                                           \
            mem_rmw_done(c, linear, size);                                                         \
        } else {                                                                                   \
            bool lock = i->flags & INSN_LOCK;                                                      \
            if (writes)                                                                            \
                mem_probe_write(c, linear, size);                                                  \
            if (lock)                                                                              \
                cpu_exclusive_begin(c);                                                            \
            v = mem_ld(c, linear, size);                                                           \
            BY_WORD(size, ON_REG_##name)                                                           \
            if (writes)                                                                            \
                mem_st(c, linear, v, size);                                                        \
            if (lock)                                                                              \
                cpu_exclusive_end(c);                                                              \
        }                                                                                          \
        c->cc = (uint16_t)f;                                                                       \
    }
#define ON_REG_op_bt(T, n, suffix, mod)  BIT_ON_REG("bt", T, suffix, mod)
#define ON_REG_op_bts(T, n, suffix, mod) BIT_ON_REG("bts", T, suffix, mod)
#define ON_REG_op_btr(T, n, suffix, mod) BIT_ON_REG("btr", T, suffix, mod)
#define ON_REG_op_btc(T, n, suffix, mod) BIT_ON_REG("btc", T, suffix, mod)
#define ON_MEM_op_bt(T, n, suffix, mod)  (void)0
#define ON_MEM_op_bts(T, n, suffix, mod) BIT_ON_MEM("bts", T, suffix, mod)
#define ON_MEM_op_btr(T, n, suffix, mod) BIT_ON_MEM("btr", T, suffix, mod)
#define ON_MEM_op_btc(T, n, suffix, mod) BIT_ON_MEM("btc", T, suffix, mod)
DEFINE_BT(op_bt, "bt", false)
DEFINE_BT(op_bts, "bts", true)
DEFINE_BT(op_btr, "btr", true)
DEFINE_BT(op_btc, "btc", true)

/* ---- register from register or memory, on the host's own instruction; the destination is an input, too, because BSF
 * and BSR leave it alone when the source is zero ---- */

#define UNARY(op, T, suffix, mod)                                                                  \
    {                                                                                              \
        T t = (T)dst;                                                                              \
        __asm__(LOAD_FLAGS op suffix " %" mod "[s], %" mod "[t]\n\t" SAVE_FLAGS                    \
                : [t] "+&r"(t), "+&a"(f)                                                           \
                : [s] "r"((T)src)                                                                  \
                : "cc");                                                                           \
        dst = t;                                                                                   \
    }
#define DEFINE_SCAN(name, fn)                                                                      \
    static void fn(struct cpu *c, const struct insn *i)                                            \
    {                                                                                              \
        unsigned size = i->opsize;                                                                 \
        uint64_t src = get_rm(c, i, size), dst = get_reg(c, i, i->reg, size), f = c->cc;           \
        bool keep = src == 0 && (sizeof(name) == 4); /* "bsf", "bsr" */                            \
        switch (size) {                                                                            \
        case 2: UNARY(name, uint16_t, "w", "w"); break;                                            \
        case 4: UNARY(name, uint32_t, "l", "k"); break;                                            \
        default: UNARY(name, uint64_t, "q", "q"); break;                                           \
        }                                                                                          \
        c->cc = (uint16_t)f;                                                                       \
        if (!keep)                                                                                 \
            set_reg(c, i, i->reg, dst, size);                                                      \
    }
DEFINE_SCAN("bsf", do_bsf)
DEFINE_SCAN("bsr", do_bsr)
DEFINE_SCAN("tzcnt", do_tzcnt)
DEFINE_SCAN("lzcnt", do_lzcnt)
DEFINE_SCAN("popcnt", do_popcnt)

void op_bsf(struct cpu *c, const struct insn *i)
{
    do_bsf(c, i);
}

void op_bsr(struct cpu *c, const struct insn *i)
{
    do_bsr(c, i);
}

/* Without the feature the F3 prefix is ignored. */
void op_tzcnt(struct cpu *c, const struct insn *i)
{
    if (cpu_has(c->set->cfg.model, CPUF_BMI1))
        do_tzcnt(c, i);
    else
        do_bsf(c, i);
}

void op_lzcnt(struct cpu *c, const struct insn *i)
{
    if (cpu_has(c->set->cfg.model, CPUF_LZCNT))
        do_lzcnt(c, i);
    else
        do_bsr(c, i);
}

void op_popcnt(struct cpu *c, const struct insn *i)
{
    do_popcnt(c, i);
}

void op_bswap(struct cpu *c, const struct insn *i)
{
    uint64_t v = c->s.gpr[i->rm];

    switch (i->opsize) {
    case 2: set_reg(c, i, i->rm, 0, 2); break; /* undefined; hosts clear the word */
    case 4: set_reg(c, i, i->rm, __builtin_bswap32((uint32_t)v), 4); break;
    default: c->s.gpr[i->rm] = __builtin_bswap64(v); break;
    }
}

void op_crc32(struct cpu *c, const struct insn *i)
{
    uint64_t v = get_rm(c, i, i->srcsize), crc = (uint32_t)c->s.gpr[i->reg];

    switch (i->srcsize) {
    case 1: __asm__("crc32b %b1, %k0" : "+r"(crc) : "r"(v)); break;
    case 2: __asm__("crc32w %w1, %k0" : "+r"(crc) : "r"(v)); break;
    case 4: __asm__("crc32l %k1, %k0" : "+r"(crc) : "r"(v)); break;
    default: __asm__("crc32q %1, %0" : "+r"(crc) : "r"(v)); break;
    }
    c->s.gpr[i->reg] = crc;
}

/* ---- BMI: 32 or 64 bits, three operands; dst = op(a, b) with flags from the host ---- */

#define BMI3(op, a_, b_)                                                                           \
    do {                                                                                           \
        uint64_t f = c->cc, r_;                                                                    \
        if (i->opsize == 8)                                                                        \
            __asm__(LOAD_FLAGS op " %[b], %[a], %[r]\n\t" SAVE_FLAGS                               \
                    : [r] "=&r"(r_), "+&a"(f)                                                      \
                    : [a] "r"(a_), [b] "r"(b_)                                                     \
                    : "cc");                                                                       \
        else                                                                                       \
            __asm__(LOAD_FLAGS op " %k[b], %k[a], %k[r]\n\t" SAVE_FLAGS                            \
                    : [r] "=&r"(r_), "+&a"(f)                                                      \
                    : [a] "r"(a_), [b] "r"(b_)                                                     \
                    : "cc");                                                                       \
        c->cc = (uint16_t)f;                                                                       \
        set_reg(c, i, i->reg, r_, i->opsize);                                                      \
    } while (0)

void op_andn(struct cpu *c, const struct insn *i)
{
    uint64_t rm = get_rm(c, i, i->opsize);

    BMI3("andn", get_reg(c, i, i->vvvv, i->opsize), rm);
}

/* AT&T order puts the control operand (vvvv) first */
#define DEFINE_BMI_CTRL(name, op)                                                                  \
    void name(struct cpu *c, const struct insn *i)                                                 \
    {                                                                                              \
        uint64_t rm = get_rm(c, i, i->opsize);                                                     \
        BMI3(op, rm, get_reg(c, i, i->vvvv, i->opsize));                                           \
    }
DEFINE_BMI_CTRL(op_bextr, "bextr")
DEFINE_BMI_CTRL(op_bzhi, "bzhi")
DEFINE_BMI_CTRL(op_sarx, "sarx")
DEFINE_BMI_CTRL(op_shlx, "shlx")
DEFINE_BMI_CTRL(op_shrx, "shrx")

void op_pdep(struct cpu *c, const struct insn *i)
{
    uint64_t rm = get_rm(c, i, i->opsize);

    BMI3("pdep", get_reg(c, i, i->vvvv, i->opsize), rm);
}

void op_pext(struct cpu *c, const struct insn *i)
{
    uint64_t rm = get_rm(c, i, i->opsize);

    BMI3("pext", get_reg(c, i, i->vvvv, i->opsize), rm);
}

#define DEFINE_BMI2OP(name, op)                                                                    \
    void name(struct cpu *c, const struct insn *i)                                                 \
    {                                                                                              \
        uint64_t rm = get_rm(c, i, i->opsize), f = c->cc, r;                                       \
        if (i->opsize == 8)                                                                        \
            __asm__(LOAD_FLAGS op " %[a], %[r]\n\t" SAVE_FLAGS                                     \
                    : [r] "=&r"(r), "+&a"(f)                                                       \
                    : [a] "r"(rm)                                                                  \
                    : "cc");                                                                       \
        else                                                                                       \
            __asm__(LOAD_FLAGS op " %k[a], %k[r]\n\t" SAVE_FLAGS                                   \
                    : [r] "=&r"(r), "+&a"(f)                                                       \
                    : [a] "r"(rm)                                                                  \
                    : "cc");                                                                       \
        c->cc = (uint16_t)f;                                                                       \
        set_reg(c, i, i->vvvv, r, i->opsize);                                                      \
    }
DEFINE_BMI2OP(op_blsi, "blsi")
DEFINE_BMI2OP(op_blsmsk, "blsmsk")
DEFINE_BMI2OP(op_blsr, "blsr")

void op_mulx(struct cpu *c, const struct insn *i)
{
    uint64_t rm = get_rm(c, i, i->opsize), lo, hi;

    if (i->opsize == 8) {
        unsigned __int128 p = (unsigned __int128)rm * c->s.gpr[X86_RDX];
        lo = (uint64_t)p;
        hi = (uint64_t)(p >> 64);
    } else {
        uint64_t p = rm * (uint32_t)c->s.gpr[X86_RDX];
        lo = (uint32_t)p;
        hi = p >> 32;
    }
    set_reg(c, i, i->vvvv, lo, i->opsize);
    set_reg(c, i, i->reg, hi, i->opsize); /* the same register: the high half wins */
}

void op_rorx(struct cpu *c, const struct insn *i)
{
    unsigned bits = i->opsize * 8, n = (unsigned)i->imm & (bits - 1);
    uint64_t v = get_rm(c, i, i->opsize);

    if (n)
        v = v >> n | v << (bits - n);
    set_reg(c, i, i->reg, v & mask_bytes(i->opsize), i->opsize);
}

#define DEFINE_ADX(name, op)                                                                       \
    void name(struct cpu *c, const struct insn *i)                                                 \
    {                                                                                              \
        uint64_t rm = get_rm(c, i, i->opsize), f = c->cc, r = get_reg(c, i, i->reg, i->opsize);    \
        if (i->opsize == 8)                                                                        \
            __asm__(LOAD_FLAGS op " %[a], %[r]\n\t" SAVE_FLAGS                                     \
                    : [r] "+&r"(r), "+&a"(f)                                                       \
                    : [a] "r"(rm)                                                                  \
                    : "cc");                                                                       \
        else                                                                                       \
            __asm__(LOAD_FLAGS op " %k[a], %k[r]\n\t" SAVE_FLAGS                                   \
                    : [r] "+&r"(r), "+&a"(f)                                                       \
                    : [a] "r"(rm)                                                                  \
                    : "cc");                                                                       \
        c->cc = (uint16_t)f;                                                                       \
        set_reg(c, i, i->reg, r, i->opsize);                                                       \
    }
DEFINE_ADX(op_adcx, "adcx")
DEFINE_ADX(op_adox, "adox")
