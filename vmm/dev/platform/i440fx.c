/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 82441FX host bridge: PCI configuration ports and the PAM registers, which put RAM or ROM into the
 * BIOS area. Source: 82441FX data sheet (290549) ch. 3. DRAM timing, SMRAM and the write-only PAM mode
 * (treated as "no RAM") are left out. */
#include "vmm/dev/dev.h"

#define PAM0        0x59
#define PAM_READ    1u
#define PAM_WRITE   2u
#define PAM_COUNT   13 /* C0000-EFFFF in 16 KiB pieces, F0000-FFFFF as one */
#define PAM_PIECE   0x4000u
#define ISA_HOLE    0xa0000u
#define ISA_HOLE_SZ 0x60000u

/* Firmware takes this subsystem as a sign that fw_cfg is there. */
#define SUBVENDOR 0x1af4
#define SUBDEVICE 0x1100

struct i440fx {
    struct dev dev;
    struct pci_dev *pci;
    struct mem_region *writable[PAM_COUNT], *readonly[PAM_COUNT];
    struct {
        uint32_t config_address;
    } s;
};

/* Segment i: 0-11 are C0000h up, 12 is F0000h. */
static uint32_t segment_base(unsigned i)
{
    return 0xc0000u + i * PAM_PIECE;
}

static uint32_t segment_size(unsigned i)
{
    return i == PAM_COUNT - 1 ? 0x10000u : PAM_PIECE;
}

static unsigned segment_mode(const uint8_t *config, unsigned i)
{
    if (i == PAM_COUNT - 1)
        return config[PAM0] >> 4;
    return config[PAM0 + 1 + i / 2] >> (i % 2 * 4);
}

static void update_pam(struct i440fx *h)
{
    const uint8_t *config = pci_config(h->pci);
    struct mem *mem = h->dev.env->mem;

    mem_begin(mem);
    for (unsigned i = 0; i < PAM_COUNT; i++) {
        unsigned mode = segment_mode(config, i) & (PAM_READ | PAM_WRITE);
        mem_region_set(mem, h->writable[i], segment_base(i), mode == (PAM_READ | PAM_WRITE));
        mem_region_set(mem, h->readonly[i], segment_base(i), mode == PAM_READ);
    }
    mem_commit(mem);
}

static void config_written(void *opaque, unsigned offset, unsigned size)
{
    if (offset <= PAM0 + 6 && offset + size > PAM0)
        update_pam(opaque);
}

static const struct pci_dev_ops i440fx_pci_ops = {.config_written = config_written};

static uint32_t address_read(void *opaque, uint16_t offset, unsigned size)
{
    const struct i440fx *h = opaque;

    /* only a doubleword access reaches CONFIG_ADDRESS */
    return offset == 0 && size == 4 ? h->s.config_address : UINT32_MAX;
}

static void address_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct i440fx *h = opaque;

    if (offset == 0 && size == 4)
        h->s.config_address = value & ~3u;
}

static const struct pio_ops address_ops = {.read = address_read, .write = address_write};

static uint32_t data_read(void *opaque, uint16_t offset, unsigned size)
{
    const struct i440fx *h = opaque;

    return pci_config_read(h->dev.env->pci, h->s.config_address, offset, size);
}

static void data_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    const struct i440fx *h = opaque;

    pci_config_write(h->dev.env->pci, h->s.config_address, offset, value, size);
}

static const struct pio_ops data_ops = {.read = data_read, .write = data_write};

/* What no ROM and no device answers between 640 KiB and 1 MiB goes to the ISA bus, not to RAM. */
static uint64_t hole_read(void *opaque, uint64_t offset, unsigned size)
{
    (void)opaque;
    (void)offset;
    return mask_bytes(size);
}

static void hole_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    (void)opaque;
    (void)offset;
    (void)value;
    (void)size;
}

static const struct mmio_ops hole_ops = {.read = hole_read, .write = hole_write};

static bool i440fx_realize(struct dev *d, struct err *e)
{
    struct i440fx *h = container_of(d, struct i440fx, dev);
    const struct dev_env *env = d->env;
    static const struct pci_ids ids = {.vendor = 0x8086, .device = 0x1237, .subvendor = SUBVENDOR,
                                       .subdevice = SUBDEVICE, .class_code = 6, .revision = 2};

    h->pci = pci_add(env->pci, 0, d->id, &ids, &i440fx_pci_ops, h, e);
    if (!h->pci)
        return false;
    memset(pci_write_mask(h->pci) + PAM0, 0x33, 7);
    pci_write_mask(h->pci)[PAM0] = 0x30;
    pci_write_mask(h->pci)[0x72] = 0x7f; /* SMRAM: kept, without effect */
    mem_begin(env->mem);
    mem_add_mmio(env->mem, "isa-hole", ISA_HOLE, ISA_HOLE_SZ, MEM_PRIO_DEVICE - 1, &hole_ops, h);
    for (unsigned i = 0; i < PAM_COUNT; i++) {
        h->writable[i] = mem_add_ram_alias(env->mem, "pam", segment_base(i), segment_size(i),
                                           MEM_PRIO_SHADOW, false);
        h->readonly[i] = mem_add_ram_alias(env->mem, "pam-ro", segment_base(i), segment_size(i),
                                           MEM_PRIO_SHADOW, true);
    }
    update_pam(h);
    mem_commit(env->mem);
    bus_add_pio(env->bus, "pci-address", 0xcf8, 4, &address_ops, h);
    bus_add_pio(env->bus, "pci-data", 0xcfc, 4, &data_ops, h);
    return true;
}

static void i440fx_reset(struct dev *d)
{
    struct i440fx *h = container_of(d, struct i440fx, dev);

    pci_reset(h->pci);
    memset(pci_config(h->pci) + PAM0, 0, 7);
    pci_config(h->pci)[0x72] = 0x02;
    h->s.config_address = 0;
    update_pam(h);
}

static void i440fx_unrealize(struct dev *d)
{
    struct i440fx *h = container_of(d, struct i440fx, dev);

    if (h->pci)
        pci_remove(h->pci);
}

const struct dev_class i440fx_class = {
    .name = "i440fx",
    .summary = "82441FX host bridge",
    .size = sizeof(struct i440fx),
    .realize = i440fx_realize,
    .unrealize = i440fx_unrealize,
    .reset = i440fx_reset,
};
