/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/screens/deck.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tui/ui/app.h"
#include "vmm/accel/accel.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

/* ---- the list ---- */

struct listing {
    struct vm_list list;
    struct err e;
    bool ok;
};

static struct {
    struct vm_list list;
    bool ready, asking, again;
    char error[512];
} deck;

static void list_work(void *arg)
{
    struct listing *l = arg;

    l->ok = client_list(&l->list, &l->e);
}

static void list_done(void *arg)
{
    struct listing *l = arg;

    deck.asking = false;
    if (l->ok) {
        client_list_free(&deck.list);
        deck.list = l->list;
        deck.ready = true;
        deck.error[0] = '\0';
    } else {
        str_copy(deck.error, sizeof(deck.error), l->e.msg);
    }
    x_free(l);
    if (deck.again)
        deck_refresh();
}

void deck_refresh(void)
{
    deck.again = deck.asking;
    if (deck.asking)
        return;
    deck.asking = true;
    job_run(list_work, list_done, X_NEW(struct listing));
}

void deck_tick(void)
{
    if (!deck.asking)
        deck_refresh();
}

void deck_fini(void)
{
    client_list_free(&deck.list);
    memset(&deck.list, 0, sizeof(deck.list));
}

bool deck_ready(void)
{
    return deck.ready;
}

const struct vm_list *deck_list(void)
{
    return &deck.list;
}

const char *deck_error(void)
{
    return deck.error[0] ? deck.error : NULL;
}

const struct vm_entry *deck_find(const char *name)
{
    for (unsigned i = 0; i < deck.list.count; i++)
        if (!strcmp(deck.list.vms[i].name, name))
            return &deck.list.vms[i];
    return NULL;
}

unsigned deck_running(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < deck.list.count; i++)
        n += deck.list.vms[i].pid != 0;
    return n;
}

/* ---- operations ---- */

static const struct {
    const char *doing, *done, *failed;
} words[] = {
    [OP_START] = {"starting", "started", "cannot start"},
    [OP_RESUME] = {"resuming", "resumed", "cannot resume"},
    [OP_PAUSE] = {"pausing", "paused", "cannot pause"},
    [OP_STOP] = {"stopping", "has shut down", "cannot shut down"},
    [OP_KILL] = {"killing", "powered off", "cannot power off"},
    [OP_RESET] = {"resetting", "reset", "cannot reset"},
    [OP_REMOVE] = {"deleting", "deleted", "cannot delete"},
    [OP_SCREENSHOT] = {"saving", "screenshot saved", "cannot save a screenshot of"},
};

struct op {
    struct op *next;
    char name[64], path[128];
    enum deck_op op;
    bool ok;
    struct err e;
};
static struct op *ops; /* under way */

static bool simple_call(const char *name, const char *command, struct err *e)
{
    json_t *ret = client_call_once(name, command, NULL, e);

    json_decref(ret);
    return ret != NULL;
}

static bool save_screenshot(struct op *o)
{
    time_t now = time(NULL);
    struct tm tm;

    localtime_r(&now, &tm);
    snprintf(o->path, sizeof(o->path), "%s-%04d%02d%02d-%02d%02d%02d.png", o->name,
             tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return client_screenshot(o->name, o->path, &o->e);
}

static void op_work(void *arg)
{
    struct op *o = arg;

    switch (o->op) {
    case OP_START: o->ok = client_start(o->name, NULL, &o->e); break;
    case OP_RESUME: o->ok = simple_call(o->name, "cont", &o->e); break;
    case OP_PAUSE: o->ok = simple_call(o->name, "stop", &o->e); break;
    case OP_STOP: o->ok = client_stop(o->name, 60, false, &o->e); break;
    case OP_KILL: o->ok = client_kill(o->name, &o->e); break;
    case OP_RESET: o->ok = simple_call(o->name, "system_reset", &o->e); break;
    case OP_REMOVE: o->ok = client_remove(o->name, &o->e); break;
    case OP_SCREENSHOT: o->ok = save_screenshot(o); break;
    }
}

static void op_done(void *arg)
{
    struct op *o = arg, **p = &ops;

    while (*p && *p != o)
        p = &(*p)->next;
    if (*p)
        *p = o->next;
    if (!o->ok && o->op == OP_STOP && o->e.code == ERR_TIMEOUT)
        app_toast(
            ROLE_WARN,
            "%s has not shut down yet: the guest may ignore the power button (K powers it off)",
            o->name);
    else if (!o->ok && strstr(o->e.msg, o->name))
        app_toast_err(&o->e);
    else if (!o->ok)
        app_toast(ROLE_BAD, "%s %s: %s%s%s", words[o->op].failed, o->name, o->e.msg,
                  o->e.hint[0] ? " - " : "", o->e.hint);
    else if (o->op == OP_SCREENSHOT)
        app_toast(ROLE_STATUS, "%s: %s", words[o->op].done, o->path);
    else
        app_toast(ROLE_STATUS, "%s %s", o->name, words[o->op].done);
    x_free(o);
    deck_refresh();
}

void deck_do(const char *name, enum deck_op op)
{
    struct op *o = X_NEW(struct op);

    if (deck_busy(name) && op != OP_KILL) {
        app_toast(ROLE_WARN, "%s is %s", name, deck_busy(name));
        x_free(o);
        return;
    }
    str_copy(o->name, sizeof(o->name), name);
    o->op = op;
    o->next = ops;
    ops = o;
    job_run(op_work, op_done, o);
}

const char *deck_busy(const char *name)
{
    for (const struct op *o = ops; o; o = o->next)
        if (!strcmp(o->name, name) && o->op != OP_SCREENSHOT)
            return words[o->op].doing;
    return NULL;
}

/* ---- the host ---- */

static struct {
    char verdict[400];
    const char *accel;
} host = {.accel = ""};

static void probe_work(void *arg)
{
    accel_probe_kvm(arg);
}

static void probe_done(void *arg)
{
    struct accel_probe *p = arg;

    if (p->kvm_usable && p->kvm_fast)
        snprintf(host.verdict, sizeof(host.verdict), "KVM ok: guests run at the host's speed");
    else if (p->kvm_usable)
        snprintf(host.verdict, sizeof(host.verdict),
                 "KVM is slow here (%s): the software CPU is used", p->reason);
    else
        snprintf(host.verdict, sizeof(host.verdict), "no KVM (%s): software CPU, slower%s%s",
                 p->reason, p->hint[0] ? " - " : "", p->hint);
    host.accel = p->kvm_usable && p->kvm_fast ? "kvm" : "software";
    x_free(p);
}

void deck_probe(void)
{
    job_run(probe_work, probe_done, X_NEW(struct accel_probe));
}

const char *deck_verdict(void)
{
    return host.verdict;
}

const char *deck_accel(void)
{
    return host.accel;
}

void deck_human(uint64_t bytes, char out[16])
{
    static const char units[] = "BKMGTP";
    double v = (double)bytes;
    unsigned i = 0;

    while (v >= 999.5 && i + 1 < sizeof(units) - 1) {
        v /= 1024;
        i++;
    }
    if (bytes == 0)
        str_copy(out, 16, "0");
    else if (i > 2 && v < 9.95)
        snprintf(out, 16, "%.1f%c", v, units[i]);
    else
        snprintf(out, 16, "%.0f%c", v, units[i]);
}
