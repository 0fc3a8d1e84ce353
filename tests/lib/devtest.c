/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/devtest.h"

#include <unistd.h>

static void on_gsi(void *opaque, unsigned n, int level)
{
    struct devtest *t = opaque;

    if (level && !t->gsi[n])
        t->gsi_rises[n]++;
    t->gsi[n] = level != 0;
}

static void on_extint(void *opaque, int level)
{
    ((struct devtest *)opaque)->extint = level;
}

static void on_msi(void *opaque, uint64_t address, uint32_t data)
{
    struct devtest *t = opaque;

    t->msi_count++;
    t->msi_address = address;
    t->msi_data = data;
}

static void on_route(void *opaque, unsigned pin, uint64_t address, uint32_t data, bool masked)
{
    struct devtest *t = opaque;

    t->route[pin].address = address;
    t->route[pin].data = data;
    t->route[pin].masked = masked;
}

static void on_request(void *opaque, enum machine_request req, int value)
{
    struct devtest *t = opaque;

    t->request_count++;
    t->request = req;
    t->request_value = value;
}

static bool on_ioeventfd(void *opaque, bool pio, uint64_t address, unsigned size, int fd, bool add)
{
    struct devtest *t = opaque;
    unsigned i = 0;

    if (!t->accelerated)
        return false;
    assert_false(pio);
    assert_int_equal(size, 0);
    while (i < t->bell_count && t->bells[i].address != address)
        i++;
    if (!add) {
        assert_in_range(i + 1, 1, t->bell_count);
        assert_int_equal(t->bells[i].fd, fd);
        t->bells[i] = t->bells[--t->bell_count];
        return true;
    }
    if (i < t->bell_count || i == DT_DOORBELLS)
        return false;
    t->bells[i].address = address;
    t->bells[i].fd = fd;
    t->bell_count++;
    return true;
}

static bool on_irqfd(void *opaque, int fd, uint64_t address, uint32_t data, bool on)
{
    struct devtest *t = opaque;
    unsigned i = 0;

    if (!t->accelerated)
        return false;
    while (i < t->irqfd_count && t->irqfds[i].fd != fd)
        i++;
    if (!on) {
        assert_in_range(i + 1, 1, t->irqfd_count);
        t->irqfds[i] = t->irqfds[--t->irqfd_count];
        return true;
    }
    if (i == DT_IRQFDS)
        return false;
    if (i == t->irqfd_count)
        t->irqfd_count++;
    t->irqfds[i].fd = fd;
    t->irqfds[i].address = address;
    t->irqfds[i].data = data;
    return true;
}

unsigned dt_messages(struct devtest *t)
{
    uint64_t n;

    for (unsigned i = 0; i < t->irqfd_count; i++)
        if (read(t->irqfds[i].fd, &n, sizeof(n)) == sizeof(n)) {
            t->msi_count += (unsigned)n;
            t->msi_address = t->irqfds[i].address;
            t->msi_data = t->irqfds[i].data;
        }
    return t->msi_count;
}

static const struct bus_host_ops host_ops = {.extint = on_extint, .msi = on_msi, .ioapic_route = on_route,
                                             .request = on_request, .ioeventfd = on_ioeventfd,
                                             .irqfd = on_irqfd};

void dt_ring(struct devtest *t, uint64_t gpa, uint64_t v, unsigned size)
{
    const uint64_t one = 1;

    for (unsigned i = 0; i < t->bell_count; i++)
        if (t->bells[i].address == gpa) {
            assert_int_equal(write(t->bells[i].fd, &one, sizeof(one)), sizeof(one));
            return;
        }
    dt_write(t, gpa, v, size);
}

void dt_init(struct devtest *t)
{
    struct err e = ERR_INIT;

    *t = (struct devtest){0};
    t->mem = mem_new(DT_RAM_SIZE, &e);
    assert_non_null(t->mem);
    t->bus = bus_new(t->mem);
    bus_set_host(t->bus, &host_ops, t);
    bus_connect_gsi(t->bus, on_gsi, t);
    t->pci = pci_bus_new(t->bus);
    t->clock = clock_new(NULL, NULL, true);
    t->env = (struct dev_env){.bus = t->bus, .mem = t->mem, .pci = t->pci, .clock = t->clock};
}

void dt_fini(struct devtest *t)
{
    pci_bus_free(t->pci);
    bus_free(t->bus);
    clock_free(t->clock);
    mem_free(t->mem);
}

struct dev *dt_new(struct devtest *t, const char *cls)
{
    assert_non_null(dev_class_find(cls));
    return dev_new(&t->env, cls, cls);
}

void dt_realize(struct dev *d)
{
    struct err e = ERR_INIT;

    if (!dev_realize(d, &e))
        fail_msg("%s", e.msg);
}

struct dev *dt_add(struct devtest *t, const char *cls)
{
    struct dev *d = dt_new(t, cls);

    dt_realize(d);
    return d;
}
