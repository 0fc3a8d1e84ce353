/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the software CPU, for the files below vmm/cpu/ and their tests.
 *
 * One decoded instruction is a struct insn with its handler; handlers run one after another over a
 * decoded block. A handler either completes, leaving every architectural effect in struct cpu, or
 * raises (cpu_raise does not return: siglongjmp to the run loop) with NO register, flag or memory
 * effect committed, except where the architecture says so (REP progress, A/D bits). So: read operands,
 * probe what will be written (mem_probe_write), compute, then commit.
 *
 * RIP: while a handler runs c->s.rip is still the address of the instruction; the run loop adds the
 * length after the handler unless the handler set c->branched (control flow). */
#ifndef VMDECK_CPU_CPU_PRIV_H
#define VMDECK_CPU_CPU_PRIV_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/bits.h"
#include "vmm/base/thread.h"
#include "vmm/cpu/cpu.h"

struct insn;
typedef void insn_fn(struct cpu *c, const struct insn *i);

/* What decoding depends on; part of the key of a decoded block. */
#define MODE_CODE64 1u  /* CS.L in long mode */
#define MODE_CODE32 2u  /* default operand and address size 32; neither: 16 */
#define MODE_SS32   4u  /* stack pointer is ESP (SS.B); ignored in 64-bit code */
#define MODE_PE     8u  /* protected mode, not virtual-8086 */
#define MODE_VM86   16u /* virtual-8086 */

#define REG_NONE 0xff
#define REG_RIP  0xfe

#define INSN_LOCK  1u
#define INSN_REP   2u /* F3 as a repeat prefix */
#define INSN_REPNE 4u /* F2 as a repeat prefix */
#define INSN_REX   8u /* any REX: byte registers 4-7 are SPL..DIL, not AH..BH */
#define INSN_MEM   16u /* the ModRM operand is memory */

/* One decoded instruction, made from Zydis' answer by decode/decode.c. Which of reg and rm is the
 * destination is the handler's knowledge. */
struct insn {
    insn_fn *exec;
    uint8_t len;
    uint8_t flags;     /* INSN_* */
    uint8_t opsize;    /* effective operand size in bytes: 1, 2, 4, 8 */
    uint8_t addrsize;  /* effective address size: 2, 4, 8 */
    uint8_t seg;       /* segment of the memory operand, overrides applied (enum x86_sreg) */
    uint8_t base, index, scale; /* GPR numbers, REG_RIP or REG_NONE; scale 1, 2, 4, 8 */
    uint8_t reg;       /* ModRM.reg with REX/VEX.R */
    uint8_t rm;        /* ModRM.rm with REX/VEX.B when a register, or the register in the opcode */
    uint8_t vvvv;      /* VEX second source register, REG_NONE without */
    uint8_t cond;      /* condition code 0-15 of Jcc, SETcc, CMOVcc */
    uint16_t mnemonic; /* ZydisMnemonic */
    uint8_t memsize;   /* bytes of the memory operand, 0 when none or more than 255 */
    uint8_t mode;      /* MODE_* it was decoded for */
    int64_t disp;
    uint64_t imm;      /* sign-extended to 64 bits; second immediate of ENTER/far in aux */
    uint64_t aux;      /* second immediate; or a pointer owned by the handler's module (vec thunk) */
    uint8_t bytes[15];
    uint8_t opcode;    /* last opcode byte */
    uint8_t form;      /* enum insn_form */
    uint8_t srcsize;   /* bytes of the second operand (MOVZX, CRC32) */
    bool has_modrm;
};

/* ---- software TLB ---- */

#define TLB_MAX 8192u

/* Direct mapped, one array for each MMU index and kind of access. A hit means: tag equals the page's linear address; host
 * address = linear + addend. What needs the slow path (nothing cached, MMIO, stores to a page with code or to a clean
 * page of the dirty log, watchpoints) has TLB_NEVER, the address of a page that is not canonical, with an addend that
 * leads to the sink: generated code may compare without looking at whether the address is canonical. */
struct tlb_entry {
    uint64_t tag, addend;
};
#define TLB_NEVER BIT64(63)
enum tlb_kind { TLB_READ, TLB_WRITE, TLB_KINDS };

