/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A serial port as a terminal pane: libvterm between the port's stream and the screen, with
 * scrollback. UI thread. */
#ifndef VMDECK_SCREENS_SERIAL_H
#define VMDECK_SCREENS_SERIAL_H

#include <stdbool.h>
#include <stddef.h>

#include "tui/ui/ui.h"

struct serial;

struct serial *serial_new(const char *name, unsigned port, int rows, int cols);
void serial_free(struct serial *s);
void serial_resize(struct serial *s, int rows, int cols);
void serial_draw(struct serial *s, struct rect r, bool focused);
/* Sends a key as a terminal would. */
void serial_key(struct serial *s, int key);
void serial_type(struct serial *s, const char *text);
/* Scrollback: positive is towards the past. */
void serial_scroll(struct serial *s, int lines);
/* Connects when not connected; once a second. */
void serial_tick(struct serial *s);
/* "connected", or why not. */
const char *serial_status(const struct serial *s);

#endif
