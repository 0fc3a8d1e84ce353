/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses and values that the ACPI tables (vmm/fw/acpi.c) share with the device. */
#ifndef VMDECK_DEV_PLATFORM_ACPI_PM_H
#define VMDECK_DEV_PLATFORM_ACPI_PM_H

#include "vmm/dev/dev.h"

#define ACPI_PM_DEVFN    (1 << 3 | 3)
#define ACPI_PM_BASE     0x600 /* where SeaBIOS, and we without firmware, put the I/O block */
#define ACPI_PM1_EVENT   0x00
#define ACPI_PM1_CONTROL 0x04
#define ACPI_PM_TIMER    0x08
#define ACPI_GPE0        0x0c
#define ACPI_GPE0_LEN    4
#define ACPI_SMI_CMD     0xb2
#define ACPI_ENABLE      0xf1
#define ACPI_DISABLE     0xf0
#define ACPI_SCI_IRQ     9
#define ACPI_S5_TYPE     0 /* SLP_TYP of soft off on a PIIX4 */

/* Config registers that firmware programs. */
#define ACPI_PM_PMBA      0x40
#define ACPI_PM_PMREGMISC 0x80

/* The power button: status bit, and an SCI when ACPI is on. */
void acpi_pm_power_button(struct dev *d);

#endif
