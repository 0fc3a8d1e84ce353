/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cache of decoded instructions: straight-line blocks, per vCPU, keyed by physical address and mode, and the
 * detection of stores to code that is cached anywhere.
 *
 * For every RAM page the set keeps a bitmap of 64-byte lines that hold decoded code and a generation. A store that
 * hits such a line (from any vCPU or by DMA) raises the generation; a block is valid while its page's generation is the
 * one it was decoded under, which is checked at every entry. Data next to code costs a slow store, no decoding. */
#ifndef VMDECK_CPU_CODE_H
#define VMDECK_CPU_CODE_H

#include "vmm/cpu/cpu_priv.h"

#define BLOCK_INSNS 32

struct block {
    struct block *hash_next;
    uint64_t key;         /* page index << 20 | offset in the page << 8 | cpu_block_mode */
    uint64_t page, page2; /* page indices; page2 UINT64_MAX unless the only instruction crosses */
    uint32_t generation, generation2; /* of the pages when decoded */
    uint8_t count;
    /* Successors met before: valid for the same RIP, mode and TLB epoch. */
    struct {
        struct block *block;
        uint64_t rip;
        uint32_t epoch;
    } next[2];
    struct insn insns[];
};

/* MODE_* of the code at hand, and whether it is user code: what a decoded block depends on. */
static inline uint8_t cpu_block_mode(const struct cpu *c)
{
    return (uint8_t)(c->mode | (c->cpl == 3) << 7);
}

/* Shared by the vCPUs of a set. */
struct code_map;
struct code_map *code_map_new(struct cpu_set *set, struct err *e);
void code_map_free(struct code_map *m);

struct code_cache *code_cache_new(struct cpu *c);
void code_cache_free(struct code_cache *cc);
/* The block at RIP, decoded when needed; raises fetch faults. */
struct block *code_find(struct cpu *c);
bool block_valid(const struct cpu *c, const struct block *b);
void code_flush(struct cpu *c);

/* For the translator. Stores to the bytes are noticed from now on (jit_page_written). */
void code_cover(struct cpu *c, uint64_t page_index, unsigned offset, unsigned len);
/* Host address of the code at RIP; raises fetch faults; NULL for MMIO. global: the page is. */
const uint8_t *code_fetch(struct cpu *c, uint64_t rip, uint64_t *page_index, bool *global);

/* This vCPU stored to a page with flags: tells struct mem, and ends the block when it lost code. */
void code_store(struct cpu *c, uint64_t page_index, unsigned offset, unsigned len);

#endif
