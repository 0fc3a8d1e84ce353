/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The child processes: what each gets, and what happens when one dies. vnc and net are started again with the same
 * ends of the same socket pairs, so the guest sees neither a lost link nor a stuck key; when vm dies, the VM
 * has ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "display/input.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/ctl/qmp.h"
#include "vmm/ctl/sup_priv.h"

#define START_TIMEOUT_MS 30000
#define BACKOFF_MS       100
#define BACKOFF_MAX_MS   10000
#define STABLE_NS        (30 * NS_PER_S) /* a process that lived this long starts with a clean record */

/* ---- starting ---- */

static void died(void *opaque, unsigned events);

/* *status: where it will say that it is ready; NULL: nobody will ask, its death and the log say enough. */
static bool run(struct sup_proc *p, struct spawn *sp, int *status, struct err *e)
{
    struct sup *s = p->sup;
    int pipe_fds[2] = {-1, -1};

    if (status && pipe2(pipe_fds, O_CLOEXEC) < 0)
        return err_errno(e, errno, "cannot make a pipe");
    spawn_fd(sp, "status", pipe_fds[1]);
    bool ok = spawn_run(sp, s->log_fd, &p->pid, &p->pidfd, e);
    fd_close(&pipe_fds[1]);
    if (!ok) {
        fd_close(&pipe_fds[0]);
        p->pid = 0;
        return false;
    }
    p->started_ns = clock_now_ns();
    p->watch = loop_watch(s->loop, p->pidfd, LOOP_READ, died, p);
    if (status)
        *status = pipe_fds[0];
    return true;
}

static void init_spawn(struct sup_proc *p, struct spawn *sp)
{
    char role[16], *title = x_asprintf("vmdeck: %s [%s]", p->sup->opts->name, p->role);

    snprintf(role, sizeof(role), "__%s", p->role);
    spawn_init(sp, role, title);
    spawn_word(sp, "name", p->sup->opts->name);
    spawn_word(sp, "log", p->sup->opts->ephemeral ? "warn" : "info");
    x_free(title);
}

static void add_indexed(struct spawn *sp, const char *name, const int *fds, unsigned count)
{
    char word[24];

    for (unsigned i = 0; i < count; i++) {
        snprintf(word, sizeof(word), "%s%u", name, i);
        spawn_fd(sp, word, fds[i]);
    }
}

static const struct lines_ops vm_ops = {sup_vm_line, sup_vm_closed};

static bool start_vm(struct sup *s, int *status, struct err *e)
{
    struct vm_fds *f = &s->files;
    struct spawn sp;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, errno, "cannot make a socket pair");
    init_spawn(&s->vm, &sp);
    spawn_word(&sp, "accel", s->accel);
    spawn_fd(&sp, "link", pair[1]);
    spawn_fd(&sp, "config", s->config_fd);
    spawn_fd(&sp, "kvm", f->kvm);
    spawn_fd(&sp, "surface", surface_fd(s->surface));
    spawn_fd(&sp, "input", s->input_vm);
    add_indexed(&sp, "disk", f->disks, CONF_DISKS);
    add_indexed(&sp, "cdrom", f->cdroms, CONF_CDROMS);
    add_indexed(&sp, "net", s->net_vm, CONF_NETWORKS);
    spawn_fd(&sp, "kernel", f->kernel);
    spawn_fd(&sp, "initrd", f->initrd);
    add_indexed(&sp, "module", f->modules, CONF_MODULES);
    spawn_fd(&sp, "bios", f->bios);
    spawn_fd(&sp, "vgabios", f->vgabios);
    add_indexed(&sp, "serial-in", f->serial_in, 2);
    add_indexed(&sp, "serial-out", f->serial_out, 2);
    spawn_fd(&sp, "serial-log", s->serial_log);
    spawn_fd(&sp, "debugcon", f->debugcon);
    bool ok = run(&s->vm, &sp, status, e);
    spawn_fini(&sp);
    close(pair[1]);
    if (!ok) {
        close(pair[0]);
        return false;
    }
    s->link = lines_new(s->loop, pair[0], &vm_ops, s);
    return s->link || err_set(e, ERR_INTERNAL, "cannot watch the vm process");
}

