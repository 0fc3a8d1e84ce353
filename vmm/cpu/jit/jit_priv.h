/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the translator.
 *
 * Registers. While translated code runs, host RSP points to struct cpu, below which lies a stack for the C code that it
 * calls, so that everything of the vCPU is [RSP + constant]. Guest RAX, RDX, RBX, RBP, RSI, RDI and R8 to R11 are in
 * the host registers of the same names, guest RSP in R12, guest RCX in R13; guest R12 to R15 stay in struct x86_state
 * and are operands in memory. Host RCX, R14 and R15 are scratch: RCX because JRCXZ tests it without touching flags.
 * The status flags are the host's. Vector and x87 registers are the host's when hot.vec_absent and hot.x87_absent
 * are 0.
 *
 * Blocks are straight lines of guest code inside one page, keyed by RIP and jit_mode. The exits of a block jump to the
 * next one: within the page to its body, which needs no check since a page has one mapping while a block of it runs;
 * to another page to its entry, which first looks whether the page is still mapped as it was (hot.page). Indirect jumps
 * go through a cache that is emptied with the TLB.
 *
 * Faults. A memory access that misses the TLB, or a host exception in translated code, leads to C, which either mends
 * the cause or leaves translated code with the state as it was before the instruction, for the interpreter to
 * execute it. So only the interpreter raises. */
#ifndef VMDECK_CPU_JIT_JIT_PRIV_H
#define VMDECK_CPU_JIT_JIT_PRIV_H

#include <Zydis/Zydis.h>
#include <stddef.h>

#include "vmm/cpu/code.h"
#include "vmm/cpu/interp/ops.h"
#include "vmm/cpu/jit/emit.h"
#include "vmm/cpu/jit/jit.h"
#include "vmm/cpu/sys.h"

/* ---- what a translation depends on beside RIP ---- */

#define JM_MODE   0x1fu   /* MODE_* */
#define JM_USER   0x80u   /* CPL 3 */
#define JM_MMU(m) (((m) >> 8) & 3u)
#define JM_X87    0x400u  /* x87 and MMX instructions raise neither #NM nor #UD */
#define JM_SSE    0x800u
#define JM_AVX    0x1000u
#define JM_KERNEL 0x2000u /* CPL 0 */
#define JM_FS     0x4000u /* outside 64-bit code: FS has an ordinary data segment of 4 GiB, at any base */
#define JM_GS     0x8000u
#define JM_DF     0x20000u /* strings go down */
#define JM_ALONE  0x10000u /* no groups of accesses: where one lay across a page's border */

uint32_t jit_mode(const struct cpu *c);
/* Whether code of that mode is translated at all: 64-bit code, and 32-bit code with flat segments. */
#define JIT_NO_MODE UINT32_MAX

/* ---- blocks ---- */

#define JIT_INSNS 64u

struct jit_block {
    struct jit_block *hash_next, *page_next, *cross_next, *twin_next;
    struct code_page *at, *at2;
    uint64_t rip, page, page2; /* page2: UINT64_MAX, or the page in which its only instruction ends */
    uint32_t mode;
    uint16_t len, insn_count;
    bool global;               /* the pages are */
    bool peeked;               /* depends on code of its page that is not in it */
    bool alone;                /* without groups: they failed too often */
    bool useless;              /* will not be revived */
    uint8_t failures;          /* of group checks */
    bool movable;              /* see move.c */
    uint8_t fixup_count;
    uint16_t link_count, site_count, trap_count;
    uint32_t first_link, first_site, first_trap; /* where its own begin */
    uint32_t incoming;         /* the first of the links that lead here, from 1 */
    uint32_t *fixups;          /* offsets in code memory of constants that depend on RIP; FIXUP_NARROW: of 32 bits */
    struct jit_call *calls;
    bool live;                 /* else body and entry are diverted, and the code under the jumps is kept here */
    uint8_t *entry, *body;     /* executable addresses */
    const void *miss;          /* where a stale block leads: looks its RIP up again */
    uint8_t entry_code[5], body_code[5];
    uint8_t *bytes;            /* the guest's, len of them */
    const uint8_t *cold;       /* executable address of its seldom executed part */
    uint32_t hot_size, cold_size; /* of the host code, from entry and from cold */
    const struct jit_note *notes; /* of note_count instructions and of the end, for verify.c; else NULL */
    unsigned note_count;
};

/* A page of code as seen at one linear address. */
struct code_page {
    struct code_page *next;
    uint64_t linear, page;
    bool user, global;
    uint16_t slot; /* of hot.page, which says whether it is mapped */
    uint32_t id;   /* and what is there then */
    uint32_t seen; /* jit.lookups when it was found mapped */
};

