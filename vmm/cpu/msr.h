/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Model-specific registers of the software CPU. */
#ifndef VMDECK_CPU_MSR_H
#define VMDECK_CPU_MSR_H

#include "vmm/cpu/cpu_priv.h"

/* False: no such register, or a value it does not take; the instruction then raises #GP(0). */
bool msr_read(struct cpu *c, uint32_t index, uint64_t *value);
bool msr_write(struct cpu *c, uint32_t index, uint64_t value);

#endif
