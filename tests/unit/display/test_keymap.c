/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <linux/input-event-codes.h>
#include <string.h>

#include "display/keymap.h"
#include "display/keymap_priv.h"

static void test_tables(void **state)
{
    (void)state;
    for (unsigned i = 0; i < keymap_layout_count; i++) {
        const struct keymap *km = &keymap_layout_table[i];
        for (unsigned l = 0; l < KEYMAP_LEVELS; l++) {
            unsigned n = 0;
            while (km->levels[l] && km->levels[l][n])
                n++;
            if (km->levels[l] && n != KEYMAP_KEYS)
                fail_msg("%s level %u has %u keys", km->name, l, n);
        }
        assert_ptr_equal(keymap_find(km->name), km);
        assert_non_null(strstr(keymap_layouts(), km->name));
        /* every layout can type ASCII */
        for (uint32_t c = 0x20; c < 0x7f; c++) {
            struct keymap_stroke s[KEYMAP_STROKES];
            if (!keymap_type(km, c, s))
                fail_msg("%s cannot type %c", km->name, (char)c);
        }
    }
    for (unsigned i = 0; i < keymap_compose_count; i++) {
        const struct keymap_compose *c = &keymap_compose_table[i];
        unsigned n = 0;
        while (c->base[n])
            assert_true(c->composed[n++]);
        assert_false(c->composed[n]);
    }
    assert_null(keymap_find("xx"));
}

static void test_characters(void **state)
{
    static const struct {
        const char *layout;
        uint32_t cp;
        unsigned count;
        struct keymap_stroke s[2];
    } rows[] = {
        {"us", 'a', 1, {{KEY_A, 0, true}}},
        {"us", 'A', 1, {{KEY_A, KEYMAP_SHIFT, true}}},
        {"us", '<', 1, {{KEY_COMMA, KEYMAP_SHIFT, false}}},
        {"us", '\n', 1, {{KEY_ENTER, 0, false}}},
        {"us", 0xe9, 0, {{0}}},
        {"gb", 0xa3, 1, {{KEY_3, KEYMAP_SHIFT, false}}},
        {"gb", '#', 1, {{KEY_BACKSLASH, 0, false}}},
        {"gb", '\\', 1, {{KEY_102ND, 0, false}}},
        {"de", 'y', 1, {{KEY_Z, 0, true}}},
        {"de", 'z', 1, {{KEY_Y, 0, true}}},
        {"de", '@', 1, {{KEY_Q, KEYMAP_ALTGR, false}}},
        {"de", 0x20ac, 1, {{KEY_E, KEYMAP_ALTGR, false}}},
        {"de", '/', 1, {{KEY_7, KEYMAP_SHIFT, false}}},
        {"de", '{', 1, {{KEY_7, KEYMAP_ALTGR, false}}},
        {"de", '\\', 1, {{KEY_MINUS, KEYMAP_ALTGR, false}}},
        {"de", '|', 1, {{KEY_102ND, KEYMAP_ALTGR, false}}},
        {"de", 0xdf, 1, {{KEY_MINUS, 0, false}}},
        {"de", 0xc4, 1, {{KEY_APOSTROPHE, KEYMAP_SHIFT, true}}},
        {"de", '^', 2, {{KEY_GRAVE, 0, false}, {KEY_SPACE, 0, false}}},
        {"de", 0xe9, 2, {{KEY_EQUAL, 0, false}, {KEY_E, 0, true}}},
        {"de", 0xc0, 2, {{KEY_EQUAL, KEYMAP_SHIFT, false}, {KEY_A, KEYMAP_SHIFT, true}}},
        {"fr", 'a', 1, {{KEY_Q, 0, true}}},
        {"fr", 'm', 1, {{KEY_SEMICOLON, 0, true}}},
        {"fr", '1', 1, {{KEY_1, KEYMAP_SHIFT, false}}},
        {"fr", 0xe9, 1, {{KEY_2, 0, false}}},
        {"fr", '@', 1, {{KEY_0, KEYMAP_ALTGR, false}}},
        {"fr", '[', 1, {{KEY_5, KEYMAP_ALTGR, false}}},
        {"fr", '\\', 1, {{KEY_8, KEYMAP_ALTGR, false}}},
        {"fr", '.', 1, {{KEY_COMMA, KEYMAP_SHIFT, false}}},
        {"fr", '/', 1, {{KEY_DOT, KEYMAP_SHIFT, false}}},
        {"fr", 0xea, 2, {{KEY_LEFTBRACE, 0, false}, {KEY_E, 0, true}}},
        {"fr", 0xef, 2, {{KEY_LEFTBRACE, KEYMAP_SHIFT, false}, {KEY_I, 0, true}}},
        {"es", 0xf1, 1, {{KEY_SEMICOLON, 0, true}}},
        {"es", '@', 1, {{KEY_2, KEYMAP_ALTGR, false}}},
        {"es", '}', 1, {{KEY_BACKSLASH, KEYMAP_ALTGR, false}}},
        {"es", 0xfc, 2, {{KEY_APOSTROPHE, KEYMAP_SHIFT, false}, {KEY_U, 0, true}}},
        {"us", 0x4e00, 0, {{0}}},
        {"us", 1, 0, {{0}}},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct keymap_stroke s[KEYMAP_STROKES];
        unsigned n = keymap_type(keymap_find(rows[i].layout), rows[i].cp, s);
        if (n != rows[i].count)
            fail_msg("%s U+%04X: %u strokes", rows[i].layout, (unsigned)rows[i].cp, n);
        for (unsigned k = 0; k < n; k++)
            if (s[k].code != rows[i].s[k].code || s[k].mods != rows[i].s[k].mods ||
                s[k].letter != rows[i].s[k].letter)
                fail_msg("%s U+%04X: stroke %u is key %u mods %u letter %d", rows[i].layout,
                         (unsigned)rows[i].cp, k, s[k].code, s[k].mods, s[k].letter);
    }
}