/* Which set of entries: user accesses, supervisor, supervisor with SMAP overridden by EFLAGS.AC. */
enum mmu_index { MMU_KERNEL, MMU_USER, MMU_KERNEL_AC, MMU_COUNT };

/* ---- what generated code addresses, see jit/jit_priv.h ---- */

#define JIT_JUMPS 4096u /* entries of each jump cache; entry 0 stays empty */
#define JIT_PAGES_GLOBAL 4096u /* of the table of code pages: first those of global pages */
#define JIT_PAGES_LOCAL  1024u
#define JIT_KNOWN 4096u /* of the table of blocks by RIP and mode */

/* A block that was executed lately. Zeros: none. Its entry sees for itself whether its page is still mapped as it was. */
struct jit_known {
    uint64_t minus_rip;
    const void *entry;
    uint32_t minus_mode; /* jit_mode */
    uint32_t unused[3];  /* makes it 32 bytes */
};

struct jit_hot {
    uint64_t ret;              /* return address of the stub that is running */
    uint64_t host_rsp;         /* of jit_enter's caller */
    uint64_t target;           /* of an indirect jump; a place for a value during a push */
    uint64_t string_rax, string_flags; /* kept during a string instruction */
    uint64_t tlb_select;       /* PEXT mask: the bits of an address that choose the slot */
    uint64_t page_select;      /* PEXT mask: the bits of the page number */
    _Atomic uint64_t jump_select; /* PEXT mask: the bits of RIP that choose a jump cache entry; 0 makes every indirect
                                   * jump leave translated code */
    uint64_t if_clear;         /* PEXT and PDEP mask: all of RFLAGS but IF */
    uint64_t status_select;    /* PEXT and PDEP mask: the status flags */
    uint64_t bit32_select, bit64_select; /* PEXT masks: number of a bit in a word */
    uint32_t tlb_offset_mask;  /* byte offset of a slot */
    _Atomic uint32_t attention; /* not 0: leave translated code soon */
    uint32_t vec_absent, x87_absent; /* not 0: the guest's registers are in x86_state, else in the host's */
    struct {
        uint64_t minus_page, addend; /* of the page pushed to last, while the TLB lets it be written */
    } stack[MMU_COUNT];
    uint64_t addend[8];        /* of groups of accesses in the block */
    uint32_t link, site;       /* the exit that was taken */
    uint32_t mxcsr_host;
    uint64_t jump_fill;        /* PEXT mask: what jump_select is at other times */
    uint64_t known_select;     /* PEXT mask: the bits of RIP + (RIP >> 12) that choose an entry of known */
    uint32_t page[JIT_PAGES_GLOBAL + JIT_PAGES_LOCAL]; /* identities of mapped code pages, by slot */
    struct {
        uint64_t tag[JIT_JUMPS];   /* minus RIP */
        const void *host[JIT_JUMPS];
    } jumps[MMU_COUNT];
    struct jit_known known[JIT_KNOWN];
    uint8_t x87[576] __attribute__((aligned(64))); /* XSAVE image */
};

/* What cpu_raise* left for the run loop, which calls cpu_deliver_raised after the longjmp. */
struct cpu_raised {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t cr2;
};

#define CPU_SET_MAX 64

/* All vCPUs of one VM. */
struct cpu_set {
    struct cpu_set_cfg cfg;
    struct cpu_tuning tuning;
    struct cpu *cpu[CPU_SET_MAX]; /* cfg.count of them; 0 is the BSP */
    _Atomic bool extint;          /* level of the PIC's INTR output */
    int64_t tsc_offset;           /* the offset that the vCPUs share, see cpu_tsc_set */
    struct code_map *code_map;    /* code.h */

    /* ---- stopping the others (run.c) ---- */
    pthread_mutex_t stop_mutex;
    pthread_cond_t stop_cond;
    struct cpu *_Atomic owner;    /* has exclusivity; written under stop_mutex, a vCPU may ask whether it is itself */
    unsigned running;             /* vCPUs that may be executing */
};

