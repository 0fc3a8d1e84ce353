/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's SIMD floating-point exceptions inside thunks. Apart from vec_thunk.c because <ucontext.h>
 * and cpu_priv.h both name registers REG_*. */
#ifndef VMDECK_CPU_INTERP_VEC_FPE_H
#define VMDECK_CPU_INTERP_VEC_FPE_H

#include <stdint.h>

#define VEC_CODE (1u << 20) /* bytes of a code buffer */

/* The code buffer this thread executes from. SIGFPE in it resumes at its first byte. */
extern _Thread_local const uint8_t *volatile vec_fpe_code;

/* Makes sure that the process has our handler; a SIGFPE from elsewhere goes to the one before. */
void vec_fpe_install(void);

#endif
