/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ls, info */
#include <stdio.h>
#include <string.h>

#include "tui/cli/cli.h"
#include "tui/client/client.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

const struct cli_opt opts_ls[] = {
    {"json", 0, NULL, "Print JSON."},
    {"quiet", 'q', NULL, "Print only names."},
    {"state", 0, "STATE", "Only VMs in this state: off, starting, running, paused, crashed, invalid."},
    {0},
};
const struct cli_opt opts_info[] = {
    {"json", 0, NULL, "Print JSON."},
    {"effective", 0, NULL, "Every key of vm.yaml with its value, defaults included."},
    {0},
};

/* ---- text ---- */

static void put_size(uint64_t bytes)
{
    static const char units[] = "BKMGTP";
    double v = (double)bytes;
    unsigned u = 0;
    char text[32];

    for (; v >= 1024 && u < 5; u++)
        v /= 1024;
    snprintf(text, sizeof(text), v < 10 && u > 0 ? "%.1f%c" : "%.0f%c", v, units[u]);
    printf("%8s", text);
}

static void put_uptime(int64_t s)
{
    char text[64];

    if (s >= 86400)
        snprintf(text, sizeof(text), "%lldd%02lldh", (long long)(s / 86400), (long long)(s % 86400 / 3600));
    else if (s >= 3600)
        snprintf(text, sizeof(text), "%lldh%02lldm", (long long)(s / 3600), (long long)(s % 3600 / 60));
    else
        snprintf(text, sizeof(text), "%lldm%02llds", (long long)(s / 60), (long long)(s % 60));
    printf("  %8s", text);
}

static bool is_live(const struct vm_entry *v)
{
    return v->state == LIST_RUNNING || v->state == LIST_PAUSED || v->state == LIST_STARTING;
}

static void put_row(const struct vm_entry *v, int width)
{
    printf("%-*s  %-8s  %4u", width, v->name, vm_list_state_name(v->state), v->cpus);
    put_size(v->memory);
    put_size(v->disk_size);
    if (!is_live(v)) {
        printf("  %8s  %-8s  %s\n", "-", "-", v->problem ? v->problem : "-");
        return;
    }
    put_uptime(v->uptime_s);
    printf("  %-8s  %s\n", v->accel && v->accel[0] ? v->accel : "-", v->vnc ? v->vnc : "-");
}

/* ---- JSON ---- */

static json_t *text_or_null(const char *s)
{
    json_t *v = s ? json_string(s) : NULL;

    return v ? v : json_null();
}

static json_t *entry_json(const struct vm_entry *v)
{
    bool live = is_live(v);
    json_t *o = json_object();

    json_object_set_new(o, "name", json_string(v->name));
    json_object_set_new(o, "dir", text_or_null(v->dir));
    json_object_set_new(o, "state", json_string(vm_list_state_name(v->state)));
    json_object_set_new(o, "problem", text_or_null(v->problem));
    json_object_set_new(o, "pid", live ? json_integer(v->pid) : json_null());
    json_object_set_new(o, "cpus", json_integer(v->cpus));
    json_object_set_new(o, "memory", json_integer((json_int_t)v->memory));
    json_object_set_new(o, "memoryUsed", json_integer((json_int_t)v->memory_used));
    json_object_set_new(o, "diskSize", json_integer((json_int_t)v->disk_size));
    json_object_set_new(o, "diskUsed", json_integer((json_int_t)v->disk_used));
    json_object_set_new(o, "uptimeSeconds", live ? json_integer(v->uptime_s) : json_null());
    json_object_set_new(o, "accel", live ? text_or_null(v->accel) : json_null());
    json_object_set_new(o, "vnc", live ? text_or_null(v->vnc) : json_null());
    json_object_set_new(o, "viewers", json_integer(v->viewers));
    return o;
}

/* ---- ls ---- */

static bool known_state(const char *name)
{
    for (unsigned s = LIST_OFF; s <= LIST_INVALID; s++)
        if (!strcmp(name, vm_list_state_name((enum vm_list_state)s)))
            return true;
    return false;
}

