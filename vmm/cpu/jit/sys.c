/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions of kernels that are worth host code of their own: the interrupt flag, RFLAGS to the stack, SWAPGS, and
 * bit strings in memory.
 *
 * STI opens a window in which the next instruction is executed before an interrupt is taken. It is translated together
 * with that instruction: nothing is pending, or the interpreter does it; and since every way out in between says so in
 * s.sti_shadow, the window is right also when the next instruction faults. */
#include "vmm/cpu/jit/jit_priv.h"

/* ---- which ones ---- */

static bool is_bit_string(const struct tr *t, const struct tr_insn *in)
{
    const struct insn *i = &in->i;

    if (!(i->flags & INSN_MEM) || in->z.opcode_map != ZYDIS_OPCODE_MAP_0F || i->opsize < 4 ||
        i->addrsize != (t->code64 ? 8 : 4) || !tr_segment_ok(t, i))
        return false;
    switch (in->z.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC: return in->z.opcode != 0xba; /* that one takes its bit from a constant */
    default: return false;
    }
}

static bool is_pop_rsp(const struct tr *t, const struct tr_insn *in)
{
    const struct insn *i = &in->i;

    return in->z.mnemonic == ZYDIS_MNEMONIC_POP && i->exec != op_pop_sreg && !(i->flags & INSN_MEM) &&
           i->rm == X86_RSP && i->opsize == (t->code64 ? 8 : 4);
}

bool tr_sys_ok(const struct tr *t, const struct tr_insn *in)
{
    const struct insn *i = &in->i;

    if (in->uncertain)
        return false;
    if (i->exec == op_cli)
        return t->mode & JM_KERNEL;
    if (i->exec == op_sti)
        return (t->mode & JM_KERNEL) && !in->ends;
    if (i->exec == op_swapgs)
        return t->code64 && (t->mode & JM_KERNEL);
    if (i->exec == op_cld)
        return !(t->mode & JM_DF);
    if (i->exec == op_pushf)
        return i->opsize == (t->code64 ? 8 : 4);
    return is_pop_rsp(t, in) || is_bit_string(t, in);
}

bool tr_may_follow_sti(const struct tr *t, const struct tr_insn *in)
{
    if (tr_flow_kind(t, in) != FLOW_ENDS)
        return in->i.exec != op_sti;
    return in->i.exec == op_ret || in->i.opcode != 0xff; /* else a table of targets is read before it is over */
}

/* ---- the interrupt flag ---- */

static void rflags_constant(struct emit *e, unsigned reg, uint32_t v) /* AND, OR: reg of opcode 81 */
{
    emit_enc(e, &(struct enc){.w = true, .opcode = 0x81, .reg = (uint8_t)reg, .rm = STATE(OFF(s.rflags)), .imm_size = 4,
                              .imm = v});
}

static void set_if(struct tr *t, bool on)
{
    struct emit *e = &t->hot;

    if (!t->in->flags_in) {
        rflags_constant(e, on ? 1 : 4, on ? X86_IF : ~(uint32_t)X86_IF);
        return;
    }
    emit_load(e, true, H_TEMP, STATE(OFF(s.rflags)));
    emit_pext(e, H_TEMP, H_TEMP, STATE(OFF_HOT(if_clear)));
    emit_pdep(e, H_TEMP, H_TEMP, STATE(OFF_HOT(if_clear)));
    if (on)
        emit_lea(e, true, H_TEMP, rm_mem(H_TEMP, X86_IF));
    emit_store(e, true, H_TEMP, STATE(OFF(s.rflags)));
}

static void set_shadow(struct tr *t, bool on)
{
    emit_enc(&t->hot, &(struct enc){.opcode = 0xc6, .rm = STATE(OFF(s.sti_shadow)), .imm_size = 1, .imm = on});
    t->shadow = on;
}

void tr_end_shadow(struct tr *t)
{
    if (t->shadow)
        set_shadow(t, false);
}

static void do_sti(struct tr *t)
{
    struct emit *e = &t->hot, *cold = &t->cold;

    emit_load(e, false, H_RCX, STATE(OFF(pending)));
    uint8_t *quiet = emit_short(e, OP_JRCXZ);
    uint8_t *out = emit_jmp_forward(e);
    emit_patch8(e, quiet);
    emit_patch32(e, out, emit_rx(cold));
    tr_mov_rip(t, cold, H_ADDR, t->in->rip);
    emit_store(cold, true, H_ADDR, STATE(OFF(s.rip)));
    emit_jmp(cold, t->j->trap);
    set_if(t, true);
    set_shadow(t, true);
}

/* ---- the stack ---- */

static struct rm stack_slot(struct tr *t, int32_t disp, enum tlb_kind kind)
{
    struct tr_place p = tr_stack_place(t, X86_RSP, disp);

    return tr_memory(t, &p, 1, t->code64 ? 8 : 4, kind, false);
}

