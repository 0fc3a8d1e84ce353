/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which accesses of a block share a TLB check: those whose addresses differ by constants, since they are made from the
 * same registers, moved by constants at most, and that fit into a few cache lines.
 *
 * The check covers all of them. When it fails though the leader's own bytes would not, as at the border of a page, the
 * interpreter executes the leader; when that happens often, the block is made again without groups. */
#include "vmm/cpu/jit/jit_priv.h"

#define GROUPS     ARRAY_LEN(((struct jit_hot *)0)->addend)
#define GROUP_SPAN 256

/* What a register's value is known by: unchanged but for the constant since it got its version. */
struct value {
    uint32_t version;
    int64_t plus;
};

struct group {
    struct tr_place place; /* disp: unused */
    uint32_t base_version;
    struct value index;
    int64_t low, high;     /* relative to the base's value without its constant */
    int64_t leader_at;     /* the leader's own */
    bool write;
    unsigned count;
    struct tr_access *leader;
};

struct finder {
    struct tr *t;
    struct value reg[16];
    uint32_t versions;
    struct group group[GROUPS];
    unsigned count;
};

static void forget(struct finder *f, unsigned reg)
{
    f->reg[reg] = (struct value){.version = ++f->versions};
}

static bool same(const struct finder *f, const struct group *g, const struct tr_place *p)
{
    return g->place.base == p->base && g->place.index == p->index && g->place.scale == p->scale &&
           g->place.seg == p->seg && g->place.narrow == p->narrow && g->place.moves == p->moves &&
           (p->base == REG_NONE || g->base_version == f->reg[p->base].version) &&
           (p->index == REG_NONE ||
            (g->index.version == f->reg[p->index].version && g->index.plus == f->reg[p->index].plus));
}

static void add(struct finder *f, struct tr_access *a, const struct tr_place *p, unsigned size, bool write)
{
    int64_t at = p->disp + (p->base != REG_NONE ? f->reg[p->base].plus : 0);

    for (unsigned n = 0; n < f->count; n++) {
        struct group *g = &f->group[n];
        int64_t low = MIN(g->low, at), high = MAX(g->high, at + (int64_t)size);

        if (!same(f, g, p) || (uint64_t)high - (uint64_t)low > GROUP_SPAN)
            continue;
        g->low = low;
        g->high = high;
        g->write |= write;
        g->count++;
        a->group = (uint8_t)(n + 1);
        return;
    }
    if (f->count == GROUPS)
        return;
    f->group[f->count++] = (struct group){
        .place = *p, .base_version = p->base != REG_NONE ? f->reg[p->base].version : 0,
        .index = p->index != REG_NONE ? f->reg[p->index] : (struct value){0},
        .low = at, .high = at + (int64_t)size, .leader_at = at, .write = write, .count = 1, .leader = a};
    a->group = (uint8_t)f->count;
    a->leader = true;
}

/* No access behind this point belongs to a group in front of it. */
static void close_all(struct finder *f)
{
    for (unsigned r = 0; r < 16; r++)
        forget(f, r);
    for (unsigned n = 0; n < f->count; n++)
        f->group[n].place.scale = 0; /* matches nothing */
}

static bool is_gpr(const ZydisDecodedOperand *o)
{
    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    ZydisRegisterClass k = ZydisRegisterGetClass(o->reg.value);
    return k == ZYDIS_REGCLASS_GPR8 || k == ZYDIS_REGCLASS_GPR16 || k == ZYDIS_REGCLASS_GPR32 ||
           k == ZYDIS_REGCLASS_GPR64;
}

static unsigned gpr_number(const ZydisDecodedOperand *o)
{
    unsigned id = (unsigned)ZydisRegisterGetId(o->reg.value);

    return o->reg.value >= ZYDIS_REGISTER_AH && o->reg.value <= ZYDIS_REGISTER_BH ? id - 4 : id & 15;
}

