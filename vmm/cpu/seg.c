/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segmentation: descriptor tables, checks of loads, limits and types of accesses, and stacks.
 *
 * Source: SDM vol. 3A ch. 3 and 5, vol. 2 "MOV", "POP", "LDS". The CPL lives in DPL of the hidden SS,
 * as VMX defines it: it is right in real mode (0), in virtual-8086 mode (3), between MOV CR0 and the
 * far jump that follows it, and for the null SS of 64-bit supervisors. */
#include "vmm/cpu/seg.h"

/* ---- descriptors ---- */

uint32_t desc_base32(uint64_t raw)
{
    return (uint32_t)(raw >> 16 & 0xffffff) | ((uint32_t)(raw >> 32) & 0xff000000);
}

uint32_t desc_limit(uint64_t raw)
{
    uint32_t limit = (uint32_t)(raw & 0xffff) | ((uint32_t)(raw >> 32) & 0xf0000);

    return raw & BIT64(55) ? limit << 12 | 0xfff : limit;
}

static bool fetch(struct cpu *c, uint16_t sel, unsigned size, struct desc *d)
{
    const struct x86_seg *ldt = &c->s.ldt;
    uint64_t base = c->s.gdt.base;
    uint32_t limit = c->s.gdt.limit;

    if (sel & SEL_TI) {
        if (!(ldt->attr & SEG_P) || (ldt->attr & SEG_UNUSABLE))
            return false;
        base = ldt->base;
        limit = ldt->limit;
    }
    if ((sel & 0xfff8u) + size - 1 > limit)
        return false;
    d->addr = base + (sel & 0xfff8u);
    if (!c->long_mode)
        d->addr = (uint32_t)d->addr;
    d->sel = sel;
    d->raw = mem_ld_sys(c, d->addr, 8);
    d->high = 0;
    d->attr = d->raw >> 40 & 0xf0ff;
    return true;
}

bool desc_fetch(struct cpu *c, uint16_t sel, struct desc *d)
{
    return fetch(c, sel, 8, d);
}

bool desc_fetch_wide(struct cpu *c, uint16_t sel, struct desc *d)
{
    if (!fetch(c, sel, 8, d))
        return false;
    if (!c->long_mode || (d->attr & SEG_S))
        return true;
    if (!fetch(c, sel, 16, d))
        return false;
    d->high = mem_ld_sys(c, d->addr + 8, 8);
    return true;
}

void desc_set_access(struct cpu *c, struct desc *d, uint8_t set, uint8_t clear)
{
    uint64_t at = d->addr + 5;
    uint8_t mmu = c->mmu;

    if ((d->attr & set) == set && !(d->attr & clear))
        return;
    c->mmu = MMU_KERNEL; /* implicit supervisor access, SDM vol. 3A 4.6; cpu_raise puts mmu back */
    uint8_t *p = mem_rmw(c, at, 1);
    if (p) {
        __atomic_or_fetch(p, set, __ATOMIC_SEQ_CST);
        if (clear)
            __atomic_and_fetch(p, (uint8_t)~clear, __ATOMIC_SEQ_CST);
        mem_rmw_done(c, at, 1);
    } else {
        mem_st_sys(c, at, (mem_ld_sys(c, at, 1) | set) & ~(uint64_t)clear, 1);
    }
    c->mmu = mmu;
    d->attr = (uint16_t)((d->attr | set) & ~clear);
}

struct x86_seg desc_seg(struct cpu *c, struct desc *d, uint16_t sel)
{
    desc_set_access(c, d, SEGT_ACCESSED, 0);
    return (struct x86_seg){.base = desc_base32(d->raw), .limit = desc_limit(d->raw), .sel = sel,
                            .attr = d->attr};
}

/* ---- loads ---- */

struct x86_seg seg_null(uint16_t sel, unsigned dpl)
{
    return (struct x86_seg){.sel = sel, .attr = (uint16_t)(SEG_UNUSABLE | dpl << 5)};
}

static void check_ss(struct cpu *c, uint16_t sel, const struct seg_rule *r, struct x86_seg *out)
{
    uint32_t error = (sel & 0xfffcu) | r->ext;
    struct desc d;

    if (SEL_IS_NULL(sel)) {
        if (r->code64 && r->cpl != 3 && SEL_RPL(sel) == r->cpl) {
            *out = seg_null(sel, r->cpl);
            return;
        }
        cpu_raise_err(c, r->vector, r->ext);
    }
    if (!desc_fetch(c, sel, &d) || SEL_RPL(sel) != r->cpl || SEG_DPL(d.attr) != r->cpl ||
        (d.attr & (SEG_S | SEGT_CODE | SEGT_WRITE)) != (SEG_S | SEGT_WRITE))
        cpu_raise_err(c, r->vector, error);
    if (!(d.attr & SEG_P))
        cpu_raise_err(c, X86_SS_FAULT, error);
    *out = desc_seg(c, &d, sel);
}

