/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The run loop of a KVM vCPU: exits to the bus, ExtINT from the PIC, kicks, and the fallback to the
 * software CPU for an instruction that KVM gives up on (as KVMs without hardware support do).
 *
 * Kicks: `kicked` and then immediate_exit are set and a signal is sent. Whatever the order in which
 * the vCPU sees them, KVM_RUN returns with EINTR, having completed a pending port or memory access
 * first. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/accel/bus_io.h"
#include "vmm/accel/kvm_priv.h"
#include "vmm/base/log.h"

static void on_kick(int sig)
{
    (void)sig; /* it only has to interrupt KVM_RUN */
}

bool kvm_vcpu_init(struct accel *a, unsigned index, struct err *e)
{
    struct kvm_vcpu *v = &kvm_of(a)->vcpus[index];
    struct sigaction sa = {.sa_handler = on_kick};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, KVM_KICK_SIGNAL);
    if (sigaction(KVM_KICK_SIGNAL, &sa, NULL) < 0 || pthread_sigmask(SIG_UNBLOCK, &set, NULL) != 0)
        return err_errno(e, errno, "cannot set up the kick signal");
    v->thread = pthread_self();
    v->ready = true;
    return true;
}

/* Makes KVM_RUN return soon. */
void kvm_wake(struct kvm_vcpu *v)
{
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (v->ready && !pthread_equal(v->thread, pthread_self()))
        pthread_kill(v->thread, KVM_KICK_SIGNAL);
}

void kvm_kick(struct accel *a, unsigned index)
{
    struct kvm_vcpu *v = &kvm_of(a)->vcpus[index];

    v->kicked = true;
    kvm_wake(v);
}

/* ExtINT goes to the boot processor when it can take it; otherwise KVM tells us when it can. */
static void inject_extint(struct kvm *k, struct kvm_vcpu *v)
{
    struct kvm_run *run = v->run;

    run->request_interrupt_window = 0;
    if (!k->extint)
        return;
    if (run->ready_for_interrupt_injection) {
        struct kvm_interrupt irq = {.irq = bus_pic_ack(k->bus)};

        if (kvm_ioctl(v->fd, KVM_INTERRUPT, &irq) < 0)
            log_guest("kvm", "interrupt 0x%x was not taken: %s", irq.irq, strerror(errno));
        run->ready_for_interrupt_injection = 0;
        v->stats.interrupts++;
    }
    if (k->extint)
        run->request_interrupt_window = 1;
}

static void do_io(struct kvm *k, struct kvm_run *run)
{
    uint8_t *p = (uint8_t *)run + run->io.data_offset;

    for (uint32_t i = 0; i < run->io.count; i++, p += run->io.size) {
        if (run->io.direction == KVM_EXIT_IO_OUT)
            bus_pio_write(k->bus, run->io.port, ld_le(p, run->io.size), run->io.size);
        else
            st_le(p, bus_pio_read(k->bus, run->io.port, run->io.size), run->io.size);
    }
}

static void do_mmio(struct kvm *k, struct kvm_run *run)
{
    unsigned len = MIN(run->mmio.len, 8u);

    if (run->mmio.is_write)
        bus_mmio_write(k->bus, run->mmio.phys_addr, ld_le(run->mmio.data, len), len);
    else
        st_le(run->mmio.data, bus_mmio_read(k->bus, run->mmio.phys_addr, len), len);
}

/* ---- fallback ---- */

/* Executes one instruction on the software CPU and hands the vCPU back. */
static bool step_in_software(struct kvm *k, unsigned index, bool *shutdown, struct err *e)
{
    static struct x86_state s; /* under fallback_lock */
    bool ok = false;

    lock_take(&k->fallback_lock);
    if (!k->fallback)
        k->fallback = cpu_set_new(&(struct cpu_set_cfg){.mem = bus_mem(k->bus),
                                                        .clock = NULL, /* KVM has the timers */
                                                        .io = &accel_bus_io,
                                                        .io_opaque = k->bus,
                                                        .count = 1,
                                                        .model = k->model},
                                  e);
    if (k->fallback && kvm_get_state(&k->accel, index, &s, e)) {
        struct cpu *c = cpu_get(k->fallback, 0);

        if (!k->tells_failure && s.exc_pending && s.exc_vector == X86_UD)
            s.exc_pending = false; /* KVM's verdict on the instruction */
        cpu_set_state(c, &s);
        *shutdown = !cpu_step(c);
        cpu_get_state(c, &s);
        ok = kvm_set_state(&k->accel, index, &s, e);
    }
    lock_drop(&k->fallback_lock);
    k->vcpus[index].stats.fallback++;
    return ok;
}

static enum accel_exit internal_error(struct kvm *k, unsigned index, struct err *e)
{
    struct kvm_run *run = k->vcpus[index].run;
    uint32_t sub = run->internal.suberror;

    if (sub != KVM_INTERNAL_ERROR_EMULATION && sub != KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON &&
        sub != KVM_INTERNAL_ERROR_DELIVERY_EV && sub != KVM_INTERNAL_ERROR_SIMUL_EX) {
        err_set(e, ERR_FAILED, "KVM internal error, suberror %u", sub);
        return ACCEL_EXIT_ERROR;
    }
    bool shutdown = false;
    if (!step_in_software(k, index, &shutdown, e)) {
        err_wrap(e, "KVM cannot run an instruction and neither can the software CPU");
        return ACCEL_EXIT_ERROR;
    }
    return shutdown ? ACCEL_EXIT_SHUTDOWN : ACCEL_EXIT_KICK;
}

enum accel_exit kvm_vcpu_run(struct accel *a, unsigned index, struct err *e)
{
    struct kvm *k = kvm_of(a);
    struct kvm_vcpu *v = &k->vcpus[index];
    struct kvm_run *run = v->run;

    for (;;) {
        if (index == 0)
            inject_extint(k, v);
        int rc = ioctl(v->fd, KVM_RUN, 0);
        v->stats.exits++;
        if (rc < 0) {
            if (errno != EINTR && errno != EAGAIN) {
                err_errno(e, errno, "KVM cannot run vCPU %u", index);
                return ACCEL_EXIT_ERROR;
            }
            __atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
            if (atomic_exchange(&v->kicked, false))
                return ACCEL_EXIT_KICK;
            continue;
        }
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            v->stats.pio++;
            do_io(k, run);
            break;
        case KVM_EXIT_MMIO:
            v->stats.mmio++;
            do_mmio(k, run);
            break;
        case KVM_EXIT_HLT: v->stats.halts++; break;
        case KVM_EXIT_IOAPIC_EOI: bus_ioapic_eoi(k->bus, run->eoi.vector); break;
        case KVM_EXIT_IRQ_WINDOW_OPEN:
        case KVM_EXIT_INTR:
        case KVM_EXIT_SET_TPR: break;
        case KVM_EXIT_SHUTDOWN: return ACCEL_EXIT_SHUTDOWN;
        case KVM_EXIT_INTERNAL_ERROR: {
            enum accel_exit x = internal_error(k, index, e);
            if (x != ACCEL_EXIT_KICK)
                return x;
            break;
        }
        case KVM_EXIT_FAIL_ENTRY:
            err_set(e, ERR_FAILED, "KVM cannot enter the guest: hardware reason 0x%llx",
                    (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
            return ACCEL_EXIT_ERROR;
        default:
            err_set(e, ERR_FAILED, "KVM gave an unknown exit reason %u", run->exit_reason);
            return ACCEL_EXIT_ERROR;
        }
    }
}