int cmd_ls(const struct cli_args *a, struct err *e)
{
    const char *state = cli_value(a, "state");
    struct vm_list list;
    int width = 4;

    if (state && !known_state(state)) {
        err_set(e, ERR_USAGE, "--state: \"%s\" is no state", state);
        return err_hint(e, "choose off, starting, running, paused, crashed or invalid");
    }
    if (!client_list(&list, e))
        return 1;
    json_t *array = json_array();
    for (unsigned i = 0; i < list.count; i++)
        width = MAX(width, (int)strlen(list.vms[i].name));
    if (!a->json && !cli_flag(a, "quiet"))
        printf("%-*s  %-8s  %4s%8s%8s  %8s  %-8s  %s\n", width, "NAME", "STATE", "CPUS", "MEMORY", "DISK", "UPTIME",
               "ACCEL", "VNC");
    for (unsigned i = 0; i < list.count; i++) {
        const struct vm_entry *v = &list.vms[i];

        if (state && strcmp(state, vm_list_state_name(v->state)))
            continue;
        if (a->json)
            json_array_append_new(array, entry_json(v));
        else if (cli_flag(a, "quiet"))
            puts(v->name);
        else
            put_row(v, width);
    }
    client_list_free(&list);
    if (a->json)
        cli_print_json(json_pack("{so}", "vms", array));
    else
        json_decref(array);
    return 0;
}

/* ---- info ---- */

/* The keys that have a value: with lists expanded by the emitter, so only scalars outside lists. */
static void put_effective(const struct vm_config *c, json_t *out)
{
    unsigned count;
    const struct conf_key *keys = conf_keys(&count);

    for (unsigned i = 0; i < count; i++) {
        struct buf value = BUF_INIT;

        if (!strchr(keys[i].path, '[') && config_get(c, keys[i].path, &value)) {
            if (out)
                json_object_set_new(out, keys[i].path, text_or_null(buf_str(&value)));
            else
                printf("  %-26s %s\n", keys[i].path, buf_str(&value));
        }
        buf_free(&value);
    }
}

static void put_yaml(const struct vm_config *c)
{
    struct buf text = BUF_INIT;

    config_emit(c, &text);
    for (const char *p = buf_str(&text); *p; p += strcspn(p, "\n"), p += *p == '\n')
        printf("  %.*s\n", (int)strcspn(p, "\n"), p);
    buf_free(&text);
}

static void print_info(const struct cli_args *a, const struct vm_entry *v, const struct vm_config *c, bool valid)
{
    printf("%s: %s%s%s\n", v->name, vm_list_state_name(v->state), v->problem ? ", " : "", v->problem ? v->problem : "");
    printf("  %-26s %s\n", "folder", v->dir);
    if (is_live(v)) {
        printf("  %-26s %d\n", "process", (int)v->pid);
        printf("  %-26s %s\n", "accelerator", v->accel ? v->accel : "-");
        printf("  %-26s %s (%u viewers)\n", "VNC", v->vnc ? v->vnc : "-", v->viewers);
        printf("  %-26s %lld s\n", "uptime", (long long)v->uptime_s);
        printf("  %-26s %llu MiB\n", "resident memory", (unsigned long long)(v->memory_used / MIB));
    }
    if (!valid)
        return;
    printf("configuration:\n");
    if (cli_flag(a, "effective"))
        put_effective(c, NULL);
    else
        put_yaml(c);
}

int cmd_info(const struct cli_args *a, struct err *e)
{
    const char *name = a->words[0];
    const struct vm_entry *v = NULL;
    struct err config_error = ERR_INIT;
    struct vm_config cfg;
    struct vm_list list;
    char *dir = client_vm_dir(name, e);

    if (!dir)
        return 1;
    config_init(&cfg);
    bool valid = cli_load_config(dir, name, &cfg, &config_error);
    if (client_list(&list, e)) {
        for (unsigned i = 0; i < list.count; i++)
            if (!strcmp(list.vms[i].name, name))
                v = &list.vms[i];
        if (v && a->json) {
            json_t *o = entry_json(v), *config = json_object();

            put_effective(&cfg, config);
            json_object_set_new(o, "config", valid ? json_incref(config) : json_null());
            json_decref(config);
            cli_print_json(json_pack("{so}", "vm", o));
        } else if (v) {
            print_info(a, v, &cfg, valid);
        }
        client_list_free(&list);
    }
    config_fini(&cfg);
    x_free(dir);
    return v ? 0 : 1;
}
