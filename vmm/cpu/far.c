/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Far JMP, CALL and RET: direct, through call gates with and without change of privilege, and into
 * tasks. Source: SDM vol. 2 "JMP", "CALL", "RET"; vol. 3A 5.8. */
#include "vmm/cpu/seg.h"
#include "vmm/cpu/sys.h"
#include "vmm/cpu/sysutil.h"

struct far_ptr {
    uint64_t offset;
    uint16_t sel;
};

static struct far_ptr far_operand(struct cpu *c, const struct insn *i)
{
    if (i->flags & INSN_MEM) {
        uint64_t offset = insn_offset(c, i);
        /* one check for the whole pointer, then two loads that cannot be split by a fault */
        uint64_t at = seg_linear_fast(c, i->seg, offset, i->opsize + 2u, false);
        uint8_t raw[10];

        mem_ld_bytes(c, at, raw, i->opsize + 2u);
        return (struct far_ptr){.offset = ld_le(raw, i->opsize), .sel = ld_le16(raw + i->opsize)};
    }
    return (struct far_ptr){.offset = i->imm & mask_bytes(i->opsize), .sel = (uint16_t)i->aux};
}

static uint64_t next_rip(const struct cpu *c, const struct insn *i)
{
    uint64_t rip = c->s.rip + i->len;

    return c->mode & MODE_CODE64 ? rip : c->mode & MODE_CODE32 ? (uint32_t)rip : (uint16_t)rip;
}

/* Real and virtual-8086 mode. */
static void far_real(struct cpu *c, const struct insn *i, struct far_ptr p, bool call)
{
    struct x86_seg cs = seg_real(c, X86_CS, p.sel);
    struct stack st;

    seg_check_rip(c, &cs, p.offset, 0);
    if (call) {
        stack_current(c, &st, 0);
        stack_push(c, &st, c->s.seg[X86_CS].sel, i->opsize);
        stack_push(c, &st, next_rip(c, i), i->opsize);
        stack_write(c, &st);
        stack_set_rsp(c, &st);
    }
    seg_commit_cs(c, &cs, c->cpl, p.offset);
}

static _Noreturn void gp_sel(struct cpu *c, uint16_t sel)
{
    cpu_gp(c, sel & 0xfffcu);
}

/* In long mode L and D may not both be set. */
static void check_code_bits(struct cpu *c, const struct desc *d)
{
    if (c->long_mode && (d->attr & SEG_L) && (d->attr & SEG_DB))
        gp_sel(c, d->sel);
}

/* A far transfer to a code segment without a gate. */
static void far_direct(struct cpu *c, const struct insn *i, struct far_ptr p, struct desc *d, bool call)
{
    struct stack st;

    if (desc_is_conforming(d) ? SEG_DPL(d->attr) > c->cpl
                              : SEL_RPL(p.sel) > c->cpl || SEG_DPL(d->attr) != c->cpl)
        gp_sel(c, p.sel);
    check_code_bits(c, d);
    if (!(d->attr & SEG_P))
        cpu_raise_err(c, X86_NP, p.sel & 0xfffcu);
    struct x86_seg cs = desc_seg(c, d, (uint16_t)((p.sel & ~3u) | c->cpl));
    if (call) {
        stack_current(c, &st, 0);
        stack_push(c, &st, c->s.seg[X86_CS].sel, i->opsize);
        stack_push(c, &st, next_rip(c, i), i->opsize);
    }
    seg_check_rip(c, &cs, p.offset, 0);
    if (call) {
        stack_write(c, &st);
        stack_set_rsp(c, &st);
    }
    seg_commit_cs(c, &cs, c->cpl, p.offset);
}

/* A call gate, decoded and with its code segment checked. */
struct gate {
    unsigned width; /* bytes of each push */
    unsigned params;
    uint64_t offset;
    struct desc code;
};

