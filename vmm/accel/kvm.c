/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM with a split irqchip: the local APICs are the kernel's, PIC, PIT and IOAPIC are the same
 * devices that the software CPU uses. Source: Documentation/virt/kvm/api.rst. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/accel/kvm_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"

/* below the BIOS, where no guest has RAM: three pages for VMX' TSS and one identity page table */
#define KVM_TSS_GPA      0xfffbd000u
#define KVM_IDENTITY_GPA 0xfffbc000u

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
    int rc;

    do
        rc = ioctl(fd, request, arg);
    while (rc < 0 && errno == EINTR);
    return rc;
}

static bool check_caps(struct kvm *k, struct err *e)
{
    static const struct {
        int cap;
        const char *name;
    } need[] = {
        {KVM_CAP_USER_MEMORY, "USER_MEMORY"},
        {KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR"},
        {KVM_CAP_SPLIT_IRQCHIP, "SPLIT_IRQCHIP"},
        {KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI"},
        {KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING"},
        {KVM_CAP_IOEVENTFD, "IOEVENTFD"},
        {KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT"},
        {KVM_CAP_XSAVE, "XSAVE"},
        {KVM_CAP_XCRS, "XCRS"},
        {KVM_CAP_DEBUGREGS, "DEBUGREGS"},
        {KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS"},
        {KVM_CAP_MP_STATE, "MP_STATE"},
        {KVM_CAP_EXT_CPUID, "EXT_CPUID"},
        {KVM_CAP_READONLY_MEM, "READONLY_MEM"},
    };

    if (ioctl(k->fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return err_set(e, ERR_UNSUPPORTED, "KVM has an unknown API version");
    for (unsigned i = 0; i < ARRAY_LEN(need); i++)
        if (ioctl(k->fd, KVM_CHECK_EXTENSION, need[i].cap) <= 0)
            return err_set(e, ERR_UNSUPPORTED, "KVM of this host lacks %s", need[i].name);
    return true;
}

static bool create_vm(struct kvm *k, struct err *e)
{
    uint64_t identity = KVM_IDENTITY_GPA;
    struct kvm_enable_cap tell = {.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args = {1}};
    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {GSI_COUNT}};

    k->vm_fd = ioctl(k->fd, KVM_CREATE_VM, 0);
    if (k->vm_fd < 0)
        return err_errno(e, errno, "KVM cannot create a VM");
    fd_set_cloexec(k->vm_fd, true);
    if (kvm_ioctl(k->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
        ioctl(k->vm_fd, KVM_SET_TSS_ADDR, KVM_TSS_GPA) < 0)
        return err_errno(e, errno, "KVM cannot place its own pages");
    if (kvm_ioctl(k->vm_fd, KVM_ENABLE_CAP, &split) < 0)
        return err_errno(e, errno, "KVM cannot split the interrupt controllers");
    /* else it raises #UD for what it cannot emulate: in user mode always, in the kernel as well as telling us */
    k->tells_failure = kvm_ioctl(k->vm_fd, KVM_ENABLE_CAP, &tell) == 0;
    return true;
}

static bool create_vcpus(struct kvm *k, struct err *e)
{
    int size = ioctl(k->fd, KVM_GET_VCPU_MMAP_SIZE, 0);

    if (size < (int)sizeof(struct kvm_run))
        return err_set(e, ERR_UNSUPPORTED, "KVM gives no run area");
    k->run_size = (size_t)size;
    k->vcpus = x_calloc(k->cpus, sizeof(k->vcpus[0]));
    for (unsigned i = 0; i < k->cpus; i++)
        k->vcpus[i].fd = -1;
    for (unsigned i = 0; i < k->cpus; i++) {
        struct kvm_vcpu *v = &k->vcpus[i];

        v->fd = ioctl(k->vm_fd, KVM_CREATE_VCPU, (unsigned long)i);
        if (v->fd < 0)
            return err_errno(e, errno, "KVM cannot create vCPU %u", i);
        fd_set_cloexec(v->fd, true);
        v->run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
        if (v->run == MAP_FAILED) {
            v->run = NULL;
            return err_errno(e, errno, "cannot map the run area of vCPU %u", i);
        }
        if (!kvm_set_cpuid(k, i, e))
            return false;
    }
    return true;
}

static void kvm_destroy(struct accel *a)
{
    struct kvm *k = kvm_of(a);

    for (unsigned i = 0; k->vcpus && i < k->cpus; i++) {
        if (k->vcpus[i].run)
            munmap(k->vcpus[i].run, k->run_size);
        fd_close(&k->vcpus[i].fd);
    }
    cpu_set_free(k->fallback);
    lock_fini(&k->fallback_lock);
    fd_close(&k->vm_fd);
    fd_close(&k->fd);
    x_free(k->vcpus);
    x_free(k->slots);
    x_free(k);
}

static struct accel *kvm_create(const struct accel_cfg *cfg, struct err *e)
{
    struct kvm *k = X_NEW(struct kvm);

    k->accel.ops = &accel_kvm;
    k->bus = cfg->bus;
    k->clock = cfg->clock;
    k->cpus = cfg->cpus;
    k->model = cfg->model;
    k->fd = cfg->kvm_fd;
    k->vm_fd = -1;
    kvm_irq_init(k);
    lock_init(&k->fallback_lock, LOCK_VM);
    if (!check_caps(k, e) || !create_vm(k, e) || !kvm_mem_init(k, e) || !create_vcpus(k, e)) {
        kvm_destroy(&k->accel);
        return NULL;
    }
    return &k->accel;
}

static void kvm_extint(struct accel *a, int level)
{
    struct kvm *k = kvm_of(a);

    k->extint = level != 0;
    if (level)
        kvm_wake(&k->vcpus[0]);
}

static void kvm_stats(struct accel *a, unsigned index, struct accel_vcpu_stats *out)
{
    *out = kvm_of(a)->vcpus[index].stats;
}

const struct accel_ops accel_kvm = {
    .name = "kvm",
    .create = kvm_create,
    .destroy = kvm_destroy,
    .vcpu_init = kvm_vcpu_init,
    .vcpu_run = kvm_vcpu_run,
    .kick = kvm_kick,
    .get_state = kvm_get_state,
    .set_state = kvm_set_state,
    .stats = kvm_stats,
    .extint = kvm_extint,
    .msi = kvm_msi,
    .ioapic_route = kvm_ioapic_route,
    .ioeventfd = kvm_ioeventfd,
    .irqfd = kvm_irqfd,
};
