/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shifts, rotates and double shifts on the host's own shifter: flags, also undefined ones and the unchanged ones of a
 * zero count, come out as on the host. */
#include "vmm/cpu/interp/ops.h"

#define BY_SIZE(size, X)                                                                           \
    switch (size) {                                                                                \
    case 1: X(uint8_t, 1, "b", "b"); break;                                                        \
    case 2: X(uint16_t, 2, "w", "w"); break;                                                       \
    case 4: X(uint32_t, 4, "l", "k"); break;                                                       \
    default: X(uint64_t, 8, "q", "q"); break;                                                      \
    }

/* D0/D1: by one; D2/D3: by CL; C0/C1: by an immediate. */
static uint8_t shift_count(struct cpu *c, const struct insn *i)
{
    uint8_t op = i->opcode;

    if (op == 0xd0 || op == 0xd1)
        return 1;
    if (op == 0xd2 || op == 0xd3)
        return (uint8_t)c->s.gpr[X86_RCX];
    return (uint8_t)i->imm;
}

#define DEFINE_SHIFT(name)                                                                         \
    void op_##name(struct cpu *c, const struct insn *i)                                            \
    {                                                                                              \
        unsigned size = i->opsize;                                                                 \
        uint8_t count = shift_count(c, i);                                                         \
        uint64_t linear = 0, f = c->cc, v;                                                         \
        if (i->flags & INSN_MEM) {                                                                 \
            linear = ea(c, i, size, true);                                                         \
            mem_probe_write(c, linear, size);                                                      \
            v = mem_ld(c, linear, size);                                                           \
        } else {                                                                                   \
            v = get_reg(c, i, i->rm, size);                                                        \
        }                                                                                          \
        BY_SIZE(size, SHIFT_##name)                                                                \
        c->cc = (uint16_t)f;                                                                       \
        if (i->flags & INSN_MEM)                                                                   \
            mem_st(c, linear, v, size);                                                            \
        else                                                                                       \
            set_reg(c, i, i->rm, v, size);                                                         \
    }

#define SHIFT(op, T, suffix, mod)                                                                  \
    {                                                                                              \
        T t = (T)v;                                                                                \
        __asm__(LOAD_FLAGS op suffix " %%cl, %" mod "[t]\n\t" SAVE_FLAGS                           \
                : [t] "+&r"(t), "+&a"(f)                                                           \
                : "c"(count)                                                                       \
                : "cc");                                                                           \
        v = t;                                                                                     \
    }
#define SHIFT_rol(T, n, suffix, mod) SHIFT("rol", T, suffix, mod)
#define SHIFT_ror(T, n, suffix, mod) SHIFT("ror", T, suffix, mod)
#define SHIFT_rcl(T, n, suffix, mod) SHIFT("rcl", T, suffix, mod)
#define SHIFT_rcr(T, n, suffix, mod) SHIFT("rcr", T, suffix, mod)
#define SHIFT_shl(T, n, suffix, mod) SHIFT("shl", T, suffix, mod)
#define SHIFT_shr(T, n, suffix, mod) SHIFT("shr", T, suffix, mod)
#define SHIFT_sar(T, n, suffix, mod) SHIFT("sar", T, suffix, mod)
DEFINE_SHIFT(rol)
DEFINE_SHIFT(ror)
DEFINE_SHIFT(rcl)
DEFINE_SHIFT(rcr)
DEFINE_SHIFT(shl)
DEFINE_SHIFT(shr)
DEFINE_SHIFT(sar)

#define DEFINE_DOUBLE(name)                                                                        \
    void op_##name(struct cpu *c, const struct insn *i)                                            \
    {                                                                                              \
        unsigned size = i->opsize;                                                                 \
        uint8_t count = i->opcode & 1 ? (uint8_t)c->s.gpr[X86_RCX] : (uint8_t)i->imm;              \
        uint64_t linear = 0, f = c->cc, v, src = get_reg(c, i, i->reg, size);                      \
        if (i->flags & INSN_MEM) {                                                                 \
            linear = ea(c, i, size, true);                                                         \
            mem_probe_write(c, linear, size);                                                      \
            v = mem_ld(c, linear, size);                                                           \
        } else {                                                                                   \
            v = get_reg(c, i, i->rm, size);                                                        \
        }                                                                                          \
        switch (size) {                                                                            \
        case 2: DOUBLE(#name, uint16_t, "w", "w"); break;                                          \
        case 4: DOUBLE(#name, uint32_t, "l", "k"); break;                                          \
        default: DOUBLE(#name, uint64_t, "q", "q"); break;                                         \
        }                                                                                          \
        c->cc = (uint16_t)f;                                                                       \
        if (i->flags & INSN_MEM)                                                                   \
            mem_st(c, linear, v, size);                                                            \
        else                                                                                       \
            set_reg(c, i, i->rm, v, size);                                                         \
    }
#define DOUBLE(op, T, suffix, mod)                                                                 \
    {                                                                                              \
        T t = (T)v;                                                                                \
        __asm__(LOAD_FLAGS op suffix " %%cl, %" mod "[s], %" mod "[t]\n\t" SAVE_FLAGS              \
                : [t] "+&r"(t), "+&a"(f)                                                           \
                : "c"(count), [s] "r"((T)src)                                                      \
                : "cc");                                                                           \
        v = t;                                                                                     \
    }
DEFINE_DOUBLE(shld)
DEFINE_DOUBLE(shrd)
