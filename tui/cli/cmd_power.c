/* SPDX-License-Identifier: GPL-2.0-or-later */
/* start, stop, kill, reset, pause, resume: each on any number of VMs. Being in the wanted state already is success. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/cli/cli.h"
#include "tui/client/client.h"
#include "vmm/base/alloc.h"
#include "vmm/ctl/state.h"

#define STOP_TIMEOUT_S 60
#define STATUS_PARTIAL 9

const struct cli_opt opts_json[] = {
    {"json", 0, NULL, "Print JSON."},
    {0},
};
const struct cli_opt opts_yes[] = {
    {"yes", 'y', NULL, "Do not ask."},
    {"json", 0, NULL, "Print JSON."},
    {0},
};
const struct cli_opt opts_start[] = {
    {"json", 0, NULL, "Print JSON."},
    {"cpu-verify", 0, NULL, "Compare the software CPU's translations with its interpreter, this time."},
    {0},
};
const struct cli_opt opts_stop[] = {
    {"json", 0, NULL, "Print JSON."},
    {"timeout", 't', "SECONDS", "How long to wait; 60 by default."},
    {"force-after", 0, NULL, "Then end it at once."},
    {0},
};

typedef bool one_fn(const struct cli_args *a, const char *name, struct err *e);

static int each(const struct cli_args *a, one_fn *fn)
{
    json_t *results = json_array();
    unsigned failed = 0;
    int status = 0;

    for (unsigned i = 0; i < a->word_count; i++) {
        struct err e = ERR_INIT;
        bool ok = fn(a, a->words[i], &e);

        json_array_append_new(results, json_pack("{sssbss*ss*}", "name", a->words[i], "ok", ok, "code",
                                                 ok ? NULL : err_code_name(e.code), "message", ok ? NULL : e.msg));
        if (ok)
            continue;
        failed++;
        status = cli_fail(&e);
        cli_print_error(&e, a->words[i], false);
    }
    if (a->json)
        cli_print_json(json_pack("{so}", "results", results));
    else
        json_decref(results);
    return failed > 0 && a->word_count > 1 ? STATUS_PARTIAL : status;
}

/* Pid of the supervisor of an existing VM; false with e when there is no such VM. */
static bool holder(const char *name, pid_t *pid, struct err *e)
{
    char *run = client_run_dir(name, e), *dir;

    if (!run)
        return false;
    *pid = state_holder(run);
    x_free(run);
    if (*pid) /* of an ephemeral VM there is no folder */
        return true;
    dir = client_vm_dir(name, e);
    x_free(dir);
    return dir != NULL;
}

/* ---- commands ---- */

static bool start_one(const struct cli_args *a, const char *name, struct err *e)
{
    bool verify = cli_flag(a, "cpu-verify");
    pid_t pid;

    if (!holder(name, &pid, e))
        return false;
    if (!pid)
        return client_start(name, verify ? "cpu.verify=true" : NULL, e);
    if (!verify)
        return true;
    err_set(e, ERR_STATE, "\"%s\" is running: --cpu-verify is for its start", name);
    return err_hint(e, "stop it first: vmdeck stop %s", name);
}

int cmd_start(const struct cli_args *a, struct err *e)
{
    (void)e;
    return each(a, start_one);
}

static bool stop_one(const struct cli_args *a, const char *name, struct err *e)
{
    long timeout = STOP_TIMEOUT_S;
    pid_t pid;

    return cli_number(a, "timeout", 0, 86400, &timeout, e) && holder(name, &pid, e) &&
           (!pid || client_stop(name, (int)timeout, cli_flag(a, "force-after"), e));
}

int cmd_stop(const struct cli_args *a, struct err *e)
{
    (void)e;
    return each(a, stop_one);
}

/* Whoever is at a terminal is asked; a script knows what it does. */
static bool sure(const struct cli_args *a, const char *question, const char *name, struct err *e)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return true;
    return cli_confirm(a, e, "%s \"%s\"? What its guest has not written is lost.", question, name);
}

static bool kill_one(const struct cli_args *a, const char *name, struct err *e)
{
    pid_t pid;

    return holder(name, &pid, e) && (!pid || (sure(a, "End", name, e) && client_kill(name, e)));
}

int cmd_kill(const struct cli_args *a, struct err *e)
{
    (void)e;
    return each(a, kill_one);
}

static bool command(const char *name, const char *verb, struct err *e)
{
    json_t *v = client_call_once(name, verb, NULL, e);

    json_decref(v);
    return v != NULL;
}

static bool reset_one(const struct cli_args *a, const char *name, struct err *e)
{
    return sure(a, "Reset", name, e) && command(name, "system_reset", e);
}

int cmd_reset(const struct cli_args *a, struct err *e)
{
    (void)e;
    return each(a, reset_one);
}

static bool pause_one(const struct cli_args *a, const char *name, struct err *e)
{
    (void)a;
    return command(name, "stop", e);
}

int cmd_pause(const struct cli_args *a, struct err *e)
{
    (void)e;
    return each(a, pause_one);
}

static bool resume_one(const struct cli_args *a, const char *name, struct err *e)
{
    (void)a;
    return command(name, "cont", e);
}

int cmd_resume(const struct cli_args *a, struct err *e)
{
    (void)e;
    return each(a, resume_one);
}

/* ---- rm ---- */

static bool rm_one(const struct cli_args *a, const char *name, struct err *e)
{
    char *dir = client_vm_dir(name, e);
    struct err ignored = ERR_INIT;
    struct vm_config cfg;
    bool ok = dir != NULL;

    config_init(&cfg);
    if (ok && cli_load_config(dir, name, &cfg, &ignored) && cfg.protected_) {
        ok = err_set(e, ERR_STATE, "\"%s\" is protected", name);
        err_hint(e, "set protected: false in its vm.yaml first");
    }
    config_fini(&cfg);
    if (ok && !cli_flag(a, "yes") && !isatty(STDIN_FILENO)) {
        ok = err_set(e, ERR_USAGE, "rm \"%s\": nobody to ask", name);
        err_hint(e, "add -y to remove it with its disks");
    }
    ok = ok && cli_confirm(a, e, "Remove \"%s\" with everything in %s?", name, dir) && client_remove(name, e);
    x_free(dir);
    return ok;
}

int cmd_rm(const struct cli_args *a, struct err *e)
{
    (void)e;
    return each(a, rm_one);
}
