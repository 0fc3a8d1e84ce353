/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the document's nodes to typed values: walks the tree along the schema and collects every
 * mistake with its place, then checks what holds between values. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/conf/schema.h"

#define SCHEMA_VERSION 1
#define IDE_UNITS      4

struct walk {
    struct conf_diags *diags;
    const struct node *root; /* NULL when values come from elsewhere */
};

static unsigned width_of(const struct node *n)
{
    if (n->start.line == n->end.line && n->end.offset > n->start.offset &&
        n->end.column > n->start.column)
        return n->end.column - n->start.column;
    return 1;
}

#define complain(w, n, ...) conf_diag_add((w)->diags, &(n)->start, width_of(n), __VA_ARGS__)

/* What other programs, or habit, call a key. */
static const struct {
    const char *other, *ours;
} synonyms[] = {
    {"ram", "memory"},
    {"mem", "memory"},
    {"cores", "cpus"},
    {"vcpu", "cpus"},
    {"vcpus", "cpus"},
    {"cpu_cores", "cpus"},
    {"smp", "cpus"},
    {"iso", "cdroms"},
    {"cd", "cdroms"},
    {"hdd", "disks"},
    {"drives", "disks"},
    {"image", "path"},
    {"file", "path"},
    {"title", "name"},
    {"cmdline", "append"},
    {"port_forwards", "forwards"},
    {"portForwards", "forwards"},
    {"net", "networks"},
    {"nics", "networks"},
    {"vnc", "display.vnc"},
    {"accelerator", "accel"},
    {"notes", "description"},
    {"keyboard", "input.layout"},
    {"ro", "readonly"},
    {"read_only", "readonly"},
    {"protection", "protected"},
};

/* Suggests a key of the group, then a synonym, then the same word elsewhere in the schema. */
static const char *suggest(const char *pattern, const struct node *key, char *out, size_t size)
{
    struct conf_guess guess = {0};
    const char *word;
    size_t len;

    for (unsigned i = 0; i < ARRAY_LEN(synonyms); i++) {
        char full[64];

        if (strcmp(key->text, synonyms[i].other))
            continue;
        snprintf(full, sizeof(full), "%s%s%s", pattern, *pattern ? "." : "", synonyms[i].ours);
        if (!strchr(synonyms[i].ours, '.') && conf_row_order(full, strlen(full)) == conf_row_count)
            continue;
        str_copy(out, size, synonyms[i].ours);
        return out;
    }
    for (unsigned i = 0; conf_group_key(pattern, i, &word, &len); i++)
        conf_guess_try(&guess, key->text, key->text_len, word, len);
    if (guess.word) {
        snprintf(out, size, "%.*s", (int)guess.word_len, guess.word);
        return out;
    }
    for (unsigned i = 0; i < conf_row_count; i++) {
        const char *path = conf_rows[i].path, *dot = strrchr(path, '.');

        if (strcmp(dot ? dot + 1 : path, key->text))
            continue;
        str_copy(out, size, path);
        return out;
    }
    return NULL;
}

static void unknown_key(struct walk *w, const struct node *key, const char *pattern,
                        const char *path)
{
    char guess[64];
    const char *dot = strrchr(key->text, '.');

    if (dot && conf_row_find(key->text, key->text_len))
        complain(w, key, "%s: keys do not nest by dots (write '%s:' below '%.*s:')", path, dot + 1,
                 (int)(dot - key->text), key->text);
    else if (suggest(pattern, key, guess, sizeof(guess)))
        complain(w, key, "%s: unknown key, did you mean '%s'?", path, guess);
    else
        complain(w, key, "%s: unknown key", path);
}

static const char *kind_name(const struct node *n)
{
    return n->kind == NODE_MAP    ? "keys and values"
           : n->kind == NODE_LIST ? "a list"
                                  : "a single value";
}

/* [disk, cdrom] as the words that conf_value_parse takes. */
static bool join_words(const struct node *list, struct buf *out)
{
    for (const struct node *n = list->first; n; n = n->next) {
        if (n->kind != NODE_SCALAR || strpbrk(n->text, ",[] "))
            return false;
        buf_printf(out, "%s%s", out->len ? "," : "", n->text);
    }
    return true;
}