#define CPU_STACK_SIZE (1 * MIB) /* of the C code that translated code calls, right below struct cpu */

struct cpu {
    struct x86_state s; /* rflags without the status flags, which are in cc: use cpu_flags() */

    /* ---- derived from s; recomputed by cpu_mode_changed ---- */
    uint8_t mode;         /* MODE_* */
    uint8_t cpl;
    uint8_t mmu;          /* enum mmu_index for data */
    bool long_mode;       /* EFER.LMA */
    bool align_check;     /* CR0.AM, RFLAGS.AC and CPL 3: seg_linear raises #AC */
    uint8_t debug;        /* DEBUG_*: kinds of breakpoints enabled in DR7 (debug_changed) */

    /* ---- single step and breakpoints, see debug_before ---- */
    bool dbg_tf;          /* RFLAGS.TF when the instruction began */
    uint32_t dbg_hits;    /* bits of DR6 that the instruction has earned so far */
    uint64_t dbg_rip;     /* where it began */
    int64_t tsc_offset;   /* guest TSC minus the clock, see cpu_tsc */

    /* ---- running ---- */
    bool branched;        /* the handler set s.rip itself */
    bool ferr;            /* FERR# is asserted */
    bool end_block;       /* mode, mapping or code changed: look up again after this instruction */
    sigjmp_buf raise_env;
    struct cpu_raised raised;
    _Atomic uint8_t sipi_vector;
    struct cpu_set *set;
    unsigned index;
    _Atomic uint32_t pending; /* CPU_PENDING_*, polled between blocks and at back edges */
    struct lapic *lapic;
    struct cpu_stats stats;
    volatile uint8_t doing;   /* enum cpu_doing, for profile.c: CPU_INTERPRETS but where C code says otherwise */
    struct profiler *profiler; /* NULL until somebody asks */
    _Atomic pid_t tid;        /* of the thread that is or was in cpu_run; 0: none yet */

    uint16_t cc;           /* status flags as LAHF and SETO leave them, see interp/ops.h */
    uint64_t rip_mask;     /* RIP wraps at it: all ones in 64-bit code */
    uint32_t tlb_epoch;    /* rises with every flush: chains of blocks end there */
    struct mmu_state *mmu_state;

    /* ---- sleeping (run.c) ---- */
    pthread_mutex_t sleep_mutex;
    pthread_cond_t sleep_cond;
    _Atomic bool sleeping;

    uint32_t tlb_slots;    /* in use of each array: a power of two */
    struct tlb_entry tlb[MMU_COUNT][TLB_KINDS][TLB_MAX];

    struct jit_hot hot;
    struct jit *jit;       /* NULL: the interpreter does it all */
    struct verify *verify; /* NULL: translations are not compared with the interpreter */

    struct vec_ctx *vec;   /* interp/vec: thunk cache, host FPU image */
    struct code_cache *code;
};

/* ---- profile.c ---- */

/* In cpu_run: this thread is the vCPU's. */
void profile_thread(struct cpu *c);
void profile_free(struct cpu *c);

/* ---- raising (never return) ---- */

_Noreturn void cpu_raise(struct cpu *c, unsigned vector);
_Noreturn void cpu_raise_err(struct cpu *c, unsigned vector, uint32_t error);
_Noreturn void cpu_raise_pf(struct cpu *c, uint64_t gva, uint32_t error);
#define cpu_ud(c)      cpu_raise(c, X86_UD)
#define cpu_gp(c, err) cpu_raise_err(c, X86_GP, err)

/* ---- exceptions and interrupts (excp.c) ---- */

enum event_kind { EVENT_FAULT, EVENT_TRAP, EVENT_SOFT_INT, EVENT_EXT_INT, EVENT_NMI };

/* Delivers c->raised through IVT or IDT (real, v86, protected, long mode, task gates), with the rules
 * for double and triple fault (faults met during the delivery are handled inside, by a second
 * sigsetjmp). s.rip must be the address to push. False: triple fault, shut down. */
bool cpu_deliver_raised(struct cpu *c);
/* The same for an interrupt, an NMI, INT n, INT3, INTO, INT1, and debug traps. */
bool cpu_deliver(struct cpu *c, unsigned vector, enum event_kind kind, bool has_error, uint32_t error);

