/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String instructions by the host's own, going up in memory. A repeated one runs in pieces that stay inside a page at
 * both ends; a piece whose pages are not in the TLB is the interpreter's, as is everything that goes down. */
#include "vmm/cpu/jit/jit_priv.h"
#include "vmm/cpu/jit/runtime.h"

enum string_op { STRING_NONE, STRING_MOVS, STRING_STOS, STRING_LODS, STRING_CMPS, STRING_SCAS };

static enum string_op op_of(const struct insn *i)
{
    return i->exec == op_movs   ? STRING_MOVS
           : i->exec == op_stos ? STRING_STOS
           : i->exec == op_lods ? STRING_LODS
           : i->exec == op_cmps ? STRING_CMPS
           : i->exec == op_scas ? STRING_SCAS
                                : STRING_NONE;
}

static bool has_source(enum string_op op)
{
    return op == STRING_MOVS || op == STRING_LODS || op == STRING_CMPS;
}

static bool has_destination(enum string_op op)
{
    return op != STRING_LODS;
}

static bool compares(enum string_op op)
{
    return op == STRING_CMPS || op == STRING_SCAS;
}

static bool repeats(const struct insn *i)
{
    return i->flags & (INSN_REP | INSN_REPNE);
}

bool tr_string_ok(const struct tr *t, const struct tr_insn *in)
{
    const struct insn *i = &in->i;
    enum string_op op = op_of(i);

    if (op == STRING_NONE || in->uncertain || (t->mode & JM_DF) || i->addrsize != (t->code64 ? 8 : 4))
        return false;
    if (i->seg >= X86_FS || (i->seg == X86_CS && !t->code64))
        return false;
    return !(repeats(i) && op == STRING_LODS);
}

bool tr_string_keeps_flags(const struct tr_insn *in)
{
    return repeats(&in->i); /* when the count is 0 */
}

/* ---- pieces of code ---- */

static void alu(struct emit *e, bool w, unsigned opcode, unsigned reg, unsigned rm)
{
    emit_op(e, w, opcode, reg, rm_reg(rm));
}
#define ADD  0x03
#define SUB  0x2b
#define CMP  0x3b
#define TEST 0x85

static void alu_imm(struct emit *e, bool w, unsigned digit, unsigned rm, uint32_t imm)
{
    emit_enc(e, &(struct enc){.w = w, .opcode = 0x81, .reg = (uint8_t)digit, .rm = rm_reg(rm), .imm_size = 4, .imm = imm});
}
#define DIGIT_AND 4

static void bytes(struct emit *e, const char *code, unsigned n)
{
    emit_bytes(e, code, n);
}

/* RAX is the guest's; scratch registers stay as they are. */
static void save_flags(struct emit *e)
{
    emit_store(e, true, H_RAX, STATE(OFF_HOT(string_rax)));
    bytes(e, "\x9f\x0f\x90\xc0", 4); /* lahf; seto al */
    emit_store(e, false, H_RAX, STATE(OFF_HOT(string_flags)));
    emit_load(e, true, H_RAX, STATE(OFF_HOT(string_rax)));
}

static void restore_flags(struct emit *e)
{
    emit_store(e, true, H_RAX, STATE(OFF_HOT(string_rax)));
    emit_load(e, false, H_RAX, STATE(OFF_HOT(string_flags)));
    bytes(e, "\x04\x7f\x9e", 3); /* add al, 0x7f; sahf */
    emit_load(e, true, H_RAX, STATE(OFF_HOT(string_rax)));
}

struct piece {
    struct tr *t;
    enum string_op op;
    uint8_t *slow[6]; /* jumps to the interpreter */
    unsigned slow_count;
};

static void slow_if(struct piece *p, unsigned cond)
{
    p->slow[p->slow_count++] = emit_jcc_forward(&p->t->hot, cond);
}

