/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vm process: gets its configuration and every descriptor from the supervisor, runs the VM until its end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/chr/chr.h"
#include "vmm/ctl/qmp.h"
#include "vmm/ctl/sup.h"
#include "vmm/ctl/vm_priv.h"

#define MAX_CONFIG     (4 * 1024 * 1024)
#define SERIAL_LOG_MAX (16 * 1024 * 1024)

static void get_indexed(const struct spawn_args *args, const char *name, int *fds, unsigned count)
{
    char word[24];

    for (unsigned i = 0; i < count; i++) {
        snprintf(word, sizeof(word), "%s%u", name, i);
        fds[i] = spawn_get_fd(args, word);
    }
}

static void get_fds(const struct spawn_args *args, struct vm_fds *f)
{
    f->kvm = spawn_get_fd(args, "kvm");
    f->surface = spawn_get_fd(args, "surface");
    f->input = spawn_get_fd(args, "input");
    f->kernel = spawn_get_fd(args, "kernel");
    f->initrd = spawn_get_fd(args, "initrd");
    f->bios = spawn_get_fd(args, "bios");
    f->vgabios = spawn_get_fd(args, "vgabios");
    f->debugcon = spawn_get_fd(args, "debugcon");
    get_indexed(args, "disk", f->disks, CONF_DISKS);
    get_indexed(args, "cdrom", f->cdroms, CONF_CDROMS);
    get_indexed(args, "net", f->nets, CONF_NETWORKS);
    get_indexed(args, "module", f->modules, CONF_MODULES);
    get_indexed(args, "serial-in", f->serial_in, 2);
    get_indexed(args, "serial-out", f->serial_out, 2);
}

/* The one file that this process opens itself, for only here its name is known; asked for by VMDECK_CPU=perfmap. Whoever
 * runs perf on us must be its owner. */
static int open_perf_map(void)
{
    char path[40];
    int fd;

    if (!cpu_tuning_default(1).perf_map)
        return -1;
    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
    unlink(path); /* of an earlier process with our number */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        log_warn("vm", "cannot make %s: %s", path, strerror(errno));
    return fd;
}

static bool get_config(const struct spawn_args *args, struct vm_config *cfg, struct err *e)
{
    struct conf_diags diags = {0};
    int fd = spawn_get_fd(args, "config");
    char *text = x_alloc(MAX_CONFIG);
    ssize_t n = fd >= 0 ? pread(fd, text, MAX_CONFIG, 0) : -1;
    bool ok = n > 0 ? config_parse(text, (size_t)n, spawn_get_word(args, "name"), cfg, &diags, e)
                    : err_set(e, ERR_INTERNAL, "no configuration");

    if (n <= 0)
        config_init(cfg);
    conf_diags_free(&diags);
    x_free(text);
    fd_close(&fd);
    return ok;
}

/* ---- what the VM reports ---- */

static void state_changed(void *opaque, enum vm_run_state state)
{
    struct vm_proc *p = opaque;

    if (state == VM_PAUSED) {
        vm_proc_event(p, "STOP", NULL);
        vm_proc_paused(p);
    } else if (state == VM_RUNNING) {
        if (p->started)
            vm_proc_event(p, "RESUME", NULL);
        p->started = true;
    }
}

static void was_reset(void *opaque)
{
    vm_proc_event(opaque, "RESET", json_pack("{sb}", "guest", 1));
}

static void stopped(void *opaque, enum vm_stop why, int status, const char *text)
{
    static const char *const names[] = {[VM_STOP_NONE] = "error", [VM_STOP_POWEROFF] = "poweroff",
                                        [VM_STOP_DEBUG_EXIT] = "debug-exit", [VM_STOP_QUIT] = "quit",
                                        [VM_STOP_ERROR] = "error"};

    vm_proc_end(opaque, names[why], status, text);
}

static const struct vm_events events = {state_changed, was_reset, stopped};

static void link_closed(void *opaque, const char *why)
{
    struct vm_proc *p = opaque;

    log_error("vm", "the supervisor is gone%s%s", why ? ": " : "", why ? why : "");
    lines_free(p->link);
    p->link = NULL;
    loop_stop(p->loop);
}

static const struct lines_ops link_ops = {vm_proc_line, link_closed};

void vm_proc_end(struct vm_proc *p, const char *why, int status, const char *text)
{
    if (p->ended)
        return;
    p->ended = true;
    vm_proc_event(p, "x-stopped", json_pack("{sssiss}", "why", why, "status", status, "text", text ? text : ""));
    if (p->link)
        lines_flush(p->link, 1000);
    loop_stop(p->loop);
}

/* ---- main ---- */

static bool start(struct vm_proc *p, const struct spawn_args *args, struct err *e)
{
    const char *accel = spawn_get_word(args, "accel");
    int serial_log = spawn_get_fd(args, "serial-log"), link = spawn_get_fd(args, "link");
    struct vm_fds fds;

    if (!get_config(args, &p->cfg, e))
        return false;
    get_fds(args, &fds);
    fds.perf_map = open_perf_map();
    p->loop = loop_new(e);
    if (!p->loop)
        return false;
    p->vm = vm_new(&p->cfg, &fds, accel && !strcmp(accel, "kvm") ? &accel_kvm : &accel_soft, p->loop, &events, p, e);
    if (!p->vm)
        return false;
    struct chr *com1 = vm_serial(p->vm, 0);
    if (com1 && serial_log >= 0)
        chr_set_log(com1, serial_log, SERIAL_LOG_MAX);
    p->link = lines_new(p->loop, link, &link_ops, p);
    if (!p->link)
        return err_set(e, ERR_INTERNAL, "no link to the supervisor");
    return vm_start(p->vm, e);
}

int vm_main(const struct spawn_args *args)
{
    static struct vm_proc p;
    struct err e = ERR_INIT;
    const char *level = spawn_get_word(args, "log");
    char *who = x_asprintf("%s/vm", spawn_get_word(args, "name"));
    int status = spawn_get_fd(args, "status");

    log_init(who, STDERR_FILENO, level && !strcmp(level, "warn") ? LOG_WARN : LOG_INFO);
    x_free(who);
    bool ok = start(&p, args, &e);
    spawn_hide_args(args);
    if (ok)
        status_ready(status);
    else
        status_error(status, &e);
    fd_close(&status);
    if (ok)
        loop_run(p.loop);
    vm_free(p.vm);
    lines_free(p.link);
    loop_free(p.loop);
    config_fini(&p.cfg);
    return ok ? 0 : 1;
}
