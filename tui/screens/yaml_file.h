/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of a VM's vm.yaml between reading and saving. Any thread, one at a time. */
#ifndef VMDECK_SCREENS_YAML_FILE_H
#define VMDECK_SCREENS_YAML_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/err.h"

struct yaml_file {
    char name[64];
    char *dir, *text;
    size_t len;
};

bool yaml_file_open(struct yaml_file *f, const char *name, struct err *e);
void yaml_file_copy(struct yaml_file *to, const struct yaml_file *from);
void yaml_file_close(struct yaml_file *f);
/* Replaces the file, keeping the old one as vm.yaml.bak. Refuses when it was changed since it was
 * read. */
bool yaml_file_save(const struct yaml_file *f, const char *text, size_t len, struct err *e);

#endif
