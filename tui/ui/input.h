/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line of editable UTF-8 text. */
#ifndef VMDECK_UI_INPUT_H
#define VMDECK_UI_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "tui/ui/ui.h"
#include "vmm/base/buf.h"

#define INPUT_MAX 4096

struct ui_input {
    struct buf text;
    size_t cursor; /* byte */
    int scroll;    /* first visible column */
};

void ui_input_set(struct ui_input *in, const char *text); /* cursor at the end */
void ui_input_free(struct ui_input *in);
/* Characters, arrows, Home End ^A ^E, Backspace Del, ^U ^K ^W. True when the key edits. */
bool ui_input_key(struct ui_input *in, int key);
/* The visible part in w columns; parks the cursor there when focused. */
void ui_input_draw(struct ui_input *in, int y, int x, int w, enum role role, bool focused);

#endif