static void gate_check(struct cpu *c, const struct desc *d, bool call, struct gate *g)
{
    uint16_t sel = d->raw >> 16 & 0xffff;
    bool inner_ok;

    if (SEG_DPL(d->attr) < MAX(c->cpl, SEL_RPL(d->sel)))
        gp_sel(c, d->sel);
    if (!(d->attr & SEG_P))
        cpu_raise_err(c, X86_NP, d->sel & 0xfffcu);
    if (c->long_mode && (d->high >> 32 & 0x1f00))
        gp_sel(c, d->sel);
    if (SEL_IS_NULL(sel))
        cpu_gp(c, 0);
    if (!desc_fetch(c, sel, &g->code) || !desc_is_code(&g->code))
        gp_sel(c, sel);
    inner_ok = call || desc_is_conforming(&g->code);
    if (inner_ok ? SEG_DPL(g->code.attr) > c->cpl : SEG_DPL(g->code.attr) != c->cpl)
        gp_sel(c, sel);
    if (c->long_mode && (g->code.attr & (SEG_L | SEG_DB)) != SEG_L)
        gp_sel(c, sel);
    if (!(g->code.attr & SEG_P))
        cpu_raise_err(c, X86_NP, sel & 0xfffcu);

    g->offset = (d->raw & 0xffff) | (d->raw >> 32 & 0xffff0000);
    g->width = 4;
    g->params = d->raw >> 32 & 31;
    if (c->long_mode) {
        g->width = 8;
        g->params = 0;
        g->offset |= d->high << 32;
    } else if (SEG_TYPE(d->attr) == SYS_CALL16) {
        g->width = 2;
        g->offset &= 0xffff;
    }
}

/* CALL through a gate to more privilege: new stack, old stack pointer and parameters copied to it. */
static void call_inner(struct cpu *c, const struct insn *i, struct gate *g)
{
    unsigned dpl = SEG_DPL(g->code.attr);
    const struct x86_seg *old_ss = &c->s.seg[X86_SS];
    struct stack from, to;
    struct x86_seg ss;
    uint64_t sp;
    uint16_t sel;

    if (c->long_mode) {
        sp = tss_long_stack(c, dpl, 0, 0);
        ss = seg_null((uint16_t)dpl, dpl);
    } else {
        tss_inner_stack(c, dpl, 0, &sel, &sp);
        tss_check_ss(c, sel, dpl, 0, &ss);
    }
    stack_other(c, &to, &ss, sp, c->long_mode, (uint8_t)dpl, ss.sel & 0xfffcu);
    stack_push(c, &to, old_ss->sel, g->width);
    stack_push(c, &to, c->s.gpr[X86_RSP], g->width);
    stack_current(c, &from, 0);
    uint64_t top = from.sp;
    for (unsigned n = g->params; n-- > 0;) {
        from.sp = top + n * g->width;
        stack_push(c, &to, stack_pop(c, &from, g->width), g->width);
    }
    stack_push(c, &to, c->s.seg[X86_CS].sel, g->width);
    stack_push(c, &to, next_rip(c, i), g->width);

    struct x86_seg cs = desc_seg(c, &g->code, (uint16_t)((g->code.sel & ~3u) | dpl));
    seg_check_rip(c, &cs, g->offset, 0);
    stack_write(c, &to);
    c->s.seg[X86_SS] = ss;
    stack_set_rsp(c, &to);
    seg_commit_cs(c, &cs, (uint8_t)dpl, g->offset);
}

static void far_gate(struct cpu *c, const struct insn *i, const struct desc *d, bool call)
{
    struct stack st;
    struct gate g;

    gate_check(c, d, call, &g);
    if (call && !desc_is_conforming(&g.code) && SEG_DPL(g.code.attr) < c->cpl) {
        call_inner(c, i, &g);
        return;
    }
    struct x86_seg cs = desc_seg(c, &g.code, (uint16_t)((g.code.sel & ~3u) | c->cpl));
    if (call) {
        /* a 64-bit gate called from compatibility mode pushes on the stack as 64-bit code does */
        stack_other(c, &st, &c->s.seg[X86_SS], c->s.gpr[X86_RSP], c->long_mode, c->cpl, 0);
        stack_push(c, &st, c->s.seg[X86_CS].sel, g.width);
        stack_push(c, &st, next_rip(c, i), g.width);
    }
    seg_check_rip(c, &cs, g.offset, 0);
    if (call) {
        stack_write(c, &st);
        stack_set_rsp(c, &st);
    }
    seg_commit_cs(c, &cs, c->cpl, g.offset);
}

