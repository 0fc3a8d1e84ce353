/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The messages of the control protocol: QMP's framing, one JSON object a line.
 *
 *   greeting {"QMP": {"version": ..., "capabilities": []}}
 *   command  {"execute": NAME, "arguments": {...}, "id": ANY}
 *   answer   {"return": VALUE, "id": ANY} | {"error": {"class": ..., "desc": ...}, "id": ANY}
 *   event    {"event": NAME, "data": {...}, "timestamp": {"seconds": N, "microseconds": N}}
 *
 * Beyond QMP an error carries "x-code" (a name of vmm/base/err.h) and maybe "x-hint". */
#ifndef VMDECK_CTL_QMP_H
#define VMDECK_CTL_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/buf.h"
#include "vmm/base/err.h"

#define QMP_MAX_DEPTH 32

/* Parses one line: an object of at most QMP_MAX_DEPTH levels without duplicate keys. New reference. */
json_t *qmp_parse(const char *text, size_t len, struct err *e);
/* Compact text of v, appended. */
void qmp_print(const json_t *v, struct buf *out);

/* Messages without the line end. value and data are consumed (NULL: an empty object); id stays the caller's
 * and may be NULL. */
void qmp_greeting(struct buf *out);
void qmp_return(struct buf *out, json_t *value, const json_t *id);
void qmp_error(struct buf *out, const struct err *e, const json_t *id);
void qmp_event(struct buf *out, const char *name, json_t *data);
/* Fills e from the "error" object of an answer. */
void qmp_read_error(const json_t *error, struct err *e);

/* Checks a command's arguments against a specification: words "name:type" with '?' for optional ones, types s(tring),
 * i(nteger), b(ool), a(rray), o(bject). Unknown names are errors. args may be NULL. */
bool qmp_check_args(const json_t *args, const char *spec, struct err *e);

#endif
