/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks: finding, linking, forgetting them; and running. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/log.h"
#include "vmm/cpu/jit/jit_priv.h"
#include "vmm/cpu/jit/runtime.h"
#include "vmm/cpu/jit/trap.h"
#include "vmm/cpu/jit/verify.h"

/* Lookups after which a flush is one of many, and how much more heat blocks need then. */
#define FLUSH_SOON      1000000u
#define HEAT_FACTOR_MAX 32u

#define JUMP_SHIFT  2
#define JUMP_SELECT ((uint64_t)(JIT_JUMPS - 1) << JUMP_SHIFT)

/* ---- mode ---- */

static bool flat(const struct x86_seg *s)
{
    return s->base == 0 && s->limit == UINT32_MAX && (s->attr & (SEG_P | SEG_S | SEG_UNUSABLE)) == (SEG_P | SEG_S);
}

static bool whole_data(const struct x86_seg *s)
{
    return s->limit == UINT32_MAX && (s->attr & (SEG_P | SEG_S | SEG_UNUSABLE | SEGT_CODE | SEGT_DOWN | SEGT_WRITE)) ==
                                         (SEG_P | SEG_S | SEGT_WRITE);
}

static bool flat_data(const struct x86_seg *s)
{
    return flat(s) && whole_data(s);
}

uint32_t jit_mode(const struct cpu *c)
{
    const struct x86_state *s = &c->s;
    uint32_t m = c->mode | (uint32_t)c->mmu << 8;

    if (c->align_check)
        return JIT_NO_MODE;
    if (!(c->mode & MODE_CODE64)) {
        if ((c->mode & (MODE_CODE32 | MODE_SS32 | MODE_PE)) != (MODE_CODE32 | MODE_SS32 | MODE_PE) ||
            !flat(&s->seg[X86_CS]) || !flat_data(&s->seg[X86_SS]) || !flat_data(&s->seg[X86_DS]) ||
            !flat_data(&s->seg[X86_ES]))
            return JIT_NO_MODE;
        m |= (whole_data(&s->seg[X86_FS]) ? JM_FS : 0) | (whole_data(&s->seg[X86_GS]) ? JM_GS : 0);
    }
    m |= s->rflags & X86_DF ? JM_DF : 0;
    m |= c->cpl == 3 ? JM_USER : c->cpl == 0 ? JM_KERNEL : 0;
    if (!(s->cr0 & (CR0_EM | CR0_TS))) {
        m |= s->cr0 & CR0_NE ? JM_X87 : 0;
        m |= s->cr4 & CR4_OSFXSR ? JM_SSE : 0;
    }
    if (!(s->cr0 & CR0_TS) && (s->cr4 & CR4_OSXSAVE) &&
        (s->xcr0 & (XCR0_SSE | XCR0_AVX)) == (XCR0_SSE | XCR0_AVX))
        m |= JM_AVX;
    return m;
}

/* ---- memory ---- */

void *jit_alloc(struct jit *j, size_t size)
{
    size = ALIGN_UP(size, (size_t)16);
    if (j->arena_used + size > j->arena_size)
        return NULL;
    void *p = j->arena + j->arena_used;
    j->arena_used += size;
    return p;
}

/* ---- the jump caches ---- */

/* No RIP that selects entry n has this tag. */
static uint64_t no_jump(unsigned n)
{
    return -(uint64_t)((n + 1) % JIT_JUMPS << JUMP_SHIFT);
}

/* All of them, for another mode or when code is thrown away. */
static void clear_jumps(struct cpu *c, unsigned mmu)
{
    for (unsigned n = 0; n < JIT_JUMPS; n++) {
        c->hot.jumps[mmu].tag[n] = no_jump(n);
        c->hot.jumps[mmu].host[n] = c->jit->exit_jump;
    }
    c->jit->bodies[mmu].count = c->jit->bodies[mmu].local = 0;
}

/* Those that do not look at the mapping. */
static void clear_bodies(struct cpu *c, unsigned mmu)
{
    struct jump_bodies *l = &c->jit->bodies[mmu];

    for (unsigned n = 0; n < l->count; n++)
        c->hot.jumps[mmu].tag[l->slot[n]] = no_jump(l->slot[n]);
    l->count = l->local = 0;
}

