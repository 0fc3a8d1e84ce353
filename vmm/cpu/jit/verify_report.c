/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A difference between translator and interpreter, for people: what came out, and of which code. */
#include <inttypes.h>
#include <stdio.h>

#include "vmm/base/log.h"
#include "vmm/cpu/jit/verify_priv.h"

#define say(...) log_error("cpu", __VA_ARGS__)

static const char *const gpr_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static void put_hex(char *out, const uint8_t *bytes, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        snprintf(out + 2 * n, 3, "%02x", bytes[n]);
    if (!count)
        *out = 0;
}

/* The last byte first, as one reads numbers. */
static void put_number(char *out, const uint8_t *bytes, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        snprintf(out + 2 * n, 3, "%02x", bytes[count - 1 - n]);
}

static void field(const char *name, const void *before, const void *want, const void *got, unsigned size)
{
    char text[3][2 * VERIFY_STORE_MAX + 1];

    if (memcmp(want, got, size) == 0)
        return;
    put_number(text[0], before, size);
    put_number(text[1], want, size);
    put_number(text[2], got, size);
    say("verify:   %s: interpreter %s, translator %s, before %s", name, text[1], text[2], text[0]);
}

static void registers(struct verify *v)
{
    const size_t named = offsetof(struct x86_state, seg);

    for (unsigned n = 0; n < 16; n++)
        field(gpr_names[n], &verify_gpr(&v->before)[n], &verify_gpr(&v->want)[n], &verify_gpr(&v->got)[n], 8);
    field("rip", v->before.low + offsetof(struct x86_state, rip), v->want.low + offsetof(struct x86_state, rip),
          v->got.low + offsetof(struct x86_state, rip), 8);
    field("rflags", v->before.low + offsetof(struct x86_state, rflags), v->want.low + offsetof(struct x86_state, rflags),
          v->got.low + offsetof(struct x86_state, rflags), 8);
    if (memcmp(v->want.low + named, v->got.low + named, sizeof(v->want.low) - named) != 0)
        say("verify:   segment or control registers differ");
}

static void flags(struct verify *v)
{
    uint32_t before = cc_to_flags(v->before.cc), want = cc_to_flags(v->want.cc), got = cc_to_flags(v->got.cc);
    uint8_t count = verify_flags(v, &v->path);

    if ((jit_fold(want) ^ jit_fold(got)) & count)
        say("verify:   status flags: interpreter %03x, translator %03x, before %03x, compared %03x", want, got, before,
            (count & 0xd5u) | (count & 2u) << 10);
}

static void fpu(struct verify *v)
{
    struct x86_fpu *b = &v->before.fpu, *w = &v->want.fpu, *g = &v->got.fpu;
    char name[8];

#define FIELD(f) field(#f, &b->f, &w->f, &g->f, sizeof(b->f))
    FIELD(fcw);
    FIELD(fsw);
    FIELD(ftw);
    FIELD(fop);
    FIELD(fip);
    FIELD(fdp);
    FIELD(mxcsr);
    FIELD(pkru);
#undef FIELD
    for (unsigned n = 0; n < 8; n++) {
        snprintf(name, sizeof(name), "st%u", n);
        field(name, b->st[n], w->st[n], g->st[n], 16);
    }
    for (unsigned n = 0; n < 16; n++) {
        snprintf(name, sizeof(name), "ymm%u", n);
        field(name, b->ymm[n], w->ymm[n], g->ymm[n], 32);
    }
}

static void stores(struct verify *v)
{
    char name[40];

    for (unsigned n = 0; n < v->log.count; n++) {
        const struct verify_store *s = &v->log.store[n];

        snprintf(name, sizeof(name), "[%#" PRIx64 "]", s->linear);
        field(name, s->old, s->want, s->got, s->size);
    }
    if (v->stray)
        say("verify:   only the translator stores to %#" PRIx64, v->stray);
}

/* ---- code ---- */

/* One instruction; returns its length. */
static unsigned line(const ZydisDecoder *d, const char *kind, const uint8_t *bytes, unsigned size, uint64_t at)
{
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    char text[160] = "?", hex[31];
    ZydisDecodedInstruction z;
    ZydisFormatter f;
    unsigned len = 1;

    ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(d, bytes, size, &z, ops))) {
        ZydisFormatterFormatInstruction(&f, &z, ops, z.operand_count_visible, text, sizeof(text), at, NULL);
        len = z.length;
    }
    put_hex(hex, bytes, len);
    say("verify:   %s %#" PRIx64 ": %-30s %s", kind, at, hex, text);
    return len;
}

static void host_code(const ZydisDecoder *d, const char *kind, const uint8_t *p, unsigned size)
{
    for (unsigned at = 0; at < size;)
        at += line(d, kind, p + at, size - at, (uint64_t)(uintptr_t)(p + at));
}

static void code(const struct verify *v)
{
    const struct jit_block *b = v->block;
    bool code64 = b->mode & MODE_CODE64;
    ZydisDecoder guest, host;

    ZydisDecoderInit(&host, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecoderInit(&guest, code64 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32,
                     code64 ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
    for (unsigned n = 0; n < b->note_count; n++) {
        unsigned at = b->notes[n].offset;

        line(&guest, n < v->first ? "guest " : n < v->path.at ? "guest*" : "guest ", b->bytes + at, b->len - at,
             b->rip + at);
    }
    host_code(&host, "host", b->entry, b->hot_size);
    host_code(&host, "cold", b->cold, b->cold_size);
}

void verify_report(struct cpu *c, enum verify_end how)
{
    struct verify *v = c->verify;
    const struct jit_block *b = v->block;

    say("verify: translator and interpreter differ in the block at %#" PRIx64 " of %u instructions, mode %#x, from "
        "instruction %u on",
        b->rip, b->note_count, b->mode, v->first);
    say("verify:   the translator %s %#" PRIx64 "; the interpreter %s %#" PRIx64 " after %u instructions (marked *)",
        how == VERIFY_LEFT ? "left for" : "stopped at", verify_rip(&v->got), v->path.left ? "left for" : "stopped at",
        verify_rip(&v->want), v->path.at - v->first);
    registers(v);
    flags(v);
    fpu(v);
    stores(v);
    code(v);
}
