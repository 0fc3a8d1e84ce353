/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Run state and vCPU threads.
 *
 * Stopping is asynchronous, because the loop's thread holds the machine lock while a vCPU may wait
 * for it: `running` falls, every vCPU is kicked, and the last one to stop posts `all_stopped`,
 * which carries out what was wanted (pause, reset, end) on the loop's thread. */
#include "vmm/vm/vm.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/chr/chr.h"

struct vcpu {
    struct vm *vm;
    unsigned index;
    pthread_t thread;
    bool started;
};

struct vm {
    struct vm_config const *cfg;
    struct vm_fds fds;
    struct loop *loop;
    const struct vm_events *events;
    void *opaque;

    struct mem *mem;
    struct bus *bus;
    struct pci_bus *pci;
    struct dev_env env;
    struct surface *surface;
    struct chr *serial[2];
    struct machine *machine;
    const struct accel_ops *ops;
    struct accel *accel;
    struct vcpu *vcpus;
    unsigned cpus;

    enum vm_run_state state;
    int64_t started_ns;

    /* guarded by mutex; the condition tells vCPU threads of changes */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool running, quit;
    unsigned stopped; /* vCPU threads waiting */

    /* what to do once all have stopped; machine lock */
    bool want_pause, want_reset;
    enum vm_stop want_stop;
    int stop_status;
    char stop_text[512];
};

/* ---- vCPU threads ---- */

static void all_stopped(void *opaque);
static void request_stop(struct vm *vm);

static void fail(struct vm *vm, const char *text)
{
    bus_lock(vm->bus);
    if (vm->want_stop == VM_STOP_NONE) {
        vm->want_stop = VM_STOP_ERROR;
        str_copy(vm->stop_text, sizeof(vm->stop_text), text);
    }
    request_stop(vm);
    bus_unlock(vm->bus);
}

/* Waits until the VM runs; false when the thread shall end. */
static bool wait_running(struct vm *vm)
{
    bool go;

    pthread_mutex_lock(&vm->mutex);
    if (!vm->running) {
        if (++vm->stopped == vm->cpus)
            loop_post(vm->loop, all_stopped, vm);
        while (!vm->running && !vm->quit)
            pthread_cond_wait(&vm->cond, &vm->mutex);
        vm->stopped--;
    }
    go = !vm->quit;
    pthread_mutex_unlock(&vm->mutex);
    return go;
}

static void *vcpu_main(void *arg)
{
    struct vcpu *v = arg;
    struct vm *vm = v->vm;
    struct err e = ERR_INIT;

    if (!vm->ops->vcpu_init(vm->accel, v->index, &e))
        fail(vm, e.msg);
    while (wait_running(vm)) {
        switch (vm->ops->vcpu_run(vm->accel, v->index, &e)) {
        case ACCEL_EXIT_KICK: break;
        case ACCEL_EXIT_SHUTDOWN:
            log_guest("vm", "vCPU %u: triple fault, resetting", v->index);
            bus_request(vm->bus, MACHINE_RESET, 0);
            break;
        case ACCEL_EXIT_ERROR: fail(vm, e.msg); break;
        }
    }
    return NULL;
}

/* Any thread: no vCPU executes guest code once all_stopped has run. */
static void request_stop(struct vm *vm)
{
    pthread_mutex_lock(&vm->mutex);
    bool was = vm->running;
    vm->running = false;
    if (!was && vm->stopped == vm->cpus)
        loop_post(vm->loop, all_stopped, vm); /* stood still already */
    pthread_mutex_unlock(&vm->mutex);
    for (unsigned i = 0; i < vm->cpus; i++)
        vm->ops->kick(vm->accel, i);
}

static void let_run(struct vm *vm)
{
    pthread_mutex_lock(&vm->mutex);
    vm->running = true;
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->mutex);
}

/* ---- accelerator behind the bus ---- */

static void host_extint(void *opaque, int level)
{
    struct vm *vm = opaque;

    vm->ops->extint(vm->accel, level);
}

