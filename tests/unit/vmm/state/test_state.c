/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State streams: what is saved comes back, and whatever is wrong with a stream is refused by name
 * before a live byte changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/statefix.h"
#include "vmm/base/alloc.h"
#include "vmm/state/state_priv.h"

static void save(struct buf *out, const struct state_table *t, struct fix_state *s)
{
    struct state_item item = {.name = "fix0", .table = t, .s = s};

    buf_clear(out);
    state_save(out, &item, 1);
}

/* Loads; on an error s must be as before. */
static bool load(const struct buf *in, const struct state_table *t, struct fix_state *s,
                 struct err *e)
{
    struct state_item item = {.name = "fix0", .table = t, .s = s};
    struct fix_state before = *s;
    struct state_loading *l = state_parse(&item, 1, in->data, in->len, e);

    assert_memory_equal(s, &before, sizeof(before)); /* phase one touches nothing */
    if (l)
        state_commit(l);
    return l != NULL;
}

static void refuse(const struct buf *in, const struct state_table *t, enum err_code code,
                   const char *words)
{
    struct err e = ERR_INIT;
    struct fix_state s;

    fix_fill(&s, 5);
    assert_false(load(in, t, &s, &e));
    if (!strstr(e.msg, words) || e.code != code)
        fail_msg("\"%s\" does not say \"%s\"", e.msg, words);
    fix_free(&s);
}

/* Makes the checksum of the only section right again. */
static void seal(struct buf *b)
{
    uint8_t *p = (uint8_t *)b->data + STATE_HEADER_SIZE;
    size_t n = b->len - STATE_HEADER_SIZE - 4;

    st_le32(p + n, state_crc(p, n));
}

/* Where the record of that name begins. */
static char *record(struct buf *b, const char *name)
{
    char *p = memmem(b->data, b->len, name, strlen(name));

    assert_non_null(p);
    return p - 2;
}

static void test_crc(void **state)
{
    (void)state;
    assert_int_equal(state_crc("123456789", 9), 0xe3069283); /* the known check value */
}

static void test_round_trip(void **state)
{
    struct buf a = BUF_INIT, b = BUF_INIT;

    (void)state;
    for (uint32_t salt = 0; salt < 200; salt++) {
        struct fix_state s, t;
        struct err e = ERR_INIT;

        fix_fill(&s, salt);
        fix_fill(&t, salt + 1000);
        save(&a, &fix_table, &s);
        assert_true(load(&a, &fix_table, &t, &e));
        save(&b, &fix_table, &t);
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        assert_int_equal(t.extra, s.extra);
        assert_ptr_equal(t.host, &t); /* no row: not touched */
        fix_free(&s);
        fix_free(&t);
    }
    buf_free(&a);
    buf_free(&b);
}

static void test_versions(void **state)
{
    struct buf b = BUF_INIT;
    struct fix_state s;
    struct err e = ERR_INIT;

    (void)state;
    fix_fill(&s, 8);
    save(&b, &fix_table, &s);
    refuse(&b, &fix_table_old, ERR_UNSUPPORTED, "version 2 is newer than 1");
    refuse(&b, &fix_table_next, ERR_UNSUPPORTED, "version 2 is older than 3");
    save(&b, &fix_table_old, &s);
    assert_true(load(&b, &fix_table, &s, &e));
    assert_int_equal(s.newer, 0);
    assert_int_equal(s.u16, 8);
    b.data[8] = STATE_FORMAT + 1;
    refuse(&b, &fix_table, ERR_UNSUPPORTED, "format 2");
    fix_free(&s);
    buf_free(&b);
}

static void test_values(void **state)
{
    struct buf b = BUF_INIT;
    struct fix_state s;

    (void)state;
    fix_fill(&s, 6);
    s.i32 = -6;
    save(&b, &fix_table, &s);
    refuse(&b, &fix_table, ERR_CORRUPT, "section \"fix0\": \"i32\": -6 is not within -5 to 5");
    s.i32 = 0;
    s.u8 = 10;
    save(&b, &fix_table, &s);
    refuse(&b, &fix_table, ERR_CORRUPT, "\"u8\": 10 is not within 0 to 9");
    s.u8 = 0;
    s.many[1].index = 4;
    save(&b, &fix_table, &s);
    refuse(&b, &fix_table, ERR_CORRUPT, "\"many\": element 1: \"index\": 4 is not within 0 to 3");
    s.many[1].index = 0;
    s.u16 = 0xdead;
    save(&b, &fix_table, &s);
    refuse(&b, &fix_table, ERR_CORRUPT, "section \"fix0\": dead");
    s.u16 = 0;
    save(&b, &fix_table, &s);
    record(&b, "flag")[2 + 4 + 4] = 2;
    seal(&b);
    refuse(&b, &fix_table, ERR_CORRUPT, "\"flag\": 2 is not within 0 to 1");
    fix_free(&s);
    s.bytes.data = x_alloc(s.bytes.len = FIX_BYTES_MAX + 1);
    save(&b, &fix_table, &s);
    refuse(&b, &fix_table, ERR_LIMIT, "\"bytes\": 65 bytes, at most 64");
    fix_free(&s);
    buf_free(&b);
}