/* RCX = at most the elements between pointer and the end of its page. */
static void limit(struct piece *p, unsigned pointer)
{
    struct emit *e = &p->t->hot;
    unsigned size = p->t->in->i.opsize;

    emit_mov_imm(e, H_R14, PAGE_SIZE);
    emit_load(e, false, H_R15, rm_reg(pointer));
    alu_imm(e, false, DIGIT_AND, H_R15, PAGE_SIZE - 1);
    alu(e, false, SUB, H_R14, H_R15);
    if (size > 1) {
        emit_enc(e, &(struct enc){.opcode = 0xc1, .reg = 5, .rm = rm_reg(H_R14), .imm_size = 1,
                                  .imm = size == 2 ? 1 : size == 4 ? 2 : 3}); /* shr */
        slow_if(p, 4);
    }
    alu(e, true, CMP, H_RCX, H_R14);
    emit_op_0f(e, true, 0x47, H_RCX, rm_reg(H_R14)); /* cmova */
}

/* Addend of the pointer's page to reg; clobbers page. */
static void translate(struct piece *p, unsigned pointer, enum tlb_kind kind, unsigned reg, unsigned page)
{
    struct emit *e = &p->t->hot;
    int32_t tlb = tr_tlb_offset(p->t, kind);

    emit_rorx(e, false, reg, rm_reg(pointer), PAGE_SHIFT - 4);
    emit_op(e, false, 0x23, reg, STATE(OFF_HOT(tlb_offset_mask)));
    emit_load(e, true, page, rm_reg(pointer));
    alu_imm(e, true, DIGIT_AND, page, (uint32_t)PAGE_MASK);
    emit_op(e, true, CMP, page, rm_index(H_RSP, reg, 1, tlb + (int32_t)offsetof(struct tlb_entry, tag)));
    slow_if(p, 5);
    emit_load(e, true, reg, rm_index(H_RSP, reg, 1, tlb + (int32_t)offsetof(struct tlb_entry, addend)));
}

/* To host addresses; R14 and R15 become what takes them back. */
static void to_host(struct piece *p)
{
    struct emit *e = &p->t->hot;

    if (has_destination(p->op)) {
        alu(e, true, ADD, H_RDI, H_R14);
        emit_op(e, true, 0xf7, 3, rm_reg(H_R14)); /* neg */
    }
    if (has_source(p->op)) {
        alu(e, true, ADD, H_RSI, H_R15);
        emit_op(e, true, 0xf7, 3, rm_reg(H_R15));
    }
}

/* Flags stay. */
static void to_guest(struct piece *p)
{
    struct emit *e = &p->t->hot;
    bool w = p->t->code64;

    if (has_destination(p->op))
        emit_lea(e, w, H_RDI, rm_index(H_RDI, H_R14, 1, 0));
    if (has_source(p->op))
        emit_lea(e, w, H_RSI, rm_index(H_RSI, H_R15, 1, 0));
}

static void host_string(struct tr *t)
{
    const struct insn *i = &t->in->i;
    struct emit *e = &t->hot;

    if (i->opsize == 2)
        emit8(e, 0x66);
    emit8(e, i->flags & INSN_REPNE && compares(op_of(i)) ? 0xf2 : 0xf3);
    if (i->opsize == 8)
        emit8(e, 0x48);
    emit8(e, i->opcode);
}

/* ---- repeated ---- */

