/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Creating, starting, ending and removing VMs. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tui/client/client_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/spawn.h"
#include "vmm/ctl/state.h"
#include "vmm/ctl/sup.h"

#define START_TIMEOUT_MS 60000
#define KILL_TIMEOUT_MS  10000

/* ---- create ---- */

static bool make_disk(const char *dir, const struct conf_disk *d, struct err *e)
{
    char *path = config_path(dir, d->path);
    char *parent = x_strdup(path);
    struct stat st;
    bool ok = true;

    *strrchr(parent, '/') = '\0';
    if (stat(path, &st) == 0)
        goto out; /* an image that is there stays as it is */
    if (d->size == 0) {
        ok = err_set(e, ERR_NOENT, "disk \"%s\": there is no \"%s\"", d->id, path);
        err_hint(e, "correct the path, or give a size to make it with");
        goto out;
    }
    if (!(ok = path_make(parent, e)))
        goto out;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)d->size) < 0) {
        ok = err_errno(e, errno, "disk \"%s\": cannot make \"%s\"", d->id, path);
        if (fd >= 0)
            unlink(path);
    }
    fd_close(&fd);
out:
    x_free(parent);
    x_free(path);
    return ok;
}

static char *random_uuid(void)
{
    uint8_t b[16] = {0};

    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        return NULL;
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    return x_asprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
                      b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static bool fill_folder(const char *dir, const struct vm_config *c, struct err *e)
{
    static const char *const folders[] = {"disks", "log"};
    struct buf text = BUF_INIT;
    struct vm_config named = *c; /* strings stay c's */
    char *path, *uuid = c->uuid ? NULL : random_uuid();
    bool ok = true;

    for (unsigned i = 0; ok && i < ARRAY_LEN(folders); i++) {
        path = x_asprintf("%s/%s", dir, folders[i]);
        ok = path_make(path, e);
        x_free(path);
    }
    for (unsigned i = 0; ok && i < c->disk_count; i++)
        ok = make_disk(dir, &c->disks[i], e);
    if (uuid)
        named.uuid = uuid;
    config_emit(&named, &text);
    path = x_asprintf("%s/%s", dir, PATH_CONFIG);
    ok = ok && fd_write_file_atomic(path, text.data, text.len, 0600, e);
    x_free(path);
    x_free(uuid);
    buf_free(&text);
    return ok;
}

/* The folder is filled under a name that no VM can have, then renamed: all of it or nothing. */
bool client_create(const struct vm_config *c, struct err *e)
{
    char *root, *dir, *tmp;
    bool ok = false;

    if (!client_check_name(c->name, e) || !(root = path_vms_dir(e)))
        return false;
    dir = x_asprintf("%s/%s", root, c->name);
    tmp = x_asprintf("%s/.new.%s.%d", root, c->name, (int)getpid());
    if (access(dir, F_OK) == 0) {
        err_set(e, ERR_EXISTS, "there is a VM \"%s\" already", c->name);
        err_hint(e, "choose another name, or remove it with: vmdeck rm %s", c->name);
    } else if (mkdir(tmp, 0700) < 0) {
        err_errno(e, errno, "cannot make folder \"%s\"", tmp);
    } else {
        struct err ignored = ERR_INIT;

        ok = fill_folder(tmp, c, e) &&
             (syscall(SYS_renameat2, AT_FDCWD, tmp, AT_FDCWD, dir, 1 /* RENAME_NOREPLACE */) == 0 ||
              err_errno(e, errno, "cannot make folder \"%s\"", dir));
        if (!ok && !path_remove_tree(tmp, &ignored))
            err_hint(e, "remove what is left of it: %s", tmp);
    }
    x_free(tmp);
    x_free(dir);
    x_free(root);
    return ok;
}

/* ---- start ---- */

bool client_start(const char *name, const char *set, struct err *e)
{
    char *dir = client_vm_dir(name, e), *run = dir ? client_run_dir(name, e) : NULL, *title = NULL;
    int pipe_fds[2], null_fd, pidfd, status;
    struct spawn sp;
    bool ok = false;
    pid_t pid;

    if (!run)
        goto out;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        err_errno(e, errno, "cannot make a pipe");
        goto out;
    }
    title = x_asprintf("vmdeck: %s", name);
    spawn_init(&sp, "__supervisor", title);
    spawn_word(&sp, "name", name);
    spawn_word(&sp, "dir", dir);
    spawn_word(&sp, "run", run);
    if (set)
        spawn_word(&sp, "set", set);
    spawn_fd(&sp, "status", pipe_fds[1]);
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    ok = spawn_run(&sp, null_fd, &pid, &pidfd, e);
    fd_close(&null_fd);
    close(pipe_fds[1]);
    spawn_fini(&sp);
    if (ok) {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) /* it leaves a detached child */
            ;
        close(pidfd);
        ok = status_wait(pipe_fds[0], START_TIMEOUT_MS, e) || err_wrap(e, "cannot start \"%s\"", name);
    } else {
        close(pipe_fds[0]);
    }