/* A direct exit. */
struct jit_link {
    uint8_t *after;   /* behind the rel32 to be patched, writable side; NULL: none */
    const void *stub; /* where it leads until it is linked */
    uint64_t rip;
    struct jit_block *from, *to; /* to: NULL until it is linked */
    uint32_t next_in; /* the next of those with the same to, from 1 */
    bool alone;       /* to a block with JM_ALONE */
};

/* A place that may leave a block in the middle. */
enum jit_site_kind { SITE_READ = TLB_READ, SITE_WRITE = TLB_WRITE, SITE_JUMP, SITE_CALL, SITE_RET };
struct jit_site {
    uint64_t rip;
    uint32_t size; /* of the memory access; or what RET adds to RSP */
    uint8_t kind;  /* enum jit_site_kind */
    uint8_t tag;   /* enum tlb_kind that the check looks at */
    bool group;    /* the check is for several accesses */
    struct jit_block *block;
};

struct jit_trap {
    uint32_t start, end; /* of its host code, offsets in code memory */
    uint64_t rip;
    uint16_t last_back, last_fop; /* of the last x87 instruction: how far before rip, or 0: struct x86_fpu tells */
};

#define JIT_HASH_BITS 17
#define JIT_TWIN_BITS 16
#define JIT_BODIES    256
#define JIT_HEAT_BITS 16
#define JIT_STALE_MAX 32

/* Accesses of a block that lie close together, by the same registers, share one check: that of the first, the leader. */
struct tr_access {
    uint8_t group;      /* from 1; 0: alone */
    bool leader, write; /* write: one of the group stores */
    int32_t low;        /* leader: the group begins that far from its own address, */
    uint32_t size;      /* and has that many bytes */
};

struct tr_insn {
    struct tr_access access[2]; /* of the ModRM operand; of the stack */
    struct insn i;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    uint64_t rip;
    uint8_t flags_in; /* status flags (X86_* bits folded, see flow.c) that are live before it */
    bool ends;
    bool uncertain; /* reads flags that the block left undefined: the interpreter's, when verify.c compares */
};

struct jit {
    struct cpu *cpu;
    uint8_t *rw, *rx;
    size_t size;
    size_t start;            /* end of the stubs */
    size_t hot, hot_end;     /* where the next hot code goes; the rest is for what is seldom executed */
    size_t cold;
    uint8_t *arena;          /* blocks, links, sites, copies of instructions */
    size_t arena_used, arena_size;

    struct jit_block *hash[1u << JIT_HASH_BITS];
    struct jit_block *by_page[1u << 12];
    struct jit_block *twins[1u << JIT_TWIN_BITS]; /* movable ones, by page and offset */
    struct jit_block *crossing; /* those that end in another page */
    struct code_page *pages[1u << 14];
    uint32_t page_count;
    uint8_t heat[1u << JIT_HEAT_BITS];
    uint8_t alone[1u << JIT_HEAT_BITS]; /* by the same hash: no groups there */

    uint8_t changes[1u << 12]; /* by page: how often its blocks were found overwritten */
    uint32_t lookups, flushed_at;
    uint32_t heat_factor;

    struct jit_block **blocks; /* all of them; hot and cold code lie in this order, by rising address */
    uint32_t block_count;
    struct jit_link *links;
    struct jit_site *sites;
    struct jit_trap *traps;
    uint32_t link_count, site_count, trap_count;
    uint64_t generation;     /* rises when everything is thrown away */

    bool fill;                      /* the next block belongs into the jump cache */
    uint32_t jumps_mode[MMU_COUNT]; /* what each jump cache was filled for */
    struct jump_bodies {            /* its entries that lead to a body, so that a flush must find them */
        unsigned count;
        bool local;                 /* some are of pages that are not global */
        uint16_t slot[JIT_BODIES];
    } bodies[MMU_COUNT];

    pthread_mutex_t stale_mutex; /* pages written, by any thread */
    uint64_t stale[JIT_STALE_MAX];
    unsigned stale_count;        /* above JIT_STALE_MAX: too many to list */
    _Atomic bool stale_any;

    /* ---- stubs, executable addresses ---- */
    void (*enter)(struct cpu *c, const void *code);
    const void *exit_link, *exit_jump, *exit_indirect, *find_jump[MMU_COUNT], *slow, *callback, *vec_load, *x87_load, *trap;
    const void *landed; /* what the jump cache leads to when translations are compared, see verify.h */

    struct tr_insn insns[JIT_INSNS]; /* of the block being translated */
    struct tr_insn peeked;           /* an instruction behind it */
};

#define JIT_BLOCKS (1u << 20)
#define JIT_LINKS  (1u << 20)
#define JIT_SITES  (1u << 21)
#define JIT_TRAPS  (1u << 21)

