/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PC: which devices there are, at which addresses, and how they are wired. Contracts in vm.h.
 *
 * Slots of PCI bus 0: 0 host bridge, 1 ISA bridge with IDE (1.1) and power management (1.3), 2 VGA, then
 * disks, networks and the rest in the order of the configuration. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/buf.h"
#include "vmm/base/fd.h"
#include "vmm/block/blk.h"
#include "vmm/dev/input/hub.h"
#include "vmm/dev/platform/acpi_pm.h"
#include "vmm/dev/platform/fwcfg.h"
#include "vmm/dev/platform/hpet.h"
#include "vmm/dev/platform/rtc.h"
#include "vmm/fw/boot.h"
#include "vmm/fw/pci_assign.h"
#include "vmm/fw/tables.h"
#include "vmm/net/netdev.h"
#include "vmm/vm/vm.h"

#define DEVICES_MAX   64
#define IDE_UNITS     4
#define BIOS_MAX      (16 * MIB)
#define BIOS_ISA_SIZE (128 * KIB) /* the end of it, also below 1 MiB */
#define VGABIOS_MAX   (256 * KIB)

/* CMOS cells that SeaBIOS reads. */
#define CMOS_BOOT_ORDER  0x3d
#define CMOS_BOOT_ORDER3 0x38
#define CMOS_CPUS        0x5f

struct machine {
    const struct vm_config *cfg;
    struct vm_fds *fds;
    struct dev_env env;
    struct dev *devs[DEVICES_MAX]; /* in order of creation */
    unsigned dev_count;
    struct dev *acpi_pm, *fwcfg, *rtc;
    struct input_hub *hub;
    struct blk *blks[CONF_DISKS + CONF_CDROMS];
    unsigned blk_count;
    struct netdev *nets[CONF_NETWORKS];
    unsigned net_count;
    struct fw_tables_cfg tables;
    void *bios;
    uint64_t bios_size;
    char *vgabios;
    size_t vgabios_size;
    struct buf boot_disks, boot_cdroms; /* paths for SeaBIOS, a line each */
};

static struct dev *create(struct machine *m, const char *cls, const char *id)
{
    return dev_new(&m->env, cls, id);
}

/* The machine owns the device from now on, realized or not. */
static bool add(struct machine *m, struct dev *d, struct err *e)
{
    if (m->dev_count == DEVICES_MAX) {
        dev_free(d);
        return err_set(e, ERR_LIMIT, "the machine has more than %d devices", DEVICES_MAX);
    }
    m->devs[m->dev_count++] = d;
    return dev_realize(d, e);
}

static bool direct_boot(const struct machine *m)
{
    return m->fds->kernel >= 0;
}

/* ---- chipset ---- */

static bool add_timers(struct machine *m, struct err *e)
{
    struct dev *hpet = create(m, "hpet", "hpet"), *pit, *rtc;

    if (!add(m, hpet, e))
        return false;
    pit = create(m, "pit", "pit");
    dev_set_ptr(pit, "irq", hpet_pit_line(hpet));
    if (!add(m, pit, e))
        return false;
    m->rtc = rtc = create(m, "rtc", "rtc");
    dev_set_ptr(rtc, "irq", hpet_rtc_line(hpet));
    dev_set_u64(rtc, "localtime", m->cfg->rtc == RTC_LOCALTIME);
    dev_set_u64(rtc, "memory-low", mem_low_size(m->env.mem));
    dev_set_u64(rtc, "memory-high", mem_high_size(m->env.mem));
    return add(m, rtc, e);
}

