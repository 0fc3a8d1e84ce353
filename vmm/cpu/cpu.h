/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software x86-64 CPU: creation, running, and what other threads may do to it.
 *
 * A cpu_set is all vCPUs of one VM. Each vCPU runs on a thread of its own (cpu_run); it touches the
 * rest of the machine only through struct mem and struct cpu_io_ops. */
#ifndef VMDECK_CPU_CPU_H
#define VMDECK_CPU_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/clock.h"
#include "vmm/base/err.h"
#include "vmm/cpu/cpuid.h"
#include "vmm/cpu/x86.h"
#include "vmm/mem/mem.h"

/* What a vCPU asks of the machine. Called on vCPU threads with no lock held; the callee locks. */
struct cpu_io_ops {
    uint64_t (*pio_read)(void *opaque, uint16_t port, unsigned size);
    void (*pio_write)(void *opaque, uint16_t port, uint64_t value, unsigned size);
    uint64_t (*mmio_read)(void *opaque, uint64_t gpa, unsigned size);
    void (*mmio_write)(void *opaque, uint64_t gpa, uint64_t value, unsigned size);
    /* INTA cycle of the PIC: the vector. */
    uint8_t (*pic_ack)(void *opaque);
    /* EOI of a level-triggered vector, for the IOAPIC. */
    void (*ioapic_eoi)(void *opaque, uint8_t vector);
    /* FERR# of the first vCPU, which follows unmasked x87 exceptions while CR0.NE is clear; returns the level of
     * IGNNE#. NULL: nothing is wired, and x87 exceptions are #MF whatever CR0.NE says; so they are on other vCPUs. */
    bool (*ferr)(void *opaque, bool level);
    /* Optional. While frozen no device touches guest memory; for moments, and no other operation is called then. */
    void (*freeze)(void *opaque, bool frozen);
};

enum cpu_exit {
    CPU_EXIT_KICK,     /* cpu_kick was called; nothing is wrong */
    CPU_EXIT_SHUTDOWN, /* triple fault */
    CPU_EXIT_DIFFERS,  /* translator and interpreter differ, see cpu_tuning.verify; it is in the log */
};

struct cpu;
struct cpu_set;

/* How the software CPU works inside; nothing that a guest can tell. Tests make corners common with it. */
struct cpu_tuning {
    bool interpret;      /* never translate */
    unsigned heat;       /* executions by the interpreter before a block is translated, from 1 */
    bool verify;         /* compare every translated block with the interpreter; one vCPU only */
    char wrong[16];      /* a mnemonic that the translator leaves out, for tests of verify; empty: none */
    bool perf_map;       /* tell perf which guest address each translation is of */
    int perf_map_fd;     /* of the file, /tmp/perf-PID.map; 0: none */
    bool evict;          /* throw all translations away whenever one is made */
    size_t code_memory;  /* bytes of translated code for each vCPU */
    unsigned tlb_min, tlb_max; /* slots of each TLB array, powers of two */
};

/* The defaults for that many vCPUs, changed by the environment variable VMDECK_CPU, a list of
 * interpret, verify, wrong=MNEMONIC, perfmap, evict, heat=N, code=BYTES and tlb=SLOTS. What it says wrongly is
 * ignored. */
struct cpu_tuning cpu_tuning_default(unsigned vcpus);

struct cpu_set_cfg {
    struct mem *mem;
    struct clock *clock; /* LAPIC timers and TSC; NULL: host time, and no timer fires (cpu_step) */
    const struct cpu_io_ops *io;
    void *io_opaque;
    unsigned count; /* 1 to 64 */
    enum cpu_model model;
    const struct cpu_tuning *tuning; /* NULL: cpu_tuning_default */
};

struct cpu_set *cpu_set_new(const struct cpu_set_cfg *cfg, struct err *e);
void cpu_set_free(struct cpu_set *set);
struct cpu *cpu_get(struct cpu_set *set, unsigned index);

/* Runs on the caller's thread, which becomes this vCPU's thread. Sleeps inside while halted. */
enum cpu_exit cpu_run(struct cpu *cpu);
/* Any thread: cpu_run returns CPU_EXIT_KICK within a bounded time, also when it is called later. */
void cpu_kick(struct cpu *cpu);

