/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SYSCALL, SYSRET, SYSENTER, SYSEXIT as Intel does them (SYSCALL and SYSRET in 64-bit code only), and
 * the segment base instructions. Source: SDM vol. 2 under each mnemonic. */
#include "vmm/cpu/seg.h"
#include "vmm/cpu/sys.h"
#include "vmm/cpu/sysutil.h"

#define ATTR_CODE   (SEG_P | SEG_S | SEGT_CODE | SEGT_READ | SEGT_ACCESSED | SEG_G)
#define ATTR_DATA   (SEG_P | SEG_S | SEGT_WRITE | SEGT_ACCESSED | SEG_G | SEG_DB)
#define ATTR_DPL(n) ((n) << 5)

/* Flat CS and SS that do not come from a table; sel is that of CS, SS is the next descriptor. */
static void flat_transfer(struct cpu *c, uint16_t cs, uint16_t ss, unsigned cpl, bool code64,
                          uint64_t rip)
{
    struct x86_seg code = {.limit = 0xffffffff, .sel = (uint16_t)((cs & ~3u) | cpl),
                           .attr = (uint16_t)(ATTR_CODE | ATTR_DPL(cpl) |
                                              (code64 ? SEG_L : SEG_DB))};

    c->s.seg[X86_SS] = (struct x86_seg){.limit = 0xffffffff, .sel = (uint16_t)((ss & ~3u) | cpl),
                                        .attr = (uint16_t)(ATTR_DATA | ATTR_DPL(cpl))};
    seg_commit_cs(c, &code, (uint8_t)cpl, rip);
}

/* The same from 64-bit code to 64-bit code, where nothing else of the mode changes. */
static void flat_transfer64(struct cpu *c, uint16_t cs, uint16_t ss, unsigned cpl, uint64_t rip)
{
    struct x86_seg *code = &c->s.seg[X86_CS], *stack = &c->s.seg[X86_SS];

    code->base = stack->base = 0;
    code->limit = stack->limit = 0xffffffff;
    code->sel = (uint16_t)((cs & ~3u) | cpl);
    stack->sel = (uint16_t)((ss & ~3u) | cpl);
    code->attr = (uint16_t)(ATTR_CODE | ATTR_DPL(cpl) | SEG_L);
    stack->attr = (uint16_t)(ATTR_DATA | ATTR_DPL(cpl));
    c->s.rip = rip;
    c->branched = c->end_block = true;
    c->cpl = (uint8_t)cpl;
    c->mmu = cpu_mmu_index(c, cpl);
    c->align_check = cpl == 3 && (c->s.cr0 & CR0_AM) && (c->s.rflags & X86_AC);
}

void op_syscall(struct cpu *c, const struct insn *i)
{
    uint16_t sel = c->s.star >> 32 & 0xfffc;

    if (!(c->mode & MODE_CODE64) || !(c->s.efer & EFER_SCE))
        cpu_ud(c);
    c->s.gpr[X86_RCX] = c->s.rip + i->len;
    c->s.gpr[X86_R11] = cpu_flags(c) & ~(uint64_t)X86_RF;
    flags_write(c, 0, (c->s.sfmask & X86_ALL_FLAGS) | X86_RF);
    c->dbg_tf &= (c->s.rflags & X86_TF) != 0;
    flat_transfer64(c, sel, (uint16_t)(sel + 8), 0, c->s.lstar);
}

void op_sysret(struct cpu *c, const struct insn *i)
{
    uint16_t base = c->s.star >> 48 & 0xffff;
    uint64_t rip = c->s.gpr[X86_RCX];
    bool code64 = i->opsize == 8;

    if (!(c->mode & MODE_CODE64) || !(c->s.efer & EFER_SCE))
        cpu_ud(c);
    need_cpl0(c);
    if (!code64)
        rip = (uint32_t)rip;
    else if (!cpu_canonical(c, rip))
        cpu_gp(c, 0);
    flags_write_all(c, c->s.gpr[X86_R11] & ~(uint64_t)(X86_RF | X86_VM));
    if (code64)
        flat_transfer64(c, (uint16_t)(base + 16), (uint16_t)(base + 8), 3, rip);
    else
        flat_transfer(c, base, (uint16_t)(base + 8), 3, false, rip);
}

void op_sysenter(struct cpu *c, const struct insn *i)
{
    uint16_t sel = c->s.sysenter_cs & 0xfffc;

    (void)i;
    if (!(c->s.cr0 & CR0_PE) || !sel)
        cpu_gp(c, 0);
    flags_write(c, 0, X86_VM | X86_IF | X86_RF);
    c->s.gpr[X86_RSP] = c->long_mode ? c->s.sysenter_esp : (uint32_t)c->s.sysenter_esp;
    flat_transfer(c, sel, (uint16_t)(sel + 8), 0, c->long_mode,
                  c->long_mode ? c->s.sysenter_eip : (uint32_t)c->s.sysenter_eip);
}

void op_sysexit(struct cpu *c, const struct insn *i)
{
    uint16_t sel = c->s.sysenter_cs & 0xfffc;
    uint64_t rip = c->s.gpr[X86_RDX], rsp = c->s.gpr[X86_RCX];
    bool code64 = i->opsize == 8;

    if (!(c->s.cr0 & CR0_PE) || !sel || c->cpl)
        cpu_gp(c, 0);
    if (!code64) {
        rip = (uint32_t)rip;
        rsp = (uint32_t)rsp;
    } else if (!cpu_canonical(c, rip) || !cpu_canonical(c, rsp)) {
        cpu_gp(c, 0);
    }
    c->s.gpr[X86_RSP] = rsp;
    flat_transfer(c, (uint16_t)(sel + (code64 ? 32 : 16)), (uint16_t)(sel + (code64 ? 40 : 24)), 3,
                  code64, rip);
}

/* ---- FS and GS bases ---- */

void op_swapgs(struct cpu *c, const struct insn *i)
{
    uint64_t base = c->s.seg[X86_GS].base;

    (void)i;
    if (!(c->mode & MODE_CODE64))
        cpu_ud(c);
    need_cpl0(c);
    c->s.seg[X86_GS].base = c->s.kernel_gs_base;
    c->s.kernel_gs_base = base;
}

static void need_fsgsbase(struct cpu *c)
{
    if (!(c->mode & MODE_CODE64) || !(c->s.cr4 & CR4_FSGSBASE))
        cpu_ud(c);
}

static void read_base(struct cpu *c, const struct insn *i, unsigned seg)
{
    need_fsgsbase(c);
    reg_set(c, i->rm, c->s.seg[seg].base, i->opsize);
}

static void write_base(struct cpu *c, const struct insn *i, unsigned seg)
{
    need_fsgsbase(c);
    uint64_t v = reg_get(c, i->rm, i->opsize);
    if (!cpu_canonical(c, v))
        cpu_gp(c, 0);
    c->s.seg[seg].base = v;
}

void op_rdfsbase(struct cpu *c, const struct insn *i) { read_base(c, i, X86_FS); }
void op_rdgsbase(struct cpu *c, const struct insn *i) { read_base(c, i, X86_GS); }
void op_wrfsbase(struct cpu *c, const struct insn *i) { write_base(c, i, X86_FS); }
void op_wrgsbase(struct cpu *c, const struct insn *i) { write_base(c, i, X86_GS); }
