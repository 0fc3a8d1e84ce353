/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Grows blocks: see diff_block.h. */
#include <string.h>

#include "tests/cpu/diff_block.h"
#include "tests/cpu/diff_gen.h"
#include "vmm/base/bits.h"

#define DEPTH_MAX 4
#define SPARE     5u   /* room that is always left for a jump to elsewhere */
#define LOOP_STEPS 300u
#define SEQUENCE  96u  /* bytes of an instruction and of those that prepare registers for it */

struct grower {
    struct diff_block *b;
    struct soft *ref;
    struct diff_trace trace;
    bool used[CODE_SIZE];
    unsigned at;               /* where the next instruction goes: the interpreter is there too */
    unsigned barrier;          /* an instruction must begin there, 0: none; */
    unsigned barrier_len;      /* that many bytes are there already */
    unsigned returns[DEPTH_MAX], depth;
    bool in_loop;
    unsigned loop_at, loop_reg, loop_count;
    bool over;                 /* it ends here */
};

/* ---- bytes ---- */

struct sequence {
    uint8_t b[SEQUENCE];
    unsigned len, last; /* last: where its last instruction begins */
};

static void add_bytes(struct sequence *q, const void *b, unsigned len)
{
    q->last = q->len;
    memcpy(q->b + q->len, b, len);
    q->len += len;
}

/* MOV of a constant to a register. */
static void add_mov(struct sequence *q, bool code32, unsigned reg, uint64_t v)
{
    uint8_t b[10];
    unsigned n = 0;

    if (code32 || v == (uint32_t)v) {
        if (reg >= 8)
            b[n++] = 0x41;
        b[n++] = (uint8_t)(0xb8 | (reg & 7));
        st_le32(b + n, (uint32_t)v);
        n += 4;
    } else {
        b[n++] = (uint8_t)(0x48 | reg >> 3);
        b[n++] = (uint8_t)(0xb8 | (reg & 7));
        st_le64(b + n, v);
        n += 8;
    }
    add_bytes(q, b, n);
}

/* An instruction with ModRM whose operand is at an absolute address, reg its other field. */
static void add_absolute(struct sequence *q, bool code32, const void *opcode, unsigned opcode_len, unsigned reg,
                         uint32_t address, const void *imm, unsigned imm_len)
{
    uint8_t b[24];
    unsigned n = opcode_len;

    memcpy(b, opcode, n);
    b[n++] = (uint8_t)(reg << 3 | (code32 ? 5 : 4));
    if (!code32)
        b[n++] = 0x25;
    st_le32(b + n, address);
    n += 4;
    if (imm_len)
        memcpy(b + n, imm, imm_len);
    add_bytes(q, b, n + imm_len);
}

static bool is_free(const struct grower *g, unsigned at, unsigned len)
{
    if (at + len > CODE_SIZE)
        return false;
    for (unsigned n = 0; n < len; n++)
        if (g->used[at + n])
            return false;
    return true;
}

static void put(struct grower *g, unsigned at, const uint8_t *b, unsigned len)
{
    memcpy(g->b->image + at, b, len);
    memset(g->used + at, true, len);
    soft_put_code(g->ref, at, b, len);
}

static void take_away(struct grower *g, unsigned at, unsigned len)
{
    memset(g->b->image + at, OPCODE_HLT, len);
    memset(g->used + at, false, len);
    soft_put_code(g->ref, at, g->b->image + at, len);
}

static unsigned find_space(const struct grower *g, unsigned len)
{
    for (unsigned tries = 0; tries < 20; tries++) {
        const unsigned at = rnd_one_in(4) ? 0x1000 - rnd_below(40) : rnd_below(CODE_SIZE - len);
        if (is_free(g, at, len))
            return at;
    }
    return 0;
}

/* ---- execution ---- */

static enum trace_result step(struct grower *g)
{
    return trace_step(&g->trace, g->ref, g->b->code32);
}

/* Executes what was put, to `to`. */
static bool go_to(struct grower *g, unsigned to, unsigned steps)
{
    for (unsigned n = 0; soft_rip(g->ref) != CODE_BASE + to; n++)
        if (n == steps || step(g) != TRACE_ON) {
            g->over = true;
            return false;
        }
    g->at = to;
    return true;
}

