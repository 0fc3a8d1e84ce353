/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF kernels: PVH by their Xen note (32-bit entry, xen/include/public/arch-x86/hvm/start_info.h), and
 * an x86-64 vmlinux without it by the 64-bit entry of the Linux boot protocol. */
#include "vmm/fw/boot_priv.h"

#include <elf.h>

#define NOTE_PHYS32_ENTRY 18
#define PVH_MAGIC         0x336ec578u
#define PVH_INFO_SIZE     56u
#define PVH_MODULES       (LOW_BOOT_INFO + 0x100)
#define PVH_MEMMAP        (LOW_BOOT_INFO + 0x200)
#define PVH_E820_SIZE     24u

bool is_elf(const struct image *im)
{
    return im->len >= sizeof(Elf32_Ehdr) && memcmp(im->data, ELFMAG, SELFMAG) == 0;
}

bool elf_open(const struct image *im, struct elf_info *out, struct err *e)
{
    const uint8_t *d = im->data;

    if (!is_elf(im) || d[EI_DATA] != ELFDATA2LSB)
        return err_set(e, ERR_CORRUPT, "the kernel's ELF header is damaged");
    *out = (struct elf_info){.is64 = d[EI_CLASS] == ELFCLASS64};
    if (out->is64) {
        Elf64_Ehdr h;
        if (im->len < sizeof(h))
            return err_set(e, ERR_CORRUPT, "the kernel file ends within its ELF header");
        memcpy(&h, d, sizeof(h));
        if (h.e_machine != EM_X86_64 || h.e_phentsize < sizeof(Elf64_Phdr))
            return err_set(e, ERR_INVALID, "the kernel is an ELF file for another machine");
        out->entry = h.e_entry;
        out->phoff = h.e_phoff;
        out->phnum = h.e_phnum;
        out->phentsize = h.e_phentsize;
    } else {
        Elf32_Ehdr h;
        memcpy(&h, d, sizeof(h));
        if (h.e_machine != EM_386 || h.e_phentsize < sizeof(Elf32_Phdr))
            return err_set(e, ERR_INVALID, "the kernel is an ELF file for another machine");
        out->entry = h.e_entry;
        out->phoff = h.e_phoff;
        out->phnum = h.e_phnum;
        out->phentsize = h.e_phentsize;
    }
    if (!range_within(out->phoff, (uint64_t)out->phnum * out->phentsize, 0, im->len))
        return err_set(e, ERR_CORRUPT, "the kernel's program headers lie outside the file");
    return true;
}

bool elf_segment(const struct image *im, const struct elf_info *elf, unsigned n,
                 struct elf_phdr *out, struct err *e)
{
    const uint8_t *p = im->data + elf->phoff + (uint64_t)n * elf->phentsize;

    if (elf->is64) {
        Elf64_Phdr h;
        memcpy(&h, p, sizeof(h));
        *out = (struct elf_phdr){h.p_type, h.p_offset, h.p_paddr, h.p_vaddr, h.p_filesz, h.p_memsz};
    } else {
        Elf32_Phdr h;
        memcpy(&h, p, sizeof(h));
        *out = (struct elf_phdr){h.p_type, h.p_offset, h.p_paddr, h.p_vaddr, h.p_filesz, h.p_memsz};
    }
    if (!range_within(out->offset, out->filesz, 0, im->len) ||
        (out->type == PT_LOAD && out->memsz < out->filesz))
        return err_set(e, ERR_CORRUPT, "segment %u of the kernel lies outside the file", n);
    return true;
}

bool elf_load_segments(struct loader *l, const struct elf_info *elf, uint64_t *low, uint64_t *high,
                       struct err *e)
{
    *low = UINT64_MAX;
    *high = 0;
    for (unsigned n = 0; n < elf->phnum; n++) {
        struct elf_phdr ph;
        if (!elf_segment(&l->image, elf, n, &ph, e))
            return false;
        if (ph.type != PT_LOAD || ph.memsz == 0)
            continue;
        if (!loader_reserve(l, ph.paddr, ph.memsz, "the kernel", e))
            return false;
        loader_copy(l, ph.paddr, ph.offset, ph.filesz, ph.memsz);
        *low = MIN(*low, ph.paddr);
        *high = MAX(*high, ph.paddr + ph.memsz);
    }
    if (*high == 0)
        return err_set(e, ERR_CORRUPT, "the kernel has nothing to load");
    return true;
}