/* ---- stubs.c ---- */

#define OFF(field) ((int32_t)offsetof(struct cpu, field))
#define OFF_GPR(n) ((int32_t)(offsetof(struct cpu, s.gpr) + 8u * (n)))
#define OFF_HOT(f) ((int32_t)offsetof(struct cpu, hot.f))
#define STATE(off) rm_mem(H_RSP, (off))

#define H_SLOT  H_RCX /* scratch */
#define H_ADDR  H_R14
#define H_TEMP  H_R15
#define H_GRSP  H_R12
#define H_GRCX  H_R13

/* Host register of a guest register, H_NONE for R12 to R15. */
extern const uint8_t jit_host_reg[16];

bool jit_make_stubs(struct jit *j);

/* ---- translate.c ---- */

/* Status flags, folded into a byte: OF goes to bit 1. */
#define JIT_FLAGS 0xd7u
static inline uint8_t jit_fold(uint32_t f)
{
    return (uint8_t)((f & 0xd5u) | (f >> 11 & 1u) << 1);
}

/* Fills in a block whose place is set. host is its first byte; second, with page2, the page where its first instruction
 * may go on. False: some memory is full. */
bool jit_translate(struct cpu *c, struct jit_block *b, const uint8_t *host, const uint8_t *second);
/* Writes the check at the entry of a movable block again, for another page. */
void jit_move_entry(const struct jit *j, const struct jit_block *b);

/* ---- cache.c ---- */

void jit_flush(struct cpu *c);
/* Where the code for RIP and the mode as it is now begins, or NULL: not known, or something is to be done first. */
const void *jit_next(struct cpu *c);
/* Makes the jump cache lead from RIP to that host code; NULL: nowhere. Some RIPs cannot be in it. */
void jit_set_jump(struct cpu *c, uint64_t rip, const void *host);
/* A group check failed though its first access would not. */
void jit_group_failed(struct cpu *c, struct jit_block *b);
void *jit_alloc(struct jit *j, size_t size);

/* ---- move.c ---- */

#define FIXUP_NARROW (1u << 31)

/* Points a link to a block. */
void jit_link(struct jit *j, uint32_t index, struct jit_block *to);
/* The block there can be found, and no more, as one that may be wanted at another RIP. */
void jit_add_twin(struct jit *j, struct jit_block *b);
void jit_leave_twins(struct jit *j, const struct jit_block *b);
/* A block of the same bytes and mode that is not needed at its own RIP any more, or NULL. */
struct jit_block *jit_find_twin(const struct jit *j, uint64_t rip, uint64_t page, uint32_t mode);
/* Turns it, which no table leads to, into the block for rip, in the page of that name. Its entry is the caller's. */
void jit_move(struct jit *j, struct jit_block *b, uint64_t rip, struct code_page *at);

/* ---- look.c ---- */

/* The block that has that host address, or NULL. */
const struct jit_block *jit_block_at(const struct jit *j, const void *host);
/* With cpu_tuning.perf_map: a new block, NULL for the stubs; all blocks are gone. */
void jit_map_block(const struct jit *j, const struct jit_block *b);
void jit_map_flush(const struct jit *j);

/* ---- the translator's state ---- */

/* The last x87 instruction, whose address and opcode struct x86_fpu will have to show. */
struct x87_last {
    bool known; /* else struct x86_fpu is right */
    uint16_t fop;
    uint64_t rip;
};

struct tr {
    struct cpu *c;
    struct jit *j;
    struct emit hot, cold;
    uint32_t mode;
    bool code64;
    struct jit_block *block;
    unsigned count, at;
    const struct tr_insn *in; /* the instruction at hand */
    uint8_t live_at_end;      /* status flags */
    unsigned slot_group;      /* the group whose addend H_SLOT holds, or 0 */
    bool vec_live, x87_live;  /* known to be in the host's registers here */
    struct x87_last x87_last;
    struct {                  /* where a jump from the block to its own start may lead, behind the loading of registers */
        const void *at;       /* NULL: to the body, as from elsewhere */
        bool vec_live, x87_live;
    } again;
    uint8_t *addend_store[ARRAY_LEN(((struct jit_hot *)0)->addend)]; /* of each group, until it is known to be read */
    bool fixed;               /* the block cannot be moved */
    unsigned fixup_count;
    uint32_t fixups[64];
    bool shadow;              /* s.sti_shadow was set for the instruction at hand */
};

/* Loads a constant that moves with the block. */
void tr_mov_rip(struct tr *t, struct emit *e, unsigned reg, uint64_t v);
/* The 32-bit immediate just written to hot code is one. */
void tr_note_rip32(struct tr *t);
/* At the end: gives the block its list of them. False: memory is full. */
bool tr_keep_fixups(struct tr *t);

