/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions. Enter never confirms a loss: the focus starts on Cancel, and the dangerous button
 * takes `y` or Space while it has the focus. Keys typed before the question was on the screen are
 * thrown away. */
#ifndef VMDECK_UI_DIALOG_H
#define VMDECK_UI_DIALOG_H

#include <stdbool.h>

enum dialog_level {
    DIALOG_ASK,    /* a single y confirms; Enter is no */
    DIALOG_DANGER, /* the button must be focused first */
    DIALOG_TYPE,   /* the given word must be typed */
};

struct dialog {
    enum dialog_level level;
    const char *title;
    const char *text; /* what will be lost, in numbers */
    const char *yes;  /* label of the button */
    const char *word; /* DIALOG_TYPE */
    /* Called once, after the dialog is gone. owner may be x_alloc'd; the callee frees it. */
    void (*done)(void *owner, bool yes);
    void *owner;
};

/* Strings are copied. */
void dialog_open(const struct dialog *d);

/* Asks for a line of text. done gets NULL when cancelled. */
void prompt_open(const char *title, const char *label, const char *initial,
                 void (*done)(void *owner, const char *text), void *owner);

#endif
