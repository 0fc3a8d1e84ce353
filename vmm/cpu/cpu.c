/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life of the vCPUs, their state in and out, and what follows from mode changes. */
#include "vmm/cpu/cpu.h"

#include <string.h>
#include <sys/mman.h>

#include "vmm/base/alloc.h"
#include "vmm/cpu/code.h"
#include "vmm/cpu/jit/jit.h"
#include "vmm/cpu/interp/ops.h"

/* ---- flags ---- */

uint64_t cpu_flags(struct cpu *c)
{
    return (c->s.rflags & ~(uint64_t)X86_STATUS_FLAGS) | cc_to_flags(c->cc) | 2;
}

void cpu_set_status_flags(struct cpu *c, uint32_t f)
{
    c->cc = flags_to_cc(f);
}

/* ---- mode ---- */

void cpu_mode_changed(struct cpu *c)
{
    const struct x86_state *s = &c->s;
    uint8_t mode = 0;

    c->long_mode = s->efer & EFER_LMA;
    if (s->rflags & X86_VM && s->cr0 & CR0_PE)
        mode = MODE_VM86;
    else if (s->cr0 & CR0_PE)
        mode = MODE_PE;
    if (c->long_mode && (s->seg[X86_CS].attr & SEG_L) && mode == MODE_PE)
        mode |= MODE_CODE64;
    else if (s->seg[X86_CS].attr & SEG_DB)
        mode |= MODE_CODE32;
    /* 64-bit code ignores it: a null SS and a flat one, as interrupts and SYSCALL leave, are the same mode */
    if ((s->seg[X86_SS].attr & SEG_DB) && !(mode & MODE_CODE64))
        mode |= MODE_SS32;
    c->mode = mode;
    c->cpl = mode & MODE_VM86 ? 3 : mode & MODE_PE ? (uint8_t)SEG_DPL(s->seg[X86_SS].attr) : 0;
    c->rip_mask = mode & MODE_CODE64 ? UINT64_MAX : 0xffffffffu;
    c->mmu = cpu_mmu_index(c, c->cpl);
    c->align_check = c->cpl == 3 && (s->cr0 & CR0_AM) && (s->rflags & X86_AC);
    c->end_block = true;
}

/* ---- state ---- */

void cpu_get_state(struct cpu *c, struct x86_state *out)
{
    lapic_save(c->lapic);
    c->s.tsc = cpu_tsc(c);
    *out = c->s;
    out->rflags = cpu_flags(c);
}

void cpu_set_state(struct cpu *c, const struct x86_state *in)
{
    c->s = *in;
    c->s.rflags &= ~(uint64_t)X86_STATUS_FLAGS;
    c->cc = flags_to_cc((uint32_t)in->rflags);
    c->dbg_hits = 0;
    cpu_tsc_set(c, in->tsc);
    tlb_flush_all(c);
    cpu_mode_changed(c);
    debug_changed(c);
    lapic_load(c->lapic);
    if (in->nmi_pending)
        cpu_post(c, CPU_PENDING_NMI);
}

void cpu_get_stats(struct cpu *c, struct cpu_stats *out)
{
    *out = c->stats;
    out->tlb_slots = c->tlb_slots;
    jit_get_stats(c, &out->jit);
}

/* ---- life ---- */

/* A vCPU lies right above the stack of the C code that translated code calls, see jit/jit_priv.h; below it is a
 * guard. */
#define STACK_GUARD (64 * KIB)