static void far_transfer(struct cpu *c, const struct insn *i, bool call)
{
    struct far_ptr p = far_operand(c, i);
    struct desc d;

    if (!(c->mode & MODE_PE)) {
        far_real(c, i, p, call);
        return;
    }
    if (SEL_IS_NULL(p.sel))
        cpu_gp(c, 0);
    if (!desc_fetch_wide(c, p.sel, &d))
        gp_sel(c, p.sel);
    if (desc_is_code(&d)) {
        far_direct(c, i, p, &d, call);
        return;
    }
    if (d.attr & SEG_S)
        gp_sel(c, p.sel);

    unsigned type = SEG_TYPE(d.attr);
    enum task_cause cause = call ? TASK_CALL : TASK_JMP;
    if (type == SYS_CALL32 || (type == SYS_CALL16 && !c->long_mode)) {
        far_gate(c, i, &d, call);
        return;
    }
    if (c->long_mode || (type != SYS_TASK && type != SYS_TSS16 && type != SYS_TSS32) ||
        SEG_DPL(d.attr) < MAX(c->cpl, SEL_RPL(p.sel)))
        gp_sel(c, p.sel);
    if (!(d.attr & SEG_P))
        cpu_raise_err(c, X86_NP, p.sel & 0xfffcu);
    if (type == SYS_TASK)
        task_gate(c, &d, cause, next_rip(c, i), 0, false, 0);
    else
        task_switch(c, p.sel, cause, next_rip(c, i), 0, false, 0);
}

void op_call_far(struct cpu *c, const struct insn *i)
{
    far_transfer(c, i, true);
}

void op_jmp_far(struct cpu *c, const struct insn *i)
{
    far_transfer(c, i, false);
}

/* ---- RET ---- */

void ret_check_cs(struct cpu *c, uint16_t sel, struct desc *d)
{
    unsigned rpl = SEL_RPL(sel);

    if (SEL_IS_NULL(sel))
        cpu_gp(c, 0);
    if (!desc_fetch(c, sel, d) || !desc_is_code(d) || rpl < c->cpl)
        gp_sel(c, sel);
    if (desc_is_conforming(d) ? SEG_DPL(d->attr) > rpl : SEG_DPL(d->attr) != rpl)
        gp_sel(c, sel);
    check_code_bits(c, d);
    if (!(d->attr & SEG_P))
        cpu_raise_err(c, X86_NP, sel & 0xfffcu);
}

void op_ret_far(struct cpu *c, const struct insn *i)
{
    unsigned release = (uint16_t)i->imm;
    struct stack st, outer;
    struct desc d;

    stack_current(c, &st, 0);
    uint64_t rip = stack_pop(c, &st, i->opsize);
    uint16_t sel = (uint16_t)stack_pop(c, &st, i->opsize);

    if (!(c->mode & MODE_PE)) {
        struct x86_seg cs = seg_real(c, X86_CS, sel);

        seg_check_rip(c, &cs, rip, 0);
        st.sp += release;
        stack_set_rsp(c, &st);
        seg_commit_cs(c, &cs, c->cpl, rip);
        return;
    }
    ret_check_cs(c, sel, &d);
    unsigned rpl = SEL_RPL(sel);
    st.sp += release;
    if (rpl == c->cpl) {
        struct x86_seg cs = desc_seg(c, &d, sel);

        seg_check_rip(c, &cs, rip, 0);
        stack_set_rsp(c, &st);
        seg_commit_cs(c, &cs, c->cpl, rip);
        return;
    }
    uint64_t rsp = stack_pop(c, &st, i->opsize);
    uint16_t ss_sel = (uint16_t)stack_pop(c, &st, i->opsize);
    struct seg_rule r = {.cpl = (uint8_t)rpl, .code64 = c->long_mode && (d.attr & SEG_L),
                         .vector = X86_GP};
    struct x86_seg ss;
    seg_check_data(c, X86_SS, ss_sel, &r, &ss);
    struct x86_seg cs = desc_seg(c, &d, sel);
    seg_check_rip(c, &cs, rip, 0);

    c->s.seg[X86_SS] = ss;
    stack_other(c, &outer, &ss, rsp + release, r.code64, (uint8_t)rpl, 0);
    stack_set_rsp(c, &outer);
    seg_commit_cs(c, &cs, (uint8_t)rpl, rip);
    seg_drop_privileged(c);
}
