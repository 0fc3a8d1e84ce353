/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of the debug registers' bits (SDM vol. 3B ch. 17); the hooks of the run loop and the MMU are in
 * cpu_priv.h. */
#ifndef VMDECK_CPU_DEBUG_H
#define VMDECK_CPU_DEBUG_H

#include "vmm/cpu/cpu_priv.h"

#define DR6_BD    (1u << 13)
#define DR6_BS    (1u << 14)
#define DR6_BT    (1u << 15)
#define DR6_FIXED 0xffff0ff0u
#define DR6_HITS  (0xfu | DR6_BD | DR6_BS | DR6_BT)
#define DR7_GD    (1u << 13)
#define DR7_FIXED 0x400u

/* Breakpoints on ports (CR4.DE), reported by IN, OUT, INS, OUTS while c->debug has DEBUG_IO. */
void debug_io(struct cpu *c, uint16_t port, unsigned size);

#endif
