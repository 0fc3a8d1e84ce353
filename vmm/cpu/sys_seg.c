/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions on segment registers, selectors and descriptor tables. Source: SDM vol. 2 under each
 * mnemonic; UMIP: vol. 3A 2.5. */
#include "vmm/cpu/seg.h"
#include "vmm/cpu/sys.h"
#include "vmm/cpu/sysutil.h"

static void mov_ss_shadow(struct cpu *c)
{
    c->s.mov_ss_shadow = 1;
    c->end_block = true;
}

/* ---- MOV, PUSH, POP, Lxx ---- */

void op_mov_from_sreg(struct cpu *c, const struct insn *i)
{
    unsigned seg = i->reg & 7;

    if (seg > X86_GS)
        cpu_ud(c);
    /* memory takes 16 bits whatever the operand size; a register is zero-extended */
    rm_set(c, i, c->s.seg[seg].sel, i->flags & INSN_MEM ? 2 : i->opsize);
}

void op_mov_to_sreg(struct cpu *c, const struct insn *i)
{
    unsigned seg = i->reg & 7;
    struct x86_seg s;

    if (seg == X86_CS || seg > X86_GS)
        cpu_ud(c);
    seg_check_load(c, seg, (uint16_t)rm_get(c, i, 2), &s);
    seg_commit(c, seg, &s);
    if (seg == X86_SS)
        mov_ss_shadow(c);
}

void op_push_sreg(struct cpu *c, const struct insn *i)
{
    struct stack st;
    uint16_t sel = c->s.seg[i->reg & 7].sel;
    unsigned width = i->opsize;

    /* with 32 bits Intel writes the lower word only, but moves the pointer by four and looks at the limit for them */
    stack_current(c, &st, 0);
    if (width == 4) {
        seg_linear(c, X86_SS, (st.sp - 4) & st.mask, 4, true);
        st.sp -= 2;
        width = 2;
        stack_push(c, &st, sel, 2);
    } else {
        stack_push(c, &st, sel, width);
    }
    stack_write(c, &st);
    stack_set_rsp(c, &st);
}

void op_pop_sreg(struct cpu *c, const struct insn *i)
{
    unsigned seg = i->reg & 7;
    struct stack st;
    struct x86_seg s;

    stack_current(c, &st, 0);
    uint16_t sel = (uint16_t)stack_pop(c, &st, 2);
    st.sp += i->opsize - 2u;
    seg_check_load(c, seg, sel, &s);
    stack_set_rsp(c, &st); /* as wide as the old SS says */
    seg_commit(c, seg, &s);
    if (seg == X86_SS)
        mov_ss_shadow(c);
}

static void load_far_pointer(struct cpu *c, const struct insn *i, unsigned seg)
{
    uint64_t at = insn_linear(c, i, i->opsize + 2u, false);
    struct x86_seg s;
    uint8_t raw[10];

    mem_ld_bytes(c, at, raw, i->opsize + 2u);
    seg_check_load(c, seg, ld_le16(raw + i->opsize), &s);
    seg_commit(c, seg, &s);
    reg_set(c, i->reg, ld_le(raw, i->opsize), i->opsize);
}

void op_lds(struct cpu *c, const struct insn *i) { load_far_pointer(c, i, X86_DS); }
void op_les(struct cpu *c, const struct insn *i) { load_far_pointer(c, i, X86_ES); }
void op_lfs(struct cpu *c, const struct insn *i) { load_far_pointer(c, i, X86_FS); }
void op_lgs(struct cpu *c, const struct insn *i) { load_far_pointer(c, i, X86_GS); }
void op_lss(struct cpu *c, const struct insn *i) { load_far_pointer(c, i, X86_SS); }

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */

static void need_protected(struct cpu *c)
{
    if (!(c->mode & MODE_PE))
        cpu_ud(c);
}

static void set_zf(struct cpu *c, bool on)
{
    cpu_set_status_flags(c, (uint32_t)(cpu_flags(c) & (X86_STATUS_FLAGS & ~X86_ZF)) |
                                (on ? X86_ZF : 0));
}

