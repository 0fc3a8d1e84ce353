/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control registers and what else only ring 0 may do. Source: SDM vol. 2 "MOV - Move to/from Control
 * Registers", vol. 3A 2.5, 4.1, 4.10.4, 9.8.5 (mode switches). */
#include "vmm/cpu/lapic.h"
#include "vmm/cpu/seg.h"
#include "vmm/cpu/sys.h"
#include "vmm/cpu/sysutil.h"

#define CR0_KNOWN (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW |  \
                   CR0_CD | CR0_PG)

/* ---- CR0, CR3, CR4 ---- */

/* The four entries that PAE paging loads with CR3 must not have reserved bits set. The MMU reads them
 * at each walk, as AMD processors do, so only the check happens here. */
static void check_pdptes(struct cpu *c, uint64_t cr3)
{
    uint8_t raw[32];
    uint64_t reserved = ~(BIT64(GPA_BITS) - 1) | 0x1e6;

    if (!mem_read(c->set->cfg.mem, cr3 & 0xffffffe0, raw, sizeof(raw)))
        return;
    for (unsigned n = 0; n < 4; n++) {
        uint64_t entry = ld_le64(raw + n * 8);

        if ((entry & 1) && (entry & reserved))
            cpu_gp(c, 0);
    }
}

static void write_cr0(struct cpu *c, uint64_t v)
{
    uint64_t old = c->s.cr0, efer = c->s.efer;

    if (v >> 32)
        cpu_gp(c, 0);
    v = (v & CR0_KNOWN) | CR0_ET;
    if (((v & CR0_PG) && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
        cpu_gp(c, 0);
    if (~old & v & CR0_PG) {
        if (efer & EFER_LME) {
            if (!(c->s.cr4 & CR4_PAE) || (c->s.seg[X86_CS].attr & SEG_L) ||
                SEG_TYPE(c->s.tr.attr) < SYS_TSS32)
                cpu_gp(c, 0);
            efer |= EFER_LMA;
        }
    } else if (old & ~v & CR0_PG) {
        if ((c->mode & MODE_CODE64) || (c->s.cr4 & CR4_PCIDE))
            cpu_gp(c, 0);
        efer &= ~(uint64_t)EFER_LMA;
    }
    if ((v & CR0_PG) && (c->s.cr4 & CR4_PAE) && !(efer & EFER_LMA) &&
        ((old ^ v) & (CR0_PG | CR0_CD | CR0_NW)))
        check_pdptes(c, c->s.cr3);

    c->s.cr0 = v;
    c->s.efer = efer;
    if ((old ^ v) & (CR0_PG | CR0_WP | CR0_PE))
        tlb_flush_all(c);
    c->end_block = true;
    cpu_mode_changed(c);
}

static void write_cr3(struct cpu *c, uint64_t v)
{
    bool keep = (c->s.cr4 & CR4_PCIDE) && (v & BIT64(63));

    if (c->s.cr4 & CR4_PCIDE)
        v &= ~BIT64(63);
    if (c->long_mode && (v & ~(BIT64(GPA_BITS) - 1)))
        cpu_gp(c, 0);
    if ((c->s.cr0 & CR0_PG) && (c->s.cr4 & CR4_PAE) && !c->long_mode)
        check_pdptes(c, v);
    /* the TLB has no PCID tags: entries survive only when nothing changes */
    bool same = c->s.cr3 == v;
    c->s.cr3 = v;
    if (!(keep && same))
        tlb_flush_nonglobal(c);
    c->end_block = true;
}

static uint64_t cr4_allowed(const struct cpu *c)
{
    static const struct {
        uint8_t feature;
        uint32_t bit;
    } optional[] = {
        {CPUF_UMIP, CR4_UMIP},   {CPUF_LA57, CR4_LA57},     {CPUF_FSGSBASE, CR4_FSGSBASE},
        {CPUF_PCID, CR4_PCIDE},  {CPUF_XSAVE, CR4_OSXSAVE}, {CPUF_SMEP, CR4_SMEP},
        {CPUF_SMAP, CR4_SMAP},   {CPUF_PKU, CR4_PKE},
    };
    uint64_t bits = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |
                    CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

    for (unsigned n = 0; n < ARRAY_LEN(optional); n++)
        if (cpu_has(c->set->cfg.model, optional[n].feature))
            bits |= optional[n].bit;
    return bits;
}

static void write_cr4(struct cpu *c, uint64_t v)
{
    uint64_t old = c->s.cr4, changed = old ^ v;

    if (v & ~cr4_allowed(c))
        cpu_gp(c, 0);
    if (c->long_mode && (!(v & CR4_PAE) || (changed & CR4_LA57)))
        cpu_gp(c, 0);
    if ((changed & v & CR4_PCIDE) && (!c->long_mode || (c->s.cr3 & 0xfff)))
        cpu_gp(c, 0);
    if ((c->s.cr0 & CR0_PG) && (v & CR4_PAE) && !c->long_mode &&
        (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)))
        check_pdptes(c, c->s.cr3);
    c->s.cr4 = v;
    if (changed & (CR4_PGE | CR4_PAE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_LA57))
        tlb_flush_all(c);
    if (changed & CR4_DE)
        debug_changed(c);
    c->end_block = true;
    cpu_mode_changed(c);
}

void op_mov_to_cr(struct cpu *c, const struct insn *i)
{
    uint64_t v = reg_get(c, i->rm, c->mode & MODE_CODE64 ? 8 : 4);

    if (i->reg == 1 || (i->reg > 4 && i->reg != 8))
        cpu_ud(c);
    need_cpl0(c);
    switch (i->reg) {
    case 0:
        write_cr0(c, v);
        break;
    case 2:
        c->s.cr2 = v;
        break;
    case 3:
        write_cr3(c, v);
        break;
    case 4:
        write_cr4(c, v);
        break;
    default:
        if (v > 15)
            cpu_gp(c, 0);
        lapic_set_tpr(c->lapic, (uint8_t)(v << 4));
        break;
    }
}

void op_mov_from_cr(struct cpu *c, const struct insn *i)
{
    uint64_t v;

    if (i->reg == 1 || (i->reg > 4 && i->reg != 8))
        cpu_ud(c);
    need_cpl0(c);
    switch (i->reg) {
    case 0:
        v = c->s.cr0;
        break;
    case 2:
        v = c->s.cr2;
        break;
    case 3:
        v = c->s.cr3;
        break;
    case 4:
        v = c->s.cr4;
        break;
    default:
        v = lapic_get_tpr(c->lapic) >> 4;
        break;
    }
    reg_set(c, i->rm, v, c->mode & MODE_CODE64 ? 8 : 4);
}

void op_lmsw(struct cpu *c, const struct insn *i)
{
    need_cpl0(c);
    uint64_t v = rm_get(c, i, 2) & 15;

    /* may set PE, never clear it */
    write_cr0(c, (c->s.cr0 & ~UINT64_C(14)) | v);
}

void op_smsw(struct cpu *c, const struct insn *i)
{
    if ((c->s.cr4 & CR4_UMIP) && c->cpl)
        cpu_gp(c, 0);
    rm_set(c, i, c->s.cr0, i->flags & INSN_MEM ? 2 : i->opsize);
}

void op_clts(struct cpu *c, const struct insn *i)
{
    (void)i;
    need_cpl0(c);
    c->s.cr0 &= ~(uint64_t)CR0_TS;
    cpu_mode_changed(c);
}

/* ---- TLB and caches ---- */

void op_invlpg(struct cpu *c, const struct insn *i)
{
    need_cpl0(c);
    uint64_t a = insn_offset(c, i);

    if (!(c->mode & MODE_CODE64))
        a = (uint32_t)(a + c->s.seg[i->seg].base);
    else if (i->seg >= X86_FS)
        a += c->s.seg[i->seg].base;
    if (cpu_canonical(c, a)) /* else: no operation */
        tlb_flush_page(c, a);
    c->end_block = true;
}

void op_invpcid(struct cpu *c, const struct insn *i)
{
    unsigned width = c->mode & MODE_CODE64 ? 8 : 4;
    uint64_t type = reg_get(c, i->reg, width);
    uint8_t raw[16];

    if (!cpu_has(c->set->cfg.model, CPUF_INVPCID) || !(c->s.cr0 & CR0_PE))
        cpu_ud(c);
    need_cpl0(c);
    mem_ld_bytes(c, insn_linear(c, i, sizeof(raw), false), raw, sizeof(raw));
    uint64_t pcid = ld_le64(raw), linear = ld_le64(raw + 8);
    if (type > 3 || (type < 2 && (pcid >> 12 || (pcid && !(c->s.cr4 & CR4_PCIDE)))))
        cpu_gp(c, 0);
    if (type == 0) {
        if (!cpu_canonical(c, linear))
            cpu_gp(c, 0);
        tlb_flush_page(c, linear);
    } else if (type == 2) {
        tlb_flush_all(c);
    } else {
        tlb_flush_nonglobal(c);
    }
    c->end_block = true;
}

void op_wbinvd(struct cpu *c, const struct insn *i)
{
    (void)i;
    need_cpl0(c); /* nothing here is cached */
}

void op_hlt(struct cpu *c, const struct insn *i)
{
    (void)i;
    need_cpl0(c);
    c->s.mp_state = X86_MP_HALTED;
    c->end_block = true;
}

/* ---- extended state components and protection keys ---- */

static uint64_t xcr0_allowed(const struct cpu *c)
{
    return XCR0_X87 | XCR0_SSE | (cpu_has(c->set->cfg.model, CPUF_AVX) ? XCR0_AVX : 0) |
           (cpu_has(c->set->cfg.model, CPUF_PKU) ? XCR0_PKRU : 0);
}

void op_xgetbv(struct cpu *c, const struct insn *i)
{
    uint32_t n = (uint32_t)c->s.gpr[X86_RCX];

    (void)i;
    if (!(c->s.cr4 & CR4_OSXSAVE))
        cpu_ud(c);
    if (n > 1 || (n == 1 && !cpu_has(c->set->cfg.model, CPUF_XGETBV1)))
        cpu_gp(c, 0);
    uint64_t v = n ? vec_xinuse(c) : c->s.xcr0;
    c->s.gpr[X86_RAX] = (uint32_t)v;
    c->s.gpr[X86_RDX] = v >> 32;
}

void op_xsetbv(struct cpu *c, const struct insn *i)
{
    uint64_t v = (uint32_t)c->s.gpr[X86_RAX] | c->s.gpr[X86_RDX] << 32;

    (void)i;
    if (!(c->s.cr4 & CR4_OSXSAVE))
        cpu_ud(c);
    need_cpl0(c);
    if ((uint32_t)c->s.gpr[X86_RCX] || !(v & XCR0_X87) || (v & ~xcr0_allowed(c)) ||
        ((v & XCR0_AVX) && !(v & XCR0_SSE)))
        cpu_gp(c, 0);
    c->s.xcr0 = v;
    c->end_block = true;
}

void op_rdpkru(struct cpu *c, const struct insn *i)
{
    (void)i;
    if (!(c->s.cr4 & CR4_PKE))
        cpu_ud(c);
    if ((uint32_t)c->s.gpr[X86_RCX])
        cpu_gp(c, 0);
    c->s.gpr[X86_RAX] = c->s.fpu.pkru;
    c->s.gpr[X86_RDX] = 0;
}

void op_wrpkru(struct cpu *c, const struct insn *i)
{
    uint32_t v = (uint32_t)c->s.gpr[X86_RAX];

    (void)i;
    if (!(c->s.cr4 & CR4_PKE))
        cpu_ud(c);
    if ((uint32_t)c->s.gpr[X86_RCX] || (uint32_t)c->s.gpr[X86_RDX])
        cpu_gp(c, 0);
    if (v != c->s.fpu.pkru) {
        c->s.fpu.pkru = v;
        tlb_flush_all(c); /* rights are part of TLB entries */
    }
}
