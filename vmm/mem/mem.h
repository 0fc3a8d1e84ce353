/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest physical memory of one VM: RAM in one sealed memfd, and the map of what answers where.
 *
 * RAM lies at [0, low) and [4 GiB, 4 GiB + high) of guest physical address space and contiguously in
 * the memfd. Regions (RAM, ROM, MMIO) lie over it by priority; the flat view of who answers at a GPA
 * is rebuilt when regions change and read under a reader lock on TLB misses only. DMA goes to RAM
 * alone, never to MMIO, so no device can be re-entered through its own descriptors.
 *
 * Threads: mem_find, mem_read, mem_write, mem_host and the dirty log from any thread; changes of the
 * map under the machine lock. */
#ifndef VMDECK_MEM_MEM_H
#define VMDECK_MEM_MEM_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE  UINT64_C(4096)
#define PAGE_MASK  (~(PAGE_SIZE - 1))

/* Guest physical addresses have this many bits everywhere (CPUID 80000008h). */
#define GPA_BITS 46

#define MEM_LOW_MAX  UINT64_C(0xc0000000) /* RAM below the PCI hole, at most 3 GiB */
#define MEM_HIGH_GPA (UINT64_C(1) << 32)

struct mem;
struct mem_region;

/* Access of 1, 2, 4 or 8 bytes, offset relative to the region, natural values (little endian).
 * Called with the machine lock held, by the bus. Wider or odd guest accesses are split before. */
struct mmio_ops {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
    unsigned min_size, max_size; /* 0: any; other widths are split or widened by the bus */
};

enum mem_kind { MEM_NONE, MEM_RAM, MEM_ROM, MEM_MMIO };

/* One answer of the flat view: [gpa, gpa+size) is uniform. */
struct mem_range {
    enum mem_kind kind;
    uint64_t gpa, size;
    uint8_t *host;         /* RAM and ROM: address of gpa in this process */
    uint64_t page_index;   /* RAM and ROM-over-RAM: index of the first page in the page tables below */
    struct mem_region *region;
    const struct mmio_ops *ops; /* MMIO; for ROM: where writes go, NULL drops them */
    void *opaque;
    uint64_t offset; /* of gpa within the region */
};

/* ---- life ---- */

/* size: multiple of 1 MiB. The memfd is sealed. */
struct mem *mem_new(uint64_t size, struct err *e);
void mem_free(struct mem *mem);
uint64_t mem_size(const struct mem *mem);
uint64_t mem_low_size(const struct mem *mem);
uint64_t mem_high_size(const struct mem *mem);
int mem_fd(const struct mem *mem);

/* ---- map (machine lock) ---- */

/* Higher priority wins where regions overlap. RAM is there from the start at priority 0. */
#define MEM_PRIO_DEVICE 10
#define MEM_PRIO_ROM    20
#define MEM_PRIO_SHADOW 30 /* PAM windows: RAM or ROM over the BIOS area */

struct mem_region *mem_add_mmio(struct mem *mem, const char *name, uint64_t gpa, uint64_t size,
                                int prio, const struct mmio_ops *ops, void *opaque);
/* host: page-aligned memory that outlives the region, with pages multiple of 4 KiB. Writable memory
 * that is not guest RAM (VGA frame buffer) is RAM with its own dirty log. */
struct mem_region *mem_add_host(struct mem *mem, const char *name, uint64_t gpa, uint64_t size,
                                int prio, void *host, bool readonly);
/* A second view of guest RAM at the same addresses with a priority: what PAM registers need.
 * readonly: writes are dropped. */
struct mem_region *mem_add_ram_alias(struct mem *mem, const char *name, uint64_t gpa, uint64_t size,
                                     int prio, bool readonly);
/* Moves, hides or shows a region (BAR and PAM writes). */
void mem_region_set(struct mem *mem, struct mem_region *r, uint64_t gpa, bool enabled);
/* Several changes as one: listeners hear once, at the outermost commit. */
void mem_begin(struct mem *mem);
void mem_commit(struct mem *mem);

/* ---- queries ---- */

/* What answers at gpa. Holes answer MEM_NONE with the hole's extent. */
void mem_find(struct mem *mem, uint64_t gpa, struct mem_range *out);
/* Calls fn for every range of the flat view in rising order (KVM memory slots). */
void mem_each(struct mem *mem, void (*fn)(void *opaque, const struct mem_range *r), void *opaque);
/* Generation of the flat view, rises with each commit that changed it. */
uint64_t mem_generation(const struct mem *mem);

/* fn runs under the machine lock after the view has changed. At most 4 listeners. */
void mem_listen(struct mem *mem, void (*fn)(void *opaque), void *opaque);
void mem_unlisten(struct mem *mem, void *opaque);

/* ---- DMA: RAM only; false when any byte of it is not RAM (nothing is transferred then) ---- */

bool mem_read(struct mem *mem, uint64_t gpa, void *dst, uint64_t len);
bool mem_write(struct mem *mem, uint64_t gpa, const void *src, uint64_t len);
/* Host address of guest RAM [gpa, gpa+len), NULL when it is not all RAM or not contiguous. For reading;
 * for writing call mem_dirty after the bytes are there. Never keep it past the request. */
void *mem_host(struct mem *mem, uint64_t gpa, uint64_t len);
void mem_dirty(struct mem *mem, uint64_t gpa, uint64_t len);
/* Firmware and loaders, before the VM runs: also writes ROM. */
bool mem_write_rom(struct mem *mem, uint64_t gpa, const void *src, uint64_t len);

/* ---- page flags: one byte per page of RAM (index = offset in the memfd / 4096) ---- */

#define PAGE_HAS_CODE 1u /* the software CPU caches decoded instructions of this page */
#define PAGE_CLEAN    2u /* dirty log on and no write seen since it was last read */

/* The software CPU's fast store path must not be used on a page with any flag set. Pages of regions
 * that are not guest RAM (frame buffers, ROM) have flags too; page_index counts through all of them. */
uint8_t *mem_page_flags(struct mem *mem);
uint64_t mem_page_count(struct mem *mem);
/* Atomically sets flags; clearing is by mem_page_clear. */
void mem_page_set(struct mem *mem, uint64_t index, uint8_t flags);
void mem_page_clear(struct mem *mem, uint64_t index, uint8_t flags);
/* A store (CPU slow path or DMA) hit the page: clears PAGE_CLEAN, and calls the code hook if the page
 * has code. */
void mem_page_written(struct mem *mem, uint64_t index, unsigned offset, unsigned len);
/* Called when a page with PAGE_HAS_CODE is written, on the writing thread, BEFORE the return to the
 * writer and AFTER the bytes are stored. One hook: the software CPU. */
void mem_set_code_hook(struct mem *mem,
                       void (*fn)(void *opaque, uint64_t index, unsigned offset, unsigned len),
                       void *opaque);
/* Called after pages got PAGE_CLEAN set, so that the software CPU drops its fast-store TLB entries. */
void mem_set_protect_hook(struct mem *mem, void (*fn)(void *opaque), void *opaque);

/* Dirty log of a host region (frame buffer): bit per page set in bitmap (caller's, zeroed here) for
 * pages written since the last call. The first call turns the log on and reports everything. */
void mem_region_dirty(struct mem *mem, struct mem_region *r, uint64_t *bitmap);
/* KVM keeps its own log: this source is merged in by mem_region_dirty. */
void mem_set_dirty_source(struct mem *mem,
                          void (*sync)(void *opaque, struct mem_region *r, uint64_t *bitmap),
                          void *opaque);

#endif
