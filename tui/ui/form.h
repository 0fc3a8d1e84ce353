/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A screen of labelled fields with two buttons. Values are checked when a field is left and before
 * submitting; what is wrong is shown under its field. Leaving a changed form asks first. */
#ifndef VMDECK_UI_FORM_H
#define VMDECK_UI_FORM_H

#include <stdbool.h>

#include "vmm/base/err.h"

struct view;

enum form_type { FORM_TEXT, FORM_CHOICE, FORM_LABEL };

struct form_field {
    enum form_type type;
    const char *label; /* all strings must outlive the form, value is copied */
    const char *help;
    const char *choices; /* FORM_CHOICE: "a|b" */
    const char *value;
};

struct form_ops {
    /* Message without the field's name. */
    bool (*check)(void *owner, unsigned field, const char *value, struct err *e);
    /* All fields are right. Ends with form_close or form_fail, now or later. */
    void (*submit)(void *owner, struct view *form);
    /* The form is gone. */
    void (*closed)(void *owner);
};

struct view *form_open(const char *title, const char *submit_label, const struct form_field *fields,
                       unsigned count, const struct form_ops *ops, void *owner);
const char *form_value(struct view *form, unsigned field);
bool form_changed(struct view *form, unsigned field);
/* Shows a message under the field; -1: for the whole form. The form can be edited again. */
void form_fail(struct view *form, int field, const char *message);
/* Keys are ignored until form_fail or form_close. */
void form_busy(struct view *form, const char *what);
void form_close(struct view *form);

#endif
