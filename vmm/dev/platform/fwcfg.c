/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fwcfg.h. All items are read only; the selector's write bit is ignored. */
#include "vmm/dev/platform/fwcfg.h"

#include "vmm/base/alloc.h"

#define PORT_SELECT 0x510 /* two ports; data is the second byte's port */
#define PORT_DMA    0x514
#define ID_DMA      2u
#define ID_PORTS    1u
#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */

#define DMA_ERROR  BIT(0)
#define DMA_READ   BIT(1)
#define DMA_SKIP   BIT(2)
#define DMA_SELECT BIT(3)
#define DMA_WRITE  BIT(4)

#define FILES_MAX  48
#define FIXED_MAX  FWCFG_FILE_FIRST
#define ARCH_BIT   0x8000u
#define KEY_MASK   0x3fffu /* without the architecture and write bits */
#define NAME_SIZE  56
#define DIR_ENTRY  64 /* size, key, reserved, name */

struct item {
    uint8_t *data;
    uint32_t len;
};

struct fwcfg {
    struct dev dev;
    struct item fixed[FIXED_MAX], arch[FIXED_MAX];
    struct {
        char name[NAME_SIZE];
        struct item item;
    } files[FILES_MAX];
    unsigned file_count;
    struct {
        uint64_t dma_address;
        uint32_t offset;
        uint16_t key;
    } s;
};

static struct item *find(struct fwcfg *f, uint16_t key)
{
    unsigned n = key & KEY_MASK;

    if (n < FIXED_MAX)
        return key & ARCH_BIT ? &f->arch[n] : &f->fixed[n];
    if (!(key & ARCH_BIT) && n - FWCFG_FILE_FIRST < f->file_count)
        return &f->files[n - FWCFG_FILE_FIRST].item;
    return NULL;
}

static void set_item(struct item *it, const void *data, uint32_t len)
{
    x_free(it->data);
    it->data = x_alloc(len ? len : 1);
    it->len = len;
    memcpy(it->data, data, len);
}

/* ---- contents ---- */

void fwcfg_add_item(struct dev *d, uint16_t key, const void *data, uint32_t len)
{
    struct item *it = find(container_of(d, struct fwcfg, dev), key);

    if (it)
        set_item(it, data, len);
}

void fwcfg_add_u16(struct dev *d, uint16_t key, uint16_t v)
{
    uint8_t bytes[2];

    st_le16(bytes, v);
    fwcfg_add_item(d, key, bytes, sizeof(bytes));
}

void fwcfg_add_u64(struct dev *d, uint16_t key, uint64_t v)
{
    uint8_t bytes[8];

    st_le64(bytes, v);
    fwcfg_add_item(d, key, bytes, sizeof(bytes));
}

static void rebuild_directory(struct fwcfg *f)
{
    uint8_t dir[4 + FILES_MAX * DIR_ENTRY] = {0};

    st_be32(dir, f->file_count);
    for (unsigned i = 0; i < f->file_count; i++) {
        uint8_t *entry = dir + 4 + i * DIR_ENTRY;
        st_be32(entry, f->files[i].item.len);
        st_be16(entry + 4, (uint16_t)(FWCFG_FILE_FIRST + i));
        memcpy(entry + 8, f->files[i].name, NAME_SIZE);
    }
    set_item(&f->fixed[FWCFG_FILE_DIR], dir, 4 + f->file_count * DIR_ENTRY);
}

void fwcfg_add_file(struct dev *d, const char *name, const void *data, uint32_t len)
{
    struct fwcfg *f = container_of(d, struct fwcfg, dev);
    unsigned i = 0;

    while (i < f->file_count && strcmp(f->files[i].name, name) != 0)
        i++;
    if (i == FILES_MAX || strlen(name) >= NAME_SIZE) {
        log_error("fwcfg", "no room for file \"%s\"", name);
        return;
    }
    if (i == f->file_count) {
        f->file_count++;
        memcpy(f->files[i].name, name, strlen(name) + 1);
    }
    set_item(&f->files[i].item, data, len);
    rebuild_directory(f);
}

/* ---- guest side ---- */

static void select_key(struct fwcfg *f, uint16_t key)
{
    f->s.key = key;
    f->s.offset = 0;
}

/* Next len bytes of the selected item, zeroes after its end. */
static void read_bytes(struct fwcfg *f, uint8_t *dst, uint32_t len)
{
    const struct item *it = find(f, f->s.key);
    uint32_t there = it && f->s.offset < it->len ? MIN(len, it->len - f->s.offset) : 0;

    if (there)
        memcpy(dst, it->data + f->s.offset, there);
    memset(dst + there, 0, len - there);
    f->s.offset = f->s.offset + len < f->s.offset ? UINT32_MAX : f->s.offset + len;
}

