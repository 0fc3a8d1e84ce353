/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cpu/jit/verify.h"

#include "vmm/base/alloc.h"
#include "vmm/base/log.h"
#include "vmm/cpu/code.h"
#include "vmm/cpu/jit/verify_priv.h"

/* Elements of a string instruction. */
#define REPEATS_MAX 512

/* What did not come out the same is tried again: disk data or an accessed bit may have changed what was read. */
#define ATTEMPTS 3

struct verify *verify_new(void)
{
    return X_NEW(struct verify);
}

void verify_free(struct verify *v)
{
    if (!v)
        return;
    log_info("cpu", "verify: %llu segments of %llu instructions compared, %llu of them more than once",
             (unsigned long long)v->segments, (unsigned long long)v->instructions, (unsigned long long)v->repeated);
    x_free(v);
}

void verify_get_stats(const struct verify *v, struct cpu_jit_stats *out)
{
    out->compared = v->segments;
    out->compared_instructions = v->instructions;
    out->compared_again = v->repeated;
}

const struct jit_block *verify_block(const struct cpu *c)
{
    return c->verify->block;
}

unsigned verify_index(const struct cpu *c, uint64_t rip)
{
    const struct jit_block *b = c->verify->block;
    unsigned offset = (unsigned)((rip - b->rip) & c->rip_mask), n = 0;

    while (n < b->note_count && b->notes[n].offset != offset)
        n++;
    return n;
}

uint64_t verify_landed(const struct cpu *c)
{
    return c->verify->jump;
}

bool verify_failed(const struct cpu *c)
{
    return c->verify && c->verify->failed;
}

bool verify_running(const struct cpu *c)
{
    return c->verify->phase == VERIFY_RUN;
}

/* ---- state ---- */

static void save(const struct cpu *c, struct verify_state *s)
{
    memcpy(s->low, &c->s, sizeof(s->low));
    s->fpu = c->s.fpu;
    s->cc = c->cc;
    s->sti_shadow = c->s.sti_shadow;
    s->mov_ss_shadow = c->s.mov_ss_shadow;
}

static void restore(struct cpu *c, const struct verify_state *s)
{
    memcpy(&c->s, s->low, sizeof(s->low));
    c->s.fpu = s->fpu;
    c->cc = s->cc;
    c->s.sti_shadow = s->sti_shadow;
    c->s.mov_ss_shadow = s->mov_ss_shadow;
}

uint8_t verify_flags(const struct verify *v, const struct verify_path *p)
{
    const struct jit_note *n = v->block->notes;
    uint8_t live = n[p->at].live;

    if (!p->left && n[p->at].repeats) /* perhaps in the middle of it */
        live &= (uint8_t)~(n[p->at].defines | n[p->at].undefines);
    if (p->left && n[p->at - 1].branch)
        live = JIT_FLAGS;
    return (uint8_t)(live & ~p->undefined);
}

static bool same_state(const struct verify *v)
{
    uint8_t flags = verify_flags(v, &v->path);

    return memcmp(v->want.low, v->got.low, sizeof(v->want.low)) == 0 && v->want.sti_shadow == v->got.sti_shadow &&
           v->want.mov_ss_shadow == v->got.mov_ss_shadow &&
           memcmp(&v->want.fpu, &v->got.fpu, sizeof(v->want.fpu)) == 0 &&
           !((jit_fold(cc_to_flags(v->want.cc)) ^ jit_fold(cc_to_flags(v->got.cc))) & flags);
}

/* ---- stores ---- */

static void undo(const struct verify_log *l)
{
    for (unsigned n = l->count; n-- > 0;)
        memcpy(l->store[n].host, l->store[n].old, l->store[n].size);
}

static void note_wanted(struct verify_log *l)
{
    for (unsigned n = 0; n < l->count; n++)
        memcpy(l->store[n].want, l->store[n].host, l->store[n].size);
}

static void note_got(struct verify_log *l)
{
    for (unsigned n = 0; n < l->count; n++)
        memcpy(l->store[n].got, l->store[n].host, l->store[n].size);
}

static bool same_stores(const struct verify_log *l)
{
    for (unsigned n = 0; n < l->count; n++)
        if (memcmp(l->store[n].want, l->store[n].got, l->store[n].size) != 0)
            return false;
    return true;
}