static void walk_value(struct walk *w, const struct node *n, const struct conf_row *row,
                       const char *path, void *base)
{
    struct err e;
    struct buf words = BUF_INIT;
    const char *text = n->text;
    bool plain = n->plain;

    if (node_is_null(n)) {
        if (row->flags & CONF_REQUIRED)
            complain(w, n, "%s: a value is missing", path);
        return;
    }
    if (row->type == CONF_CLASSES && n->kind == NODE_LIST) {
        bool ok = true;

        for (const struct node *word = n->first; word; word = word->next) {
            if (word->kind != NODE_SCALAR || conf_value_parse(row, word->text, true, NULL, &e))
                continue;
            complain(w, word, "%s: %s", path, e.msg);
            ok = false;
        }
        if (!ok)
            return;
        if (!join_words(n, &words)) {
            complain(w, n, "%s: expected words of: %s", path, row->choices);
            buf_free(&words);
            return;
        }
        text = buf_str(&words);
        plain = true;
    } else if (n->kind != NODE_SCALAR) {
        complain(w, n, "%s: expected a %s, found %s", path, conf_type_name(row->type),
                 kind_name(n));
        return;
    }
    if (!conf_value_parse(row, text, plain, base, &e))
        complain(w, n, "%s: %s", path, e.msg);
    buf_free(&words);
}

static void walk_map(struct walk *w, const struct node *map, const char *pattern, const char *path,
                     void *base);

/* The rows an entry of a map must have. */
static void check_required(struct walk *w, const struct node *map, const char *pattern,
                           const char *path)
{
    size_t len = strlen(pattern);

    for (unsigned i = 0; i < conf_row_count; i++) {
        const struct conf_row *row = &conf_rows[i];
        const char *key = row->path + len + 1;

        if (!(row->flags & CONF_REQUIRED) || strncmp(row->path, pattern, len) ||
            row->path[len] != '.' || strpbrk(key, ".[") || node_key(map, key, strlen(key)))
            continue;
        complain(w, map, "%s: the key '%s' is missing", path, key);
    }
}

static void walk_list(struct walk *w, const struct node *list, const struct conf_row *row,
                      const char *path, void *base)
{
    char pattern[64], item_path[256];
    unsigned i = 0;

    if (node_is_null(list))
        return;
    if (list->kind != NODE_LIST) {
        complain(w, list, "%s: expected a list ('- ' before each entry), found %s", path,
                 kind_name(list));
        return;
    }
    snprintf(pattern, sizeof(pattern), "%s[]", row->path);
    const struct conf_row *scalar = conf_row_find(pattern, strlen(pattern));
    bool has_keys = conf_group_exists(pattern, strlen(pattern));

    for (unsigned n = conf_list_count(row, base); n-- > 0;)
        conf_element_fini(row, conf_list_element(row, base, n));
    conf_list_set_count(row, base, 0);
    for (const struct node *n = list->first; n; n = n->next, i++) {
        snprintf(item_path, sizeof(item_path), "%.200s[%u]", path, i);
        if (i == row->entries) {
            complain(w, n, "%s: too many entries (at most %u)", item_path, row->entries);
            return;
        }
        void *element = conf_list_element(row, base, i);

        conf_element_init(row, element, i);
        conf_list_set_count(row, base, i + 1);
        if (n->kind == NODE_MAP && has_keys) {
            walk_map(w, n, pattern, item_path, element);
            check_required(w, n, pattern, item_path);
        } else if (scalar && !node_is_null(n)) {
            walk_value(w, n, scalar, item_path, element);
        } else {
            complain(w, n, "%s: expected %s, found %s", item_path,
                     has_keys ? "keys and values" : "text",
                     node_is_null(n) ? "nothing" : kind_name(n));
        }
    }
    if (row->count_offset == NO_COUNT && !strcmp(row->path, "serial"))
        for (; i < row->entries; i++)
            ((struct conf_serial *)conf_list_element(row, base, i))->mode = SERIAL_NONE;
}

static void walk_map(struct walk *w, const struct node *map, const char *pattern, const char *path,
                     void *base)
{
    for (const struct node *n = map->first; n; n = n->next) {
        const struct node *key = n->key;
        char below[64], where[256];

        if (key->kind == NODE_SCALAR && !strncmp(key->text, "x-", 2))
            continue;
        if (node_is_null(key)) {
            complain(w, key, "a key is missing before ':'");
            continue;
        }
        snprintf(where, sizeof(where), "%s%s%.40s", path, *path ? "." : "", key->text);
        if (node_key(map, key->text, key->text_len) != n) {
            complain(w, key, "%s: this key is here twice (first in line %u)", where,
                     node_key(map, key->text, key->text_len)->key->start.line);
            continue;
        }
        snprintf(below, sizeof(below), "%s%s%.40s", pattern, *pattern ? "." : "", key->text);
        const struct conf_row *row =
            strpbrk(key->text, ".[]") ? NULL : conf_row_find(below, strlen(below));

        if (row && row->type == CONF_LIST)
            walk_list(w, n, row, where, base);
        else if (row)
            walk_value(w, n, row, where, base);
        else if (strpbrk(key->text, ".[]") || !conf_group_exists(below, strlen(below)))
            unknown_key(w, key, pattern, where);
        else if (n->kind == NODE_MAP)
            walk_map(w, n, below, where, base);
        else if (!node_is_null(n))
            complain(w, n, "%s: expected keys and values, found %s", where, kind_name(n));
    }
}

