/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The supervisor's life: lock, configuration, files, processes, loop, end. */
#include "vmm/ctl/sup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/sup_priv.h"

#define QUIT_TIMEOUT_MS 3000
#define LOCK_TRIES      100
#define LOG_MAX         (4 * 1024 * 1024)
#define MAX_CONFIG      (1024 * 1024)

/* ---- set-up ---- */

static void fill(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        fds[i] = -1;
}

static void init(struct sup *s, const struct sup_opts *o)
{
    struct vm_fds *f = &s->files;

    memset(s, 0, sizeof(*s));
    s->opts = o;
    s->status = "prelaunch";
    s->lock_fd = s->log_fd = s->signal_fd = s->serial_log = s->config_fd = -1;
    s->surface_ro = s->input_vm = s->input_vnc = s->vnc_tcp = s->vnc_unix = s->control = -1;
    f->kvm = f->surface = f->input = f->kernel = f->initrd = f->bios = f->vgabios = f->debugcon = -1;
    fill(f->disks, CONF_DISKS);
    fill(f->cdroms, CONF_CDROMS);
    fill(f->nets, CONF_NETWORKS);
    fill(f->modules, CONF_MODULES);
    fill(f->serial_in, 2);
    fill(f->serial_out, 2);
    fill(s->net_vm, CONF_NETWORKS);
    fill(s->net_net, CONF_NETWORKS);
    config_init(&s->cfg);
}

static bool make_folders(struct sup *s, struct err *e)
{
    char *log = x_asprintf("%s/log", s->opts->dir);
    bool ok = path_make(s->opts->run_dir, e) && (s->opts->ephemeral || path_make(log, e));

    x_free(log);
    if (ok && chmod(s->opts->run_dir, 0700) < 0)
        ok = err_errno(e, errno, "cannot protect \"%s\"", s->opts->run_dir);
    return ok;
}

/* The last log stays as vmdeck.log.old. */
static void rotate_log(const char *path)
{
    struct stat st;

    if (lstat(path, &st) < 0 || st.st_size < LOG_MAX)
        return;
    char *old = x_asprintf("%s.old", path);
    if (rename(path, old) < 0)
        log_warn("supervisor", "cannot rename \"%s\"", path);
    x_free(old);
}

static bool open_log(struct sup *s, struct err *e)
{
    char *path = x_asprintf("%s/%s", s->opts->dir, PATH_LOG);

    if (!s->opts->ephemeral)
        rotate_log(path);
    if (s->opts->ephemeral)
        s->log_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    else
        s->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->log_fd < 0)
        err_errno(e, errno, "cannot open log \"%s\"", path);
    else
        log_init(s->opts->name, s->log_fd, s->opts->ephemeral ? LOG_WARN : LOG_INFO);
    x_free(path);
    return s->log_fd >= 0;
}

static bool apply_set(struct sup *s, struct err *e)
{
    const char *set = s->opts->set, *eq = set ? strchr(set, '=') : NULL;

    if (!eq)
        return true;
    char *key = x_strndup(set, (size_t)(eq - set));
    bool ok = config_set(&s->cfg, key, eq + 1, e) && config_validate(&s->cfg, e);
    x_free(key);
    return ok;
}

/* The first mistake; `vmdeck validate` shows all of them. */
static bool read_config(struct sup *s, struct err *e)
{
    char *path = x_asprintf("%s/%s", s->opts->dir, PATH_CONFIG);
    struct conf_diags diags = {0};
    struct buf text_of = BUF_INIT;
    size_t len;
    char *text;

    if (s->opts->cfg) { /* a copy of our own */
        config_emit(s->opts->cfg, &text_of);
        len = text_of.len;
        text = buf_steal(&text_of);
    } else {
        text = fd_read_file(AT_FDCWD, path, MAX_CONFIG, &len, e);
    }
    config_fini(&s->cfg); /* config_parse fills a new one */
    if (!text)
        config_init(&s->cfg);
    bool ok = text && config_parse(text, len, s->opts->name, &s->cfg, &diags, e);
    if (text && !ok && diags.count > 0) {
        err_set(e, ERR_INVALID, "%s:%u:%u: %s", path, diags.list[0].line, diags.list[0].column,
                diags.list[0].message);
        if (diags.count > 1)
            err_hint(e, "see all %u mistakes with: vmdeck validate %s", diags.count, s->opts->name);
    }
    conf_diags_free(&diags);
    x_free(text);
    x_free(path);
    return ok && apply_set(s, e);
}

