/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Branches, the stack, and the ways out of a block. */
#include "vmm/cpu/jit/jit_priv.h"

static unsigned word(const struct tr *t)
{
    return t->code64 ? 8 : 4;
}

static bool is_jcc(const struct insn *i)
{
    return (i->opcode & 0xf0) == 0x70 || (i->opcode & 0xf0) == 0x80;
}

uint64_t tr_target(const struct tr_insn *in)
{
    uint64_t a = in->rip + in->i.len + in->i.imm;

    return in->i.mode & MODE_CODE64 ? a : (uint32_t)a;
}

static bool memory_ok(const struct tr *t, const struct insn *i)
{
    if (!(i->flags & INSN_MEM))
        return true;
    return i->addrsize >= 4 && tr_segment_ok(t, i);
}

static bool is_conditional(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_JO:
    case ZYDIS_MNEMONIC_JNO:
    case ZYDIS_MNEMONIC_JB:
    case ZYDIS_MNEMONIC_JNB:
    case ZYDIS_MNEMONIC_JZ:
    case ZYDIS_MNEMONIC_JNZ:
    case ZYDIS_MNEMONIC_JBE:
    case ZYDIS_MNEMONIC_JNBE:
    case ZYDIS_MNEMONIC_JS:
    case ZYDIS_MNEMONIC_JNS:
    case ZYDIS_MNEMONIC_JP:
    case ZYDIS_MNEMONIC_JNP:
    case ZYDIS_MNEMONIC_JL:
    case ZYDIS_MNEMONIC_JNL:
    case ZYDIS_MNEMONIC_JLE:
    case ZYDIS_MNEMONIC_JNLE: return true;
    default: return false;
    }
}

static bool is_counted(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_JRCXZ || m == ZYDIS_MNEMONIC_JECXZ || m == ZYDIS_MNEMONIC_LOOP;
}

enum tr_flow_kind tr_flow_kind(const struct tr *t, const struct tr_insn *in)
{
    const struct insn *i = &in->i;
    bool full = i->opsize == word(t);

    if (in->uncertain)
        return FLOW_NONE;
    if (i->exec == op_nop || i->exec == op_fence)
        return FLOW_STAYS;
    if (is_conditional(in->z.mnemonic) && is_jcc(i))
        return full ? FLOW_BRANCH : FLOW_NONE;
    if (is_counted(in->z.mnemonic))
        return full && i->addrsize >= 4 ? FLOW_BRANCH : FLOW_NONE;
    if (i->exec == op_jmp || i->exec == op_call)
        return full && memory_ok(t, i) ? FLOW_ENDS : FLOW_NONE;
    if (i->exec == op_ret)
        return full ? FLOW_ENDS : FLOW_NONE;
    if (i->exec == op_leave)
        return full ? FLOW_STAYS : FLOW_NONE;
    if (in->z.mnemonic == ZYDIS_MNEMONIC_PUSH && i->exec != op_push_sreg)
        return full && memory_ok(t, i) ? FLOW_STAYS : FLOW_NONE;
    if (in->z.mnemonic == ZYDIS_MNEMONIC_POP && i->exec != op_pop_sreg)
        return full && !(i->flags & INSN_MEM) && i->rm != X86_RSP ? FLOW_STAYS : FLOW_NONE;
    return FLOW_NONE;
}

bool tr_is_back_edge(const struct tr_insn *in)
{
    bool direct = is_conditional(in->z.mnemonic) || is_counted(in->z.mnemonic) ||
                  ((in->i.exec == op_jmp || in->i.exec == op_call) && in->i.opcode != 0xff);

    return direct && tr_target(in) <= in->rip;
}

/* ---- ways out ---- */