static void repeated(struct tr *t, enum string_op op)
{
    struct piece p = {.t = t, .op = op};
    struct emit *e = &t->hot;
    const bool keep = t->in->flags_in, w = t->code64;
    uint8_t *done[3];
    unsigned done_count = 0;
    struct jit_call *gate = t->c->verify ? tr_callback(t, e) : NULL;

    if (keep)
        save_flags(e);
    if (!w) { /* the upper halves mean nothing */
        emit_load(e, false, H_RDI, rm_reg(H_RDI));
        emit_load(e, false, H_RSI, rm_reg(H_RSI));
        emit_load(e, false, H_GRCX, rm_reg(H_GRCX));
    }
    const void *again = emit_rx(e);
    emit_load(e, true, H_RCX, rm_reg(H_GRCX));
    alu(e, true, TEST, H_RCX, H_RCX);
    uint8_t *zero = emit_jcc_forward(e, 4);
    if (has_destination(op))
        limit(&p, H_RDI);
    if (has_source(op))
        limit(&p, H_RSI);
    emit_store(e, true, H_RCX, STATE(OFF_HOT(target)));
    if (has_destination(op))
        translate(&p, H_RDI, compares(op) ? TLB_READ : TLB_WRITE, H_R14, H_RCX);
    if (has_source(op))
        translate(&p, H_RSI, TLB_READ, H_R15, H_RCX);
    emit_load(e, true, H_RCX, STATE(OFF_HOT(target)));
    alu(e, true, SUB, H_GRCX, H_RCX);
    to_host(&p);
    host_string(t);
    to_guest(&p);
    if (compares(op)) {
        emit_lea(e, true, H_GRCX, rm_index(H_GRCX, H_RCX, 1, 0));
        done[done_count++] = emit_jcc_forward(e, t->in->i.flags & INSN_REPNE ? 4 : 5); /* ended by what it found */
        emit_load(e, true, H_RCX, rm_reg(H_GRCX));
        uint8_t *end = emit_short(e, OP_JRCXZ);
        emit_jmp(e, again);
        emit_patch8(e, end);
        done[done_count++] = emit_jmp_forward(e);
    } else {
        alu(e, true, TEST, H_GRCX, H_GRCX);
        uint8_t *end = emit_jcc_forward(e, 4);
        emit_enc(e, &(struct enc){.opcode = 0x83, .reg = 7, .rm = STATE(OFF_HOT(attention)), .imm_size = 1}); /* cmp */
        slow_if(&p, 5);
        emit_jmp(e, again);
        emit_patch32(e, end, emit_rx(e));
    }
    emit_patch32(e, zero, emit_rx(e));
    if (keep)
        restore_flags(e);
    for (unsigned n = 0; n < done_count; n++)
        emit_patch32(e, done[n], emit_rx(e));
    for (unsigned n = 0; n < p.slow_count; n++)
        emit_patch32(e, p.slow[n], emit_rx(&t->cold));
    if (keep)
        restore_flags(&t->cold);
    tr_callback(t, &t->cold);
    emit_jmp(&t->cold, emit_rx(e));
    if (gate)
        gate->after = emit_rx(e);
}

/* ---- once ---- */

static void sized(struct emit *e, unsigned opcode, unsigned size, unsigned reg, struct rm rm)
{
    struct enc x = {.w = size == 8, .opcode = (uint8_t)(size == 1 ? opcode - 1 : opcode), .reg = (uint8_t)reg, .rm = rm,
                    .byte_reg = size == 1};

    if (size == 2)
        x.legacy[x.legacy_count++] = 0x66;
    emit_enc(e, &x);
}

static void advance(struct tr *t, unsigned reg)
{
    emit_lea(&t->hot, t->code64, reg, rm_mem(reg, t->in->i.opsize));
}

static void once(struct tr *t, enum string_op op)
{
    struct emit *e = &t->hot;
    unsigned size = t->in->i.opsize;
    struct tr_place from = tr_stack_place(t, X86_RSI, 0), to = tr_stack_place(t, X86_RDI, 0);

    if (op == STRING_LODS) {
        sized(e, 0x8b, size, H_RAX, tr_memory(t, &from, 0, size, TLB_READ, false));
    } else if (has_source(op)) { /* scratch registers do not outlive the second check */
        sized(e, 0x8b, size, H_TEMP, tr_memory(t, &from, 0, size, TLB_READ, false));
        emit_store(e, true, H_TEMP, STATE(OFF_HOT(target)));
    }
    if (has_destination(op)) {
        struct rm host = tr_memory(t, &to, 0, size, compares(op) ? TLB_READ : TLB_WRITE, false);
        if (has_source(op))
            emit_load(e, true, H_TEMP, STATE(OFF_HOT(target)));
        sized(e, compares(op) ? CMP : 0x89, size, has_source(op) ? H_TEMP : H_RAX, host);
        advance(t, H_RDI);
    }
    if (has_source(op))
        advance(t, H_RSI);
}

void tr_string(struct tr *t)
{
    enum string_op op = op_of(&t->in->i);

    if (repeats(&t->in->i))
        repeated(t, op);
    else
        once(t, op);
    t->slot_group = 0;
}
