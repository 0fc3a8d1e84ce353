/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Power management function of a PIIX4: fixed ACPI registers, PM timer, GPE0 block, and the SMI command
 * port, whose commands take effect at once because there is no SMM. Source: 82371AB data sheet
 * (290562) ch. 7, ACPI 6.4 ch. 4.8. SMBus and device traps are left out. */
#include "vmm/dev/platform/acpi_pm.h"

#define PM_HZ       3579545
#define PM_IO_SIZE  64
#define PMTMR_BITS  24
#define DEVACTB     0x58
#define APMC_EN     BIT(25)
#define PMIOSE      BIT(0)

#define PM1_TMR    BIT(0)
#define PM1_GBL    BIT(5)
#define PM1_PWRBTN BIT(8)
#define PM1_RTC    BIT(10)
#define PM1_WAK    BIT(15)
#define PM1_EVENTS (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC)

#define PM1_SCI_EN  BIT(0)
#define PM1_SLP_EN  BIT(13)
#define PM1_CONTROL (PM1_SCI_EN | BIT(1) | 7u << 10)

struct acpi_pm_state {
    uint16_t status, enable, control;
    uint16_t gpe_status, gpe_enable;
    uint8_t apm_control, apm_status;
    int64_t tmr_seen; /* toggles of the timer's top bit that have been accounted for */
};

struct acpi_pm {
    struct dev dev;
    struct pci_dev *pci;
    struct pio_region *io;
    struct timer timer;
    struct acpi_pm_state s;
};

/* ---- PM timer ---- */

static uint64_t pm_ticks(const struct acpi_pm *a)
{
    return (uint64_t)((unsigned __int128)clock_now(a->dev.env->clock) * PM_HZ / NS_PER_S);
}

static int64_t toggles(const struct acpi_pm *a)
{
    return (int64_t)(pm_ticks(a) >> (PMTMR_BITS - 1));
}

/* TMR_STS is set by each change of the timer's top bit. */
static void note_timer(struct acpi_pm *a)
{
    if (toggles(a) != a->s.tmr_seen)
        a->s.status |= PM1_TMR;
    a->s.tmr_seen = toggles(a);
}

static void update_sci(struct acpi_pm *a)
{
    const struct acpi_pm_state *s = &a->s;
    bool level = (s->control & PM1_SCI_EN) &&
                 ((s->status & s->enable & PM1_EVENTS) || (s->gpe_status & s->gpe_enable));

    irq_set(bus_gsi(a->dev.env->bus, ACPI_SCI_IRQ), level);
    if ((s->enable & PM1_TMR) && !(s->status & PM1_TMR)) {
        uint64_t next = (uint64_t)(s->tmr_seen + 1) << (PMTMR_BITS - 1);
        timer_arm(&a->timer, (int64_t)((unsigned __int128)next * NS_PER_S / PM_HZ) + 1);
    } else {
        timer_cancel(&a->timer);
    }
}

static void on_timer(void *opaque)
{
    struct acpi_pm *a = opaque;

    note_timer(a);
    update_sci(a);
}

/* ---- registers ---- */

static void control_write(struct acpi_pm *a, uint16_t v)
{
    a->s.control = v & PM1_CONTROL;
    if ((v & PM1_SLP_EN) && (v >> 10 & 7) == ACPI_S5_TYPE)
        bus_request(a->dev.env->bus, MACHINE_POWEROFF, 0);
    update_sci(a);
}

static uint16_t word_read(struct acpi_pm *a, unsigned offset)
{
    switch (offset) {
    case ACPI_PM1_EVENT: note_timer(a); return a->s.status;
    case ACPI_PM1_EVENT + 2: return a->s.enable;
    case ACPI_PM1_CONTROL: return a->s.control;
    case ACPI_PM_TIMER: return (uint16_t)pm_ticks(a);
    case ACPI_PM_TIMER + 2: return (uint16_t)(pm_ticks(a) >> 16 & (BIT(PMTMR_BITS - 16) - 1));
    case ACPI_GPE0: return a->s.gpe_status;
    case ACPI_GPE0 + 2: return a->s.gpe_enable;
    default: return 0;
    }
}

/* v has the written bytes in place, mask says which. */
static void word_write(struct acpi_pm *a, unsigned offset, uint16_t v, uint16_t mask)
{
    struct acpi_pm_state *s = &a->s;

    switch (offset) {
    case ACPI_PM1_EVENT:
        note_timer(a);
        s->status &= (uint16_t) ~(v & mask);
        break;
    case ACPI_PM1_EVENT + 2:
        note_timer(a);
        s->enable = (uint16_t)(((s->enable & ~mask) | (v & mask)) & PM1_EVENTS);
        break;
    case ACPI_PM1_CONTROL:
        control_write(a, (uint16_t)((s->control & ~mask) | (v & mask)));
        break;
    case ACPI_GPE0: s->gpe_status &= (uint16_t) ~(v & mask); break;
    case ACPI_GPE0 + 2: s->gpe_enable = (uint16_t)((s->gpe_enable & ~mask) | (v & mask)); break;
    default: break;
    }
    update_sci(a);
}

