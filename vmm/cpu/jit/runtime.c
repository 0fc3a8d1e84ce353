/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cpu/jit/runtime.h"

#include "vmm/cpu/jit/jit_priv.h"
#include "vmm/cpu/jit/verify.h"

/* XSAVE image (SDM vol. 1 13.4.1): FXSAVE's layout, then the header at 512. */
#define X87_FCW     0
#define X87_FSW     2
#define X87_FTW     4
#define X87_ST      32
#define XSTATE_BV   512

void jit_x87_saved(struct cpu *c)
{
    struct x86_fpu *f = &c->s.fpu;
    const uint8_t *x = c->hot.x87;

    if (!(ld_le64(x + XSTATE_BV) & XCR0_X87)) { /* in its initial state, and nothing was written */
        f->fcw = 0x37f;
        f->fsw = 0;
        f->ftw = 0;
        memset(f->st, 0, sizeof(f->st));
    } else {
        f->fcw = ld_le16(x + X87_FCW);
        f->fsw = ld_le16(x + X87_FSW);
        f->ftw = x[X87_FTW];
        memcpy(f->st, x + X87_ST, sizeof(f->st));
    }
    c->hot.x87_absent = 1;
}

void jit_x87_prepare(struct cpu *c)
{
    const struct x86_fpu *f = &c->s.fpu;
    uint8_t *x = c->hot.x87;

    memset(x, 0, 32);
    st_le16(x + X87_FCW, f->fcw);
    st_le16(x + X87_FSW, f->fsw);
    x[X87_FTW] = f->ftw;
    memcpy(x + X87_ST, f->st, sizeof(f->st));
    memset(x + XSTATE_BV, 0, 64);
    st_le64(x + XSTATE_BV, XCR0_X87);
    c->hot.x87_absent = 0;
}

/* Whether the generated check would succeed now. */
static bool hits(const struct cpu *c, uint64_t linear, const struct jit_site *s)
{
    return c->tlb[c->mmu][s->tag][tlb_slot(c, linear)].tag == (linear & PAGE_MASK) &&
           (linear & ~PAGE_MASK) <= PAGE_SIZE - s->size;
}

unsigned jit_slow_access(struct cpu *c, uint64_t linear, unsigned site)
{
    const struct jit_site *s = &c->jit->sites[site];

    c->s.rip = s->rip;
    /* a page fault is left to the interpreter: it may have to raise something else first */
    if ((linear & ~PAGE_MASK) <= PAGE_SIZE - s->size && (!c->long_mode || cpu_canonical(c, linear)) &&
        mmu_prefill(c, linear, s->kind == SITE_WRITE ? ACCESS_WRITE : ACCESS_READ) && hits(c, linear, s)) {
        if (c->verify && s->kind == SITE_WRITE && !s->group)
            verify_store(c, linear);
        return 1;
    }
    if (s->group)
        jit_group_failed(c, s->block);
    return 0;
}

const void *jit_call_handler(struct cpu *c, const struct jit_call *call)
{
    const bool shadow = c->s.sti_shadow || c->s.mov_ss_shadow;

    c->s.rip = call->rip;
    if (c->verify && !verify_end(c, VERIFY_AT))
        return NULL;
    if (call->after && verify_repeats(c, &call->insn)) {
        verify_begin(c, verify_block(c), verify_index(c, c->s.rip));
        return (const void *)(uintptr_t)c->hot.ret;
    }
    c->branched = c->end_block = false;
    call->insn.exec(c, &call->insn);
    c->stats.instructions++;
    if (!c->branched)
        c->s.rip = (c->s.rip + call->insn.len) & c->rip_mask;
    bool ends = call->ends || c->branched || c->end_block;
    c->branched = c->end_block = false;
    if (shadow)
        c->s.sti_shadow = c->s.mov_ss_shadow = 0;
    if (ends)
        return jit_next(c);
    if (c->verify)
        verify_begin(c, verify_block(c), verify_index(c, c->s.rip));
    return call->after ? call->after : (const void *)(uintptr_t)c->hot.ret;
}