/* Of a line on the terminal, which may be in raw mode. */
static const char *line_end(const struct sup *s)
{
    return s->relay && isatty(STDERR_FILENO) ? "\r\n" : "\n";
}

static void shutdown_overdue(void *opaque)
{
    struct sup *s = opaque;

    log_warn("vm", "does not power off within %u s: powered off", s->cfg.shutdown_timeout);
    sup_quit(s);
}

static void signalled(void *opaque, unsigned events)
{
    struct sup *s = opaque;
    struct signalfd_siginfo info;

    (void)events;
    if (read(s->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    bool again = s->signal, answers = !strcmp(s->status, "running") && s->cfg.shutdown_timeout;
    s->signal = (int)info.ssi_signo;
    if (again || !answers) {
        log_info("supervisor", "signal %d: powering off", s->signal);
        sup_quit(s);
        return;
    }
    log_info("supervisor", "signal %d: pressing the power button", s->signal);
    if (s->opts->foreground)
        fprintf(stderr, "vmdeck: SIG%s: pressed the power button, powering off after %u s or another signal%s",
                sigabbrev_np(s->signal), s->cfg.shutdown_timeout, line_end(s));
    sup_tell_vm(s, "system_powerdown");
    timer_arm(&s->shutdown_timer, clock_now_ns() + s->cfg.shutdown_timeout * NS_PER_S);
}

static bool watch_signals(struct sup *s, sigset_t *old, struct err *e)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, old);
    sigdelset(&set, SIGPIPE);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd < 0)
        return err_errno(e, errno, "cannot watch signals");
    s->signal_watch = loop_watch(s->loop, s->signal_fd, LOOP_READ, signalled, s);
    return true;
}

/* ---- end ---- */

static void quit_overdue(void *opaque)
{
    struct sup *s = opaque;

    log_warn("vm", "does not end by itself: killed");
    kill(s->vm.pid, SIGKILL);
}

void sup_quit(struct sup *s)
{
    if (s->ended || s->quitting)
        return;
    s->quitting = true;
    timer_cancel(&s->shutdown_timer);
    sup_tell_vm(s, "quit");
    timer_arm(&s->quit_timer, clock_now_ns() + QUIT_TIMEOUT_MS * NS_PER_MS);
}

void sup_finish(struct sup *s)
{
    s->ended = true;
    loop_stop(s->loop);
}

/* What state.json will say. */
static void record_end(struct sup *s)
{
    static const char *const reasons[] = {
        [VM_STOP_POWEROFF] = "poweroff", [VM_STOP_DEBUG_EXIT] = "debug-exit", [VM_STOP_QUIT] = "quit"};
    struct vm_last last = {.end = VM_END_OFF, .status = s->exit_status};
    struct err e = ERR_INIT;

    if (s->opts->ephemeral)
        return;
    if (s->why == VM_STOP_ERROR || s->why == VM_STOP_NONE) {
        last.end = VM_END_CRASHED;
        snprintf(last.reason, sizeof(last.reason), "%.150s", s->why_text);
    } else {
        snprintf(last.reason, sizeof(last.reason), "%s", reasons[s->why]);
    }
    log_info("supervisor", "the VM has ended: %s", last.reason);
    if (!state_write(s->opts->dir, &last, &e))
        log_error("supervisor", "%s", e.msg);
}

static void remove_run_dir(struct sup *s)
{
    struct err e = ERR_INIT;

    /* while the lock is held: whoever waits for the lock finds nothing to break */
    if (s->lock_fd >= 0 && !path_remove_tree(s->opts->run_dir, &e))
        log_warn("supervisor", "%s", e.msg);
}

static void fini(struct sup *s)
{
    sup_end_processes(s);
    sup_server_stop(s);
    sup_close(s);
    if (s->signal_watch)
        loop_unwatch(s->signal_watch);
    fd_close(&s->signal_fd);
    if (s->loop) {
        timer_cancel(&s->quit_timer);
        timer_cancel(&s->shutdown_timer);
    }
    loop_free(s->loop);
    remove_run_dir(s);
    config_fini(&s->cfg);
    for (unsigned i = 0; i < SUP_REQUESTS; i++)
        json_decref(s->requests[i].id);
    log_init("vmdeck", STDERR_FILENO, LOG_WARN);
    fd_close(&s->log_fd);
    fd_close(&s->lock_fd);
}

