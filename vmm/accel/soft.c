/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Binds the software CPU to the accelerator interface. */
#include "vmm/accel/accel.h"
#include "vmm/accel/bus_io.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/cpu/cpu.h"

struct soft {
    struct accel accel;
    struct cpu_set *set;
};

static struct accel *soft_create(const struct accel_cfg *cfg, struct err *e)
{
    struct soft *s = X_NEW(struct soft);
    struct cpu_tuning tuning = cpu_tuning_default(cfg->cpus);

    tuning.verify |= cfg->verify;
    tuning.perf_map_fd = cfg->perf_map;
    s->accel.ops = &accel_soft;
    s->set = cpu_set_new(&(struct cpu_set_cfg){.mem = bus_mem(cfg->bus),
                                               .clock = cfg->clock,
                                               .io = &accel_bus_io,
                                               .io_opaque = cfg->bus,
                                               .count = cfg->cpus,
                                               .model = cfg->model,
                                               .tuning = &tuning},
                         e);
    if (!s->set) {
        x_free(s);
        return NULL;
    }
    return &s->accel;
}

static void soft_destroy(struct accel *a)
{
    struct soft *s = container_of(a, struct soft, accel);

    cpu_set_free(s->set);
    x_free(s);
}

static struct cpu *vcpu(struct accel *a, unsigned index)
{
    return cpu_get(container_of(a, struct soft, accel)->set, index);
}

static bool soft_vcpu_init(struct accel *a, unsigned index, struct err *e)
{
    (void)a;
    (void)index;
    (void)e;
    return true;
}

static enum accel_exit soft_vcpu_run(struct accel *a, unsigned index, struct err *e)
{
    switch (cpu_run(vcpu(a, index))) {
    case CPU_EXIT_SHUTDOWN: return ACCEL_EXIT_SHUTDOWN;
    case CPU_EXIT_DIFFERS:
        err_set(e, ERR_INTERNAL, "vCPU %u: the translator and the interpreter differ, see the log", index);
        return ACCEL_EXIT_ERROR;
    case CPU_EXIT_KICK: break;
    }
    return ACCEL_EXIT_KICK;
}

static void soft_kick(struct accel *a, unsigned index)
{
    cpu_kick(vcpu(a, index));
}

static bool soft_get_state(struct accel *a, unsigned index, struct x86_state *out, struct err *e)
{
    (void)e;
    cpu_get_state(vcpu(a, index), out);
    return true;
}

static bool soft_set_state(struct accel *a, unsigned index, const struct x86_state *in,
                           struct err *e)
{
    (void)e;
    cpu_set_state(vcpu(a, index), in);
    return true;
}

static void soft_stats(struct accel *a, unsigned index, struct accel_vcpu_stats *out)
{
    struct cpu_stats *st = &out->cpu;

    cpu_get_stats(vcpu(a, index), st);
    out->pio = st->pio;
    out->mmio = st->mmio;
    out->halts = st->halts;
    out->exits = st->pio + st->mmio + st->halts;
    out->interrupts = st->interrupts;
    out->fallback = 0;
}

static bool soft_profile_start(struct accel *a, unsigned index, unsigned period_us, struct err *e)
{
    return cpu_profile_start(vcpu(a, index), period_us, e);
}

static void soft_profile_stop(struct accel *a, unsigned index, struct cpu_profile *out)
{
    cpu_profile_stop(vcpu(a, index), out);
}

static void soft_extint(struct accel *a, int level)
{
    cpu_set_extint(container_of(a, struct soft, accel)->set, level != 0);
}

static void soft_msi(struct accel *a, uint64_t address, uint32_t data)
{
    cpu_msi(container_of(a, struct soft, accel)->set, address, data);
}

const struct accel_ops accel_soft = {
    .name = "software",
    .create = soft_create,
    .destroy = soft_destroy,
    .vcpu_init = soft_vcpu_init,
    .vcpu_run = soft_vcpu_run,
    .kick = soft_kick,
    .get_state = soft_get_state,
    .set_state = soft_set_state,
    .stats = soft_stats,
    .profile_start = soft_profile_start,
    .profile_stop = soft_profile_stop,
    .extint = soft_extint,
    .msi = soft_msi,
};