out:
    x_free(title);
    x_free(run);
    x_free(dir);
    return ok;
}

/* ---- end ---- */

/* Waits until the supervisor has gone. */
static bool wait_gone(int pidfd, int timeout_ms)
{
    struct pollfd pfd = {.fd = pidfd, .events = POLLIN};

    return poll(&pfd, 1, timeout_ms) > 0;
}

/* A pidfd of the supervisor, taken while it holds the lock. */
static int open_supervisor(const char *name, pid_t *pid, struct err *e)
{
    char *run = client_run_dir(name, e), *dir;

    if (!run)
        return -1;
    *pid = state_holder(run);
    int fd = *pid > 1 ? (int)syscall(SYS_pidfd_open, *pid, 0) : -1;
    if (fd >= 0 && state_holder(run) != *pid)
        fd_close(&fd);
    x_free(run);
    if (fd >= 0)
        return fd;
    dir = client_vm_dir(name, e);
    if (!dir)
        return -1;
    x_free(dir);
    err_set(e, ERR_STATE, "\"%s\" is not running", name);
    return -1;
}

bool client_kill(const char *name, struct err *e)
{
    pid_t pid;
    int fd = open_supervisor(name, &pid, e);

    if (fd < 0)
        return false;
    json_t *v = client_call_once(name, "quit", NULL, e);
    bool gone = v && wait_gone(fd, KILL_TIMEOUT_MS);
    json_decref(v);
    if (!gone) { /* it does not listen: the processes of the VM die with it */
        syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
        gone = wait_gone(fd, KILL_TIMEOUT_MS) || err_set(e, ERR_TIMEOUT, "\"%s\" does not end", name);
    }
    close(fd);
    return gone;
}

bool client_stop(const char *name, int timeout_s, bool force_after, struct err *e)
{
    int64_t until = clock_now_ns() + timeout_s * NS_PER_S;
    pid_t pid;
    int fd = open_supervisor(name, &pid, e);

    if (fd < 0)
        return false;
    json_t *v = client_call_once(name, "system_powerdown", NULL, e);
    bool ok = v != NULL;
    json_decref(v);
    if (ok) {
        int64_t left = (until - clock_now_ns()) / NS_PER_MS;
        ok = wait_gone(fd, left > 0 ? (int)left : 0);
        if (!ok) {
            err_set(e, ERR_TIMEOUT, "\"%s\" has not shut down within %d s", name, timeout_s);
            err_hint(e, "end it at once with: vmdeck kill %s", name);
        }
    }
    close(fd);
    return ok || (force_after && client_kill(name, e));
}

/* Under the lock, so that it cannot be started meanwhile. The folder first gets a name that no VM can have, so that
 * no half of it is ever listed. */
bool client_remove(const char *name, struct err *e)
{
    char *dir = client_vm_dir(name, e), *run = dir ? client_run_dir(name, e) : NULL, *tmp = NULL;
    struct err ignored = ERR_INIT;
    bool ok = false;
    int lock = -1;

    if (!run || !path_make(run, e))
        goto out;
    lock = state_lock(run, e);
    if (lock < 0) {
        if (e->code == ERR_BUSY) {
            err_set(e, ERR_STATE, "\"%s\" is running", name);
            err_hint(e, "stop it first: vmdeck stop %s", name);
        }
        goto out;
    }
    tmp = x_asprintf("%.*s.removed.%s.%d", (int)(strrchr(dir, '/') - dir + 1), dir, name, (int)getpid());
    ok = rename(dir, tmp) == 0 ? path_remove_tree(tmp, e) : err_errno(e, errno, "cannot remove \"%s\"", dir);
    if (!path_remove_tree(run, &ignored))
        err_hint(e, "remove what is left of it: %s", run);
out:
    fd_close(&lock);
    x_free(tmp);
    x_free(run);
    x_free(dir);
    return ok;
}