static void host_msi(void *opaque, uint64_t address, uint32_t data)
{
    struct vm *vm = opaque;

    vm->ops->msi(vm->accel, address, data);
}

static void host_ioapic_route(void *opaque, unsigned pin, uint64_t address, uint32_t data,
                              bool masked)
{
    struct vm *vm = opaque;

    if (vm->ops->ioapic_route)
        vm->ops->ioapic_route(vm->accel, pin, address, data, masked);
}

static bool host_ioeventfd(void *opaque, bool pio, uint64_t address, unsigned size, int fd,
                           bool add)
{
    struct vm *vm = opaque;

    return vm->ops->ioeventfd && vm->ops->ioeventfd(vm->accel, pio, address, size, fd, add);
}

static bool host_irqfd(void *opaque, int fd, uint64_t address, uint32_t data, bool on)
{
    struct vm *vm = opaque;

    return vm->ops->irqfd && vm->ops->irqfd(vm->accel, fd, address, data, on);
}

static void host_request(void *opaque, enum machine_request req, int value)
{
    struct vm *vm = opaque;

    switch (req) {
    case MACHINE_RESET: vm->want_reset = true; break;
    case MACHINE_POWEROFF:
        if (vm->want_stop == VM_STOP_NONE)
            vm->want_stop = VM_STOP_POWEROFF;
        break;
    case MACHINE_DEBUG_EXIT:
        if (vm->want_stop == VM_STOP_NONE) {
            vm->want_stop = VM_STOP_DEBUG_EXIT;
            vm->stop_status = value;
        }
        break;
    case MACHINE_PANIC: log_warn("vm", "the guest reports a panic"); return;
    }
    request_stop(vm);
}

static const struct bus_host_ops host_ops = {
    .extint = host_extint,
    .msi = host_msi,
    .ioapic_route = host_ioapic_route,
    .request = host_request,
    .ioeventfd = host_ioeventfd,
    .irqfd = host_irqfd,
};

/* ---- run state (loop thread) ---- */

static void set_state(struct vm *vm, enum vm_run_state state)
{
    if (vm->state == state)
        return;
    vm->state = state;
    vm->events->state(vm->opaque, state);
}

static bool do_reset(struct vm *vm, struct err *e)
{
    static struct x86_state s; /* large, and only the loop's thread resets */

    for (unsigned i = vm->cpus;
         i-- > 0;) { /* the BSP last: its state may be that of a direct boot */
        x86_state_reset(&s, i, i == 0, false);
        if (i == 0 && !machine_reset(vm->machine, &s, e))
            return false;
        if (!vm->ops->set_state(vm->accel, i, &s, e))
            return false;
    }
    return true;
}

static void finish(struct vm *vm, enum vm_stop why)
{
    machine_quiesce(vm->machine);
    clock_pause(vm->env.clock);
    set_state(vm, why == VM_STOP_ERROR ? VM_FAILED : VM_SHUTDOWN);
    vm->events->stopped(vm->opaque, why, vm->stop_status, vm->stop_text);
}

static void all_stopped(void *opaque)
{
    struct vm *vm = opaque;
    struct err e = ERR_INIT;

    pthread_mutex_lock(&vm->mutex);
    bool still = !vm->running && vm->stopped == vm->cpus;
    pthread_mutex_unlock(&vm->mutex);
    if (!still || vm->state == VM_SHUTDOWN || vm->state == VM_FAILED || vm->state == VM_CREATED)
        return;
    if (vm->want_stop != VM_STOP_NONE) {
        finish(vm, vm->want_stop);
        return;
    }
    if (vm->want_reset) {
        vm->want_reset = false;
        machine_quiesce(vm->machine);
        if (!do_reset(vm, &e)) {
            str_copy(vm->stop_text, sizeof(vm->stop_text), e.msg);
            finish(vm, VM_STOP_ERROR);
            return;
        }
        machine_resume(vm->machine);
        vm->events->reset(vm->opaque);
    }
    if (vm->want_pause) {
        if (vm->state == VM_RUNNING) {
            machine_quiesce(vm->machine);
            clock_pause(vm->env.clock);
            if (vm->ops->pause)
                vm->ops->pause(vm->accel, true);
        }
        set_state(vm, VM_PAUSED);
        return;
    }
    set_state(vm, VM_RUNNING);
    let_run(vm);
}

