/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vnc process. */
#include <string.h>
#include <unistd.h>

#include "display/vnc.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/ctl/sup.h"

static void add_listener(struct vnc_cfg *cfg, int fd)
{
    if (fd >= 0)
        cfg->listen_fds[cfg->listen_count++] = fd;
}

int vnc_main(const struct spawn_args *args)
{
    char password[VNC_PASSWORD_MAX + 1] = "", *name = x_strdup(spawn_get_word(args, "name"));
    char *layout = x_strdup(spawn_get_word(args, "layout")), *who = x_asprintf("%s/vnc", name);
    const char *level = spawn_get_word(args, "log");
    int fd = spawn_get_fd(args, "password"), status = spawn_get_fd(args, "status");
    struct vnc_cfg cfg = {.surface_fd = spawn_get_fd(args, "surface"), .input_fd = spawn_get_fd(args, "input"),
                          .password = password, .layout = layout, .name = name,
                          .status_fd = spawn_get_fd(args, "link")};
    struct err e = ERR_INIT;

    log_init(who, STDERR_FILENO, level && !strcmp(level, "warn") ? LOG_WARN : LOG_INFO);
    x_free(who);
    add_listener(&cfg, spawn_get_fd(args, "tcp"));
    add_listener(&cfg, spawn_get_fd(args, "unix"));
    if (fd < 0 || pread(fd, password, VNC_PASSWORD_MAX, 0) < 1 || !password[0]) {
        err_set(&e, ERR_INTERNAL, "VNC: no password");
        status_error(status, &e);
        return 1;
    }
    close(fd);
    spawn_hide_args(args);
    status_ready(status);
    fd_close(&status);
    int rc = vnc_run(&cfg);
    explicit_bzero(password, sizeof(password));
    x_free(layout);
    x_free(name);
    return rc;
}