/* ---- local APIC (lapic.c): xAPIC page, x2APIC MSRs, timer, IPIs. Own leaf lock. ---- */

struct lapic *lapic_new(struct cpu *c);
void lapic_free(struct lapic *l);
uint32_t lapic_mmio_read(struct lapic *l, unsigned offset);
void lapic_mmio_write(struct lapic *l, unsigned offset, uint32_t value);
/* Vector of the interrupt to take now (acknowledged: IRR to ISR), or -1. ExtINT is asked from the PIC. */
int lapic_ack(struct lapic *l);
/* Whether lapic_ack would find one. Cheap. */
bool lapic_has_irq(struct lapic *l);
/* cpu_get_state calls _save before it copies s (timer counts); cpu_set_state calls _load after it wrote
 * s, which arms timers and posts what is pending. In between the registers live in s.lapic, under the
 * APIC's lock. */
void lapic_save(struct lapic *l);
void lapic_load(struct lapic *l);

/* Bits of cpu.pending, set from any thread with cpu_post, which also wakes a halted vCPU. */
#define CPU_PENDING_IRQ    1u  /* lapic_has_irq may be true */
#define CPU_PENDING_NMI    2u
#define CPU_PENDING_INIT   4u
#define CPU_PENDING_SIPI   8u  /* vector in cpu.sipi_vector */
#define CPU_PENDING_KICK   16u
#define CPU_PENDING_FLUSH  32u /* TLB of this vCPU is stale (map or dirty log changed) */
#define CPU_PENDING_STOP   64u /* another vCPU wants exclusivity */
void cpu_post(struct cpu *c, uint32_t pending);

/* ---- decode tables: decode/insn.def (core) and decode/insn_sys.def (system) hold rows
 * INSN(mnemonic without ZYDIS_MNEMONIC_, handler, flags); handlers are declared from the same rows. ---- */
#define I_END  1u /* last instruction of a decoded block: control flow, mode or mapping changes */
#define I_LOCK 2u /* LOCK prefix allowed with a memory destination */

/* ---- guest memory by linear address (mmu/access.c). Sizes 1 to 32; page crossing, MMIO, dirty log
 * and self-modifying code are handled inside; page faults raised before anything is written. ---- */

uint64_t mem_ld(struct cpu *c, uint64_t linear, unsigned size); /* 1, 2, 4, 8 */
void mem_st(struct cpu *c, uint64_t linear, uint64_t value, unsigned size);
void mem_ld_bytes(struct cpu *c, uint64_t linear, void *dst, unsigned size); /* any size to 4096 */
void mem_st_bytes(struct cpu *c, uint64_t linear, const void *src, unsigned size);
/* Raises what a write of size bytes would raise, writes nothing. */
void mem_probe_write(struct cpu *c, uint64_t linear, unsigned size);
/* As supervisor whatever CPL is (descriptor tables, TSS, IDT). */
uint64_t mem_ld_sys(struct cpu *c, uint64_t linear, unsigned size);
void mem_st_sys(struct cpu *c, uint64_t linear, uint64_t value, unsigned size);
/* The page of the local APIC's registers, while they are mapped. */
bool cpu_is_apic_page(const struct cpu *c, uint64_t gpa);
/* Host address for an atomic read-modify-write of size bytes that does not cross a page, or NULL: MMIO
 * or page crossing, then do it under cpu_exclusive. Write-probed; after the operation call mem_rmw_done,
 * which reports stores to code pages and to the dirty log. */
void *mem_rmw(struct cpu *c, uint64_t linear, unsigned size);
void mem_rmw_done(struct cpu *c, uint64_t linear, unsigned size);
/* Stops the other vCPUs at an instruction boundary (split or MMIO LOCK). Nested calls are not allowed. */
void cpu_exclusive_begin(struct cpu *c);
void cpu_exclusive_end(struct cpu *c);

/* Effective address of the memory operand: offset within the segment, wrapped to the address size. */
uint64_t insn_offset(struct cpu *c, const struct insn *i);
/* Linear address of an access of size bytes at offset in segment seg: checks limit, type and canonical
 * form (raises #GP or #SS), alignment when AC is on, adds the base. */
