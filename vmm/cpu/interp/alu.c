/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two-operand arithmetic and logic, INC to NOT, and the exchanging instructions with their LOCK forms.
 *
 * Each operation exists per operand size and shape, so that the hot path has no test for either: RR (registers), RI,
 * MR (memory destination), MI, RM (memory source). LOCK forms run the host's own locked instruction on the host
 * address; where there is none (MMIO, page crossing) the other vCPUs are stopped instead. */
#include "vmm/cpu/interp/ops.h"

/* value op= operand, capturing flags. pre is LOAD_FLAGS for operations that read CF. */
#define DEFINE_ALU(name, op, pre, T, n, suffix, mod)                                               \
    static inline T alu_##name##n(struct cpu *c, T a, T b)                                         \
    {                                                                                              \
        uint64_t f = c->cc;                                                                        \
        __asm__(pre op suffix " %" mod "[b], %" mod "[a]\n\t" SAVE_FLAGS                           \
                : [a] "+&r"(a), "+&a"(f)                                                           \
                : [b] "r"(b)                                                                       \
                : "cc");                                                                           \
        c->cc = (uint16_t)f;                                                                       \
        return a;                                                                                  \
    }                                                                                              \
    static inline void lock_##name##n(struct cpu *c, T *p, T b)                                    \
    {                                                                                              \
        uint64_t f = c->cc;                                                                        \
        __asm__ volatile(pre "lock; " op suffix " %" mod "[b], %[p]\n\t" SAVE_FLAGS                \
                         : [p] "+m"(*p), "+&a"(f)                                                  \
                         : [b] "r"(b)                                                              \
                         : "cc", "memory");                                                        \
        c->cc = (uint16_t)f;                                                                       \
    }

#define SIZES(X, ...)                                                                              \
    X(__VA_ARGS__, uint8_t, 1, "b", "b")                                                           \
    X(__VA_ARGS__, guest16, 2, "w", "w")                                                           \
    X(__VA_ARGS__, guest32, 4, "l", "k")                                                           \
    X(__VA_ARGS__, guest64, 8, "q", "q")

SIZES(DEFINE_ALU, add, "add", "")
SIZES(DEFINE_ALU, or, "or", "")
SIZES(DEFINE_ALU, adc, "adc", LOAD_FLAGS)
SIZES(DEFINE_ALU, sbb, "sbb", LOAD_FLAGS)
SIZES(DEFINE_ALU, and, "and", "")
SIZES(DEFINE_ALU, sub, "sub", "")
SIZES(DEFINE_ALU, xor, "xor", "")

/* CMP and TEST write nothing. */
#define DEFINE_TEST(name, op, T, n, suffix, mod)                                                   \
    static inline void alu_##name##n(struct cpu *c, T a, T b)                                      \
    {                                                                                              \
        uint64_t f;                                                                                \
        __asm__(op suffix " %" mod "[b], %" mod "[a]\n\t" SAVE_FLAGS                               \
                : "=&a"(f)                                                                         \
                : [a] "r"(a), [b] "r"(b)                                                           \
                : "cc");                                                                           \
        c->cc = (uint16_t)f;                                                                       \
    }
SIZES(DEFINE_TEST, cmp, "cmp")
SIZES(DEFINE_TEST, test, "test")

/* ---- handlers ---- */