const uint8_t *tr_exit_stub(struct tr *t, uint8_t *after, uint64_t rip, bool alone)
{
    struct jit *j = t->j;
    const uint8_t *stub = emit_rx(&t->cold);

    if (j->link_count == JIT_LINKS) {
        t->cold.full = true;
        return stub;
    }
    emit_mov_imm(&t->cold, H_TEMP, j->link_count);
    emit_jmp(&t->cold, j->exit_link);
    j->links[j->link_count++] =
        (struct jit_link){.after = after, .stub = stub, .rip = rip, .alone = alone, .from = t->block};
    return stub;
}

/* Where the jump in front of after leads at first: to its exit's cold code, or for good to the block's own start, but
 * not past verify.c. */
static const void *exit_target(struct tr *t, uint8_t *after, uint64_t rip)
{
    if (t->again.at && !t->c->verify && rip == t->block->rip && t->again.vec_live <= t->vec_live &&
        t->again.x87_live <= t->x87_live)
        return t->again.at;
    return tr_exit_stub(t, after, rip, false);
}

void tr_exit_to(struct tr *t, uint64_t rip)
{
    uint8_t *after = emit_jmp_forward(&t->hot);

    emit_patch32(&t->hot, after, exit_target(t, after, rip));
}

static void exit_if(struct tr *t, unsigned cond, uint64_t rip)
{
    uint8_t *after = emit_jcc_forward(&t->hot, cond);

    emit_patch32(&t->hot, after, exit_target(t, after, rip));
}

void tr_poll(struct tr *t)
{
    struct emit *e = &t->hot, *cold = &t->cold;
    uint8_t *out;

    if (t->in->flags_in) {
        t->slot_group = 0;
        emit_load(e, false, H_RCX, STATE(OFF_HOT(attention)));
        uint8_t *quiet = emit_short(e, OP_JRCXZ);
        out = emit_jmp_forward(e);
        emit_patch8(e, quiet);
    } else {
        emit_enc(e, &(struct enc){.opcode = 0x83, .reg = 7, .rm = STATE(OFF_HOT(attention)), .imm_size = 1});
        out = emit_jcc_forward(e, 5);
    }
    emit_patch32(e, out, emit_rx(cold));
    tr_show_x87_last(t, cold);
    tr_mov_rip(t, cold, H_ADDR, t->in->rip);
    emit_jmp(cold, t->j->exit_jump);
}

/* Looks the RIP in H_ADDR up in the jump cache: its host address to H_TEMP. A miss leaves; nothing has happened then, and
 * C does what the instruction would have (after is what RET adds to RSP). */
static void find_jump(struct tr *t, enum jit_site_kind kind, unsigned after)
{
    struct emit *e = &t->hot, *cold = &t->cold;
    size_t cache = sizeof(((struct jit_hot *)0)->jumps[0]) * JM_MMU(t->mode);

    t->slot_group = 0;
    emit_pext(e, H_RCX, H_ADDR, STATE(OFF_HOT(jump_select)));
    emit_load(e, true, H_TEMP, rm_index(H_RSP, H_RCX, 8, (int32_t)(OFF_HOT(jumps[0].host) + cache)));
    emit_load(e, true, H_RCX, rm_index(H_RSP, H_RCX, 8, (int32_t)(OFF_HOT(jumps[0].tag) + cache)));
    emit_lea(e, true, H_RCX, rm_index(H_RCX, H_ADDR, 1, 0));
    uint8_t *hit = emit_short(e, OP_JRCXZ);
    uint8_t *miss = emit_jmp_forward(e);
    emit_patch8(e, hit);
    const void *found = emit_rx(e);
    emit_patch32(e, miss, emit_rx(cold));
    emit_mov_imm(cold, H_TEMP, t->mode);
    emit_call(cold, t->j->find_jump[JM_MMU(t->mode)]);
    emit_load(cold, true, H_RCX, rm_reg(H_TEMP));
    uint8_t *unknown = emit_short(cold, OP_JRCXZ);
    emit_jmp(cold, found);
    emit_patch8(cold, unknown);
    emit_mov_imm(cold, H_TEMP, tr_site(t, after, kind));
    emit_jmp(cold, t->j->exit_indirect);
}

