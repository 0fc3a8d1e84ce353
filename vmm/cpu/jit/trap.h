/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host exceptions in translated code: SIGFPE of a division or of an unmasked floating-point exception, SIGSEGV of a
 * vector operand that is not aligned. The instruction had no effect; the interpreter executes it again and raises what
 * the guest is due. */
#ifndef VMDECK_CPU_JIT_TRAP_H
#define VMDECK_CPU_JIT_TRAP_H

#include "vmm/cpu/cpu_priv.h"

/* The vCPU of this thread. */
extern _Thread_local struct cpu *volatile jit_trap_cpu;

/* Handlers for the process; what is not ours goes to who was there before. */
void jit_trap_install(void);

#endif