static void add_jump(struct cpu *c, const struct jit_block *b)
{
    unsigned n = (unsigned)((b->rip & JUMP_SELECT) >> JUMP_SHIFT), mmu = JM_MMU(b->mode);
    struct jump_bodies *l = &c->jit->bodies[mmu];
    bool body = b->page2 == UINT64_MAX && l->count < JIT_BODIES; /* INVLPG of page2 would not find it */

    if (n == 0)
        return; /* stays empty: where all jumps go when attention is asked for */
    c->hot.jumps[mmu].tag[n] = -b->rip;
    c->hot.jumps[mmu].host[n] = body ? b->body : b->entry;
    if (body) {
        l->slot[l->count++] = (uint16_t)n;
        l->local |= !b->global;
    }
}

/* ---- blocks that were executed lately ---- */

_Static_assert(sizeof(struct jit_known) == 32, "the stub that reads it multiplies by 32");

static struct jit_known *known(struct cpu *c, uint64_t rip)
{
    return &c->hot.known[(rip + (rip >> PAGE_SHIFT)) & (JIT_KNOWN - 1)];
}

static const void *find_known(struct cpu *c, uint32_t mode)
{
    const struct jit_known *k = known(c, c->s.rip);

    return k->minus_rip == -c->s.rip && k->minus_mode == -mode ? k->entry : NULL;
}

static void add_known(struct cpu *c, const struct jit_block *b)
{
    if (!(b->mode & JM_ALONE))
        *known(c, b->rip) = (struct jit_known){.minus_rip = -b->rip, .minus_mode = -b->mode, .entry = b->entry};
}

const void *jit_next(struct cpu *c)
{
    uint32_t mode, pending = atomic_load_explicit(&c->pending, memory_order_relaxed);

    if (atomic_load_explicit(&c->hot.attention, memory_order_relaxed) || (pending & ~CPU_PENDING_IRQ) ||
        (pending && (c->s.rflags & X86_IF)) || debug_active(c) || c->s.sti_shadow || c->s.mov_ss_shadow ||
        c->s.mp_state != X86_MP_RUNNABLE)
        return NULL;
    mode = jit_mode(c);
    return mode == c->jit->jumps_mode[c->mmu] ? find_known(c, mode) : NULL;
}

void jit_set_jump(struct cpu *c, uint64_t rip, const void *host)
{
    unsigned n = (unsigned)((rip & JUMP_SELECT) >> JUMP_SHIFT), mmu = c->mmu;

    if (n == 0)
        return;
    c->hot.jumps[mmu].tag[n] = host ? -rip : no_jump(n);
    c->hot.jumps[mmu].host[n] = host ? host : c->jit->exit_jump;
}

/* ---- code pages ---- */

static unsigned page_slot(uint64_t linear, bool global)
{
    unsigned n = (unsigned)((linear >> PAGE_SHIFT) * 0x9e3779b1u >> 16) &  (JIT_PAGES_GLOBAL - 1);

    return global ? n : JIT_PAGES_GLOBAL + n % JIT_PAGES_LOCAL;
}

static struct code_page *code_page(struct jit *j, uint64_t linear, uint64_t page, bool user, bool global)
{
    struct code_page **head = &j->pages[((linear >> PAGE_SHIFT) ^ page) & (ARRAY_LEN(j->pages) - 1)];

    for (struct code_page *p = *head; p; p = p->next)
        if (p->linear == linear && p->page == page && p->user == user && p->global == global)
            return p;
    struct code_page *p = jit_alloc(j, sizeof(*p));
    if (!p)
        return NULL;
    *p = (struct code_page){.next = *head, .linear = linear, .page = page, .user = user, .global = global,
                            .slot = page_slot(linear, global), .id = ++j->page_count};
    *head = p;
    return p;
}

static void page_is_mapped(struct cpu *c, const struct jit_block *b)
{
    c->hot.page[b->at->slot] = b->at->id;
    b->at->seen = c->jit->lookups;
    if (b->at2)
        c->hot.page[b->at2->slot] = b->at2->id;
}