void seg_check_data(struct cpu *c, unsigned seg, uint16_t sel, const struct seg_rule *r,
                    struct x86_seg *out)
{
    uint32_t error = (sel & 0xfffcu) | r->ext;
    struct desc d;

    if (seg == X86_SS) {
        check_ss(c, sel, r, out);
        return;
    }
    if (SEL_IS_NULL(sel)) {
        *out = seg_null(sel, 0);
        return;
    }
    if (!desc_fetch(c, sel, &d) || !(d.attr & SEG_S))
        cpu_raise_err(c, r->vector, error);
    if (desc_is_code(&d) && !(d.attr & SEGT_READ))
        cpu_raise_err(c, r->vector, error);
    if (!(desc_is_code(&d) && desc_is_conforming(&d)) &&
        MAX(SEL_RPL(sel), r->cpl) > SEG_DPL(d.attr))
        cpu_raise_err(c, r->vector, error);
    if (!(d.attr & SEG_P))
        cpu_raise_err(c, X86_NP, error);
    *out = desc_seg(c, &d, sel);
}

/* Real mode keeps limit and D/B of the hidden part ("big real mode"); virtual-8086 mode does not. */
struct x86_seg seg_real(struct cpu *c, unsigned seg, uint16_t sel)
{
    const struct x86_seg *old = &c->s.seg[seg];
    struct x86_seg s = {.base = (uint64_t)sel << 4, .sel = sel};

    if (c->mode & MODE_VM86) {
        s.limit = 0xffff;
        s.attr = SEG_S | SEG_P | 3u << 5 | SEGT_WRITE | SEGT_ACCESSED;
    } else {
        s.limit = old->attr & SEG_UNUSABLE ? 0xffff : old->limit;
        s.attr = (old->attr & (SEG_DB | SEG_G)) | SEG_S | SEG_P | SEGT_WRITE | SEGT_ACCESSED;
        if (seg == X86_CS)
            s.attr |= SEGT_CODE;
    }
    return s;
}

void seg_check_load(struct cpu *c, unsigned seg, uint16_t sel, struct x86_seg *out)
{
    struct seg_rule r = {.cpl = c->cpl, .code64 = c->mode & MODE_CODE64, .vector = X86_GP};

    if (c->mode & MODE_PE)
        seg_check_data(c, seg, sel, &r, out);
    else
        *out = seg_real(c, seg, sel);
}

void seg_commit(struct cpu *c, unsigned seg, const struct x86_seg *s)
{
    c->s.seg[seg] = *s;
    if (seg == X86_SS)
        cpu_mode_changed(c);
}

void seg_commit_cs(struct cpu *c, const struct x86_seg *cs, uint8_t cpl, uint64_t rip)
{
    c->s.seg[X86_CS] = *cs;
    c->cpl = cpl;
    c->s.seg[X86_SS].attr = (uint16_t)((c->s.seg[X86_SS].attr & ~0x60u) | cpl << 5);
    c->s.rip = rip;
    c->branched = true;
    c->end_block = true;
    cpu_mode_changed(c);
}

void seg_check_rip(struct cpu *c, const struct x86_seg *cs, uint64_t rip, uint8_t ext)
{
    bool code64 = c->long_mode && (cs->attr & SEG_L);

    if (code64 ? !cpu_canonical(c, rip) : rip > cs->limit)
        cpu_gp(c, ext);
}

void seg_drop_privileged(struct cpu *c)
{
    static const uint8_t data[] = {X86_ES, X86_DS, X86_FS, X86_GS};

    for (unsigned n = 0; n < ARRAY_LEN(data); n++) {
        struct x86_seg *s = &c->s.seg[data[n]];
        bool conforming = (s->attr & (SEGT_CODE | SEGT_CONFORM)) == (SEGT_CODE | SEGT_CONFORM);

        /* a null FS or GS keeps the base that WRMSR gave it */
        if (!(s->attr & SEG_UNUSABLE) && !conforming && SEG_DPL(s->attr) < c->cpl)
            *s = seg_null(0, 0);
    }
}

/* ---- accesses ---- */

void seg_fault(struct cpu *c, unsigned seg)
{
    cpu_raise_err(c, seg == X86_SS ? X86_SS_FAULT : X86_GP, 0);
}

static bool limit_permits(const struct x86_seg *s, uint64_t offset, unsigned size)
{
    uint64_t last = offset + size - 1;

    if ((s->attr & (SEGT_CODE | SEGT_DOWN)) == SEGT_DOWN)
        return offset > s->limit && last <= (s->attr & SEG_DB ? 0xffffffffu : 0xffffu);
    return last <= s->limit;
}

bool seg_permits(const struct x86_seg *s, uint64_t offset, unsigned size, bool write)
{
    if ((s->attr & SEG_UNUSABLE) || !(s->attr & SEG_P))
        return false;
    if (s->attr & SEGT_CODE) {
        if (write || !(s->attr & SEGT_READ))
            return false;
    } else if (write && !(s->attr & SEGT_WRITE)) {
        return false;
    }
    return limit_permits(s, offset, size);
}