static struct cpu *cpu_alloc(void)
{
    size_t size = CPU_STACK_SIZE + ALIGN_UP(sizeof(struct cpu), (size_t)PAGE_SIZE);
    uint8_t *p = mmap(NULL, STACK_GUARD + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    if (mprotect(p + STACK_GUARD, size, PROT_READ | PROT_WRITE) != 0) {
        munmap(p, STACK_GUARD + size);
        return NULL;
    }
    return (struct cpu *)(void *)(p + STACK_GUARD + CPU_STACK_SIZE);
}

static void cpu_release(struct cpu *c)
{
    munmap((uint8_t *)c - CPU_STACK_SIZE - STACK_GUARD,
           STACK_GUARD + CPU_STACK_SIZE + ALIGN_UP(sizeof(struct cpu), (size_t)PAGE_SIZE));
}

static void cpu_free(struct cpu *c)
{
    if (!c)
        return;
    jit_free(c);
    profile_free(c);
    lapic_free(c->lapic);
    vec_ctx_free(c->vec);
    code_cache_free(c->code);
    x_free(c->mmu_state);
    pthread_mutex_destroy(&c->sleep_mutex);
    pthread_cond_destroy(&c->sleep_cond);
    cpu_release(c);
}

static struct cpu *cpu_new(struct cpu_set *set, unsigned index, struct err *e)
{
    struct cpu *c = cpu_alloc();

    if (!c) {
        err_set(e, ERR_NOMEM, "cannot allocate vCPU %u", index);
        return NULL;
    }
    c->set = set;
    c->index = index;
    pthread_mutex_init(&c->sleep_mutex, NULL);
    pthread_cond_init(&c->sleep_cond, NULL);
    c->mmu_state = X_NEW(struct mmu_state);
    c->code = code_cache_new(c);
    c->vec = vec_ctx_new(e);
    c->lapic = lapic_new(c);
    if (!c->code || !c->vec || !c->lapic) {
        if (!c->code || !c->lapic)
            err_set(e, ERR_NOMEM, "cannot allocate vCPU %u", index);
        cpu_free(c);
        return NULL;
    }
    tlb_flush_all(c);
    if (!set->tuning.interpret && jit_supported() && !jit_new(c, e)) {
        cpu_free(c);
        return NULL;
    }
    return c;
}

static void flush_all_vcpus(void *opaque)
{
    struct cpu_set *set = opaque;

    for (unsigned i = 0; i < set->cfg.count; i++)
        if (set->cpu[i])
            cpu_post(set->cpu[i], CPU_PENDING_FLUSH);
}

struct cpu_set *cpu_set_new(const struct cpu_set_cfg *cfg, struct err *e)
{
    struct cpu_set *set = X_NEW(struct cpu_set);

    set->cfg = *cfg;
    set->tuning = cfg->tuning ? *cfg->tuning : cpu_tuning_default(cfg->count);
    pthread_mutex_init(&set->stop_mutex, NULL);
    pthread_cond_init(&set->stop_cond, NULL);
    if (!cpu_model_supported(cfg->model, e))
        goto fail;
    set->code_map = code_map_new(set, e);
    if (!set->code_map)
        goto fail;
    for (unsigned i = 0; i < cfg->count; i++) {
        set->cpu[i] = cpu_new(set, i, e);
        if (!set->cpu[i])
            goto fail;
    }
    for (unsigned i = 0; i < cfg->count; i++) {
        static struct x86_state s; /* creation is single-threaded */

        x86_state_reset(&s, i, i == 0, false);
        cpu_set_state(set->cpu[i], &s);
    }
    mem_listen(cfg->mem, flush_all_vcpus, set);
    mem_set_protect_hook(cfg->mem, flush_all_vcpus, set);
    return set;
fail:
    cpu_set_free(set);
    return NULL;
}

void cpu_set_free(struct cpu_set *set)
{
    if (!set)
        return;
    mem_unlisten(set->cfg.mem, set);
    mem_set_protect_hook(set->cfg.mem, NULL, NULL);
    for (unsigned i = 0; i < set->cfg.count; i++)
        cpu_free(set->cpu[i]);
    code_map_free(set->code_map);
    pthread_mutex_destroy(&set->stop_mutex);
    pthread_cond_destroy(&set->stop_cond);
    x_free(set);
}

struct cpu *cpu_get(struct cpu_set *set, unsigned index)
{
    return set->cpu[index];
}