#define T(n)       (1u << (n))
/* System descriptors that LAR and LSL accept, outside and inside long mode. */
static const uint16_t lar_types[] = {
    T(SYS_TSS16) | T(SYS_LDT) | T(SYS_TSS16_BUSY) | T(SYS_CALL16) | T(SYS_TASK) | T(SYS_TSS32) |
        T(SYS_TSS32_BUSY) | T(SYS_CALL32),
    T(SYS_LDT) | T(SYS_TSS32) | T(SYS_TSS32_BUSY) | T(SYS_CALL32),
};
static const uint16_t lsl_types[] = {
    T(SYS_TSS16) | T(SYS_LDT) | T(SYS_TSS16_BUSY) | T(SYS_TSS32) | T(SYS_TSS32_BUSY),
    T(SYS_LDT) | T(SYS_TSS32) | T(SYS_TSS32_BUSY),
};

/* Whether the selector names a descriptor that is visible at CPL and RPL. */
static bool visible(struct cpu *c, uint16_t sel, const uint16_t *sys_types, struct desc *d)
{
    if (SEL_IS_NULL(sel) || !desc_fetch_wide(c, sel, d))
        return false;
    if (!(d->attr & SEG_S) && !(sys_types[c->long_mode] >> SEG_TYPE(d->attr) & 1))
        return false;
    if (desc_is_code(d) && desc_is_conforming(d))
        return true;
    return SEG_DPL(d->attr) >= MAX(c->cpl, SEL_RPL(sel));
}

void op_lar(struct cpu *c, const struct insn *i)
{
    struct desc d;

    need_protected(c);
    bool ok = visible(c, (uint16_t)rm_get(c, i, 2), lar_types, &d);
    if (ok)
        reg_set(c, i->reg, d.raw >> 32 & (i->opsize == 2 ? 0xff00 : 0x00f0ff00), i->opsize);
    set_zf(c, ok);
}

void op_lsl(struct cpu *c, const struct insn *i)
{
    struct desc d;

    need_protected(c);
    bool ok = visible(c, (uint16_t)rm_get(c, i, 2), lsl_types, &d);
    if (ok)
        reg_set(c, i->reg, desc_limit(d.raw), i->opsize);
    set_zf(c, ok);
}

static void verify(struct cpu *c, const struct insn *i, bool write)
{
    static const uint16_t none[2];
    struct desc d;

    need_protected(c);
    bool ok = visible(c, (uint16_t)rm_get(c, i, 2), none, &d);
    if (ok && desc_is_code(&d))
        ok = !write && (d.attr & SEGT_READ);
    else if (ok)
        ok = !write || (d.attr & SEGT_WRITE);
    set_zf(c, ok);
}

void op_verr(struct cpu *c, const struct insn *i) { verify(c, i, false); }
void op_verw(struct cpu *c, const struct insn *i) { verify(c, i, true); }

void op_arpl(struct cpu *c, const struct insn *i)
{
    need_protected(c);
    uint64_t at = i->flags & INSN_MEM ? insn_linear(c, i, 2, true) : 0;
    if (i->flags & INSN_MEM)
        mem_probe_write(c, at, 2);
    uint16_t dst = (uint16_t)(i->flags & INSN_MEM ? mem_ld(c, at, 2) : reg_get(c, i->rm, 2));
    unsigned rpl = SEL_RPL(reg_get(c, i->reg, 2));
    bool raise_rpl = SEL_RPL(dst) < rpl;

    if (raise_rpl) {
        dst = (uint16_t)((dst & ~3u) | rpl);
        if (i->flags & INSN_MEM)
            mem_st(c, at, dst, 2);
        else
            reg_set(c, i->rm, dst, 2);
    }
    set_zf(c, raise_rpl);
}

/* ---- descriptor table registers ---- */

static void need_umip(struct cpu *c)
{
    if ((c->s.cr4 & CR4_UMIP) && c->cpl && (c->mode & (MODE_PE | MODE_VM86)))
        cpu_gp(c, 0);
}