/* ---- from the TLB ---- */

void jit_tlb_flushed(struct cpu *c, bool global)
{
    if (!c->jit)
        return;
    unsigned first = global ? 0 : JIT_PAGES_GLOBAL;
    memset(c->hot.page + first, 0, sizeof(c->hot.page) - first * sizeof(c->hot.page[0]));
    for (unsigned m = 0; m < MMU_COUNT; m++)
        if (global || c->jit->bodies[m].local)
            clear_bodies(c, m);
}

void jit_tlb_flushed_page(struct cpu *c, uint64_t linear)
{
    uint64_t page = linear & PAGE_MASK;

    if (!c->jit)
        return;
    c->hot.page[page_slot(page, true)] = 0;
    c->hot.page[page_slot(page, false)] = 0;
    for (unsigned m = 0; m < MMU_COUNT; m++) {
        const struct jump_bodies *l = &c->jit->bodies[m];
        for (unsigned k = 0; k < l->count; k++)
            if ((-c->hot.jumps[m].tag[l->slot[k]] & PAGE_MASK) == page)
                c->hot.jumps[m].tag[l->slot[k]] = no_jump(l->slot[k]);
    }
}

void jit_tlb_resized(struct cpu *c)
{
    c->hot.tlb_select = (uint64_t)(c->tlb_slots - 1) << PAGE_SHIFT;
    c->hot.tlb_offset_mask = (c->tlb_slots - 1) * (uint32_t)sizeof(struct tlb_entry);
}

/* ---- overwritten code ---- */

void jit_page_written(struct cpu *c, uint64_t page_index)
{
    struct jit *j = c->jit;

    if (!j)
        return;
    pthread_mutex_lock(&j->stale_mutex);
    if (j->stale_count < JIT_STALE_MAX)
        j->stale[j->stale_count++] = page_index;
    else
        j->stale_count = JIT_STALE_MAX + 1;
    atomic_store(&j->stale_any, true);
    pthread_mutex_unlock(&j->stale_mutex);
    jit_ask_attention(c);
}

static void jump_at(const struct jit *j, uint8_t *at, const void *target)
{
    struct emit e = {.p = at - j->rx + j->rw, .rx = j->rx - j->rw};

    e.end = e.p + 5;
    emit_jmp(&e, target);
}

/* Every way into the block leads to target from now on. */
static void divert(const struct jit *j, struct jit_block *b, const void *target)
{
    jump_at(j, b->entry, target);
    if (b->body != b->entry)
        jump_at(j, b->body, target);
}

static struct jit_block **page_list(struct jit *j, uint64_t page)
{
    return &j->by_page[page & (ARRAY_LEN(j->by_page) - 1)];
}

static void kill_block(const struct jit *j, struct jit_block *b)
{
    b->live = false;
    memcpy(b->entry_code, b->entry - j->rx + j->rw, 5);
    memcpy(b->body_code, b->body - j->rx + j->rw, 5);
    divert(j, b, b->miss);
}

static void kill_overwritten(const struct jit *j, struct jit_block *b)
{
    kill_block(j, b);
    j->cpu->stats.jit.overwritten++;
}

static void kill_page(struct jit *j, uint64_t page)
{
    for (struct jit_block *b = *page_list(j, page); b; b = b->page_next)
        if (b->live && b->page == page)
            kill_overwritten(j, b);
    for (struct jit_block *b = j->crossing; b; b = b->cross_next)
        if (b->live && b->page2 == page)
            kill_overwritten(j, b);
}

static void handle_stale(struct cpu *c)
{
    struct jit *j = c->jit;
    uint64_t pages[JIT_STALE_MAX];
    unsigned n;

    pthread_mutex_lock(&j->stale_mutex);
    n = j->stale_count;
    memcpy(pages, j->stale, MIN(n, JIT_STALE_MAX) * sizeof(pages[0]));
    j->stale_count = 0;
    atomic_store(&j->stale_any, false);
    pthread_mutex_unlock(&j->stale_mutex);
    if (n > JIT_STALE_MAX)
        jit_flush(c);
    else
        for (unsigned k = 0; k < n; k++)
            kill_page(j, pages[k]);
}