bool vm_start(struct vm *vm, struct err *e)
{
    if (vm->state != VM_CREATED)
        return err_set(e, ERR_STATE, "cannot start: already started");
    if (!do_reset(vm, e))
        return false;
    for (unsigned i = 0; i < vm->cpus; i++) {
        struct vcpu *v = &vm->vcpus[i];
        char name[16];

        v->vm = vm;
        v->index = i;
        snprintf(name, sizeof(name), "vcpu%u", i);
        if (!thread_start(&v->thread, name, vcpu_main, v, e))
            return false;
        v->started = true;
    }
    vm->started_ns = clock_now_ns();
    set_state(vm, VM_RUNNING);
    let_run(vm);
    return true;
}

void vm_pause(struct vm *vm)
{
    if (vm->state != VM_RUNNING)
        return;
    vm->want_pause = true;
    request_stop(vm);
}

void vm_resume(struct vm *vm)
{
    vm->want_pause = false;
    if (vm->state != VM_PAUSED)
        return; /* a pause under way finds it is not wanted any more */
    if (vm->ops->pause)
        vm->ops->pause(vm->accel, false);
    clock_resume(vm->env.clock);
    machine_resume(vm->machine);
    set_state(vm, VM_RUNNING);
    let_run(vm);
}

void vm_reset(struct vm *vm)
{
    if (vm->state == VM_RUNNING || vm->state == VM_PAUSED)
        bus_request(vm->bus, MACHINE_RESET, 0);
}

void vm_powerdown(struct vm *vm)
{
    machine_power_button(vm->machine);
}

enum vm_run_state vm_state(const struct vm *vm)
{
    return vm->state;
}

struct surface *vm_surface(struct vm *vm)
{
    return vm->surface;
}

struct chr *vm_serial(struct vm *vm, unsigned index)
{
    return vm->serial[index];
}

void vm_input(struct vm *vm, const struct input_event *ev)
{
    machine_input(vm->machine, ev);
}

