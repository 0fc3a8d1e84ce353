/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/tables.h"

#include "vmm/dev/platform/fwcfg.h"
#include "vmm/fw/boot.h"
#include "vmm/fw/mptable.h"

/* Direct boot: layout of the BIOS area, where operating systems search on 16-byte boundaries. */
#define DIRECT_ACPI    0xe0000u
#define DIRECT_RSDP    0xf0000u
#define DIRECT_ANCHOR  0xf0040u
#define DIRECT_MP      0xf0080u
#define DIRECT_MPTABLE (DIRECT_MP + MP_POINTER_SIZE)
#define DIRECT_SMBIOS  0xf1000u
_Static_assert(DIRECT_MPTABLE + MP_TABLE_MAX <= DIRECT_SMBIOS, "room for the MP table");
/* BIOS data area: segment of the EBDA, KiB of conventional memory. */
#define BDA_EBDA       0x40eu
#define BDA_MEMORY     0x413u
#define BDA_COM1       0x400u

#define E820_ENTRY 20u

/* RAM alone: firmware reserves what it takes itself. */
static void add_e820(const struct mem *mem, struct dev *fwcfg)
{
    uint8_t map[2 * E820_ENTRY] = {0};

    st_le64(map + 8, mem_low_size(mem));
    st_le32(map + 16, E820_RAM);
    st_le64(map + E820_ENTRY, MEM_HIGH_GPA);
    st_le64(map + E820_ENTRY + 8, mem_high_size(mem));
    st_le32(map + E820_ENTRY + 16, E820_RAM);
    fwcfg_add_file(fwcfg, "etc/e820", map, mem_high_size(mem) ? 2 * E820_ENTRY : E820_ENTRY);
}

void fw_tables_fwcfg(const struct fw_tables_cfg *cfg, const struct mem *mem, struct dev *fwcfg)
{
    struct acpi_tables acpi;
    struct buf script = BUF_INIT, smbios = BUF_INIT;
    uint8_t anchor[SMBIOS_ANCHOR_SIZE], one = 1, uuid[16] = {0};

    fwcfg_add_u64(fwcfg, FWCFG_RAM_SIZE, mem_size(mem));
    fwcfg_add_u16(fwcfg, FWCFG_NB_CPUS, (uint16_t)cfg->acpi.cpus);
    fwcfg_add_u16(fwcfg, FWCFG_MAX_CPUS, (uint16_t)cfg->acpi.cpus);
    fwcfg_add_u16(fwcfg, FWCFG_NOGRAPHIC, 0);
    fwcfg_add_u16(fwcfg, FWCFG_BOOT_MENU, 0);
    fwcfg_add_item(fwcfg, FWCFG_IRQ0_OVERRIDE, &one, 1);
    if (cfg->smbios.uuid)
        smbios_uuid(cfg->smbios.uuid, uuid);
    fwcfg_add_item(fwcfg, FWCFG_UUID, uuid, sizeof(uuid));
    add_e820(mem, fwcfg);

    acpi_build(&cfg->acpi, &acpi);
    acpi_loader_script(&acpi, &script);
    fwcfg_add_file(fwcfg, "etc/acpi/tables", acpi.tables.data, (uint32_t)acpi.tables.len);
    fwcfg_add_file(fwcfg, "etc/acpi/rsdp", acpi.rsdp.data, (uint32_t)acpi.rsdp.len);
    fwcfg_add_file(fwcfg, "etc/table-loader", script.data, (uint32_t)script.len);
    acpi_free(&acpi);
    buf_free(&script);

    smbios_build(&cfg->smbios, 0, &smbios, anchor);
    fwcfg_add_file(fwcfg, "etc/smbios/smbios-tables", smbios.data, (uint32_t)smbios.len);
    fwcfg_add_file(fwcfg, "etc/smbios/smbios-anchor", anchor, sizeof(anchor));
    buf_free(&smbios);
}

uint64_t fw_tables_direct(const struct fw_tables_cfg *cfg, struct mem *mem)
{
    struct acpi_tables acpi;
    struct buf smbios = BUF_INIT, mp = BUF_INIT;
    uint8_t anchor[SMBIOS_ANCHOR_SIZE], pointer[MP_POINTER_SIZE], bda[4];

    acpi_build(&cfg->acpi, &acpi);
    acpi_place(&acpi, DIRECT_ACPI);
    mem_write(mem, DIRECT_ACPI, acpi.tables.data, acpi.tables.len);
    mem_write(mem, DIRECT_RSDP, acpi.rsdp.data, acpi.rsdp.len);
    acpi_free(&acpi);

    smbios_build(&cfg->smbios, DIRECT_SMBIOS, &smbios, anchor);
    mem_write(mem, DIRECT_SMBIOS, smbios.data, smbios.len);
    mem_write(mem, DIRECT_ANCHOR, anchor, sizeof(anchor));
    buf_free(&smbios);

    mptable_build(cfg->acpi.cpus, DIRECT_MPTABLE, &mp, pointer);
    mem_write(mem, DIRECT_MPTABLE, mp.data, mp.len);
    mem_write(mem, DIRECT_MP, pointer, sizeof(pointer));
    buf_free(&mp);

    st_le16(bda, 0x9fc0);
    mem_write(mem, BDA_EBDA, bda, 2);
    st_le16(bda, 639);
    mem_write(mem, BDA_MEMORY, bda, 2);
    st_le16(bda, 0x3f8);
    st_le16(bda + 2, cfg->acpi.com[1] ? 0x2f8 : 0);
    mem_write(mem, BDA_COM1, bda, 4);
    return DIRECT_RSDP;
}
