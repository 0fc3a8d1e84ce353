/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The schema table and the typed values it describes: defaults, access by path, release. */
#include "vmm/conf/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

#define MEMBER_SIZE(s, m) sizeof(((struct s *)0)->m)

const struct conf_row conf_rows[] = {
#define FIELD(p, t, s, m, lo, hi, d, c, f, chk, h)                                                 \
    {.path = p,                                                                                    \
     .type = CONF_##t,                                                                             \
     .offset = offsetof(struct s, m),                                                              \
     .size = MEMBER_SIZE(s, m),                                                                    \
     .min = lo,                                                                                    \
     .max = hi,                                                                                    \
     .def = d,                                                                                     \
     .choices = c,                                                                                 \
     .flags = f,                                                                                   \
     .check = chk,                                                                                 \
     .help = h},
#define LIST(p, s, m, n, max_entries, def_entries, h)                                              \
    {.path = p,                                                                                    \
     .type = CONF_LIST,                                                                            \
     .offset = offsetof(struct s, m),                                                              \
     .size = MEMBER_SIZE(s, m[0]),                                                                 \
     .def = "",                                                                                    \
     .help = h,                                                                                    \
     .count_offset = offsetof(struct s, n),                                                        \
     .entries = max_entries,                                                                       \
     .default_entries = def_entries},
#define FIXED(p, s, m, max_entries, h)                                                             \
    {.path = p,                                                                                    \
     .type = CONF_LIST,                                                                            \
     .offset = offsetof(struct s, m),                                                              \
     .size = MEMBER_SIZE(s, m[0]),                                                                 \
     .def = "",                                                                                    \
     .help = h,                                                                                    \
     .count_offset = NO_COUNT,                                                                     \
     .entries = max_entries,                                                                       \
     .default_entries = max_entries},
#include "vmm/conf/schema.def"
#undef FIELD
#undef LIST
#undef FIXED
};
const unsigned conf_row_count = ARRAY_LEN(conf_rows);

const struct conf_row *conf_row_find(const char *pattern, size_t len)
{
    for (unsigned i = 0; i < conf_row_count; i++)
        if (strlen(conf_rows[i].path) == len && !memcmp(conf_rows[i].path, pattern, len))
            return &conf_rows[i];
    return NULL;
}

static bool below(const char *path, const char *pattern, size_t len)
{
    return !strncmp(path, pattern, len) && (len == 0 || path[len] == '.');
}

bool conf_group_exists(const char *pattern, size_t len)
{
    for (unsigned i = 0; i < conf_row_count; i++)
        if (below(conf_rows[i].path, pattern, len))
            return true;
    return false;
}

unsigned conf_row_order(const char *pattern, size_t len)
{
    for (unsigned i = 0; i < conf_row_count; i++) {
        const char *p = conf_rows[i].path;

        if (!strncmp(p, pattern, len) && (p[len] == '\0' || p[len] == '.' || p[len] == '['))
            return i;
    }
    return conf_row_count;
}

bool conf_group_key(const char *pattern, unsigned n, const char **key, size_t *len)
{
    size_t plen = strlen(pattern);
    const char *previous = NULL;
    size_t previous_len = 0;

    for (unsigned i = 0; i < conf_row_count; i++) {
        const char *p = conf_rows[i].path;

        if (!below(p, pattern, plen))
            continue;
        const char *k = p + plen + (plen ? 1 : 0);
        size_t klen = strcspn(k, ".[");

        if (previous && klen == previous_len && !memcmp(k, previous, klen))
            continue;
        if (n-- == 0) {
            *key = k;
            *len = klen;
            return true;
        }
        previous = k;
        previous_len = klen;
    }
    return false;
}

/* ---- lists ---- */

unsigned conf_list_count(const struct conf_row *list, const void *base)
{
    if (list->count_offset == NO_COUNT)
        return list->entries;
    return *(const unsigned *)((const char *)base + list->count_offset);
}

void conf_list_set_count(const struct conf_row *list, void *base, unsigned n)
{
    if (list->count_offset != NO_COUNT)
        *(unsigned *)((char *)base + list->count_offset) = n;
}

void *conf_list_element(const struct conf_row *list, const void *base, unsigned i)
{
    return (char *)base + list->offset + i * list->size;
}

/* Whether a row is a member of the list's elements themselves, not of a list below them. */
static bool row_of_element(const struct conf_row *row, const struct conf_row *list)
{
    size_t len = strlen(list->path);

    if (strncmp(row->path, list->path, len) || strncmp(row->path + len, "[]", 2))
        return false;
    const char *rest = row->path + len + 2;
    return !strchr(rest, '[') && (*rest == '.' || *rest == '\0');
}

