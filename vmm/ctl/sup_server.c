/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: connections, dispatch, and the way of a command to the vm process and back. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/qmp.h"
#include "vmm/ctl/sup_priv.h"

#define CLIENT_PENDING  16            /* forwarded commands of one client */
#define EVENT_QUEUE_MAX (256u * 1024) /* a client this far behind misses events */

struct row {
    const char *name, *args;
    sup_cmd_fn *fn; /* NULL: for the vm process */
};

static const struct row rows[] = {
#define SUP_CMD(name, cname, args, help) {name, args, sup_cmd_##cname},
#define VM_CMD(name, cname, args, help)  {name, args, NULL},
#include "vmm/ctl/cmds.def"
#undef SUP_CMD
#undef VM_CMD
};

static const struct row *find_row(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if (!strcmp(rows[i].name, name))
            return &rows[i];
    return NULL;
}

json_t *sup_cmd_query_commands(struct sup *s, struct sup_client *c, const json_t *args, struct err *e)
{
    json_t *list = json_array();

    (void)s, (void)c, (void)args, (void)e;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        json_array_append_new(list, json_pack("{ss}", "name", rows[i].name));
    return list;
}

/* ---- answers ---- */

static void send_text(struct sup_client *c, struct buf *text)
{
    lines_send(c->lines, text->data, text->len, -1);
    buf_free(text);
}

static void send_error(struct sup_client *c, const struct err *e, const json_t *id)
{
    struct buf text = BUF_INIT;

    qmp_error(&text, e, id);
    send_text(c, &text);
}

static void send_return(struct sup_client *c, json_t *value, const json_t *id)
{
    struct buf text = BUF_INIT;

    qmp_return(&text, value, id);
    send_text(c, &text);
}

void sup_event(struct sup *s, const char *name, json_t *data)
{
    struct buf text = BUF_INIT;

    qmp_event(&text, name, data);
    for (unsigned i = 0; i < SUP_CLIENTS; i++) {
        struct sup_client *c = &s->clients[i];

        if (c->lines && c->negotiated && lines_queued(c->lines) < EVENT_QUEUE_MAX)
            lines_send(c->lines, text.data, text.len, -1);
    }
    buf_free(&text);
}

/* ---- to vm and back ---- */

static void send_vm(struct sup *s, const char *command, const json_t *args, unsigned id, int fd)
{
    struct buf text = BUF_INIT;
    json_t *v = json_pack("{sssi}", "execute", command, "id", (int)id);

    if (args)
        json_object_set(v, "arguments", (json_t *)(uintptr_t)args);
    qmp_print(v, &text);
    json_decref(v);
    lines_send(s->link, text.data, text.len, fd);
    buf_free(&text);
}

static struct sup_request *new_request(struct sup *s)
{
    for (unsigned i = 0; i < SUP_REQUESTS; i++)
        if (!s->requests[i].used) {
            s->requests[i].used = true;
            return &s->requests[i];
        }
    return NULL;
}

static void end_request(struct sup_request *r)
{
    json_decref(r->id);
    x_free(r->created);
    *r = (struct sup_request){0};
}

void sup_tell_vm(struct sup *s, const char *command)
{
    if (s->link)
        send_vm(s, command, NULL, SUP_REQUESTS, -1);
}

static bool forward(struct sup *s, struct sup_client *c, const char *name, const json_t *args, json_t *id, int fd,
                    struct err *e)
{
    struct sup_request *r = s->link && !s->ended ? new_request(s) : NULL;

    if (!r) {
        fd_close(&fd);
        return s->link && !s->ended ? err_set(e, ERR_LIMIT, "too many commands at once")
                                    : err_set(e, ERR_STATE, "the VM has ended");
    }
    r->client = c;
    r->client_serial = c->serial;
    r->id = json_incref(id);
    if (fd >= 0 && json_string_value(json_object_get(args, "filename")))
        r->created = x_strdup(json_string_value(json_object_get(args, "filename")));
    if (++c->pending >= CLIENT_PENDING)
        lines_pause(c->lines, true);
    send_vm(s, name, args, (unsigned)(r - s->requests), fd);
    return true;
}

