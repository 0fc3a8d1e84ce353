/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Direct boot: images of every kind made here, and hostile variants of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/fw/boot.h"

#include <elf.h> /* after x86.h, whose PF_* it would clash with */

#define RAM (64 * MIB)

struct fix {
    struct mem *mem;
    struct fw_boot_cfg cfg;
    struct x86_state s;
    struct err e;
    uint8_t image[64 * 1024] __attribute__((aligned(16)));
    size_t len;
};

static int memfile(const void *data, size_t len)
{
    int fd = memfd_create("image", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    return fd;
}

static int setup(void **state)
{
    struct fix *f = test_calloc(1, sizeof(*f));

    f->mem = mem_new(RAM, &f->e);
    f->cfg = (struct fw_boot_cfg){.mem = f->mem, .kernel = -1, .initrd = -1, .cmdline = "console=ttyS0",
                                  .rsdp = 0xf0000};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    if (f->cfg.initrd >= 0)
        close(f->cfg.initrd);
    for (unsigned i = 0; i < f->cfg.module_count; i++)
        close(f->cfg.modules[i]);
    mem_free(f->mem);
    test_free(f);
    return 0;
}

static bool boot(struct fix *f)
{
    f->e = (struct err)ERR_INIT;
    x86_state_reset(&f->s, 0, true, false);
    f->cfg.kernel = memfile(f->image, f->len);
    bool ok = fw_boot_load(&f->cfg, &f->s, &f->e);
    close(f->cfg.kernel);
    if (!ok) {
        assert_int_not_equal(f->e.code, ERR_NONE);
        assert_true(f->e.msg[0] != '\0');
    }
    return ok;
}

static uint64_t peek(struct fix *f, uint64_t gpa, unsigned size)
{
    uint8_t b[8] = {0};

    assert_true(mem_read(f->mem, gpa, b, size));
    return ld_le(b, size);
}

static void assert_text(struct fix *f, uint64_t gpa, const char *want)
{
    char b[64] = "";

    assert_true(mem_read(f->mem, gpa, b, strlen(want) + 1));
    assert_string_equal(b, want);
}

/* ---- bzImage ---- */

static void make_bzimage(struct fix *f, bool has64)
{
    uint8_t *p = f->image;

    memset(p, 0, sizeof(f->image));
    p[0x1f1] = 4; /* setup sectors */
    st_le16(p + 0x1fe, 0xaa55);
    p[0x200] = 0xeb;
    p[0x201] = 0x66;
    memcpy(p + 0x202, "HdrS", 4);
    st_le16(p + 0x206, 0x20f);
    p[0x211] = 1;
    st_le32(p + 0x214, 0x100000);
    st_le32(p + 0x22c, 0x7fffffff);
    p[0x234] = 1;
    st_le16(p + 0x236, has64 ? 0x7f : 4);
    st_le32(p + 0x238, 2047);
    st_le64(p + 0x258, 0x1000000);
    st_le32(p + 0x260, 0x200000);
    memset(p + 5 * 512, 0x90, 4096);
    f->len = 5 * 512 + 4096;
}

static void test_bzimage64(void **state)
{
    struct fix *f = *state;
    char *initrd = test_calloc(1, 100000);

    initrd[99999] = 'z';
    make_bzimage(f, true);
    f->cfg.initrd = memfile(initrd, 100000);
    assert_true(boot(f));
    assert_int_equal(f->s.rip, 0x1000200);
    assert_true(f->s.efer & EFER_LMA);
    assert_true(f->s.cr0 & CR0_PG);
    assert_int_equal(f->s.seg[X86_CS].sel, 0x10);
    assert_true(f->s.seg[X86_CS].attr & SEG_L);
    uint64_t zp = f->s.gpr[X86_RSI];
    assert_text(f, peek(f, zp + 0x228, 4), "console=ttyS0");
    assert_int_equal(peek(f, zp + 0x070, 8), 0xf0000);
    assert_int_equal(peek(f, zp + 0x210, 1), 0xff);
    assert_int_equal(peek(f, zp + 0x21c, 4), 100000);
    uint64_t rd = peek(f, zp + 0x218, 4);
    assert_int_equal(rd, ALIGN_DOWN(RAM - 100000, PAGE_SIZE));
    assert_int_equal(peek(f, rd + 99999, 1), 'z');
    assert_int_equal(peek(f, zp + 7, 1), 80);
    assert_int_equal(peek(f, zp + 0x1e8, 1), 4);
    assert_int_equal(peek(f, 0x1000000, 4), 0x90909090);
    /* page tables: 3 GiB and 4 MiB maps to itself */
    uint64_t pdpt = peek(f, f->s.cr3, 8) & PAGE_MASK, pd = peek(f, pdpt + 24, 8) & PAGE_MASK;
    assert_int_equal(peek(f, pd + 16, 8), 0xc0400083);
    test_free(initrd);
}

static void test_bzimage32(void **state)
{
    struct fix *f = *state;

    make_bzimage(f, false);
    assert_true(boot(f));
    assert_int_equal(f->s.rip, 0x1000000);
    assert_int_equal(f->s.cr0 & (CR0_PE | CR0_PG), CR0_PE);
    assert_int_equal(f->s.seg[X86_DS].sel, 0x18);
    f->image[0x234] = 0; /* not relocatable */
    assert_true(boot(f));
    assert_int_equal(f->s.rip, 0x100000);
}

static void test_initrd_limits(void **state)
{
    struct fix *f = *state;

    make_bzimage(f, true);
    st_le32(f->image + 0x22c, 0x2ffffff); /* initrd below 48 MiB */
    f->cfg.initrd = memfile("x", 1);
    assert_true(boot(f));
    assert_int_equal(peek(f, 0x7218, 4), 0x2fff000);
    assert_int_equal(ftruncate(f->cfg.initrd, 63 * MIB), 0);
    assert_false(boot(f));
    assert_int_equal(f->e.code, ERR_INVALID);
    st_le32(f->image + 0x22c, 0); /* nowhere */
    assert_false(boot(f));
}

static void test_hostile_bzimage(void **state)
{
    struct fix *f = *state;
    char *line = test_malloc(5000);

    make_bzimage(f, true);
    f->image[0x1f1] = 255;
    assert_false(boot(f));
    make_bzimage(f, true);
    st_le32(f->image + 0x260, 0xfffffff0); /* init_size */
    assert_false(boot(f));
    make_bzimage(f, true);
    st_le64(f->image + 0x258, UINT64_MAX - 10); /* preferred address */
    assert_false(boot(f));
    make_bzimage(f, true);
    st_le64(f->image + 0x258, RAM - 0x1000);
    assert_false(boot(f));
    make_bzimage(f, true);
    st_le16(f->image + 0x206, 0x201);
    assert_false(boot(f));
    assert_int_equal(f->e.code, ERR_INVALID);
    make_bzimage(f, true);
    f->image[0x234] = 0;
    st_le32(f->image + 0x214, 0x7000); /* over our own tables */
    assert_false(boot(f));
    st_le32(f->image + 0x214, 0x9f000); /* into the BIOS area */
    assert_false(boot(f));
    make_bzimage(f, true);
    memset(line, 'a', 4999);
    line[4999] = '\0';
    f->cfg.cmdline = line;
    assert_false(boot(f));
    st_le32(f->image + 0x238, UINT32_MAX);
    assert_true(boot(f));
    test_free(line);
}

/* ---- Multiboot ---- */

static void make_multiboot(struct fix *f, uint32_t flags)
{
    uint8_t *p = f->image;

    memset(p, 0, sizeof(f->image));
    p += 64;
    st_le32(p, 0x1badb002);
    st_le32(p + 4, flags);
    st_le32(p + 8, 0u - 0x1badb002u - flags);
    st_le32(p + 12, 0x200040); /* header */
    st_le32(p + 16, 0x200000); /* load */
    st_le32(p + 20, 0x201000); /* load end */
    st_le32(p + 24, 0x203000); /* bss end */
    st_le32(p + 28, 0x200100); /* entry */
    f->len = 0x1000;
}

static void test_multiboot_addresses(void **state)
{
    struct fix *f = *state;

    make_multiboot(f, 0x10003);
    f->cfg.modules[0] = memfile("module one", 10);
    f->cfg.modules[1] = memfile("", 0);
    f->cfg.module_args[0] = "first arg";
    f->cfg.module_count = 2;
    mem_write(f->mem, 0x202ff8, "junkjunk", 8);
    assert_true(boot(f));
    assert_int_equal(f->s.rip, 0x200100);
    assert_int_equal(f->s.gpr[X86_RAX], 0x2badb002);
    assert_int_equal(f->s.cr0 & (CR0_PE | CR0_PG), CR0_PE);
    assert_int_equal(peek(f, 0x200040, 4), 0x1badb002);
    assert_int_equal(peek(f, 0x202ff8, 8), 0); /* bss */
    uint64_t info = f->s.gpr[X86_RBX], mods;
    assert_int_equal(peek(f, info, 4) & 0x4d, 0x4d);
    assert_text(f, peek(f, info + 16, 4), "console=ttyS0");
    assert_int_equal(peek(f, info + 20, 4), 2);
    mods = peek(f, info + 24, 4);
    assert_int_equal(peek(f, mods, 4) % PAGE_SIZE, 0);
    assert_int_equal(peek(f, mods + 4, 4) - peek(f, mods, 4), 10);
    assert_text(f, peek(f, mods + 8, 4), "first arg");
    assert_int_equal(peek(f, peek(f, mods, 4), 1), 'm');
    /* memory map: entries of 20 bytes plus size, the last is RAM from 1 MiB */
    uint64_t map = peek(f, info + 48, 4), len = peek(f, info + 44, 4);
    assert_int_equal(peek(f, map, 4), 20);
    assert_int_equal(peek(f, map + len - 24 + 4, 8), MIB);
    assert_int_equal(peek(f, map + len - 24 + 12, 8), RAM - MIB);
    assert_int_equal(peek(f, info + 8, 4), (RAM - MIB) / KIB);
}

static void test_hostile_multiboot(void **state)
{
    struct fix *f = *state;
    static const struct {
        unsigned offset;
        uint32_t value;
    } bad[] = {
        {12, 0x1ff000},   /* header below the load address */
        {12, 0x300000},   /* or further into the file than it is */
        {16, 0xfffff000}, /* load address outside RAM */
        {16, 0x10000},
        {20, 0x1000},     /* end before start */
        {20, 0x900000},   /* more than the file has */
        {24, 0x200800},   /* bss ends before data */
        {24, 0xffffffff},
        {28, 0},          /* entry outside */
        {28, 0xffffffff},
    };

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        make_multiboot(f, 0x10000);
        st_le32(f->image + 64 + bad[i].offset, bad[i].value);
        assert_false(boot(f));
    }
    make_multiboot(f, 0x10008); /* a mandatory feature nobody knows */
    assert_false(boot(f));
    assert_int_equal(f->e.code, ERR_INVALID);
    make_multiboot(f, 0x10000);
    f->len = 64 + 16; /* ends in the header */
    assert_false(boot(f));
    make_multiboot(f, 0); /* says ELF, is none */
    assert_false(boot(f));
}