/* False: the guest's buffer is not RAM. */
static bool dma_read(struct fwcfg *f, uint64_t gpa, uint32_t len)
{
    uint8_t *host = mem_host(f->dev.env->mem, gpa, len);

    if (!host)
        return len == 0;
    read_bytes(f, host, len);
    mem_dirty(f->dev.env->mem, gpa, len);
    return true;
}

static void dma_run(struct fwcfg *f, uint64_t gpa)
{
    struct mem *mem = f->dev.env->mem;
    uint8_t request[16], status[4];

    if (!mem_read(mem, gpa, request, sizeof(request))) {
        log_guest("fwcfg", "DMA request at %#llx is not in RAM", (unsigned long long)gpa);
        return;
    }
    uint32_t control = ld_be32(request), len = ld_be32(request + 4);
    bool ok = true;

    if (control & DMA_SELECT)
        select_key(f, (uint16_t)(control >> 16));
    if (control & DMA_READ)
        ok = dma_read(f, ld_be64(request + 8), len);
    else if (control & DMA_WRITE)
        ok = false;
    else if (control & DMA_SKIP)
        f->s.offset = f->s.offset + len < f->s.offset ? UINT32_MAX : f->s.offset + len;
    st_be32(status, ok ? 0 : DMA_ERROR);
    mem_write(mem, gpa, status, sizeof(status));
}

static uint32_t data_read(void *opaque, uint16_t offset, unsigned size)
{
    uint8_t byte;

    (void)size;
    if (offset == 0)
        return 0;
    read_bytes(opaque, &byte, 1);
    return byte;
}

static void select_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    if (offset == 0 && size == 2)
        select_key(opaque, (uint16_t)value);
}

static const struct pio_ops select_ops = {.read = data_read, .write = select_write, .max_size = 2};

static uint32_t dma_reg_read(void *opaque, uint16_t offset, unsigned size)
{
    uint8_t bytes[8];

    (void)opaque;
    st_be64(bytes, DMA_SIGNATURE);
    return offset + size <= 8 ? (uint32_t)ld_le(bytes + offset, size) : 0;
}

/* The address is big endian, its lower half starts the transfer. */
static void dma_reg_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct fwcfg *f = opaque;
    uint8_t bytes[4];

    if (size != 4)
        return;
    st_le32(bytes, value);
    if (offset == 0) {
        f->s.dma_address = (uint64_t)ld_be32(bytes) << 32;
    } else if (offset == 4) {
        uint64_t gpa = f->s.dma_address | ld_be32(bytes);
        f->s.dma_address = 0;
        dma_run(f, gpa);
    }
}

static const struct pio_ops dma_ops = {.read = dma_reg_read, .write = dma_reg_write};

static bool fwcfg_realize(struct dev *d, struct err *e)
{
    struct fwcfg *f = container_of(d, struct fwcfg, dev);
    uint8_t id[4];

    (void)e;
    fwcfg_add_item(d, FWCFG_SIGNATURE, "QEMU", 4);
    st_le32(id, ID_PORTS | ID_DMA);
    fwcfg_add_item(d, FWCFG_ID, id, sizeof(id));
    rebuild_directory(f);
    bus_add_pio(d->env->bus, "fwcfg", PORT_SELECT, 2, &select_ops, f);
    bus_add_pio(d->env->bus, "fwcfg-dma", PORT_DMA, 8, &dma_ops, f);
    return true;
}

static void fwcfg_unrealize(struct dev *d)
{
    struct fwcfg *f = container_of(d, struct fwcfg, dev);

    for (unsigned i = 0; i < FIXED_MAX; i++) {
        x_free(f->fixed[i].data);
        x_free(f->arch[i].data);
    }
    for (unsigned i = 0; i < f->file_count; i++)
        x_free(f->files[i].item.data);
}

static void fwcfg_reset(struct dev *d)
{
    struct fwcfg *f = container_of(d, struct fwcfg, dev);

    select_key(f, 0);
    f->s.dma_address = 0;
}

const struct dev_class fwcfg_class = {
    .name = "fwcfg",
    .summary = "firmware configuration interface",
    .size = sizeof(struct fwcfg),
    .realize = fwcfg_realize,
    .unrealize = fwcfg_unrealize,
    .reset = fwcfg_reset,
};
