/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Differential test of the software CPU against the processor it runs on: one random user-level
 * instruction at a time, from the same registers and memory, on both.
 *
 * Both sides see the same linear addresses: a page of code filled with HLT, which ends every test by
 * its #GP, and a window of data with writable, read-only and missing pages. */
#ifndef VMDECK_TESTS_CPU_DIFF_H
#define VMDECK_TESTS_CPU_DIFF_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/cpu/x86.h"

#define CODE_PAGE   0x10000000u /* executable, the page after it is missing */
#define DATA_BASE   0x20000000u
#define DATA_RW     0x2000u     /* two writable pages, */
#define DATA_SIZE   0x3000u     /* then a read-only one, then nothing */
#define HOST_BLOCK  0x5a5b0000u /* of the host side */
#define KERNEL_BASE UINT64_C(0xffff800000000000) /* of the interpreter's side */
#define DIFF_GS_BASE DATA_BASE
#define OPCODE_HLT  0xf4

/* Selectors of Linux user space, so that MOV from segment registers agrees. */
#define SEL_USER32 0x23
#define SEL_DATA   0x2b
#define SEL_USER64 0x33

/* Flags that are compared: all but RF, IF and IOPL. */
#define DIFF_FLAGS (X86_STATUS_FLAGS | X86_TF | X86_DF | X86_NT | X86_AC | X86_ID)

struct diff_regs {
    uint64_t gpr[16];
    uint64_t rip, rflags;
    struct x86_fpu fpu;
};

struct diff_test {
    bool code32;
    uint8_t bytes[15];
    uint8_t len;
    uint64_t rip;
    struct diff_regs before;
};

#define NO_FAULT 0xffu

struct diff_result {
    struct diff_regs after;
    unsigned vector; /* NO_FAULT: completed */
    uint32_t error;
    uint64_t cr2;    /* page faults only */
};

/* The data window: what both sides start from, and what they see. */
extern uint8_t diff_initial[DATA_SIZE];

/* ---- diff_host.c ---- */

void host_init(void);
/* The window as the processor sees it. */
uint8_t *host_window(void);
void host_run(const struct diff_test *t, struct diff_result *r);

/* ---- diff_soft.c ---- */

void soft_init(void);
uint8_t *soft_window(void);
void soft_run(const struct diff_test *t, struct diff_result *r);

/* ---- diff_random.c ---- */

void rnd_seed(uint64_t seed);
uint64_t rnd(void);
static inline unsigned rnd_below(unsigned n)
{
    return (unsigned)((rnd() >> 32) * n >> 32);
}
static inline bool rnd_one_in(unsigned n)
{
    return rnd_below(n) == 0;
}
/* Registers of all kinds, with values that are interesting to them. */
void rnd_regs(struct diff_regs *r, bool code32);
void rnd_window(void);

/* ---- diff_gen.c ---- */

/* What is known about the instruction of a test, besides its bytes. */
struct diff_info {
    unsigned mnemonic;        /* ZydisMnemonic, 0 when it does not decode */
    const char *name;
    uint32_t undefined_flags; /* not compared */
    uint64_t operand;         /* address of the memory operand, 0 without */
    bool state_area;          /* environment or state of x87 or XSAVE */
    unsigned operand_width;   /* effective operand size in bits */
    bool window_changed;      /* diff_initial was written for this test */
};

/* only: NULL, a group (integer, x87, mmx, sse, avx, xsave) or a mnemonic; returns false when nothing
 * matches it. */
bool gen_init(const char *only);
void gen_next(struct diff_test *t, struct diff_info *info);
void gen_disassemble(const struct diff_test *t, char *buf, unsigned size);
unsigned gen_template_count(void);

/* ---- diff_compare.c ---- */

/* Number of differences; prints them when out is set. Blanks in both windows what is not defined. */
unsigned diff_compare(const struct diff_test *t, const struct diff_info *info,
                      const struct diff_result *host, const struct diff_result *soft, bool print);

#endif
