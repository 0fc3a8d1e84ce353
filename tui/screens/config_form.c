/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Create and edit forms. Both are one table of paths (fields.def) over the schema: creating fills a
 * config, editing splices the changed values into the text of vm.yaml. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/screens/deck.h"
#include "tui/screens/screens.h"
#include "tui/screens/yaml_file.h"
#include "tui/ui/app.h"
#include "tui/ui/form.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

#define MAX_FIELDS 96

static const struct {
    const char *path, *label; /* path NULL: a section */
    bool create, edit;
} table[] = {
#define FIELD(p, l, c, e) {p, l, c, e},
#define SECTION(l)        {NULL, l, true, true},
#include "tui/screens/fields.def"
#undef FIELD
#undef SECTION
};

struct config_form {
    bool edit, start;
    char name[64];
    struct vm_config config; /* as loaded, or the defaults */
    struct yaml_file file;   /* edit */
    struct form_field fields[MAX_FIELDS];
    char *paths[MAX_FIELDS], *labels[MAX_FIELDS], *values[MAX_FIELDS], *choices[MAX_FIELDS];
    unsigned count;
};

/* The mode of a network card that is not there; the schema has no word for it. */
#define ABSENT "absent"

static bool is_network_mode(const char *path)
{
    size_t len = strlen(path);

    return !strncmp(path, "networks[", 9) && len > 5 && !strcmp(path + len - 5, ".mode");
}

/* ---- fields ---- */

static const struct conf_key *schema_key(const char *path)
{
    struct buf pattern = BUF_INIT;
    unsigned count;
    const struct conf_key *keys = conf_keys(&count), *found = NULL;

    for (const char *p = path; *p; p++)
        if (*p < '0' || *p > '9')
            buf_add(&pattern, p, 1);
    for (unsigned i = 0; i < count && !found; i++)
        if (!strcmp(keys[i].path, buf_str(&pattern)))
            found = &keys[i];
    buf_free(&pattern);
    return found;
}

static void add_field(struct config_form *cf, const char *path, const char *label,
                      bool index_in_label, unsigned index)
{
    unsigned n = cf->count;
    char number[8] = "";
    struct buf value = BUF_INIT, name = BUF_INIT;

    if (n == MAX_FIELDS)
        return;
    if (index_in_label)
        snprintf(number, sizeof(number), "%u ", index);
    for (const char *p = label; *p; p++) {
        if (*p == '#') {
            buf_puts(&name, number);
            p += p[1] == ' ';
        } else {
            buf_add(&name, p, 1);
        }
    }
    cf->labels[n] = buf_steal(&name);
    if (!path) {
        cf->fields[n] = (struct form_field){.type = FORM_LABEL, .label = cf->labels[n]};
        cf->count++;
        return;
    }
    for (const char *p = path; *p; p++) {
        if (*p == '#')
            buf_printf(&name, "%u", index);
        else
            buf_add(&name, p, 1);
    }
    cf->paths[n] = buf_steal(&name);
    const struct conf_key *key = schema_key(cf->paths[n]);

    bool mode = is_network_mode(cf->paths[n]);

    if (mode)
        cf->choices[n] = x_asprintf("%s|" ABSENT, key->choices);
    if (!config_get(&cf->config, cf->paths[n], &value))
        buf_puts(&value, mode ? ABSENT : key->choices || !strcmp(key->type, "boolean") ? key->def : "");
    cf->values[n] = buf_steal(&value);
    bool choice = key->choices && !strstr(key->type, "list"),
         boolean = !strcmp(key->type, "boolean");
    cf->fields[n] = (struct form_field){.type = choice || boolean ? FORM_CHOICE : FORM_TEXT,
                                        .label = cf->labels[n],
                                        .help = key->help,
                                        .choices = boolean ? "false|true" : mode ? cf->choices[n] : key->choices,
                                        .value = cf->values[n]};
    cf->count++;
}

/* Number of groups of fields for a list: what is there and, where there is room, one more. */
static unsigned groups(const struct config_form *cf, const char *path)
{
    unsigned have, most;

    if (!strncmp(path, "disks", 5))
        have = cf->config.disk_count, most = CONF_DISKS;
    else if (!strncmp(path, "cdroms", 6))
        have = cf->config.cdrom_count, most = CONF_CDROMS;
    else
        have = cf->config.network_count, most = CONF_NETWORKS;
    return MIN(have + (cf->edit || have == 0), most);
}

static void build(struct config_form *cf)
{
    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        const char *path = table[i].path;

        if (!(cf->edit ? table[i].edit : table[i].create))
            continue;
        if (!path || !strchr(path, '#')) {
            add_field(cf, path, table[i].label, false, 0);
            continue;
        }
        /* rows of the same list go together, entry by entry */
        size_t list = strcspn(path, "[");
        unsigned last = i;

        while (last + 1 < ARRAY_LEN(table) && table[last + 1].path &&
               !strncmp(table[last + 1].path, path, list + 1))
            last++;
        unsigned n = groups(cf, path);
        for (unsigned g = 0; g < n; g++)
            for (unsigned j = i; j <= last; j++)
                if (cf->edit ? table[j].edit : table[j].create)
                    add_field(cf, table[j].path, table[j].label, n > 1, g);
        i = last;
    }
}