void conf_element_init(const struct conf_row *list, void *element, unsigned index)
{
    for (unsigned i = 0; i < conf_row_count; i++) {
        const struct conf_row *row = &conf_rows[i];
        struct err e;
        char text[64];
        const char *mark = strchr(row->def, '#');

        if (!row_of_element(row, list) || row->type == CONF_LIST || !row->def[0])
            continue;
        if (mark)
            snprintf(text, sizeof(text), "%.*s%u", (int)(mark - row->def), row->def, index);
        else
            str_copy(text, sizeof(text), row->def);
        conf_value_parse(row, text, true, element, &e);
    }
}

static void list_fini(const struct conf_row *list, void *base)
{
    for (unsigned n = 0; n < conf_list_count(list, base); n++)
        conf_element_fini(list, conf_list_element(list, base, n));
    conf_list_set_count(list, base, 0);
}

void conf_element_fini(const struct conf_row *list, void *element)
{
    for (unsigned i = 0; i < conf_row_count; i++) {
        if (!row_of_element(&conf_rows[i], list))
            continue;
        if (conf_rows[i].type == CONF_LIST)
            list_fini(&conf_rows[i], element);
        else
            conf_value_free(&conf_rows[i], element);
    }
    memset(element, 0, list->size);
}

/* ---- the whole config ---- */

void config_init(struct vm_config *c)
{
    struct err e;

    memset(c, 0, sizeof(*c));
    for (unsigned i = 0; i < conf_row_count; i++) {
        const struct conf_row *row = &conf_rows[i];

        if (strchr(row->path, '['))
            continue;
        if (row->type == CONF_LIST) {
            for (unsigned n = 0; n < row->default_entries; n++)
                conf_element_init(row, conf_list_element(row, c, n), n);
            conf_list_set_count(row, c, row->default_entries);
        } else if (row->def[0]) {
            conf_value_parse(row, row->def, true, c, &e);
        }
    }
    c->serial[1].mode = SERIAL_NONE;
}

void config_fini(struct vm_config *c)
{
    for (unsigned i = 0; i < conf_row_count; i++) {
        const struct conf_row *row = &conf_rows[i];

        if (strchr(row->path, '['))
            continue;
        if (row->type == CONF_LIST)
            list_fini(row, c);
        else
            conf_value_free(row, c);
    }
    memset(c, 0, sizeof(*c));
}

void config_no_networks(struct vm_config *c)
{
    static const char path[] = "networks";

    list_fini(conf_row_find(path, sizeof(path) - 1), c);
}

/* ---- access by path ---- */

bool conf_path_pattern(const char *path, struct buf *pattern)
{
    for (const char *p = path; *p; p++) {
        if (*p == '[') {
            size_t digits = strspn(p + 1, "0123456789");

            if (digits == 0 || digits > 3 || p[1 + digits] != ']')
                return false;
            buf_puts(pattern, "[]");
            p += digits + 1;
        } else {
            buf_add(pattern, p, 1);
        }
    }
    return pattern->len > 0;
}

static bool no_such_key(const char *path, struct err *e)
{
    return err_set(e, ERR_NOENT, "no such key: \"%s\"", path);
}

bool conf_resolve(struct vm_config *c, const char *path, bool grow, struct conf_slot *out,
                  struct err *e)
{
    struct buf pattern = BUF_INIT;
    void *base = c;
    bool ok = true;

    for (const char *p = path; ok && *p;) {
        size_t step = strcspn(p, "[");

        buf_add(&pattern, p, step);
        p += step;
        if (*p != '[')
            break;
        const struct conf_row *list = conf_row_find(buf_str(&pattern), pattern.len);
        char *end;
        unsigned long index = strtoul(p + 1, &end, 10);

        if (!list || list->type != CONF_LIST || end == p + 1 || *end != ']' ||
            index >= list->entries) {
            ok = no_such_key(path, e);
            break;
        }
        unsigned count = conf_list_count(list, base);
        if (index > count || (index == count && !grow)) {
            ok = err_set(e, ERR_NOENT, "%s: the list has %u entries", path, count);
            break;
        }
        void *element = conf_list_element(list, base, (unsigned)index);
        if (index == count) {
            conf_element_init(list, element, (unsigned)index);
            conf_list_set_count(list, base, count + 1);
        }
        base = element;
        buf_puts(&pattern, "[]");
        p = end + 1;
    }
    if (ok) {
        out->row = conf_row_find(buf_str(&pattern), pattern.len);
        out->base = base;
        if (!out->row)
            ok = no_such_key(path, e);
    }
    buf_free(&pattern);
    return ok;
}