static bool add_chipset(struct machine *m, struct err *e)
{
    if (!add(m, create(m, "pic", "pic"), e) || !add(m, create(m, "ioapic", "ioapic"), e) ||
        !add(m, create(m, "ferr", "ferr"), e) || !add_timers(m, e) || !add(m, create(m, "i440fx", "host-bridge"), e) ||
        !add(m, create(m, "piix3", "isa-bridge"), e))
        return false;
    m->acpi_pm = create(m, "acpi-pm", "acpi-pm");
    if (!add(m, m->acpi_pm, e))
        return false;
    m->fwcfg = create(m, "fwcfg", "fwcfg");
    if (!add(m, m->fwcfg, e))
        return false;
    struct dev *debugcon = create(m, "debugcon", "debugcon");
    dev_set_u64(debugcon, "fd", (uint32_t)m->fds->debugcon);
    if (!add(m, debugcon, e))
        return false;
    return !m->cfg->debug_exit || add(m, create(m, "isa-debug-exit", "debug-exit"), e);
}

static bool add_serial(struct machine *m, struct chr *const serial[2], struct err *e)
{
    static const struct {
        const char *id;
        uint16_t port;
        uint8_t irq;
    } com[2] = {{"com1", 0x3f8, 4}, {"com2", 0x2f8, 3}};

    for (unsigned i = 0; i < 2; i++) {
        if (!serial[i])
            continue;
        struct dev *d = create(m, "uart", com[i].id);
        dev_set_u64(d, "port", com[i].port);
        dev_set_u64(d, "irq", com[i].irq);
        dev_set_ptr(d, "chr", serial[i]);
        if (!add(m, d, e))
            return false;
        m->tables.acpi.com[i] = true;
    }
    return true;
}

/* ---- screen ---- */

static char *read_fd(int fd, uint64_t max, size_t *len, const char *what, struct err *e)
{
    struct stat st;
    char *p;

    if (fstat(fd, &st) < 0 || st.st_size <= 0 || (uint64_t)st.st_size > max) {
        err_set(e, ERR_INVALID, "%s is empty or larger than %llu KiB", what,
                (unsigned long long)(max / KIB));
        return NULL;
    }
    p = try_alloc((size_t)st.st_size);
    if (!p || pread(fd, p, (size_t)st.st_size, 0) != st.st_size) {
        err_errno(e, p ? errno : ENOMEM, "cannot read %s", what);
        x_free(p);
        return NULL;
    }
    *len = (size_t)st.st_size;
    return p;
}

static bool add_vga(struct machine *m, struct surface *surface, struct err *e)
{
    struct dev *d = create(m, "vga", "vga");

    dev_set_ptr(d, "surface", surface);
    dev_set_u64(d, "text_mode_on_reset", direct_boot(m));
    if (m->fds->vgabios >= 0) {
        m->vgabios = read_fd(m->fds->vgabios, VGABIOS_MAX, &m->vgabios_size, "the VGA BIOS", e);
        if (!m->vgabios) {
            dev_free(d);
            return false;
        }
        dev_set_ptr(d, "rom", m->vgabios);
        dev_set_u64(d, "rom_size", m->vgabios_size);
    }
    return add(m, d, e);
}

/* ---- disks, networks, input ---- */

/* The back end of an image, which the machine owns. */
static struct blk *open_image(struct machine *m, int *fd, bool readonly, struct err *e)
{
    struct blk *b = blk_open("raw", *fd, readonly, m->env.loop, e);

    *fd = -1;
    if (b)
        m->blks[m->blk_count++] = b;
    return b;
}

/* As add; *slot tells where the device went on the PCI bus. */
static bool add_pci(struct machine *m, struct dev *d, unsigned *slot, struct err *e)
{
    *slot = 0;
    while (*slot < 31 && pci_bus_dev(m->env.pci, *slot << 3))
        ++*slot;
    return add(m, d, e);
}

static bool add_virtio_disk(struct machine *m, unsigned i, struct err *e)
{
    const struct conf_disk *c = &m->cfg->disks[i];
    struct blk *b = open_image(m, &m->fds->disks[i], c->readonly, e);
    unsigned slot;

    if (!b)
        return err_wrap(e, "disk \"%s\"", c->path);
    struct dev *d = create(m, "virtio-blk", c->id);
    dev_set_ptr(d, "blk", b);
    if (!add_pci(m, d, &slot, e))
        return false;
    buf_printf(&m->boot_disks, "/pci@i0cf8/scsi@%x/disk@0,0\n", slot);
    return true;
}

