/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software TLB: filled from the page walk, flushed by CR3, INVLPG, mode changes and changes of the memory map.
 *
 * Entries of other PCIDs are not kept: a CR3 load flushes all but global pages, which the architecture always allows.
 * Pages that hold decoded code, or whose dirty log waits for a write, have no write tag, so that every store to them
 * goes through mmu_access.
 *
 * The TLB doubles when pages that are in use push each other out, and goes back to its least size when most of it lies
 * idle between two flushes, which would cost more than it brings. */
#include "vmm/cpu/mmu/mmu.h"

#include <string.h>

#include "vmm/cpu/jit/jit.h"
#include "vmm/cpu/jit/verify.h"

#define LARGEST_PAGE BIT64(30)

/* Where a comparison that forgets about canonical form leads for an address in TLB_NEVER's page. */
static uint8_t sink[2 * PAGE_SIZE];

static void clear_tag(struct tlb_entry *e)
{
    *e = (struct tlb_entry){TLB_NEVER, (uint64_t)(uintptr_t)sink - TLB_NEVER};
}

static void clear(struct cpu *c, unsigned mmu, unsigned slot)
{
    for (unsigned kind = 0; kind < TLB_KINDS; kind++)
        clear_tag(&c->tlb[mmu][kind][slot]);
    c->mmu_state->side[mmu][slot].page = TLB_NEVER;
}

static void forget_stack_of(struct cpu *c, unsigned mmu)
{
    c->hot.stack[mmu].minus_page = -TLB_NEVER;
    c->hot.stack[mmu].addend = (uint64_t)(uintptr_t)sink - TLB_NEVER;
}

static void forget_stack(struct cpu *c)
{
    for (unsigned m = 0; m < MMU_COUNT; m++)
        forget_stack_of(c, m);
}

static void forget_large(struct mmu_state *s)
{
    for (unsigned half = 0; half < 2; half++)
        s->large[half] = (struct tlb_large){.low = UINT64_MAX};
}

static void empty(struct cpu *c)
{
    forget_stack(c);
    for (unsigned m = 0; m < MMU_COUNT; m++) {
        for (unsigned i = 0; i < c->tlb_slots; i++)
            clear(c, m, i);
        c->mmu_state->local[m].count = 0;
    }
    forget_large(c->mmu_state);
}

static void resize(struct cpu *c, uint32_t slots)
{
    c->tlb_slots = slots;
    c->mmu_state->fills = c->mmu_state->evictions = 0;
    empty(c);
    jit_tlb_resized(c);
}

static void maybe_shrink(struct cpu *c)
{
    struct mmu_state *s = c->mmu_state;

    if (c->tlb_slots > c->set->tuning.tlb_min && s->fills < c->tlb_slots / 8)
        resize(c, c->set->tuning.tlb_min);
    s->fills = s->evictions = 0;
}

void tlb_flush_all(struct cpu *c)
{
    if (!c->tlb_slots)
        resize(c, c->set->tuning.tlb_min);
    empty(c);
    maybe_shrink(c);
    c->tlb_epoch++;
    c->stats.tlb_flushes++;
    jit_tlb_flushed(c, true);
}

void tlb_flush_nonglobal(struct cpu *c)
{
    c->tlb_epoch++;
    c->stats.tlb_flushes++;
    forget_stack(c);
    for (unsigned m = 0; m < MMU_COUNT; m++) {
        struct tlb_local *l = &c->mmu_state->local[m];
        bool all = l->count > TLB_LOCAL_MAX;

        for (unsigned i = 0; i < (all ? c->tlb_slots : l->count); i++) {
            unsigned slot = all ? i : l->slot[i];
            const struct tlb_side *s = &c->mmu_state->side[m][slot];
            if (s->page != TLB_NEVER && !s->global)
                clear(c, m, slot);
        }
        l->count = 0;
    }
    maybe_shrink(c);
    jit_tlb_flushed(c, false);
}

/* INVLPG of a large page must drop all its 4 KiB pieces, which lie in other slots. */
static void flush_large(struct cpu *c, uint64_t linear)
{
    for (unsigned m = 0; m < MMU_COUNT; m++)
        for (unsigned i = 0; i < c->tlb_slots; i++) {
            const struct tlb_side *s = &c->mmu_state->side[m][i];
            if (s->page != TLB_NEVER && s->large && (s->page ^ linear) < LARGEST_PAGE)
                clear(c, m, i);
        }
}

void tlb_flush_page(struct cpu *c, uint64_t linear)
{
    const struct tlb_large *l = &c->mmu_state->large[linear >> 63];
    unsigned slot = tlb_slot(c, linear);

    c->tlb_epoch++;
    forget_stack(c);
    for (unsigned m = 0; m < MMU_COUNT; m++)
        if (c->mmu_state->side[m][slot].page == (linear & PAGE_MASK))
            clear(c, m, slot);
    if (l->low <= (linear | (LARGEST_PAGE - 1)) && l->high >= (linear & ~(LARGEST_PAGE - 1))) {
        flush_large(c, linear);
        jit_tlb_flushed(c, true);
    } else {
        jit_tlb_flushed_page(c, linear);
    }
}

/* Stores to the page go through the slow path from now on. */
void tlb_protect_page(struct cpu *c, uint64_t page_index)
{
    forget_stack(c);
    for (unsigned m = 0; m < MMU_COUNT; m++)
        for (unsigned i = 0; i < c->tlb_slots; i++) {
            const struct tlb_side *s = &c->mmu_state->side[m][i];
            if (s->page != TLB_NEVER && s->ram && s->page_index == page_index)
                clear_tag(&c->tlb[m][TLB_WRITE][i]);
        }
}