/* Lists of scalars read and write as words with commas. */
static const struct conf_row *scalar_element(const struct conf_row *list)
{
    char pattern[64];

    snprintf(pattern, sizeof(pattern), "%s[]", list->path);
    return conf_row_find(pattern, strlen(pattern));
}

static void list_get(const struct conf_row *list, const void *base, struct buf *out)
{
    const struct conf_row *row = scalar_element(list);
    unsigned count = conf_list_count(list, base);

    if (!row) {
        buf_printf(out, "%u", count);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (i)
            buf_puts(out, ", ");
        conf_value_format(row, conf_list_element(list, base, i), out);
    }
}

static bool list_set(const struct conf_row *list, void *base, const char *value, struct err *e)
{
    const struct conf_row *row = scalar_element(list);
    unsigned n = 0;

    if (!row)
        return err_set(e, ERR_INVALID, "%s: a list of entries, not one value", list->path);
    list_fini(list, base);
    for (const char *p = value; *p;) {
        size_t skip = strspn(p, ", "), len = strcspn(p + skip, ",");

        p += skip;
        while (len && p[len - 1] == ' ')
            len--;
        if (!len)
            break;
        if (n == list->entries)
            return err_set(e, ERR_INVALID, "%s: at most %u entries", list->path, list->entries);
        char *word = x_strndup(p, len);
        void *element = conf_list_element(list, base, n);

        conf_element_init(list, element, n);
        bool ok = conf_value_parse(row, word, true, element, e);
        x_free(word);
        conf_list_set_count(list, base, ++n);
        if (!ok)
            return err_wrap(e, "%s", list->path);
        p += len;
    }
    return true;
}

bool config_get(const struct vm_config *c, const char *path, struct buf *out)
{
    struct conf_slot slot;
    struct err e;

    /* conf_resolve writes only when asked to grow */
    if (!conf_resolve((struct vm_config *)c, path, false, &slot, &e))
        return false;
    if (slot.row->type == CONF_LIST)
        list_get(slot.row, slot.base, out);
    else
        conf_value_format(slot.row, slot.base, out);
    return true;
}

bool config_set(struct vm_config *c, const char *path, const char *value, struct err *e)
{
    struct conf_slot slot;

    if (!conf_resolve(c, path, true, &slot, e))
        return false;
    if (slot.row->type == CONF_LIST)
        return list_set(slot.row, slot.base, value, e);
    if (!value[0] && !slot.row->def[0] && !(slot.row->flags & CONF_REQUIRED)) {
        conf_value_free(slot.row, slot.base);
        return true;
    }
    if (!conf_value_parse(slot.row, value[0] ? value : slot.row->def, true, slot.base, e))
        return err_wrap(e, "%s", path);
    return true;
}

bool config_check(const char *path, const char *value, struct err *e)
{
    struct vm_config scratch;
    struct buf pattern = BUF_INIT;
    const struct conf_row *row = NULL;
    bool ok;

    if (strstr(path, "[]"))
        row = conf_row_find(path, strlen(path));
    else if (conf_path_pattern(path, &pattern))
        row = conf_row_find(buf_str(&pattern), pattern.len);
    buf_free(&pattern);
    if (!row)
        return no_such_key(path, e);
    if (row->type != CONF_LIST) {
        if (!value[0])
            return row->flags & CONF_REQUIRED ? err_set(e, ERR_INVALID, "must not be empty") : true;
        return conf_value_parse(row, value, true, NULL, e);
    }
    /* a scratch container large enough for any list's owner */
    memset(&scratch, 0, sizeof(scratch));
    ok = list_set(row, &scratch, value, e);
    list_fini(row, &scratch);
    return ok;
}

const struct conf_key *conf_keys(unsigned *count)
{
    static struct conf_key keys[ARRAY_LEN(conf_rows)];

    for (unsigned i = 0; i < conf_row_count; i++) {
        const struct conf_row *row = &conf_rows[i];

        keys[i] = (struct conf_key){.path = row->path,
                                    .type = conf_type_name(row->type),
                                    .def = row->def,
                                    .choices = row->choices,
                                    .help = row->help,
                                    .min = row->min,
                                    .max = row->max,
                                    .required = row->flags & CONF_REQUIRED};
    }
    *count = conf_row_count;
    return keys;
}
