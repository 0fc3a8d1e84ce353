/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/dev.h"

#include <assert.h>
#include <string.h>

#include "vmm/base/alloc.h"

#define DEVICE(name) extern const struct dev_class name##_class;
#include "vmm/dev/devices.def"
#undef DEVICE

static const struct dev_class *const classes[] = {
#define DEVICE(name) &name##_class,
#include "vmm/dev/devices.def"
#undef DEVICE
    NULL};

const struct dev_class *const *dev_classes(unsigned *count)
{
    *count = ARRAY_LEN(classes) - 1;
    return classes;
}

const struct dev_class *dev_class_find(const char *name)
{
    for (unsigned i = 0; classes[i]; i++)
        if (strcmp(classes[i]->name, name) == 0)
            return classes[i];
    return NULL;
}

static void *field(struct dev *d, const struct dev_prop *p)
{
    return (char *)d + p->offset;
}

static void store_number(struct dev *d, const struct dev_prop *p, uint64_t v)
{
    switch (p->type) {
    case PROP_U32: *(uint32_t *)field(d, p) = (uint32_t)v; break;
    case PROP_U64: *(uint64_t *)field(d, p) = v; break;
    case PROP_BOOL: *(bool *)field(d, p) = v != 0; break;
    case PROP_STR:
    case PROP_PTR: break;
    }
}

struct dev *dev_new(const struct dev_env *env, const char *cls_name, const char *id)
{
    const struct dev_class *cls = dev_class_find(cls_name);

    assert(cls);
    struct dev *d = x_alloc(cls->size);
    d->cls = cls;
    d->id = x_strdup(id);
    d->env = env;
    for (const struct dev_prop *p = cls->props; p && p->name; p++)
        store_number(d, p, p->def);
    return d;
}

static const struct dev_prop *find_prop(struct dev *d, const char *name)
{
    for (const struct dev_prop *p = d->cls->props; p && p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    log_error(d->cls->name, "no property \"%s\"", name);
    assert(!"unknown device property");
    return NULL;
}

void dev_set_u64(struct dev *d, const char *prop, uint64_t v)
{
    const struct dev_prop *p = find_prop(d, prop);

    if (p)
        store_number(d, p, v);
}

void dev_set_str(struct dev *d, const char *prop, const char *v)
{
    const struct dev_prop *p = find_prop(d, prop);

    if (p && p->type == PROP_STR) {
        x_free(*(char **)field(d, p));
        *(char **)field(d, p) = v ? x_strdup(v) : NULL;
    }
}

void dev_set_ptr(struct dev *d, const char *prop, const void *v)
{
    const struct dev_prop *p = find_prop(d, prop);

    if (p && p->type == PROP_PTR)
        *(const void **)field(d, p) = v;
}

bool dev_realize(struct dev *d, struct err *e)
{
    if (!d->cls->realize(d, e))
        return err_wrap(e, "device \"%s\"", d->id);
    dev_reset(d);
    return true;
}

void dev_reset(struct dev *d)
{
    if (d->cls->reset)
        d->cls->reset(d);
}

void dev_free(struct dev *d)
{
    if (!d)
        return;
    if (d->cls->unrealize)
        d->cls->unrealize(d);
    for (const struct dev_prop *p = d->cls->props; p && p->name; p++)
        if (p->type == PROP_STR)
            x_free(*(char **)field(d, p));
    x_free((char *)(uintptr_t)d->id);
    x_free(d);
}
