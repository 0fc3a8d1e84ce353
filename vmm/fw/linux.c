/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Linux x86 boot protocol: bzImage from version 2.02 up by its 64-bit entry where it has one, else by
 * the 32-bit entry. Source: Documentation/arch/x86/boot.rst and zero-page.rst. zImage (a kernel in
 * low memory) is left out. */
#include "vmm/fw/boot_priv.h"

/* Offsets in the zero page; the setup header is at the same place in the file. */
#define ZP_SCREEN_INFO    0x000
#define ZP_ACPI_RSDP      0x070
#define ZP_E820_COUNT     0x1e8
#define ZP_E820           0x2d0
#define HDR               0x1f1
#define HDR_SETUP_SECTS   0x1f1
#define HDR_VID_MODE      0x1fa
#define HDR_BOOT_FLAG     0x1fe
#define HDR_JUMP          0x200
#define HDR_MAGIC         0x202
#define HDR_VERSION       0x206
#define HDR_LOADER        0x210
#define HDR_LOADFLAGS     0x211
#define HDR_CODE32        0x214
#define HDR_RAMDISK       0x218
#define HDR_RAMDISK_SIZE  0x21c
#define HDR_HEAP_END      0x224
#define HDR_CMDLINE       0x228
#define HDR_INITRD_MAX    0x22c
#define HDR_RELOCATABLE   0x234
#define HDR_XLOADFLAGS    0x236
#define HDR_CMDLINE_SIZE  0x238
#define HDR_PREF_ADDRESS  0x258
#define HDR_INIT_SIZE     0x260
#define HDR_END_MAX       0x290 /* as far as the zero page has room */

#define LOADED_HIGH  0x01u
#define CAN_USE_HEAP 0x80u
#define XLF_KERNEL_64 1u
#define LOADER_UNDEFINED 0xff
#define VID_NORMAL   0xffff
#define ENTRY64      0x200u
#define ZERO_PAGE    4096u
#define INITRD_MAX_OLD 0x37ffffffu

bool is_bzimage(const struct image *im)
{
    return im->len >= HDR_END_MAX && memcmp(im->data + HDR_MAGIC, "HdrS", 4) == 0 &&
           ld_le16(im->data + HDR_BOOT_FLAG) == 0xaa55;
}

/* 80x25 text, which the VGA is in: zero page, struct screen_info. */
static void fill_screen_info(uint8_t *p)
{
    p[0x06] = 3;  /* mode */
    p[0x07] = 80; /* columns */
    st_le16(p + 0x0a, 3); /* EGA BX as INT 10h, BL=10h would leave it: colour, 256 KiB */
    p[0x0e] = 25; /* rows */
    p[0x0f] = 1;  /* a VGA */
    st_le16(p + 0x10, 16); /* font height */
}

bool linux_params(struct loader *l, uint8_t *p, uint64_t initrd_limit, uint32_t cmdline_max,
                  struct err *e)
{
    const char *cmdline = l->cfg->cmdline ? l->cfg->cmdline : "";
    struct e820_entry map[E820_MAX];
    unsigned n = fw_e820(l->cfg->mem, map);

    fill_screen_info(p + ZP_SCREEN_INFO);
    for (unsigned i = 0; i < n; i++) {
        uint8_t *entry = p + ZP_E820 + i * 20;
        st_le64(entry, map[i].base);
        st_le64(entry + 8, map[i].size);
        st_le32(entry + 16, map[i].type);
    }
    p[ZP_E820_COUNT] = (uint8_t)n;
    st_le64(p + ZP_ACPI_RSDP, l->cfg->rsdp);
    st_le16(p + HDR_BOOT_FLAG, 0xaa55);
    p[HDR_LOADER] = LOADER_UNDEFINED;
    st_le16(p + HDR_VID_MODE, VID_NORMAL);

    if (strlen(cmdline) > cmdline_max)
        return err_set(e, ERR_INVALID, "the kernel's command line has %zu bytes, it takes %u",
                       strlen(cmdline), cmdline_max);
    uint32_t at = loader_string(l, cmdline);
    if (!at)
        return err_set(e, ERR_INVALID, "the kernel's command line is too long");
    st_le32(p + HDR_CMDLINE, at);

    if (l->cfg->initrd >= 0) {
        uint64_t gpa, len;
        if (!loader_place_file(l, l->cfg->initrd, "the initrd", initrd_limit, true, &gpa, &len, e))
            return false;
        st_le32(p + HDR_RAMDISK, (uint32_t)gpa);
        st_le32(p + HDR_RAMDISK_SIZE, (uint32_t)len);
    }
    return true;
}

/* Where the protected-mode part goes: its preferred address, which the 64-bit entry and init_size are
 * meant for, or the classic 1 MiB. */
static uint64_t load_address(const uint8_t *hdr, unsigned version)
{
    uint64_t preferred = version >= 0x20a ? ld_le64(hdr + HDR_PREF_ADDRESS) : 0;

    if (preferred >= BIOS_AREA_END && version >= 0x205 && hdr[HDR_RELOCATABLE])
        return preferred;
    return ld_le32(hdr + HDR_CODE32);
}

bool load_bzimage(struct loader *l, struct x86_state *s, struct err *e)
{
    const uint8_t *hdr = l->image.data;
    unsigned version = ld_le16(hdr + HDR_VERSION);
    uint64_t setup = (hdr[HDR_SETUP_SECTS] ? hdr[HDR_SETUP_SECTS] : 4u) * 512 + 512;
    uint8_t params[ZERO_PAGE] = {0};

    if (version < 0x202 || !(hdr[HDR_LOADFLAGS] & LOADED_HIGH))
        return err_set(e, ERR_INVALID, "the kernel is a zImage or uses boot protocol %u.%02u",
                       version >> 8, version & 0xff);
    if (setup >= l->image.len)
        return err_set(e, ERR_CORRUPT, "the kernel file ends within its setup code");

    uint64_t len = l->image.len - setup, at = load_address(hdr, version);
    uint64_t room = version >= 0x20a ? MAX(len, (uint64_t)ld_le32(hdr + HDR_INIT_SIZE)) : len;
    if (!loader_reserve(l, at, room, "the kernel", e))
        return err_hint(e, "give the VM more memory");
    loader_copy(l, at, setup, len, len);

    unsigned end = MIN(HDR_MAGIC + hdr[HDR_JUMP + 1], HDR_END_MAX);
    if (end > HDR)
        memcpy(params + HDR, hdr + HDR, end - HDR);
    uint64_t initrd_max = version >= 0x203 ? ld_le32(hdr + HDR_INITRD_MAX) : INITRD_MAX_OLD;
    uint32_t cmdline_max = version >= 0x206 ? ld_le32(hdr + HDR_CMDLINE_SIZE) : 255;
    if (!linux_params(l, params, initrd_max + 1, cmdline_max, e))
        return false;
    params[HDR_LOADFLAGS] |= CAN_USE_HEAP;
    st_le16(params + HDR_HEAP_END, 0xfe00);
    st_le32(params + HDR_CODE32, (uint32_t)at);
    loader_put(l, LOW_BOOT_INFO, params, sizeof(params));

    if (version >= 0x20c && (ld_le16(hdr + HDR_XLOADFLAGS) & XLF_KERNEL_64))
        enter_long(l, s, at + ENTRY64);
    else
        enter_protected(l, s, (uint32_t)at);
    s->gpr[X86_RSI] = LOW_BOOT_INFO;
    s->gpr[X86_RBX] = s->gpr[X86_RBP] = s->gpr[X86_RDI] = 0;
    return true;
}
