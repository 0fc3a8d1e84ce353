/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The controller's translation of scan code set 2 to set 1, by set 2 code (8042 firmware of the
 * PC/AT). */
#ifndef VMDECK_DEV_INPUT_I8042_TRANSLATE_H
#define VMDECK_DEV_INPUT_I8042_TRANSLATE_H

#include <stdint.h>

extern const uint8_t i8042_translation[128];

#endif
