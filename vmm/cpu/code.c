/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decoded blocks and self-modifying code, see code.h.
 *
 * A page is armed when all stores to it are noticed: it has PAGE_HAS_CODE and every vCPU's TLB sends stores to the slow
 * path. That is done with the other vCPUs stopped, before the first line is covered.
 *
 * The decoder reads the generation, covers lines, then reads bytes; a writer stores, clears lines, then raises the
 * generation. So whoever has read the new generation finds the lines clear and covers them again. Changes of lines
 * and of armed are under code_map.mutex; it is taken inside cpu_exclusive, never around it. */
#include "vmm/cpu/code.h"

#include <string.h>
#include <sys/mman.h>

#include "vmm/base/alloc.h"
#include "vmm/cpu/decode/decode.h"
#include "vmm/cpu/jit/jit.h"
#include "vmm/cpu/mmu/mmu.h"
#include "vmm/cpu/seg.h"

#define HASH_BITS  14
#define ARENA_SIZE (6u << 20)

struct code_map {
    struct cpu_set *set;
    pthread_mutex_t mutex;
    uint64_t pages;
    _Atomic uint64_t *lines;      /* by page: 64-byte lines with decoded code */
    _Atomic uint32_t *generation; /* by page */
    uint8_t *state;               /* by page: ARMED, and stores since it was last decoded from */
    uint8_t *arms;                /* by page: how often it was armed */
};

#define ARMED 0x80u
/* Stores to a page without covered lines, after which it counts as data and gets its fast stores back. A page with
 * code and data that change in turn stays armed: arming stops all vCPUs. */
#define COLD_STORES 16
/* Unless it was armed that often: arming costs more than slow stores. */
#define ARMS_MAX 8

struct code_cache {
    uint8_t *arena;
    size_t used;
    struct block *hash[1u << HASH_BITS];
};

/* ---- stores to code ---- */

static uint64_t line_mask(unsigned offset, unsigned len)
{
    unsigned first = offset / 64, last = (offset + len - 1) / 64;

    return (UINT64_MAX >> (63 - (last - first))) << first;
}

static void code_written(void *opaque, uint64_t index, unsigned offset, unsigned len)
{
    struct code_map *m = opaque;
    uint64_t lines = m->lines[index];

    if (lines && !(lines & line_mask(offset, len)))
        return;
    pthread_mutex_lock(&m->mutex);
    if (m->lines[index] & line_mask(offset, len)) {
        m->lines[index] = 0;
        m->generation[index]++;
        for (unsigned i = 0; i < m->set->cfg.count; i++)
            jit_page_written(m->set->cpu[i], index);
    } else if (m->lines[index] == 0 && (m->state[index] & ARMED) && m->arms[index] < ARMS_MAX &&
               (++m->state[index] & ~ARMED) >= COLD_STORES) {
        m->state[index] = 0;
        mem_page_clear(m->set->cfg.mem, index, PAGE_HAS_CODE);
    }
    pthread_mutex_unlock(&m->mutex);
}

void code_store(struct cpu *c, uint64_t page_index, unsigned offset, unsigned len)
{
    struct code_map *m = c->set->code_map;
    uint32_t before = m->generation[page_index];

    mem_page_written(c->set->cfg.mem, page_index, offset, len);
    if (m->generation[page_index] != before)
        c->end_block = true; /* the rest of this block may be what was written */
}

/* Covers lines of an armed page. False: it is not armed. */
static bool cover_armed(struct code_map *m, uint64_t index, uint64_t mask, uint32_t *generation)
{
    bool armed;

    pthread_mutex_lock(&m->mutex);
    armed = m->state[index] & ARMED;
    if (armed) {
        *generation = m->generation[index];
        m->lines[index] |= mask;
        m->state[index] = ARMED;
    }
    pthread_mutex_unlock(&m->mutex);
    return armed;
}

static void arm(struct cpu *c, uint64_t index)
{
    struct code_map *m = c->set->code_map;

    cpu_exclusive_begin(c);
    pthread_mutex_lock(&m->mutex);
    mem_page_set(c->set->cfg.mem, index, PAGE_HAS_CODE);
    for (unsigned i = 0; i < c->set->cfg.count; i++)
        tlb_protect_page(c->set->cpu[i], index);
    m->state[index] = ARMED;
    m->arms[index] += m->arms[index] < ARMS_MAX;
    pthread_mutex_unlock(&m->mutex);
    cpu_exclusive_end(c);
}

/* Marks [offset, offset+len) of a page as code; returns the generation to decode under. */
static uint32_t cover(struct cpu *c, uint64_t index, unsigned offset, unsigned len)
{
    struct code_map *m = c->set->code_map;
    uint64_t mask = line_mask(offset, len);
    uint32_t generation = m->generation[index];

    if ((m->lines[index] & mask) == mask)
        return generation;
    while (!cover_armed(m, index, mask, &generation))
        arm(c, index);
    return generation;
}

void code_cover(struct cpu *c, uint64_t page_index, unsigned offset, unsigned len)
{
    cover(c, page_index, offset, len);
}

