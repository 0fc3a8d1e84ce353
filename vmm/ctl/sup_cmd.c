/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands that the supervisor answers itself, from its own files and from /proc. */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/qmp.h"
#include "vmm/ctl/sup_priv.h"

json_t *sup_cmd_qmp_capabilities(struct sup *s, struct sup_client *c, const json_t *args, struct err *e)
{
    (void)s;
    if (json_array_size(json_object_get(args, "enable")) > 0) {
        err_set(e, ERR_USAGE, "there are no capabilities to enable");
        return NULL;
    }
    c->negotiated = true;
    return json_object();
}

json_t *sup_cmd_query_version(struct sup *s, struct sup_client *c, const json_t *args, struct err *e)
{
    int major = 0, minor = 0, micro = 0;

    (void)s, (void)c, (void)args, (void)e;
    sscanf(VMDECK_VERSION, "%d.%d.%d", &major, &minor, &micro);
    return json_pack("{s{sisisi}ss}", "qemu", "major", major, "minor", minor, "micro", micro, "package",
                     "vmdeck " VMDECK_VERSION);
}

json_t *sup_cmd_query_name(struct sup *s, struct sup_client *c, const json_t *args, struct err *e)
{
    (void)c, (void)args, (void)e;
    return json_pack("{ss}", "name", s->opts->name);
}

json_t *sup_cmd_query_status(struct sup *s, struct sup_client *c, const json_t *args, struct err *e)
{
    (void)c, (void)args, (void)e;
    return json_pack("{sssb}", "status", s->status, "running", !strcmp(s->status, "running"));
}

/* Threads of the vm process by the names that vm.c gives them. */
json_t *sup_cmd_query_cpus_fast(struct sup *s, struct sup_client *c, const json_t *args, struct err *e)
{
    json_t *list = json_array();
    char path[64], name[16];
    int tids[64] = {0};
    struct dirent *d;

    (void)c, (void)args, (void)e;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)s->vm.pid);
    DIR *dir = opendir(path);
    while (dir && (d = readdir(dir))) {
        struct err ignored = ERR_INIT;
        size_t len;
        unsigned index;

        snprintf(path, sizeof(path), "%.20s/comm", d->d_name);
        char *text = fd_read_file(dirfd(dir), path, 64, &len, &ignored);
        if (text && sscanf(text, "vcpu%u", &index) == 1 && index < 64)
            tids[index] = (int)strtol(d->d_name, NULL, 10);
        x_free(text);
    }
    if (dir)
        closedir(dir);
    for (unsigned i = 0; i < s->cfg.cpus && i < 64; i++) {
        snprintf(name, sizeof(name), "cpu%u", i);
        json_array_append_new(list, json_pack("{sisisssssi}", "cpu-index", (int)i, "thread-id", tids[i],
                                              "target", "x86_64", "qom-path", name, "x-socket", 0));
    }
    return list;
}

static const char *vnc_host(const struct sup *s)
{
    return s->cfg.vnc.listen ? s->cfg.vnc.listen : "127.0.0.1";
}

json_t *sup_cmd_query_vnc(struct sup *s, struct sup_client *c, const json_t *args, struct err *e)
{
    char service[8];

    (void)c, (void)args, (void)e;
    if (!s->cfg.vnc.enabled)
        return json_pack("{sb}", "enabled", 0);
    snprintf(service, sizeof(service), "%u", s->vnc_port);
    json_t *v = json_pack("{sbsssi}", "enabled", 1, "auth", "vnc", "x-viewers", (int)s->viewers);
    if (s->vnc_tcp >= 0) {
        json_object_set_new(v, "host", json_string(vnc_host(s)));
        json_object_set_new(v, "service", json_string(service));
        json_object_set_new(v, "family", json_string("ipv4"));
    }
    if (s->vnc_socket)
        json_object_set_new(v, "x-socket", json_string(s->vnc_socket));
    json_object_set_new(v, "x-password-file", json_string(s->vnc_password_file));
    return v;
}