void vm_get_stats(struct vm *vm, struct vm_stats *out)
{
    memset(out, 0, sizeof(*out));
    out->cpus = vm->cpus;
    if (vm->state != VM_CREATED)
        out->uptime_ns = clock_now_ns() - vm->started_ns;
    for (unsigned i = 0; i < vm->cpus; i++) {
        struct timespec ts;
        clockid_t id;

        if (vm->vcpus[i].started && pthread_getcpuclockid(vm->vcpus[i].thread, &id) == 0 &&
            clock_gettime(id, &ts) == 0)
            out->cpu_ns += (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
        vm->ops->stats(vm->accel, i, &out->vcpu[i]);
    }
    machine_blk_stats(vm->machine, &out->disk_read_bytes, &out->disk_write_bytes);
}

bool vm_profile_start(struct vm *vm, unsigned period_us, struct err *e)
{
    struct cpu_profile ignored;

    if (!vm->ops->profile_start) {
        err_set(e, ERR_UNSUPPORTED, "%s does not tell what its vCPUs do", vm->ops->name);
        return err_hint(e, "only the software CPU is sampled");
    }
    for (unsigned i = 0; i < vm->cpus; i++)
        if (!vm->ops->profile_start(vm->accel, i, period_us, e)) {
            while (i-- > 0)
                vm->ops->profile_stop(vm->accel, i, &ignored);
            return false;
        }
    return true;
}

void vm_profile_stop(struct vm *vm, unsigned index, struct cpu_profile *out)
{
    vm->ops->profile_stop(vm->accel, index, out);
}

/* ---- life ---- */

static void guard_enter(void *opaque)
{
    bus_lock(((struct vm *)opaque)->bus);
}

static void guard_leave(void *opaque)
{
    bus_unlock(((struct vm *)opaque)->bus);
}

static bool make_serial(struct vm *vm)
{
    for (unsigned i = 0; i < 2; i++) {
        if (vm->cfg->serial[i].mode == SERIAL_NONE)
            continue;
        vm->serial[i] = chr_new(vm->loop);
        if (vm->fds.serial_in[i] >= 0 || vm->fds.serial_out[i] >= 0) {
            chr_set_primary(vm->serial[i], vm->fds.serial_in[i], vm->fds.serial_out[i]);
            vm->fds.serial_in[i] = vm->fds.serial_out[i] = -1;
        }
    }
    return true;
}

struct vm *vm_new(const struct vm_config *cfg, const struct vm_fds *fds,
                  const struct accel_ops *accel, struct loop *loop, const struct vm_events *events,
                  void *opaque, struct err *e)
{
    struct vm *vm = X_NEW(struct vm);
    enum cpu_model model;

    vm->cfg = cfg;
    vm->fds = *fds;
    vm->loop = loop;
    vm->events = events;
    vm->opaque = opaque;
    vm->ops = accel;
    vm->cpus = cfg->cpus;
    vm->vcpus = x_calloc(cfg->cpus, sizeof(vm->vcpus[0]));
    pthread_mutex_init(&vm->mutex, NULL);
    pthread_cond_init(&vm->cond, NULL);

    if (!cpu_model_parse(cfg->cpu_model, &model)) {
        err_set(e, ERR_INVALID, "unknown CPU model \"%s\"", cfg->cpu_model);
        goto fail;
    }
    vm->mem = mem_new(cfg->memory, e);
    if (!vm->mem)
        goto fail;
    vm->bus = bus_new(vm->mem);
    vm->pci = pci_bus_new(vm->bus);
    loop_set_guard(loop, guard_enter, guard_leave, vm);
    vm->env = (struct dev_env){
        .bus = vm->bus, .mem = vm->mem, .pci = vm->pci, .clock = loop_clock(loop), .loop = loop};
    vm->accel = accel->create(&(struct accel_cfg){.bus = vm->bus,
                                                  .clock = vm->env.clock,
                                                  .cpus = vm->cpus,
                                                  .model = model,
                                                  .verify = cfg->cpu_verify,
                                                  .perf_map = MAX(vm->fds.perf_map, 0),
                                                  .kvm_fd = vm->fds.kvm},
                              e);
    vm->fds.kvm = -1;
    if (!vm->accel)
        goto fail;
    bus_set_host(vm->bus, &host_ops, vm);
    vm->surface = surface_open(vm->fds.surface, e);
    vm->fds.surface = -1;
    if (!vm->surface || !make_serial(vm))
        goto fail;
    vm->machine = machine_new(&(struct machine_cfg){.cfg = cfg,
                                                    .fds = &vm->fds,
                                                    .env = &vm->env,
                                                    .surface = vm->surface,
                                                    .serial = {vm->serial[0], vm->serial[1]}},
                              e);
    if (!vm->machine)
        goto fail;
    return vm;
fail:
    vm_free(vm);
    return NULL;
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    pthread_mutex_lock(&vm->mutex);
    vm->running = false;
    vm->quit = true;
    pthread_cond_broadcast(&vm->cond);
    pthread_mutex_unlock(&vm->mutex);
    for (unsigned i = 0; i < vm->cpus; i++)
        if (vm->vcpus[i].started)
            vm->ops->kick(vm->accel, i);
    for (unsigned i = 0; i < vm->cpus; i++)
        if (vm->vcpus[i].started)
            pthread_join(vm->vcpus[i].thread, NULL);
    machine_free(vm->machine);
    for (unsigned i = 0; i < 2; i++)
        chr_free(vm->serial[i]);
    if (vm->accel)
        vm->ops->destroy(vm->accel);
    surface_free(vm->surface);
    loop_set_guard(vm->loop, NULL, NULL, NULL);
    pci_bus_free(vm->pci);
    bus_free(vm->bus);
    mem_free(vm->mem);
    pthread_mutex_destroy(&vm->mutex);
    pthread_cond_destroy(&vm->cond);
    x_free(vm->vcpus);
    x_free(vm);
}