static uint32_t pm_read(void *opaque, uint16_t offset, unsigned size)
{
    struct acpi_pm *a = opaque;

    if (size == 4) {
        if (offset == ACPI_PM_TIMER) /* in one go, so that it does not run between the halves */
            return (uint32_t)(pm_ticks(a) & (BIT(PMTMR_BITS) - 1));
        return word_read(a, offset) | (uint32_t)word_read(a, offset + 2u) << 16;
    }
    uint16_t word = (uint16_t)(word_read(a, offset & ~1u) >> (offset & 1) * 8);
    return size == 2 ? word : word & 0xff;
}

static void pm_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct acpi_pm *a = opaque;
    unsigned shift = (offset & 1) * 8;

    if (size == 1) {
        word_write(a, offset & ~1u, (uint16_t)(value << shift), (uint16_t)(0xff << shift));
        return;
    }
    word_write(a, offset, (uint16_t)value, 0xffff);
    if (size == 4)
        word_write(a, offset + 2u, (uint16_t)(value >> 16), 0xffff);
}

static const struct pio_ops pm_ops = {.read = pm_read, .write = pm_write};

static uint32_t apm_read(void *opaque, uint16_t offset, unsigned size)
{
    const struct acpi_pm *a = opaque;

    (void)size;
    return offset ? a->s.apm_status : a->s.apm_control;
}

static void apm_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct acpi_pm *a = opaque;

    (void)size;
    if (offset) {
        a->s.apm_status = (uint8_t)value;
        return;
    }
    a->s.apm_control = (uint8_t)value;
    if (value == ACPI_ENABLE)
        a->s.control |= PM1_SCI_EN;
    else if (value == ACPI_DISABLE)
        a->s.control &= (uint16_t)~PM1_SCI_EN;
    update_sci(a);
}

static const struct pio_ops apm_ops = {.read = apm_read, .write = apm_write, .max_size = 1};

static void update_base(struct acpi_pm *a)
{
    const uint8_t *config = pci_config(a->pci);
    uint16_t base = ld_le16(config + ACPI_PM_PMBA) & 0xffc0;

    bus_pio_set(a->dev.env->bus, a->io, base, base && (config[ACPI_PM_PMREGMISC] & PMIOSE));
}

static void config_written(void *opaque, unsigned offset, unsigned size)
{
    (void)offset;
    (void)size;
    update_base(opaque);
}

static const struct pci_dev_ops acpi_pm_pci_ops = {.config_written = config_written};

void acpi_pm_power_button(struct dev *d)
{
    struct acpi_pm *a = container_of(d, struct acpi_pm, dev);

    a->s.status |= PM1_PWRBTN;
    update_sci(a);
}

static bool acpi_pm_realize(struct dev *d, struct err *e)
{
    struct acpi_pm *a = container_of(d, struct acpi_pm, dev);
    static const struct pci_ids ids = {.vendor = 0x8086, .device = 0x7113, .subvendor = 0x1af4,
                                       .subdevice = 0x1100, .class_code = 6, .subclass = 0x80,
                                       .revision = 3, .interrupt_pin = 1};

    timer_init(&a->timer, d->env->clock, on_timer, a);
    a->pci = pci_add(d->env->pci, ACPI_PM_DEVFN, d->id, &ids, &acpi_pm_pci_ops, a, e);
    if (!a->pci)
        return false;
    uint8_t *mask = pci_write_mask(a->pci);
    st_le16(mask + ACPI_PM_PMBA, 0xffc0);
    memset(mask + 0x44, 0xff, ACPI_PM_PMREGMISC - 0x44); /* device monitors: kept, no effect */
    mask[ACPI_PM_PMREGMISC] = PMIOSE;
    st_le16(mask + 0x90, 0xfff0); /* SMBus base and configuration: kept */
    mask[0xd2] = 0xff;
    a->io = bus_add_pio(d->env->bus, "acpi-pm", 0, PM_IO_SIZE, &pm_ops, a);
    bus_pio_set(d->env->bus, a->io, 0, false);
    bus_add_pio(d->env->bus, "apm", ACPI_SMI_CMD, 2, &apm_ops, a);
    return true;
}

static void acpi_pm_unrealize(struct dev *d)
{
    struct acpi_pm *a = container_of(d, struct acpi_pm, dev);

    if (a->timer.clock)
        timer_cancel(&a->timer);
    if (a->pci)
        pci_remove(a->pci);
}

static void acpi_pm_reset(struct dev *d)
{
    struct acpi_pm *a = container_of(d, struct acpi_pm, dev);
    uint8_t *config = pci_config(a->pci);

    pci_reset(a->pci);
    memset(config + ACPI_PM_PMBA, 0, PCI_CONFIG_SIZE - ACPI_PM_PMBA);
    config[ACPI_PM_PMBA] = 1; /* an I/O range */
    config[0x90] = 1;
    st_le32(config + DEVACTB, APMC_EN); /* SMM is set up, as far as SeaBIOS cares */
    a->s = (struct acpi_pm_state){.tmr_seen = toggles(a)};
    update_base(a);
    update_sci(a);
}

const struct dev_class acpi_pm_class = {
    .name = "acpi-pm",
    .summary = "PIIX4 power management: ACPI registers and PM timer",
    .size = sizeof(struct acpi_pm),
    .realize = acpi_pm_realize,
    .unrealize = acpi_pm_unrealize,
    .reset = acpi_pm_reset,
};
