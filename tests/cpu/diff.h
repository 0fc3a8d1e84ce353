/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Differential test of the software CPU against the processor it runs on, from the same registers and
 * memory on both: one random user-level instruction at a time with the interpreter, or random blocks of
 * them with the translator too (diff_block.h).
 *
 * All sides see the same linear addresses: two pages of code filled with HLT, which ends every test by
 * its #GP, and a window of data with writable, read-only and missing pages. */
#ifndef VMDECK_TESTS_CPU_DIFF_H
#define VMDECK_TESTS_CPU_DIFF_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/cpu/x86.h"

#define CODE_BASE   0x10000000u /* executable, the page after it is missing */
#define CODE_SIZE   0x2000u
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
    const char *who;      /* whose it is, in reports */
    struct diff_regs after;
    unsigned vector; /* NO_FAULT: completed */
    uint32_t error;
    uint64_t cr2;    /* page faults only */
    uint8_t *window; /* as this side sees it now */
    uint8_t *code;
    bool stuck;      /* did not end by itself */
};

/* The data window: what both sides start from, and what they see. */
extern uint8_t diff_initial[DATA_SIZE];

/* ---- diff_host.c ---- */

/* writable: code may modify itself. */
void host_init(bool writable);
/* The window and the code as the processor sees them, writable. */
uint8_t *host_window(void);
uint8_t *host_code(void);
/* Executes from r->rip; r may not be in the result. */
void host_execute(bool code32, const struct diff_regs *r, struct diff_result *out);
void host_run(const struct diff_test *t, struct diff_result *r);
/* What to do when a signal comes while host_execute is not running: print what is being tested. */
extern void (*host_crashed)(int sig);
/* Ends what host_execute runs when it takes too long; calls ticked, from a signal handler, about every quarter of a second
 * while something else runs. */
void host_watch(void (*ticked)(void));

/* ---- diff_soft.c: vCPUs, each with memory of its own ---- */

struct soft;
/* translate: by cpu_run with the translator, else the interpreter. */
struct soft *soft_new(bool translate, bool writable);
uint8_t *soft_window(struct soft *s);
/* To be written by soft_put_code only. */
uint8_t *soft_code(struct soft *s);
void soft_put_code(struct soft *s, unsigned offset, const uint8_t *bytes, unsigned len);
void soft_load(struct soft *s, bool code32, const struct diff_regs *r);
/* The registers in the middle of a test. */
void soft_regs(struct soft *s, struct diff_regs *r);
uint64_t soft_rip(const struct soft *s);
uint64_t soft_rflags(const struct soft *s); /* without status flags */
uint64_t soft_gpr(const struct soft *s, unsigned n);
/* One instruction by the interpreter; false: it raised an exception, see soft_result. */
bool soft_step(struct soft *s);
/* Runs until an exception with whatever the vCPU was made for. */
void soft_execute(struct soft *s);
/* After soft_step or soft_execute. */
void soft_result(struct soft *s, struct diff_result *r);
void soft_run(struct soft *s, const struct diff_test *t, struct diff_result *r);
/* Forgets all translations. */
void soft_forget_code(struct soft *s);
/* Page tables are walked anew. */
void soft_forget_mapping(struct soft *s);
/* Instructions that the interpreter executed for this vCPU. */
uint64_t soft_interpreted(struct soft *s);
/* Makes soft_execute return soon; for a signal handler. */
void soft_interrupt(struct soft *s);

/* An exception that is HLT's is the test's end. */
void diff_settle(struct diff_result *r);

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
    uint32_t written_flags;   /* those it defines or undefines */
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

/* Bytes of memory that the instruction leaves undefined. */
#define DIFF_BLANKS 2
struct diff_blank {
    uint64_t address;
    unsigned size;
};
unsigned diff_undefined_memory(const struct diff_test *t, const struct diff_info *i, struct diff_blank *out);
void diff_blank(const struct diff_result *r, const struct diff_blank *b);
/* Number of differences; prints them when print is set. t and info: the last instruction. Blanks in both windows what it
 * leaves undefined. flags: those to compare. */
unsigned diff_compare(const struct diff_test *t, const struct diff_info *info, uint64_t flags, const struct diff_result *a,
                      const struct diff_result *b, bool print);

#endif