uint64_t seg_linear(struct cpu *c, unsigned seg, uint64_t offset, unsigned size, bool write);
/* Both in one: what most handlers call. */
uint64_t insn_linear(struct cpu *c, const struct insn *i, unsigned size, bool write);

/* ---- debug registers and single step (debug.c) ---- */

#define DEBUG_EXEC 1u /* instruction breakpoints */
#define DEBUG_DATA 2u /* data breakpoints: TLB entries of watched pages are TLB_SLOW */
#define DEBUG_IO   4u

/* When this is true the run loop executes one instruction at a time, debug_before in front of each
 * (may raise #DB) and debug_after behind it, when RIP is already that of the next instruction (may
 * deliver #DB; false: triple fault). A REP instruction then does one iteration at a time, leaving
 * RIP where it is. */
static inline bool debug_active(const struct cpu *c)
{
    return c->debug || c->dbg_hits || (c->s.rflags & (X86_TF | X86_RF));
}
void debug_before(struct cpu *c);
bool debug_after(struct cpu *c);
/* Only while c->debug has DEBUG_DATA. Whether a data breakpoint lies in the page; and the report of
 * an access from the slow path (write: also read-modify-write). */
bool debug_page_watched(const struct cpu *c, uint64_t linear);
void debug_data(struct cpu *c, uint64_t linear, unsigned size, bool write);
/* After DR7, DR0-3 or CR4.DE changed other than by an instruction (cpu_set_state): recomputes
 * c->debug and flushes the TLB. */
void debug_changed(struct cpu *c);

/* ---- time (tsc.c): the guest's TSC counts nanoseconds of the set's clock ---- */

uint64_t cpu_tsc(struct cpu *c);
/* cpu_set_state calls it with s.tsc; cpu_get_state stores cpu_tsc in s.tsc. No vCPU is running. */
void cpu_tsc_set(struct cpu *c, uint64_t tsc);

/* ---- INIT and start-up IPI, called by the run loop for CPU_PENDING_INIT and _SIPI (reset.c) ---- */

void cpu_init_signal(struct cpu *c);
void cpu_sipi_signal(struct cpu *c, uint8_t vector);

/* ---- flags ---- */

/* RFLAGS with the status flags. */
uint64_t cpu_flags(struct cpu *c);
/* Sets the six arithmetic flags (only bits of X86_STATUS_FLAGS in f count). */
void cpu_set_status_flags(struct cpu *c, uint32_t f);

/* ---- control state ---- */

/* After any change of CR0, CR4, EFER, CS, SS, CPL, RFLAGS.VM or AC. Sets end_block when needed. */
void cpu_mode_changed(struct cpu *c);
void tlb_flush_all(struct cpu *c);               /* global pages too */
void tlb_flush_nonglobal(struct cpu *c);
void tlb_flush_page(struct cpu *c, uint64_t linear);

/* ---- vectors and x87 (interp/vec_*.c): called by the decoder for every instruction that works on
 * x87, MMX, XMM or YMM registers (and their moves, conversions, FXSAVE/XSAVE family, EMMS, LDMXCSR).
 * Sets i->exec and i->aux; returns false when this module does not know the instruction (then #UD).
 * zinsn and zops are ZydisDecodedInstruction and ZydisDecodedOperand[10] of the same instruction. ---- */
bool vec_decode(struct cpu *c, struct insn *i, const void *zinsn, const void *zops);
struct vec_ctx *vec_ctx_new(struct err *e);
void vec_ctx_free(struct vec_ctx *v);
/* #NM/#UD as CR0.EM, TS, CR4.OSFXSR, OSXSAVE and XCR0 ask for; see SDM vol. 2A 2.4 and vol. 3A 13.1. */
enum vec_kind { VEC_X87, VEC_MMX, VEC_SSE, VEC_AVX };
void vec_check(struct cpu *c, enum vec_kind kind);
/* What XGETBV answers for ECX 1: enabled components that are not in their initial state. */
uint64_t vec_xinuse(const struct cpu *c);

#endif