/* RF and VM are clear in translated code. */
static void do_pushf(struct tr *t)
{
    const int32_t word = t->code64 ? 8 : 4;
    struct emit *e = &t->hot;

    emit8(e, 0x9c);                               /* pushfq */
    emit_op(e, false, 0x8f, 0, rm_reg(H_TEMP));   /* pop r15 */
    emit_pext(e, H_TEMP, H_TEMP, STATE(OFF_HOT(status_select)));
    emit_pdep(e, H_TEMP, H_TEMP, STATE(OFF_HOT(status_select)));
    emit_load(e, true, H_RCX, STATE(OFF(s.rflags)));
    emit_lea(e, true, H_TEMP, rm_index(H_TEMP, H_RCX, 1, 0));
    emit_store(e, true, H_TEMP, STATE(OFF_HOT(target)));
    struct rm slot = stack_slot(t, -word, TLB_WRITE);
    emit_load(e, true, H_TEMP, STATE(OFF_HOT(target)));
    emit_store(e, t->code64, H_TEMP, slot);
    emit_lea(e, t->code64, H_GRSP, rm_mem(H_GRSP, -word));
}

static void do_pop_rsp(struct tr *t)
{
    emit_load(&t->hot, t->code64, H_GRSP, stack_slot(t, 0, TLB_READ));
}

/* ---- others ---- */

static void do_swapgs(struct tr *t)
{
    struct emit *e = &t->hot;

    emit_load(e, true, H_RCX, STATE(OFF(s.seg[X86_GS].base)));
    emit_load(e, true, H_TEMP, STATE(OFF(s.kernel_gs_base)));
    emit_store(e, true, H_RCX, STATE(OFF(s.kernel_gs_base)));
    emit_store(e, true, H_TEMP, STATE(OFF(s.seg[X86_GS].base)));
}

/* The word that has the bit, then the host's instruction on it: in a register, where the bit's number counts modulo the
 * word, or under LOCK. */
static void do_bit_string(struct tr *t)
{
    const struct insn *i = &t->in->i;
    const bool wide = i->opsize == 8;
    const unsigned guest = jit_host_reg[i->reg];
    const struct rm bit = guest == H_NONE ? STATE(OFF_GPR(i->reg)) : rm_reg(guest);
    struct tr_place p = tr_operand_place(t->in);
    struct enc op = {.w = wide, .map = MAP_0F, .opcode = i->opcode};
    struct emit *e = &t->hot;

    tr_linear(t, &p);
    emit_mov_imm(e, H_RCX, wide ? 6 : 5);
    if (!wide)
        emit_op(e, true, 0x63, H_TEMP, bit); /* movsxd */
    emit_enc(e, &(struct enc){.vex = true, .w = true, .pp = 2, .map = MAP_0F38, .opcode = 0xf7, .reg = H_TEMP,
                              .vvvv = H_RCX, .rm = wide ? bit : rm_reg(H_TEMP)}); /* sarx */
    emit_lea(e, t->code64, H_ADDR, rm_index(H_ADDR, H_TEMP, i->opsize, 0));
    struct rm m = tr_check_linear(t, i->opsize, t->in->z.mnemonic == ZYDIS_MNEMONIC_BT ? TLB_READ : TLB_WRITE);
    if (guest == H_NONE || (i->flags & INSN_LOCK))
        emit_load(e, true, H_TEMP, bit);
    op.reg = (uint8_t)(guest == H_NONE ? H_TEMP : guest);
    if (t->in->z.mnemonic == ZYDIS_MNEMONIC_BT) {
        emit_load(e, wide, H_ADDR, m);
        op.rm = rm_reg(H_ADDR);
        emit_enc(e, &op);
        return;
    }
    m = tr_collapse(t, m);
    if (i->flags & INSN_LOCK) {
        emit_pext(e, H_TEMP, H_TEMP, wide ? STATE(OFF_HOT(bit64_select)) : STATE(OFF_HOT(bit32_select)));
        op.legacy[op.legacy_count++] = 0xf0;
        op.reg = H_TEMP;
        op.rm = m;
        emit_enc(e, &op);
        return;
    }
    emit_load(e, wide, H_RCX, m);
    op.rm = rm_reg(H_RCX);
    emit_enc(e, &op);
    emit_store(e, wide, H_RCX, m);
}

void tr_sys(struct tr *t)
{
    const struct insn *i = &t->in->i;

    t->slot_group = 0;
    if (i->exec == op_cli)
        set_if(t, false);
    else if (i->exec == op_sti)
        do_sti(t);
    else if (i->exec == op_swapgs)
        do_swapgs(t);
    else if (i->exec == op_pushf)
        do_pushf(t);
    else if (is_pop_rsp(t, t->in))
        do_pop_rsp(t);
    else if (is_bit_string(t, t->in))
        do_bit_string(t);
}
