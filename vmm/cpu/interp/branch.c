/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near control flow. In 64-bit code near branches have 64-bit operands whatever the prefixes say. */
#include "vmm/cpu/interp/ops.h"

static uint64_t relative(struct cpu *c, const struct insn *i)
{
    return c->s.rip + i->len + i->imm;
}

#define DEFINE_JCC(cond_)                                                                          \
    static void jcc##cond_(struct cpu *c, const struct insn *i)                                    \
    {                                                                                              \
        if (cc_test(c->cc, cond_))                                                                 \
            jump(c, relative(c, i), i->opsize);                                                    \
    }
#define CONDITIONS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
CONDITIONS(DEFINE_JCC)

static insn_fn *const jcc_table[16] = {
#define X(cond_) jcc##cond_,
    CONDITIONS(X)
#undef X
};

insn_fn *sel_jcc(const struct insn *i)
{
    return jcc_table[i->cond];
}


void op_jmp(struct cpu *c, const struct insn *i)
{
    if (i->opcode == 0xff)
        jump(c, get_rm(c, i, i->opsize), i->opsize);
    else
        jump(c, relative(c, i), i->opsize);
}

void op_call(struct cpu *c, const struct insn *i)
{
    uint64_t target = i->opcode == 0xff ? get_rm(c, i, i->opsize) : relative(c, i);
    uint64_t back = c->s.rip + i->len, old = c->s.rip;
    unsigned size = i->opsize;

    /* the target is checked before the push commits, so that a fault leaves RSP alone */
    jump(c, target, size);
    target = c->s.rip;
    c->s.rip = old;
    c->branched = false;
    push(c, back, size);
    c->s.rip = target;
    c->branched = true;
}

void op_ret(struct cpu *c, const struct insn *i)
{
    uint64_t target = peek(c, 0, i->opsize);

    jump(c, target, i->opsize);
    set_rsp(c, c->s.gpr[X86_RSP] + i->opsize + (i->opcode == 0xc2 ? (uint16_t)i->imm : 0));
}

void op_loop(struct cpu *c, const struct insn *i)
{
    uint64_t count = (c->s.gpr[X86_RCX] - 1) & mask_bytes(i->addrsize);
    bool zf = c->cc & CC_ZF, go = count != 0;

    if (i->opcode == 0xe1)
        go &= zf;
    else if (i->opcode == 0xe0)
        go &= !zf;
    if (go)
        jump(c, relative(c, i), i->opsize);
    set_reg(c, i, X86_RCX, count, i->addrsize);
}

void op_jcxz(struct cpu *c, const struct insn *i)
{
    if ((c->s.gpr[X86_RCX] & mask_bytes(i->addrsize)) == 0)
        jump(c, relative(c, i), i->opsize);
}
