/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moves, stack operations, conditional moves and sets, and what does nothing. */
#include "vmm/cpu/interp/ops.h"

static int size_index(unsigned size)
{
    return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
}

/* ---- MOV ---- */

#define DEFINE_MOV(n)                                                                              \
    static void mov_rr##n(struct cpu *c, const struct insn *i)                                     \
    {                                                                                              \
        set_reg(c, i, i->rm, get_reg(c, i, i->reg, n), n);                                         \
    }                                                                                              \
    static void mov_swapped##n(struct cpu *c, const struct insn *i)                                \
    {                                                                                              \
        set_reg(c, i, i->reg, get_reg(c, i, i->rm, n), n);                                         \
    }                                                                                              \
    static void mov_ri##n(struct cpu *c, const struct insn *i)                                     \
    {                                                                                              \
        set_reg(c, i, i->rm, i->imm, n);                                                           \
    }                                                                                              \
    static void mov_rm##n(struct cpu *c, const struct insn *i)                                     \
    {                                                                                              \
        set_reg(c, i, i->reg, fast_ld(c, ea(c, i, n, false), n), n);                               \
    }                                                                                              \
    static void mov_mr##n(struct cpu *c, const struct insn *i)                                     \
    {                                                                                              \
        fast_st(c, ea(c, i, n, true), get_reg(c, i, i->reg, n), n);                                \
    }                                                                                              \
    static void mov_mi##n(struct cpu *c, const struct insn *i)                                     \
    {                                                                                              \
        fast_st(c, ea(c, i, n, true), i->imm, n);                                                  \
    }                                                                                              \
    /* A0 to A3: the accumulator and an absolute offset */                                         \
    static void mov_al_moffs##n(struct cpu *c, const struct insn *i)                               \
    {                                                                                              \
        set_reg(c, i, X86_RAX, fast_ld(c, ea(c, i, n, false), n), n);                              \
    }                                                                                              \
    static void mov_moffs_al##n(struct cpu *c, const struct insn *i)                               \
    {                                                                                              \
        fast_st(c, ea(c, i, n, true), get_reg(c, i, X86_RAX, n), n);                               \
    }
DEFINE_MOV(1)
DEFINE_MOV(2)
DEFINE_MOV(4)
DEFINE_MOV(8)

#define FOUR(name) {name##1, name##2, name##4, name##8}

insn_fn *sel_mov(const struct insn *i)
{
    static insn_fn *const table[][4] = {FOUR(mov_rr),  FOUR(mov_swapped),  FOUR(mov_ri),       FOUR(mov_rm),
                                        FOUR(mov_mr),  FOUR(mov_mi),       FOUR(mov_al_moffs), FOUR(mov_moffs_al)};
    bool mem = i->flags & INSN_MEM;
    unsigned shape;

    if (!i->has_modrm && i->opcode >= 0xa0 && i->opcode <= 0xa3)
        shape = i->opcode < 0xa2 ? 6 : 7;
    else if (i->form == FORM_RM_R)
        shape = mem ? 4 : 0;
    else if (i->form == FORM_R_RM)
        shape = mem ? 3 : 1;
    else
        shape = mem ? 5 : 2;
    return table[shape][size_index(i->opsize)];
}

void op_movzx(struct cpu *c, const struct insn *i)
{
    set_reg(c, i, i->reg, get_rm(c, i, i->srcsize), i->opsize);
}

void op_movsx(struct cpu *c, const struct insn *i)
{
    uint64_t v = get_rm(c, i, i->srcsize);
    unsigned shift = 64 - 8 * i->srcsize;

    set_reg(c, i, i->reg, (uint64_t)((int64_t)(v << shift) >> shift), i->opsize);
}

static uint64_t swap_bytes(uint64_t v, unsigned size)
{
    return __builtin_bswap64(v) >> (64 - 8 * size);
}

void op_movbe(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize;

    if (i->form == FORM_R_RM)
        set_reg(c, i, i->reg, swap_bytes(get_rm(c, i, size), size), size);
    else
        set_rm(c, i, swap_bytes(get_reg(c, i, i->reg, size), size), size);
}

void op_movnti(struct cpu *c, const struct insn *i)
{
    set_rm(c, i, get_reg(c, i, i->reg, i->opsize), i->opsize);
}

