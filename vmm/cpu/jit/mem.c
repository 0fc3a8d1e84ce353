/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory in translated code: the effective address, and the TLB check around each access. */
#include "vmm/cpu/jit/jit_priv.h"

static uint8_t base_reg(struct tr *t, unsigned guest, unsigned scratch)
{
    if (jit_host_reg[guest] != H_NONE)
        return jit_host_reg[guest];
    emit_load(&t->hot, true, scratch, STATE(OFF_GPR(guest)));
    return (uint8_t)scratch;
}

/* i->disp relative to the next instruction, or absolute. */
static void constant_address(struct tr *t, uint64_t a, bool narrow)
{
    emit_mov_imm(&t->hot, H_ADDR, narrow ? (uint32_t)a : a);
}

unsigned tr_address(struct tr *t)
{
    const struct insn *i = &t->in->i;
    const bool narrow = i->addrsize == 4, based = i->seg >= X86_FS;
    struct emit *e = &t->hot;

    if (i->base == REG_RIP) {
        constant_address(t, t->in->rip + i->len + (uint64_t)i->disp, narrow);
    } else if (i->base == REG_NONE && i->index == REG_NONE) {
        constant_address(t, (uint64_t)i->disp, narrow);
    } else {
        struct rm m = {.mem = true, .base = H_NONE, .index = H_NONE, .scale = i->scale, .disp = (int32_t)i->disp};

        if (i->base != REG_NONE)
            m.base = base_reg(t, i->base, H_ADDR);
        if (i->index != REG_NONE)
            m.index = base_reg(t, i->index, H_TEMP);
        if (m.index == H_NONE && m.disp == 0 && !narrow && !based) {
            if (m.base != H_ADDR)
                return m.base; /* the address itself */
        } else if (m.index == H_NONE && m.disp == 0) {
            emit_load(e, !narrow, H_ADDR, rm_reg(m.base));
        } else {
            emit_lea(e, !narrow, H_ADDR, m);
        }
    }
    if (based) {
        emit_load(e, true, H_SLOT, STATE((int32_t)(offsetof(struct cpu, s.seg) + sizeof(struct x86_seg) * i->seg +
                                                   offsetof(struct x86_seg, base))));
        emit_lea(e, t->code64, H_ADDR, rm_index(H_ADDR, H_SLOT, 1, 0));
    }
    return H_ADDR;
}

static int32_t tlb_off(const struct tr *t, enum tlb_kind kind, size_t field)
{
    return (int32_t)(offsetof(struct cpu, tlb) +
                     (JM_MMU(t->mode) * TLB_KINDS + kind) * TLB_MAX * sizeof(struct tlb_entry) + field);
}

#define TAG    offsetof(struct tlb_entry, tag)
#define ADDEND offsetof(struct tlb_entry, addend)

/* The tag is compared with the page of the last byte, the slot is that of the first: an access that crosses into
 * another page misses. */
static uint8_t *check_with_flags(struct tr *t, unsigned va, unsigned size, enum tlb_kind kind)
{
    struct emit *e = &t->hot;

    emit_rorx(e, false, H_SLOT, rm_reg(va), PAGE_SHIFT - 4);
    emit_op(e, false, 0x23, H_SLOT, STATE(OFF_HOT(tlb_offset_mask))); /* and */
    if (size > 1)
        emit_lea(e, true, H_TEMP, rm_mem(va, (int32_t)size - 1));
    else
        emit_load(e, true, H_TEMP, rm_reg(va));
    emit_enc(e, &(struct enc){.w = true, .opcode = 0x81, .reg = 4, .rm = rm_reg(H_TEMP), .imm_size = 4,
                              .imm = PAGE_MASK}); /* and */
    emit_op(e, true, 0x3b, H_TEMP, rm_index(H_RSP, H_SLOT, 1, tlb_off(t, kind, TAG))); /* cmp */
    uint8_t *slow = emit_jcc_forward(e, 5);
    emit_load(e, true, H_SLOT, rm_index(H_RSP, H_SLOT, 1, tlb_off(t, kind, ADDEND)));
    return slow;
}

/* The same without touching flags: the difference to the tag is zero but for the offset in the page. */
static uint8_t *check_without_flags(struct tr *t, unsigned va, unsigned size, enum tlb_kind kind)
{
    struct emit *e = &t->hot;

    emit_pext(e, H_TEMP, va, STATE(OFF_HOT(tlb_select)));
    emit_rorx(e, true, H_TEMP, rm_reg(H_TEMP), 60); /* times 16 */
    emit_load(e, true, H_SLOT, rm_index(H_RSP, H_TEMP, 1, tlb_off(t, kind, TAG)));
    emit_op(e, true, 0xf7, 2, rm_reg(H_SLOT)); /* not: minus tag minus 1 */
    emit_lea(e, true, H_SLOT, rm_index(H_SLOT, va, 1, (int32_t)size));
    emit_pext(e, H_SLOT, H_SLOT, STATE(OFF_HOT(page_select)));
    uint8_t *hit = emit_short(e, OP_JRCXZ);
    uint8_t *slow = emit_jmp_forward(e);
    emit_patch8(e, hit);
    emit_load(e, true, H_SLOT, rm_index(H_RSP, H_TEMP, 1, tlb_off(t, kind, ADDEND)));
    return slow;
}

uint32_t tr_site(struct tr *t, unsigned size, enum jit_site_kind kind)
{
    struct jit *j = t->j;

    if (j->site_count == JIT_SITES) {
        t->cold.full = true;
        return 0;
    }
    j->sites[j->site_count] = (struct jit_site){.rip = t->in->rip, .size = size, .kind = (uint8_t)kind};
    return j->site_count++;
}

struct rm tr_check(struct tr *t, unsigned va, unsigned size, enum tlb_kind kind)
{
    const void *again = emit_rx(&t->hot);
    uint8_t *slow = t->in->flags_in ? check_without_flags(t, va, size, kind) : check_with_flags(t, va, size, kind);
    struct emit *e = &t->cold;

    emit_patch32(&t->hot, slow, emit_rx(e));
    if (va != H_ADDR)
        emit_load(e, true, H_ADDR, rm_reg(va));
    emit_mov_imm(e, H_TEMP, tr_site(t, size, kind == TLB_WRITE ? SITE_WRITE : SITE_READ));
    emit_call(e, t->j->slow);
    emit_jmp(e, again);
    return rm_index(va, H_SLOT, 1, 0);
}

struct rm tr_collapse(struct tr *t, struct rm host)
{
    emit_lea(&t->hot, true, H_ADDR, host);
    return rm_mem(H_ADDR, 0);
}
