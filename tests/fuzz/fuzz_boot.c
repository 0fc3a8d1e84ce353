/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel files that nobody should trust: bzImage, Multiboot, PVH and plain ELF. The first byte says how long the
 * command line is, the second what comes with the kernel; the rest is the file. Whatever is accepted must leave the
 * processor at an address in RAM, and what came with the kernel where the boot information says. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/fw/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM         (8 * MIB)
#define INITRD      5000u
#define MODULES_MAX 3
#define LINUX_RAMDISK 0x218 /* in the zero page */

static struct mem *mem;
static int kernel, initrd, modules[MODULES_MAX];

static void must(bool ok)
{
    if (!ok)
        abort();
}

static int file(uint8_t fill, size_t len)
{
    static uint8_t data[INITRD];
    int fd = memfd_create("image", MFD_CLOEXEC);

    memset(data, fill, len);
    must(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    return fd;
}

static void start(void)
{
    struct err e;

    mem = mem_new(RAM, &e);
    must(mem != NULL);
    kernel = file(0, 0);
    initrd = file(0xa5, INITRD);
    for (unsigned i = 0; i < MODULES_MAX; i++)
        modules[i] = file((uint8_t)(i + 1), i ? 100 * i : 0);
}

/* The initrd's bytes are at its place, which nothing else overwrote. */
static void check_linux_initrd(uint64_t params)
{
    uint8_t where[8], text[INITRD];

    must(mem_read(mem, params + LINUX_RAMDISK, where, sizeof(where)) && ld_le32(where + 4) == INITRD);
    must(mem_read(mem, ld_le32(where), text, INITRD));
    for (unsigned i = 0; i < INITRD; i++)
        must(text[i] == 0xa5);
}

static void check(const struct x86_state *s, bool has_initrd)
{
    bool is_long = s->efer & EFER_LMA;

    must((s->cr0 & CR0_PE) && s->rip < 4 * GIB);
    must(is_long == !!(s->cr0 & CR0_PG));
    must(s->gpr[X86_RSI] || s->gpr[X86_RBX]);
    if (has_initrd && s->gpr[X86_RSI])
        check_linux_initrd(s->gpr[X86_RSI]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char cmdline[4 * 255 + 1];
    struct x86_state s;
    struct err e = ERR_INIT;

    if (!mem)
        start();
    if (size < 2)
        return 0;
    unsigned len = data[0] * 4u;
    memset(cmdline, 'c', len);
    cmdline[len] = '\0';
    struct fw_boot_cfg cfg = {.mem = mem, .kernel = kernel, .initrd = data[1] & 1 ? initrd : -1, .cmdline = cmdline,
                              .module_count = data[1] >> 1 & 3, .rsdp = data[1] & 8 ? 0xe0000 : 0};
    for (unsigned i = 0; i < cfg.module_count; i++) {
        cfg.modules[i] = modules[i];
        cfg.module_args[i] = data[1] & 16 ? cmdline : NULL;
    }
    must(ftruncate(kernel, 0) == 0 && pwrite(kernel, data + 2, size - 2, 0) == (ssize_t)(size - 2));
    x86_state_reset(&s, 0, true, false);
    if (fw_boot_load(&cfg, &s, &e))
        check(&s, cfg.initrd >= 0);
    else
        must(e.code != ERR_NONE && e.msg[0]);
    return 0;
}