static bool start(struct sup *s, sigset_t *old, struct err *e)
{
    for (unsigned i = 0; s->lock_fd < 0 && i < LOCK_TRIES; i++) {
        if (!make_folders(s, e))
            return false;
        s->lock_fd = state_lock(s->opts->run_dir, e);
        if (s->lock_fd < 0 && e->code != ERR_CANCELLED)
            return false;
    }
    if (s->lock_fd < 0 || !open_log(s, e) || !read_config(s, e))
        return false;
    s->loop = loop_new(e);
    if (!s->loop)
        return false;
    timer_init(&s->quit_timer, loop_clock(s->loop), quit_overdue, s);
    timer_init(&s->shutdown_timer, loop_clock(s->loop), shutdown_overdue, s);
    if (!watch_signals(s, old, e) || !sup_open(s, e) || !sup_server_start(s, e) || !sup_start_processes(s, e))
        return false;
    sup_close_files(s);
    s->started_ns = clock_now_ns();
    s->status = "running";
    if (!s->opts->ephemeral && !state_write(s->opts->dir, &(struct vm_last){.end = VM_END_RUNNING}, e))
        return false;
    log_info("supervisor", "started: accel %s", s->accel);
    if (s->accel_note[0])
        log_info("supervisor", "%s", s->accel_note);
    return true;
}

static void notes(const struct sup *s)
{
    const char *end = line_end(s);

    if (!s->opts->foreground)
        return;
    if (s->accel_note[0])
        fprintf(stderr, "vmdeck: %s%s", s->accel_note, end);
    if (s->vnc_tcp >= 0)
        fprintf(stderr, "vmdeck: VNC on %s:%u, password %s%s", s->cfg.vnc.listen ? s->cfg.vnc.listen : "127.0.0.1",
                s->vnc_port, s->vnc_password, end);
    if (s->vnc_unix >= 0 && s->cfg.vnc.socket_path)
        fprintf(stderr, "vmdeck: VNC on %s, password %s%s", s->vnc_socket, s->vnc_password, end);
    if (s->relay && isatty(STDIN_FILENO))
        fprintf(stderr, "vmdeck: Ctrl-] x ends the VM%s", end);
}

static int exit_status(struct sup *s, struct err *e)
{
    if (s->signal && s->why == VM_STOP_QUIT)
        return 128 + s->signal;
    switch (s->why) {
    case VM_STOP_DEBUG_EXIT: return s->exit_status;
    case VM_STOP_POWEROFF:
    case VM_STOP_QUIT: return 0;
    default:
        err_set(e, ERR_FAILED, "\"%s\" crashed: %s", s->opts->name, s->why_text);
        return -1;
    }
}

int sup_run(const struct sup_opts *o, struct err *e)
{
    static struct sup s;
    sigset_t old;
    int status = -1;

    sigprocmask(SIG_SETMASK, NULL, &old);
    init(&s, o);
    if (start(&s, &old, e)) {
        notes(&s);
        if (o->started)
            o->started(o->opaque);
        loop_run(s.loop);
        sup_event(&s, "SHUTDOWN", json_pack("{sbss}", "guest", s.why == VM_STOP_POWEROFF, "reason",
                                            s.why == VM_STOP_POWEROFF ? "guest-shutdown" : "host-qmp-quit"));
        record_end(&s);
        status = exit_status(&s, e);
    }
    fini(&s);
    sigprocmask(SIG_SETMASK, &old, NULL);
    return status;
}

/* ---- the detached supervisor ---- */

static void report_started(void *opaque)
{
    int *fd = opaque;

    status_ready(*fd);
    fd_close(fd);
}

int sup_main(const struct spawn_args *args)
{
    prctl(PR_SET_PDEATHSIG, 0); /* whoever started us may go, and need not wait for us */
    pid_t pid = fork();
    if (pid != 0)
        return pid < 0 ? 1 : 0;

    char *name = x_strdup(spawn_get_word(args, "name")), *dir = x_strdup(spawn_get_word(args, "dir"));
    char *run = x_strdup(spawn_get_word(args, "run"));
    char *set = spawn_get_word(args, "set") ? x_strdup(spawn_get_word(args, "set")) : NULL;
    int status_fd = spawn_get_fd(args, "status");
    struct err e = ERR_INIT;
    struct sup_opts o = {.name = name, .dir = dir, .run_dir = run, .set = set, .started = report_started,
                         .opaque = &status_fd};

    spawn_hide_args(args);
    setsid();
    signal(SIGTERM, SIG_DFL); /* ignored ones would never arrive */
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    int status = sup_run(&o, &e);
    if (status < 0)
        status_error(status_fd, &e);
    fd_close(&status_fd);
    x_free(name);
    x_free(dir);
    x_free(run);
    x_free(set);
    return status < 0 ? err_exit_status(e.code) : status;
}
