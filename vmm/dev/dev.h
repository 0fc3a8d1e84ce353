/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device model: one device is one file with one `const struct dev_class` and one row in
 * devices.def. A device touches the world only through struct dev_env and its properties (back ends,
 * irq lines); there is no global VM, and a test makes two of each.
 *
 * Guest-visible state lives in a nested `struct X_state s` of exact-width fields and nowhere else, so
 * that reset and (later) snapshots see all of it. All functions run under the machine lock. */
#ifndef VMDECK_DEV_DEV_H
#define VMDECK_DEV_DEV_H

#include <stddef.h>

#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/loop.h"
#include "vmm/bus/bus.h"
#include "vmm/bus/pci.h"

struct dev;

/* What a device may use. The same for all devices of one VM; outlives them. */
struct dev_env {
    struct bus *bus;
    struct mem *mem;
    struct pci_bus *pci;
    struct clock *clock; /* guest time; stands still while the VM is paused */
    struct loop *loop;   /* callbacks come with the machine lock held; NULL in some tests */
};

enum dev_prop_type { PROP_U32, PROP_U64, PROP_BOOL, PROP_STR, PROP_PTR };

struct dev_prop {
    const char *name;
    enum dev_prop_type type;
    size_t offset; /* in the device struct */
    uint64_t def;  /* default of numbers */
    const char *help;
};
#define DEV_PROP(name_, type_, struct_, field_, def_, help_)                                       \
    {.name = name_, .type = type_, .offset = offsetof(struct_, field_), .def = def_, .help = help_}

struct dev_class {
    const char *name;    /* "pit", "virtio-blk": also in logs */
    const char *summary; /* one line for help and the man page */
    size_t size;         /* of the device struct, whose first member is struct dev */
    const struct dev_prop *props; /* ends with a NULL name */
    bool (*realize)(struct dev *d, struct err *e);
    void (*unrealize)(struct dev *d); /* also after a failed realize; may be NULL */
    void (*reset)(struct dev *d);     /* power-on state; called once after realize, too */
    /* No new request to a back end starts; in-flight ones are waited for. */
    void (*quiesce)(struct dev *d);
    void (*resume)(struct dev *d);
};

struct dev {
    const struct dev_class *cls;
    const char *id; /* "disk0"; owned by the device */
    const struct dev_env *env;
};

/* Every class by name; NULL when unknown. */
const struct dev_class *dev_class_find(const char *name);
const struct dev_class *const *dev_classes(unsigned *count);

/* Allocated with defaults, not realized. */
struct dev *dev_new(const struct dev_env *env, const char *cls_name, const char *id);
/* Programming errors (no such property, wrong type) are BUGs, not errors: names are ours. */
void dev_set_u64(struct dev *d, const char *prop, uint64_t v); /* U32, U64, BOOL */
void dev_set_str(struct dev *d, const char *prop, const char *v); /* copied */
void dev_set_ptr(struct dev *d, const char *prop, const void *v);
bool dev_realize(struct dev *d, struct err *e);
void dev_reset(struct dev *d);
void dev_free(struct dev *d);

#endif