/* A block whose bytes are still there is good again. */
static bool revive(struct cpu *c, struct jit_block *b, const uint8_t *host, const uint8_t *second)
{
    struct jit *j = c->jit;
    unsigned offset = (unsigned)(b->rip & ~PAGE_MASK), here = (unsigned)MIN(b->len, PAGE_SIZE - offset);

    code_cover(c, b->page, offset, here);
    if (second)
        code_cover(c, b->page2, 0, b->len - here);
    if (memcmp(b->bytes, host, here) != 0 || (b->len > here && (!second || memcmp(b->bytes + here, second, b->len - here) != 0)))
        return false;
    memcpy(b->entry - j->rx + j->rw, b->entry_code, 5);
    memcpy(b->body - j->rx + j->rw, b->body_code, 5);
    b->live = true;
    c->stats.jit.revived++;
    return true;
}

/* ---- blocks ---- */

void jit_flush(struct cpu *c)
{
    struct jit *j = c->jit;

    if (j->arena_used) { /* else they are zero, and memory that was never touched */
        memset(j->hash, 0, sizeof(j->hash));
        memset(j->by_page, 0, sizeof(j->by_page));
        memset(j->twins, 0, sizeof(j->twins));
        memset(j->pages, 0, sizeof(j->pages));
    }
    memset(c->hot.known, 0, sizeof(c->hot.known));
    for (unsigned m = 0; m < MMU_COUNT; m++)
        clear_jumps(c, m);
    j->crossing = NULL;
    j->hot = j->start;
    j->cold = j->hot_end;
    j->arena_used = 0;
    jit_map_flush(j);
    c->stats.jit.flushes++;
    c->stats.jit.evicted += j->block_count;
    j->block_count = j->link_count = j->site_count = j->trap_count = 0;
    j->generation++;
    if (j->lookups - j->flushed_at < FLUSH_SOON && !c->set->tuning.evict) /* the working set does not fit: be choosy */
        j->heat_factor = MIN(j->heat_factor * 2, HEAT_FACTOR_MAX);
    else
        j->heat_factor = 1;
    j->flushed_at = j->lookups;
    if (!c->set->tuning.evict)
        memset(j->heat, 0, sizeof(j->heat));
    jit_tlb_flushed(c, true);
}

static struct jit_block **bucket(struct jit *j, uint64_t rip, uint32_t mode)
{
    uint64_t h = (rip ^ (uint64_t)mode << 40) * UINT64_C(0x9e3779b97f4a7c15);

    return &j->hash[h >> (64 - JIT_HASH_BITS)];
}

static unsigned heat_index(uint64_t rip, uint32_t mode)
{
    return (unsigned)((rip ^ mode << 5) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - JIT_HEAT_BITS));
}

#define GROUP_FAILURES 16

/* Translations of a page that are found overwritten, before the interpreter takes over; and how many times it does. */
#define CHANGES_MAX   16
#define CHANGES_RETRY 4096

void jit_group_failed(struct cpu *c, struct jit_block *b)
{
    if (++b->failures < GROUP_FAILURES || b->useless)
        return;
    c->jit->alone[heat_index(b->rip, b->mode)] = 1;
    b->useless = true;
    if (b->live)
        kill_block(c->jit, b);
}

static bool is_hot(struct jit *j, uint64_t rip, uint32_t mode, unsigned limit)
{
    uint8_t *heat = &j->heat[heat_index(rip, mode)];

    if (*heat < UINT8_MAX)
        ++*heat;
    return *heat >= MIN(limit * j->heat_factor, UINT8_MAX);
}

/* What lookup knows of the code at RIP. */
struct where {
    uint64_t rip, page, page2;
    const uint8_t *host, *second; /* second: the next page, only asked for when an instruction may cross */
    uint32_t mode;
    bool global, global2;
};

static struct jit_block *make_block(struct cpu *c, const struct where *w)
{
    struct jit *j = c->jit;
    struct jit_block *b = jit_alloc(j, sizeof(*b));
    uint64_t linear = w->rip & PAGE_MASK;
    bool user = w->mode & JM_USER;
    struct code_page *p = b ? code_page(j, linear, w->page, user, w->global) : NULL;

