/* SPDX-License-Identifier: GPL-2.0-or-later */
/* create, run */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tui/cli/cli.h"
#include "tui/client/client.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/sup.h"

#define MAX_YAML (1024 * 1024)

const struct cli_opt opts_create[] = {
    {"json", 0, NULL, "Print JSON."},
    {"from", 0, "FILE", "Start from the vm.yaml in FILE."},
    {0},
};
const struct cli_opt opts_run[] = {
    {"ephemeral", 0, NULL, "A VM of its own that leaves nothing behind."},
    {"name", 0, "NAME", "Name of the ephemeral VM, for the other commands."},
    {0},
};

/* c is initialised, before and after. */
static bool load_file(const char *path, const char *name, struct vm_config *c, struct err *e)
{
    struct conf_diags diags = {0};
    size_t len;
    char *text = fd_read_file(AT_FDCWD, path, MAX_YAML, &len, e);

    if (text)
        config_fini(c); /* config_parse fills a new one */
    bool ok = text && config_parse(text, len, name, c, &diags, e);

    if (text && !ok && diags.count > 0) {
        err_set(e, ERR_INVALID, "%s:%u:%u: %s", path, diags.list[0].line, diags.list[0].column,
                diags.list[0].message);
        err_hint(e, "see every mistake with: vmdeck validate %s", path);
    }
    conf_diags_free(&diags);
    x_free(text);
    return ok;
}

bool cli_load_config(const char *dir, const char *name, struct vm_config *c, struct err *e)
{
    char *path = x_asprintf("%s/%s", dir, PATH_CONFIG);
    bool ok = load_file(path, name, c, e);

    x_free(path);
    return ok;
}

static void set_name(struct vm_config *c, const char *name)
{
    x_free(c->name);
    c->name = x_strdup(name);
}

int cmd_create(const struct cli_args *a, struct err *e)
{
    const char *name = a->words[0], *from = cli_value(a, "from");
    struct vm_config cfg;
    bool ok;

    config_init(&cfg);
    ok = conf_check_name(name, e) && (!from || load_file(from, name, &cfg, e));
    if (ok) {
        set_name(&cfg, name);
        x_free(cfg.uuid); /* the new VM's own */
        cfg.uuid = NULL;
        ok = vm_opts_apply(a, &cfg, e);
    }
    if (ok && cfg.serial[0].mode == SERIAL_STDIO) {
        ok = err_set(e, ERR_USAGE, "--serial stdio is for run: a VM in the background has no terminal");
        err_hint(e, "leave it out, and connect with: vmdeck console %s", name);
    }
    ok = ok && client_create(&cfg, e);
    if (ok && a->json) {
        char *dir = client_vm_dir(name, e);

        cli_print_json(json_pack("{s{ssss}}", "vm", "name", name, "dir", dir ? dir : ""));
        x_free(dir);
    }
    config_fini(&cfg);
    return ok ? 0 : 1;
}

/* There is no folder that would keep them. */
static bool no_new_disks(const struct vm_config *c, struct err *e)
{
    for (unsigned i = 0; i < c->disk_count; i++)
        if (c->disks[i].size) {
            err_set(e, ERR_USAGE, "--disk: size is for create: an ephemeral VM keeps no image");
            return err_hint(e, "make the image first, with: truncate -s 10G FILE");
        }
    return true;
}

static int run_ephemeral(const struct cli_args *a, struct err *e)
{
    const char *wanted = cli_value(a, "name");
    char *name = wanted ? x_strdup(wanted) : x_asprintf("ephemeral-%d", (int)getpid());
    struct err none = ERR_INIT;
    char *run = client_run_dir(name, e), *dir = run ? client_vm_dir(name, &none) : NULL;
    struct vm_config cfg;
    int status = -1;

    config_init(&cfg);
    set_name(&cfg, name);
    if (dir) {
        err_set(e, ERR_EXISTS, "there is a VM \"%s\" already", name);
    } else if (run && vm_opts_apply(a, &cfg, e) && no_new_disks(&cfg, e)) {
        struct sup_opts o = {.name = name, .dir = run, .run_dir = run, .foreground = true, .ephemeral = true,
                             .cfg = &cfg};
        status = sup_run(&o, e);
    }
    config_fini(&cfg);
    x_free(dir);
    x_free(run);
    x_free(name);
    return status;
}

static int run_named(const struct cli_args *a, struct err *e)
{
    const char *name = a->words[0];
    char *dir = client_vm_dir(name, e), *run = dir ? client_run_dir(name, e) : NULL;
    struct vm_config cfg;
    int status = -1;

    config_init(&cfg);
    if (run && cli_load_config(dir, name, &cfg, e) && vm_opts_apply(a, &cfg, e)) {
        struct sup_opts o = {.name = name, .dir = dir, .run_dir = run, .foreground = true, .cfg = &cfg};
        status = sup_run(&o, e);
        if (status < 0 && e->code == ERR_BUSY)
            err_wrap(e, "cannot start \"%s\"", name);
    }
    config_fini(&cfg);
    x_free(run);
    x_free(dir);
    return status;
}

int cmd_run(const struct cli_args *a, struct err *e)
{
    bool ephemeral = cli_flag(a, "ephemeral");

    if (ephemeral == (a->word_count > 0)) {
        err_set(e, ERR_USAGE, "run: %s", ephemeral ? "either a NAME or --ephemeral"
                                              : "a NAME or --ephemeral is missing");
        return err_hint(e, "use: vmdeck run NAME, or vmdeck run --ephemeral OPTION...");
    }
    return ephemeral ? run_ephemeral(a, e) : run_named(a, e);
}
