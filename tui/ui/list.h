/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cursor and scroll position of a list of rows; the owner draws the rows. */
#ifndef VMDECK_UI_LIST_H
#define VMDECK_UI_LIST_H

#include <stdbool.h>

struct ui_list {
    int count, selected, top, page; /* page: visible rows, set by ui_list_layout */
};

/* After count or the window changed: keeps the selection in range and in view. */
void ui_list_layout(struct ui_list *l, int count, int page);
/* Arrows, j k, PgUp PgDn ^U ^D, Home End g G. True when the key moves in lists. */
bool ui_list_key(struct ui_list *l, int key);

#endif