static void answered(struct sup *s, const json_t *message)
{
    json_int_t index = json_integer_value(json_object_get(message, "id"));

    if (index < 0 || index >= SUP_REQUESTS || !s->requests[index].used)
        return;
    struct sup_request *r = &s->requests[index];
    struct sup_client *c = r->client;
    if (c->lines && c->serial == r->client_serial) {
        json_t *error = json_object_get(message, "error");
        struct err e = ERR_INIT;

        if (c->pending-- == CLIENT_PENDING)
            lines_pause(c->lines, false);
        if (error) {
            qmp_read_error(error, &e);
            send_error(c, &e, r->id);
        } else {
            json_t *value = json_object_get(message, "return");
            send_return(c, value ? json_incref(value) : NULL, r->id);
        }
    }
    if (r->created && json_object_get(message, "error"))
        unlink(r->created);
    end_request(r);
}

/* "x-stopped": the VM has ended by itself. */
static void stopped(struct sup *s, const json_t *data)
{
    const char *why = json_string_value(json_object_get(data, "why"));
    const char *text = json_string_value(json_object_get(data, "text"));
    static const struct {
        const char *name;
        enum vm_stop why;
    } names[] = {{"poweroff", VM_STOP_POWEROFF}, {"debug-exit", VM_STOP_DEBUG_EXIT}, {"quit", VM_STOP_QUIT}};

    s->why = VM_STOP_ERROR;
    for (unsigned i = 0; why && i < ARRAY_LEN(names); i++)
        if (!strcmp(why, names[i].name))
            s->why = names[i].why;
    s->exit_status = (int)json_integer_value(json_object_get(data, "status")) & 0xff;
    str_copy(s->why_text, sizeof(s->why_text), text ? text : "");
}

static void vm_event(struct sup *s, const char *name, json_t *data)
{
    static const struct {
        const char *event, *status;
    } names[] = {{"STOP", "paused"}, {"RESUME", "running"}, {"RESET", NULL}, {"POWERDOWN", NULL}};

    if (!strcmp(name, "x-stopped")) {
        stopped(s, data);
        s->status = s->why == VM_STOP_ERROR ? "internal-error" : "shutdown";
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(name, names[i].event)) {
            if (names[i].status)
                s->status = names[i].status;
            sup_event(s, name, json_incref(data));
        }
}

void sup_vm_line(void *opaque, const char *text, size_t len, int fd)
{
    struct sup *s = opaque;
    struct err e = ERR_INIT;
    json_t *v = qmp_parse(text, len, &e);

    fd_close(&fd);
    if (!v) {
        log_error("vm", "from the vm process: %s", e.msg);
        return;
    }
    const char *event = json_string_value(json_object_get(v, "event"));
    if (event)
        vm_event(s, event, json_object_get(v, "data"));
    else
        answered(s, v);
    json_decref(v);
}

void sup_vm_closed(void *opaque, const char *why)
{
    struct sup *s = opaque;

    if (why)
        log_error("vm", "link to the vm process: %s", why);
    lines_free(s->link);
    s->link = NULL;
    for (unsigned i = 0; i < SUP_REQUESTS; i++) {
        struct sup_request *r = &s->requests[i];
        struct err e = ERR_INIT;

        err_set(&e, ERR_STATE, "the VM has ended");
        if (r->used && r->client->lines && r->client->serial == r->client_serial)
            send_error(r->client, &e, r->id);
        end_request(r);
    }
}

/* ---- clients ---- */

