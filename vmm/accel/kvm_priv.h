/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the KVM accelerator, for vmm/accel/kvm*.c. */
#ifndef VMDECK_ACCEL_KVM_PRIV_H
#define VMDECK_ACCEL_KVM_PRIV_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "vmm/accel/accel.h"
#include "vmm/base/bits.h"
#include "vmm/cpu/cpu.h"

#define KVM_LOGGED_MAX 8
#define KVM_IRQFDS     128
#define KVM_GSIS       (GSI_COUNT + KVM_IRQFDS)

struct kvm_slot {
    uint64_t gpa, size;
    uint8_t *host;
    bool readonly, logged;
    struct mem_region *region;
    uint64_t offset; /* of gpa in the region */
    uint32_t id;
};

struct kvm_vcpu {
    int fd;
    struct kvm_run *run;
    pthread_t thread;
    _Atomic bool ready, kicked;
    struct accel_vcpu_stats stats;
};

struct kvm {
    struct accel accel;
    struct bus *bus;
    struct clock *clock;
    int fd, vm_fd;
    unsigned cpus;
    enum cpu_model model;
    size_t run_size;
    struct kvm_vcpu *vcpus;
    _Atomic bool extint; /* PIC output */
    bool tells_failure;  /* every emulation failure is an exit, without #UD */

    /* machine lock */
    struct kvm_slot *slots;
    unsigned slot_count, next_slot_id;
    struct mem_region *logged[KVM_LOGGED_MAX]; /* regions whose dirty log is on */
    unsigned logged_count;
    struct kvm_irq_routing_entry routes[KVM_GSIS]; /* type 0: none */
    int irqfds[KVM_IRQFDS]; /* by GSI - GSI_COUNT; -1: free */

    /* The software CPU that executes what KVM cannot: one vCPU, whose state is brought along. */
    struct lock fallback_lock;
    struct cpu_set *fallback;
};

static inline struct kvm *kvm_of(struct accel *a)
{
    return container_of(a, struct kvm, accel);
}

/* ioctl that retries on EINTR; -1 with errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);

/* kvm_mem.c */
bool kvm_mem_init(struct kvm *k, struct err *e);
void kvm_mem_changed(void *opaque);

/* kvm_irq.c */
void kvm_irq_init(struct kvm *k);
void kvm_msi(struct accel *a, uint64_t address, uint32_t data);
void kvm_ioapic_route(struct accel *a, unsigned pin, uint64_t address, uint32_t data, bool masked);
bool kvm_ioeventfd(struct accel *a, bool pio, uint64_t address, unsigned size, int fd, bool add);
bool kvm_irqfd(struct accel *a, int fd, uint64_t address, uint32_t data, bool on);

/* kvm_state.c */
bool kvm_set_cpuid(struct kvm *k, unsigned index, struct err *e);
bool kvm_get_state(struct accel *a, unsigned index, struct x86_state *out, struct err *e);
bool kvm_set_state(struct accel *a, unsigned index, const struct x86_state *in, struct err *e);

/* kvm_vcpu.c */
#define KVM_KICK_SIGNAL SIGUSR1
bool kvm_vcpu_init(struct accel *a, unsigned index, struct err *e);
enum accel_exit kvm_vcpu_run(struct accel *a, unsigned index, struct err *e);
void kvm_kick(struct accel *a, unsigned index);
void kvm_wake(struct kvm_vcpu *v);

#endif
