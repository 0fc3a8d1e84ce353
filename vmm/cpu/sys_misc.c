/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID, time stamp counter, model-specific registers, random numbers, PAUSE. */
#include <sched.h>
#include <sys/random.h>

#include "vmm/cpu/msr.h"
#include "vmm/cpu/sys.h"
#include "vmm/cpu/sysutil.h"

static bool has(const struct cpu *c, enum cpu_feature f)
{
    return cpu_has(c->set->cfg.model, f);
}

static void set_edx_eax(struct cpu *c, uint64_t v)
{
    c->s.gpr[X86_RAX] = (uint32_t)v;
    c->s.gpr[X86_RDX] = v >> 32;
}

void op_cpuid(struct cpu *c, const struct insn *i)
{
    struct cpuid_env env = {.model = c->set->cfg.model, .apic_id = c->index,
                            .cpu_count = c->set->cfg.count, .cr4 = c->s.cr4, .xcr0 = c->s.xcr0,
                            .apic_base = c->s.apic_base};
    struct cpuid_regs r;

    (void)i;
    cpuid_query(&env, (uint32_t)c->s.gpr[X86_RAX], (uint32_t)c->s.gpr[X86_RCX], &r);
    c->s.gpr[X86_RAX] = r.eax;
    c->s.gpr[X86_RBX] = r.ebx;
    c->s.gpr[X86_RCX] = r.ecx;
    c->s.gpr[X86_RDX] = r.edx;
}

static void need_tsc(struct cpu *c)
{
    if ((c->s.cr4 & CR4_TSD) && c->cpl)
        cpu_gp(c, 0);
}

void op_rdtsc(struct cpu *c, const struct insn *i)
{
    (void)i;
    need_tsc(c);
    set_edx_eax(c, cpu_tsc(c));
}

void op_rdtscp(struct cpu *c, const struct insn *i)
{
    (void)i;
    if (!has(c, CPUF_RDTSCP))
        cpu_ud(c);
    need_tsc(c);
    set_edx_eax(c, cpu_tsc(c));
    c->s.gpr[X86_RCX] = (uint32_t)c->s.tsc_aux;
}

void op_rdpid(struct cpu *c, const struct insn *i)
{
    if (!has(c, CPUF_RDPID))
        cpu_ud(c);
    c->s.gpr[i->rm] = (uint32_t)c->s.tsc_aux;
}

/* CPUID leaf 0Ah advertises no counters, so any index is out of range. */
void op_rdpmc(struct cpu *c, const struct insn *i)
{
    (void)i;
    cpu_gp(c, 0);
}

void op_rdmsr(struct cpu *c, const struct insn *i)
{
    uint64_t v;

    (void)i;
    need_cpl0(c);
    if (!msr_read(c, (uint32_t)c->s.gpr[X86_RCX], &v))
        cpu_gp(c, 0);
    set_edx_eax(c, v);
}

void op_wrmsr(struct cpu *c, const struct insn *i)
{
    uint64_t v = (uint32_t)c->s.gpr[X86_RAX] | c->s.gpr[X86_RDX] << 32;

    (void)i;
    need_cpl0(c);
    if (!msr_write(c, (uint32_t)c->s.gpr[X86_RCX], v))
        cpu_gp(c, 0);
}

/* ---- random numbers from the host kernel, fetched in batches ---- */

static uint64_t random_u64(void)
{
    static _Thread_local uint64_t pool[32];
    static _Thread_local unsigned left;

    if (!left) {
        if (getrandom(pool, sizeof(pool), 0) != sizeof(pool))
            return 0;
        left = ARRAY_LEN(pool);
    }
    uint64_t v = pool[--left];
    pool[left] = 0;
    return v;
}

static void random_to_reg(struct cpu *c, const struct insn *i, enum cpu_feature f)
{
    if (!has(c, f))
        cpu_ud(c);
    reg_set(c, i->rm, random_u64(), i->opsize);
    cpu_set_status_flags(c, X86_CF);
}

void op_rdrand(struct cpu *c, const struct insn *i) { random_to_reg(c, i, CPUF_RDRAND); }
void op_rdseed(struct cpu *c, const struct insn *i) { random_to_reg(c, i, CPUF_RDSEED); }

/* The guest waits for another vCPU, which may be waiting for this host CPU. */
void op_pause(struct cpu *c, const struct insn *i)
{
    (void)i;
    if (c->set->cfg.count > 1)
        sched_yield();
}