static int field_of(const struct config_form *cf, const char *path)
{
    for (unsigned i = 0; i < cf->count; i++)
        if (cf->paths[i] && !strcmp(cf->paths[i], path))
            return (int)i;
    return -1;
}

static bool check(void *owner, unsigned field, const char *value, struct err *e)
{
    struct config_form *cf = owner;
    const char *path = cf->paths[field];

    if (!path)
        return true;
    if (!strcmp(path, "name"))
        return conf_check_name(value, e);
    if (is_network_mode(path) && !strcmp(value, ABSENT))
        return true;
    if (!value[0]) /* checked together when saving */
        return true;
    return config_check(path, value, e);
}

static void closed(void *owner)
{
    struct config_form *cf = owner;

    for (unsigned i = 0; i < cf->count; i++) {
        x_free(cf->paths[i]);
        x_free(cf->labels[i]);
        x_free(cf->values[i]);
        x_free(cf->choices[i]);
    }
    config_fini(&cf->config);
    yaml_file_close(&cf->file);
    x_free(cf);
}

/* ---- create ---- */

struct create_job {
    struct vm_config config;
    unsigned form; /* view id */
    bool ok;
    struct err e;
};

static void create_work(void *arg)
{
    struct create_job *j = arg;

    j->ok = client_create(&j->config, &j->e);
}

static void create_done(void *arg)
{
    struct create_job *j = arg;
    struct view *form = view_find(j->form);
    char message[800];

    if (j->ok) {
        if (form)
            form_close(form);
        app_toast(ROLE_STATUS, "%s created: s starts it", j->config.name);
        screen_list_select(j->config.name);
    } else if (form) {
        snprintf(message, sizeof(message), "%s%s%s", j->e.msg, j->e.hint[0] ? " - " : "",
                 j->e.hint);
        form_fail(form, -1, message);
    } else {
        app_toast_err(&j->e);
    }
    config_fini(&j->config);
    x_free(j);
}

/* A value that belongs to an entry that is not there, and need not be. */
static bool unused_entry(struct config_form *cf, struct view *form, const char *path)
{
    bool network = !strncmp(path, "networks[", 9);
    char other[64];
    int i;

    if (!network && strncmp(path, "disks[", 6) && strncmp(path, "cdroms[", 7))
        return false;
    snprintf(other, sizeof(other), "%.*s.%s", (int)strcspn(path, "."), path, network ? "mode" : "path");
    i = field_of(cf, other);
    return i >= 0 && !strcmp(form_value(form, (unsigned)i), network ? ABSENT : "");
}

/* A size without a path is a new image in the VM's folder. */
static void default_paths(struct config_form *cf, struct vm_config *c, struct view *form)
{
    int path = field_of(cf, "disks[0].path"), size = field_of(cf, "disks[0].size");
    struct err e;

    if (path < 0 || size < 0 || form_value(form, (unsigned)path)[0] ||
        !form_value(form, (unsigned)size)[0])
        return;
    config_set(c, "disks[0].path", "disks/disk0.raw", &e);
    config_set(c, "disks[0].size", form_value(form, (unsigned)size), &e);
    int bus = field_of(cf, "disks[0].bus");
    if (bus >= 0)
        config_set(c, "disks[0].bus", form_value(form, (unsigned)bus), &e);
}

static void submit_create(struct config_form *cf, struct view *form)
{
    struct create_job *j = X_NEW(struct create_job);
    const char *name = form_value(form, (unsigned)field_of(cf, "name"));
    struct err e = ERR_INIT;
    bool ok = true;

    config_init(&j->config);
    config_no_networks(&j->config); /* those of the form */
    if (deck_find(name)) {
        form_fail(form, field_of(cf, "name"), "a VM of this name exists");
        ok = false;
    }
    for (unsigned i = 0; ok && i < cf->count; i++) {
        const char *value = cf->paths[i] ? form_value(form, i) : "";

        if (!value[0] || unused_entry(cf, form, cf->paths[i]))
            continue;
        if (!config_set(&j->config, cf->paths[i], value, &e)) {
            form_fail(form, (int)i, e.msg);
            ok = false;
        }
    }
    if (ok) {
        default_paths(cf, &j->config, form);
        if (!config_validate(&j->config, &e)) {
            form_fail(form, -1, e.msg);
            ok = false;
        }
    }
    if (!ok) {
        config_fini(&j->config);
        x_free(j);
        return;
    }
    j->form = view_id(form);
    form_busy(form, "creating");
    job_run(create_work, create_done, j);
}

/* ---- edit ---- */

struct save_job {
    struct yaml_file file;
    struct buf text;
    unsigned form;
    bool ok;
    struct err e;
};

static void save_work(void *arg)
{
    struct save_job *j = arg;

    j->ok = yaml_file_save(&j->file, buf_str(&j->text), j->text.len, &j->e);
}