/* ---- ELF ---- */

static Elf64_Phdr *phdr(struct fix *f, unsigned n)
{
    return (Elf64_Phdr *)(f->image + sizeof(Elf64_Ehdr)) + n;
}

static void make_elf(struct fix *f, bool pvh)
{
    Elf64_Ehdr *h = (Elf64_Ehdr *)f->image;

    memset(f->image, 0, sizeof(f->image));
    memcpy(h->e_ident, ELFMAG, SELFMAG);
    h->e_ident[EI_CLASS] = ELFCLASS64;
    h->e_ident[EI_DATA] = ELFDATA2LSB;
    h->e_machine = EM_X86_64;
    h->e_entry = 0x1000040;
    h->e_phoff = sizeof(*h);
    h->e_phentsize = sizeof(Elf64_Phdr);
    h->e_phnum = pvh ? 3 : 2;
    *phdr(f, 0) = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = 0x1000, .p_paddr = 0x1000000,
                               .p_vaddr = 0xffffffff81000000, .p_filesz = 0x1000, .p_memsz = 0x3000};
    *phdr(f, 1) = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = 0x2000, .p_paddr = 0x1800000, .p_filesz = 16,
                               .p_memsz = 16};
    *phdr(f, 2) = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = 0x3000, .p_filesz = 64};
    memset(f->image + 0x1000, 0xcc, 0x1000);
    uint8_t *note = f->image + 0x3000;
    st_le32(note, 4);
    st_le32(note + 4, 4);
    st_le32(note + 8, 1); /* some other note first */
    memcpy(note + 12, "Xen", 4);
    note += 20;
    st_le32(note, 4);
    st_le32(note + 4, 8);
    st_le32(note + 8, 18);
    memcpy(note + 12, "Xen", 4);
    st_le64(note + 16, 0x1000100);
    f->len = 0x4000;
}

