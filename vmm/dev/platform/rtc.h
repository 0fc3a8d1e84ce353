/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMDECK_DEV_PLATFORM_RTC_H
#define VMDECK_DEV_PLATFORM_RTC_H

#include "vmm/dev/dev.h"

/* A cell of the CMOS RAM (0Eh to 7Fh) for the firmware; also before realize. */
void rtc_set_cmos(struct dev *d, uint8_t index, uint8_t value);

#endif
