/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's screen as a PNG or as text. */
#ifndef VMDECK_DISPLAY_SCREENSHOT_H
#define VMDECK_DISPLAY_SCREENSHOT_H

#include <stdbool.h>

#include "display/surface.h"
#include "vmm/base/buf.h"
#include "vmm/base/err.h"

/* Writes the present screen to fd. ERR_STATE when the screen is blank (no mode set). */
bool screenshot_png(struct surface *s, int fd, struct err *e);
/* Text modes only (ERR_STATE in graphics): UTF-8 lines with the signs of code page 437 (text_cp437),
 * trailing spaces trimmed, rows lines each ending in a newline. */
bool screenshot_text(struct surface *s, struct buf *out, struct err *e);

#endif
