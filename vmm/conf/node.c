/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One YAML document as a tree of positions, made from libyaml's events.
 *
 * Only the event interface is used: building libyaml's own document takes quadratic time on nested
 * input. Size, depth and number of events are capped, and anchors, aliases and tags are refused, so
 * that a small file cannot grow. This is the only file that knows libyaml. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "vmm/base/alloc.h"
#include "vmm/conf/schema.h"

struct builder {
    yaml_parser_t parser;
    const char *text;
    size_t len;
    size_t byte, chr; /* where byte offset and character index are known to agree */
    struct node *stack[CONF_MAX_DEPTH];
    unsigned depth;
    struct node *root, *key;
    struct conf_diags *diags;
    unsigned events;
    bool failed;
};

void conf_diag_add(struct conf_diags *d, const struct mark *at, unsigned width, const char *fmt,
                   ...)
{
    va_list ap;

    if (d->count == CONF_MAX_DIAGS)
        return;
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 8;
        d->list = x_realloc(d->list, d->cap * sizeof(*d->list));
    }
    struct conf_diag *g = &d->list[d->count++];
    g->line = at->line;
    g->column = at->column;
    g->width = width ? width : 1;
    va_start(ap, fmt);
    vsnprintf(g->message, sizeof(g->message), fmt, ap);
    va_end(ap);
}

static bool continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* libyaml counts characters, splicing needs bytes. Marks come nearly in order, so walk from the
 * last. */
static size_t byte_at(struct builder *b, size_t chr)
{
    while (b->chr < chr && b->byte < b->len) {
        b->byte++;
        while (b->byte < b->len && continuation(b->text[b->byte]))
            b->byte++;
        b->chr++;
    }
    while (b->chr > chr && b->byte > 0) {
        b->byte--;
        while (b->byte > 0 && continuation(b->text[b->byte]))
            b->byte--;
        b->chr--;
    }
    return b->byte;
}

static struct mark mark_of(struct builder *b, const yaml_mark_t *m)
{
    return (struct mark){byte_at(b, m->index), (unsigned)m->line + 1, (unsigned)m->column + 1};
}

static void fail(struct builder *b, const yaml_mark_t *at, unsigned width, const char *message)
{
    struct mark m = mark_of(b, at);

    if (!b->failed)
        conf_diag_add(b->diags, &m, width, "%s", message);
    b->failed = true;
}

/* What libyaml's complaints usually mean; NULL: nothing better to say. */
static const char *explain(const yaml_parser_t *p)
{
    static const struct {
        const char *theirs, *ours;
    } table[] = {
        {"mapping values are not allowed", "a ':' is not expected here (put text that contains ': "
                                           "' in quotes, or check the indentation)"},
        {"while scanning an alias",
         "'*' begins an alias, which is not supported (put the text in quotes)"},
        {"while scanning an anchor",
         "'&' begins an anchor, which is not supported (put the text in quotes)"},
        {"cannot start any token", "this character cannot begin a value (put the text in quotes)"},
        {"could not find expected ':'", "a ':' is missing after the key"},
        {"did not find expected key", "a key is expected here (check the indentation)"},
        {"did not find expected '-' indicator", "'- ' is expected here (check the indentation)"},
        {"did not find expected ',' or ']'", "a ',' or the closing ']' is missing"},
        {"did not find expected ',' or '}'", "a ',' or the closing '}' is missing"},
        {"did not find expected node content", "a value, or the closing bracket, is missing"},
    };

    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if ((p->problem && strstr(p->problem, table[i].theirs)) ||
            (p->context && strstr(p->context, table[i].theirs)))
            return table[i].ours;
    return NULL;
}