    if (!p)
        return NULL;
    *b = (struct jit_block){.rip = w->rip, .page = w->page, .page2 = UINT64_MAX, .mode = w->mode, .at = p,
                            .global = w->global, .live = true,
                            .alone = w->mode & JM_ALONE || j->alone[heat_index(w->rip, w->mode)]};
    if (w->second) {
        b->at2 = code_page(j, linear + PAGE_SIZE, w->page2, user, w->global2);
        if (!b->at2)
            return NULL;
        b->page2 = w->page2;
        b->global &= w->global2;
    }
    return jit_translate(c, b, w->host, w->second) ? b : NULL;
}

static struct jit_block *add_block(struct cpu *c, const struct where *w)
{
    struct jit *j = c->jit;
    struct jit_block *b, **head;

    c->doing = CPU_TRANSLATES;
    if (c->set->tuning.evict)
        jit_flush(c);
    b = j->block_count < JIT_BLOCKS ? make_block(c, w) : NULL;
    if (!b) {
        jit_flush(c);
        b = make_block(c, w);
    }
    c->doing = CPU_INTERPRETS;
    if (!b)
        return NULL;
    j->blocks[j->block_count++] = b;
    jit_map_block(j, b);
    head = bucket(j, b->rip, b->mode);
    b->hash_next = *head;
    *head = b;
    head = page_list(j, b->page);
    b->page_next = *head;
    *head = b;
    jit_add_twin(j, b);
    if (b->page2 != UINT64_MAX) {
        b->cross_next = j->crossing;
        j->crossing = b;
    }
    return b;
}

static bool same_place(const struct jit_block *b, const struct where *w)
{
    return b->rip == w->rip && b->mode == w->mode && b->page == w->page &&
           b->global == (w->global && (b->page2 == UINT64_MAX || w->global2)) &&
           (b->page2 == UINT64_MAX || (w->second && b->page2 == w->page2));
}

/* Whether the last bytes of a page may begin an instruction that ends in the next one. */
static bool near_end(uint64_t rip)
{
    return (rip & ~PAGE_MASK) > PAGE_SIZE - 15;
}

/* The second page matters only when the first instruction crosses; asking raises what a fetch would raise, so first
 * see whether it does. False: it ends in MMIO. */
static bool find_second(struct cpu *c, struct where *w)
{
    struct insn i;
    unsigned here = (unsigned)(PAGE_SIZE - (w->rip & ~PAGE_MASK));

    if (!near_end(w->rip) || insn_decode(c, w->host, here, &i) != DECODE_MORE)
        return true;
    w->second = code_fetch(c, (w->rip & PAGE_MASK) + PAGE_SIZE, &w->page2, &w->global2);
    return w->second != NULL;
}

static void leave_lists(struct jit *j, const struct jit_block *b)
{
    struct jit_block **p = page_list(j, b->page);

    jit_leave_twins(j, b);

    while (*p && *p != b)
        p = &(*p)->page_next;
    if (*p)
        *p = b->page_next;
    for (p = &j->crossing; *p; p = &(*p)->cross_next)
        if (*p == b) {
            *p = b->cross_next;
            break;
        }
}

/* Code that differs each time it is executed is better interpreted: a translation costs more than it can bring. Now and
 * then another try is made. */
static bool changes_often(struct jit *j, uint64_t page)
{
    uint8_t *n = &j->changes[page & (ARRAY_LEN(j->changes) - 1)];

    if (*n < CHANGES_MAX) {
        ++*n;
        return false;
    }
    if (j->lookups % CHANGES_RETRY == 0)
        *n = 0;
    return true;
}

/* No table leads to the block by its RIP any more. */
static void forget_place(struct cpu *c, const struct jit_block *b)
{
    struct jit_known *k = known(c, b->rip);
    unsigned n = (unsigned)((b->rip & JUMP_SELECT) >> JUMP_SHIFT);
    uint64_t *tag = &c->hot.jumps[JM_MMU(b->mode)].tag[n];
    struct jit_block **p = bucket(c->jit, b->rip, b->mode);

    if (k->minus_rip == -b->rip)
        *k = (struct jit_known){0};
    if (*tag == -b->rip)
        *tag = no_jump(n);
    while (*p && *p != b)
        p = &(*p)->hash_next;
    if (*p)
        *p = b->hash_next;
}

