/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS 2.8 tables: what dmidecode and installers show of the machine. */
#ifndef VMDECK_FW_SMBIOS_H
#define VMDECK_FW_SMBIOS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/buf.h"

#define SMBIOS_ANCHOR_SIZE 31

struct smbios_cfg {
    const char *name; /* of the VM */
    const char *uuid; /* "8-4-4-4-12" hexadecimal digits; NULL: zeroes */
    unsigned cpus;
    uint64_t memory;  /* bytes */
};

/* The structures, and the entry point for them at tables_gpa; firmware that moves them completes the
 * address and checksums anew. */
void smbios_build(const struct smbios_cfg *cfg, uint32_t tables_gpa, struct buf *tables,
                  uint8_t anchor[SMBIOS_ANCHOR_SIZE]);
/* Sixteen bytes as SMBIOS stores them: the first three fields little endian. False when malformed. */
bool smbios_uuid(const char *text, uint8_t out[16]);

#endif
