/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory in translated code: the effective address, and the TLB check around each access. */
#include "vmm/cpu/jit/jit_priv.h"

struct tr_place tr_operand_place(const struct tr_insn *in)
{
    const struct insn *i = &in->i;
    struct tr_place p = {.base = i->base, .index = i->index, .scale = i->scale, .narrow = i->addrsize == 4,
                         .disp = i->disp};

    if (i->base == REG_RIP) {
        p.base = REG_NONE;
        p.moves = true;
        p.disp = (int64_t)(in->rip + i->len + (uint64_t)i->disp);
    }
    p.seg = i->seg >= X86_FS ? i->seg : 0;
    return p;
}

struct tr_place tr_stack_place(const struct tr *t, unsigned base, int32_t disp)
{
    return (struct tr_place){
        .base = (uint8_t)base, .index = REG_NONE, .scale = 1, .narrow = !t->code64, .disp = disp};
}

static uint8_t host_reg(struct tr *t, unsigned guest, unsigned scratch)
{
    if (jit_host_reg[guest] != H_NONE)
        return jit_host_reg[guest];
    emit_load(&t->hot, true, scratch, STATE(OFF_GPR(guest)));
    return (uint8_t)scratch;
}

/* Linear address of the place plus a constant: the register that holds it, H_ADDR unless a guest register is it. */
static unsigned address(struct tr *t, const struct tr_place *p, int64_t plus)
{
    struct emit *e = &t->hot;
    int64_t disp = p->disp + plus;

    if (p->base == REG_NONE && p->index == REG_NONE) {
        uint64_t a = p->narrow ? (uint32_t)disp : (uint64_t)disp;
        if (p->moves)
            tr_mov_rip(t, e, H_ADDR, a);
        else
            emit_mov_imm(e, H_ADDR, a);
    } else {
        struct rm m = {.mem = true, .base = H_NONE, .index = H_NONE, .scale = p->scale, .disp = (int32_t)disp};

        if (p->base != REG_NONE)
            m.base = host_reg(t, p->base, H_ADDR);
        if (p->index != REG_NONE)
            m.index = host_reg(t, p->index, H_TEMP);
        if (m.index == H_NONE && m.disp == 0 && !p->narrow && !p->seg) {
            if (m.base != H_ADDR)
                return m.base;
        } else if (m.index == H_NONE && m.disp == 0) {
            emit_load(e, !p->narrow, H_ADDR, rm_reg(m.base));
        } else {
            emit_lea(e, !p->narrow, H_ADDR, m);
        }
    }
    if (p->seg) {
        t->slot_group = 0;
        emit_load(e, true, H_SLOT, STATE((int32_t)(offsetof(struct cpu, s.seg) + sizeof(struct x86_seg) * p->seg +
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

int32_t tr_tlb_offset(const struct tr *t, enum tlb_kind kind)
{
    return tlb_off(t, kind, 0);
}

#define TAG    offsetof(struct tlb_entry, tag)
#define ADDEND offsetof(struct tlb_entry, addend)

/* The tag is compared with the page of the last byte, the slot is that of the first: an access that crosses into
 * another page misses. */
static uint8_t *check_with_flags(struct tr *t, struct emit *e, unsigned va, unsigned size, enum tlb_kind kind)
{
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
static uint8_t *check_without_flags(struct tr *t, struct emit *e, unsigned va, unsigned size, enum tlb_kind kind)
{
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
    j->sites[j->site_count] = (struct jit_site){.rip = t->in->rip, .size = size, .kind = (uint8_t)kind,
                                                  .block = t->block};
    return j->site_count++;
}

/* Cold: a group from H_ADDR that lies across a page's border is executed without groups. Flags stay. */
static void leave_if_crossing(struct tr *t, unsigned size)
{
    struct emit *e = &t->cold;

    emit_lea(e, true, H_TEMP, rm_mem(H_ADDR, (int32_t)size - 1));
    emit_pext(e, H_TEMP, H_TEMP, STATE(OFF_HOT(page_select)));
    emit_pext(e, H_RCX, H_ADDR, STATE(OFF_HOT(page_select)));
    emit_op(e, true, 0xf7, 2, rm_reg(H_RCX)); /* not */
    emit_lea(e, true, H_RCX, rm_index(H_RCX, H_TEMP, 1, 1));
    uint8_t *inside = emit_short(e, OP_JRCXZ);
    uint8_t *out = emit_jmp_forward(e);
    emit_patch32(e, out, tr_exit_stub(t, out, t->in->rip, true));
    emit_patch8(e, inside);
}

static uint8_t *check_tlb(struct tr *t, struct emit *e, unsigned va, unsigned size, enum tlb_kind tag)
{
    return t->in->flags_in ? check_without_flags(t, e, va, size, tag) : check_with_flags(t, e, va, size, tag);
}

/* Checks size bytes at va for the tag of one kind; what misses is filled for an access of another, which is what the
 * instruction does. */
static void check(struct tr *t, struct emit *e, unsigned va, unsigned size, enum tlb_kind tag, enum tlb_kind kind,
                  bool group)
{
    struct emit *cold = &t->cold;
    const void *again = emit_rx(e);
    uint8_t *slow = check_tlb(t, e, va, size, tag), *skip = NULL;
    uint32_t site = tr_site(t, size, kind == TLB_WRITE ? SITE_WRITE : SITE_READ);

    t->j->sites[site].tag = (uint8_t)tag;
    t->j->sites[site].group = group;
    if (e == cold)
        skip = emit_jmp_forward(cold);
    emit_patch32(e, slow, emit_rx(cold));
    if (va != H_ADDR)
        emit_load(cold, true, H_ADDR, rm_reg(va));
    tr_show_x87_last(t, cold);
    if (group)
        leave_if_crossing(t, size);
    emit_mov_imm(cold, H_TEMP, site);
    emit_call(cold, t->j->slow);
    emit_jmp(cold, again);
    if (skip)
        emit_patch32(cold, skip, emit_rx(cold));
}

/* The page that was pushed to last is known by heart: one comparison, and the addend needs no address. */
static uint8_t *check_stack_with_flags(struct tr *t, unsigned va, unsigned size, int32_t off)
{
    struct emit *e = &t->hot;

    emit_load(e, true, H_TEMP, STATE(off));
    emit_lea(e, true, H_TEMP, rm_index(H_TEMP, va, 1, 0));
    emit_enc(e, &(struct enc){.w = true, .opcode = 0x81, .reg = 7, .rm = rm_reg(H_TEMP), .imm_size = 4,
                              .imm = PAGE_SIZE - size}); /* cmp */
    return emit_jcc_forward(e, 7);
}

static uint8_t *check_stack_without_flags(struct tr *t, unsigned va, unsigned size, int32_t off)
{
    struct emit *e = &t->hot;

    emit_load(e, true, H_TEMP, STATE(off));
    emit_lea(e, true, H_TEMP, rm_index(H_TEMP, va, 1, 0));
    emit_pext(e, H_RCX, H_TEMP, STATE(OFF_HOT(page_select))); /* the first byte's pages from there, */
    emit_lea(e, true, H_TEMP, rm_mem(H_TEMP, (int32_t)size - 1));
    emit_pext(e, H_TEMP, H_TEMP, STATE(OFF_HOT(page_select))); /* and the last one's */
    emit_lea(e, true, H_RCX, rm_index(H_RCX, H_TEMP, 1, 0));
    uint8_t *hit = emit_short(e, OP_JRCXZ);
    uint8_t *miss = emit_jmp_forward(e);
    emit_patch8(e, hit);
    return miss;
}

/* Elsewhere the TLB knows; a store makes its page the known one. */
static void check_stack(struct tr *t, unsigned va, unsigned size, enum tlb_kind tag, enum tlb_kind kind, bool group)
{
    struct emit *e = &t->hot, *cold = &t->cold;
    int32_t minus_page = OFF_HOT(stack[0].minus_page) + (int32_t)(sizeof(((struct jit_hot *)0)->stack[0]) * JM_MMU(t->mode));
    int32_t addend = minus_page + (int32_t)sizeof(uint64_t);
    uint8_t *miss = t->in->flags_in ? check_stack_without_flags(t, va, size, minus_page)
                                    : check_stack_with_flags(t, va, size, minus_page);

    emit_load(e, true, H_SLOT, STATE(addend));
    const uint8_t *hit = emit_rx(e);
    emit_patch32(e, miss, emit_rx(cold));
    check(t, cold, va, size, tag, kind, group);
    if (tag == TLB_WRITE) {
        emit_store(cold, true, H_SLOT, STATE(addend));
        emit_pext(cold, H_TEMP, va, STATE(OFF_HOT(page_select)));
        emit_pdep(cold, H_TEMP, H_TEMP, STATE(OFF_HOT(page_select)));
        emit_op(cold, true, 0xf7, 2, rm_reg(H_TEMP)); /* not */
        emit_lea(cold, true, H_TEMP, rm_mem(H_TEMP, 1));
        emit_store(cold, true, H_TEMP, STATE(minus_page));
    }
    emit_jmp(cold, hit);
}

static void check_place(struct tr *t, unsigned which, unsigned va, unsigned size, enum tlb_kind tag, enum tlb_kind kind,
                        bool group)
{
    if (which == 1)
        check_stack(t, va, size, tag, kind, group);
    else
        check(t, &t->hot, va, size, tag, kind, group);
}

/* A register that holds the address; H_ADDR if the caller wants it there. */
static unsigned address_in(struct tr *t, const struct tr_place *p, bool want_va)
{
    unsigned va = address(t, p, 0);

    if (!want_va || va == H_ADDR)
        return va;
    emit_load(&t->hot, true, H_ADDR, rm_reg(va));
    return H_ADDR;
}

static void load_addend(struct tr *t, const struct tr_access *a)
{
    if (t->slot_group == a->group)
        return; /* it is still there */
    t->slot_group = a->group;
    t->addend_store[a->group - 1] = NULL;
    emit_load(&t->hot, true, H_SLOT, STATE(OFF_HOT(addend[0]) + 8 * (a->group - 1)));
}

/* The operand of a member of a group. have: H_SLOT is the addend already. */
static struct rm member(struct tr *t, const struct tr_place *p, const struct tr_access *a, bool want_va, bool have)
{
    if (!want_va && p->base != REG_NONE && p->index == REG_NONE && !p->narrow && !p->seg &&
        jit_host_reg[p->base] != H_NONE) {
        if (!have)
            load_addend(t, a);
        return rm_index(jit_host_reg[p->base], H_SLOT, 1, (int32_t)p->disp);
    }
    unsigned va = address_in(t, p, want_va);
    if (!have || p->seg) /* the segment's base has been in H_SLOT */
        load_addend(t, a);
    return rm_index(va, H_SLOT, 1, 0);
}

void tr_linear(struct tr *t, const struct tr_place *p)
{
    address_in(t, p, true);
}

struct rm tr_check_linear(struct tr *t, unsigned size, enum tlb_kind kind)
{
    check(t, &t->hot, H_ADDR, size, kind, kind, false);
    return rm_index(H_ADDR, H_SLOT, 1, 0);
}

struct rm tr_memory(struct tr *t, const struct tr_place *p, unsigned which, unsigned size, enum tlb_kind kind,
                    bool want_va)
{
    const struct tr_access *a = &t->in->access[which];

    if (a->group && a->leader) {
        unsigned va = address(t, p, a->low);

        t->slot_group = 0;
        check_place(t, which, va, a->size, a->write ? TLB_WRITE : TLB_READ, kind, true);
        t->addend_store[a->group - 1] = t->hot.p;
        emit_store(&t->hot, true, H_SLOT, STATE(OFF_HOT(addend[0]) + 8 * (a->group - 1)));
        if (a->low == 0 && (va == H_ADDR || !want_va))
            return rm_index(va, H_SLOT, 1, 0);
        return member(t, p, a, want_va, true);
    }
    if (a->group)
        return member(t, p, a, want_va, false);
    t->slot_group = 0;
    unsigned va = address_in(t, p, want_va);
    check_place(t, which, va, size, kind, kind, false);
    return rm_index(va, H_SLOT, 1, 0);
}

void tr_drop_unread_addends(struct tr *t)
{
    static const uint8_t nop[8] = {0x0f, 0x1f, 0x84};

    for (unsigned n = 0; n < ARRAY_LEN(t->addend_store) && !t->hot.full; n++)
        if (t->addend_store[n])
            memcpy(t->addend_store[n], nop, sizeof(nop));
}

struct rm tr_collapse(struct tr *t, struct rm host)
{
    emit_lea(&t->hot, true, H_ADDR, host);
    return rm_mem(H_ADDR, 0);
}