/* Only while the vCPU is not in cpu_run. */
void cpu_get_state(struct cpu *cpu, struct x86_state *out);
void cpu_set_state(struct cpu *cpu, const struct x86_state *in);
/* Executes exactly one instruction (or delivers one pending event); for KVM's fallback, single step
 * and tests. Uses no LAPIC: interrupts are the caller's business. Returns false on triple fault. */
bool cpu_step(struct cpu *cpu);

/* Any thread. INTR output of the PIC, wired to LINT0 of every local APIC (the BSP takes it). */
void cpu_set_extint(struct cpu_set *set, bool level);
/* Any thread. A write to the MSI window: address FEExxxxxh and data (SDM vol. 3A 11.11). */
void cpu_msi(struct cpu_set *set, uint64_t address, uint32_t data);
void cpu_nmi(struct cpu *cpu);

/* Why translated code was left for C code. */
enum cpu_jit_exit {
    CPU_JIT_LINK,      /* a direct jump that was not yet linked */
    CPU_JIT_INDIRECT,  /* an indirect one whose target the jump cache had not */
    CPU_JIT_INTERPRET, /* an instruction for the interpreter, or a fault */
    CPU_JIT_EVENT,     /* an interrupt or the like asked for attention; an instruction changed what code depends on */
    CPU_JIT_EXITS
};
extern const char *const cpu_jit_exit_names[CPU_JIT_EXITS];

/* Of the translator; all zero without one. */
struct cpu_jit_stats {
    uint64_t blocks, instructions, guest_bytes, host_bytes; /* translated so far */
    uint64_t blocks_now, code_used, code_size;
    uint64_t flushes, evicted; /* when code memory was full, and how many blocks went that way */
    uint64_t moved;              /* blocks that serve another address instead of being translated again */
    uint64_t overwritten, revived; /* blocks on pages whose code was stored to; those whose bytes were the same after all */
    uint64_t exits[CPU_JIT_EXITS];
    /* cpu_tuning.verify: comparisons, how many instructions they spanned, how many had to be made again */
    uint64_t compared, compared_instructions, compared_again;
};

/* Counted all the time, by events that are not frequent. */
struct cpu_stats {
    uint64_t instructions; /* the interpreter's */
    uint64_t exceptions, interrupts, pio, mmio, halts, halted_ns;
    uint64_t tlb_slots, tlb_fills, tlb_flushes;
    uint64_t code_flushes; /* of decoded blocks */
    struct cpu_jit_stats jit;
};
/* Any thread; values may lag. */
void cpu_get_stats(struct cpu *cpu, struct cpu_stats *out);

/* What a vCPU is found at when one looks. */
enum cpu_doing {
    CPU_TRANSLATED,  /* runs translated code */
    CPU_INTERPRETS,  /* runs the interpreter, walks page tables, delivers events */
    CPU_TRANSLATES,
    CPU_DEVICE,      /* a device serves it */
    CPU_HALTED,
    CPU_STOPPED,     /* paused */
    CPU_DOING
};
extern const char *const cpu_doing_names[CPU_DOING];

#define CPU_HOT 24
struct cpu_profile {
    uint32_t samples, doing[CPU_DOING];
    /* Where it was found most often: translated blocks, by falling count. */
    struct cpu_hot {
        uint64_t rip;
        uint32_t samples, instructions;
        uint8_t cpl, bits; /* 0 or 3; 32 or 64 */
    } hot[CPU_HOT];
    unsigned hot_count;
};

/* Looks at the vCPU every period_us microseconds from now on, by a signal to its thread; nothing costs time otherwise.
 * Ends by cpu_profile_stop, which says what was seen, at most CPU_SAMPLES times. Both on one thread. */
#define CPU_SAMPLES 16384u
bool cpu_profile_start(struct cpu *cpu, unsigned period_us, struct err *e);
void cpu_profile_stop(struct cpu *cpu, struct cpu_profile *out);

#endif