/* Looks for the note in one PT_NOTE segment: name "Xen", descriptor of 4 or 8 bytes. */
static bool note_entry(const struct image *im, const struct elf_phdr *ph, uint32_t *entry)
{
    uint64_t at = ph->offset, end = ph->offset + ph->filesz;

    while (end - at >= 12) {
        const uint8_t *p = im->data + at;
        uint64_t name_len = ld_le32(p), desc_len = ld_le32(p + 4);
        uint64_t desc = at + 12 + ALIGN_UP(name_len, 4u), next = desc + ALIGN_UP(desc_len, 4u);
        if (next > end)
            return false;
        if (ld_le32(p + 8) == NOTE_PHYS32_ENTRY && name_len == 4 && desc_len >= 4 &&
            memcmp(p + 12, "Xen", 4) == 0) {
            *entry = ld_le32(im->data + desc);
            return true;
        }
        at = next;
    }
    return false;
}

static bool find_pvh(const struct image *im, const struct elf_info *elf, uint32_t *entry,
                     struct err *e)
{
    for (unsigned n = 0; n < elf->phnum; n++) {
        struct elf_phdr ph;
        if (elf_segment(im, elf, n, &ph, e) && ph.type == PT_NOTE && note_entry(im, &ph, entry))
            return true;
    }
    return false;
}

static bool pvh_start_info(struct loader *l, struct err *e)
{
    uint8_t info[PVH_INFO_SIZE] = {0}, module[32] = {0}, table[E820_MAX * PVH_E820_SIZE] = {0};
    struct e820_entry map[E820_MAX];
    unsigned n = fw_e820(l->cfg->mem, map);
    uint32_t cmdline = loader_string(l, l->cfg->cmdline ? l->cfg->cmdline : "");

    if (!cmdline)
        return err_set(e, ERR_INVALID, "the kernel's command line is too long");
    for (unsigned i = 0; i < n; i++) {
        st_le64(table + i * PVH_E820_SIZE, map[i].base);
        st_le64(table + i * PVH_E820_SIZE + 8, map[i].size);
        st_le32(table + i * PVH_E820_SIZE + 16, map[i].type);
    }
    st_le32(info, PVH_MAGIC);
    st_le32(info + 4, 1); /* version: has the memory map */
    st_le64(info + 24, cmdline);
    st_le64(info + 32, l->cfg->rsdp);
    st_le64(info + 40, PVH_MEMMAP);
    st_le32(info + 48, n);
    if (l->cfg->initrd >= 0) {
        uint64_t gpa, len;
        if (!loader_place_file(l, l->cfg->initrd, "the initrd", MEM_LOW_MAX, true, &gpa, &len, e))
            return false;
        st_le64(module, gpa);
        st_le64(module + 8, len);
        st_le32(info + 12, 1);
        st_le64(info + 16, PVH_MODULES);
    }
    loader_put(l, LOW_BOOT_INFO, info, sizeof(info));
    loader_put(l, PVH_MODULES, module, sizeof(module));
    loader_put(l, PVH_MEMMAP, table, n * PVH_E820_SIZE);
    return true;
}

bool load_elf(struct loader *l, struct x86_state *s, struct err *e)
{
    struct elf_info elf;
    uint64_t low, high;
    uint32_t pvh_entry;

    if (!elf_open(&l->image, &elf, e))
        return false;
    bool pvh = find_pvh(&l->image, &elf, &pvh_entry, e);
    if (!pvh && !elf.is64)
        return err_set(e, ERR_INVALID, "the kernel is a 32-bit ELF file without PVH entry");
    if (!elf_load_segments(l, &elf, &low, &high, e))
        return false;
    uint64_t entry = pvh ? pvh_entry : elf.entry;
    if (entry < low || entry >= high)
        return err_set(e, ERR_CORRUPT, "the kernel's entry point %#llx lies outside of it",
                       (unsigned long long)entry);
    if (pvh) {
        if (!pvh_start_info(l, e))
            return false;
        enter_protected(l, s, pvh_entry);
        s->gpr[X86_RBX] = LOW_BOOT_INFO;
        return true;
    }
    uint8_t params[PAGE_SIZE] = {0};
    if (!linux_params(l, params, INT32_MAX, 2047, e))
        return false;
    memcpy(params + 0x202, "HdrS", 4);
    st_le16(params + 0x206, 0x20c);
    loader_put(l, LOW_BOOT_INFO, params, sizeof(params));
    enter_long(l, s, entry);
    s->gpr[X86_RSI] = LOW_BOOT_INFO;
    return true;
}
