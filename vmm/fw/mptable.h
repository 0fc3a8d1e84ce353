/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MP tables: what a system that knows no ACPI, or is told not to use it, reads about processors and interrupt
 * routing. Firmware makes its own; these are for direct boot. Source: MultiProcessor Specification 1.4. */
#ifndef VMDECK_FW_MPTABLE_H
#define VMDECK_FW_MPTABLE_H

#include <stdint.h>

#include "vmm/base/buf.h"

#define MP_POINTER_SIZE 16
#define MP_TABLE_MAX    3072 /* with 64 processors */

/* The configuration table, and the floating pointer to it at table_gpa. */
void mptable_build(unsigned cpus, uint32_t table_gpa, struct buf *table,
                   uint8_t pointer[MP_POINTER_SIZE]);

#endif