static bool start_net(struct sup_proc *p, int *status, struct err *e)
{
    const struct conf_network *n = &p->sup->cfg.networks[p->index];
    struct spawn sp;

    init_spawn(p, &sp);
    spawn_fd(&sp, "sock", p->sup->net_net[p->index]);
    for (unsigned i = 0; i < n->forward_count; i++) {
        const struct conf_forward *f = &n->forwards[i];
        char name[24], value[64];

        snprintf(name, sizeof(name), "forward%u", i);
        snprintf(value, sizeof(value), "%s/%s/%u/%u", f->udp ? "udp" : "tcp", f->host ? f->host : "127.0.0.1",
                 f->host_port, f->guest_port);
        spawn_word(&sp, name, value);
    }
    bool ok = run(p, &sp, status, e);
    spawn_fini(&sp);
    return ok;
}

/* Viewers come and go: records of display/vnc.h. */
static void vnc_line(void *opaque, const char *text, size_t len, int fd)
{
    struct sup *s = opaque;
    unsigned n;

    (void)len;
    fd_close(&fd);
    if (sscanf(text, "viewers %u", &n) != 1) {
        log_info("vnc", "%.200s", text);
        return;
    }
    if (n == s->viewers)
        return;
    s->viewers = n;
    sup_event(s, "x-viewer", json_pack("{si}", "viewers", (int)n));
}

static void vnc_closed(void *opaque, const char *why)
{
    struct sup *s = opaque;

    (void)why; /* its death is reported by the pidfd */
    lines_free(s->vnc_link);
    s->vnc_link = NULL;
}

static const struct lines_ops vnc_ops = {vnc_line, vnc_closed};

static bool start_vnc(struct sup_proc *p, int *status, struct err *e)
{
    struct sup *s = p->sup;
    struct spawn sp;
    int pair[2], password = fd_memfd("vmdeck-password", sizeof(s->vnc_password), e);

    if (password < 0)
        return false;
    if (pwrite(password, s->vnc_password, sizeof(s->vnc_password), 0) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        err_errno(e, errno, "cannot make a socket pair");
        close(password);
        return false;
    }
    init_spawn(p, &sp);
    spawn_word(&sp, "layout", s->cfg.keyboard_layout ? s->cfg.keyboard_layout : "us");
    spawn_fd(&sp, "surface", s->surface_ro);
    spawn_fd(&sp, "input", s->input_vnc);
    spawn_fd(&sp, "tcp", s->vnc_tcp);
    spawn_fd(&sp, "unix", s->vnc_unix);
    spawn_fd(&sp, "password", password);
    spawn_fd(&sp, "link", pair[1]);
    bool ok = run(p, &sp, status, e);
    spawn_fini(&sp);
    close(password);
    close(pair[1]);
    if (!ok) {
        close(pair[0]);
        return false;
    }
    lines_free(s->vnc_link);
    s->vnc_link = lines_new(s->loop, pair[0], &vnc_ops, s);
    return true;
}

static void restart(void *opaque);

static void init_proc(struct sup *s, struct sup_proc *p, const char *role, unsigned index)
{
    p->sup = s;
    p->index = index;
    p->pidfd = -1;
    snprintf(p->role, sizeof(p->role), "%s", role);
    timer_init(&p->restart, loop_clock(s->loop), restart, p);
}

