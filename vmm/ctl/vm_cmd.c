/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dispatch in the vm process, and the commands about the machine as a whole. */
#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/chr/chr.h"
#include "vmm/ctl/qmp.h"
#include "vmm/ctl/vm_priv.h"

static const struct {
    const char *name, *args;
    vm_cmd_fn *fn;
} rows[] = {
#define SUP_CMD(name, cname, args, help)
#define VM_CMD(name, cname, args, help) {name, args, vm_cmd_##cname},
#include "vmm/ctl/cmds.def"
#undef SUP_CMD
#undef VM_CMD
};

static void send_text(struct vm_proc *p, struct buf *text)
{
    if (p->link)
        lines_send(p->link, text->data, text->len, -1);
    buf_free(text);
}

static void free_request(struct vm_req *r)
{
    json_decref(r->id);
    fd_close(&r->fd);
    x_free(r);
}

void vm_reply(struct vm_req *r, json_t *value)
{
    struct buf text = BUF_INIT;

    qmp_return(&text, value, r->id);
    send_text(r->p, &text);
    free_request(r);
}

void vm_reply_error(struct vm_req *r, const struct err *e)
{
    struct buf text = BUF_INIT;

    qmp_error(&text, e, r->id);
    send_text(r->p, &text);
    free_request(r);
}

void vm_proc_event(struct vm_proc *p, const char *name, json_t *data)
{
    struct buf text = BUF_INIT;

    qmp_event(&text, name, data);
    send_text(p, &text);
}

void vm_proc_line(void *opaque, const char *text, size_t len, int fd)
{
    struct vm_proc *p = opaque;
    struct err e = ERR_INIT;
    json_t *v = qmp_parse(text, len, &e);
    const char *name = json_string_value(json_object_get(v, "execute"));
    const json_t *args = json_object_get(v, "arguments");
    struct vm_req *r;

    if (!name) {
        log_error("control", "from the supervisor: %s", v ? "not a command" : e.msg);
        fd_close(&fd);
        json_decref(v);
        return;
    }
    if (!strcmp(name, "quit")) {
        fd_close(&fd);
        vm_proc_end(p, "quit", 0, NULL);
        json_decref(v);
        return;
    }
    r = X_NEW(struct vm_req);
    r->p = p;
    r->id = json_incref(json_object_get(v, "id"));
    r->fd = fd;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name))
            continue;
        if (qmp_check_args(args, rows[i].args, &e))
            rows[i].fn(p, r, args);
        else
            vm_reply_error(r, &e);
        json_decref(v);
        return;
    }
    err_set(&e, ERR_UNSUPPORTED, "The command %.64s has not been found", name);
    vm_reply_error(r, &e);
    json_decref(v);
}

/* ---- run state ---- */

static bool need(struct vm_req *r, bool ok, const char *what)
{
    struct err e = ERR_INIT;

    if (ok)
        return true;
    err_set(&e, ERR_STATE, "%s", what);
    vm_reply_error(r, &e);
    return false;
}

void vm_cmd_stop(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    enum vm_run_state state = vm_state(p->vm);

    (void)args;
    if (!need(r, state == VM_RUNNING || state == VM_PAUSED, "the VM does not run"))
        return;
    if (state == VM_PAUSED) {
        vm_reply(r, NULL);
        return;
    }
    r->next = p->pausing;
    p->pausing = r;
    vm_pause(p->vm);
}

void vm_proc_paused(struct vm_proc *p)
{
    while (p->pausing) {
        struct vm_req *r = p->pausing;
        p->pausing = r->next;
        vm_reply(r, NULL);
    }
}

void vm_cmd_cont(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    enum vm_run_state state = vm_state(p->vm);

    (void)args;
    if (!need(r, state == VM_RUNNING || state == VM_PAUSED, "the VM does not run"))
        return;
    vm_resume(p->vm);
    vm_proc_paused(p); /* a pause that was under way is not wanted any more */
    vm_reply(r, NULL);
}

void vm_cmd_system_powerdown(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    (void)args;
    if (!need(r, vm_state(p->vm) == VM_RUNNING, "the VM is paused: resume it first"))
        return;
    vm_powerdown(p->vm);
    vm_proc_event(p, "POWERDOWN", NULL);
    vm_reply(r, NULL);
}

void vm_cmd_system_reset(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    (void)args;
    vm_reset(p->vm);
    vm_reply(r, NULL);
}

void vm_cmd_x_serial(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    json_int_t port = json_integer_value(json_object_get(args, "port"));
    struct chr *chr = port == 0 || port == 1 ? vm_serial(p->vm, (unsigned)port) : NULL;
    struct err e = ERR_INIT;

    if (!chr || r->fd < 0) {
        err_set(&e, chr ? ERR_USAGE : ERR_NOENT, chr ? "no descriptor was passed" : "no such serial port");
        vm_reply_error(r, &e);
        return;
    }
    chr_attach(chr, r->fd);
    r->fd = -1;
    vm_reply(r, NULL);
}