static void lea2(struct cpu *c, const struct insn *i)
{
    set_reg(c, i, i->reg, insn_offset_fast(c, i), 2);
}

static void lea4(struct cpu *c, const struct insn *i)
{
    c->s.gpr[i->reg] = (uint32_t)insn_offset_fast(c, i);
}

static void lea8(struct cpu *c, const struct insn *i)
{
    c->s.gpr[i->reg] = insn_offset_fast(c, i);
}

insn_fn *sel_lea(const struct insn *i)
{
    if (!(i->flags & INSN_MEM))
        return NULL;
    return i->opsize == 2 ? lea2 : i->opsize == 4 ? lea4 : lea8;
}

void op_xlat(struct cpu *c, const struct insn *i)
{
    uint64_t offset = (c->s.gpr[X86_RBX] + (uint8_t)c->s.gpr[X86_RAX]) & mask_bytes(i->addrsize);

    set_reg(c, i, X86_RAX, fast_ld(c, seg_linear_fast(c, i->seg, offset, 1, false), 1), 1);
}

void op_cbw(struct cpu *c, const struct insn *i)
{
    uint64_t a = c->s.gpr[X86_RAX];

    switch (i->opsize) {
    case 2: set_reg(c, i, X86_RAX, (uint64_t)(int8_t)a, 2); break;
    case 4: set_reg(c, i, X86_RAX, (uint64_t)(int16_t)a, 4); break;
    default: c->s.gpr[X86_RAX] = (uint64_t)(int32_t)a; break;
    }
}

void op_cwd(struct cpu *c, const struct insn *i)
{
    unsigned bits = i->opsize * 8;

    set_reg(c, i, X86_RDX, c->s.gpr[X86_RAX] >> (bits - 1) & 1 ? UINT64_MAX : 0, i->opsize);
}

void op_salc(struct cpu *c, const struct insn *i)
{
    (void)i;
    *(uint8_t *)&c->s.gpr[X86_RAX] = c->cc & CC_CF ? 0xff : 0;
}

/* ---- conditions ---- */

void op_setcc(struct cpu *c, const struct insn *i)
{
    set_rm(c, i, cc_test(c->cc, i->cond), 1);
}

void op_cmovcc(struct cpu *c, const struct insn *i)
{
    uint64_t v = get_rm(c, i, i->opsize); /* faults whatever the condition says */

    if (cc_test(c->cc, i->cond))
        set_reg(c, i, i->reg, v, i->opsize);
    else if (i->opsize == 4)
        c->s.gpr[i->reg] = (uint32_t)c->s.gpr[i->reg];
}

/* ---- stack ---- */

#define DEFINE_STACK(n)                                                                            \
    static void push_r##n(struct cpu *c, const struct insn *i)                                     \
    {                                                                                              \
        push(c, c->s.gpr[i->rm], n);                                                               \
    }                                                                                              \
    static void push_i##n(struct cpu *c, const struct insn *i)                                     \
    {                                                                                              \
        push(c, i->imm, n);                                                                        \
    }                                                                                              \
    static void push_m##n(struct cpu *c, const struct insn *i)                                     \
    {                                                                                              \
        push(c, fast_ld(c, ea(c, i, n, false), n), n);                                             \
    }                                                                                              \
    static void pop_r##n(struct cpu *c, const struct insn *i)                                      \
    {                                                                                              \
        uint64_t v = peek(c, 0, n);                                                                \
        set_rsp(c, c->s.gpr[X86_RSP] + n);                                                         \
        set_reg(c, i, i->rm, v, n);                                                                \
    }                                                                                              \
    /* an address based on RSP is computed after the increment (SDM vol. 2B POP) */                \
    static void pop_m##n(struct cpu *c, const struct insn *i)                                      \
    {                                                                                              \
        uint64_t v = peek(c, 0, n), rsp = c->s.gpr[X86_RSP];                                       \
        set_rsp(c, rsp + n);                                                                       \
        uint64_t offset = insn_offset_fast(c, i), after = c->s.gpr[X86_RSP];                       \
        c->s.gpr[X86_RSP] = rsp;                                                                   \
        fast_st(c, seg_linear_fast(c, i->seg, offset, n, true), v, n);                             \
        c->s.gpr[X86_RSP] = after;                                                                 \
    }