struct code_map *code_map_new(struct cpu_set *set, struct err *e)
{
    struct code_map *m = X_NEW(struct code_map);

    m->set = set;
    m->pages = mem_page_count(set->cfg.mem);
    m->lines = try_alloc(m->pages * sizeof(m->lines[0]));
    m->generation = try_alloc(m->pages * sizeof(m->generation[0]));
    m->state = try_alloc(m->pages);
    m->arms = try_alloc(m->pages);
    pthread_mutex_init(&m->mutex, NULL);
    if (!m->lines || !m->generation || !m->state || !m->arms) {
        err_set(e, ERR_NOMEM, "cannot allocate the code map");
        code_map_free(m);
        return NULL;
    }
    mem_set_code_hook(set->cfg.mem, code_written, m);
    return m;
}

void code_map_free(struct code_map *m)
{
    if (!m)
        return;
    mem_set_code_hook(m->set->cfg.mem, NULL, NULL);
    x_free((void *)m->lines);
    x_free((void *)m->generation);
    x_free(m->state);
    x_free(m->arms);
    pthread_mutex_destroy(&m->mutex);
    x_free(m);
}

/* ---- blocks ---- */

struct code_cache *code_cache_new(struct cpu *c)
{
    struct code_cache *cc = X_NEW(struct code_cache);

    (void)c;
    cc->arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cc->arena == MAP_FAILED) {
        x_free(cc);
        return NULL;
    }
    return cc;
}

void code_cache_free(struct code_cache *cc)
{
    if (!cc)
        return;
    munmap(cc->arena, ARENA_SIZE);
    x_free(cc);
}

void code_flush(struct cpu *c)
{
    memset(c->code->hash, 0, sizeof(c->code->hash));
    c->code->used = 0;
    c->tlb_epoch++; /* no chain leads into the old blocks */
    c->stats.code_flushes++;
}

bool block_valid(const struct cpu *c, const struct block *b)
{
    const struct code_map *m = c->set->code_map;

    return m->generation[b->page] == b->generation &&
           (b->page2 == UINT64_MAX || m->generation[b->page2] == b->generation2);
}

static unsigned hash_of(uint64_t key)
{
    return (unsigned)((key * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - HASH_BITS));
}

/* Host address of code at linear, NULL when it is no memory; raises fetch faults. */
static uint8_t *fetch(struct cpu *c, uint64_t linear, uint64_t *page_index)
{
    uint64_t gpa;

    return mmu_access(c, linear, ACCESS_EXEC, c->cpl == 3 ? MMU_USER : MMU_KERNEL, &gpa, page_index);
}

static unsigned fetch_limit(struct cpu *c, uint64_t rip);
static uint64_t code_linear(const struct cpu *c, uint64_t rip);

const uint8_t *code_fetch(struct cpu *c, uint64_t rip, uint64_t *page_index, bool *global)
{
    uint64_t linear = code_linear(c, rip), gpa;
    enum mmu_index mmu = c->cpl == 3 ? MMU_USER : MMU_KERNEL;

    fetch_limit(c, rip);
    const uint8_t *p = mmu_access(c, linear, ACCESS_EXEC, mmu, &gpa, page_index);
    *global = c->mmu_state->side[mmu][tlb_slot(c, linear)].global;
    return p;
}

/* Bytes of the CS segment that may be fetched at RIP, at most 15. */
static unsigned fetch_limit(struct cpu *c, uint64_t rip)
{
    const struct x86_seg *cs = &c->s.seg[X86_CS];

    if (c->mode & MODE_CODE64) {
        if (!cpu_canonical(c, rip))
            cpu_gp(c, 0);
        return 15;
    }
    if (rip > cs->limit)
        cpu_gp(c, 0);
    return (unsigned)MIN((uint64_t)cs->limit - rip + 1, 15);
}

static uint64_t code_linear(const struct cpu *c, uint64_t rip)
{
    if (c->mode & MODE_CODE64)
        return rip;
    return (uint32_t)(c->s.seg[X86_CS].base + rip);
}

static struct block *block_alloc(struct cpu *c)
{
    size_t size = sizeof(struct block) + BLOCK_INSNS * sizeof(struct insn);

    if (c->code->used + size > ARENA_SIZE)
        code_flush(c);
    struct block *b = (struct block *)(c->code->arena + c->code->used);
    memset(b, 0, sizeof(*b));
    return b;
}

/* A block of the one instruction at RIP, some or all of which is MMIO. It is decoded anew each time: forgotten with
 * the next block, and never a successor (the epoch). A device may see more reads than there are bytes, as real
 * processors fetch ahead, too. */
static struct block *decode_uncached(struct cpu *c)
{
    struct block *b = block_alloc(c);
    uint64_t rip = c->s.rip, linear = code_linear(c, rip);
    unsigned allowed = fetch_limit(c, rip);
    unsigned here = (unsigned)MIN(PAGE_SIZE - (linear & ~PAGE_MASK), allowed);
    uint8_t bytes[15];

