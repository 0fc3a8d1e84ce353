/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address translation of the software CPU: the page walk, the TLB, and the slow paths of memory access. */
#ifndef VMDECK_CPU_MMU_MMU_H
#define VMDECK_CPU_MMU_MMU_H

#include "vmm/cpu/cpu_priv.h"

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC };

/* Result of a walk: the translation of one 4 KiB page. */
struct walk {
    uint64_t gpa;     /* of the page */
    bool writable;    /* a store needs no further walk: permitted and the dirty bit is set */
    bool executable;
    bool readable;
    bool global, large;
};

/* Walks the paging structures for an access with the rights of that MMU index, setting A and D bits. Returns
 * false with the page fault error code in *error; nothing is set then. SDM vol. 3A ch. 4. */
bool mmu_walk(struct cpu *c, uint64_t linear, enum access access, enum mmu_index mmu, struct walk *out,
              uint32_t *error);

/* What the slow path knows of a page: all of the translation, whatever the tags admit. */
struct tlb_side {
    uint64_t page;       /* linear page address, TLB_NEVER when unused */
    uint64_t gpa;
    uint64_t page_index; /* in struct mem's page flags */
    uint64_t addend;     /* host minus linear address, of RAM */
    bool ram, global, writable, large;
    bool permits[3];     /* by enum access: allowed, and what it sets in the page tables is set */
};

/* Slots filled with entries that are not global since they were last flushed, so that a CR3 load need not look at
 * all of them. */
#define TLB_LOCAL_MAX 512
struct tlb_local {
    uint16_t count; /* above TLB_LOCAL_MAX: some are not listed */
    uint16_t slot[TLB_LOCAL_MAX];
};

/* Where pieces of large pages have been cached; low > high: nowhere. */
struct tlb_large {
    uint64_t low, high;
};

struct mmu_state {
    struct tlb_side side[MMU_COUNT][TLB_MAX];
    struct tlb_local local[MMU_COUNT];
    struct tlb_large large[2]; /* lower and upper half */
    struct mem_range tables;    /* where paging structures were found last, */
    uint64_t tables_generation; /* in that generation of the memory map */
    uint32_t fills, evictions; /* since the size was last thought about */
};

/* Translates for one access inside a page, filling the TLB; raises #PF. The host address, or NULL for MMIO and
 * what is not there, with *gpa set. page_index may be NULL. */
uint8_t *mmu_access(struct cpu *c, uint64_t linear, enum access access, enum mmu_index mmu, uint64_t *gpa,
                    uint64_t *page_index);

/* 1, 2, 4 or 8 bytes from where there is no memory: a device, the local APIC, or nothing. */
uint64_t mmu_io_read(struct cpu *c, uint64_t gpa, unsigned size);
/* Code bytes, at most a page of them, from wherever they are; raises fetch faults. */
void mmu_fetch(struct cpu *c, uint64_t linear, void *dst, unsigned size);

/* Brings the page into the TLB; false: it would fault. */
bool mmu_prefill(struct cpu *c, uint64_t linear, enum access access);

/* Stores to that page take the slow path from now on; only while the vCPU stands still or is the caller's. */
void tlb_protect_page(struct cpu *c, uint64_t page_index);

/* Stores through that slot take the slow path, once. */
void tlb_close_store(struct cpu *c, unsigned mmu, unsigned slot);

static inline unsigned tlb_slot(const struct cpu *c, uint64_t linear)
{
    return (linear >> PAGE_SHIFT) & (c->tlb_slots - 1);
}

/* ---- the fast path, inline in the handlers of common instructions ---- */

/* Host address when the access hits the TLB and stays in its page, else NULL. */
static inline void *tlb_hit(struct cpu *c, uint64_t linear, unsigned size, enum tlb_kind kind)
{
    const struct tlb_entry *e = &c->tlb[c->mmu][kind][tlb_slot(c, linear)];

    if (__builtin_expect(e->tag == (linear & PAGE_MASK) && (linear & ~PAGE_MASK) <= PAGE_SIZE - size, 1))
        return (void *)(uintptr_t)(linear + e->addend);
    return NULL;
}

static inline void *tlb_read_hit(struct cpu *c, uint64_t linear, unsigned size)
{
    return tlb_hit(c, linear, size, TLB_READ);
}

static inline void *tlb_write_hit(struct cpu *c, uint64_t linear, unsigned size)
{
    return tlb_hit(c, linear, size, TLB_WRITE);
}

/* Loads and stores of 1, 2, 4 or 8 bytes; size is a constant at every call. */
static inline uint64_t fast_ld(struct cpu *c, uint64_t linear, unsigned size)
{
    const void *p = tlb_read_hit(c, linear, size);

    if (!p)
        return mem_ld(c, linear, size);
    switch (size) {
    case 1: return *(const uint8_t *)p;
    case 2: return ld_le16(p);
    case 4: return ld_le32(p);
    default: return ld_le64(p);
    }
}

static inline void fast_st(struct cpu *c, uint64_t linear, uint64_t v, unsigned size)
{
    void *p = tlb_write_hit(c, linear, size);

    if (!p) {
        mem_st(c, linear, v, size);
        return;
    }
    switch (size) {
    case 1: *(uint8_t *)p = (uint8_t)v; break;
    case 2: st_le16(p, (uint16_t)v); break;
    case 4: st_le32(p, (uint32_t)v); break;
    default: st_le64(p, v); break;
    }
}

#endif