/* The block for a place whose bytes have one at another linear address that is not used any more. */
static struct jit_block *move_block(struct cpu *c, const struct where *w)
{
    struct jit *j = c->jit;
    const bool may = !c->set->tuning.perf_map; /* which gives each block one name */
    struct jit_block *b = may ? jit_find_twin(j, w->rip, w->page, w->mode) : NULL, **head;
    struct code_page *at = b && !w->second ? code_page(j, w->rip & PAGE_MASK, w->page, w->mode & JM_USER, w->global) : NULL;

    if (!at)
        return NULL;
    forget_place(c, b);
    jit_leave_twins(j, b);
    jit_move(j, b, w->rip, at);
    jit_move_entry(j, b);
    b->global = w->global;
    head = bucket(j, b->rip, b->mode);
    b->hash_next = *head;
    *head = b;
    jit_add_twin(j, b);
    c->stats.jit.moved++;
    return b;
}

/* The block to execute at RIP, or NULL when the interpreter should. */
static struct jit_block *lookup(struct cpu *c, uint32_t mode)
{
    struct jit *j = c->jit;
    struct where w = {.rip = c->s.rip, .mode = mode};

    j->lookups++;
    if (atomic_load_explicit(&j->stale_any, memory_order_acquire))
        handle_stale(c);
    w.host = code_fetch(c, c->s.rip, &w.page, &w.global);
    if (!w.host || !find_second(c, &w))
        return NULL;
    for (struct jit_block **p = bucket(j, w.rip, mode), *b = *p; b; b = *p) {
        if (!same_place(b, &w)) {
            p = &b->hash_next;
            continue;
        }
        if (!b->live && (b->useless || b->peeked || !revive(c, b, w.host, w.second))) {
            *p = b->hash_next;
            leave_lists(j, b);
            if (!b->useless && changes_often(j, b->page))
                return NULL;
            uint64_t generation = j->generation;
            struct jit_block *new = add_block(c, &w);
            if (new && generation == j->generation) {
                divert(j, b, new->entry); /* links into the old one go on to the new one, */
                jit_leave_twins(j, new);
                new->movable = false; /* and would not know of a move */
            }
            return new;
        }
        return b;
    }
    if (j->changes[w.page & (ARRAY_LEN(j->changes) - 1)] == CHANGES_MAX && changes_often(j, w.page))
        return NULL;
    struct jit_block *moved = move_block(c, &w);
    if (moved)
        return moved;
    return is_hot(j, w.rip, mode, c->set->tuning.heat) ? add_block(c, &w) : NULL;
}

/* ---- running ---- */

/* An indirect jump that missed the cache. False: it is the interpreter's. */
static bool jump_missed(struct cpu *c)
{
    const struct jit_site *s = &c->jit->sites[c->hot.site];

    c->s.rip = s->rip;
    if (s->kind == SITE_CALL || (c->long_mode && !cpu_canonical(c, c->hot.target)))
        return false;
    if (s->kind == SITE_RET)
        set_rsp(c, c->s.gpr[X86_RSP] + s->size);
    c->s.rip = c->hot.target;
    return true;
}

/* Code to execute at RIP after leaving by link, or NULL. */
static const void *code_to_run(struct cpu *c, uint32_t mode, uint32_t link, uint64_t generation)
{
    struct jit *j = c->jit;
    bool linked = link < LINK_FIRST && generation == j->generation;

    if (link == LINK_NONE && !c->verify && !atomic_load_explicit(&j->stale_any, memory_order_acquire)) {
        const void *code = find_known(c, mode);
        if (code)
            return code;
    }
    struct jit_block *b = lookup(c, mode | (linked && j->links[link].alone ? JM_ALONE : 0));
    if (!b)
        return NULL;
    page_is_mapped(c, b);
    if (c->verify) {
        verify_begin(c, b, 0);
        return b->body;
    }
    add_known(c, b);
    /* lookup may have thrown everything away, or moved the block that the link is of */
    if (linked && generation == j->generation && j->links[link].rip == b->rip)
        jit_link(j, link, b);
    else if (link == LINK_JUMP || link == LINK_INDIRECT)
        add_jump(c, b);
    return b->body;
}