/* ADD, SUB, LEA, INC and DEC that move a register by a constant. */
static bool moves(const struct tr *t, const struct tr_insn *in, unsigned *reg, int64_t *by)
{
    const struct insn *i = &in->i;
    bool full = i->opsize == (t->code64 ? 8 : 4);

    if (!full || in->ops[0].type != ZYDIS_OPERAND_TYPE_REGISTER || !is_gpr(&in->ops[0]))
        return false;
    *reg = gpr_number(&in->ops[0]);
    switch (in->z.mnemonic) {
    case ZYDIS_MNEMONIC_INC: *by = 1; return true;
    case ZYDIS_MNEMONIC_DEC: *by = -1; return true;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        if (in->ops[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
            return false;
        *by = in->z.mnemonic == ZYDIS_MNEMONIC_ADD ? (int64_t)(int32_t)i->imm : -(int64_t)(int32_t)i->imm;
        return true;
    case ZYDIS_MNEMONIC_LEA:
        if (i->base != *reg || i->index != REG_NONE || i->addrsize != i->opsize)
            return false;
        *by = (int32_t)i->disp;
        return true;
    default: return false;
    }
}

static void registers(struct finder *f, const struct tr_insn *in)
{
    unsigned reg;
    int64_t by;

    if (moves(f->t, in, &reg, &by)) {
        f->reg[reg].plus += by;
        return;
    }
    for (unsigned n = 0; n < in->z.operand_count; n++)
        if (is_gpr(&in->ops[n]) && (in->ops[n].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            forget(f, gpr_number(&in->ops[n]));
}

static const ZydisDecodedOperand *memory_operand(const struct tr_insn *in)
{
    if (in->i.flags & INSN_MEM || in->i.exec == op_jmp || in->i.exec == op_call || in->z.mnemonic == ZYDIS_MNEMONIC_MOV)
        for (unsigned n = 0; n < in->z.operand_count_visible; n++)
            if (in->ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
                return &in->ops[n];
    return NULL;
}

static void stack(struct finder *f, struct tr_insn *in)
{
    const struct insn *i = &in->i;
    const struct tr *t = f->t;
    int32_t word = t->code64 ? 8 : 4;
    struct tr_place top = tr_stack_place(t, X86_RSP, 0), below = tr_stack_place(t, X86_RSP, -word);

    if (in->z.mnemonic == ZYDIS_MNEMONIC_PUSH || i->exec == op_call) {
        add(f, &in->access[1], &below, (unsigned)word, true);
        f->reg[X86_RSP].plus -= word;
    } else if (in->z.mnemonic == ZYDIS_MNEMONIC_POP) {
        add(f, &in->access[1], &top, (unsigned)word, false);
        f->reg[X86_RSP].plus += word;
        forget(f, i->rm);
    } else if (i->exec == op_ret) {
        add(f, &in->access[1], &top, (unsigned)word, false);
    } else if (i->exec == op_leave) {
        top.base = X86_RBP;
        add(f, &in->access[1], &top, (unsigned)word, false);
        forget(f, X86_RSP);
        forget(f, X86_RBP);
    } else if (in->z.mnemonic == ZYDIS_MNEMONIC_LOOP) {
        forget(f, X86_RCX);
    }
}

static void one(struct finder *f, struct tr_insn *in)
{
    enum tr_flow_kind flow = tr_flow_kind(f->t, in);
    const ZydisDecodedOperand *m = memory_operand(in);

    if (flow == FLOW_NONE && !tr_generic_ok(f->t, in)) {
        if (!tr_sys_ok(f->t, in) || in->i.exec == op_swapgs)
            close_all(f);
        else if (in->i.exec == op_pushf)
            f->reg[X86_RSP].plus -= f->t->code64 ? 8 : 4;
        else
            registers(f, in);
        return;
    }
    if (m && in->z.mnemonic != ZYDIS_MNEMONIC_LEA && in->i.exec != op_nop) {
        struct tr_place p = tr_operand_place(in);
        add(f, &in->access[0], &p, m->size / 8, m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
    }
    if (flow != FLOW_NONE)
        stack(f, in);
    else
        registers(f, in);
}

static void settle(struct finder *f)
{
    for (unsigned n = 0; n < f->count; n++) {
        struct group *g = &f->group[n];

        if (g->count == 1)
            g->leader->group = 0;
        g->leader->low = (int32_t)(g->low - g->leader_at);
        g->leader->size = (uint32_t)(g->high - g->low);
        g->leader->write = g->write;
    }
}

void tr_find_groups(struct tr *t)
{
    struct finder f = {.t = t};

    for (unsigned n = 0; n < t->count; n++)
        memset(t->j->insns[n].access, 0, sizeof(t->j->insns[n].access));
    if (t->block->alone)
        return;
    for (unsigned r = 0; r < 16; r++)
        forget(&f, r);
    for (unsigned n = 0; n < t->count; n++)
        one(&f, &t->j->insns[n]);
    settle(&f);
}
