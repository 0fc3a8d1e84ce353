/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Page walk: 32-bit, PAE, 4- and 5-level paging (SDM vol. 3A ch. 4). Entries are read and their A and D bits set by
 * host atomics, so that vCPUs may walk the same tables at once. */
#include "vmm/cpu/jit/verify.h"
#include "vmm/cpu/mmu/mmu.h"

#define PTE_P  1u
#define PTE_W  2u
#define PTE_U  4u
#define PTE_A  0x20u
#define PTE_D  0x40u
#define PTE_PS 0x80u
#define PTE_G  0x100u
#define PTE_NX (UINT64_C(1) << 63)

#define GPA_MASK  ((UINT64_C(1) << GPA_BITS) - 1)
#define ADDR_MASK (GPA_MASK & PAGE_MASK)
/* address bits that this CPU does not have, up to bit 51 */
#define RSVD_ADDR (((UINT64_C(1) << 52) - 1) & ~GPA_MASK)

/* One way of paging: how wide entries are and how many levels there are. */
struct format {
    unsigned levels, entry_size, index_bits;
};

static struct format format_of(const struct cpu *c)
{
    if (!(c->s.cr4 & CR4_PAE))
        return (struct format){2, 4, 10};
    if (!c->long_mode)
        return (struct format){3, 8, 9};
    return (struct format){c->s.cr4 & CR4_LA57 ? 5 : 4, 8, 9};
}

/* An entry of a paging structure, as the walk has read it. */
struct entry {
    uint64_t value;
    void *host;          /* NULL: its bits cannot be set (ROM, MMIO) */
    uint64_t page_index; /* in struct mem's page flags */
    unsigned offset;     /* in its page */
};

/* Mostly RAM, in the range that was looked at last; the rest are boot code's tables in ROM, and mistakes. What is not
 * memory is read as any MMIO is. */
static struct entry load_entry(struct cpu *c, uint64_t gpa, unsigned size)
{
    struct mmu_state *m = c->mmu_state;
    struct mem *mem = c->set->cfg.mem;
    uint64_t generation = mem_generation(mem);

    if (m->tables_generation != generation || gpa - m->tables.gpa >= m->tables.size) {
        mem_find(mem, gpa, &m->tables);
        m->tables_generation = generation;
    }
    const struct mem_range *r = &m->tables;
    if (!r->host || cpu_is_apic_page(c, gpa))
        return (struct entry){.value = mmu_io_read(c, gpa, size)};
    uint64_t skip = gpa - r->gpa;
    void *p = r->host + skip;
    uint64_t value = size == 4 ? __atomic_load_n((const uint32_t *)p, __ATOMIC_ACQUIRE)
                               : __atomic_load_n((const uint64_t *)p, __ATOMIC_ACQUIRE);
    return (struct entry){.value = value,
                          .host = r->kind == MEM_RAM ? p : NULL,
                          .page_index = r->page_index + skip / PAGE_SIZE,
                          .offset = (unsigned)(gpa & ~PAGE_MASK)};
}