static void test_names(void **state)
{
    struct buf b = BUF_INIT;
    struct fix_state s;

    (void)state;
    fix_fill(&s, 7); /* with part "extra" */
    save(&b, &fix_table, &s);
    memcpy(record(&b, "i64") + 2, "i46", 3);
    seal(&b);
    refuse(&b, &fix_table, ERR_UNSUPPORTED, "unknown field \"i46\"");
    memcpy(record(&b, "i46") + 2, "u64", 3);
    seal(&b);
    refuse(&b, &fix_table, ERR_CORRUPT, "\"u64\" is there twice");
    save(&b, &fix_table, &s);
    memcpy(record(&b, "extra") + 2, "extro", 5);
    seal(&b);
    refuse(&b, &fix_table, ERR_UNSUPPORTED, "unknown part \"extro\"");
    save(&b, &fix_table, &s);
    record(&b, "u64")[0] = STATE_I64;
    seal(&b);
    refuse(&b, &fix_table, ERR_CORRUPT, "\"u64\": kind 8 instead of 4");
    save(&b, &fix_table, &s);
    memcpy(b.data + STATE_HEADER_SIZE + 7, "fix1", 4);
    seal(&b);
    refuse(&b, &fix_table, ERR_UNSUPPORTED, "unknown section \"fix1\"");
    save(&b, &fix_table, &s);
    record(&b, "u32")[2 + 3] = 2;
    seal(&b);
    refuse(&b, &fix_table, ERR_CORRUPT, "\"u32\": 2 values instead of 3");
    fix_free(&s);
    buf_free(&b);
}

static void test_sections(void **state)
{
    struct fix_state s, t;
    struct state_item items[] = {{.name = "a", .table = &fix_table, .s = &s},
                                 {.name = "b", .table = &fix_table, .s = &t}};
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT, text = BUF_INIT;

    (void)state;
    fix_fill(&s, 1);
    fix_fill(&t, 2);
    state_save(&b, items, 2);
    assert_null(state_parse(items, 1, b.data, b.len, &e));
    assert_non_null(strstr(e.msg, "unknown section \"b\""));
    state_commit(state_parse(items, 2, b.data, b.len, &e));
    assert_true(state_show(&text, b.data, b.len, &e));
    assert_non_null(strstr(buf_str(&text), "b version 2\n  u64: 0xfffffffffffffffd\n"));
    buf_add(&b, "x", 1);
    assert_null(state_parse(items, 2, b.data, b.len, &e));
    assert_non_null(strstr(e.msg, "1 bytes behind the last section"));
    buf_clear(&b);
    state_save(&b, items, 1);
    assert_null(state_parse(items, 2, b.data, b.len, &e));
    assert_non_null(strstr(e.msg, "section \"b\" is missing"));
    fix_free(&s);
    fix_free(&t);
    buf_free(&b);
    buf_free(&text);
}

/* Every length, and every byte changed, with and without a checksum that agrees. */
static void test_damage(void **state)
{
    struct buf good = BUF_INIT, b = BUF_INIT;
    struct fix_state s;
    struct err e = ERR_INIT;

    (void)state;
    fix_fill(&s, 7);
    save(&good, &fix_table, &s);
    for (size_t len = 0; len < good.len; len++) {
        char *exact = x_alloc(len + 1); /* so that ASan sees a byte too far */
        struct buf cut = {.data = memcpy(exact, good.data, len), .len = len};

        assert_false(load(&cut, &fix_table, &s, &e));
        x_free(exact);
    }
    for (size_t at = 0; at < good.len; at++)
        for (unsigned change = 1; change < 256; change += 6) {
            buf_clear(&b);
            buf_add(&b, good.data, good.len);
            b.data[at] = (char)(b.data[at] ^ (char)change);
            assert_false(load(&b, &fix_table, &s, &e));
            seal(&b);
            load(&b, &fix_table, &s, &e); /* may be fine: another value */
        }
    fix_free(&s);
    buf_free(&good);
    buf_free(&b);
}

/* A row that was forgotten shows as a gap. */
static void test_gaps(void **state)
{
    static const struct state_field half[] = {ST_INT(struct fix_inner, value, 1), ST_END};
    static const struct state_table forgotten = {
        .name = "inner", .size = sizeof(struct fix_inner), .fields = half};

    (void)state;
    assert_int_equal(state_table_gaps(&forgotten), 4);
    assert_int_equal(state_table_gaps(&fix_table), sizeof(void *)); /* host */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),      cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_versions), cmocka_unit_test(test_values),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_sections),
        cmocka_unit_test(test_damage),   cmocka_unit_test(test_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