static void test_vmlinux(void **state)
{
    struct fix *f = *state;

    make_elf(f, false);
    assert_true(boot(f));
    assert_int_equal(f->s.rip, 0x1000040);
    assert_true(f->s.efer & EFER_LMA);
    assert_int_equal(peek(f, 0x1000ffc, 4), 0xcccccccc);
    assert_int_equal(peek(f, 0x1001000, 4), 0);
    assert_text(f, peek(f, f->s.gpr[X86_RSI] + 0x228, 4), "console=ttyS0");
}

static void test_pvh(void **state)
{
    struct fix *f = *state;

    make_elf(f, true);
    f->cfg.initrd = memfile("rd", 2);
    assert_true(boot(f));
    assert_int_equal(f->s.rip, 0x1000100);
    assert_int_equal(f->s.cr0 & (CR0_PE | CR0_PG), CR0_PE);
    uint64_t info = f->s.gpr[X86_RBX];
    assert_int_equal(peek(f, info, 4), 0x336ec578);
    assert_int_equal(peek(f, info + 4, 4), 1);
    assert_int_equal(peek(f, info + 12, 4), 1);
    assert_text(f, peek(f, info + 24, 8), "console=ttyS0");
    assert_int_equal(peek(f, info + 32, 8), 0xf0000);
    uint64_t module = peek(f, info + 16, 8);
    assert_int_equal(peek(f, peek(f, module, 8), 2), 'r' | 'd' << 8);
    assert_int_equal(peek(f, info + 48, 4), 4);
    assert_int_equal(peek(f, peek(f, info + 40, 8) + 8, 8), 0x9fc00);
}