/* Read-modify-write of memory without LOCK: a plain store is enough, as on hardware. */
#define DEFINE_HANDLERS(name, T, n, suffix, mod)                                                   \
    static void name##_rr##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        set_reg(c, i, i->rm, alu_##name##n(c, (T)get_reg(c, i, i->rm, n), (T)get_reg(c, i, i->reg, n)), n); \
    }                                                                                              \
    static void name##_ri##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        set_reg(c, i, i->rm, alu_##name##n(c, (T)get_reg(c, i, i->rm, n), (T)i->imm), n);          \
    }                                                                                              \
    static void name##_rm##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        T b = (T)fast_ld(c, ea(c, i, n, false), n);                                                \
        set_reg(c, i, i->reg, alu_##name##n(c, (T)get_reg(c, i, i->reg, n), b), n);                \
    }                                                                                              \
    static void name##_mem##n(struct cpu *c, const struct insn *i, T b)                            \
    {                                                                                              \
        uint64_t linear = ea(c, i, n, true);                                                       \
        T *p = tlb_write_hit(c, linear, n);                                                        \
        if (i->flags & INSN_LOCK) {                                                                \
            void *host = mem_rmw(c, linear, n);                                                    \
            if (host) {                                                                            \
                lock_##name##n(c, host, b);                                                        \
                mem_rmw_done(c, linear, n);                                                        \
            } else {                                                                               \
                cpu_exclusive_begin(c);                                                            \
                mem_st(c, linear, alu_##name##n(c, (T)mem_ld(c, linear, n), b), n);                \
                cpu_exclusive_end(c);                                                              \
            }                                                                                      \
        } else if (p) {                                                                            \
            *p = alu_##name##n(c, *p, b);                                                          \
        } else {                                                                                   \
            mem_probe_write(c, linear, n);                                                         \
            mem_st(c, linear, alu_##name##n(c, (T)mem_ld(c, linear, n), b), n);                    \
        }                                                                                          \
    }                                                                                              \
    static void name##_mr##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        name##_mem##n(c, i, (T)get_reg(c, i, i->reg, n));                                          \
    }                                                                                              \
    static void name##_mi##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        name##_mem##n(c, i, (T)i->imm);                                                            \
    }

#define DEFINE_TEST_HANDLERS(name, T, n, suffix, mod)                                              \
    static void name##_rr##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        alu_##name##n(c, (T)get_reg(c, i, i->rm, n), (T)get_reg(c, i, i->reg, n));                 \
    }                                                                                              \
    static void name##_ri##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        alu_##name##n(c, (T)get_reg(c, i, i->rm, n), (T)i->imm);                                   \
    }                                                                                              \
    static void name##_rm##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        alu_##name##n(c, (T)get_reg(c, i, i->reg, n), (T)fast_ld(c, ea(c, i, n, false), n));       \
    }                                                                                              \
    static void name##_mr##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        alu_##name##n(c, (T)fast_ld(c, ea(c, i, n, false), n), (T)get_reg(c, i, i->reg, n));       \
    }                                                                                              \
    static void name##_mi##n(struct cpu *c, const struct insn *i)                                  \
    {                                                                                              \
        alu_##name##n(c, (T)fast_ld(c, ea(c, i, n, false), n), (T)i->imm);                         \
    }

/* A register source behind R_RM becomes RR with the fields swapped by the selector's caller: the register forms of
 * both directions do the same, only which field names the destination differs. */
