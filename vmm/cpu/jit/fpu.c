/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Vector and x87 registers: loaded when a block first needs them, left in the host's registers until C code runs. */
#include "vmm/cpu/jit/jit_priv.h"

static void need(struct tr *t, int32_t absent, const void *stub)
{
    struct emit *e = &t->hot;

    t->slot_group = 0;
    if (t->in->flags_in) {
        emit_load(e, false, H_RCX, STATE(absent));
        uint8_t *there = emit_short(e, OP_JRCXZ);
        emit_call(e, stub);
        emit_patch8(e, there);
        return;
    }
    emit_enc(e, &(struct enc){.opcode = 0x83, .reg = 7, .rm = STATE(absent), .imm_size = 1}); /* cmp */
    uint8_t *load = emit_jcc_forward(e, 5);
    emit_patch32(e, load, emit_rx(&t->cold));
    emit_call(&t->cold, stub);
    emit_jmp(&t->cold, emit_rx(e));
}

void tr_need_vec(struct tr *t)
{
    if (!t->vec_live)
        need(t, OFF_HOT(vec_absent), t->j->vec_load);
    t->vec_live = true;
}

void tr_need_x87(struct tr *t)
{
    if (!t->x87_live)
        need(t, OFF_HOT(x87_absent), t->j->x87_load);
    t->x87_live = true;
}

void tr_show_x87_last(struct tr *t, struct emit *e)
{
    if (!t->x87_last.known)
        return;
    tr_mov_rip(t, e, H_TEMP, t->x87_last.rip);
    emit_store(e, true, H_TEMP, STATE(OFF(s.fpu.fip)));
    emit_enc(e, &(struct enc){.legacy = {0x66}, .legacy_count = 1, .opcode = 0xc7, .rm = STATE(OFF(s.fpu.fop)),
                              .imm_size = 2, .imm = t->x87_last.fop});
    if (e == &t->hot)
        t->x87_last.known = false;
}

void tr_trap_site(struct tr *t, const uint8_t *start)
{
    struct jit *j = t->j;

    if (j->trap_count == JIT_TRAPS) {
        t->hot.full = true;
        return;
    }
    struct jit_trap *trap = &j->traps[j->trap_count++];
    *trap = (struct jit_trap){
        .start = (uint32_t)(start - j->rw), .end = (uint32_t)(t->hot.p - j->rw), .rip = t->in->rip};
    if (t->x87_last.known) {
        trap->last_back = (uint16_t)(t->in->rip - t->x87_last.rip);
        trap->last_fop = t->x87_last.fop;
    }
}
