/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMDECK_DEV_PLATFORM_HPET_H
#define VMDECK_DEV_PLATFORM_HPET_H

#include "vmm/dev/dev.h"

#define HPET_BASE UINT64_C(0xfed00000)

/* Lines for the outputs of PIT channel 0 and the RTC: they go on to GSI 0 and 8 unless the HPET has
 * replaced them. After realize. */
const struct irq_line *hpet_pit_line(struct dev *d);
const struct irq_line *hpet_rtc_line(struct dev *d);

#endif
