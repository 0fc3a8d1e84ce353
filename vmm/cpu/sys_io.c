/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IN, OUT, INS, OUTS. Source: SDM vol. 1 ch. 19 (I/O permission), vol. 2 under each mnemonic. */
#include "vmm/cpu/debug.h"
#include "vmm/cpu/seg.h"
#include "vmm/cpu/sys.h"
#include "vmm/cpu/sysutil.h"

/* IOPL, or else the permission map of a 32-bit or 64-bit TSS, which is read as two bytes. */
static void check_port(struct cpu *c, uint16_t port, unsigned size)
{
    const struct x86_seg *tr = &c->s.tr;

    if (!(c->mode & MODE_VM86) && c->cpl <= cpu_iopl(c))
        return;
    if (!(tr->attr & SEG_P) || !(SEG_TYPE(tr->attr) & 8) || tr->limit < 0x67)
        cpu_gp(c, 0);
    uint64_t at = mem_ld_sys(c, tr->base + 0x66, 2) + port / 8;
    if (at + 1 > tr->limit)
        cpu_gp(c, 0);
    uint64_t map = mem_ld_sys(c, tr->base + at, 2);
    if (map >> (port & 7) & (BIT(size) - 1))
        cpu_gp(c, 0);
}

static uint64_t port_read(struct cpu *c, uint16_t port, unsigned size)
{
    const struct cpu_set_cfg *cfg = &c->set->cfg;

    debug_io(c, port, size);
    c->stats.pio++;
    c->doing = CPU_DEVICE;
    uint64_t v = cfg->io->pio_read(cfg->io_opaque, port, size);
    c->doing = CPU_INTERPRETS;
    return v;
}

static void port_write(struct cpu *c, uint16_t port, uint64_t v, unsigned size)
{
    const struct cpu_set_cfg *cfg = &c->set->cfg;

    debug_io(c, port, size);
    c->stats.pio++;
    c->doing = CPU_DEVICE;
    cfg->io->pio_write(cfg->io_opaque, port, v, size);
    c->doing = CPU_INTERPRETS;
}

/* E4-E7 have the port as an immediate byte, EC-EF in DX. */
static uint16_t port_operand(struct cpu *c, const struct insn *i)
{
    if (i->len >= 2 && (i->bytes[i->len - 2] & 0xfc) == 0xe4)
        return i->bytes[i->len - 1];
    return (uint16_t)c->s.gpr[X86_RDX];
}

static unsigned port_size(const struct insn *i)
{
    return i->opsize > 4 ? 4 : i->opsize;
}

void op_in(struct cpu *c, const struct insn *i)
{
    unsigned size = port_size(i);
    uint16_t port = port_operand(c, i);

    check_port(c, port, size);
    reg_set(c, X86_RAX, port_read(c, port, size), size);
}

void op_out(struct cpu *c, const struct insn *i)
{
    unsigned size = port_size(i);
    uint16_t port = port_operand(c, i);

    check_port(c, port, size);
    port_write(c, port, reg_get(c, X86_RAX, size), size);
}

#define REP_RUN 4096u /* elements before whoever runs the vCPU is asked again */

/* ---- strings: each iteration is complete in itself, so a fault or an interrupt finds counter and
 * index as they are, and the instruction starts again ---- */

static void index_step(struct cpu *c, const struct insn *i, unsigned reg, unsigned size)
{
    uint64_t step = c->s.rflags & X86_DF ? -(uint64_t)size : size;

    reg_set(c, reg, c->s.gpr[reg] + step, i->addrsize);
}

static void ins_one(struct cpu *c, const struct insn *i)
{
    unsigned size = port_size(i);
    uint16_t port = (uint16_t)c->s.gpr[X86_RDX];

    uint64_t at = seg_linear_fast(c, X86_ES, reg_get(c, X86_RDI, i->addrsize), size, true);
    mem_probe_write(c, at, size); /* reading a port has side effects: no fault after it */
    mem_st(c, at, port_read(c, port, size), size);
    index_step(c, i, X86_RDI, size);
}

static void outs_one(struct cpu *c, const struct insn *i)
{
    unsigned size = port_size(i);
    uint16_t port = (uint16_t)c->s.gpr[X86_RDX];

    uint64_t v =
        mem_ld(c, seg_linear_fast(c, i->seg, reg_get(c, X86_RSI, i->addrsize), size, false), size);
    port_write(c, port, v, size);
    index_step(c, i, X86_RSI, size);
}

static void string_io(struct cpu *c, const struct insn *i, void (*one)(struct cpu *, const struct insn *))
{
    check_port(c, (uint16_t)c->s.gpr[X86_RDX], port_size(i));
    if (!(i->flags & (INSN_REP | INSN_REPNE))) {
        one(c, i);
        return;
    }
    for (unsigned n = 0; reg_get(c, X86_RCX, i->addrsize); n++) {
        if (n == REP_RUN || (n > 0 && (debug_active(c) || atomic_load_explicit(&c->pending, memory_order_relaxed)))) {
            c->branched = true; /* to itself */
            return;
        }
        one(c, i);
        reg_set(c, X86_RCX, c->s.gpr[X86_RCX] - 1, i->addrsize);
    }
}

void op_ins(struct cpu *c, const struct insn *i)
{
    string_io(c, i, ins_one);
}

void op_outs(struct cpu *c, const struct insn *i)
{
    string_io(c, i, outs_one);
}
