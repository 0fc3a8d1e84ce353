/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Edits of one value in the text of a vm.yaml: finds the bytes to change and changes only them, so
 * that comments, order and layout of everything else stay as their author left them. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/conf/schema.h"

struct edit {
    const char *text;
    size_t len;
    const char *nl; /* line ending of the file */
    struct buf *out;
    struct err *e;
};

/* The value to write at a path. */
struct target {
    const struct conf_row *row;
    const char *value; /* NULL: null */
};

static void splice(struct edit *ed, size_t from, size_t to, const char *s)
{
    buf_clear(ed->out);
    buf_add(ed->out, ed->text, from);
    buf_puts(ed->out, s);
    buf_add(ed->out, ed->text + to, ed->len - to);
}

static size_t line_start(const struct edit *ed, size_t at)
{
    while (at > 0 && ed->text[at - 1] != '\n')
        at--;
    return at;
}

/* After the line's end, or the end of the text. */
static size_t line_end(const struct edit *ed, size_t at)
{
    while (at < ed->len && ed->text[at] != '\n')
        at++;
    return at < ed->len ? at + 1 : at;
}

/* ---- rendering ---- */

static void render_value(const struct target *t, bool flow, bool force_quotes, struct buf *out)
{
    if (!t->value) {
        buf_puts(out, "null");
        return;
    }
    if (t->row->type != CONF_LIST) {
        conf_scalar(t->row, t->value, flow, force_quotes, out);
        return;
    }
    buf_puts(out, "[");
    for (const char *p = t->value + strspn(t->value, ", "); *p;) {
        size_t len = strcspn(p, ","), trimmed = len;

        while (trimmed && p[trimmed - 1] == ' ')
            trimmed--;
        char *word = x_strndup(p, trimmed);
        conf_quote(word, true, true, out);
        x_free(word);
        p += len + strspn(p + len, ", ");
        buf_puts(out, *p ? ", " : "");
    }
    buf_puts(out, "]");
}

/* The rest of a path as text below an existing node: "vnc.port", "[0].path" or nothing. indent:
 * column of the key that comes first. */
static void render_path(const struct edit *ed, const char *rest, const struct target *t, bool flow,
                        int indent, struct buf *out)
{
    if (!*rest) {
        render_value(t, flow, false, out);
    } else if (*rest == '[') {
        const char *after = strchr(rest, ']') + 1;

        buf_puts(out, flow ? "[" : "- ");
        if (*after && flow)
            buf_puts(out, "{");
        render_path(ed, after + (*after == '.'), t, flow, indent + 2, out);
        if (flow)
            buf_puts(out, *after ? "}]" : "]");
    } else {
        size_t len = strcspn(rest, ".[");
        const char *after = rest + len + (rest[len] == '.');
        bool last = !rest[len], map = rest[len] == '.';

        buf_add(out, rest, len);
        buf_puts(out, ":");
        if (last || flow)
            buf_puts(out, " ");
        else
            buf_printf(out, "%s%*s", ed->nl, indent + 2, "");
        if (map && flow)
            buf_puts(out, "{");
        render_path(ed, after, t, flow, indent + 2, out);
        if (map && flow)
            buf_puts(out, "}");
    }
}

/* ---- places ---- */

static bool replace_scalar(struct edit *ed, const struct node *n, const struct target *t, bool flow)
{
    struct buf b = BUF_INIT;
    size_t from = n->start.offset;
    bool quoted = n->kind == NODE_SCALAR && n->style != 'p';

    if (from == n->end.offset) {
        /* "key:" with nothing after it */
        char before = from ? ed->text[from - 1] : ' ';
        buf_puts(&b, before == ':' || before == '-' ? " " : before == ' ' ? "" : ": ");
    }
    if (n->style == '|' && t->value && conf_literal_ok(t->value)) {
        conf_literal(t->value, (int)(n->key ? n->key->start.column + 1 : 2), &b);
        b.data[--b.len] = '\0'; /* the old final newline stays */
    } else if (n->style == '\'' && t->value && !strpbrk(t->value, "'\n") &&
               t->row->type != CONF_LIST && t->row->type != CONF_CLASSES) {
        buf_printf(&b, "'%s'", t->value);
    } else {
        render_value(t, flow, quoted, &b);
    }
    splice(ed, from, n->end.offset, buf_str(&b));
    buf_free(&b);
    return true;
}

/* A whole list as one value. A block becomes a flow list behind its key. */
static bool replace_list(struct edit *ed, const struct node *n, const struct target *t)
{
    struct buf b = BUF_INIT;

    if (n->flow || !n->key) {
        render_value(t, true, false, &b);
        splice(ed, n->start.offset, n->end.offset, buf_str(&b));
    } else {
        size_t colon = n->key->end.offset;
        size_t rest = line_end(ed, colon), last = line_end(ed, n->end.offset);

        while (colon < ed->len && ed->text[colon] != ':')
            colon++;
        buf_puts(&b, ": ");
        render_value(t, true, false, &b);
        buf_add(&b, ed->text + colon + 1, rest - colon - 1); /* a comment behind the key */
        splice(ed, colon, last, buf_str(&b));
    }
    buf_free(&b);
    return true;
}