/* Sets bits in the entry; false: it is no longer what the walk saw. */
static bool set_bits(struct cpu *c, const struct entry *e, unsigned size, uint64_t bits)
{
    struct mem *mem = c->set->cfg.mem;
    bool ok;

    if ((e->value & bits) == bits || !e->host)
        return true;
    if (size == 4) {
        uint32_t expect = (uint32_t)e->value;
        ok = __atomic_compare_exchange_n((uint32_t *)e->host, &expect, expect | (uint32_t)bits, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    } else {
        uint64_t expect = e->value;
        ok = __atomic_compare_exchange_n((uint64_t *)e->host, &expect, expect | bits, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED);
    }
    if (__atomic_load_n(&mem_page_flags(mem)[e->page_index], __ATOMIC_SEQ_CST))
        mem_page_written(mem, e->page_index, e->offset, size);
    return ok;
}

/* Reserved bits of an entry at a level (1: maps 4 KiB pages). */
static bool reserved_set(const struct cpu *c, const struct format *f, uint64_t e, unsigned level, bool leaf)
{
    if (f->entry_size == 4) /* PSE-36 puts address bits 32-39 into bits 13-20 of a 4 MiB entry; bit 21 is reserved */
        return leaf && level == 2 && (e & BIT64(21));
    uint64_t rsvd = RSVD_ADDR;
    if (!(c->s.efer & EFER_NXE))
        rsvd |= PTE_NX;
    if (!c->long_mode) {
        rsvd |= UINT64_C(0x7ff) << 52;
        if (level == 3)
            rsvd |= PTE_NX | 0x1e6;
    } else if (level >= 4) {
        rsvd |= PTE_PS;
    }
    if (leaf && level == 2)
        rsvd |= 0x1fe000;
    if (leaf && level == 3)
        rsvd |= 0x3fffe000;
    return (e & rsvd) != 0;
}

static bool is_leaf(const struct cpu *c, const struct format *f, uint64_t e, unsigned level)
{
    if (level == 1)
        return true;
    if (!(e & PTE_PS))
        return false;
    if (level == 2)
        return f->entry_size == 8 || (c->s.cr4 & CR4_PSE);
    return level == 3 && c->long_mode && cpu_has(c->set->cfg.model, CPUF_PDPE1GB);
}

/* Physical address of the 4 KiB page at linear, under the leaf entry. */
static uint64_t leaf_gpa(const struct format *f, uint64_t e, unsigned level, uint64_t linear)
{
    unsigned shift = PAGE_SHIFT + f->index_bits * (level - 1);
    uint64_t low = (UINT64_C(1) << shift) - 1;
    uint64_t base = e & ADDR_MASK & ~low;

    if (f->entry_size == 4 && level == 2)
        base = (e & 0xffc00000u) | ((e >> 13 & 0xff) << 32);
    else if (f->entry_size == 4)
        base = e & 0xfffff000u;
    return (base | (linear & low)) & PAGE_MASK;
}

/* What protection keys forbid for user pages: bit 0 all data accesses, bit 1 writes. */
static unsigned key_rights(const struct cpu *c, uint64_t e)
{
    if (!(c->s.cr4 & CR4_PKE) || !c->long_mode)
        return 0;
    return c->s.fpu.pkru >> (2 * (e >> 59 & 15)) & 3;
}

bool mmu_walk(struct cpu *c, uint64_t linear, enum access access, enum mmu_index mmu, struct walk *out,
              uint32_t *error)
{
    bool user = mmu == MMU_USER, write = access == ACCESS_WRITE;
    bool wp = c->s.cr0 & CR0_WP;
    struct format f;

    *error = (write ? PF_W : 0) | (user ? PF_U : 0);
    if (!(c->s.cr0 & CR0_PG)) {
        *out = (struct walk){.gpa = linear & 0xfffff000u, .readable = true, .writable = true, .executable = true};
        return true;
    }
    f = format_of(c);
    bool nx_on = f.entry_size == 8 && (c->s.efer & EFER_NXE);
    if (access == ACCESS_EXEC && (nx_on || (c->s.cr4 & CR4_SMEP)))
        *error |= PF_I;
retry:;
    uint64_t table = f.entry_size == 8 && !c->long_mode ? c->s.cr3 & 0xffffffe0u
                     : f.entry_size == 4                ? c->s.cr3 & 0xfffff000u
                                                        : c->s.cr3 & ADDR_MASK;
    bool may_write = true, may_user = true, may_exec = true;
    struct entry path[5];
    unsigned depth = 0;

    for (unsigned level = f.levels;; level--) {
        unsigned shift = PAGE_SHIFT + f.index_bits * (level - 1);
        uint64_t index = linear >> shift & ((1u << f.index_bits) - 1);
        if (f.levels == 3 && level == 3)
            index &= 3;
        const struct entry entry = load_entry(c, table + index * f.entry_size, f.entry_size);
        uint64_t e = entry.value;
        if (!(e & PTE_P))
            return false;
        bool leaf = is_leaf(c, &f, e, level);
        if (reserved_set(c, &f, e, level, leaf) ||
            (!leaf && f.entry_size == 8 && level == 3 && c->long_mode && (e & PTE_PS))) {
            *error |= PF_P | PF_RSV;
            return false;
        }
        bool pdpte = f.levels == 3 && level == 3; /* PAE: no rights, no accessed bit */
        if (!pdpte) {
            path[depth++] = entry;
            may_write &= !!(e & PTE_W);
            may_user &= !!(e & PTE_U);
            may_exec &= !(nx_on && (e & PTE_NX));
        }
        if (!leaf) {
            table = f.entry_size == 4 ? e & 0xfffff000u : e & ADDR_MASK;
            continue;
        }

        unsigned key = may_user ? key_rights(c, e) : 0;
        bool readable, writable, executable;
        if (user) {
            readable = may_user && !(key & 1);
            writable = readable && may_write && !(key & 2);
            executable = may_user && may_exec;
        } else {
            bool smap = may_user && mmu == MMU_KERNEL && (c->s.cr4 & CR4_SMAP);
            readable = !smap && !(key & 1);
            writable = readable && (may_write || !wp) && !((key & 2) && wp);
            executable = may_exec && !(may_user && (c->s.cr4 & CR4_SMEP));
        }
        if (access == ACCESS_EXEC ? !executable : write ? !writable : !readable) {
            *error |= PF_P;
            if (access != ACCESS_EXEC && key && may_user && (user || mmu == MMU_KERNEL_AC || !(c->s.cr4 & CR4_SMAP)) &&
                ((key & 1) || (write && (key & 2) && (user || wp))))
                *error |= PF_PK;
            return false;
        }
        for (unsigned i = 0; i < depth; i++) {
            uint64_t bits = PTE_A | (i == depth - 1 && write ? PTE_D : 0);
            if (c->verify && (path[i].value & bits) != bits && !verify_may_mark(c, path[i].host))
                return false;
            if (!set_bits(c, &path[i], f.entry_size, bits))
                goto retry; /* another vCPU changed it under us */
        }
        *out = (struct walk){.gpa = leaf_gpa(&f, e, level, linear),
                             .readable = readable,
                             .writable = writable && (write || (e & PTE_D)),
                             .executable = executable,
                             .large = level > 1,
                             .global = (e & PTE_G) && (c->s.cr4 & CR4_PGE)};
        return true;
    }
}