/* Translated code stopped: the comparison ends. Links and jumps are as if they had been followed, then. False: it found a
 * difference. */
static bool verified(struct cpu *c, uint32_t *link)
{
    enum verify_end how = VERIFY_AT;

    if (*link == LINK_LANDED) {
        c->s.rip = verify_landed(c);
        *link = LINK_JUMP;
        how = VERIFY_LEFT;
    } else if (*link < LINK_FIRST) {
        const struct jit_link *l = &c->jit->links[*link];
        c->s.rip = l->rip;
        how = l->alone ? VERIFY_AT : VERIFY_LEFT;
    } else if (*link == LINK_INDIRECT) {
        how = jump_missed(c) ? VERIFY_LEFT : VERIFY_AT;
        *link = how == VERIFY_LEFT ? LINK_JUMP : LINK_INTERPRET;
    }
    return verify_end(c, how) && !verify_failed(c);
}

static enum cpu_jit_exit exit_kind(uint32_t link)
{
    return link < LINK_FIRST          ? CPU_JIT_LINK
           : link == LINK_INDIRECT  ? CPU_JIT_INDIRECT
           : link == LINK_INTERPRET ? CPU_JIT_INTERPRET
                                    : CPU_JIT_EVENT;
}

enum jit_result jit_run(struct cpu *c)
{
    struct jit *j = c->jit;
    uint32_t mode = jit_mode(c);
    uint32_t link = j->fill ? LINK_JUMP : LINK_NONE;
    uint64_t generation = j->generation;

    j->fill = false;
    if (mode == JIT_NO_MODE)
        return JIT_COLD;
    if (j->jumps_mode[c->mmu] != mode) {
        clear_jumps(c, c->mmu);
        j->jumps_mode[c->mmu] = mode;
    }
    for (;;) {
        const void *code = code_to_run(c, mode, link, generation);

        if (!code)
            return JIT_COLD;
        generation = j->generation;
        jit_trap_cpu = c;
        j->enter(c, code);
        link = c->hot.link;
        c->stats.jit.exits[exit_kind(link)]++;
        if (c->verify && !verified(c, &link))
            return JIT_DIFFERS;
        if (link == LINK_NONE)
            return JIT_AGAIN;
        if (link == LINK_INTERPRET)
            return JIT_INTERPRET;
        if (link == LINK_INDIRECT && !jump_missed(c)) {
            j->fill = true; /* where it leads to is worth remembering */
            return JIT_INTERPRET;
        }
        if (link < LINK_FIRST)
            c->s.rip = j->links[link].rip;
        if (atomic_load_explicit(&c->hot.attention, memory_order_relaxed))
            return JIT_AGAIN;
        mode = jit_mode(c); /* jit_next may have changed it */
    }
}

void jit_quiet(struct cpu *c)
{
    atomic_store(&c->hot.attention, 0);
    atomic_store(&c->hot.jump_select, JUMP_SELECT);
}

void jit_ask_attention(struct cpu *c)
{
    atomic_store(&c->hot.jump_select, 0); /* the other way round than jit_quiet: both must not be lost */
    atomic_store(&c->hot.attention, 1);
}

/* ---- life ---- */

bool jit_supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