/* libyaml's own complaint, in words of this file's user. */
static void fail_syntax(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    const char *problem = p->problem ? p->problem : "out of memory";
    char message[200];

    if (p->error == YAML_READER_ERROR) {
        size_t at = p->problem_offset < b->len ? p->problem_offset : b->len;
        struct mark m = {at, 1, 1};

        for (size_t i = 0; i < at; i++) {
            m.column = b->text[i] == '\n' ? 1 : m.column + !continuation(b->text[i]);
            m.line += b->text[i] == '\n';
        }
        conf_diag_add(b->diags, &m, 1, "not text: %s", problem);
        b->failed = true;
        return;
    }
    size_t at = byte_at(b, p->problem_mark.index);
    const char *plain =
        at < b->len && b->text[at] == '\t' ? "tabs cannot indent YAML (use spaces)" : explain(p);
    if (plain)
        str_copy(message, sizeof(message), plain);
    else if (!strcmp(problem, "found unexpected end of stream"))
        snprintf(message, sizeof(message), "the quote that opens in line %zu is not closed",
                 p->context_mark.line + 1);
    else if (p->context)
        snprintf(message, sizeof(message), "not valid YAML: %s (%s that starts in line %zu)",
                 problem, p->context, p->context_mark.line + 1);
    else
        snprintf(message, sizeof(message), "not valid YAML: %s", problem);
    fail(b, &p->problem_mark, 1, message);
}

static struct node *node_new(struct builder *b, enum node_kind kind, const yaml_event_t *ev)
{
    struct node *n = X_NEW(struct node);

    n->kind = kind;
    n->start = mark_of(b, &ev->start_mark);
    n->end = mark_of(b, &ev->end_mark);
    return n;
}

static void attach(struct builder *b, struct node *n)
{
    struct node *parent = b->depth ? b->stack[b->depth - 1] : NULL;

    if (!parent) {
        b->root = n;
        return;
    }
    if (parent->kind == NODE_MAP && !b->key) {
        b->key = n;
        return;
    }
    n->key = b->key;
    b->key = NULL;
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
    parent->count++;
}

static void push(struct builder *b, struct node *n, const yaml_event_t *ev)
{
    if (b->depth == CONF_MAX_DEPTH) {
        fail(b, &ev->start_mark, 1, "nested too deeply (at most 32 levels)");
        node_free(n);
        return;
    }
    /* a collection as a key: nothing here has such keys */
    if (b->depth && b->stack[b->depth - 1]->kind == NODE_MAP && !b->key) {
        fail(b, &ev->start_mark, 1, "a key must be a word");
        node_free(n);
        return;
    }
    attach(b, n);
    b->stack[b->depth++] = n;
}

static void pop(struct builder *b, const yaml_event_t *ev)
{
    struct node *n = b->stack[--b->depth];

    /* libyaml ends a block where the next token starts; it really ends with its last entry */
    if (n->flow)
        n->end = mark_of(b, &ev->end_mark);
    else
        n->end = n->last ? n->last->end : n->start;
}

static void add_scalar(struct builder *b, const yaml_event_t *ev)
{
    static const char styles[] = {[YAML_ANY_SCALAR_STYLE] = 'p',
                                  [YAML_PLAIN_SCALAR_STYLE] = 'p',
                                  [YAML_SINGLE_QUOTED_SCALAR_STYLE] = '\'',
                                  [YAML_DOUBLE_QUOTED_SCALAR_STYLE] = '"',
                                  [YAML_LITERAL_SCALAR_STYLE] = '|',
                                  [YAML_FOLDED_SCALAR_STYLE] = '>'};
    struct node *n = node_new(b, NODE_SCALAR, ev);

    n->style = styles[ev->data.scalar.style];
    n->plain = n->style == 'p';
    /* blank lines after a block belong to what follows */
    if (n->style == '|' || n->style == '>')
        while (n->end.offset > n->start.offset && strchr(" \r\n", b->text[n->end.offset - 1]))
            n->end.offset--;
    n->text = x_strndup((const char *)ev->data.scalar.value, ev->data.scalar.length);
    n->text_len = ev->data.scalar.length;
    if (strlen(n->text) != n->text_len)
        fail(b, &ev->start_mark, 1, "contains the character NUL");
    attach(b, n);
}

