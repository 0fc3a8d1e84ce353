/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every device of devices.def that needs no back end: what a hostile guest does to its registers must not crash,
 * hang or disturb a second machine. Run under ASan and UBSan for full effect. */
#include "tests/lib/devtest.h"

#include "display/surface.h"

#define ACCESSES 60000

static uint64_t seed = 88172645463325252u;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Where devices may live; everything else is BARs and random. */
static const uint16_t ports[] = {0x20, 0x40, 0x60, 0x70, 0x80, 0x92, 0xa0, 0xb2, 0xe8, 0xf0, 0xf4, 0x170, 0x1ce, 0x1f0,
                                 0x278, 0x2f8, 0x376, 0x3b0, 0x3c0, 0x3d0, 0x3f0, 0x3f8, 0x400, 0x4d0, 0x510, 0x600,
                                 0xcf8, 0xc000, 0xc040, 0xc080};
static const uint64_t windows[] = {0xa0000,    0xb8000,    0xc0000,    0xe0000,    0xf0000,
                                   0xe0000000, 0xe0001000, 0xe1000000, 0xfec00000, 0xfed00000};

static unsigned width(void)
{
    return 1u << rnd() % 3;
}

static void random_access(struct devtest *t)
{
    uint16_t port = (uint16_t)(ports[rnd() % ARRAY_LEN(ports)] + rnd() % 16);
    uint64_t gpa = windows[rnd() % ARRAY_LEN(windows)] + rnd() % 0x400;

    switch (rnd() % 8) {
    case 0:
    case 1: bus_pio_read(t->bus, port, width()); break;
    case 2:
    case 3: bus_pio_write(t->bus, port, rnd(), width()); break;
    case 4: bus_mmio_read(t->bus, gpa, 1u << rnd() % 4); break;
    case 5: bus_mmio_write(t->bus, gpa, rnd(), 1u << rnd() % 4); break;
    case 6: {
        unsigned devfn = (unsigned)(rnd() % 24), reg = (unsigned)(rnd() % 256) & ~3u;
        uint32_t v = (uint32_t)rnd();
        if (reg >= 0x10 && reg < 0x28) /* keep some BARs where the accesses go */
            v = rnd() % 2 ? (uint32_t)windows[5 + rnd() % 3] : 0xc000 + (uint32_t)(rnd() % 3) * 0x40;
        if (reg == 4)
            v |= 7;
        dt_cfg_write(t, devfn, reg, v, 4);
        dt_cfg_read(t, devfn, reg, 4);
        break;
    }
    default: dt_advance(t, (int64_t)(rnd() % (2 * NS_PER_MS))); break;
    }
}

static struct dev *make(struct devtest *t, const char *name, struct surface *surface)
{
    struct dev *d = dt_new(t, name);
    struct err e = ERR_INIT;

    for (const struct dev_prop *p = d->cls->props; p && p->name; p++)
        if (strcmp(p->name, "surface") == 0)
            dev_set_ptr(d, "surface", surface);
    if (dev_realize(d, &e))
        return d;
    dev_free(d); /* wants a back end: a failed realize must clean up, too */
    return NULL;
}

static void test_random_registers(void **state)
{
    unsigned count;
    const struct dev_class *const *classes = dev_classes(&count);

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        struct devtest a, b;
        struct err e = ERR_INIT;
        struct surface *sa = surface_new(&e), *sb = surface_new(&e);

        dt_init(&a);
        dt_init(&b);
        struct dev *da = make(&a, classes[i]->name, sa), *db = make(&b, classes[i]->name, sb);
        for (unsigned n = 0; da && n < ACCESSES; n++) {
            random_access(&a);
            if (n % 10000 == 9999)
                dev_reset(da);
        }
        for (unsigned g = 0; g < GSI_COUNT; g++)
            assert_int_equal(b.gsi_rises[g], 0);
        dev_free(da);
        dev_free(db);
        dt_fini(&a);
        dt_fini(&b);
        surface_free(sa);
        surface_free(sb);
    }
}

/* All chipset devices in one machine, so that they meet each other. */
static void test_random_machine(void **state)
{
    static const char *const names[] = {"pic", "ioapic", "hpet", "pit",   "rtc",      "i440fx",
                                        "piix3", "acpi-pm", "fwcfg", "uart", "debugcon"};
    struct dev *devs[ARRAY_LEN(names)];
    struct devtest t;

    (void)state;
    dt_init(&t);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        devs[i] = dt_add(&t, names[i]);
    for (unsigned n = 0; n < 4 * ACCESSES; n++) {
        random_access(&t);
        if (rnd() % 64 == 0)
            bus_pic_ack(t.bus);
        if (rnd() % 64 == 0)
            bus_ioapic_eoi(t.bus, (uint8_t)rnd());
    }
    for (unsigned i = ARRAY_LEN(names); i-- > 0;)
        dev_free(devs[i]);
    dt_fini(&t);
}

static void test_classes_are_complete(void **state)
{
    unsigned count;
    const struct dev_class *const *classes = dev_classes(&count);

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        assert_non_null(classes[i]->name);
        assert_non_null(classes[i]->summary);
        assert_non_null(classes[i]->realize);
        assert_true(classes[i]->size >= sizeof(struct dev));
        assert_ptr_equal(dev_class_find(classes[i]->name), classes[i]); /* names are unique */
    }
    assert_null(dev_class_find("no such device"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes_are_complete),
        cmocka_unit_test(test_random_registers),
        cmocka_unit_test(test_random_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