/* Units 0 and 1 of the primary channel, then 2 and 3 of the secondary: disks from the front, CDs from the
 * secondary channel on as long as there is room. */
static bool choose_unit(const bool used[IDE_UNITS], unsigned first, unsigned *unit)
{
    for (unsigned i = 0; i < IDE_UNITS; i++) {
        *unit = (first + i) % IDE_UNITS;
        if (!used[*unit])
            return true;
    }
    return false;
}

static bool attach_ide(struct machine *m, struct dev *ide, bool used[IDE_UNITS], unsigned first,
                       struct blk *b, bool cdrom, struct err *e)
{
    unsigned unit;
    char prop[8];

    if (!choose_unit(used, first, &unit))
        return err_set(e, ERR_LIMIT, "more than %d IDE disks and CD drives", IDE_UNITS);
    used[unit] = true;
    snprintf(prop, sizeof(prop), "drive%u", unit);
    dev_set_ptr(ide, prop, b);
    snprintf(prop, sizeof(prop), "cdrom%u", unit);
    dev_set_u64(ide, prop, cdrom);
    buf_printf(cdrom ? &m->boot_cdroms : &m->boot_disks, "/pci@i0cf8/ide@1,1/drive@%x/disk@%x\n",
               unit / 2, unit % 2);
    return true;
}

static bool attach_ide_drives(struct machine *m, struct dev *ide, struct err *e)
{
    bool used[IDE_UNITS] = {false};

    for (unsigned i = 0; i < m->cfg->disk_count; i++) {
        const struct conf_disk *c = &m->cfg->disks[i];
        if (c->bus != DISK_IDE)
            continue;
        struct blk *b = open_image(m, &m->fds->disks[i], c->readonly, e);
        if (!b)
            return err_wrap(e, "disk \"%s\"", c->path);
        if (!attach_ide(m, ide, used, 0, b, false, e))
            return false;
    }
    for (unsigned i = 0; i < m->cfg->cdrom_count; i++) {
        struct blk *b = NULL; /* an empty drive */
        if (m->fds->cdroms[i] >= 0 && !(b = open_image(m, &m->fds->cdroms[i], true, e)))
            return err_wrap(e, "CD image \"%s\"", m->cfg->cdroms[i].path);
        if (!attach_ide(m, ide, used, 2, b, true, e))
            return false;
    }
    return true;
}

static bool add_disks(struct machine *m, struct err *e)
{
    struct dev *ide = create(m, "piix3-ide", "ide");

    if (!attach_ide_drives(m, ide, e)) {
        dev_free(ide);
        return false;
    }
    if (!add(m, ide, e))
        return false;
    for (unsigned i = 0; i < m->cfg->disk_count; i++)
        if (m->cfg->disks[i].bus == DISK_VIRTIO && !add_virtio_disk(m, i, e))
            return false;
    return true;
}

static bool add_networks(struct machine *m, struct err *e)
{
    for (unsigned i = 0; i < m->cfg->network_count; i++) {
        const struct conf_network *c = &m->cfg->networks[i];
        unsigned slot;

        if (m->fds->nets[i] < 0)
            continue;
        struct netdev *nd = netdev_open(m->fds->nets[i], m->env.loop);
        m->fds->nets[i] = -1;
        m->nets[m->net_count++] = nd;
        struct dev *d = create(m, "virtio-net", c->id);
        dev_set_ptr(d, "netdev", nd);
        dev_set_str(d, "mac", c->mac);
        if (!add_pci(m, d, &slot, e))
            return false;
    }
    return true;
}

static void show_leds(void *opaque, uint8_t leds)
{
    surface_set_leds(opaque, leds);
}

