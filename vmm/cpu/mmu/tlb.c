/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software TLB: filled from the page walk, flushed by CR3, INVLPG, mode changes and changes of the memory map.
 *
 * Entries of other PCIDs are not kept: a CR3 load flushes all but global pages, which the architecture always allows.
 * Pages that hold decoded code, or whose dirty log waits for a write, get TLB_SLOW in their write tag, so that
 * every store to them goes through mmu_access. */
#include "vmm/cpu/mmu/mmu.h"

#include <string.h>

#define LARGEST_PAGE BIT64(30)

static void clear(struct cpu *c, unsigned mmu, unsigned slot)
{
    c->tlb[mmu][slot] = (struct tlb_entry){TLB_EMPTY, TLB_EMPTY, TLB_EMPTY, 0};
    c->mmu_state->side[mmu][slot].page = TLB_EMPTY;
}

static void forget_large(struct mmu_state *s)
{
    for (unsigned half = 0; half < 2; half++)
        s->large[half] = (struct tlb_large){.low = UINT64_MAX};
}

void tlb_flush_all(struct cpu *c)
{
    memset(c->tlb, 0xff, sizeof(c->tlb));
    memset(c->mmu_state->side, 0xff, sizeof(c->mmu_state->side));
    for (unsigned m = 0; m < MMU_COUNT; m++)
        c->mmu_state->local[m].count = 0;
    forget_large(c->mmu_state);
    c->tlb_epoch++;
}

void tlb_flush_nonglobal(struct cpu *c)
{
    c->tlb_epoch++;
    for (unsigned m = 0; m < MMU_COUNT; m++) {
        struct tlb_local *l = &c->mmu_state->local[m];
        bool all = l->count > TLB_LOCAL_MAX;

        for (unsigned i = 0; i < (all ? TLB_SIZE : l->count); i++) {
            unsigned slot = all ? i : l->slot[i];
            const struct tlb_side *s = &c->mmu_state->side[m][slot];
            if (s->page != TLB_EMPTY && !s->global)
                clear(c, m, slot);
        }
        l->count = 0;
    }
}

/* INVLPG of a large page must drop all its 4 KiB pieces, which lie in other slots. */
static void flush_large(struct cpu *c, uint64_t linear)
{
    for (unsigned m = 0; m < MMU_COUNT; m++)
        for (unsigned i = 0; i < TLB_SIZE; i++) {
            const struct tlb_side *s = &c->mmu_state->side[m][i];
            if (s->page != TLB_EMPTY && s->large && (s->page ^ linear) < LARGEST_PAGE)
                clear(c, m, i);
        }
}

void tlb_flush_page(struct cpu *c, uint64_t linear)
{
    const struct tlb_large *l = &c->mmu_state->large[linear >> 63];

    c->tlb_epoch++;
    for (unsigned m = 0; m < MMU_COUNT; m++)
        if (c->mmu_state->side[m][tlb_slot(linear)].page == (linear & PAGE_MASK))
            clear(c, m, tlb_slot(linear));
    if (l->low <= (linear | (LARGEST_PAGE - 1)) && l->high >= (linear & ~(LARGEST_PAGE - 1)))
        flush_large(c, linear);
}

/* Stores to the page go through the slow path from now on. */
void tlb_protect_page(struct cpu *c, uint64_t page_index)
{
    for (unsigned m = 0; m < MMU_COUNT; m++)
        for (unsigned i = 0; i < TLB_SIZE; i++) {
            struct tlb_side *s = &c->mmu_state->side[m][i];
            if (s->page != TLB_EMPTY && s->ram && s->page_index == page_index &&
                c->tlb[m][i].write != TLB_EMPTY)
                c->tlb[m][i].write |= TLB_SLOW;
        }
}

static bool permits(const struct tlb_entry *e, uint64_t page, enum access access)
{
    uint64_t tag = access == ACCESS_READ ? e->read : access == ACCESS_WRITE ? e->write : e->exec;

    return (tag & ~(uint64_t)TLB_SLOW) == page && tag != TLB_EMPTY;
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
    struct tlb_entry *e = &c->tlb[mmu][tlb_slot(page)];
    struct tlb_side *s = &c->mmu_state->side[mmu][tlb_slot(page)];
    struct mem_range r;

    c->stats.tlb_fills++;
    if (w->large) {
        struct tlb_large *l = &c->mmu_state->large[page >> 63];
        l->low = MIN(l->low, page);
        l->high = MAX(l->high, page);
    }
    if (!w->global)
        note_local(&c->mmu_state->local[mmu], tlb_slot(page));
    mem_find(c->set->cfg.mem, w->gpa, &r);
    *e = (struct tlb_entry){TLB_EMPTY, TLB_EMPTY, TLB_EMPTY, 0};
    *s = (struct tlb_side){.page = page, .gpa = w->gpa, .global = w->global, .large = w->large};
    if (!r.host || cpu_is_apic_page(c, w->gpa)) {
        /* MMIO: tags that never hit the fast path but keep the translation */
        e->read = w->readable ? page | TLB_SLOW : TLB_EMPTY;
        e->write = w->writable ? page | TLB_SLOW : TLB_EMPTY;
        e->exec = w->executable ? page | TLB_SLOW : TLB_EMPTY;
        return;
    }
    uint64_t skip = w->gpa - r.gpa;
    bool watched = (c->debug & DEBUG_DATA) && debug_page_watched(c, page);
    uint8_t *host = r.host + skip;

    s->ram = true;
    s->writable = r.kind == MEM_RAM;
    s->page_index = r.page_index + skip / PAGE_SIZE;
    e->addend = (uint64_t)(uintptr_t)host - page;
    if (w->readable)
        e->read = watched ? page | TLB_SLOW : page;
    if (w->executable)
        e->exec = page;
    if (w->writable) {
        uint8_t flags = __atomic_load_n(&mem_page_flags(c->set->cfg.mem)[s->page_index], __ATOMIC_SEQ_CST);
        e->write = watched || flags || !s->writable ? page | TLB_SLOW : page;
    }
}

uint8_t *mmu_access(struct cpu *c, uint64_t linear, enum access access, enum mmu_index mmu, uint64_t *gpa,
                    uint64_t *page_index)
{
    uint64_t page = linear & PAGE_MASK;
    struct tlb_entry *e = &c->tlb[mmu][tlb_slot(page)];
    struct tlb_side *s = &c->mmu_state->side[mmu][tlb_slot(page)];

    if (s->page != page || !permits(e, page, access)) {
        struct walk w;
        uint32_t error;

        if (!mmu_walk(c, linear, access, mmu, &w, &error))
            cpu_raise_pf(c, linear, error);
        fill(c, page, mmu, &w);
    }
    *gpa = s->gpa | (linear & ~PAGE_MASK);
    if (!s->ram || (access == ACCESS_WRITE && !s->writable))
        return NULL;
    if (page_index)
        *page_index = s->page_index;
    return (uint8_t *)(uintptr_t)(e->addend + linear);
}
