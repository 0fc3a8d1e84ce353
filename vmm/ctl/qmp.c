/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/ctl/qmp.h"

#include <string.h>

#include "vmm/base/clock.h"

/* Levels of nesting, counted outside strings, so that the parser's recursion is bounded before it starts. */
static bool too_deep(const char *p, size_t len)
{
    unsigned depth = 0;
    bool string = false;

    for (size_t i = 0; i < len; i++) {
        if (string) {
            if (p[i] == '\\')
                i++;
            else if (p[i] == '"')
                string = false;
        } else if (p[i] == '"') {
            string = true;
        } else if (p[i] == '{' || p[i] == '[') {
            if (++depth > QMP_MAX_DEPTH)
                return true;
        } else if ((p[i] == '}' || p[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

json_t *qmp_parse(const char *text, size_t len, struct err *e)
{
    json_error_t je;

    if (too_deep(text, len)) {
        err_set(e, ERR_PROTO, "invalid JSON: nested deeper than %d levels", QMP_MAX_DEPTH);
        return NULL;
    }
    json_t *v = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    if (!v) {
        err_set(e, ERR_PROTO, "invalid JSON: %s (column %d)", je.text, je.column);
        return NULL;
    }
    if (!json_is_object(v)) {
        err_set(e, ERR_PROTO, "expected a JSON object");
        json_decref(v);
        return NULL;
    }
    return v;
}

static int print_chunk(const char *text, size_t size, void *out)
{
    buf_add(out, text, size);
    return 0;
}

void qmp_print(const json_t *v, struct buf *out)
{
    json_dump_callback(v, print_chunk, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

static void finish(struct buf *out, json_t *message, const json_t *id)
{
    if (id)
        json_object_set(message, "id", (json_t *)(uintptr_t)id);
    qmp_print(message, out);
    json_decref(message);
}

void qmp_greeting(struct buf *out)
{
    int major = 0, minor = 0, micro = 0;

    sscanf(VMDECK_VERSION, "%d.%d.%d", &major, &minor, &micro);
    finish(out,
           json_pack("{s{s{s{sisisi}ss}s[]}}", "QMP", "version", "qemu", "major", major, "minor", minor, "micro", micro,
                     "package", "vmdeck " VMDECK_VERSION, "capabilities"),
           NULL);
}

void qmp_return(struct buf *out, json_t *value, const json_t *id)
{
    finish(out, json_pack("{so}", "return", value ? value : json_object()), id);
}

static const char *error_class(enum err_code code)
{
    switch (code) {
    case ERR_UNSUPPORTED: return "CommandNotFound";
    case ERR_STATE: return "DeviceNotActive";
    default: return "GenericError";
    }
}

void qmp_error(struct buf *out, const struct err *e, const json_t *id)
{
    json_t *err = json_object();

    json_object_set_new(err, "class", json_string(error_class(e->code)));
    json_t *desc = json_string(e->msg); /* NULL when some path in it is not UTF-8 */
    json_object_set_new(err, "desc", desc ? desc : json_string("(the message is not valid UTF-8)"));
    json_object_set_new(err, "x-code", json_string(err_code_name(e->code)));
    if (e->hint[0])
        json_object_set_new(err, "x-hint", json_string(e->hint));
    finish(out, json_pack("{so}", "error", err), id);
}

void qmp_event(struct buf *out, const char *name, json_t *data)
{
    int64_t now = clock_wall_ns();

    finish(out,
           json_pack("{sssos{sIsI}}", "event", name, "data", data ? data : json_object(), "timestamp", "seconds",
                     (json_int_t)(now / NS_PER_S), "microseconds", (json_int_t)(now % NS_PER_S / NS_PER_US)),
           NULL);
}

void qmp_read_error(const json_t *error, struct err *e)
{
    const char *desc = json_string_value(json_object_get(error, "desc"));
    const char *code = json_string_value(json_object_get(error, "x-code"));
    const char *hint = json_string_value(json_object_get(error, "x-hint"));

    err_set(e, code ? err_code_from_name(code) : ERR_FAILED, "%s", desc ? desc : "an error without a description");
    if (hint)
        err_hint(e, "%s", hint);
}

static bool has_type(const json_t *v, char type)
{
    switch (type) {
    case 's': return json_is_string(v);
    case 'i': return json_is_integer(v);
    case 'b': return json_is_boolean(v);
    case 'a': return json_is_array(v);
    default: return json_is_object(v);
    }
}

static const char *type_name(char type)
{
    switch (type) {
    case 's': return "a string";
    case 'i': return "an integer";
    case 'b': return "true or false";
    case 'a': return "an array";
    default: return "an object";
    }
}

/* Next "name:type?" of the specification. */
static bool next_spec(const char **spec, char *name, size_t size, char *type, bool *optional)
{
    const char *p = *spec + strspn(*spec, " "), *colon = strchr(p, ':');

    if (!colon)
        return false;
    size_t n = (size_t)(colon - p);
    if (n >= size)
        n = size - 1;
    memcpy(name, p, n);
    name[n] = '\0';
    *type = colon[1];
    *optional = colon[2] == '?';
    *spec = colon + (*optional ? 3 : 2);
    return true;
}

bool qmp_check_args(const json_t *args, const char *spec, struct err *e)
{
    char name[32], type;
    const char *p = spec, *key;
    size_t known = 0;
    bool optional;
    json_t *v;

    if (args && !json_is_object(args))
        return err_set(e, ERR_USAGE, "\"arguments\" must be an object");
    while (next_spec(&p, name, sizeof(name), &type, &optional)) {
        v = json_object_get(args, name);
        if (v)
            known++;
        if (!v && !optional)
            return err_set(e, ERR_USAGE, "parameter '%s' is missing", name);
        if (v && !has_type(v, type))
            return err_set(e, ERR_USAGE, "parameter '%s' must be %s", name, type_name(type));
    }
    if (json_object_size(args) == known)
        return true;
    json_object_foreach((json_t *)(uintptr_t)args, key, v)
    {
        bool found = false;

        for (p = spec; next_spec(&p, name, sizeof(name), &type, &optional);)
            found = found || !strcmp(name, key);
        if (!found)
            return err_set(e, ERR_USAGE, "parameter '%.64s' is unexpected", key);
    }
    return true;
}