static bool add_input(struct machine *m, struct surface *surface, struct err *e)
{
    m->hub = input_hub_new(&m->env, m->fds->input);
    input_hub_on_leds(m->hub, show_leds, surface);
    m->fds->input = -1;
    struct dev *d = create(m, "i8042", "i8042");
    dev_set_ptr(d, "hub", m->hub);
    if (!add(m, d, e))
        return false;
    d = create(m, "virtio-keyboard", "keyboard");
    dev_set_ptr(d, "hub", m->hub);
    if (!add(m, d, e))
        return false;
    if (m->cfg->pointer != POINTER_TABLET)
        return true;
    d = create(m, "virtio-tablet", "tablet");
    dev_set_ptr(d, "hub", m->hub);
    return add(m, d, e);
}

/* ---- firmware ---- */

/* boot_order names classes: "disk,cdrom". SeaBIOS tries the paths in order, and CMOS types for what
 * has none. */
static void set_boot_order(struct machine *m)
{
    const char *order = m->cfg->boot_order ? m->cfg->boot_order : "disk,cdrom";
    struct buf lines = BUF_INIT;
    unsigned types = 0, shift = 0;

    while (*order) {
        size_t len = strcspn(order, ", ");
        const struct buf *b = NULL;
        unsigned type = 0;
        if (len == 4 && memcmp(order, "disk", 4) == 0) {
            b = &m->boot_disks;
            type = 2;
        } else if (len == 5 && memcmp(order, "cdrom", 5) == 0) {
            b = &m->boot_cdroms;
            type = 3;
        }
        if (b && shift < 12) {
            buf_add(&lines, buf_str(b), b->len);
            types |= type << shift;
            shift += 4;
        }
        order += len;
        order += strspn(order, ", ");
    }
    rtc_set_cmos(m->rtc, CMOS_BOOT_ORDER, (uint8_t)types);
    rtc_set_cmos(m->rtc, CMOS_BOOT_ORDER3, (uint8_t)(types >> 4 & 0xf0));
    fwcfg_add_file(m->fwcfg, "bootorder", buf_str(&lines), (uint32_t)lines.len + 1);
    buf_free(&lines);
}

static bool add_bios(struct machine *m, struct err *e)
{
    struct mem *mem = m->env.mem;
    struct stat st;

    if (m->fds->bios < 0)
        return err_set(e, ERR_INVALID, "neither a kernel nor firmware to start");
    if (fstat(m->fds->bios, &st) < 0 || (uint64_t)st.st_size < BIOS_ISA_SIZE ||
        (uint64_t)st.st_size > BIOS_MAX || st.st_size % (off_t)PAGE_SIZE)
        return err_set(e, ERR_INVALID, "the firmware image has an odd size");
    m->bios_size = (uint64_t)st.st_size;
    m->bios = mmap(NULL, m->bios_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->bios == MAP_FAILED) {
        m->bios = NULL;
        return err_errno(e, errno, "cannot allocate memory for the firmware");
    }
    if (pread(m->fds->bios, m->bios, m->bios_size, 0) != (ssize_t)m->bios_size)
        return err_set(e, ERR_IO, "cannot read the firmware image");
    uint8_t *isa = (uint8_t *)m->bios + m->bios_size - BIOS_ISA_SIZE;
    if (!mem_add_host(mem, "bios", 4 * GIB - m->bios_size, m->bios_size, MEM_PRIO_ROM, m->bios,
                      true) ||
        !mem_add_host(mem, "bios-isa", MIB - BIOS_ISA_SIZE, BIOS_ISA_SIZE, MEM_PRIO_ROM, isa, true))
        return err_set(e, ERR_LIMIT, "no room for the firmware");
    return true;
}

/* ---- life ---- */

static bool build(struct machine *m, const struct machine_cfg *c, struct err *e)
{
    if (!direct_boot(m) && !add_bios(m, e))
        return false;
    if (!add_chipset(m, e) || !add_serial(m, c->serial, e) || !add_vga(m, c->surface, e) ||
        !add_disks(m, e) || !add_networks(m, e) ||
        !add(m, create(m, "virtio-rng", "rng"), e) || !add_input(m, c->surface, e))
        return false;
    set_boot_order(m);
    rtc_set_cmos(m->rtc, CMOS_CPUS, (uint8_t)(m->cfg->cpus - 1));
    fw_tables_fwcfg(&m->tables, m->env.mem, m->fwcfg);
    return true;
}