static void jump_found(struct tr *t)
{
    emit_op(&t->hot, false, 0xff, 4, rm_reg(H_TEMP)); /* jmp r15 */
}

/* ---- stack ---- */

static void move_rsp(struct tr *t, int32_t by)
{
    emit_lea(&t->hot, t->code64, H_GRSP, rm_mem(H_GRSP, by));
}

/* The checked operand below the top of the stack. H_TEMP is free. */
static struct rm push_slot(struct tr *t)
{
    struct tr_place p = tr_stack_place(t, X86_RSP, -(int32_t)word(t));

    return tr_memory(t, &p, 1, word(t), TLB_WRITE, false);
}

static struct rm top_slot(struct tr *t, unsigned base)
{
    struct tr_place p = tr_stack_place(t, base, 0);

    return tr_memory(t, &p, 1, word(t), TLB_READ, false);
}

static void pushed(struct tr *t)
{
    move_rsp(t, -(int32_t)word(t));
}

static void push_reg(struct tr *t, unsigned host)
{
    struct rm slot = push_slot(t);

    emit_store(&t->hot, t->code64, host, slot);
    pushed(t);
}

static bool fits_store(const struct tr *t, uint64_t v)
{
    return !t->code64 || (uint64_t)(int64_t)(int32_t)v == v;
}

static void store_constant(struct tr *t, struct rm slot, uint64_t v)
{
    emit_enc(&t->hot, &(struct enc){.w = t->code64, .opcode = 0xc7, .rm = slot, .imm_size = 4, .imm = v});
}

static void push_constant(struct tr *t, uint64_t v)
{
    struct rm slot = push_slot(t);

    if (fits_store(t, v)) {
        store_constant(t, slot, v);
    } else {
        emit_mov_imm(&t->hot, H_TEMP, v);
        emit_store(&t->hot, true, H_TEMP, slot);
    }
    pushed(t);
}

static void push_return(struct tr *t, uint64_t rip)
{
    struct rm slot = push_slot(t);

    if (fits_store(t, rip)) {
        store_constant(t, slot, rip);
        tr_note_rip32(t);
    } else {
        tr_mov_rip(t, &t->hot, H_TEMP, rip);
        emit_store(&t->hot, true, H_TEMP, slot);
    }
    pushed(t);
}

/* What hot.target holds. */
static void push_target(struct tr *t)
{
    struct rm slot = push_slot(t);

    emit_load(&t->hot, true, H_TEMP, STATE(OFF_HOT(target)));
    emit_store(&t->hot, t->code64, H_TEMP, slot);
    pushed(t);
}

/* The operand of JMP, CALL or PUSH to a scratch register. */
static void load_operand(struct tr *t, unsigned scratch)
{
    const struct insn *i = &t->in->i;
    struct emit *e = &t->hot;

    struct tr_place p = tr_operand_place(t->in);

    if (i->flags & INSN_MEM)
        emit_load(e, t->code64, scratch, tr_memory(t, &p, 0, word(t), TLB_READ, false));
    else if (jit_host_reg[i->rm] != H_NONE)
        emit_load(e, t->code64, scratch, rm_reg(jit_host_reg[i->rm]));
    else
        emit_load(e, t->code64, scratch, STATE(OFF_GPR(i->rm)));
}

static void do_push(struct tr *t)
{
    const struct insn *i = &t->in->i;

    if (i->opcode == 0x68 || i->opcode == 0x6a) {
        push_constant(t, i->imm);
    } else if (i->flags & INSN_MEM || jit_host_reg[i->rm] == H_NONE) {
        load_operand(t, H_TEMP);
        emit_store(&t->hot, true, H_TEMP, STATE(OFF_HOT(target)));
        push_target(t);
    } else {
        push_reg(t, jit_host_reg[i->rm]);
    }
}