void tlb_close_store(struct cpu *c, unsigned mmu, unsigned slot)
{
    forget_stack_of(c, mmu);
    clear_tag(&c->tlb[mmu][TLB_WRITE][slot]);
}

static void note_local(struct tlb_local *l, unsigned slot)
{
    if (l->count < TLB_LOCAL_MAX)
        l->slot[l->count++] = (uint16_t)slot;
    else
        l->count = TLB_LOCAL_MAX + 1;
}

static void fill(struct cpu *c, uint64_t page, enum mmu_index mmu, const struct walk *w)
{
    unsigned slot = tlb_slot(c, page);
    struct tlb_side *s = &c->mmu_state->side[mmu][slot];
    struct mem_range r;

    c->stats.tlb_fills++;
    if (w->large) {
        struct tlb_large *l = &c->mmu_state->large[page >> 63];
        l->low = MIN(l->low, page);
        l->high = MAX(l->high, page);
    }
    if (!w->global)
        note_local(&c->mmu_state->local[mmu], slot);
    mem_find(c->set->cfg.mem, w->gpa, &r);
    clear(c, mmu, slot);
    *s = (struct tlb_side){.page = page, .gpa = w->gpa, .global = w->global, .large = w->large,
                           .permits = {[ACCESS_READ] = w->readable, [ACCESS_WRITE] = w->writable,
                                       [ACCESS_EXEC] = w->executable}};
    if (!r.host || cpu_is_apic_page(c, w->gpa))
        return; /* MMIO */
    uint64_t skip = w->gpa - r.gpa;
    s->ram = true;
    s->writable = r.kind == MEM_RAM;
    s->page_index = r.page_index + skip / PAGE_SIZE;
    s->addend = (uint64_t)(uintptr_t)(r.host + skip) - page;
    if ((c->debug & DEBUG_DATA) && debug_page_watched(c, page))
        return;
    if (w->readable)
        c->tlb[mmu][TLB_READ][slot] = (struct tlb_entry){page, s->addend};
    if (w->writable && s->writable && (!c->verify || verify_open_slot(c, mmu, slot)) &&
        !__atomic_load_n(&mem_page_flags(c->set->cfg.mem)[s->page_index], __ATOMIC_SEQ_CST))
        c->tlb[mmu][TLB_WRITE][slot] = (struct tlb_entry){page, s->addend};
}

/* The flags that kept stores slow may be gone. */
static void allow_store(struct cpu *c, unsigned mmu, const struct tlb_side *s)
{
    struct tlb_entry *e = &c->tlb[mmu][TLB_WRITE][tlb_slot(c, s->page)];

    if (e->tag != s->page && !(c->debug & DEBUG_DATA) &&
        (!c->verify || verify_open_slot(c, mmu, tlb_slot(c, s->page))) &&
        !__atomic_load_n(&mem_page_flags(c->set->cfg.mem)[s->page_index], __ATOMIC_SEQ_CST))
        *e = (struct tlb_entry){s->page, s->addend};
}

/* Pages push each other out: a larger TLB starts empty. */
static void maybe_grow(struct cpu *c, uint64_t evicted, uint64_t page)
{
    struct mmu_state *s = c->mmu_state;

    s->fills++;
    if (evicted == TLB_NEVER || evicted == page || ++s->evictions < c->tlb_slots * 2)
        return;
    s->evictions = 0;
    if (c->tlb_slots < c->set->tuning.tlb_max)
        resize(c, c->tlb_slots * 2);
}

/* The page's translation, walked for when it is not there. NULL: page fault. */
static const struct tlb_side *find(struct cpu *c, uint64_t linear, enum access access, enum mmu_index mmu,
                                   uint32_t *error)
{
    uint64_t page = linear & PAGE_MASK;
    const struct tlb_side *s = &c->mmu_state->side[mmu][tlb_slot(c, page)];

    if (s->page != page || !s->permits[access]) {
        struct walk w;

        if (!mmu_walk(c, linear, access, mmu, &w, error))
            return NULL;
        maybe_grow(c, s->page, page);
        fill(c, page, mmu, &w);
        s = &c->mmu_state->side[mmu][tlb_slot(c, page)];
    }
    if ((access == ACCESS_WRITE || (c->verify && s->permits[ACCESS_WRITE] && verify_running(c))) && s->ram &&
        s->writable)
        allow_store(c, mmu, s);
    return s;
}

bool mmu_prefill(struct cpu *c, uint64_t linear, enum access access)
{
    uint32_t error;

    return find(c, linear, access, c->mmu, &error) != NULL;
}

uint8_t *mmu_access(struct cpu *c, uint64_t linear, enum access access, enum mmu_index mmu, uint64_t *gpa,
                    uint64_t *page_index)
{
    uint32_t error;
    const struct tlb_side *s = find(c, linear, access, mmu, &error);

    if (!s)
        cpu_raise_pf(c, linear, error);
    *gpa = s->gpa | (linear & ~PAGE_MASK);
    if (!s->ram || (access == ACCESS_WRITE && !s->writable))
        return NULL;
    if (page_index)
        *page_index = s->page_index;
    return (uint8_t *)(uintptr_t)(s->addend + linear);
}