    mmu_fetch(c, linear, bytes, here);
    enum decode_result r = insn_decode(c, bytes, here, &b->insns[0]);
    if (r == DECODE_MORE && here < allowed) {
        mmu_fetch(c, code_linear(c, rip + here), bytes + here, allowed - here);
        r = insn_decode(c, bytes, allowed, &b->insns[0]);
    }
    if (r == DECODE_MORE)
        cpu_gp(c, 0);
    b->count = 1;
    b->page2 = UINT64_MAX;
    c->tlb_epoch++;
    return b;
}

/* Decodes from RIP to the first control transfer, the end of the page or BLOCK_INSNS. An instruction that crosses into
 * the next page is a block's first and only one. */
static struct block *decode_block(struct cpu *c, uint64_t key, uint64_t page, const uint8_t *host)
{
    struct block *b = block_alloc(c);
    uint64_t rip = c->s.rip;
    unsigned offset = (unsigned)(code_linear(c, rip) & 0xfff), at = 0;
    bool more = true;

    b->key = key;
    b->page = page;
    b->page2 = UINT64_MAX;
    b->generation = cover(c, page, offset, 1);
    while (more && b->count < BLOCK_INSNS && offset + at < PAGE_SIZE) {
        struct insn *i = &b->insns[b->count];
        unsigned allowed = fetch_limit(c, rip + at);
        unsigned here = (unsigned)MIN(PAGE_SIZE - offset - at, 15);
        unsigned len = MIN(allowed, here);
        enum decode_result r;
        uint8_t bytes[15];

        cover(c, page, offset + at, len);
        memcpy(bytes, host + at, len);
        r = insn_decode(c, bytes, len, i);
        if (r == DECODE_MORE && len == here && allowed > here) {
            if (b->count > 0)
                break; /* it begins a block of its own */
            uint64_t page2;
            unsigned rest = allowed - here;
            const uint8_t *second = fetch(c, code_linear(c, rip + at + here), &page2);

            if (!second)
                return decode_uncached(c);
            b->page2 = page2;
            b->generation2 = cover(c, page2, 0, rest);
            memcpy(bytes + here, second, rest);
            r = insn_decode(c, bytes, allowed, i);
            more = false;
        }
        if (r == DECODE_MORE) { /* too long, or cut off by the segment limit */
            if (b->count > 0)
                break;
            cpu_gp(c, 0);
        }
        if (r == DECODE_END)
            more = false;
        at += i->len;
        b->count++;
    }
    c->code->used += ALIGN_UP(sizeof(*b) + b->count * sizeof(struct insn), (size_t)16);
    b->hash_next = c->code->hash[hash_of(key)];
    c->code->hash[hash_of(key)] = b;
    return b;
}

/* Whether a stale block is still what memory holds: then it is valid again. Stores to data beside code end here.
 * second: the page where a crossing instruction goes on. */
static bool revive(struct cpu *c, struct block *b, unsigned offset, const uint8_t *host, const uint8_t *second)
{
    unsigned at = 0, len = 0;

    for (unsigned n = 0; n < b->count; n++)
        len += b->insns[n].len;
    unsigned here = MIN(len, (unsigned)PAGE_SIZE - offset);
    uint32_t generation = cover(c, b->page, offset, here), generation2 = 0;
    if (second) {
        generation2 = cover(c, b->page2, 0, len - here);
        if (memcmp(b->insns[0].bytes, host, here) != 0 || memcmp(b->insns[0].bytes + here, second, len - here) != 0)
            return false;
    } else {
        for (unsigned n = 0; n < b->count; at += b->insns[n++].len)
            if (memcmp(b->insns[n].bytes, host + at, b->insns[n].len) != 0)
                return false;
    }
    b->generation = generation;
    b->generation2 = generation2;
    return true;
}

struct block *code_find(struct cpu *c)
{
    uint64_t linear = code_linear(c, c->s.rip), page;

    fetch_limit(c, c->s.rip);
    const uint8_t *host = fetch(c, linear, &page);
    if (!host)
        return decode_uncached(c);
    uint64_t key = page << 20 | (linear & 0xfff) << 8 | cpu_block_mode(c);
    struct block **p = &c->code->hash[hash_of(key)];

    for (struct block *b = *p; b; b = *p) {
        if (b->key != key) {
            p = &b->hash_next;
            continue;
        }
        const uint8_t *second = NULL;
        bool crosses_elsewhere = false;
        if (b->page2 != UINT64_MAX) {
            uint64_t page2;
            second = fetch(c, code_linear(c, c->s.rip + PAGE_SIZE) & PAGE_MASK, &page2);
            crosses_elsewhere = !second || page2 != b->page2;
        }
        if (!crosses_elsewhere &&
            (block_valid(c, b) || revive(c, b, (unsigned)(linear & 0xfff), host, second)))
            return b;
        *p = b->hash_next; /* stale: forgotten, its memory comes back with the next flush */
        break;
    }
    return decode_block(c, key, page, host);
}