/* Resident bytes and CPU nanoseconds of a process. */
static void proc_usage(pid_t pid, uint64_t *rss, uint64_t *cpu_ns)
{
    struct err e = ERR_INIT;
    unsigned long resident = 0, utime = 0, stime = 0;
    char path[40];
    size_t len;

    *rss = *cpu_ns = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    char *text = fd_read_file(AT_FDCWD, path, 4096, &len, &e);
    if (text && sscanf(text, "%*u %lu", &resident) == 1)
        *rss = (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
    x_free(text);
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    text = fd_read_file(AT_FDCWD, path, 4096, &len, &e);
    const char *p = text ? strrchr(text, ')') : NULL;
    if (p && sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &utime, &stime) == 2)
        *cpu_ns = (uint64_t)(utime + stime) * (uint64_t)(NS_PER_S / sysconf(_SC_CLK_TCK));
    x_free(text);
}

json_t *sup_cmd_x_info(struct sup *s, struct sup_client *c, const json_t *args, struct err *e)
{
    uint64_t rss, cpu_ns;
    json_t *nets = json_array(), *vnc = sup_cmd_query_vnc(s, c, args, e);

    proc_usage(s->vm.pid, &rss, &cpu_ns);
    for (unsigned i = 0; i < s->cfg.network_count; i++)
        if (s->net[i].pid)
            json_array_append_new(nets, json_integer(s->net[i].pid));
    return json_pack("{sssssss{sisisiso}sIsIsIsIsIsosb}", "name", s->opts->name, "status", s->status, "accel", s->accel,
                     "pids", "supervisor", (int)getpid(), "vm", (int)s->vm.pid, "vnc", (int)s->vnc.pid, "net", nets,
                     "cpus", (json_int_t)s->cfg.cpus, "memory", (json_int_t)s->cfg.memory, "memory-used",
                     (json_int_t)rss, "cpu-ns", (json_int_t)cpu_ns, "uptime-ns",
                     (json_int_t)(clock_now_ns() - s->started_ns), "vnc", vnc, "ephemeral", s->opts->ephemeral);
}

json_t *sup_cmd_quit(struct sup *s, struct sup_client *c, const json_t *args, struct err *e)
{
    (void)c, (void)args, (void)e;
    sup_quit(s);
    return json_object();
}

/* ---- descriptors for forwarded commands ---- */

/* A new file for a screenshot: never follows a link, never writes into what exists. */
static int open_screendump(const char *path, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        err_errno(e, errno, "cannot write \"%s\"", path);
        if (e->code == ERR_EXISTS)
            err_hint(e, "remove it first, or pass an open descriptor");
    }
    return fd;
}

int sup_attach_fd(const char *name, json_t *args, int *fd, struct err *e)
{
    int passed = *fd;

    *fd = -1;
    if (!strcmp(name, "screendump")) {
        const char *path = json_string_value(json_object_get(args, "filename"));
        const char *format = json_string_value(json_object_get(args, "format"));

        if (format && strcmp(format, "png")) {
            fd_close(&passed);
            err_set(e, ERR_USAGE, "parameter 'format' must be png");
            return -2;
        }
        if (passed >= 0 && !path)
            return passed;
        fd_close(&passed);
        if (!path || path[0] != '/') {
            err_set(e, ERR_USAGE, "parameter 'filename' must be an absolute path, or a descriptor passed");
            return -2;
        }
        passed = open_screendump(path, e);
        return passed < 0 ? -2 : passed;
    }
    if (!strcmp(name, "x-serial")) {
        struct stat st;

        if (passed >= 0 && fstat(passed, &st) == 0 && S_ISSOCK(st.st_mode))
            return passed;
        fd_close(&passed);
        err_set(e, ERR_USAGE, "x-serial needs a socket passed with the command");
        return -2;
    }
    fd_close(&passed);
    return -1;
}
