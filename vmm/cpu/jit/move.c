/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moving blocks to other linear addresses. Each process has its programs and libraries at addresses of its own, while
 * the pages are the same. A block of such a page is not made again: when nobody seems to use it where it is, it goes
 * to where it is wanted now. What depends on RIP in it is a few constants, that the translator noted. */
#include "vmm/cpu/jit/jit_priv.h"
#include "vmm/cpu/jit/runtime.h"

/* A block whose page was seen mapped fewer lookups ago has its user; then up to that many copies are made. */
#define RECENT     512u
#define COPIES_MAX 3u

/* ---- constants that move ---- */

static void note(struct tr *t, uint8_t *at, uint32_t narrow)
{
    if (t->fixup_count == ARRAY_LEN(t->fixups))
        t->fixed = true;
    else
        t->fixups[t->fixup_count++] = (uint32_t)(at - t->j->rw) | narrow;
}

static bool wide(uint64_t v)
{
    return v > UINT32_MAX && (uint64_t)(int64_t)(int32_t)v != v;
}

void tr_mov_rip(struct tr *t, struct emit *e, unsigned reg, uint64_t v)
{
    emit_mov_imm(e, reg, v);
    if (e->full || t->fixed)
        return;
    if (wide(v))
        note(t, e->p - 8, 0);
    else if (!t->code64 && v <= UINT32_MAX)
        note(t, e->p - 4, FIXUP_NARROW);
    else
        t->fixed = true;
}

void tr_note_rip32(struct tr *t)
{
    if (t->hot.full || t->fixed)
        return;
    if (t->code64)
        t->fixed = true;
    else
        note(t, t->hot.p - 4, FIXUP_NARROW);
}

bool tr_keep_fixups(struct tr *t)
{
    struct jit_block *b = t->block;

    b->movable = !t->fixed;
    if (!b->movable || !t->fixup_count)
        return true;
    b->fixups = jit_alloc(t->j, t->fixup_count * sizeof(b->fixups[0]));
    if (!b->fixups)
        return false;
    memcpy(b->fixups, t->fixups, t->fixup_count * sizeof(b->fixups[0]));
    b->fixup_count = (uint8_t)t->fixup_count;
    return true;
}

/* ---- links ---- */

static void set_jump(const struct jit *j, const struct jit_link *l, const void *target)
{
    const struct emit e = {.rx = j->rx - j->rw};

    emit_patch32(&e, l->after, target);
}

void jit_link(struct jit *j, uint32_t index, struct jit_block *to)
{
    struct jit_link *l = &j->links[index];
    bool inside = (to->rip & PAGE_MASK) == (l->from->rip & PAGE_MASK) && to->page2 == UINT64_MAX;

    if (!l->after || l->to || !l->from->live) /* dead: its first bytes are the jump that diverts it */
        return;
    set_jump(j, l, inside ? to->body : to->entry);
    l->to = to;
    l->next_in = to->incoming;
    to->incoming = index + 1;
}

/* The jumps into a block leave translated code again. */
static void unlink_incoming(struct jit *j, struct jit_block *b)
{
    for (uint32_t n = b->incoming; n;) {
        struct jit_link *l = &j->links[n - 1];

        n = l->next_in;
        l->to = NULL;
        if (l->from->live)
            set_jump(j, l, l->stub);
        else
            l->from->useless = true; /* must not be revived as it is */
    }
    b->incoming = 0;
}

static void unlink_outgoing(struct jit *j, const struct jit_block *b)
{
    for (uint32_t n = b->first_link; n < b->first_link + b->link_count; n++) {
        struct jit_link *l = &j->links[n];

        if (!l->to)
            continue;
        for (uint32_t *p = &l->to->incoming; *p; p = &j->links[*p - 1].next_in)
            if (*p == n + 1) {
                *p = l->next_in;
                break;
            }
        l->to = NULL;
        set_jump(j, l, l->stub);
    }
}

/* ---- blocks of the same bytes ---- */

static struct jit_block **twins(struct jit *j, uint64_t page, uint64_t rip, uint32_t mode)
{
    uint64_t h = (page << PAGE_SHIFT ^ (rip & ~PAGE_MASK) ^ (uint64_t)mode << 40) * UINT64_C(0x9e3779b97f4a7c15);

    return &j->twins[h >> (64 - JIT_TWIN_BITS)];
}

void jit_add_twin(struct jit *j, struct jit_block *b)
{
    struct jit_block **head;

    if (!b->movable)
        return;
    head = twins(j, b->page, b->rip, b->mode);
    b->twin_next = *head;
    *head = b;
}

void jit_leave_twins(struct jit *j, const struct jit_block *b)
{
    if (!b->movable)
        return;
    for (struct jit_block **p = twins(j, b->page, b->rip, b->mode); *p; p = &(*p)->twin_next)
        if (*p == b) {
            *p = b->twin_next;
            return;
        }
}

struct jit_block *jit_find_twin(const struct jit *j, uint64_t rip, uint64_t page, uint32_t mode)
{
    struct jit_block *oldest = NULL;
    unsigned copies = 0;

    for (struct jit_block *b = *twins((struct jit *)(uintptr_t)j, page, rip, mode); b; b = b->twin_next)
        if (b->page == page && b->mode == mode && ((b->rip ^ rip) & ~PAGE_MASK) == 0 && b->live && b->movable) {
            copies++;
            if (!oldest || j->lookups - b->at->seen > j->lookups - oldest->at->seen)
                oldest = b;
        }
    if (!oldest || (copies < COPIES_MAX && j->lookups - oldest->at->seen < RECENT))
        return NULL;
    return wide(rip) == wide(oldest->rip) ? oldest : NULL;
}

/* ---- moving ---- */

static void add_to_fixups(const struct jit *j, const struct jit_block *b, uint64_t delta)
{
    for (unsigned n = 0; n < b->fixup_count; n++) {
        uint8_t *at = j->rw + (b->fixups[n] & ~FIXUP_NARROW);

        if (b->fixups[n] & FIXUP_NARROW)
            st_le32(at, ld_le32(at) + (uint32_t)delta);
        else
            st_le64(at, ld_le64(at) + delta);
    }
}

static uint64_t add_to_rip(const struct jit_block *b, uint64_t rip, uint64_t delta)
{
    return b->mode & MODE_CODE64 ? rip + delta : (uint32_t)(rip + delta);
}

static void add_to_tables(const struct jit *j, const struct jit_block *b, uint64_t delta)
{
    for (uint32_t n = b->first_link; n < b->first_link + b->link_count; n++)
        j->links[n].rip = add_to_rip(b, j->links[n].rip, delta);
    for (uint32_t n = b->first_site; n < b->first_site + b->site_count; n++)
        j->sites[n].rip = add_to_rip(b, j->sites[n].rip, delta);
    for (uint32_t n = b->first_trap; n < b->first_trap + b->trap_count; n++)
        j->traps[n].rip = add_to_rip(b, j->traps[n].rip, delta);
    for (struct jit_call *call = b->calls; call; call = call->next)
        call->rip = add_to_rip(b, call->rip, delta);
}

void jit_move(struct jit *j, struct jit_block *b, uint64_t rip, struct code_page *at)
{
    const uint64_t delta = rip - b->rip;

    unlink_incoming(j, b);
    unlink_outgoing(j, b);
    add_to_fixups(j, b, delta);
    add_to_tables(j, b, delta);
    b->rip = rip;
    b->at = at;
}