static void save_done(void *arg)
{
    struct save_job *j = arg;
    struct view *form = view_find(j->form);

    if (j->ok) {
        const struct vm_entry *vm = deck_find(j->file.name);

        if (form)
            form_close(form);
        app_toast(ROLE_STATUS, "%s saved%s", j->file.name,
                  vm && vm->pid ? "; the running VM takes it at its next start" : "");
        deck_refresh();
    } else if (form) {
        form_fail(form, -1, j->e.msg);
    } else {
        app_toast_err(&j->e);
    }
    yaml_file_close(&j->file);
    buf_free(&j->text);
    x_free(j);
}

/* Applies one changed field to the text. */
static bool apply(struct buf *text, const char *path, const char *value, struct err *e)
{
    struct buf out = BUF_INIT;
    struct conf_diags diags = {0};
    bool ok = config_edit(buf_str(text), text->len, path, value, &out, &diags, e);

    conf_diags_free(&diags);
    if (ok) {
        buf_free(text);
        *text = out;
    } else {
        buf_free(&out);
    }
    return ok;
}

/* The image's path was emptied, or the card is absent: the whole entry goes. */
static bool removed_entry(struct config_form *cf, struct view *form, const char *path, char *entry,
                          size_t size)
{
    if (!unused_entry(cf, form, path))
        return false;
    snprintf(entry, size, "%.*s", (int)strcspn(path, "."), path);
    return true;
}

/* The field that says whether an entry is there. */
static bool leads_entry(const char *path)
{
    return strstr(path, ".path") || is_network_mode(path);
}

static bool was_there(const char *value)
{
    return value[0] && strcmp(value, ABSENT);
}

static bool edit_fields(struct config_form *cf, struct view *form, struct buf *text)
{
    struct err e = ERR_INIT;

    for (unsigned i = 0; i < cf->count; i++) {
        const char *path = cf->paths[i];
        char entry[64];

        if (!path || !form_changed(form, i))
            continue;
        if (removed_entry(cf, form, path, entry, sizeof(entry))) {
            bool network = strstr(path, ".forwards");

            if ((!network && !strstr(path, ".size")) || !form_value(form, i)[0] || cf->values[i][0])
                continue;
            form_fail(form, (int)i, network ? "needs a card: see its mode" : "needs the image's path above");
            return false;
        }
        if (!apply(text, path, form_value(form, i), &e)) {
            form_fail(form, (int)i, e.msg);
            return false;
        }
    }
    /* from the last, so that indexes stay true */
    for (unsigned i = cf->count; i-- > 0;) {
        const char *path = cf->paths[i];
        char entry[64];

        if (!path || !leads_entry(path) || !was_there(cf->values[i]) ||
            !removed_entry(cf, form, path, entry, sizeof(entry)))
            continue;
        if (!apply(text, entry, NULL, &e)) {
            form_fail(form, (int)i, e.msg);
            return false;
        }
    }
    return true;
}

static void submit_edit(struct config_form *cf, struct view *form)
{
    struct buf text = BUF_INIT;

    buf_add(&text, cf->file.text, cf->file.len);
    if (!edit_fields(cf, form, &text)) {
        buf_free(&text);
        return;
    }
    struct save_job *j = X_NEW(struct save_job);

    yaml_file_copy(&j->file, &cf->file);
    j->text = text;
    j->form = view_id(form);
    form_busy(form, "saving");
    job_run(save_work, save_done, j);
}

static void submit(void *owner, struct view *form)
{
    struct config_form *cf = owner;

    if (cf->edit)
        submit_edit(cf, form);
    else
        submit_create(cf, form);
}

/* ---- opening ---- */

static const struct form_ops ops = {check, submit, closed};

void screen_create_open(void)
{
    struct config_form *cf = X_NEW(struct config_form);

    config_init(&cf->config);
    build(cf);
    form_open("New VM", "Create", cf->fields, cf->count, &ops, cf);
}

struct load_job {
    struct config_form *cf;
    bool ok;
    struct err e;
};

static void load_work(void *arg)
{
    struct load_job *j = arg;
    struct config_form *cf = j->cf;

    j->ok = yaml_file_open(&cf->file, cf->name, &j->e);
    if (j->ok) {
        struct conf_diags diags = {0};

        config_fini(&cf->config);
        j->ok = config_parse(cf->file.text, cf->file.len, cf->name, &cf->config, &diags, &j->e);
        conf_diags_free(&diags);
    }
}

static void load_done(void *arg)
{
    struct load_job *j = arg;
    struct config_form *cf = j->cf;
    char title[96];

    if (j->ok) {
        build(cf);
        snprintf(title, sizeof(title), "Edit %s", cf->name);
        form_open(title, "Save", cf->fields, cf->count, &ops, cf);
    } else {
        app_toast_err(&j->e);
        closed(cf);
    }
    x_free(j);
}

void screen_edit_open(const char *name)
{
    struct load_job *j = X_NEW(struct load_job);

    j->cf = X_NEW(struct config_form);
    j->cf->edit = true;
    str_copy(j->cf->name, sizeof(j->cf->name), name);
    config_init(&j->cf->config);
    job_run(load_work, load_done, j);
}
