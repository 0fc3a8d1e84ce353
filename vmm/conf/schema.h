/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of schema.def as data, and what can be asked of them. Private to vmm/conf. */
#ifndef VMDECK_CONF_SCHEMA_H
#define VMDECK_CONF_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"
#include "vmm/base/err.h"
#include "vmm/conf/config.h"

enum conf_type {
    CONF_NUMBER,
    CONF_SIZE,
    CONF_BOOL,
    CONF_CHOICE, /* index of the choice in an enum or a bool */
    CONF_WORD,  /* one of the choices, kept as text */
    CONF_TEXT,
    CONF_PATH,
    CONF_PORT,     /* number or auto (0) */
    CONF_CLASSES,  /* list of choices, kept as text with commas */
    CONF_FORWARD,  /* a whole struct conf_forward as text */
    CONF_HOSTPORT, /* host and host_port of a struct conf_forward */
    CONF_LIST,
};

#define CONF_REQUIRED  1u
#define CONF_ALWAYS    2u /* written even when it is the default */
#define CONF_MULTILINE 4u
#define CONF_AUTO      8u  /* the word auto is stored as NULL */
#define CONF_MIB       16u /* whole MiB only */

typedef bool conf_check_fn(const char *text, struct err *e);

struct conf_row {
    const char *path;
    enum conf_type type;
    size_t offset; /* in vm_config, or in the element of the nearest list above */
    size_t size;   /* of the member; of one element for a list */
    uint64_t min, max;
    const char *def, *choices;
    unsigned flags;
    conf_check_fn *check;
    const char *help;
    size_t count_offset; /* CONF_LIST: of its unsigned count, or NO_COUNT */
    unsigned entries, default_entries;
};

#define NO_COUNT SIZE_MAX

/* An element of boot.modules: the array holds bare pointers. */
struct conf_module {
    char *text;
};

extern const struct conf_row conf_rows[];
extern const unsigned conf_row_count;

/* Row with exactly that pattern ("disks[].bus"), or NULL. */
const struct conf_row *conf_row_find(const char *pattern, size_t len);
/* Whether some row lies below the pattern: pattern + "." */
bool conf_group_exists(const char *pattern, size_t len);
/* Position in the table of the first row that is the pattern or lies below it; conf_row_count if
 * none. */
unsigned conf_row_order(const char *pattern, size_t len);
/* The n-th different key directly below the group pattern ("" is the top), in table order. */
bool conf_group_key(const char *pattern, unsigned n, const char **key, size_t *len);

/* Number of elements of a list whose container is base. */
unsigned conf_list_count(const struct conf_row *list, const void *base);
void conf_list_set_count(const struct conf_row *list, void *base, unsigned n);
void *conf_list_element(const struct conf_row *list, const void *base, unsigned i);
/* Defaults into all rows of one element, which must be zeroed or freed. */
void conf_element_init(const struct conf_row *list, void *element, unsigned index);
void conf_element_fini(const struct conf_row *list, void *element);

/* A path with indexes ("disks[1].path") resolved. Elements up to and including the count (an
 * append) are accepted when grow is set: the list then grows. */
struct conf_slot {
    const struct conf_row *row;
    void *base; /* container of the member */
};
bool conf_resolve(struct vm_config *c, const char *path, bool grow, struct conf_slot *out,
                  struct err *e);
/* "disks[1].path" to "disks[].path"; false when it is not a well-formed path. */
bool conf_path_pattern(const char *path, struct buf *pattern);

/* Converts text to the member of base (NULL: only check it). plain: unquoted in the file. The
 * message does not name the key. index is for defaults. */
bool conf_value_parse(const struct conf_row *row, const char *text, bool plain, void *base,
                      struct err *e);
/* The member as it would be written, without quotes. False: absent (NULL text). */
bool conf_value_format(const struct conf_row *row, const void *base, struct buf *out);
void conf_value_free(const struct conf_row *row, void *base);
const char *conf_type_name(enum conf_type type);

bool conf_check_uuid(const char *text, struct err *e);
bool conf_check_id(const char *text, struct err *e);
bool conf_check_mac(const char *text, struct err *e);
bool conf_check_ipv4(const char *text, struct err *e);

/* The nearest of the candidates, or NULL when none is near. */
struct conf_guess {
    const char *word;
    size_t word_len;
    unsigned distance;
};
void conf_guess_try(struct conf_guess *g, const char *typed, size_t typed_len, const char *word,
                    size_t word_len);

/* How a value is written in YAML: plain when that reads back the same, else in double quotes. flow:
 * inside
 * [] or {}. */
void conf_quote(const char *text, bool flow, bool force, struct buf *out);
/* The same for a row's value, by its type. */
void conf_scalar(const struct conf_row *row, const char *text, bool flow, bool force,
                 struct buf *out);
/* Whether text can be a literal block that keeps one final newline, and that block: "|", lines. */
bool conf_literal_ok(const char *s);
void conf_literal(const char *text, int indent, struct buf *out);

/* ---- node.c: the document as positions ---- */

enum node_kind { NODE_SCALAR, NODE_MAP, NODE_LIST };

struct mark {
    size_t offset;         /* byte */
    unsigned line, column; /* from 1; columns count characters */
};

struct node {
    enum node_kind kind;
    struct mark start, end; /* end of the last byte of the value itself */
    char *text;             /* scalar */
    size_t text_len;
    bool plain;       /* unquoted */
    char style;       /* scalar: 'p' plain, '\'', '"', '|' or '>' */
    bool flow;        /* map or list in braces or brackets */
    struct node *key; /* in a map: the key of this value */
    struct node *first, *last, *next;
    unsigned count;
};

#define CONF_MAX_BYTES  (1024 * 1024)
#define CONF_MAX_DEPTH  32
#define CONF_MAX_EVENTS 100000
#define CONF_MAX_DIAGS  100

/* NULL with a diagnostic when the text is not one YAML document within the caps; *empty when it
 * holds nothing (NULL as well, no diagnostic). */
struct node *node_parse(const char *text, size_t len, struct conf_diags *diags, bool *empty);
void node_free(struct node *n);
struct node *node_key(const struct node *map, const char *key, size_t len);
struct node *node_item(const struct node *list, unsigned index);
/* Plain null, ~ or nothing. */
bool node_is_null(const struct node *n);

void conf_diag_add(struct conf_diags *d, const struct mark *at, unsigned width, const char *fmt,
                   ...) __attribute__((format(printf, 4, 5)));

#endif