static void test_keysyms(void **state)
{
    const struct keymap *fr = keymap_find("fr");
    struct keymap_stroke s[KEYMAP_STROKES];
    bool plain;

    (void)state;
    assert_int_equal(keymap_keysym(fr, 'a', s, &plain), 1);
    assert_int_equal(s[0].code, KEY_Q);
    assert_false(plain);
    assert_int_equal(keymap_keysym(fr, 0xff0d, s, &plain), 1);
    assert_int_equal(s[0].code, KEY_ENTER);
    assert_true(plain);
    assert_int_equal(keymap_keysym(fr, 0x20ac, s, &plain), 1);
    assert_int_equal(s[0].code, KEY_E);
    assert_int_equal(s[0].mods, KEYMAP_ALTGR);
    assert_int_equal(keymap_keysym(fr, 0x010020ac, s, &plain), 1);
    assert_int_equal(keymap_keysym(fr, 0xfe52, s, &plain), 1); /* dead circumflex */
    assert_int_equal(s[0].code, KEY_LEFTBRACE);
    assert_int_equal(keymap_keysym(fr, 0xffb7, s, &plain), 1); /* KP_7 is a shifted digit there */
    assert_int_equal(s[0].code, KEY_7);
    assert_int_equal(s[0].mods, KEYMAP_SHIFT);
    assert_int_equal(keymap_keysym(fr, 0xea, s, &plain), 2);
    assert_int_equal(keymap_keysym(fr, 0x0100ffff, s, &plain), 0);
    assert_int_equal(keymap_keysym(fr, 0xffffffff, s, &plain), 0);
    assert_int_equal(keymap_keysym(fr, 0, s, &plain), 0);
}

static void test_names(void **state)
{
    struct err e = ERR_INIT;
    uint16_t codes[KEYMAP_COMBO];
    unsigned n;

    (void)state;
    assert_int_equal(keymap_code("ret"), KEY_ENTER);
    assert_int_equal(keymap_code("f12"), KEY_F12);
    assert_int_equal(keymap_code("nonsense"), 0);
    assert_string_equal(keymap_name(KEY_ENTER), "ret");
    assert_string_equal(keymap_name(KEY_SYSRQ), "print");
    assert_null(keymap_name(250));
    assert_ok(keymap_combo("ctrl-alt-delete", codes, &n, &e));
    assert_int_equal(n, 3);
    assert_int_equal(codes[0], KEY_LEFTCTRL);
    assert_int_equal(codes[1], KEY_LEFTALT);
    assert_int_equal(codes[2], KEY_DELETE);
    static const char *const bad[] = {"", "-", "ctrl-", "ctrl--a", "bogus", "a-b-c-d-e-f-g-h-i",
                                      "averyveryverylongkeynameindeed"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(keymap_combo(bad[i], codes, &n, &e));
        assert_int_equal(e.code, ERR_USAGE);
    }
}

static void test_xt(void **state)
{
    (void)state;
    assert_int_equal(keymap_from_xt(0x1e), KEY_A);
    assert_int_equal(keymap_from_xt(0x9d), KEY_RIGHTCTRL);
    assert_int_equal(keymap_from_xt(0x54), KEY_SYSRQ);
    assert_int_equal(keymap_from_xt(0xb7), KEY_SYSRQ);
    assert_int_equal(keymap_from_xt(0xc6), KEY_PAUSE);
    assert_int_equal(keymap_from_xt(0xcd), KEY_RIGHT);
    assert_int_equal(keymap_from_xt(0), 0);
    assert_int_equal(keymap_from_xt(0xffffffff), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables), cmocka_unit_test(test_characters),
        cmocka_unit_test(test_keysyms), cmocka_unit_test(test_names), cmocka_unit_test(test_xt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