/* Instructions of one byte. */
static void pad(struct grower *g, unsigned at, unsigned len)
{
    static const uint8_t nop = 0x90;

    for (unsigned n = 0; n < len; n++)
        put(g, at + n, &nop, 1);
}

static bool meet_barrier(struct grower *g)
{
    const unsigned to = g->barrier;

    pad(g, g->at, to - g->at);
    g->barrier = 0;
    if (!go_to(g, to, 64))
        return false;
    return !g->barrier_len || go_to(g, to + g->barrier_len, 16);
}

/* Room for that many bytes at g->at, which may move. */
static bool make_room(struct grower *g, unsigned len)
{
    if (g->barrier && (g->at > g->barrier || g->barrier - g->at > 100))
        g->barrier = 0; /* it went elsewhere */
    if (g->barrier && g->at + len > g->barrier) {
        if (!is_free(g, g->at, g->barrier - g->at))
            g->barrier = 0;
        else if (!meet_barrier(g))
            return false;
    }
    if (is_free(g, g->at, len + SPARE))
        return true;
    const unsigned to = find_space(g, len + SPARE + 40);
    uint8_t jmp[5] = {0xe9};
    if (!to || !is_free(g, g->at, sizeof(jmp))) {
        g->over = true;
        return false;
    }
    st_le32(jmp + 1, to - g->at - 5);
    put(g, g->at, jmp, sizeof(jmp));
    return go_to(g, to, 1);
}

struct undo {
    struct diff_regs regs;
    unsigned at, steps, blanks;
    uint32_t undefined;
};

static void save(struct grower *g, struct undo *u)
{
    soft_regs(g->ref, &u->regs);
    u->at = g->at;
    u->steps = g->trace.steps;
    u->blanks = g->trace.blanks;
    u->undefined = g->trace.undefined;
}

static void restore(struct grower *g, const struct undo *u)
{
    soft_load(g->ref, g->b->code32, &u->regs);
    g->at = u->at;
    g->trace.steps = u->steps;
    g->trace.blanks = u->blanks;
    g->trace.undefined = u->undefined;
}

/* Puts a sequence and executes it as far as `to` (usually its end). False: it was taken back, or the block is over. */
static bool try_sequence(struct grower *g, const struct sequence *q, unsigned to, bool may_raise)
{
    struct undo u;

    if (!is_free(g, g->at, q->len)) {
        g->over = true;
        return false;
    }
    save(g, &u);
    put(g, g->at, q->b, q->len);
    for (unsigned n = 0; soft_rip(g->ref) != CODE_BASE + to; n++) {
        const enum trace_result r = n < 8 ? step(g) : TRACE_UNUSABLE;
        if (r == TRACE_RAISED && may_raise) {
            g->over = true;
            return true;
        }
        if (r != TRACE_ON) {
            restore(g, &u);
            take_away(g, u.at, q->len);
            return false;
        }
    }
    g->at = to;
    return true;
}

/* ---- random instructions ---- */

static const char *random_group(void)
{
    switch (rnd_below(16)) {
    case 0: return "x87";
    case 1: return "mmx";
    case 2:
    case 3: return "sse";
    case 4: return "avx";
    case 5: return rnd_one_in(8) ? "xsave" : "x87";
    default: return "integer";
    }
}

/* A register from which the window can be reached by a displacement. */
static int near_register(const struct grower *g)
{
    int found[16];
    unsigned count = 0;

    for (unsigned n = 0; n < (g->b->code32 ? 8 : 16); n++)
        if (soft_gpr(g->ref, n) - DATA_BASE + 0x800 < DATA_SIZE + 0x1000)
            found[count++] = (int)n;
    return count ? found[rnd_below(count)] : -1;
}

static const ZydisDecodedOperand *explicit_memory(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
    for (unsigned n = 0; n < z->operand_count_visible; n++)
        if (ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[n].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
            (z->attributes & ZYDIS_ATTRIB_HAS_MODRM))
            return &ops[n];
    return NULL;
}