DEFINE_STACK(2)
DEFINE_STACK(4)
DEFINE_STACK(8)

/* The stack knows 2, 4 and 8 bytes only. */
static unsigned stack_index(const struct insn *i)
{
    return i->opsize == 8 ? 2 : i->opsize == 4;
}

insn_fn *sel_push(const struct insn *i)
{
    static insn_fn *const table[3][3] = {
        {push_r2, push_r4, push_r8}, {push_i2, push_i4, push_i8}, {push_m2, push_m4, push_m8}};
    unsigned shape = i->flags & INSN_MEM ? 2 : i->opcode == 0x68 || i->opcode == 0x6a ? 1 : 0;

    return table[shape][stack_index(i)];
}

insn_fn *sel_pop(const struct insn *i)
{
    static insn_fn *const table[2][3] = {{pop_r2, pop_r4, pop_r8}, {pop_m2, pop_m4, pop_m8}};

    return table[!!(i->flags & INSN_MEM)][stack_index(i)];
}

void op_pusha(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize;
    uint64_t rsp = c->s.gpr[X86_RSP], mask = stack_mask(c);

    for (unsigned r = 0; r < 8; r++) /* nothing is written unless all fits */
        mem_probe_write(c, seg_linear_fast(c, X86_SS, (rsp - size * (r + 1)) & mask, size, true), size);
    for (unsigned r = 0; r < 8; r++)
        fast_st(c, seg_linear_fast(c, X86_SS, (rsp - size * (r + 1)) & mask, size, true),
                r == X86_RSP ? rsp : c->s.gpr[r], size);
    set_rsp(c, rsp - size * 8);
}

void op_popa(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize;
    uint64_t v[8];

    for (unsigned k = 0; k < 8; k++)
        v[7 - k] = peek(c, k * size, size);
    set_rsp(c, c->s.gpr[X86_RSP] + 8 * size);
    for (unsigned r = 0; r < 8; r++)
        if (r != X86_RSP)
            set_reg(c, &(struct insn){0}, r, v[r], size);
}

void op_enter(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize, level = (unsigned)i->aux & 31, pushes = level ? level + 1 : 1;
    uint64_t mask = stack_mask(c), rsp = c->s.gpr[X86_RSP], rbp = c->s.gpr[X86_RBP];
    uint64_t frame = (rsp - size) & mask, end = (rsp - pushes * size - (uint16_t)i->imm) & mask;

    /* first for the faults, in the order of the accesses; then what was pushed may overlap the frame pointers */
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned k = 0; k < pushes; k++) {
            uint64_t v = k == 0 ? rbp : frame, to;

            if (k > 0 && k < level)
                v = fast_ld(c, seg_linear_fast(c, X86_SS, (rbp - size * k) & mask, size, false), size);
            to = seg_linear_fast(c, X86_SS, (rsp - size * (k + 1)) & mask, size, true);
            if (pass)
                fast_st(c, to, v, size);
            else
                mem_probe_write(c, to, size);
        }
        if (!pass)
            mem_probe_write(c, seg_linear_fast(c, X86_SS, end, size, true), size);
    }
    set_reg(c, i, X86_RBP, frame, size);
    set_rsp(c, end);
}

void op_leave(struct cpu *c, const struct insn *i)
{
    unsigned size = i->opsize;
    uint64_t rbp = c->s.gpr[X86_RBP] & stack_mask(c);
    uint64_t v = fast_ld(c, seg_linear_fast(c, X86_SS, rbp, size, false), size);

    set_rsp(c, rbp + size);
    set_reg(c, i, X86_RBP, v, size);
}

/* ---- nothing ---- */

void op_nop(struct cpu *c, const struct insn *i)
{
    (void)c;
    (void)i;
}

void op_fence(struct cpu *c, const struct insn *i)
{
    (void)c;
    (void)i;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void op_clflush(struct cpu *c, const struct insn *i)
{
    uint8_t byte;

    mem_ld_bytes(c, ea(c, i, 1, false), &byte, 1); /* faults as a load would */
}