#define DEFINE_SWAPPED(name, T, n, suffix, mod)                                                    \
    static void name##_swapped##n(struct cpu *c, const struct insn *i)                             \
    {                                                                                              \
        set_reg(c, i, i->reg, alu_##name##n(c, (T)get_reg(c, i, i->reg, n), (T)get_reg(c, i, i->rm, n)), n); \
    }
#define DEFINE_TEST_SWAPPED(name, T, n, suffix, mod)                                               \
    static void name##_swapped##n(struct cpu *c, const struct insn *i)                             \
    {                                                                                              \
        alu_##name##n(c, (T)get_reg(c, i, i->reg, n), (T)get_reg(c, i, i->rm, n));                 \
    }

enum { SHAPE_RR, SHAPE_SWAPPED, SHAPE_RI, SHAPE_RM, SHAPE_MR, SHAPE_MI, SHAPES };

static int shape_of(const struct insn *i)
{
    bool mem = i->flags & INSN_MEM;

    switch (i->form) {
    case FORM_RM_R: return mem ? SHAPE_MR : SHAPE_RR;
    case FORM_R_RM: return mem ? SHAPE_RM : SHAPE_SWAPPED;
    case FORM_RM_I: return mem ? SHAPE_MI : SHAPE_RI;
    default: return -1;
    }
}

static int size_index(unsigned size)
{
    return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
}

#define DEFINE_SELECT(name)                                                                        \
    insn_fn *sel_##name(const struct insn *i)                                                      \
    {                                                                                              \
        static insn_fn *const table[SHAPES][4] = {                                                 \
            {name##_rr1, name##_rr2, name##_rr4, name##_rr8},                                      \
            {name##_swapped1, name##_swapped2, name##_swapped4, name##_swapped8},                  \
            {name##_ri1, name##_ri2, name##_ri4, name##_ri8},                                      \
            {name##_rm1, name##_rm2, name##_rm4, name##_rm8},                                      \
            {name##_mr1, name##_mr2, name##_mr4, name##_mr8},                                      \
            {name##_mi1, name##_mi2, name##_mi4, name##_mi8},                                      \
        };                                                                                         \
        int shape = shape_of(i);                                                                   \
        return shape < 0 ? NULL : table[shape][size_index(i->opsize)];                             \
    }

#define OPERATION(name) SIZES(DEFINE_HANDLERS, name) SIZES(DEFINE_SWAPPED, name) DEFINE_SELECT(name)
#define COMPARISON(name)                                                                           \
    SIZES(DEFINE_TEST_HANDLERS, name) SIZES(DEFINE_TEST_SWAPPED, name) DEFINE_SELECT(name)
OPERATION(add)
OPERATION(or)
OPERATION(adc)
OPERATION(sbb)
OPERATION(and)
OPERATION(sub)
OPERATION(xor)
COMPARISON(cmp)
COMPARISON(test)

/* ---- one operand ---- */

#define DEFINE_UNARY(name, op, pre, post, T, n, suffix, mod)                                       \
    static inline T una_##name##n(struct cpu *c, T a)                                              \
    {                                                                                              \
        uint64_t f = c->cc;                                                                        \
        __asm__(pre op suffix " %" mod "[a]\n\t" post : [a] "+&r"(a), "+&a"(f) : : "cc");          \
        c->cc = (uint16_t)f;                                                                       \
        return a;                                                                                  \
    }                                                                                              \
    static void name##_r##n(struct cpu *c, const struct insn *i)                                   \
    {                                                                                              \
        set_reg(c, i, i->rm, una_##name##n(c, (T)get_reg(c, i, i->rm, n)), n);                     \
    }                                                                                              \
    static void name##_m##n(struct cpu *c, const struct insn *i)                                   \
    {                                                                                              \
        uint64_t linear = ea(c, i, n, true);                                                       \
        T *p = i->flags & INSN_LOCK ? mem_rmw(c, linear, n) : tlb_write_hit(c, linear, n);         \
        if (p && (i->flags & INSN_LOCK)) {                                                         \
            uint64_t f = c->cc;                                                                    \
            __asm__ volatile(pre "lock; " op suffix " %[p]\n\t" post                               \
                             : [p] "+m"(*p), "+&a"(f)                                              \
                             :                                                                     \
                             : "cc", "memory");                                                    \
            c->cc = (uint16_t)f;                                                                   \
            mem_rmw_done(c, linear, n);                                                            \
        } else if (p) {                                                                            \
            *p = una_##name##n(c, *p);                                                             \
        } else {                                                                                   \
            bool lock = i->flags & INSN_LOCK;                                                      \
            mem_probe_write(c, linear, n);                                                         \
            if (lock)                                                                              \
                cpu_exclusive_begin(c);                                                            \
            mem_st(c, linear, una_##name##n(c, (T)mem_ld(c, linear, n)), n);                       \
            if (lock)                                                                              \
                cpu_exclusive_end(c);                                                              \
        }                                                                                          \
    }
#define UNARY(name, op, pre, post)                                                                 \
    SIZES(DEFINE_UNARY, name, op, pre, post)                                                       \
    insn_fn *sel_##name(const struct insn *i)                                                      \
    {                                                                                              \
        static insn_fn *const table[2][4] = {{name##_r1, name##_r2, name##_r4, name##_r8},         \
                                             {name##_m1, name##_m2, name##_m4, name##_m8}};        \
        return table[!!(i->flags & INSN_MEM)][size_index(i->opsize)];                              \
    }
UNARY(inc, "inc", LOAD_FLAGS, SAVE_FLAGS)
UNARY(dec, "dec", LOAD_FLAGS, SAVE_FLAGS)
UNARY(neg, "neg", "", SAVE_FLAGS)
UNARY(not, "not", "", "")

/* ---- exchanges ---- */

/* Runs body on a host pointer `p` of type T, with other vCPUs stopped and a bounce buffer where there is none. LOCK is
 * used always: XCHG implies it, and without it nobody can tell. */
#define WITH_HOST(T, n, linear, body)                                                              \
    do {                                                                                           \
        T *p = mem_rmw(c, linear, n);                                                              \
        if (p) {                                                                                   \
            body;                                                                                  \
            mem_rmw_done(c, linear, n);                                                            \
        } else {                                                                                   \
            T bounce;                                                                              \
            cpu_exclusive_begin(c);                                                                \
            mem_ld_bytes(c, linear, &bounce, n);                                                   \
            p = &bounce;                                                                           \
            body;                                                                                  \
            mem_st_bytes(c, linear, &bounce, n);                                                   \
            cpu_exclusive_end(c);                                                                  \
        }                                                                                          \
    } while (0)

#define BY_SIZE(size, X)                                                                           \
    switch (size) {                                                                                \
    case 1: X(uint8_t, 1, "b", "b"); break;                                                        \
    case 2: X(guest16, 2, "w", "w"); break;                                                       \
    case 4: X(guest32, 4, "l", "k"); break;                                                       \
    default: X(guest64, 8, "q", "q"); break;                                                      \
    }

void op_xchg(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize, src = i->reg;

    if (!(i->flags & INSN_MEM)) {
        if (!i->has_modrm)
            src = X86_RAX;
        uint64_t v = get_reg(c, i, i->rm, size);
        uint64_t w = get_reg(c, i, src, size);
        set_reg(c, i, i->rm, w, size);
        set_reg(c, i, src, v, size);
        return;
    }
    uint64_t linear = ea(c, i, size, true), v = get_reg(c, i, i->reg, size);
#define X(T, n, suffix, mod)                                                                       \
    {                                                                                              \
        T t = (T)v;                                                                                \
        WITH_HOST(T, n, linear,                                                                    \
                  __asm__ volatile("xchg" suffix " %" mod "[t], %[m]"                              \
                                   : [m] "+m"(*p), [t] "+r"(t)                                     \
                                   :                                                               \
                                   : "memory"));                                                   \
        v = t;                                                                                     \
    }
    BY_SIZE(size, X)
#undef X
    set_reg(c, i, i->reg, v, size);
}

void op_xadd(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize;
    uint64_t add = get_reg(c, i, i->reg, size), f = c->cc;

#define XADD(T, n, suffix, mod)                                                                    \
    __asm__ volatile("lock; xadd" suffix " %" mod "[r], %[m]\n\t" SAVE_FLAGS                       \
                     : [m] "+m"(*p), [r] "+&r"(r), "=&a"(f)                                        \
                     :                                                                             \
                     : "cc", "memory")
#define X(T, n, suffix, mod)                                                                       \
    {                                                                                              \
        T r = (T)add;                                                                              \
        if (i->flags & INSN_MEM) {                                                                 \
            uint64_t linear = ea(c, i, n, true);                                                   \
            WITH_HOST(T, n, linear, XADD(T, n, suffix, mod));                                      \
            set_reg(c, i, i->reg, r, n);                                                           \
        } else {                                                                                   \
            T value = (T)get_reg(c, i, i->rm, n), *p = &value;                                     \
            XADD(T, n, suffix, mod);                                                               \
            set_reg(c, i, i->reg, r, n);                                                           \
            set_reg(c, i, i->rm, value, n);                                                        \
        }                                                                                          \
    }
    BY_SIZE(size, X)
#undef X
    c->cc = (uint16_t)f;
}

void op_cmpxchg(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize;
    uint64_t src = get_reg(c, i, i->reg, size), acc = c->s.gpr[X86_RAX];
    uint8_t ah = 0, of = 0;

    /* RAX is taken by the comparison, so the flags go through LAHF behind a copy of it */
#define CMPXCHG(T, n, suffix, mod)                                                                 \
    __asm__ volatile("lock; cmpxchg" suffix " %" mod "[s], %[m]\n\t"                               \
                     "seto %[of]\n\t"                                                              \
                     "mov %%rax, %[r]\n\t"                                                         \
                     "lahf\n\t"                                                                    \
                     "mov %%ah, %%al\n\t"                                                          \
                     : [m] "+m"(*p), [r] "=&r"(result), [of] "=&r"(of), "+&a"(a)                   \
                     : [s] "r"((T)src)                                                             \
                     : "cc", "memory")
#define X(T, n, suffix, mod)                                                                       \
    {                                                                                              \
        uint64_t result, a = acc;                                                                  \
        T value, *reg = &value;                                                                    \
        if (i->flags & INSN_MEM) {                                                                 \
            uint64_t linear = ea(c, i, n, true);                                                   \
            WITH_HOST(T, n, linear, CMPXCHG(T, n, suffix, mod));                                   \
        } else {                                                                                   \
            value = (T)get_reg(c, i, i->rm, n);                                                    \
            T *p = reg;                                                                            \
            CMPXCHG(T, n, suffix, mod);                                                            \
        }                                                                                          \
        ah = (uint8_t)a;                                                                           \
        if (ah & X86_ZF) {                                                                         \
            if (!(i->flags & INSN_MEM))                                                            \
                set_reg(c, i, i->rm, value, n);                                                    \
        } else { /* the register is not written then, not even to clear its upper half */           \
            c->s.gpr[X86_RAX] = n == 4 ? (uint32_t)result                                          \
                                       : (acc & ~mask_bytes(n)) | (result & mask_bytes(n));        \
        }                                                                                          \
    }
    BY_SIZE(size, X)
#undef X
    c->cc = (uint16_t)(ah << 8 | of);
}

static void set_zf(struct cpu *c, bool zf)
{
    c->cc = (uint16_t)(zf ? c->cc | CC_ZF : c->cc & ~CC_ZF);
}

void op_cmpxchg8b(struct cpu *c, const struct insn *i)
{
    uint64_t linear = ea(c, i, 8, true);
    uint32_t lo = (uint32_t)c->s.gpr[X86_RAX], hi = (uint32_t)c->s.gpr[X86_RDX];
    bool ok = false;

    WITH_HOST(guest64, 8, linear,
              __asm__ volatile("lock; cmpxchg8b %[m]"
                               : [m] "+m"(*p), "+a"(lo), "+d"(hi), "=@ccz"(ok)
                               : "b"((uint32_t)c->s.gpr[X86_RBX]), "c"((uint32_t)c->s.gpr[X86_RCX])
                               : "memory"));
    if (!ok) {
        c->s.gpr[X86_RAX] = lo;
        c->s.gpr[X86_RDX] = hi;
    }
    set_zf(c, ok);
}

void op_cmpxchg16b(struct cpu *c, const struct insn *i)
{
    /* alignment is looked at before the address; DS, ES, SS have no base in 64-bit code */
    if ((insn_offset(c, i) + (i->seg >= X86_FS ? c->s.seg[i->seg].base : 0)) & 15)
        cpu_gp(c, 0);
    uint64_t linear = ea(c, i, 16, true);
    uint64_t lo = c->s.gpr[X86_RAX], hi = c->s.gpr[X86_RDX];
    bool ok = false;

    WITH_HOST(unsigned __int128, 16, linear,
              __asm__ volatile("lock; cmpxchg16b %[m]"
                               : [m] "+m"(*p), "+a"(lo), "+d"(hi), "=@ccz"(ok)
                               : "b"(c->s.gpr[X86_RBX]), "c"(c->s.gpr[X86_RCX])
                               : "memory"));
    if (!ok) {
        c->s.gpr[X86_RAX] = lo;
        c->s.gpr[X86_RDX] = hi;
    }
    set_zf(c, ok);
}