/* By the displacement, if it is a large one; often near what the register points to. */
static void aim_by_displacement(struct diff_test *t, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
    if (z->raw.disp.size != 32 || aim_gpr(o->mem.base) < 0)
        return;
    uint64_t to = aim_target(o->size / 8);
    if (rnd_one_in(2))
        to = t->before.gpr[aim_gpr(o->mem.base)] + rnd_below(256) - 128;
    st_le32(t->bytes + z->raw.disp.offset,
            (uint32_t)(to - aim_address(t, z, o) + (uint64_t)o->mem.disp.value));
}

/* Indexes of gathers: zeros. */
static void clear_vector(struct sequence *q, unsigned n)
{
    const uint8_t vpxor[] = {0xc4, (uint8_t)(n & 8 ? 0x41 : 0xe1), (uint8_t)((~n & 15) << 3 | 1), 0xef,
                             (uint8_t)(0xc0 | (n & 7) << 3 | (n & 7))};

    add_bytes(q, vpxor, sizeof(vpxor));
}

/* Follows the instruction when others are put in front of it. */
static void move_relative(struct diff_test *t, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops, uint64_t rip)
{
    for (unsigned n = 0; n < z->operand_count_visible; n++)
        if (ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (ops[n].mem.base == ZYDIS_REGISTER_RIP || ops[n].mem.base == ZYDIS_REGISTER_EIP)) {
            uint8_t *disp = t->bytes + z->raw.disp.offset;
            st_le32(disp, (uint32_t)(ld_le32(disp) + t->rip - rip));
        }
    t->rip = rip;
}

/* A random instruction that does not branch, and what prepares registers for it. at: where it will be. */
static bool random_instruction(struct grower *g, struct sequence *q, unsigned at, bool aimed)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    const bool code32 = g->b->code32;
    const int base = aimed && !rnd_one_in(3) ? near_register(g) : -1;
    struct diff_test t = {.code32 = code32, .rip = CODE_BASE + at};
    struct diff_info info = {0};
    uint8_t b[TEMPLATE_BYTES];

    const unsigned mnemonic = template_pick(random_group(), code32, base, b);
    if (!mnemonic || !diff_decode(code32, b, 15, &z, ops) || z.mnemonic != mnemonic ||
        z.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || gen_mask_in_address(&z, ops))
        return false;
    q->len = q->last = 0;
    t.len = z.length;
    memcpy(t.bytes, b, sizeof(t.bytes));
    if (aimed) {
        const ZydisDecodedOperand *o = explicit_memory(&z, ops);
        struct diff_regs now;

        soft_regs(g->ref, &now);
        t.before = now;
        if (o && o->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
            clear_vector(q, (unsigned)ZydisRegisterGetId(o->mem.index) & 15);
        if (o && base >= 0 && aim_gpr(o->mem.base) == base)
            aim_by_displacement(&t, &z, o);
        else
            aim_operands(&t, &z, ops);
        diff_decode(code32, t.bytes, t.len, &z, ops);
        aim_prepare(&t, &info, &z, ops);
        if (info.window_changed)
            memcpy(soft_window(g->ref) + (info.operand - DATA_BASE), diff_initial + (info.operand - DATA_BASE),
                   MIN(832, DATA_BASE + DATA_SIZE - info.operand));
        for (unsigned n = 0; n < 16; n++)
            if (t.before.gpr[n] != now.gpr[n]) {
                if (q->len > SEQUENCE - 40)
                    return false;
                add_mov(q, code32, n, t.before.gpr[n]);
            }
        move_relative(&t, &z, ops, t.rip + q->len);
    }
    add_bytes(q, t.bytes, t.len);
    return true;
}

static void grow_random(struct grower *g)
{
    struct sequence q;

    for (unsigned tries = 0; tries < 8 && !g->over; tries++) {
        if (!random_instruction(g, &q, g->at, true))
            continue;
        const unsigned was = g->at;
        if (!make_room(g, q.len))
            return;
        if (g->at != was)
            continue; /* made for another place */
        if (try_sequence(g, &q, g->at + q.len, rnd_one_in(6)))
            return;
    }
}

/* ---- what is jumped over ---- */

/* Instructions that are not executed this time. */
static void fill(struct grower *g, unsigned at, unsigned end)
{
    struct sequence q;

    for (unsigned tries = 0; tries < 8 && at < end; tries++)
        if (random_instruction(g, &q, at, false) && at + q.len <= end) {
            put(g, at, q.b, q.len);
            at += q.len;
        }
    pad(g, at, end - at);
}

