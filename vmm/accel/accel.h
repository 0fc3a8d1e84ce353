/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One interface, two providers: KVM and the software CPU. An accelerator owns the vCPUs of one VM;
 * it calls the bus for port and memory I/O from vCPU threads (no lock held), and takes MSI, ExtINT
 * and kicks from any thread. */
#ifndef VMDECK_ACCEL_ACCEL_H
#define VMDECK_ACCEL_ACCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/clock.h"
#include "vmm/base/err.h"
#include "vmm/bus/bus.h"
#include "vmm/cpu/cpu.h"
#include "vmm/cpu/cpuid.h"
#include "vmm/cpu/x86.h"

struct accel;

enum accel_exit {
    ACCEL_EXIT_KICK,     /* accel_kick was called */
    ACCEL_EXIT_SHUTDOWN, /* triple fault */
    ACCEL_EXIT_ERROR,    /* the accelerator cannot go on; err says why */
};

struct accel_cfg {
    struct bus *bus;
    struct clock *clock;
    unsigned cpus;
    enum cpu_model model;
    bool verify; /* software: cpu_tuning.verify */
    int perf_map; /* software: cpu_tuning.perf_map_fd; stays the caller's */
    int kvm_fd; /* /dev/kvm opened by the supervisor, -1 for software; becomes the accelerator's */
};

struct accel_vcpu_stats {
    uint64_t exits, interrupts, fallback;
    uint64_t pio, mmio, halts; /* among the exits; halts 0 where they do not get here */
    struct cpu_stats cpu;      /* of the software CPU, else zeros */
};

struct accel_ops {
    const char *name; /* "kvm", "software" */
    struct accel *(*create)(const struct accel_cfg *cfg, struct err *e);
    void (*destroy)(struct accel *a);
    /* On the vCPU's own thread, first thing. */
    bool (*vcpu_init)(struct accel *a, unsigned index, struct err *e);
    /* Runs the vCPU, sleeping while it is halted. */
    enum accel_exit (*vcpu_run)(struct accel *a, unsigned index, struct err *e);
    /* Any thread: vcpu_run returns soon, also when it is called later; sticky until it returned. */
    void (*kick)(struct accel *a, unsigned index);
    /* Only while no vCPU is in vcpu_run; on any thread. */
    bool (*get_state)(struct accel *a, unsigned index, struct x86_state *out, struct err *e);
    bool (*set_state)(struct accel *a, unsigned index, const struct x86_state *in, struct err *e);
    /* Guest time was paused or goes on: TSC and kernel timers. Optional. */
    void (*pause)(struct accel *a, bool paused);
    void (*stats)(struct accel *a, unsigned index, struct accel_vcpu_stats *out);
    /* cpu_profile_start and _stop; optional. */
    bool (*profile_start)(struct accel *a, unsigned index, unsigned period_us, struct err *e);
    void (*profile_stop)(struct accel *a, unsigned index, struct cpu_profile *out);
    /* Any thread. */
    void (*extint)(struct accel *a, int level);
    void (*msi)(struct accel *a, uint64_t address, uint32_t data);
    void (*ioapic_route)(struct accel *a, unsigned pin, uint64_t address, uint32_t data,
                         bool masked);
    /* Optional; see bus_add_doorbell and bus_set_irqfd. Machine lock. */
    bool (*ioeventfd)(struct accel *a, bool pio, uint64_t address, unsigned size, int fd, bool add);
    bool (*irqfd)(struct accel *a, int fd, uint64_t address, uint32_t data, bool on);
};

/* First member of every provider's struct. */
struct accel {
    const struct accel_ops *ops;
};

extern const struct accel_ops accel_kvm, accel_soft;

/* What this host can do, for `accel: auto` and `vmdeck doctor`. Takes some milliseconds: KVM is
 * measured by a counting loop in a scratch VM, which tells hardware from a KVM that emulates. */
struct accel_probe {
    bool kvm_present, kvm_usable, kvm_fast;
    double kvm_mips;  /* instructions a second of the loop, millions */
    char reason[160]; /* why not usable or not fast: "/dev/kvm: permission denied" */
    char hint[160];
};
void accel_probe_kvm(struct accel_probe *out);

#endif