static void do_pop(struct tr *t)
{
    struct rm slot = top_slot(t, X86_RSP);
    unsigned host = jit_host_reg[t->in->i.rm];

    emit_load(&t->hot, t->code64, host != H_NONE ? host : H_TEMP, slot);
    if (host == H_NONE)
        emit_store(&t->hot, true, H_TEMP, STATE(OFF_GPR(t->in->i.rm)));
    move_rsp(t, (int32_t)word(t));
}

static void do_leave(struct tr *t)
{
    struct rm slot = top_slot(t, X86_RBP);

    emit_lea(&t->hot, t->code64, H_GRSP, rm_mem(H_RBP, (int32_t)word(t)));
    emit_load(&t->hot, t->code64, H_RBP, slot);
}

/* ---- branches ---- */

static void do_jmp(struct tr *t)
{
    if (t->in->i.opcode != 0xff) {
        tr_exit_to(t, tr_target(t->in));
        return;
    }
    load_operand(t, H_ADDR);
    find_jump(t, SITE_JUMP, 0);
    jump_found(t);
}

static void do_call(struct tr *t)
{
    const struct tr_insn *in = t->in;
    uint64_t back = in->rip + in->i.len;

    if (in->i.opcode != 0xff) {
        push_return(t, back);
        tr_end_shadow(t);
        tr_exit_to(t, tr_target(in));
        return;
    }
    load_operand(t, H_ADDR);
    find_jump(t, SITE_CALL, 0);
    emit_store(&t->hot, true, H_TEMP, STATE(OFF_HOT(target)));
    push_return(t, back);
    emit_op(&t->hot, false, 0xff, 4, STATE(OFF_HOT(target)));
}

static void do_ret(struct tr *t)
{
    struct rm slot = top_slot(t, X86_RSP);
    int32_t extra = t->in->i.opcode == 0xc2 ? (uint16_t)t->in->i.imm : 0;

    emit_load(&t->hot, t->code64, H_ADDR, slot);
    tr_end_shadow(t);
    find_jump(t, SITE_RET, word(t) + (unsigned)extra);
    move_rsp(t, (int32_t)word(t) + extra);
    jump_found(t);
}

static void do_counted(struct tr *t)
{
    const struct tr_insn *in = t->in;
    struct emit *e = &t->hot;
    bool wide = in->i.addrsize == 8, loop = in->z.mnemonic == ZYDIS_MNEMONIC_LOOP;

    if (loop)
        emit_lea(e, wide, H_GRCX, rm_mem(H_GRCX, -1));
    emit_load(e, wide, H_RCX, rm_reg(H_GRCX));
    if (loop) {
        uint8_t *done = emit_short(e, OP_JRCXZ);
        tr_exit_to(t, tr_target(in));
        emit_patch8(e, done);
    } else {
        uint8_t *zero = emit_short(e, OP_JRCXZ);
        uint8_t *not_zero = emit_short(e, OP_JMP8);
        emit_patch8(e, zero);
        tr_exit_to(t, tr_target(in));
        emit_patch8(e, not_zero);
    }
}

void tr_flow(struct tr *t)
{
    const struct tr_insn *in = t->in;
    const struct insn *i = &in->i;

    if (is_conditional(in->z.mnemonic) || is_counted(in->z.mnemonic) || i->exec == op_jmp)
        tr_end_shadow(t);
    if (i->exec == op_fence)
        emit_bytes(&t->hot, (const uint8_t[]){0x0f, 0xae, 0xf0}, 3);
    else if (is_conditional(in->z.mnemonic))
        exit_if(t, i->opcode & 15, tr_target(in));
    else if (is_counted(in->z.mnemonic))
        do_counted(t);
    else if (i->exec == op_jmp)
        do_jmp(t);
    else if (i->exec == op_call)
        do_call(t);
    else if (i->exec == op_ret)
        do_ret(t);
    else if (i->exec == op_leave)
        do_leave(t);
    else if (in->z.mnemonic == ZYDIS_MNEMONIC_PUSH)
        do_push(t);
    else if (in->z.mnemonic == ZYDIS_MNEMONIC_POP)
        do_pop(t);
}
