/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A config as a new file. */
#include <stdio.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/conf/schema.h"

static bool special_word(const char *s)
{
    static const char *const words[] = {"~",  "null", "true", "false", "yes",
                                        "no", "on",   "off",  "y",     "n"};

    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        if (!strcasecmp(s, words[i]))
            return true;
    return false;
}

/* Plain scalars have many exceptions; anything doubtful is quoted. */
static bool plain_ok(const char *s, bool flow)
{
    size_t len = strlen(s);

    if (len == 0 || special_word(s) || s[0] == ' ' || s[len - 1] == ' ' || s[len - 1] == ':')
        return false;
    if (strchr("-?:,[]{}#&*!|>'\"%@`=", s[0]) || !strncmp(s, "---", 3) || !strncmp(s, "...", 3))
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] < 32 || s[i] == 127)
            return false;
        if (s[i] == '#' && s[i - 1] == ' ')
            return false;
        if (s[i] == ':' && (s[i + 1] == ' ' || flow))
            return false;
        if (flow && strchr(",[]{}", s[i]))
            return false;
    }
    return true;
}

void conf_quote(const char *text, bool flow, bool force, struct buf *out)
{
    if (!force && plain_ok(text, flow)) {
        buf_puts(out, text);
        return;
    }
    buf_puts(out, "\"");
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;

        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n')
            buf_puts(out, "\\n");
        else if (c == '\t')
            buf_puts(out, "\\t");
        else if (c < 32 || c == 127)
            buf_printf(out, "\\x%02x", c);
        else
            buf_add(out, p, 1);
    }
    buf_puts(out, "\"");
}

void conf_scalar(const struct conf_row *row, const char *text, bool flow, bool force,
                 struct buf *out)
{
    bool words = row->type == CONF_TEXT || row->type == CONF_PATH;

    if (row->type == CONF_CLASSES) {
        buf_puts(out, "[");
        for (const char *p = text + strspn(text, ", "); *p;) {
            size_t len = strcspn(p, ", ");

            buf_add(out, p, len);
            p += len + strspn(p + len, ", ");
            buf_puts(out, *p ? ", " : "");
        }
        buf_puts(out, "]");
    } else if (words || row->type == CONF_FORWARD || row->type == CONF_HOSTPORT) {
        /* 2222:22 was a number to older YAML: always quoted */
        conf_quote(text, flow, force || !words, out);
    } else {
        buf_puts(out, text);
    }
}

static void emit_group(const char *pattern, const void *base, const void *def, int indent,
                       struct buf *out);

bool conf_literal_ok(const char *s)
{
    size_t len = strlen(s);

    if (len < 2 || !strchr(s, '\n') || s[0] == ' ' || s[0] == '\n' || s[len - 1] != '\n' ||
        s[len - 2] == '\n')
        return false;
    for (const char *p = s; *p; p++)
        if (((unsigned char)*p < 32 && *p != '\n') || *p == 127)
            return false;
    return true;
}

void conf_literal(const char *text, int indent, struct buf *out)
{
    buf_puts(out, "|\n");
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n");

        if (len)
            buf_printf(out, "%*s", indent, "");
        buf_add(out, p, len + 1);
        p += len + 1;
    }
}

static void emit_scalar(const struct conf_row *row, const char *text, int indent, struct buf *out)
{
    if ((row->flags & CONF_MULTILINE) && conf_literal_ok(text)) {
        conf_literal(text, indent + 2, out);
        return;
    }
    conf_scalar(row, text, false, false, out);
    buf_puts(out, "\n");
}

/* All entries of a list, each as "- key: value" lines, at this indentation. */
static void emit_entries(const struct conf_row *list, const void *base, int indent, struct buf *out)
{
    char pattern[64];

    snprintf(pattern, sizeof(pattern), "%s[]", list->path);
    const struct conf_row *scalar = conf_row_find(pattern, strlen(pattern));

    for (unsigned i = 0; i < conf_list_count(list, base); i++) {
        const void *element = conf_list_element(list, base, i);
        struct buf body = BUF_INIT;

        if (scalar) {
            conf_value_format(scalar, element, &body);
            buf_printf(out, "%*s- ", indent, "");
            emit_scalar(scalar, buf_str(&body), indent, out);
        } else {
            emit_group(pattern, element, NULL, indent + 2, &body);
            buf_printf(out, "%*s- ", indent, "");
            buf_puts(out, body.len ? buf_str(&body) + indent + 2 : "{}\n");
        }
        buf_free(&body);
    }
}

/* def: the same container with defaults, to leave out what equals it; NULL inside lists. */
static void emit_key(const char *path, const void *base, const void *def, int indent,
                     struct buf *out)
{
    const struct conf_row *row = conf_row_find(path, strlen(path));
    const char *dot = strrchr(path, '.');
    const char *key = dot ? dot + 1 : path;
    struct buf now = BUF_INIT, then = BUF_INIT;

    if (!row) {
        emit_group(path, base, def, indent + 2, &now);
        if (now.len)
            buf_printf(out, "%*s%s:\n%s", indent, "", key, buf_str(&now));
    } else if (row->type == CONF_LIST) {
        emit_entries(row, base, indent + 2, &now);
        if (def)
            emit_entries(row, def, indent + 2, &then);
        if (strcmp(buf_str(&now), buf_str(&then)))
            buf_printf(out, now.len ? "%*s%s:\n%s" : "%*s%s: []\n", indent, "", key, buf_str(&now));
    } else {
        bool present = conf_value_format(row, base, &now);

        if (def)
            conf_value_format(row, def, &then);
        else
            buf_puts(&then, row->def);
        if (present && ((row->flags & CONF_ALWAYS) || strcmp(buf_str(&now), buf_str(&then)))) {
            buf_printf(out, "%*s%s: ", indent, "", key);
            emit_scalar(row, buf_str(&now), indent, out);
        }
    }
    buf_free(&now);
    buf_free(&then);
}

static void emit_group(const char *pattern, const void *base, const void *def, int indent,
                       struct buf *out)
{
    const char *key;
    size_t len;

    for (unsigned i = 0; conf_group_key(pattern, i, &key, &len); i++) {
        char path[64];

        snprintf(path, sizeof(path), "%s%s%.*s", pattern, *pattern ? "." : "", (int)len, key);
        emit_key(path, base, def, indent, out);
    }
}

void config_emit(const struct vm_config *c, struct buf *out)
{
    struct vm_config def;

    config_init(&def);
    buf_puts(out, "# A virtual machine of vmdeck. Keys: vmdeck.yaml(5) or 'vmdeck help yaml'.\n");
    emit_group("", c, &def, 0, out);
    config_fini(&def);
}
