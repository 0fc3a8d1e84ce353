/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables of the machine. The same set is given to firmware, with a script that says how its
 * addresses and checksums are to be completed (fw_cfg "etc/table-loader"), or completed by us and put
 * into guest RAM when there is no firmware. */
#ifndef VMDECK_FW_ACPI_H
#define VMDECK_FW_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/buf.h"

struct acpi_cfg {
    unsigned cpus;
    bool com[2];
};

/* A pointer or checksum to be completed. */
struct acpi_fix {
    bool pointer;      /* else a checksum over [start, start+len) */
    bool in_rsdp;      /* else in the tables; pointers always lead into the tables */
    uint32_t offset, start, len;
    unsigned size;     /* of a pointer */
};

#define ACPI_FIXES 32
struct acpi_tables {
    struct buf tables, rsdp;
    struct acpi_fix fixes[ACPI_FIXES];
    unsigned fix_count;
};

#define ACPI_TABLES_ALIGN 64

void acpi_build(const struct acpi_cfg *cfg, struct acpi_tables *out);
void acpi_free(struct acpi_tables *t);
/* Contents of etc/table-loader; the files are etc/acpi/tables and etc/acpi/rsdp. */
void acpi_loader_script(const struct acpi_tables *t, struct buf *out);
/* Completes the tables for this address (a multiple of ACPI_TABLES_ALIGN). Once only. */
void acpi_place(struct acpi_tables *t, uint64_t tables_gpa);
/* The DSDT's terms, without a header. */
void acpi_dsdt(const struct acpi_cfg *cfg, struct buf *out);

#endif