/* What an access of that many bytes is held to, as processors do: vectors by 16 bytes, 80-bit numbers by 8. */
static unsigned alignment(unsigned size)
{
    switch (size) {
    case 2:
    case 4:
    case 8:
    case 16: return size;
    case 10: return 8;
    case 32: return 16;
    default: return 1;
    }
}

uint64_t seg_linear_slow(struct cpu *c, unsigned seg, uint64_t offset, unsigned size, bool write)
{
    const struct x86_seg *s = &c->s.seg[seg];
    uint64_t linear;

    if (c->mode & MODE_CODE64) {
        linear = offset + (seg >= X86_FS ? s->base : 0);
        if (!cpu_canonical(c, linear) || !cpu_canonical(c, linear + size - 1))
            seg_fault(c, seg);
    } else {
        /* real mode: CS may be written, only the limit counts */
        if (c->mode & MODE_PE ? !seg_permits(s, offset, size, write)
                              : !limit_permits(s, offset, size))
            seg_fault(c, seg);
        linear = (uint32_t)(s->base + offset);
    }
    if (c->align_check && (linear & (alignment(size) - 1)))
        cpu_raise_err(c, X86_AC_FAULT, 0);
    return linear;
}

uint64_t seg_linear(struct cpu *c, unsigned seg, uint64_t offset, unsigned size, bool write)
{
    return seg_linear_fast(c, seg, offset, size, write);
}

uint64_t insn_offset(struct cpu *c, const struct insn *i)
{
    return insn_offset_fast(c, i);
}

uint64_t insn_linear(struct cpu *c, const struct insn *i, unsigned size, bool write)
{
    return seg_linear_fast(c, i->seg, insn_offset_fast(c, i), size, write);
}

/* ---- stacks ---- */

void stack_other(struct cpu *c, struct stack *st, const struct x86_seg *ss, uint64_t sp, bool code64,
                 uint8_t cpl, uint16_t error)
{
    (void)c;
    st->seg = ss;
    st->sp = sp;
    st->code64 = code64;
    st->mask = code64 ? UINT64_MAX : ss->attr & SEG_DB ? 0xffffffff : 0xffff;
    st->cpl = cpl;
    st->vector = X86_SS_FAULT;
    st->error = error;
    st->count = 0;
}

void stack_current(struct cpu *c, struct stack *st, uint16_t error)
{
    stack_other(c, st, &c->s.seg[X86_SS], c->s.gpr[X86_RSP], c->mode & MODE_CODE64, c->cpl, error);
}

static uint64_t stack_linear(struct cpu *c, const struct stack *st, unsigned size, bool write)
{
    uint64_t offset = st->sp & st->mask, linear;
    bool ok;

    if (st->code64) {
        linear = offset;
        ok = cpu_canonical(c, offset) && cpu_canonical(c, offset + size - 1);
    } else {
        linear = (uint32_t)(st->seg->base + offset);
        ok = c->mode & MODE_PE ? seg_permits(st->seg, offset, size, write)
                               : limit_permits(st->seg, offset, size);
    }
    if (!ok)
        cpu_raise_err(c, st->vector, st->error);
    if (c->align_check && st->cpl == 3 && (linear & (size - 1)))
        cpu_raise_err(c, X86_AC_FAULT, st->error & 1);
    return linear;
}

void stack_push(struct cpu *c, struct stack *st, uint64_t value, unsigned size)
{
    uint8_t mmu = c->mmu;

    st->sp = (st->sp & ~st->mask) | ((st->sp - size) & st->mask);
    st->linear[st->count] = stack_linear(c, st, size, true);
    st->value[st->count] = value;
    st->size[st->count] = (uint8_t)size;
    c->mmu = cpu_mmu_index(c, st->cpl); /* cpu_raise puts it back */
    mem_probe_write(c, st->linear[st->count], size);
    c->mmu = mmu;
    st->count++;
}

uint64_t stack_pop(struct cpu *c, struct stack *st, unsigned size)
{
    uint64_t v = mem_ld(c, stack_linear(c, st, size, false), size);

    st->sp = (st->sp & ~st->mask) | ((st->sp + size) & st->mask);
    return v;
}

void stack_write(struct cpu *c, struct stack *st)
{
    uint8_t mmu = c->mmu;

    c->mmu = cpu_mmu_index(c, st->cpl);
    for (unsigned n = 0; n < st->count; n++)
        mem_st(c, st->linear[n], st->value[n], st->size[n]);
    c->mmu = mmu;
}

void stack_set_rsp(struct cpu *c, const struct stack *st)
{
    uint64_t *rsp = &c->s.gpr[X86_RSP];

    if (st->mask == 0xffff)
        *rsp = (*rsp & ~UINT64_C(0xffff)) | (st->sp & 0xffff);
    else
        *rsp = st->sp & st->mask;
}
