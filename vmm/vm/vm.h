/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One virtual machine inside its vm process: machine, accelerator, vCPU threads, run state.
 *
 * The loop's thread owns the VM: all functions here are called on it (or before it runs). vCPU
 * threads only run the accelerator. Files arrive as descriptors; nothing here opens any. */
#ifndef VMDECK_VM_VM_H
#define VMDECK_VM_VM_H

#include <stdbool.h>

#include "display/surface.h"
#include "vmm/accel/accel.h"
#include "vmm/base/loop.h"
#include "vmm/conf/config.h"
#include "vmm/dev/dev.h"

#define VM_FD_MODULES 16

/* Descriptors from the supervisor, -1 when absent; they become the VM's. */
struct vm_fds {
    int kvm;
    int surface; /* memfd of a struct surface made by the supervisor */
    int input;   /* SOCK_SEQPACKET of struct input_event */
    int disks[CONF_DISKS], cdroms[CONF_CDROMS], nets[CONF_NETWORKS];
    int kernel, initrd, modules[CONF_MODULES];
    int bios, vgabios;
    int serial_in[2], serial_out[2]; /* stdio or file; -1: console multiplexer only */
    int perf_map;                    /* software CPU: the file for perf that describes translated code */
    int debugcon;                    /* where port 0xe9/0x402 bytes go (log), -1: dropped */
};

enum vm_run_state { VM_CREATED, VM_RUNNING, VM_PAUSED, VM_SHUTDOWN, VM_FAILED };

/* Why the VM stopped for good. */
enum vm_stop { VM_STOP_NONE, VM_STOP_POWEROFF, VM_STOP_DEBUG_EXIT, VM_STOP_QUIT, VM_STOP_ERROR };

struct vm_events {
    /* Loop thread. state: the new one. */
    void (*state)(void *opaque, enum vm_run_state state);
    void (*reset)(void *opaque);
    /* The VM has stopped for good; status: exit status of debug exit; text: reason of an error. */
    void (*stopped)(void *opaque, enum vm_stop why, int status, const char *text);
};

struct vm;

struct vm *vm_new(const struct vm_config *cfg, const struct vm_fds *fds,
                  const struct accel_ops *accel, struct loop *loop, const struct vm_events *events,
                  void *opaque, struct err *e);
void vm_free(struct vm *vm);                 /* stops the vCPUs first */
bool vm_start(struct vm *vm, struct err *e); /* from VM_CREATED: reset and run */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
void vm_reset(struct vm *vm);
void vm_powerdown(struct vm *vm); /* ACPI power button */
enum vm_run_state vm_state(const struct vm *vm);
struct surface *vm_surface(struct vm *vm);
/* Console multiplexer of COM1, COM2 (chr.h); NULL when that port is none. */
struct chr *vm_serial(struct vm *vm, unsigned index);
/* Feeds one input event as if it came from the input socket. */
struct input_event;
void vm_input(struct vm *vm, const struct input_event *ev);

struct vm_stats {
    int64_t uptime_ns;
    uint64_t cpu_ns; /* of all vCPU threads */
    uint64_t disk_read_bytes, disk_write_bytes;
    struct accel_vcpu_stats vcpu[64];
    unsigned cpus;
};
void vm_get_stats(struct vm *vm, struct vm_stats *out);
/* Looks at all vCPUs every period_us until vm_profile_stop, which is called for each of them. False with e where that
 * is not possible; then nothing is to be stopped. */
bool vm_profile_start(struct vm *vm, unsigned period_us, struct err *e);
void vm_profile_stop(struct vm *vm, unsigned index, struct cpu_profile *out);

/* ---- machine_pc.c: wiring only, called by vm.c ---- */

struct machine;
struct machine_cfg {
    const struct vm_config *cfg;
    struct vm_fds *fds;
    const struct dev_env *env;
    struct surface *surface;
    struct chr *serial[2];
};
/* Creates and realizes every device, loads firmware. */
struct machine *machine_new(const struct machine_cfg *cfg, struct err *e);
void machine_free(struct machine *m);
/* All devices to power-on; firmware or the direct boot image back into RAM; *boot gets the state of
 * the BSP for direct boot, after x86_state_reset filled it. */
bool machine_reset(struct machine *m, struct x86_state *boot, struct err *e);
void machine_quiesce(struct machine *m);
void machine_resume(struct machine *m);
void machine_power_button(struct machine *m);
void machine_input(struct machine *m, const struct input_event *ev);
void machine_blk_stats(struct machine *m, uint64_t *read_bytes, uint64_t *write_bytes);

#endif
