/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Folders, and one command at a time over the control socket. */
#include "tui/client/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tui/client/client_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/clock.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/qmp.h"

#define MAX_LINE (8u * 1024 * 1024)

struct client {
    char *name;
    int sock;
    struct buf in;
    unsigned next_id;
};

/* ---- folders ---- */

char *client_vms_dir(struct err *e)
{
    return path_vms_dir(e);
}

bool client_check_name(const char *name, struct err *e)
{
    if (conf_check_name(name, e))
        return true;
    return err_wrap(e, "VM \"%.64s\"", name);
}

char *client_vm_dir(const char *name, struct err *e)
{
    struct stat st;

    if (!client_check_name(name, e))
        return NULL;
    char *root = path_vms_dir(e);
    if (!root)
        return NULL;
    char *dir = x_asprintf("%s/%s", root, name);
    x_free(root);
    if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
        return dir;
    err_set(e, ERR_NOENT, "there is no VM \"%s\"", name);
    err_hint(e, "list them with: vmdeck ls");
    x_free(dir);
    return NULL;
}

char *client_run_dir(const char *name, struct err *e)
{
    return client_check_name(name, e) ? path_run_dir(name, e) : NULL;
}

/* ---- connection ---- */

/* One line without its end, in c->in until the next call consumes it; its length, or -1. */
static ssize_t read_line(struct client *c, int64_t until, struct err *e)
{
    size_t scanned = 0;

    for (;;) {
        char *nl = c->in.len > scanned ? memchr(c->in.data + scanned, '\n', c->in.len - scanned) : NULL;
        if (nl)
            return nl - c->in.data;
        scanned = c->in.len;
        if (c->in.len > MAX_LINE) {
            err_set(e, ERR_PROTO, "\"%s\" sent a line of more than %u bytes", c->name, MAX_LINE);
            return -1;
        }
        int64_t left = (until - clock_now_ns()) / NS_PER_MS;
        struct pollfd pfd = {.fd = c->sock, .events = POLLIN};
        char data[16384];
        int rc = left > 0 ? poll(&pfd, 1, (int)left) : 0;
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc == 0) {
            err_set(e, ERR_TIMEOUT, "\"%s\" does not answer", c->name);
            return -1;
        }
        ssize_t n = read(c->sock, data, sizeof(data));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            err_set(e, ERR_STATE, "\"%s\" has ended", c->name);
            return -1;
        }
        buf_add(&c->in, data, (size_t)n);
    }
}

/* The next message, a new reference. */
static json_t *read_message(struct client *c, int64_t until, struct err *e)
{
    ssize_t len = read_line(c, until, e);

    if (len < 0)
        return NULL;
    json_t *v = qmp_parse(c->in.data, (size_t)len, e);
    buf_consume(&c->in, (size_t)len + 1);
    return v;
}

struct client *client_connect_dir(const char *name, const char *run_dir, struct err *e)
{
    struct client *c;
    int sock = path_connect(run_dir, PATH_CONTROL, e);

    if (sock < 0) {
        err_set(e, ERR_STATE, "\"%s\" is not running", name);
        err_hint(e, "start it with: vmdeck start %s", name);
        return NULL;
    }
    c = X_NEW(struct client);
    c->name = x_strdup(name);
    c->sock = sock;
    json_t *greeting = read_message(c, clock_now_ns() + CLIENT_TIMEOUT_MS * NS_PER_MS, e);
    bool ok = greeting != NULL;
    if (ok && json_object_get(greeting, "error")) {
        qmp_read_error(json_object_get(greeting, "error"), e);
        ok = false;
    } else if (ok && !json_object_get(greeting, "QMP")) {
        ok = err_set(e, ERR_PROTO, "\"%s\" does not greet as a VM does", name);
    }
    json_decref(greeting);
    json_t *rc = ok ? client_call(c, "qmp_capabilities", NULL, CLIENT_TIMEOUT_MS, e) : NULL;
    if (!rc) {
        client_close(c);
        return NULL;
    }
    json_decref(rc);
    return c;
}

struct client *client_connect(const char *name, struct err *e)
{
    char *dir = client_run_dir(name, e);
    struct stat st;

    if (!dir)
        return NULL;
    if (stat(dir, &st) < 0) { /* say "there is none" rather than "not running" */
        char *vm = client_vm_dir(name, e);
        if (!vm) {
            x_free(dir);
            return NULL;
        }
        x_free(vm);
    }
    struct client *c = client_connect_dir(name, dir, e);
    x_free(dir);
    return c;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    close(c->sock);
    buf_free(&c->in);
    x_free(c->name);
    x_free(c);
}

static bool send_command(struct client *c, const char *command, json_t *args, unsigned id, int fd, struct err *e)
{
    struct buf text = BUF_INIT;
    json_t *v = json_pack("{sssi}", "execute", command, "id", (int)id);

    if (args)
        json_object_set_new(v, "arguments", args);
    qmp_print(v, &text);
    buf_puts(&text, "\n");
    json_decref(v);
    bool ok = fd_send(c->sock, text.data, text.len, &fd, fd >= 0 ? 1 : 0, e);
    buf_free(&text);
    return ok || err_set(e, ERR_STATE, "\"%s\" has ended", c->name);
}

json_t *client_call_fd(struct client *c, const char *command, json_t *args, int fd, int timeout_ms, struct err *e)
{
    int64_t until = clock_now_ns() + timeout_ms * NS_PER_MS;
    unsigned id = ++c->next_id;
    json_t *v;

    if (!send_command(c, command, args, id, fd, e))
        return NULL;
    while ((v = read_message(c, until, e))) {
        json_t *error = json_object_get(v, "error"), *value = json_object_get(v, "return");

        if ((error || value) && json_integer_value(json_object_get(v, "id")) == id) {
            if (error)
                qmp_read_error(error, e);
            else
                json_incref(value);
            json_decref(v);
            return error ? NULL : value;
        }
        json_decref(v); /* an event, or a late answer */
    }
    return NULL;
}

json_t *client_call(struct client *c, const char *command, json_t *args, int timeout_ms, struct err *e)
{
    return client_call_fd(c, command, args, -1, timeout_ms, e);
}

json_t *client_call_once(const char *name, const char *command, json_t *args, struct err *e)
{
    struct client *c = client_connect(name, e);

    if (!c) {
        json_decref(args);
        return NULL;
    }
    json_t *v = client_call(c, command, args, CLIENT_TIMEOUT_MS, e);
    client_close(c);
    return v;
}

int client_serial(const char *name, unsigned port, struct err *e)
{
    struct client *c = client_connect(name, e);
    int pair[2];

    if (!c)
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        err_errno(e, errno, "cannot make a socket pair");
        client_close(c);
        return -1;
    }
    json_t *v = client_call_fd(c, "x-serial", json_pack("{si}", "port", (int)port), pair[1], CLIENT_TIMEOUT_MS, e);
    close(pair[1]);
    client_close(c);
    if (!v)
        fd_close(&pair[0]);
    json_decref(v);
    return pair[0];
}