bool sup_start_processes(struct sup *s, struct err *e)
{
    int status[CONF_NETWORKS + 1];
    unsigned started = 0;
    bool ok = true;

    init_proc(s, &s->vm, "vm", 0);
    init_proc(s, &s->vnc, "vnc", 0);
    for (unsigned i = 0; i < CONF_NETWORKS; i++)
        init_proc(s, &s->net[i], "net", i);
    for (unsigned i = 0; ok && i < s->cfg.network_count; i++)
        if (s->net_net[i] >= 0 && (ok = start_net(&s->net[i], &status[started], e)))
            started++;
    if (ok && s->cfg.vnc.enabled && (ok = start_vnc(&s->vnc, &status[started], e)))
        started++;
    for (unsigned i = 0; i < started; i++) {
        struct err own = ERR_INIT;
        bool ready = status_wait(status[i], START_TIMEOUT_MS, ok ? e : &own);
        ok = ok && ready;
    }
    if (!ok)
        return false;
    /* the guest runs from here on */
    return start_vm(s, &status[0], e) && status_wait(status[0], START_TIMEOUT_MS, e);
}

/* ---- ending ---- */

static void reap(struct sup_proc *p, int *status)
{
    if (p->watch)
        loop_unwatch(p->watch);
    p->watch = NULL;
    while (waitpid(p->pid, status, 0) < 0 && errno == EINTR)
        ;
    fd_close(&p->pidfd);
    p->pid = 0;
}

static void describe(const struct sup_proc *p, int status, char *out, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(out, size, "%s process killed by signal %d (%s)", p->role, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "%s process ended with status %d", p->role, WEXITSTATUS(status));
}

static void vm_died(struct sup *s, int status)
{
    if (s->link)
        lines_drain(s->link); /* its last words */
    if (s->why == VM_STOP_NONE && s->quitting)
        s->why = VM_STOP_QUIT;
    if (s->why == VM_STOP_NONE) {
        s->why = VM_STOP_ERROR;
        describe(&s->vm, status, s->why_text, sizeof(s->why_text));
        log_error("vm", "%s", s->why_text);
    }
    sup_finish(s);
}

static void restart_later(struct sup_proc *p)
{
    unsigned shift = p->failures < 7 ? p->failures : 7;
    int64_t ms = (int64_t)BACKOFF_MS << shift;

    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    p->failures++;
    timer_arm(&p->restart, clock_now_ns() + ms * NS_PER_MS);
}

static void died(void *opaque, unsigned events)
{
    struct sup_proc *p = opaque;
    struct sup *s = p->sup;
    int status = 0;
    char text[128];

    (void)events;
    reap(p, &status);
    if (p == &s->vm) {
        vm_died(s, status);
        return;
    }
    if (p == &s->vnc) {
        struct input_event ev = {.type = INPUT_RELEASE_ALL};

        /* what its viewers held down is nobody's now */
        if (send(s->input_vnc, &ev, sizeof(ev), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            log_warn("vnc", "held keys may stay down");
        if (s->viewers) {
            s->viewers = 0;
            sup_event(s, "x-viewer", json_pack("{si}", "viewers", 0));
        }
    }
    if (s->ended || s->quitting)
        return;
    describe(p, status, text, sizeof(text));
    log_error(p->role, "%s; starting another", text);
    if (clock_now_ns() - p->started_ns > STABLE_NS)
        p->failures = 0;
    restart_later(p);
}

static void restart(void *opaque)
{
    struct sup_proc *p = opaque;
    struct err e = ERR_INIT;

    if (p->sup->ended || p->pid)
        return;
    if (!(p == &p->sup->vnc ? start_vnc(p, NULL, &e) : start_net(p, NULL, &e))) {
        log_error(p->role, "%s", e.msg);
        restart_later(p);
    }
}

static void end(struct sup_proc *p)
{
    int status;

    timer_cancel(&p->restart);
    if (p->pid == 0)
        return;
    kill(p->pid, SIGKILL);
    reap(p, &status);
}

void sup_end_processes(struct sup *s)
{
    if (!s->vm.sup)
        return; /* never got that far */
    end(&s->vm);
    end(&s->vnc);
    for (unsigned i = 0; i < CONF_NETWORKS; i++)
        end(&s->net[i]);
    lines_free(s->link);
    lines_free(s->vnc_link);
    s->link = s->vnc_link = NULL;
}