/* The child after which a key of this order belongs; NULL: before all. */
static const struct node *predecessor(const struct node *map, const char *pattern, unsigned order)
{
    const struct node *best = NULL;

    for (const struct node *n = map->first; n; n = n->next) {
        char path[128];

        snprintf(path, sizeof(path), "%s%s%.60s", pattern, *pattern ? "." : "", n->key->text);
        unsigned o = conf_row_order(path, strlen(path));
        if (o < order || (o == conf_row_count && best))
            best = n;
    }
    return best;
}

static void insert_line(struct edit *ed, size_t after, int indent, const char *body)
{
    struct buf b = BUF_INIT;
    size_t at = line_end(ed, after);

    if (at > 0 && ed->text[at - 1] != '\n')
        buf_puts(&b, ed->nl);
    buf_printf(&b, "%*s%s%s", indent, "", body, ed->nl);
    splice(ed, at, at, buf_str(&b));
    buf_free(&b);
}

static bool insert_key(struct edit *ed, const struct node *map, const char *pattern,
                       const char *rest, const struct target *t)
{
    struct buf body = BUF_INIT, b = BUF_INIT;
    char path[128];
    int indent = map->first ? (int)map->first->key->start.column - 1 : 0;

    snprintf(path, sizeof(path), "%s%s%.*s", pattern, *pattern ? "." : "", (int)strcspn(rest, ".["),
             rest);
    const struct node *prev = predecessor(map, pattern, conf_row_order(path, strlen(path)));

    render_path(ed, rest, t, map->flow, indent, &body);
    if (map->flow && prev) {
        buf_printf(&b, ", %s", buf_str(&body));
        splice(ed, prev->end.offset, prev->end.offset, buf_str(&b));
    } else if (map->flow) {
        size_t at = map->first ? map->first->key->start.offset : map->start.offset + 1;

        buf_printf(&b, "%s%s", buf_str(&body), map->first ? ", " : "");
        splice(ed, at, at, buf_str(&b));
    } else if (prev) {
        insert_line(ed, prev->end.offset, indent, buf_str(&body));
    } else {
        assert(map->first); /* empty ones are {} */
        size_t at = map->first->key->start.offset;

        buf_printf(&b, "%s%s%*s", buf_str(&body), ed->nl, indent, "");
        splice(ed, at, at, buf_str(&b));
    }
    buf_free(&b);
    buf_free(&body);
    return true;
}

static bool append_entry(struct edit *ed, const struct node *list, const char *rest,
                         const struct target *t)
{
    struct buf body = BUF_INIT, b = BUF_INIT;
    const char *after = strchr(rest, ']') + 1;
    unsigned long index = strtoul(rest + 1, NULL, 10);
    int indent = (int)list->start.column - 1;

    if (index != list->count)
        return err_set(ed->e, ERR_NOENT, "no entry [%lu]: the list has %u", index, list->count);
    after += *after == '.';
    if (list->flow) {
        size_t at = list->last ? list->last->end.offset : list->start.offset + 1;

        buf_puts(&b, list->last ? ", " : "");
        buf_puts(&b, *after ? "{" : "");
        render_path(ed, after, t, true, 0, &b);
        buf_puts(&b, *after ? "}" : "");
        splice(ed, at, at, buf_str(&b));
    } else {
        buf_puts(&body, "- ");
        render_path(ed, after, t, false, indent + 2, &body);
        insert_line(ed, list->end.offset, indent, buf_str(&body));
    }
    buf_free(&b);
    buf_free(&body);
    return true;
}

static bool remove_entry(struct edit *ed, const struct node *list, const struct node *item)
{
    static const struct conf_row none = {.type = CONF_LIST};
    const struct node *prev = NULL;

    assert(list && item);
    if (list->count == 1)
        return replace_list(ed, list, &(struct target){&none, ""});
    for (const struct node *n = list->first; n != item; n = n->next)
        prev = n;
    if (!list->flow)
        splice(ed, line_start(ed, item->start.offset), line_end(ed, item->end.offset), "");
    else if (item->next)
        splice(ed, item->start.offset, item->next->start.offset, "");
    else if (prev)
        splice(ed, prev->end.offset, item->end.offset, "");
    return true;
}

/* ---- the edit ---- */

static bool in_flow(const struct node *const *trail, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (trail[i]->kind != NODE_SCALAR && trail[i]->flow)
            return true;
    return false;
}