static void load_table(struct cpu *c, const struct insn *i, struct x86_dtable *t)
{
    unsigned width = c->mode & MODE_CODE64 ? 8 : 4;
    uint8_t raw[10];

    need_cpl0(c);
    mem_ld_bytes(c, insn_linear(c, i, width + 2, false), raw, width + 2);
    uint64_t base = ld_le(raw + 2, width);
    if (width == 4 && i->opsize == 2)
        base &= 0xffffff;
    if (width == 8 && !cpu_canonical(c, base))
        cpu_gp(c, 0);
    t->base = base;
    t->limit = ld_le16(raw);
}

static void store_table(struct cpu *c, const struct insn *i, const struct x86_dtable *t)
{
    unsigned width = c->mode & MODE_CODE64 ? 8 : 4;
    uint8_t raw[10];

    need_umip(c);
    st_le16(raw, t->limit);
    st_le(raw + 2, t->base, width);
    mem_st_bytes(c, insn_linear(c, i, width + 2, true), raw, width + 2);
}

void op_lgdt(struct cpu *c, const struct insn *i) { load_table(c, i, &c->s.gdt); }
void op_lidt(struct cpu *c, const struct insn *i) { load_table(c, i, &c->s.idt); }
void op_sgdt(struct cpu *c, const struct insn *i) { store_table(c, i, &c->s.gdt); }
void op_sidt(struct cpu *c, const struct insn *i) { store_table(c, i, &c->s.idt); }

static uint64_t system_base(struct cpu *c, const struct desc *d)
{
    uint64_t base = desc_base32(d->raw) | d->high << 32;

    if (c->long_mode && ((d->high >> 32 & 0x1f00) || !cpu_canonical(c, base)))
        cpu_gp(c, d->sel & 0xfffcu);
    return base;
}

void op_lldt(struct cpu *c, const struct insn *i)
{
    struct desc d;

    need_protected(c);
    need_cpl0(c);
    uint16_t sel = (uint16_t)rm_get(c, i, 2);
    if (SEL_IS_NULL(sel)) {
        c->s.ldt = seg_null(sel, 0);
        return;
    }
    if ((sel & SEL_TI) || !desc_fetch_wide(c, sel, &d) || (d.attr & (SEG_S | 15)) != SYS_LDT)
        cpu_gp(c, sel & 0xfffcu);
    if (!(d.attr & SEG_P))
        cpu_raise_err(c, X86_NP, sel & 0xfffcu);
    c->s.ldt = (struct x86_seg){.base = system_base(c, &d), .limit = desc_limit(d.raw), .sel = sel,
                                .attr = d.attr};
}

void op_ltr(struct cpu *c, const struct insn *i)
{
    struct desc d;

    need_protected(c);
    need_cpl0(c);
    uint16_t sel = (uint16_t)rm_get(c, i, 2);
    if (SEL_IS_NULL(sel))
        cpu_gp(c, 0);
    if ((sel & SEL_TI) || !desc_fetch_wide(c, sel, &d))
        cpu_gp(c, sel & 0xfffcu);
    unsigned type = d.attr & (SEG_S | 15);
    if (type != SYS_TSS32 && (type != SYS_TSS16 || c->long_mode))
        cpu_gp(c, sel & 0xfffcu);
    if (!(d.attr & SEG_P))
        cpu_raise_err(c, X86_NP, sel & 0xfffcu);
    uint64_t base = system_base(c, &d);
    desc_set_access(c, &d, 2, 0); /* busy */
    c->s.tr = (struct x86_seg){.base = base, .limit = desc_limit(d.raw), .sel = sel,
                               .attr = d.attr};
}

static void store_selector(struct cpu *c, const struct insn *i, uint16_t sel)
{
    need_protected(c);
    need_umip(c);
    rm_set(c, i, sel, i->flags & INSN_MEM ? 2 : i->opsize);
}

void op_sldt(struct cpu *c, const struct insn *i) { store_selector(c, i, c->s.ldt.sel); }
void op_str(struct cpu *c, const struct insn *i) { store_selector(c, i, c->s.tr.sel); }