static bool stored_to(const struct verify_log *l, uint64_t linear)
{
    for (unsigned n = 0; n < l->count; n++)
        if (linear - l->store[n].linear < l->store[n].size)
            return true;
    return false;
}

/* Ends the interpreter's turn as a fault would; interpret() catches both. */
_Noreturn static void stop(struct cpu *c)
{
    cpu_ud(c);
}

void verify_access(struct cpu *c, uint64_t linear, uint8_t *host, uint64_t page_index, unsigned size, bool write)
{
    struct verify *v = c->verify;

    if (v->phase != VERIFY_RECORD)
        return;
    if (!host)
        stop(c);
    if (!write)
        return;
    struct verify_log *l = v->recording;
    if (__atomic_load_n(&mem_page_flags(c->set->cfg.mem)[page_index], __ATOMIC_SEQ_CST) || size > VERIFY_STORE_MAX ||
        l->count == VERIFY_STORES)
        stop(c);
    struct verify_store *s = &l->store[l->count ? l->count - 1 : 0];
    if (l->count && s->host + s->size == host && s->linear + s->size == linear && s->size + size <= VERIFY_STORE_MAX) {
        memcpy(s->old + s->size, host, size);
        s->size += size;
        return;
    }
    s = &l->store[l->count++];
    s->host = host;
    s->linear = linear;
    s->size = size;
    memcpy(s->old, host, size);
}

bool verify_may_mark(struct cpu *c, const void *host)
{
    const struct verify *v = c->verify;
    const struct verify_log *l = v->phase == VERIFY_RECORD ? v->recording : &v->log;

    if (v->phase == VERIFY_IDLE)
        return true;
    for (unsigned n = 0; n < l->count; n++)
        if ((uintptr_t)host - (uintptr_t)l->store[n].host < l->store[n].size)
            return false;
    return true;
}

void verify_store(struct cpu *c, uint64_t linear)
{
    struct verify *v = c->verify;

    if (v->phase == VERIFY_RUN && !stored_to(&v->log, linear))
        v->stray = linear;
}

bool verify_open_slot(struct cpu *c, unsigned mmu, unsigned slot)
{
    struct verify *v = c->verify;

    if (v->phase == VERIFY_RECORD)
        return false;
    if (v->slot_count < VERIFY_SLOTS) {
        v->slot[v->slot_count].mmu = (uint16_t)mmu;
        v->slot[v->slot_count].slot = (uint16_t)slot;
        v->slot_count++;
    } else {
        v->slot_count = VERIFY_SLOTS + 1;
    }
    return true;
}

static void close_slots(struct cpu *c)
{
    struct verify *v = c->verify;

    if (v->slot_count <= VERIFY_SLOTS)
        for (unsigned n = 0; n < v->slot_count; n++)
            tlb_close_store(c, v->slot[n].mmu, v->slot[n].slot);
    else
        for (unsigned m = 0; m < MMU_COUNT; m++)
            for (unsigned n = 0; n < TLB_MAX; n++)
                tlb_close_store(c, m, n);
    v->slot_count = 0;
}

/* ---- the interpreter's turn ---- */

static void note_flags(struct verify_path *p, const struct jit_note *n)
{
    p->undefined = (uint8_t)((p->undefined & ~n->defines) | n->undefines);
}

bool verify_repeats(const struct cpu *c, const struct insn *i)
{
    return (c->s.gpr[X86_RCX] & mask_bytes(i->addrsize)) <= REPEATS_MAX;
}

static void one(struct cpu *c, const struct insn *i)
{
    const bool shadow = c->s.sti_shadow || c->s.mov_ss_shadow;

    c->branched = c->end_block = false;
    i->exec(c, i);
    if (shadow)
        c->s.sti_shadow = c->s.mov_ss_shadow = 0;
}

/* A string instruction, element by element, as far as translated code came. */
static void repeat(struct cpu *c, uint64_t count)
{
    const struct insn *i = code_find(c)->insns;

    c->dbg_hits = 1; /* as if single-stepped */
    for (unsigned n = 0; n < REPEATS_MAX && c->s.gpr[X86_RCX] != count; n++)
        one(c, i);
}

