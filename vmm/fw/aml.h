/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small writer of AML (ACPI 6.4 ch. 20): appends encoded terms to a buffer. Scopes of any kind are
 * opened and closed; closing puts the package length in front of what came since. */
#ifndef VMDECK_FW_AML_H
#define VMDECK_FW_AML_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"

void aml_byte(struct buf *b, unsigned v);
void aml_int(struct buf *b, uint64_t v);
void aml_string(struct buf *b, const char *s);
/* "\\_SB.PCI0", "^ISA", "HPET": segments shorter than four are padded with "_". */
void aml_path(struct buf *b, const char *path);
/* Compressed EISA id: "PNP0A03". */
void aml_eisa(struct buf *b, const char *id);

/* The operator, its name where it has one, then terms, then aml_close with what aml_open returned. */
size_t aml_scope(struct buf *b, const char *path);
size_t aml_device(struct buf *b, const char *name);
/* flags: number of arguments, with AML_SERIALIZED when it creates names. */
#define AML_SERIALIZED 8
size_t aml_method(struct buf *b, const char *name, unsigned flags);
size_t aml_package(struct buf *b, unsigned elements);
size_t aml_if(struct buf *b);
/* Field of byte-wide accesses; its units follow by aml_field_unit. */
size_t aml_field(struct buf *b, const char *region);
void aml_close(struct buf *b, size_t at);

/* Name (name, what follows) */
void aml_name(struct buf *b, const char *name);
void aml_name_int(struct buf *b, const char *name, uint64_t v);
void aml_name_eisa(struct buf *b, const char *name, const char *id);
void aml_region(struct buf *b, const char *name, unsigned space, unsigned offset, unsigned len);
void aml_field_unit(struct buf *b, const char *name, unsigned bits);
void aml_return(struct buf *b); /* what follows */
#define AML_STORE  0x70
#define AML_OR     0x7d
#define AML_AND    0x7b
#define AML_LLESS  0x95
#define AML_DWORD_FIELD 0x8a /* CreateDWordField (source, index, name) */
#define AML_ARG0   0x68
#define AML_SPACE_PCI 2

/* Resource templates: open, descriptors, close. The buffer's bytes start right after its size. */
struct aml_template {
    struct buf bytes;
};
void aml_res_io(struct aml_template *t, unsigned base, unsigned len);
void aml_res_irq(struct aml_template *t, unsigned irq);
void aml_res_memory(struct aml_template *t, uint32_t base, uint32_t len);
/* Level, active high, shared. The first number lies at AML_RES_INTERRUPT_NUMBER of the template. */
void aml_res_interrupts(struct aml_template *t, const uint8_t *irqs, unsigned count);
#define AML_RES_INTERRUPT_NUMBER 5
void aml_res_bus_numbers(struct aml_template *t, unsigned first, unsigned last);
void aml_res_io_window(struct aml_template *t, unsigned first, unsigned last);
void aml_res_memory_window(struct aml_template *t, uint32_t first, uint32_t last, int cacheable);
/* Writes Buffer () {...} and frees the template. */
void aml_template(struct buf *b, struct aml_template *t);

#endif