/* At a branch that was put and executed; target: where else it may lead. */
static void after_branch(struct grower *g, unsigned end, unsigned target)
{
    if (soft_rip(g->ref) == CODE_BASE + end) {
        g->at = end;
        g->barrier = target;
        g->barrier_len = 0;
    } else {
        g->at = target;
        fill(g, end, target);
    }
}

static void grow_branch(struct grower *g)
{
    const unsigned kind = rnd_below(8), gap = 1 + rnd_below(60);
    struct undo u;
    uint8_t b[6];
    unsigned len = 2;

    if (kind == 0) { /* LOOPNE, LOOPE, LOOP, JRCXZ */
        b[0] = (uint8_t)(0xe0 + rnd_below(4));
        b[1] = (uint8_t)gap;
    } else if (kind == 1) {
        b[0] = 0xeb;
        b[1] = (uint8_t)gap;
    } else if (kind < 5) {
        b[0] = (uint8_t)(0x70 | rnd_below(16));
        b[1] = (uint8_t)gap;
    } else {
        b[0] = 0x0f;
        b[1] = (uint8_t)(0x80 | rnd_below(16));
        st_le32(b + 2, gap);
        len = 6;
    }
    if (!make_room(g, len + gap + 16) || g->barrier)
        return;
    save(g, &u);
    put(g, g->at, b, len);
    if (step(g) == TRACE_ON) {
        after_branch(g, u.at + len, u.at + len + gap);
    } else {
        restore(g, &u);
        take_away(g, u.at, len);
    }
}

/* ---- loops ---- */

static void open_loop(struct grower *g)
{
    struct sequence q = {.len = 0};

    do
        g->loop_reg = rnd_one_in(3) ? X86_RCX : rnd_below(g->b->code32 ? 8 : 16);
    while (g->loop_reg == X86_RSP);
    g->loop_count = 2 + rnd_below(4);
    add_mov(&q, g->b->code32, g->loop_reg, g->loop_count);
    if (!make_room(g, q.len + 16) || !try_sequence(g, &q, g->at + q.len, false))
        return;
    g->in_loop = true;
    g->loop_at = g->at;
}

static void close_loop(struct grower *g)
{
    const unsigned r = g->loop_reg;
    struct sequence q = {.len = 0};

    g->in_loop = false;
    if (!make_room(g, 24) || soft_gpr(g->ref, r) != g->loop_count)
        return;
    const uint8_t rex = (uint8_t)(0x48 | r >> 3), modrm = (uint8_t)(0xc0 | (r & 7));
    const int back = (int)g->loop_at - (int)g->at;
    const unsigned skip = g->b->code32 ? 1 : 0;
    unsigned kind = rnd_below(3);
    if (r == X86_RCX && back > -120 && back < 0 && rnd_one_in(2))
        kind = 3;
    if (kind == 0) { /* SUB */
        const uint8_t b[] = {rex, 0x83, (uint8_t)(modrm | 5 << 3), 1};
        add_bytes(&q, b + skip, 4 - skip);
    } else if (kind == 1) { /* DEC */
        const uint8_t b[] = {rex, 0xff, (uint8_t)(modrm | 1 << 3)};
        add_bytes(&q, b + skip, 3 - skip);
    } else if (kind == 2) { /* ADD */
        const uint8_t b[] = {rex, 0x83, modrm, 0xff};
        add_bytes(&q, b + skip, 4 - skip);
    }
    if (kind == 3) {
        const uint8_t b[] = {0xe2, (uint8_t)(back - 2)};
        add_bytes(&q, b, 2);
    } else if (back - (int)q.len - 2 >= -128 && back < 0) {
        const uint8_t b[] = {0x75, (uint8_t)(back - (int)q.len - 2)};
        add_bytes(&q, b, 2);
    } else {
        uint8_t b[] = {0x0f, 0x85, 0, 0, 0, 0};
        st_le32(b + 2, (uint32_t)(back - (int)q.len - 6));
        add_bytes(&q, b, 6);
    }
    put(g, g->at, q.b, q.len);
    go_to(g, g->at + q.len, LOOP_STEPS);
}