static void test_hostile_elf(void **state)
{
    struct fix *f = *state;
    Elf64_Ehdr *h = (Elf64_Ehdr *)f->image;

    make_elf(f, false);
    h->e_phoff = UINT64_MAX - 8;
    assert_false(boot(f));
    make_elf(f, false);
    h->e_phnum = 0xffff;
    assert_false(boot(f));
    make_elf(f, false);
    h->e_phentsize = 8;
    assert_false(boot(f));
    make_elf(f, false);
    phdr(f, 0)->p_offset = UINT64_MAX;
    assert_false(boot(f));
    make_elf(f, false);
    phdr(f, 0)->p_filesz = 0x100000;
    assert_false(boot(f));
    make_elf(f, false);
    phdr(f, 0)->p_memsz = 1; /* less than in the file */
    assert_false(boot(f));
    make_elf(f, false);
    phdr(f, 0)->p_paddr = UINT64_MAX - 0x1000;
    assert_false(boot(f));
    make_elf(f, false);
    phdr(f, 1)->p_paddr = 0x1000800; /* overlap */
    assert_false(boot(f));
    make_elf(f, false);
    h->e_entry = 0;
    assert_false(boot(f));
    make_elf(f, false);
    h->e_machine = EM_AARCH64;
    assert_false(boot(f));
    make_elf(f, true);
    st_le32(f->image + 0x3000, 0xffffffff); /* note name beyond the end: no PVH, still a vmlinux */
    st_le32(f->image + 0x3004, 0xffffffff);
    assert_true(boot(f));
    assert_int_equal(f->s.rip, 0x1000040);
    make_elf(f, true);
    st_le64(f->image + 0x3000 + 36, 0x7000); /* PVH entry outside the kernel */
    assert_false(boot(f));
    h->e_ident[EI_CLASS] = ELFCLASS32;
    assert_false(boot(f));
}

static void test_not_a_kernel(void **state)
{
    struct fix *f = *state;

    memset(f->image, 'x', sizeof(f->image));
    for (f->len = 0; f->len < 20000; f->len += 499)
        assert_false(boot(f));
    assert_int_equal(f->e.code, ERR_INVALID);
    assert_true(f->e.hint[0] != '\0');
    memcpy(f->image, ELFMAG, SELFMAG);
    f->len = 52;
    assert_false(boot(f));
}

/* Any single byte of each kind of image may be anything. */
static void test_mutations(void **state)
{
    struct fix *f = *state;
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};

    for (unsigned kind = 0; kind < 3; kind++) {
        for (unsigned at = 0; at < 0x290; at++) {
            if (kind == 0 && at < 0x1f0)
                continue;
            if (kind == 1)
                make_multiboot(f, 0x10003);
            else if (kind == 2)
                make_elf(f, true);
            else
                make_bzimage(f, true);
            if (kind != 0 && at >= 256)
                break;
            f->image[at] = values[at % ARRAY_LEN(values)];
            boot(f);
            f->image[at] = 0xff;
            f->image[at + 1] = 0xff;
            boot(f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bzimage64, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bzimage32, setup, teardown),
        cmocka_unit_test_setup_teardown(test_initrd_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_bzimage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_multiboot_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_multiboot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vmlinux, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pvh, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_elf, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_kernel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mutations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
