/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI, SMBIOS and MP tables of a machine, by the way they reach the guest. */
#ifndef VMDECK_FW_TABLES_H
#define VMDECK_FW_TABLES_H

#include "vmm/dev/dev.h"
#include "vmm/fw/acpi.h"
#include "vmm/fw/smbios.h"

struct fw_tables_cfg {
    struct acpi_cfg acpi;
    struct smbios_cfg smbios;
};

/* For firmware: as files of fw_cfg, with everything else SeaBIOS asks for but the boot order. */
void fw_tables_fwcfg(const struct fw_tables_cfg *cfg, const struct mem *mem, struct dev *fwcfg);
/* Without firmware: completed, into the BIOS area of RAM. Returns the address of the RSDP. */
uint64_t fw_tables_direct(const struct fw_tables_cfg *cfg, struct mem *mem);

#endif