static bool decorated(const yaml_char_t *anchor, const yaml_char_t *tag, const char **what)
{
    *what = anchor ? "anchors (&name) are not supported (write the value where it is needed)"
                   : "tags (!type) are not supported (leave it out)";
    return anchor || tag;
}

static void handle(struct builder *b, const yaml_event_t *ev)
{
    const char *what;

    switch (ev->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->root)
            fail(b, &ev->start_mark, 3, "a second document in the file (only one VM per file)");
        break;
    case YAML_ALIAS_EVENT:
        fail(b, &ev->start_mark, 1,
             "aliases (*name) are not supported (write the value, or quote the text)");
        break;
    case YAML_SCALAR_EVENT:
        if (decorated(ev->data.scalar.anchor, ev->data.scalar.tag, &what))
            fail(b, &ev->start_mark, 1, what);
        else
            add_scalar(b, ev);
        break;
    case YAML_SEQUENCE_START_EVENT:
        if (decorated(ev->data.sequence_start.anchor, ev->data.sequence_start.tag, &what)) {
            fail(b, &ev->start_mark, 1, what);
        } else {
            struct node *n = node_new(b, NODE_LIST, ev);

            n->flow = ev->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
            push(b, n, ev);
        }
        break;
    case YAML_MAPPING_START_EVENT:
        if (decorated(ev->data.mapping_start.anchor, ev->data.mapping_start.tag, &what)) {
            fail(b, &ev->start_mark, 1, what);
        } else {
            struct node *n = node_new(b, NODE_MAP, ev);

            n->flow = ev->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
            push(b, n, ev);
        }
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: pop(b, ev); break;
    default: break;
    }
}

struct node *node_parse(const char *text, size_t len, struct conf_diags *diags, bool *empty)
{
    struct builder b = {.text = text, .len = len, .diags = diags};
    bool end = false;

    *empty = false;
    if (len > CONF_MAX_BYTES) {
        conf_diag_add(diags, &(struct mark){0, 1, 1}, 1, "the file is too large (at most 1MiB)");
        return NULL;
    }
    if (!yaml_parser_initialize(&b.parser)) {
        conf_diag_add(diags, &(struct mark){0, 1, 1}, 1, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
    while (!end && !b.failed) {
        yaml_event_t ev;

        if (!yaml_parser_parse(&b.parser, &ev)) {
            fail_syntax(&b);
            break;
        }
        end = ev.type == YAML_STREAM_END_EVENT;
        if (++b.events > CONF_MAX_EVENTS)
            fail(&b, &ev.start_mark, 1, "the file has too many parts");
        else
            handle(&b, &ev);
        yaml_event_delete(&ev);
    }
    yaml_parser_delete(&b.parser);
    if (b.failed) {
        node_free(b.key);
        node_free(b.root);
        return NULL;
    }
    *empty = !b.root;
    return b.root;
}

/* Depth is capped, so recursion is. */
void node_free(struct node *n)
{
    while (n) {
        struct node *next = n->next;

        if (n->key)
            node_free(n->key);
        node_free(n->first);
        x_free(n->text);
        x_free(n);
        n = next;
    }
}

struct node *node_key(const struct node *map, const char *key, size_t len)
{
    if (map->kind != NODE_MAP)
        return NULL;
    for (struct node *n = map->first; n; n = n->next)
        if (n->key->kind == NODE_SCALAR && n->key->text_len == len &&
            !memcmp(n->key->text, key, len))
            return n;
    return NULL;
}

struct node *node_item(const struct node *list, unsigned index)
{
    struct node *n = list->kind == NODE_LIST ? list->first : NULL;

    while (n && index--)
        n = n->next;
    return n;
}

bool node_is_null(const struct node *n)
{
    return n->kind == NODE_SCALAR && n->plain &&
           (!n->text_len || !strcmp(n->text, "~") || !strcmp(n->text, "null"));
}