/* ---- between values ---- */

/* The node of a path with indexes, or its nearest ancestor. */
static const struct node *locate(const struct node *root, const char *path)
{
    const struct node *n = root;

    for (const char *p = path; *p;) {
        const struct node *next;

        if (*p == '[') {
            next = node_item(n, (unsigned)strtoul(p + 1, NULL, 10));
            p = strchr(p, ']') + 1;
        } else {
            size_t len = strcspn(p += *p == '.', ".[");

            next = node_key(n, p, len);
            p += len;
        }
        if (!next)
            break;
        n = next;
    }
    return n;
}

static void complain_at(struct walk *w, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void complain_at(struct walk *w, const char *path, const char *fmt, ...)
{
    char message[200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    if (w->root)
        complain(w, locate(w->root, path), "%s: %s", path, message);
    else
        conf_diag_add(w->diags, &(struct mark){0, 1, 1}, 1, "%s: %s", path, message);
}

static void check_id_unique(struct walk *w, const char **ids, unsigned n, const char *path,
                            const char *id)
{
    for (unsigned i = 0; i < n; i++)
        if (id && ids[i] && !strcmp(ids[i], id))
            complain_at(w, path, "the id \"%s\" is already taken", id);
    ids[n] = id;
}

static bool same_forward(const struct conf_forward *a, const struct conf_forward *b)
{
    if (a->udp != b->udp || a->host_port != b->host_port || !a->host || !b->host)
        return false;
    return !strcmp(a->host, b->host) || !strcmp(a->host, "0.0.0.0") || !strcmp(b->host, "0.0.0.0");
}

static void check_forwards(struct walk *w, const struct vm_config *c)
{
    const struct conf_forward *seen[CONF_NETWORKS * CONF_FORWARDS];
    unsigned n = 0;

    for (unsigned i = 0; i < c->network_count; i++) {
        for (unsigned j = 0; j < c->networks[i].forward_count; j++) {
            const struct conf_forward *f = &c->networks[i].forwards[j];
            char path[48];

            snprintf(path, sizeof(path), "networks[%u].forwards[%u]", i, j);
            if (c->networks[i].mode == NET_NONE)
                complain_at(w, path, "needs mode: user");
            for (unsigned k = 0; k < n; k++) {
                if (same_forward(seen[k], f)) {
                    complain_at(w, path, "the host's port %u is already forwarded", f->host_port);
                    break;
                }
            }
            seen[n++] = f;
        }
    }
}

static void check_between(struct walk *w, const struct vm_config *c)
{
    const char *ids[CONF_DISKS + CONF_CDROMS + CONF_NETWORKS];
    unsigned n = 0, ide = 0;
    char path[32];

    for (unsigned i = 0; i < c->disk_count; i++) {
        snprintf(path, sizeof(path), "disks[%u].id", i);
        check_id_unique(w, ids, n++, path, c->disks[i].id);
        snprintf(path, sizeof(path), "disks[%u].bus", i);
        if (c->disks[i].bus == DISK_IDE && ++ide > IDE_UNITS)
            complain_at(w, path, "the IDE controller has %d units (use bus: virtio)", IDE_UNITS);
    }
    for (unsigned i = 0; i < c->cdrom_count; i++) {
        snprintf(path, sizeof(path), "cdroms[%u].id", i);
        check_id_unique(w, ids, n++, path, c->cdroms[i].id);
        if (++ide > IDE_UNITS)
            complain_at(w, path, "the IDE controller has %d units, IDE disks included", IDE_UNITS);
    }
    for (unsigned i = 0; i < c->network_count; i++) {
        snprintf(path, sizeof(path), "networks[%u].id", i);
        check_id_unique(w, ids, n++, path, c->networks[i].id);
    }
    check_forwards(w, c);
    if (!c->kernel && c->initrd)
        complain_at(w, "boot.initrd", "needs boot.kernel");
    if (!c->kernel && c->append)
        complain_at(w, "boot.append", "needs boot.kernel");
    if (!c->kernel && c->module_count)
        complain_at(w, "boot.modules", "needs boot.kernel");
    if (c->initrd && c->module_count)
        complain_at(w, "boot.modules",
                    "excludes boot.initrd (multiboot kernels take modules only)");
    for (unsigned i = 0; i < ARRAY_LEN(c->serial); i++) {
        snprintf(path, sizeof(path), "serial[%u].mode", i);
        if (c->serial[i].mode == SERIAL_FILE && !c->serial[i].path)
            complain_at(w, path, "mode file needs 'path'");
    }
    if (c->cpu_verify && c->cpus > 1)
        complain_at(w, "cpu.verify", "compares one vCPU (set cpus: 1)");
    if (c->cpu_verify && c->accel == ACCEL_KVM)
        complain_at(w, "cpu.verify", "needs accel: software");
    if (c->serial[0].mode == SERIAL_STDIO && c->serial[1].mode == SERIAL_STDIO)
        complain_at(w, "serial[1].mode", "only one port can have the terminal");
}

bool config_validate(const struct vm_config *c, struct err *e)
{
    struct conf_diags diags = {0};
    struct walk w = {.diags = &diags};

    check_between(&w, c);
    bool ok = !diags.count || err_set(e, ERR_INVALID, "%s", diags.list[0].message);
    conf_diags_free(&diags);
    return ok;
}

/* ---- entry points ---- */

/* A file of a later version may mean anything: it gets this one message. */
static bool version_ok(struct walk *w, const struct node *root)
{
    const struct node *n = root->kind == NODE_MAP ? node_key(root, "version", 7) : NULL;

    if (root->kind != NODE_MAP) {
        complain(w, root, "expected keys and values such as 'memory: 1GiB', found %s",
                 kind_name(root));
        return false;
    }
    if (!n) {
        conf_diag_add(w->diags, &(struct mark){0, 1, 1}, 1,
                      "version: this key is missing (begin the file with 'version: %u')",
                      SCHEMA_VERSION);
        return true;
    }
    if (n->kind == NODE_SCALAR && n->plain && n->text_len && n->text_len < 10 &&
        !n->text[strspn(n->text, "0123456789")] && strtoul(n->text, NULL, 10) > SCHEMA_VERSION) {
        complain(w, n, "version: %s is newer than this vmdeck knows (%u); a newer vmdeck is needed",
                 n->text, SCHEMA_VERSION);
        return false;
    }
    return true;
}

static int by_position(const void *a, const void *b)
{
    const struct conf_diag *x = a, *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column;
}

static bool summary(const struct conf_diags *d, struct err *e)
{
    const struct conf_diag *first = &d->list[0];

    if (d->count == 1)
        return err_set(e, ERR_INVALID, "line %u: %s", first->line, first->message);
    return err_set(e, ERR_INVALID, "%u mistakes; the first in line %u: %s", d->count, first->line,
                   first->message);
}

bool config_parse(const char *text, size_t len, const char *default_name, struct vm_config *c,
                  struct conf_diags *diags, struct err *e)
{
    struct walk w = {.diags = diags};
    bool empty;
    struct node *root = node_parse(text, len, diags, &empty);

    config_init(c);
    if (empty)
        conf_diag_add(diags, &(struct mark){0, 1, 1}, 1,
                      "version: this key is missing (begin the file with 'version: %u')",
                      SCHEMA_VERSION);
    if (root && version_ok(&w, root)) {
        w.root = root;
        walk_map(&w, root, "", "", c);
        if (!diags->count)
            check_between(&w, c);
    }
    node_free(root);
    if (!diags->count) {
        if (!c->name && default_name)
            c->name = x_strdup(default_name);
        return true;
    }
    qsort(diags->list, diags->count, sizeof(*diags->list), by_position);
    config_fini(c);
    config_init(c);
    return summary(diags, e);
}

bool config_load(const char *dir, const char *default_name, struct vm_config *c, struct err *e)
{
    struct conf_diags diags = {0};
    char *path = x_asprintf("%s/vm.yaml", dir);
    size_t len;
    char *text = fd_read_file(AT_FDCWD, path, CONF_MAX_BYTES, &len, e);
    bool ok = text && config_parse(text, len, default_name, c, &diags, e);

    if (!text)
        config_init(c);
    else if (!ok)
        err_wrap(e, "%s", path);
    conf_diags_free(&diags);
    x_free(text);
    x_free(path);
    return ok;
}

char *config_path(const char *dir, const char *path)
{
    const char *home = getenv("HOME");

    if (path[0] == '/')
        return x_strdup(path);
    if (!strncmp(path, "~/", 2) && home)
        return x_asprintf("%s/%s", home, path + 2);
    return x_asprintf("%s/%s", dir, path);
}
