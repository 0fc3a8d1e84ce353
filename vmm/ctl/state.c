/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/ctl/state.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/qmp.h"

static const char *const end_names[] = {"", "running", "off", "crashed"};

/* Changes with every start of the host. */
static void boot_id(char out[40])
{
    struct err e = ERR_INIT;
    size_t len;
    char *text = fd_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 100, &len, &e);

    out[0] = '\0';
    if (!text)
        return;
    text[strcspn(text, "\n")] = '\0';
    str_copy(out, 40, text);
    x_free(text);
}

void state_read(const char *dir, struct vm_last *out)
{
    struct err e = ERR_INIT;
    char *path = x_asprintf("%s/%s", dir, PATH_STATE), boot[40];
    size_t len;
    char *text = fd_read_file(AT_FDCWD, path, 65536, &len, &e);

    memset(out, 0, sizeof(*out));
    x_free(path);
    json_t *v = text ? qmp_parse(text, len, &e) : NULL;
    x_free(text);
    if (!v)
        return;
    const char *state = json_string_value(json_object_get(v, "state"));
    const char *reason = json_string_value(json_object_get(v, "reason"));
    const char *boot_was = json_string_value(json_object_get(v, "boot"));
    for (unsigned i = 1; state && i < ARRAY_LEN(end_names); i++)
        if (!strcmp(state, end_names[i]))
            out->end = (enum vm_end)i;
    str_copy(out->reason, sizeof(out->reason), reason ? reason : "");
    out->status = (int)json_integer_value(json_object_get(v, "status"));
    boot_id(boot);
    if (out->end == VM_END_RUNNING && boot_was && strcmp(boot_was, boot))
        str_copy(out->reason, sizeof(out->reason), "the host went down while it ran");
    json_decref(v);
}

bool state_write(const char *dir, const struct vm_last *last, struct err *e)
{
    char *path = x_asprintf("%s/%s", dir, PATH_STATE), boot[40];
    struct buf text = BUF_INIT;

    boot_id(boot);
    json_t *reason = json_string(last->reason);
    json_t *v = json_pack("{sisssosisIss}", "version", 1, "state", end_names[last->end], "reason",
                          reason ? reason : json_string(""), "status", last->status, "time",
                          (json_int_t)(clock_wall_ns() / NS_PER_S), "boot", boot);
    qmp_print(v, &text);
    buf_puts(&text, "\n");
    json_decref(v);
    bool ok = fd_write_file_atomic(path, text.data, text.len, 0600, e);
    buf_free(&text);
    x_free(path);
    return ok;
}

static struct flock whole_file(short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

/* The last holder may have removed the file after we opened it. */
static bool is_still(int fd, const char *path)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int state_lock(const char *run_dir, struct err *e)
{
    char *path = x_asprintf("%s/%s", run_dir, PATH_LOCK);
    struct flock fl = whole_file(F_WRLCK);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        err_errno(e, errno, "cannot open lock \"%s\"", path);
    } else if (fcntl(fd, F_OFD_SETLK, &fl) < 0) {
        if (errno == EAGAIN || errno == EACCES)
            err_set(e, ERR_BUSY, "already running (process %d)", (int)state_holder(run_dir));
        else
            err_errno(e, errno, "cannot lock \"%s\"", path);
        fd_close(&fd);
    } else if (!is_still(fd, path)) {
        err_set(e, ERR_CANCELLED, "lock \"%s\" was removed meanwhile", path);
        fd_close(&fd);
    } else if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
        err_errno(e, errno, "cannot write \"%s\"", path);
        fd_close(&fd);
    }
    x_free(path);
    return fd;
}

pid_t state_holder(const char *run_dir)
{
    char *path = x_asprintf("%s/%s", run_dir, PATH_LOCK), text[16] = "";
    struct flock fl = whole_file(F_WRLCK);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    pid_t pid = 0;

    x_free(path);
    if (fd < 0)
        return 0;
    /* written right after locking: an empty file is a start under way */
    if (fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK) {
        if (pread(fd, text, sizeof(text) - 1, 0) > 0)
            pid = (pid_t)strtol(text, NULL, 10);
        if (pid <= 0)
            pid = 1;
    }
    close(fd);
    return pid;
}