struct machine *machine_new(const struct machine_cfg *c, struct err *e)
{
    struct machine *m = X_NEW(struct machine);

    m->cfg = c->cfg;
    m->fds = c->fds;
    m->env = *c->env;
    m->tables.acpi.cpus = c->cfg->cpus;
    m->tables.smbios = (struct smbios_cfg){.name = c->cfg->name, .uuid = c->cfg->uuid,
                                           .cpus = c->cfg->cpus, .memory = c->cfg->memory};
    bus_lock(m->env.bus);
    bool ok = build(m, c, e);
    bus_unlock(m->env.bus);
    if (!ok) {
        machine_free(m);
        return NULL;
    }
    return m;
}

void machine_free(struct machine *m)
{
    if (!m)
        return;
    bus_lock(m->env.bus);
    while (m->dev_count)
        dev_free(m->devs[--m->dev_count]);
    input_hub_free(m->hub);
    for (unsigned i = 0; i < m->net_count; i++)
        netdev_close(m->nets[i]);
    bus_unlock(m->env.bus);
    for (unsigned i = 0; i < m->blk_count; i++) /* completions may take the machine lock */
        blk_close(m->blks[i]);
    /* the ROM's regions live until mem does, but no vCPU runs any more */
    if (m->bios)
        munmap(m->bios, m->bios_size);
    x_free(m->vgabios);
    buf_free(&m->boot_disks);
    buf_free(&m->boot_cdroms);
    x_free(m);
}

static bool load_kernel(struct machine *m, struct x86_state *boot, struct err *e)
{
    struct fw_boot_cfg c = {
        .mem = m->env.mem,
        .kernel = m->fds->kernel,
        .initrd = m->fds->initrd,
        .cmdline = m->cfg->append,
        .module_count = m->cfg->module_count,
    };

    for (unsigned i = 0; i < m->cfg->module_count; i++) {
        c.modules[i] = m->fds->modules[i];
        c.module_args[i] = m->cfg->modules[i];
    }
    fw_pci_assign(m->env.pci, m->env.bus);
    c.rsdp = fw_tables_direct(&m->tables, m->env.mem);
    return fw_boot_load(&c, boot, e);
}

bool machine_reset(struct machine *m, struct x86_state *boot, struct err *e)
{
    bool ok = true;

    bus_lock(m->env.bus);
    for (unsigned i = 0; i < m->dev_count; i++)
        dev_reset(m->devs[i]);
    if (direct_boot(m))
        ok = load_kernel(m, boot, e);
    bus_unlock(m->env.bus);
    return ok;
}

void machine_quiesce(struct machine *m)
{
    bus_lock(m->env.bus);
    for (unsigned i = 0; i < m->dev_count; i++)
        if (m->devs[i]->cls->quiesce)
            m->devs[i]->cls->quiesce(m->devs[i]);
    bus_unlock(m->env.bus);
}

void machine_resume(struct machine *m)
{
    bus_lock(m->env.bus);
    for (unsigned i = 0; i < m->dev_count; i++)
        if (m->devs[i]->cls->resume)
            m->devs[i]->cls->resume(m->devs[i]);
    bus_unlock(m->env.bus);
}

void machine_power_button(struct machine *m)
{
    bus_lock(m->env.bus);
    acpi_pm_power_button(m->acpi_pm);
    bus_unlock(m->env.bus);
}

void machine_input(struct machine *m, const struct input_event *ev)
{
    bus_lock(m->env.bus);
    input_hub_event(m->hub, ev);
    bus_unlock(m->env.bus);
}

void machine_blk_stats(struct machine *m, uint64_t *read_bytes, uint64_t *write_bytes)
{
    *read_bytes = *write_bytes = 0;
    for (unsigned i = 0; i < m->blk_count; i++) {
        struct blk_stats st;
        blk_get_stats(m->blks[i], &st);
        *read_bytes += st.read_bytes;
        *write_bytes += st.write_bytes;
    }
}