/* Executes from v->first until instruction number limit, or what cannot be repeated, or the block is left. */
static void interpret(struct cpu *c, unsigned limit, struct verify_log *log)
{
    struct verify *v = c->verify;
    const struct jit_note *notes = v->block->notes;
    struct verify_path *p = &v->path;
    sigjmp_buf env;

    close_slots(c);
    *p = (struct verify_path){.at = v->first};
    log->count = 0;
    v->recording = log;
    v->phase = VERIFY_RECORD;
    memcpy(&env, &c->raise_env, sizeof(env));
    if (sigsetjmp(c->raise_env, 0) == 0) {
        const struct block *d = NULL;
        unsigned n = 0;

        while (p->at < limit && !p->left && notes[p->at].native) {
            if (!d || n == d->count) {
                d = code_find(c);
                n = 0;
            }
            const struct insn *i = &d->insns[n];
            one(c, i);
            if (c->branched && notes[p->at].repeats)
                continue;
            if (c->branched)
                p->left = true;
            else
                c->s.rip = (c->s.rip + i->len) & c->rip_mask;
            note_flags(p, &notes[p->at++]);
            n++;
        }
        p->left |= p->at == v->block->note_count;
        if (p->at == limit && !p->left && notes[limit].repeats)
            repeat(c, verify_gpr(&v->got)[X86_RCX]);
    }
    memcpy(&c->raise_env, &env, sizeof(env));
    c->branched = c->end_block = false;
    c->dbg_hits = 0;
    v->phase = VERIFY_IDLE;
}

static void freeze(struct cpu *c, bool on)
{
    const struct cpu_set_cfg *cfg = &c->set->cfg;

    if (cfg->io->freeze)
        cfg->io->freeze(cfg->io_opaque, on);
}

/* In every other comparison stores hit the TLB, and so does the jump at the end. */
static void prepare_hits(struct cpu *c)
{
    struct verify *v = c->verify;

    v->jump = 0;
    if (v->segments & 1)
        return;
    for (unsigned n = 0; n < v->log.count; n++)
        mmu_prefill(c, v->log.store[n].linear, ACCESS_WRITE);
    if (v->path.left) {
        v->jump = verify_rip(&v->want);
        jit_set_jump(c, v->jump, c->jit->landed);
    }
}

void verify_begin(struct cpu *c, const struct jit_block *b, unsigned first)
{
    struct verify *v = c->verify;

    v->block = b;
    v->first = first;
    v->stray = 0;
    v->segments++;
    save(c, &v->before);
    freeze(c, true);
    interpret(c, b->note_count, &v->log);
    v->instructions += v->path.at - first;
    save(c, &v->want);
    note_wanted(&v->log);
    undo(&v->log);
    restore(c, &v->before);
    v->phase = VERIFY_RUN;
    prepare_hits(c);
}

/* ---- the judgement ---- */

static bool agree(const struct verify *v, enum verify_end how, unsigned at)
{
    if (how == VERIFY_LEFT ? !v->path.left : v->path.left || v->path.at != at)
        return false;
    return !v->stray && same_state(v) && same_stores(&v->log);
}

/* Translated code did what the interpreter had not: nothing can be taken back then. */
static bool went_further(const struct verify *v, enum verify_end how, unsigned at)
{
    return v->stray || (!v->path.left && (how == VERIFY_LEFT || at > v->path.at));
}

/* From the start once more, as far as translated code came. Then memory is what it would be without any translation. */
static bool agrees_again(struct cpu *c, enum verify_end how, unsigned at)
{
    struct verify *v = c->verify;

    restore(c, &v->before);
    interpret(c, how == VERIFY_AT ? at : v->block->note_count, &v->again);
    save(c, &v->want);
    note_wanted(&v->log);
    return agree(v, how, at);
}

bool verify_end(struct cpu *c, enum verify_end how)
{
    struct verify *v = c->verify;
    unsigned at;
    bool ok;

    if (v->phase != VERIFY_RUN)
        return true;
    v->phase = VERIFY_IDLE;
    at = verify_index(c, c->s.rip);
    if (v->jump)
        jit_set_jump(c, v->jump, NULL);
    save(c, &v->got);
    note_got(&v->log);
    ok = agree(v, how, at);
    if (!ok && !went_further(v, how, at)) {
        v->repeated++;
        undo(&v->log);
        ok = agrees_again(c, how, at);
        for (unsigned n = 1; !ok && n < ATTEMPTS; n++) {
            undo(&v->again);
            ok = agrees_again(c, how, at);
        }
    }
    freeze(c, false);
    if (!ok) {
        v->failed = true;
        verify_report(c, how);
    }
    return ok;
}
