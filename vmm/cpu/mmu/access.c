/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory access, the slow path: TLB misses, page crossing, MMIO, pages with code or a clean log.
 *
 * Every function translates all pages of the access before it writes a byte, so a fault leaves nothing behind. */
#include <string.h>

#include "vmm/cpu/code.h"
#include "vmm/cpu/jit/verify.h"
#include "vmm/cpu/mmu/mmu.h"

bool cpu_is_apic_page(const struct cpu *c, uint64_t gpa)
{
    /* enabled and not in x2APIC mode (bits 11 and 10 of IA32_APIC_BASE) */
    uint64_t base = c->s.apic_base & PAGE_MASK & ((UINT64_C(1) << GPA_BITS) - 1);

    return (c->s.apic_base & 0xc00) == 0x800 && (gpa & PAGE_MASK) == base;
}

uint64_t mmu_io_read(struct cpu *c, uint64_t gpa, unsigned size)
{
    const struct cpu_set_cfg *cfg = &c->set->cfg;

    if (cpu_is_apic_page(c, gpa)) {
        unsigned offset = (unsigned)(gpa & 0xfff);
        return lapic_mmio_read(c->lapic, offset & ~3u) >> (8 * (offset & 3));
    }
    c->stats.mmio++;
    c->doing = CPU_DEVICE;
    uint64_t v = cfg->io->mmio_read(cfg->io_opaque, gpa, size);
    c->doing = CPU_INTERPRETS;
    return v;
}

static void io_write(struct cpu *c, uint64_t gpa, uint64_t value, unsigned size)
{
    const struct cpu_set_cfg *cfg = &c->set->cfg;

    c->end_block = true; /* an interrupt may be due now, or the memory map changed */
    if (cpu_is_apic_page(c, gpa)) {
        if ((gpa & 3) == 0 && size >= 4)
            lapic_mmio_write(c->lapic, (unsigned)(gpa & 0xfff), (uint32_t)value);
        return;
    }
    c->stats.mmio++;
    c->doing = CPU_DEVICE;
    cfg->io->mmio_write(cfg->io_opaque, gpa, value, size);
    c->doing = CPU_INTERPRETS;
}

/* Devices are asked in naturally sized pieces. */
static unsigned io_piece(uint64_t gpa, unsigned left)
{
    unsigned n = 8;

    while (n > left || (gpa & (n - 1)))
        n >>= 1;
    return n;
}

static void io_read_bytes(struct cpu *c, uint64_t gpa, uint8_t *dst, unsigned size)
{
    while (size > 0) {
        unsigned n = io_piece(gpa, size);
        st_le(dst, mmu_io_read(c, gpa, n), n);
        gpa += n;
        dst += n;
        size -= n;
    }
}

static void io_write_bytes(struct cpu *c, uint64_t gpa, const uint8_t *src, unsigned size)
{
    while (size > 0) {
        unsigned n = io_piece(gpa, size);
        io_write(c, gpa, ld_le(src, n), n);
        gpa += n;
        src += n;
        size -= n;
    }
}

/* An access of at most a page, translated: one or two parts. */
struct part {
    uint8_t *host;
    uint64_t gpa, page_index;
    unsigned size;
};

static uint64_t wrap(const struct cpu *c, uint64_t linear)
{
    return c->long_mode ? linear : (uint32_t)linear;
}

static unsigned translate_parts(struct cpu *c, uint64_t linear, unsigned size, enum access access, enum mmu_index mmu,
                                struct part p[2])
{
    unsigned first = (unsigned)MIN(PAGE_SIZE - (linear & ~PAGE_MASK), size);

    if ((c->debug & DEBUG_DATA) && access != ACCESS_EXEC)
        debug_data(c, linear, size, access == ACCESS_WRITE);
    linear = wrap(c, linear);
    p[0].size = first;
    p[0].host = mmu_access(c, linear, access, mmu, &p[0].gpa, &p[0].page_index);
    if (first == size)
        return 1;
    linear = wrap(c, linear + first);
    p[1].size = size - first;
    p[1].host = mmu_access(c, linear, access, mmu, &p[1].gpa, &p[1].page_index);
    /* the second fill may have evicted nothing of the first part: its host address was taken already */
    return 2;
}

static unsigned translate(struct cpu *c, uint64_t linear, unsigned size, enum access access, enum mmu_index mmu,
                          struct part p[2])
{
    unsigned n = translate_parts(c, linear, size, access, mmu, p);

    if (__builtin_expect(c->verify != NULL, 0))
        for (unsigned k = 0; k < n; k++)
            verify_access(c, linear + (k ? p[0].size : 0), p[k].host, p[k].page_index, p[k].size,
                          access == ACCESS_WRITE);
    return n;
}