/* ---- calls, returns, indirect jumps ---- */

/* Somewhere in the window, for a pointer. */
static uint32_t pointer_place(void)
{
    return DATA_BASE + rnd_below(DATA_RW - 8);
}

/* Ends in a jump or call to `to` by a register or by memory. digit: of group 5. */
static void add_indirect(const struct grower *g, struct sequence *q, unsigned to, unsigned digit)
{
    const bool code32 = g->b->code32;
    const uint32_t target = CODE_BASE + to, place = pointer_place();
    unsigned reg;

    if (rnd_one_in(2)) {
        do
            reg = rnd_below(code32 ? 8 : 16);
        while (reg == X86_RSP);
        const uint8_t b[] = {(uint8_t)(0x40 | reg >> 3), 0xff, (uint8_t)(0xc0 | digit << 3 | (reg & 7))};
        const unsigned skip = code32 || (reg < 8 && rnd_one_in(2)) ? 1 : 0;
        add_mov(q, code32, reg, target);
        add_bytes(q, b + skip, 3 - skip);
    } else {
        const uint8_t mov[] = {0x48, 0xc7};
        uint8_t imm[4];
        st_le32(imm, target);
        add_absolute(q, code32, mov + code32, 2u - code32, 0, place, imm, 4);
        add_absolute(q, code32, "\xff", 1, digit, place, NULL, 0);
    }
}

static void grow_jump(struct grower *g)
{
    struct sequence q = {.len = 0};
    const unsigned to = find_space(g, 80);

    if (!to || !make_room(g, 48) || !is_free(g, to, 80))
        return;
    if (rnd_one_in(3)) { /* PUSH of the target, RET */
        uint8_t b[] = {0x68, 0, 0, 0, 0};
        st_le32(b + 1, CODE_BASE + to);
        add_bytes(&q, b, 5);
        add_bytes(&q, "\xc3", 1);
    } else {
        add_indirect(g, &q, to, 4);
    }
    if (try_sequence(g, &q, to, false))
        g->barrier = 0;
}

static void grow_call(struct grower *g)
{
    struct sequence q = {.len = 0};
    const unsigned to = find_space(g, 80);

    if (g->depth == DEPTH_MAX || !to || !make_room(g, 64) || !is_free(g, to, 80) || g->barrier)
        return;
    if (rnd_one_in(2)) {
        uint8_t b[] = {0xe8, 0, 0, 0, 0};
        st_le32(b + 1, to - g->at - 5);
        add_bytes(&q, b, 5);
    } else {
        add_indirect(g, &q, to, 2);
    }
    const unsigned back = g->at + q.len;
    if (try_sequence(g, &q, to, false))
        g->returns[g->depth++] = back;
}

static void grow_return(struct grower *g)
{
    struct sequence q = {.len = 0};
    uint8_t b[] = {0xc2, 0, 0};

    if (!g->depth || !make_room(g, 8))
        return;
    st_le16(b + 1, (uint16_t)(rnd_below(4) * 4));
    if (rnd_one_in(3))
        add_bytes(&q, b, 3);
    else
        add_bytes(&q, "\xc3", 1);
    const unsigned to = g->returns[--g->depth];
    if (try_sequence(g, &q, to, false))
        g->barrier = 0;
}

/* ---- self-modification ---- */

/* Short, without memory operand. */
static unsigned plain_instruction(struct grower *g, uint8_t *b)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    struct sequence q;

    for (unsigned tries = 0; tries < 40; tries++) {
        if (!random_instruction(g, &q, 0, false) || q.len > 8 || !diff_decode(g->b->code32, q.b, q.len, &z, ops) ||
            explicit_memory(&z, ops))
            continue;
        memcpy(b, q.b, q.len);
        return q.len;
    }
    b[0] = 0x90;
    return 1;
}

/* A store that replaces an instruction somewhat behind it. Behind the store flags are written: the translator has not
 * kept those that the replaced code did not need. */
