/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a system test of tests/cpu/asm on an accelerator. asm/lib.inc describes the protocol: loaded at 7C00h, text to
 * port E9h, result to port F4h, 16 MiB of RAM, local APICs and nothing else. */
#ifndef TESTS_LIB_ASMRUN_H
#define TESTS_LIB_ASMRUN_H

#include "vmm/accel/accel.h"

enum asm_outcome {
    ASM_TIMEOUT = -1,
    ASM_SHUTDOWN = 0x100, /* else the byte written to the port */
    ASM_ERROR,            /* of the accelerator */
};

struct asm_result {
    int outcome;
    char text[512];       /* what it wrote, or the accelerator's error */
    uint16_t cs;          /* where vCPU 0 stopped */
    uint64_t rip;
    uint64_t fallback;    /* instructions that the accelerator left to the software CPU */
};

struct asm_host {
    const struct accel_ops *ops;
    int kvm_fd;       /* as in struct accel_cfg */
    unsigned timeout; /* seconds */
    bool board;       /* the machine also has PICs, and x87 errors on IRQ 13 */
};

/* The binary is asm/NAME.bin beside the test program. Fails the cmocka test for what is wrong with the host. */
void asm_run(const struct asm_host *host, const char *name, unsigned cpus, enum cpu_model model,
             struct asm_result *out);

/* All of them: name, vCPUs, model, expected outcome. */
#define ASM_TESTS(X)                                                                               \
    X(real, 1, CPU_X86_64_V2, 0)                                                                   \
    X(prot, 1, CPU_X86_64_V2, 0)                                                                   \
    X(v86, 1, CPU_X86_64_V2, 0)                                                                    \
    X(task, 1, CPU_X86_64_V2, 0)                                                                   \
    X(taskdf, 1, CPU_X86_64_V2, 0)                                                                 \
    X(paging, 1, CPU_X86_64_V2, 0)                                                                 \
    X(long, 1, CPU_MAX, 0)                                                                         \
    X(long2, 1, CPU_MAX, 0)                                                                        \
    X(xsave, 1, CPU_MAX, 0)                                                                        \
    X(moved, 1, CPU_X86_64_V2, 0)                                                                  \
    X(prefix, 1, CPU_X86_64_V2, 0)                                                                 \
    X(nmi, 1, CPU_X86_64_V2, 0)                                                                    \
    X(debug, 1, CPU_X86_64_V2, 0)                                                                  \
    X(triple, 1, CPU_X86_64_V2, ASM_SHUTDOWN)                                                      \
    X(apic, 1, CPU_X86_64_V2, 0)                                                                   \
    X(apic, 2, CPU_X86_64_V2, 0)

/* Those that want the board. Not for KVM: processors with virtualization insist on CR0.NE. */
#define ASM_TESTS_BOARD(X) X(ferr, 1, CPU_X86_64_V2, 0)

#endif