/* Has the interpreter's handler execute the instruction at hand, in hot or cold code. */
struct jit_call *tr_callback(struct tr *t, struct emit *e);

/* ---- mem.c ---- */

/* A linear address made from guest registers. */
struct tr_place {
    uint8_t base, index, scale; /* GPRs or REG_NONE */
    uint8_t seg;                /* X86_FS or X86_GS: its base is added; else 0 */
    bool narrow;                /* wraps at 4 GiB */
    bool moves;                 /* without registers: relative to RIP */
    int64_t disp;               /* or the address itself */
};
struct tr_place tr_operand_place(const struct tr_insn *in);
struct tr_place tr_stack_place(const struct tr *t, unsigned base, int32_t disp);

/* Checks an access and returns the host's operand, which may use H_ADDR and H_SLOT; H_TEMP is free afterwards. which: 0 for
 * the ModRM operand, 1 for the stack's. want_va: the linear address is in H_ADDR. */
struct rm tr_memory(struct tr *t, const struct tr_place *p, unsigned which, unsigned size, enum tlb_kind kind,
                    bool want_va);
/* The same in two steps: the linear address to H_ADDR, and the check of what is there, without a group. */
void tr_linear(struct tr *t, const struct tr_place *p);
struct rm tr_check_linear(struct tr *t, unsigned size, enum tlb_kind kind);
/* Of the entries for one kind of access, in struct cpu. */
int32_t tr_tlb_offset(const struct tr *t, enum tlb_kind kind);
/* Index of a new site for the instruction at hand. */
uint32_t tr_site(struct tr *t, unsigned size, enum jit_site_kind kind);
/* At the end of a block: the stores of addends that no access of a group read become a NOP. */
void tr_drop_unread_addends(struct tr *t);
/* Afterwards the operand needs H_ADDR alone. */
struct rm tr_collapse(struct tr *t, struct rm host);

/* ---- group.c: fills in access[] ---- */
void tr_find_groups(struct tr *t);

/* ---- gen.c ---- */

/* Whether the instruction is translated by re-encoding it with other operands, and that. */
bool tr_generic_ok(const struct tr *t, const struct tr_insn *in);
void tr_generic(struct tr *t);
/* Which registers it works on. */
void tr_generic_uses(const struct tr_insn *in, bool *vec, bool *x87);
/* Whether accesses through the memory operand's segment need no check of limit and type. */
bool tr_segment_ok(const struct tr *t, const struct insn *i);

/* ---- flow.c: control flow and the stack ---- */

enum tr_flow_kind { FLOW_NONE, FLOW_STAYS, FLOW_BRANCH /* may leave, goes on */, FLOW_ENDS };
enum tr_flow_kind tr_flow_kind(const struct tr *t, const struct tr_insn *in);
void tr_flow(struct tr *t);
/* Whether it jumps backwards, so that a loop may have no other way out. */
bool tr_is_back_edge(const struct tr_insn *in);
/* Where a direct jump leads. */
uint64_t tr_target(const struct tr_insn *in);
/* Writes an exit's cold code; after: behind the jump that leads there. alone: to a block without groups. */
const uint8_t *tr_exit_stub(struct tr *t, uint8_t *after, uint64_t rip, bool alone);
/* Leaves the block for a constant RIP. */
void tr_exit_to(struct tr *t, uint64_t rip);
/* Leaves for the RIP of the instruction at hand when attention is asked for. */
void tr_poll(struct tr *t);

/* ---- string.c ---- */

bool tr_string_ok(const struct tr *t, const struct tr_insn *in);
/* Whether the flags may be left as they were by an instruction that writes them. */
bool tr_string_keeps_flags(const struct tr_insn *in);
void tr_string(struct tr *t);

/* ---- sys.c: system instructions ---- */

bool tr_sys_ok(const struct tr *t, const struct tr_insn *in);
void tr_sys(struct tr *t);
/* Whether the instruction can be translated behind STI: else STI ends the block. */
bool tr_may_follow_sti(const struct tr *t, const struct tr_insn *in);
/* The instruction behind STI is executed but for what cannot fault. */
void tr_end_shadow(struct tr *t);

/* ---- fpu.c ---- */

/* From here to the next callback the guest's registers are in the host's. */void tr_need_vec(struct tr *t);
void tr_need_x87(struct tr *t);
/* Writes x87_last to struct x86_fpu. In hot code that is the end of it; in cold code, for what leaves the block in the
 * middle, it goes on. */
void tr_show_x87_last(struct tr *t, struct emit *e);
/* The host code of the instruction at hand, from start to here, may raise a host exception. */
void tr_trap_site(struct tr *t, const uint8_t *start);

#endif
