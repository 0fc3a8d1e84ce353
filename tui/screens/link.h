/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The console's connection to the VM's screen and keyboard, on a thread of its own: polls the text
 * screen and sends keys in order. */
#ifndef VMDECK_SCREENS_LINK_H
#define VMDECK_SCREENS_LINK_H

#include "tui/client/client.h"

struct link;

struct link *link_new(const char *name, const char *layout);
/* Any call that is under way finishes on its own; returns at once. */
void link_free(struct link *l);
/* "ctrl-alt-delete", "up" */
void link_key(struct link *l, const char *combo);
/* One character or a text. Dropped, with a false, when thousands wait. */
bool link_type(struct link *l, const char *utf8);
/* Copies the latest screen; false when there is none, with why in message ("" while connecting). */
bool link_screen(struct link *l, struct text_screen *out, char *message, size_t size);
/* The VM does not run (any more). */
bool link_ended(struct link *l);
/* Whether the screen is being looked at; polls rarely when not. */
void link_watch(struct link *l, bool on);

#endif