static bool execute(struct sup_client *c, const json_t *message, int *fd, struct err *e)
{
    struct sup *s = c->sup;
    const char *name = json_string_value(json_object_get(message, "execute"));
    json_t *args = json_object_get(message, "arguments"), *id = json_object_get(message, "id");

    if (!name)
        return err_set(e, ERR_USAGE, "\"execute\" is missing");
    const struct row *row = find_row(name);
    if (!row)
        return err_set(e, ERR_UNSUPPORTED, "The command %.64s has not been found", name);
    if (c->negotiated == !strcmp(name, "qmp_capabilities"))
        return err_set(e, ERR_UNSUPPORTED, c->negotiated ? "Capabilities negotiation is already complete"
                                                         : "Expecting capabilities negotiation with "
                                                           "'qmp_capabilities'");
    if (!qmp_check_args(args, row->args, e))
        return false;
    if (!row->fn) {
        int passed = sup_attach_fd(name, args, fd, e);
        return passed >= -1 && forward(s, c, name, args, id, passed, e);
    }
    json_t *value = row->fn(s, c, args, e);
    if (!value)
        return false;
    send_return(c, value, id);
    return true;
}

static void client_line(void *opaque, const char *text, size_t len, int fd)
{
    struct sup_client *c = opaque;
    struct err e = ERR_INIT;
    json_t *v = qmp_parse(text, len, &e);

    if (!v || !execute(c, v, &fd, &e))
        send_error(c, &e, v ? json_object_get(v, "id") : NULL);
    json_decref(v);
    fd_close(&fd);
}

static void client_closed(void *opaque, const char *why)
{
    struct sup_client *c = opaque;

    if (why)
        log_info("control", "connection closed: %s", why);
    lines_free(c->lines);
    c->lines = NULL;
    c->serial++;
}

static const struct lines_ops client_ops = {client_line, client_closed};

static struct sup_client *free_slot(struct sup *s)
{
    for (unsigned i = 0; i < SUP_CLIENTS; i++)
        if (!s->clients[i].lines)
            return &s->clients[i];
    return NULL;
}

static void refuse(int sock, const char *why)
{
    struct err e = ERR_INIT;
    struct buf text = BUF_INIT;

    err_set(&e, ERR_LIMIT, "%s", why);
    qmp_error(&text, &e, NULL);
    buf_puts(&text, "\n");
    if (send(sock, text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_info("control", "connection refused: %s", why);
    buf_free(&text);
    close(sock);
}

static void accept_client(void *opaque, unsigned events)
{
    struct sup *s = opaque;
    struct buf text = BUF_INIT;
    struct ucred cred;
    socklen_t len = sizeof(cred);
    int sock = accept4(s->control, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (sock < 0)
        return;
    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || (cred.uid != geteuid() && cred.uid != 0)) {
        refuse(sock, "not the owner of this VM");
        return;
    }
    struct sup_client *c = free_slot(s);
    if (!c) {
        refuse(sock, "too many control connections");
        return;
    }
    c->sup = s;
    c->negotiated = false;
    c->pending = 0;
    c->lines = lines_new(s->loop, sock, &client_ops, c);
    if (!c->lines)
        return;
    qmp_greeting(&text);
    send_text(c, &text);
}

bool sup_server_start(struct sup *s, struct err *e)
{
    s->control = path_listen(s->opts->run_dir, PATH_CONTROL, e);
    if (s->control < 0 || !fd_set_nonblock(s->control, true))
        return false;
    s->control_watch = loop_watch(s->loop, s->control, LOOP_READ, accept_client, s);
    return true;
}

void sup_server_stop(struct sup *s)
{
    if (s->control_watch)
        loop_unwatch(s->control_watch);
    s->control_watch = NULL;
    for (unsigned i = 0; i < SUP_CLIENTS; i++)
        if (s->clients[i].lines) {
            lines_flush(s->clients[i].lines, 200);
            lines_free(s->clients[i].lines);
            s->clients[i].lines = NULL;
        }
    fd_close(&s->control);
}
