/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One block: decode, find out where flags are live, write host code. */
#include "vmm/cpu/jit/jit_priv.h"
#include "vmm/cpu/jit/runtime.h"
#include "vmm/cpu/jit/verify.h"

/* How far to look behind the end of a block. */
#define PEEK_INSNS 5

/* Shifts that may turn out to be by zero leave flags as they were. */
static bool may_keep_flags(const struct tr_insn *in)
{
    switch (in->z.mnemonic) {
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: break;
    default: return false;
    }
    if ((in->i.opcode & 0xfe) == 0xd0 && in->z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
        return false; /* by one */
    return !in->z.raw.imm[0].size || (in->z.raw.imm[0].value.u & 0x1f) == 0;
}

/* Else the interpreter's handler is called. */
static bool is_native(const struct tr *t, const struct tr_insn *in)
{
    return tr_flow_kind(t, in) != FLOW_NONE || tr_generic_ok(t, in) || tr_string_ok(t, in) || tr_sys_ok(t, in);
}

static void flag_effects(const struct tr *t, const struct tr_insn *in, uint8_t *reads, uint8_t *writes)
{
    const ZydisAccessedFlags *f = in->z.cpu_flags;
    bool string = tr_string_ok(t, in);

    *reads = *writes = 0;
    if (!is_native(t, in) || in->i.exec == op_pushf) {
        *reads = JIT_FLAGS; /* the handler sees them */
        return;
    }
    if (!f)
        return;
    *reads = jit_fold(f->tested);
    if (!(string ? tr_string_keeps_flags(in) : may_keep_flags(in)))
        *writes = jit_fold(f->modified | f->set_0 | f->set_1 | f->undefined);
}

/* Which flags code in the block's page may read before it writes them, as far as a few instructions tell. The block
 * depends on these bytes then, though it does not contain them. */
static uint8_t flags_read_at(struct tr *t, uint64_t rip, const uint8_t *page_start)
{
    struct tr_insn *in = &t->j->peeked;
    uint8_t live = JIT_FLAGS, read = 0;
    unsigned offset = (unsigned)(rip & ~PAGE_MASK);

    for (unsigned n = 0; n < PEEK_INSNS && (live & ~read); n++) {
        unsigned len = (unsigned)MIN(PAGE_SIZE - offset, 15);
        uint8_t bytes[15], reads, writes;

        code_cover(t->c, t->block->page, offset, len);
        memcpy(bytes, page_start + offset, len);
        enum decode_result r = insn_decode_full(t->c, bytes, len, &in->i, &in->z, in->ops);
        if (r == DECODE_MORE)
            break;
        in->rip = rip;
        flag_effects(t, in, &reads, &writes);
        read |= live & reads;
        live &= (uint8_t)~writes;
        offset += in->i.len;
        rip += in->i.len;
        if (r == DECODE_END || offset >= PAGE_SIZE)
            break;
    }
    t->block->peeked = true;
    return live | read;
}

/* Flags that are live where the block ends. */
static uint8_t live_at_end(struct tr *t, const uint8_t *host)
{
    const struct tr_insn *last = &t->j->insns[t->count - 1];
    uint64_t next = last->rip + last->i.len;

    if (last->ends) {
        if (last->i.exec != op_jmp || last->i.opcode == 0xff || tr_flow_kind(t, last) == FLOW_NONE)
            return JIT_FLAGS;
        next += last->i.imm;
    }
    if ((next & PAGE_MASK) != (t->block->rip & PAGE_MASK) || t->block->page2 != UINT64_MAX)
        return JIT_FLAGS;
    return flags_read_at(t, next, host - (t->block->rip & ~PAGE_MASK));
}

static uint8_t defined_by(const ZydisAccessedFlags *f)
{
    return jit_fold((f->modified | f->set_0 | f->set_1) & ~f->undefined);
}

/* For verify.c: where undefined flags are looked at, which the two need not agree on. The interpreter gets such an
 * instruction to itself. */
static void find_uncertain(struct tr *t)
{
    uint8_t undefined = 0;

    for (unsigned n = 0; n < t->count; n++) {
        struct tr_insn *in = &t->j->insns[n];
        const ZydisAccessedFlags *f = in->z.cpu_flags;
        uint8_t reads = in->i.exec == op_pushf ? JIT_FLAGS : f ? jit_fold(f->tested) : 0;

        in->uncertain = reads & undefined;
        if (!is_native(t, in))
            undefined = 0; /* executed once */
        else if (f)
            undefined = (uint8_t)((undefined & ~defined_by(f)) | jit_fold(f->undefined));
    }
}

/* flags_in of every instruction, from the end. */
static void find_live_flags(struct tr *t, const uint8_t *host)
{
    uint8_t live = t->live_at_end = live_at_end(t, host);

    for (unsigned n = t->count; n-- > 0;) {
        struct tr_insn *in = &t->j->insns[n];
        enum tr_flow_kind flow = tr_flow_kind(t, in);
        uint8_t reads, writes;

        flag_effects(t, in, &reads, &writes);
        if (flow == FLOW_BRANCH)
            live = JIT_FLAGS;
        live = (uint8_t)((live & ~writes) | reads);
        in->flags_in = live;
    }
}

/* ---- decoding ---- */

/* At most one page of code from host; fills insns. The first instruction may go on in the second page. */
static void decode(struct tr *t, struct jit_block *b, const uint8_t *host, const uint8_t *second)
{
    struct jit *j = t->j;
    uint64_t rip = b->rip;
    unsigned offset = (unsigned)(rip & ~PAGE_MASK), at = 0;
    bool after_sti = false; /* it ends the block unless another instruction follows */

    while (t->count < JIT_INSNS && offset + at < PAGE_SIZE) {
        struct tr_insn *in = &j->insns[t->count];
        unsigned here = (unsigned)MIN(PAGE_SIZE - offset - at, 15);
        uint8_t bytes[15];

        code_cover(t->c, b->page, offset + at, here);
        memcpy(bytes, host + at, here);
        enum decode_result r = insn_decode_full(t->c, bytes, here, &in->i, &in->z, in->ops);
        if (r == DECODE_MORE && here < 15 && t->count == 0 && second) {
            code_cover(t->c, b->page2, 0, 15 - here);
            memcpy(bytes + here, second, 15 - here);
            r = insn_decode_full(t->c, bytes, 15, &in->i, &in->z, in->ops);
        }
        if (r == DECODE_MORE)
            break;
        in->rip = rip + at;
        in->ends = in->uncertain = false;
        in->ends = (r == DECODE_END || in->i.exec == op_cld || in->i.exec == op_std) && /* DF is part of the mode */
                   tr_flow_kind(t, in) != FLOW_BRANCH && !tr_sys_ok(t, in);
        if (after_sti && !tr_may_follow_sti(t, in)) {
            in[-1].ends = true;
            break;
        }
        at += in->i.len;
        t->count++;
        if (in->ends)
            break;
        after_sti = in->i.exec == op_sti;
    }
    if (after_sti)
        j->insns[t->count - 1].ends = true;
    b->len = (uint16_t)at;
}

/* ---- emission ---- */

struct jit_call *tr_callback(struct tr *t, struct emit *e)
{
    struct jit_call *call = jit_alloc(t->j, sizeof(*call));

    if (!call) {
        t->hot.full = true;
        return NULL;
    }
    *call = (struct jit_call){.rip = t->in->rip};
    call->insn = t->in->i;
    call->ends = t->in->ends;
    call->next = t->block->calls;
    t->block->calls = call;
    tr_show_x87_last(t, e);
    emit_mov_imm(e, H_TEMP, (uint64_t)(uintptr_t)call);
    emit_call(e, t->j->callback);
    t->vec_live = t->x87_live = false;
    return call;
}

/* Polls as late as flags allow it without a detour, before the next jump backwards. */
static bool poll_here(const struct tr *t, unsigned n)
{
    for (unsigned k = n; k < t->count; k++) {
        if (k > n && !t->j->insns[k].flags_in)
            return false; /* there is a better place */
        if (tr_is_back_edge(&t->j->insns[k]) && tr_flow_kind(t, &t->j->insns[k]) != FLOW_NONE)
            return true;
    }
    return false;
}

/* Whether the jump backwards at n has been polled for by poll_here. */
static bool polled(const struct tr *t, unsigned n)
{
    for (unsigned k = n + 1; k-- > 0;) {
        if (!t->j->insns[k].flags_in)
            return true;
        if (k < n && tr_is_back_edge(&t->j->insns[k]))
            return false;
    }
    return false;
}

/* Of the same length for every page. */
static void emit_page_check(struct emit *e, const struct code_page *p)
{
    emit_load(e, false, H_RCX, STATE(OFF_HOT(page) + (int32_t)p->slot * 4));
    emit_bytes(e, (const uint8_t[]){0x8d, 0x89}, 2); /* lea ecx, [rcx + disp32] */
    emit32(e, -p->id);
}

void jit_move_entry(const struct jit *j, const struct jit_block *b)
{
    struct emit e = {.p = b->entry - j->rx + j->rw, .end = b->body - j->rx + j->rw, .rx = j->rx - j->rw};

    emit_page_check(&e, b->at);
}

static void emit_entry(struct tr *t, const struct jit_block *b, const struct code_page *p)
{
    struct emit *e = &t->hot;

    emit_page_check(e, p);
    uint8_t *ok = emit_short(e, OP_JRCXZ);
    emit_jmp(e, b->miss);
    emit_patch8(e, ok);
}

/* A test of verify.c asks for a translator that leaves out an instruction. */
static bool left_out(const struct tr *t)
{
    const char *wrong = t->c->set->tuning.wrong;

    return wrong[0] && !strcasecmp(wrong, ZydisMnemonicGetString(t->in->z.mnemonic)) &&
           !(t->in->i.flags & INSN_MEM) && tr_flow_kind(t, t->in) == FLOW_NONE;
}

static void emit_insn(struct tr *t)
{
    bool generic = tr_flow_kind(t, t->in) == FLOW_NONE && tr_generic_ok(t, t->in);

    if (left_out(t))
        return;
    if (!generic || t->shadow)
        tr_show_x87_last(t, &t->hot);
    if (tr_flow_kind(t, t->in) != FLOW_NONE) {
        tr_flow(t);
        t->slot_group = 0;
    } else if (generic) {
        tr_generic(t);
    } else if (tr_string_ok(t, t->in)) {
        tr_string(t);
    } else if (tr_sys_ok(t, t->in)) {
        tr_sys(t);
    } else {
        tr_callback(t, &t->hot);
        t->slot_group = 0;
    }
}

/* A block that jumps to its own start, and polls on the way, does not look again whether its registers are loaded. */
static void begin_loop(struct tr *t)
{
    const struct jit_block *b = t->block;
    bool loops = false, vec = false, x87 = false;

    for (unsigned n = 0; n < t->count; n++) {
        const struct tr_insn *in = &t->j->insns[n];
        bool v, x;

        loops |= tr_is_back_edge(in) && tr_target(in) == b->rip;
        if (tr_flow_kind(t, in) != FLOW_NONE || !tr_generic_ok(t, in))
            continue;
        tr_generic_uses(in, &v, &x);
        vec |= v;
        x87 |= x;
    }
    if (!loops || (b->mode & JM_ALONE) || b->page2 != UINT64_MAX)
        return;
    t->in = &t->j->insns[0];
    if (vec)
        tr_need_vec(t);
    if (x87)
        tr_need_x87(t);
    t->again.at = emit_rx(&t->hot);
    t->again.vec_live = vec;
    t->again.x87_live = x87;
}

/* What verify.c wants to know. False: no memory. */
static bool take_notes(struct tr *t, struct jit_block *b)
{
    struct jit_note *notes = jit_alloc(t->j, (t->count + 1) * sizeof(*notes));

    if (!notes)
        return false;
    for (unsigned n = 0; n < t->count; n++) {
        const struct tr_insn *in = &t->j->insns[n];
        const ZydisAccessedFlags *f = in->z.cpu_flags;
        enum tr_flow_kind flow = tr_flow_kind(t, in);

        notes[n] = (struct jit_note){.offset = (uint16_t)(in->rip - b->rip), .live = in->flags_in,
                                     .native = is_native(t, in),
                                     .repeats = tr_string_ok(t, in) && tr_string_keeps_flags(in),
                                     .branch = flow == FLOW_BRANCH};
        if (notes[n].native && f) {
            notes[n].defines = defined_by(f);
            notes[n].undefines = jit_fold(f->undefined);
        }
    }
    notes[t->count] = (struct jit_note){.offset = b->len, .live = t->live_at_end};
    b->notes = notes;
    b->note_count = t->count;
    return true;
}

static void emit_block(struct tr *t, struct jit_block *b)
{
    const struct tr_insn *last = &t->j->insns[t->count - 1];

    b->miss = emit_rx(&t->cold);
    if (b->mode & JM_ALONE) {
        tr_exit_stub(t, NULL, b->rip, true);
    } else {
        tr_mov_rip(t, &t->cold, H_ADDR, b->rip);
        emit_jmp(&t->cold, t->j->exit_jump);
    }
    while (((uintptr_t)t->hot.p & 15) && !t->hot.full)
        emit8(&t->hot, 0xcc);
    b->entry = emit_rx(&t->hot);
    emit_entry(t, b, b->at);
    if (b->at2)
        emit_entry(t, b, b->at2);
    b->body = emit_rx(&t->hot);
    begin_loop(t);
    for (t->at = 0; t->at < t->count; t->at++) {
        t->in = &t->j->insns[t->at];
        if (!t->in->flags_in ? poll_here(t, t->at) : tr_is_back_edge(t->in) && !polled(t, t->at))
            tr_poll(t);
        emit_insn(t);
        if (t->in->i.exec != op_sti)
            tr_end_shadow(t);
    }
    tr_show_x87_last(t, &t->hot);
    if (!last->ends)
        tr_exit_to(t, t->code64 ? last->rip + last->i.len : (uint32_t)(last->rip + last->i.len));
    tr_drop_unread_addends(t);
    while (emit_rx(&t->hot) < b->body + 5 && !t->hot.full) /* room for the jump of a stale block */
        emit8(&t->hot, 0xcc);
}

bool jit_translate(struct cpu *c, struct jit_block *b, const uint8_t *host, const uint8_t *second)
{
    struct jit *j = c->jit;
    struct tr t = {.c = c, .j = j, .mode = b->mode, .code64 = c->mode & MODE_CODE64, .block = b,
                   .fixed = !(b->mode & JM_USER) || b->at2 || c->verify};
    int64_t rx = j->rx - j->rw;

    decode(&t, b, host, second);
    b->bytes = t.count ? jit_alloc(j, b->len) : NULL;
    if (!b->bytes)
        return false;
    for (unsigned n = 0, at = 0; n < t.count; at += j->insns[n++].i.len)
        memcpy(b->bytes + at, j->insns[n].i.bytes, j->insns[n].i.len);
    if (c->verify)
        find_uncertain(&t);
    find_live_flags(&t, host);
    tr_find_groups(&t);
    if (c->verify && !take_notes(&t, b))
        return false;
    t.hot = (struct emit){.p = j->rw + j->hot, .end = j->rw + j->hot_end, .rx = rx};
    t.cold = (struct emit){.p = j->rw + j->cold, .end = j->rw + j->size, .rx = rx};
    b->first_link = j->link_count;
    b->first_site = j->site_count;
    b->first_trap = j->trap_count;
    emit_block(&t, b);
    if (t.hot.full || t.cold.full || !tr_keep_fixups(&t))
        return false;
    b->cold = j->rx + j->cold;
    b->hot_size = (uint32_t)(emit_rx(&t.hot) - b->entry);
    b->cold_size = (uint32_t)(emit_rx(&t.cold) - b->cold);
    b->link_count = (uint16_t)(j->link_count - b->first_link);
    b->site_count = (uint16_t)(j->site_count - b->first_site);
    b->trap_count = (uint16_t)(j->trap_count - b->first_trap);
    b->insn_count = (uint16_t)t.count;
    c->stats.jit.blocks++;
    c->stats.jit.instructions += t.count;
    c->stats.jit.guest_bytes += b->len;
    c->stats.jit.host_bytes += b->hot_size + b->cold_size;
    j->hot = (size_t)(t.hot.p - j->rw);
    j->cold = (size_t)(t.cold.p - j->rw);
    return true;
}
