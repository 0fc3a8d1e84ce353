/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug registers: breakpoints on execution, data and ports, general detect, single step, task switch
 * trap. Source: SDM vol. 3B 17.2 and 17.3, vol. 3A 6.8.3 (MOV SS). */
#include "vmm/cpu/debug.h"

#include "vmm/cpu/sys.h"
#include "vmm/cpu/sysutil.h"

enum dr_kind { DR_EXEC, DR_WRITE, DR_IO, DR_ACCESS };

static bool dr_enabled(const struct cpu *c, unsigned n)
{
    return c->s.dr[7] >> (n * 2) & 3;
}

static enum dr_kind dr_kind(const struct cpu *c, unsigned n)
{
    return c->s.dr[7] >> (16 + n * 4) & 3;
}

static unsigned dr_size(const struct cpu *c, unsigned n)
{
    static const uint8_t size[] = {1, 2, 8, 4};

    return size[c->s.dr[7] >> (18 + n * 4) & 3];
}

static bool dr_overlaps(const struct cpu *c, unsigned n, uint64_t at, unsigned size)
{
    unsigned len = dr_size(c, n);
    uint64_t from = c->s.dr[n] & ~(uint64_t)(len - 1);

    return at < from + len && from < at + size;
}

static uint32_t dr_match(const struct cpu *c, unsigned kinds, uint64_t at, unsigned size)
{
    uint32_t hits = 0;

    for (unsigned n = 0; n < 4; n++)
        if (dr_enabled(c, n) && (kinds >> dr_kind(c, n) & 1) && dr_overlaps(c, n, at, size))
            hits |= BIT(n);
    return hits;
}

void debug_changed(struct cpu *c)
{
    static const uint8_t flag[] = {DEBUG_EXEC, DEBUG_DATA, DEBUG_IO, DEBUG_DATA};
    bool had_data = c->debug & DEBUG_DATA;

    c->debug = 0;
    for (unsigned n = 0; n < 4; n++)
        if (dr_enabled(c, n) && (dr_kind(c, n) != DR_IO || (c->s.cr4 & CR4_DE)))
            c->debug |= flag[dr_kind(c, n)];
    if (had_data || (c->debug & DEBUG_DATA))
        tlb_flush_all(c);
    c->end_block = true;
}

bool debug_page_watched(const struct cpu *c, uint64_t linear)
{
    return dr_match(c, 1u << DR_WRITE | 1u << DR_ACCESS, linear & PAGE_MASK, PAGE_SIZE);
}

void debug_data(struct cpu *c, uint64_t linear, unsigned size, bool write)
{
    c->dbg_hits |= dr_match(c, 1u << DR_ACCESS | (write ? 1u << DR_WRITE : 0), linear, size);
}

void debug_io(struct cpu *c, uint16_t port, unsigned size)
{
    if (c->debug & DEBUG_IO)
        c->dbg_hits |= dr_match(c, 1u << DR_IO, port, size);
}

/* B0-B3 of one event replace the old ones; the other bits are sticky. */
static void dr6_report(struct cpu *c, uint32_t hits)
{
    c->s.dr[6] = ((c->s.dr[6] & ~UINT64_C(0xf)) | hits | DR6_FIXED) & ~(uint64_t)BIT(12);
}

void debug_before(struct cpu *c)
{
    bool resume = c->s.rflags & X86_RF;

    c->dbg_rip = c->s.rip;
    c->dbg_tf = c->s.rflags & X86_TF;
    if (!resume && (c->debug & DEBUG_EXEC)) {
        uint64_t linear = c->s.rip;

        if (!(c->mode & MODE_CODE64))
            linear = (uint32_t)(linear + c->s.seg[X86_CS].base);
        uint32_t hits = dr_match(c, 1u << DR_EXEC, linear, 1);
        if (hits && !c->s.mov_ss_shadow) {
            dr6_report(c, hits);
            cpu_raise(c, X86_DB);
        }
    }
    /* cleared now, not later: what the instruction itself loads into RF must survive */
    c->s.rflags &= ~(uint64_t)X86_RF;
}

bool debug_after(struct cpu *c)
{
    if (c->dbg_tf)
        c->dbg_hits |= DR6_BS;
    if (c->s.mov_ss_shadow) { /* MOV SS and POP SS: held back until after the next instruction */
        c->dbg_hits &= ~DR6_BS;
        return true;
    }
    if (!c->dbg_hits)
        return true;
    dr6_report(c, c->dbg_hits);
    c->dbg_hits = 0;
    return cpu_deliver(c, X86_DB, EVENT_TRAP, false, 0);
}

/* ---- MOV DR ---- */

/* 4 and 5 are other names of 6 and 7 unless CR4.DE is set. */
static unsigned dr_number(struct cpu *c, unsigned n)
{
    if (n > 7)
        cpu_ud(c);
    if (n == 4 || n == 5) {
        if (c->s.cr4 & CR4_DE)
            cpu_ud(c);
        n += 2;
    }
    need_cpl0(c);
    if (c->s.dr[7] & DR7_GD) {
        dr6_report(c, DR6_BD | (c->s.dr[6] & 0xf));
        c->s.dr[7] &= ~(uint64_t)DR7_GD;
        cpu_raise(c, X86_DB);
    }
    return n;
}

static unsigned dr_width(const struct cpu *c)
{
    return c->mode & MODE_CODE64 ? 8 : 4;
}

void op_mov_from_dr(struct cpu *c, const struct insn *i)
{
    unsigned n = dr_number(c, i->reg);

    reg_set(c, i->rm, c->s.dr[n], dr_width(c));
}

void op_mov_to_dr(struct cpu *c, const struct insn *i)
{
    unsigned n = dr_number(c, i->reg);
    uint64_t v = reg_get(c, i->rm, dr_width(c));

    if (n >= 6 && v >> 32)
        cpu_gp(c, 0);
    if (n == 6) {
        v = (v & DR6_HITS) | DR6_FIXED;
    } else if (n == 7) {
        v = (v & ~UINT64_C(0xd000)) | DR7_FIXED;
    }
    c->s.dr[n] = v;
    debug_changed(c);
}