static bool apply(struct edit *ed, const struct node *root, const char *path,
                  const struct target *t)
{
    const struct node *trail[CONF_MAX_DEPTH + 1] = {root}, *n = root;
    unsigned depth = 1;
    struct buf pattern = BUF_INIT;
    const char *rest = path;
    bool ok;

    while (*rest && depth <= CONF_MAX_DEPTH) {
        const struct node *next;
        size_t len;

        if (*rest == '[') {
            next = node_item(n, (unsigned)strtoul(rest + 1, NULL, 10));
            len = strcspn(rest, "]") + 1;
        } else {
            len = strcspn(rest, ".[");
            next = node_key(n, rest, len);
        }
        if (!next)
            break;
        if (*rest == '[')
            buf_puts(&pattern, "[]");
        else
            buf_printf(&pattern, "%s%.*s", pattern.len ? "." : "", (int)len, rest);
        rest += len;
        rest += *rest == '.';
        trail[depth++] = n = next;
    }
    if (*rest && !t->value) {
        splice(ed, 0, 0, ""); /* absent already */
        ok = true;
    } else if (*rest && node_is_null(n)) {
        struct buf b = BUF_INIT;

        buf_puts(&b, n->start.offset == n->end.offset ? " " : "");
        buf_puts(&b, *rest == '[' ? "" : "{");
        render_path(ed, rest, t, true, 0, &b);
        buf_puts(&b, *rest == '[' ? "" : "}");
        splice(ed, n->start.offset, n->end.offset, buf_str(&b));
        buf_free(&b);
        ok = true;
    } else if (*rest && n->kind == NODE_LIST && *rest == '[') {
        ok = append_entry(ed, n, rest, t);
    } else if (*rest && n->kind == NODE_MAP && *rest != '[') {
        ok = insert_key(ed, n, buf_str(&pattern), rest, t);
    } else if (*rest) {
        ok = err_set(ed->e, ERR_INVALID, "%s: the file has another kind of value there", path);
    } else if (!t->value && path[strlen(path) - 1] == ']') {
        ok = remove_entry(ed, trail[depth - 2], n);
    } else if (n->kind == NODE_SCALAR) {
        ok = replace_scalar(ed, n, t, in_flow(trail, depth));
    } else if (n->kind == NODE_LIST) {
        ok = replace_list(ed, n, t);
    } else {
        ok = err_set(ed->e, ERR_INVALID, "%s: more than one value", path);
    }
    buf_free(&pattern);
    return ok;
}

/* A list that the file leaves out may have a default entry: it must stand there before others can, or before it can
 * go. Its key to be written, as a row; NULL when there is nothing of the kind. */
static const struct conf_row *missing_default(const struct node *root, const char *path, const char *value)
{
    size_t len = strcspn(path, "[");
    const struct conf_row *list = path[len] ? conf_row_find(path, len) : NULL;
    const struct node *n = node_key(root, path, len);
    bool first = !strncmp(path + len, "[0]", 3);

    if (!list || !list->default_entries || (n && !node_is_null(n)))
        return NULL;
    if (value ? first : strcmp(path + len, "[0]") || list->count_offset == NO_COUNT)
        return NULL;
    for (unsigned i = 0; i < conf_row_count; i++) {
        const struct conf_row *row = &conf_rows[i];
        if (!strncmp(row->path, path, len + 1) && (row->flags & CONF_ALWAYS) && !strchr(row->def, '#'))
            return row;
    }
    return NULL;
}

/* Writes the default entry, then edits. */
static bool edit_with_default(const char *text, size_t len, const struct conf_row *row, const char *path,
                              const char *value, struct buf *out, struct conf_diags *diags, struct err *e)
{
    struct buf both = BUF_INIT;
    char first[64];

    snprintf(first, sizeof(first), "%.*s[0].%s", (int)strcspn(path, "["), path, strchr(row->path, '.') + 1);
    bool ok = config_edit(text, len, first, row->def, &both, diags, e) &&
              config_edit(buf_str(&both), both.len, path, value, out, diags, e);
    buf_free(&both);
    return ok;
}

bool config_edit(const char *text, size_t len, const char *path, const char *value, struct buf *out,
                 struct conf_diags *diags, struct err *e)
{
    struct edit ed = {.text = text, .len = len, .nl = "\n", .out = out, .e = e};
    struct target t = {.value = value && value[0] ? value : NULL};
    struct buf pattern = BUF_INIT;
    const char *newline = memchr(text, '\n', len);
    bool empty, ok;

    if (newline && newline > text && newline[-1] == '\r')
        ed.nl = "\r\n";
    if (conf_path_pattern(path, &pattern))
        t.row = conf_row_find(buf_str(&pattern), pattern.len);
    /* an entry of maps has no row of its own; it can only be removed */
    bool entry =
        !t.row && !t.value && pattern.len > 2 && conf_group_exists(buf_str(&pattern), pattern.len);
    buf_free(&pattern);
    if (!t.row && !entry)
        return err_set(e, ERR_NOENT, "no such key: \"%s\"", path);
    if (t.value && !config_check(path, value, e))
        return err_wrap(e, "%s", path);
    struct node *root = node_parse(text, len, diags, &empty);

    if (!root)
        return err_set(e, ERR_INVALID, "%s",
                       diags->count ? diags->list[0].message : "the file is empty");
    const struct conf_row *first = missing_default(root, path, t.value);
    if (first) {
        node_free(root);
        return edit_with_default(text, len, first, path, value, out, diags, e);
    }
    ok = apply(&ed, root, path, &t);
    node_free(root);
    if (ok) {
        struct vm_config c;

        ok = config_parse(buf_str(out), out->len, NULL, &c, diags, e);
        config_fini(&c);
    }
    if (!ok)
        buf_clear(out);
    return ok;
}
