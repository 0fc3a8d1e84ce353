/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cpu/jit/emit.h"

static void modrm_mem(struct emit *e, unsigned reg, const struct rm *m)
{
    const unsigned base = m->base & 7u;
    bool sib = m->index != H_NONE || m->base == H_NONE || base == 4;
    unsigned mod, ss = m->scale == 8 ? 3 : m->scale == 4 ? 2 : m->scale == 2 ? 1 : 0;

    if (m->base == H_NONE)
        mod = 0;
    else if (m->disp == 0 && base != 5)
        mod = 0;
    else if (m->disp >= -128 && m->disp <= 127)
        mod = 1;
    else
        mod = 2;
    emit8(e, mod << 6 | (reg & 7u) << 3 | (sib ? 4 : base));
    if (sib)
        emit8(e, ss << 6 | (m->index == H_NONE ? 4u : m->index & 7u) << 3 | (m->base == H_NONE ? 5 : base));
    if (mod == 1)
        emit8(e, (uint8_t)m->disp);
    else if (mod == 2 || m->base == H_NONE)
        emit32(e, (uint32_t)m->disp);
}

void emit_enc(struct emit *e, const struct enc *x)
{
    const struct rm *m = &x->rm;
    const unsigned b = m->mem ? (m->base == H_NONE ? 0 : m->base >> 3) : m->reg >> 3;
    const unsigned ix = m->mem && m->index != H_NONE ? m->index >> 3 : 0;

    for (unsigned n = 0; n < x->legacy_count; n++)
        emit8(e, x->legacy[n]);
    if (x->vex) {
        emit8(e, 0xc4);
        emit8(e, (x->reg & 8u ? 0 : 0x80) | (ix ? 0 : 0x40) | (b ? 0 : 0x20) | x->map);
        emit8(e, (x->w ? 0x80u : 0) | (~x->vvvv & 15u) << 3 | x->l << 2 | x->pp);
    } else {
        unsigned rex = (x->w ? 8u : 0) | (x->reg & 8u ? 4u : 0) | ix << 1 | b;
        bool byte = (x->byte_reg && x->reg >= 4) || (x->byte_rm && !m->mem && m->reg >= 4);

        if (rex || (byte && !x->no_rex))
            emit8(e, 0x40 | rex);
        if (x->map != MAP_ONE)
            emit8(e, 0x0f);
        if (x->map == MAP_0F38)
            emit8(e, 0x38);
        else if (x->map == MAP_0F3A)
            emit8(e, 0x3a);
    }
    emit8(e, x->opcode);
    if (m->mem)
        modrm_mem(e, x->reg, m);
    else
        emit8(e, 0xc0u | (x->reg & 7u) << 3 | (m->reg & 7u));
    emit_bytes(e, &x->imm, x->imm_size);
}

void emit_mov_imm(struct emit *e, unsigned reg, uint64_t v)
{
    if (v <= UINT32_MAX) {
        if (reg >= 8)
            emit8(e, 0x41);
        emit8(e, 0xb8 | (reg & 7));
        emit32(e, (uint32_t)v);
    } else if ((uint64_t)(int64_t)(int32_t)v == v) {
        emit_enc(e, &(struct enc){.w = true, .opcode = 0xc7, .rm = rm_reg(reg), .imm_size = 4, .imm = v});
    } else {
        emit8(e, 0x48 | reg >> 3);
        emit8(e, 0xb8 | (reg & 7));
        emit64(e, v);
    }
}

void emit_rorx(struct emit *e, bool w, unsigned dst, struct rm src, unsigned count)
{
    emit_enc(e, &(struct enc){.vex = true, .w = w, .pp = 3, .map = MAP_0F3A, .opcode = 0xf0, .reg = (uint8_t)dst,
                              .rm = src, .imm_size = 1, .imm = count});
}

static void bits(struct emit *e, unsigned pp, unsigned dst, unsigned src, struct rm mask)
{
    emit_enc(e, &(struct enc){.vex = true, .w = true, .pp = (uint8_t)pp, .map = MAP_0F38, .opcode = 0xf5,
                              .reg = (uint8_t)dst, .vvvv = (uint8_t)src, .rm = mask});
}

void emit_pext(struct emit *e, unsigned dst, unsigned src, struct rm mask)
{
    bits(e, 2, dst, src, mask);
}

void emit_pdep(struct emit *e, unsigned dst, unsigned src, struct rm mask)
{
    bits(e, 3, dst, src, mask);
}

static void rel32(struct emit *e, const void *target)
{
    emit32(e, (uint32_t)((const uint8_t *)target - (emit_rx(e) + 4)));
}

void emit_jmp(struct emit *e, const void *target)
{
    emit8(e, 0xe9);
    rel32(e, target);
}

void emit_jcc(struct emit *e, unsigned cond, const void *target)
{
    emit8(e, 0x0f);
    emit8(e, 0x80 | cond);
    rel32(e, target);
}

void emit_call(struct emit *e, const void *target)
{
    emit8(e, 0xe8);
    rel32(e, target);
}