static void grow_modification(struct grower *g)
{
    uint8_t old[16], new[16];
    struct sequence q = {.len = 0};
    const bool code32 = g->b->code32;
    const unsigned gap = rnd_one_in(2) ? 0 : rnd_below(60);

    memset(old, 0x90, sizeof(old));
    memset(new, 0x90, sizeof(new));
    const unsigned old_len = plain_instruction(g, old), new_len = plain_instruction(g, new);
    const unsigned len = MAX(old_len, new_len), size = len <= 2 ? len : len <= 4 ? 4 : 8;
    if (!make_room(g, 40 + gap + size) || g->barrier || (size == 8 && code32))
        return;
    /* the store is as long wherever the target is */
    for (unsigned pass = 0, to = g->at; pass < 2; pass++) {
        q.len = 0;
        if (size == 8) {
            add_mov(&q, false, X86_RDX, ld_le64(new) | BIT64(63)); /* never the short form */
            new[7] |= 0x80;
            add_absolute(&q, false, "\x48\x89", 2, X86_RDX, CODE_BASE + to, NULL, 0);
        } else {
            static const char *const opcodes[] = {[1] = "\xc6", [2] = "\x66\xc7", [4] = "\xc7"};
            add_absolute(&q, code32, opcodes[size], size == 2 ? 2 : 1, 0, CODE_BASE + to, new, size);
        }
        add_bytes(&q, "\x3c\x10", 2); /* CMP */
        to = g->at + q.len + gap;
    }
    const unsigned to = g->at + q.len + gap;
    put(g, to, old, size);
    if (!try_sequence(g, &q, g->at + q.len, false))
        return;
    g->barrier = to;
    g->barrier_len = size;
}

/* ---- blocks ---- */

static void begin(struct grower *g)
{
    struct diff_block *b = g->b;

    memset(b->image, OPCODE_HLT, sizeof(b->image));
    b->code32 = rnd_one_in(4);
    b->count = 0;
    rnd_regs(&b->before, b->code32);
    if (!rnd_one_in(4))
        b->before.rflags &= ~(uint64_t)X86_DF;
    for (unsigned n = 0; n < 6; n++) { /* pointers */
        const unsigned r = rnd_below(b->code32 ? 8 : 16);
        if (r != X86_RSP)
            b->before.gpr[r] = DATA_BASE + rnd_below(DATA_RW) / 8 * 8;
    }
    g->at = rnd_one_in(3) ? 0x1000 - rnd_below(60) : rnd_below(CODE_SIZE - 200);
    b->before.rip = CODE_BASE + g->at;
    trace_begin(&g->trace);
    soft_put_code(g->ref, 0, b->image, CODE_SIZE);
    memcpy(soft_window(g->ref), diff_initial, DATA_SIZE);
    soft_load(g->ref, b->code32, &b->before);
}

static void grow_one(struct grower *g)
{
    const unsigned kind = rnd_below(100);

    if (kind < 9)
        grow_branch(g);
    else if (kind < 12 && !g->in_loop)
        open_loop(g);
    else if (kind < 24 && g->in_loop)
        close_loop(g);
    else if (kind < 15)
        grow_jump(g);
    else if (kind < 18)
        grow_call(g);
    else if (kind < 24)
        grow_return(g);
    else if (kind < 26)
        grow_modification(g);
    else
        grow_random(g);
}

bool block_grow(struct diff_block *b, struct soft *reference, unsigned count)
{
    static struct grower g;

    memset(&g, 0, sizeof(g));
    g.b = b;
    g.ref = reference;
    begin(&g);
    for (; b->count < count && !g.over; b->count++)
        grow_one(&g);
    if (g.in_loop && !g.over)
        close_loop(&g);
    return b->count > 0;
}

void block_disturb(const struct diff_block *b, struct diff_regs *r)
{
    struct diff_regs other;

    rnd_regs(&other, b->code32);
    *r = b->before;
    for (unsigned n = 0; n < 16; n++) {
        const bool pointer = r->gpr[n] - DATA_BASE < DATA_SIZE;
        if (n == X86_RSP || !rnd_one_in(2))
            continue;
        if (pointer)
            r->gpr[n] += rnd_below(64) - 32u;
        else
            r->gpr[n] = other.gpr[n];
        if (b->code32)
            r->gpr[n] = (uint32_t)r->gpr[n];
    }
    r->rflags = other.rflags;
    if (rnd_one_in(2))
        r->fpu = other.fpu;
}
