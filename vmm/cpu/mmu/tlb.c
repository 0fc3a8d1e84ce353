/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software TLB: filled from the page walk, flushed by CR3, INVLPG, mode changes and changes of the memory map.
 *
 * Entries of other PCIDs are not kept: a CR3 load flushes all but global pages, which the architecture always allows.
 * Pages that hold decoded code, or whose dirty log waits for a write, get TLB_SLOW in their write tag, so that
 * every store to them goes through mmu_access. */
#include "vmm/cpu/mmu/mmu.h"

#include <string.h>

static void clear(struct cpu *c, unsigned mmu, unsigned slot)
{
    c->tlb[mmu][slot] = (struct tlb_entry){TLB_EMPTY, TLB_EMPTY, TLB_EMPTY, 0};
    c->mmu_state->side[mmu][slot].page = TLB_EMPTY;
}

void tlb_flush_all(struct cpu *c)
{
    memset(c->tlb, 0xff, sizeof(c->tlb));
    memset(c->mmu_state, 0xff, sizeof(*c->mmu_state));
    c->tlb_epoch++;
    c->tlb_large = false;
}

void tlb_flush_nonglobal(struct cpu *c)
{
    c->tlb_epoch++;
    for (unsigned m = 0; m < MMU_COUNT; m++)
        for (unsigned i = 0; i < TLB_SIZE; i++)
            if (c->mmu_state->side[m][i].page != TLB_EMPTY && !c->mmu_state->side[m][i].global)
                clear(c, m, i);
}

/* INVLPG of a large page must drop all its 4 KiB pieces, which lie in other slots. */
void tlb_flush_page(struct cpu *c, uint64_t linear)
{
    if (c->tlb_large) {
        tlb_flush_all(c);
        return;
    }
    c->tlb_epoch++;
    for (unsigned m = 0; m < MMU_COUNT; m++)
        if (c->mmu_state->side[m][tlb_slot(linear)].page == (linear & PAGE_MASK))
            clear(c, m, tlb_slot(linear));
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

static void fill(struct cpu *c, uint64_t page, enum mmu_index mmu, const struct walk *w)
{
    struct tlb_entry *e = &c->tlb[mmu][tlb_slot(page)];
    struct tlb_side *s = &c->mmu_state->side[mmu][tlb_slot(page)];
    struct mem_range r;

    c->stats.tlb_fills++;
    c->tlb_large |= w->large;
    mem_find(c->set->cfg.mem, w->gpa, &r);
    *e = (struct tlb_entry){TLB_EMPTY, TLB_EMPTY, TLB_EMPTY, 0};
    *s = (struct tlb_side){.page = page, .gpa = w->gpa, .global = w->global};
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