/* The same two views in memory that perf takes for a translator's: one without a file. */
static bool map_code_for_perf(struct jit *j, struct err *e)
{
    void *rw = mmap(NULL, j->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void *rx = rw == MAP_FAILED ? MAP_FAILED : mremap(rw, 0, j->size, MREMAP_MAYMOVE);

    j->rw = rw == MAP_FAILED ? NULL : rw;
    j->rx = rx == MAP_FAILED ? NULL : rx;
    return (j->rx && mprotect(j->rx, j->size, PROT_READ | PROT_EXEC) == 0) ||
           err_errno(e, errno, "cannot map the software CPU's code memory of %zu MiB", j->size >> 20);
}

static bool map_code(struct jit *j, struct err *e)
{
    if (j->cpu->set->tuning.perf_map)
        return map_code_for_perf(j, e);
    const int fd = memfd_create("vmdeck-code", MFD_CLOEXEC);

    if (fd < 0)
        return err_errno(e, errno, "cannot create the software CPU's code memory");
    void *rw = MAP_FAILED, *rx = MAP_FAILED;
    if (ftruncate(fd, (off_t)j->size) == 0)
        rw = mmap(NULL, j->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (rw != MAP_FAILED)
        rx = mmap(NULL, j->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    const int errnum = errno;
    close(fd);
    j->rw = rw == MAP_FAILED ? NULL : rw;
    j->rx = rx == MAP_FAILED ? NULL : rx;
    return j->rx || err_errno(e, errnum, "cannot map the software CPU's code memory of %zu MiB", j->size >> 20);
}

static void *reserve(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

struct jit *jit_new(struct cpu *c, struct err *e)
{
    const size_t size = c->set->tuning.code_memory;
    struct jit *j = reserve(sizeof(*j));

    if (!j) {
        err_errno(e, errno, "cannot allocate the translator");
        return NULL;
    }
    c->jit = j;
    j->cpu = c;
    j->size = size;
    j->hot_end = size / 8 * 5;
    j->heat_factor = 1;
    j->flushed_at = -FLUSH_SOON;
    j->arena_size = size;
    pthread_mutex_init(&j->stale_mutex, NULL);
    j->arena = reserve(j->arena_size);
    j->blocks = reserve(JIT_BLOCKS * sizeof(j->blocks[0]));
    j->links = reserve(JIT_LINKS * sizeof(j->links[0]));
    j->sites = reserve(JIT_SITES * sizeof(j->sites[0]));
    j->traps = reserve(JIT_TRAPS * sizeof(j->traps[0]));
    if (!j->arena || !j->blocks || !j->links || !j->sites || !j->traps)
        err_errno(e, errno, "cannot allocate the translator's tables");
    else if (map_code(j, e) && jit_make_stubs(j)) {
        c->hot.page_select = PAGE_MASK;
        c->hot.jump_fill = JUMP_SELECT;
        c->hot.known_select = JIT_KNOWN - 1;
        c->hot.if_clear = ~(uint64_t)X86_IF;
        c->hot.status_select = X86_STATUS_FLAGS;
        c->hot.bit32_select = 31;
        c->hot.bit64_select = 63;
        c->hot.mxcsr_host = 0x1f80;
        c->hot.vec_absent = c->hot.x87_absent = 1;
        for (unsigned m = 0; m < MMU_COUNT; m++)
            j->jumps_mode[m] = JIT_NO_MODE;
        jit_flush(c);
        c->stats.jit.flushes = 0;
        jit_quiet(c);
        jit_tlb_resized(c);
        jit_trap_install();
        if (c->set->tuning.verify && c->set->cfg.count == 1)
            c->verify = verify_new();
        else if (c->set->tuning.verify && c->index == 0)
            log_warn("cpu", "verify: only a lone vCPU can be compared, there are %u", c->set->cfg.count);
        return j;
    }
    jit_free(c);
    return NULL;
}

static void release(void *p, size_t size)
{
    if (p)
        munmap(p, size);
}

void jit_free(struct cpu *c)
{
    struct jit *j = c->jit;

    if (!j)
        return;
    verify_free(c->verify);
    c->verify = NULL;
    release(j->rw, j->size);
    release(j->rx, j->size);
    release(j->arena, j->arena_size);
    release(j->blocks, JIT_BLOCKS * sizeof(j->blocks[0]));
    release(j->links, JIT_LINKS * sizeof(j->links[0]));
    release(j->sites, JIT_SITES * sizeof(j->sites[0]));
    release(j->traps, JIT_TRAPS * sizeof(j->traps[0]));
    pthread_mutex_destroy(&j->stale_mutex);
    release(j, sizeof(*j));
    c->jit = NULL;
}