static void load(struct cpu *c, const struct part *p, uint8_t *dst)
{
    if (!p->host) {
        io_read_bytes(c, p->gpa, dst, p->size);
        return;
    }
    switch (p->size) { /* one access, so that what other vCPUs store is seen whole */
    case 1: *dst = *p->host; break;
    case 2: st_le16(dst, ld_le16(p->host)); break;
    case 4: st_le32(dst, ld_le32(p->host)); break;
    case 8: st_le64(dst, ld_le64(p->host)); break;
    default: memcpy(dst, p->host, p->size); break;
    }
}

/* A store went to a page of RAM by the slow path. */
static void stored(struct cpu *c, uint64_t page_index, unsigned offset, unsigned size)
{
    if (__atomic_load_n(&mem_page_flags(c->set->cfg.mem)[page_index], __ATOMIC_SEQ_CST))
        code_store(c, page_index, offset, size);
}

static void store(struct cpu *c, const struct part *p, const uint8_t *src)
{
    if (!p->host) {
        io_write_bytes(c, p->gpa, src, p->size);
        return;
    }
    switch (p->size) {
    case 1: *p->host = *src; break;
    case 2: st_le16(p->host, ld_le16(src)); break;
    case 4: st_le32(p->host, ld_le32(src)); break;
    case 8: st_le64(p->host, ld_le64(src)); break;
    default: memcpy(p->host, src, p->size); break;
    }
    stored(c, p->page_index, (unsigned)(p->gpa & 0xfff), p->size);
}

static void ld_parts(struct cpu *c, uint64_t linear, void *dst, unsigned size, enum mmu_index mmu)
{
    struct part p[2];
    unsigned n = translate(c, linear, size, ACCESS_READ, mmu, p);

    load(c, &p[0], dst);
    if (n == 2)
        load(c, &p[1], (uint8_t *)dst + p[0].size);
}

static void st_parts(struct cpu *c, uint64_t linear, const void *src, unsigned size, enum mmu_index mmu)
{
    struct part p[2];
    unsigned n = translate(c, linear, size, ACCESS_WRITE, mmu, p);

    store(c, &p[0], src);
    if (n == 2)
        store(c, &p[1], (const uint8_t *)src + p[0].size);
}

void mmu_fetch(struct cpu *c, uint64_t linear, void *dst, unsigned size)
{
    struct part p[2];
    unsigned n = translate(c, linear, size, ACCESS_EXEC, c->cpl == 3 ? MMU_USER : MMU_KERNEL, p);

    load(c, &p[0], dst);
    if (n == 2)
        load(c, &p[1], (uint8_t *)dst + p[0].size);
}

uint64_t mem_ld(struct cpu *c, uint64_t linear, unsigned size)
{
    uint8_t v[8];

    ld_parts(c, linear, v, size, c->mmu);
    return ld_le(v, size);
}

void mem_st(struct cpu *c, uint64_t linear, uint64_t value, unsigned size)
{
    uint8_t v[8];

    st_le64(v, value);
    st_parts(c, linear, v, size, c->mmu);
}

void mem_ld_bytes(struct cpu *c, uint64_t linear, void *dst, unsigned size)
{
    const void *hit = tlb_read_hit(c, linear, size);

    if (hit)
        memcpy(dst, hit, size);
    else
        ld_parts(c, linear, dst, size, c->mmu);
}

void mem_st_bytes(struct cpu *c, uint64_t linear, const void *src, unsigned size)
{
    void *hit = tlb_write_hit(c, linear, size);

    if (hit)
        memcpy(hit, src, size);
    else
        st_parts(c, linear, src, size, c->mmu);
}

void mem_probe_write(struct cpu *c, uint64_t linear, unsigned size)
{
    struct part p[2];

    if (!tlb_write_hit(c, linear, size))
        translate(c, linear, size, ACCESS_WRITE, c->mmu, p);
}

/* Implicit supervisor accesses obey SMAP whatever EFLAGS.AC says (SDM vol. 3A 4.6). */
uint64_t mem_ld_sys(struct cpu *c, uint64_t linear, unsigned size)
{
    uint8_t v[8];

    ld_parts(c, linear, v, size, MMU_KERNEL);
    return ld_le(v, size);
}

void mem_st_sys(struct cpu *c, uint64_t linear, uint64_t value, unsigned size)
{
    uint8_t v[8];

    st_le64(v, value);
    st_parts(c, linear, v, size, MMU_KERNEL);
}

void *mem_rmw(struct cpu *c, uint64_t linear, unsigned size)
{
    void *hit = tlb_write_hit(c, linear, size);
    struct part p[2];

    if (hit)
        return hit;
    if (translate(c, linear, size, ACCESS_WRITE, c->mmu, p) == 2)
        return NULL;
    return p[0].host;
}

void mem_rmw_done(struct cpu *c, uint64_t linear, unsigned size)
{
    uint64_t gpa, index;

    if (tlb_write_hit(c, linear, size))
        return; /* no flag was set on the page */
    if (mmu_access(c, wrap(c, linear), ACCESS_WRITE, c->mmu, &gpa, &index))
        stored(c, index, (unsigned)(gpa & 0xfff), size);
}
