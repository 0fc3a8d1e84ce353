/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cleaning, width and folding of what is drawn; the line editor; the cursor of lists. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tui/ui/input.h"
#include "tui/ui/list.h"
#include "tui/ui/text.h"
#include "vmm/base/bits.h"

/* The text as it would be drawn. */
static void clean(const char *s, size_t len, bool ascii, struct buf *out)
{
    const char *end = s + len;

    buf_clear(out);
    while (s < end)
        text_encode(text_next(&s, end, ascii), out);
}

static void hostile_text(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        const char *utf8, *ascii;
    } cases[] = {
        {"plain", 5, "plain", "plain"},
        {"caf\xc3\xa9", 5, "caf\xc3\xa9", "cafe"},
        {"\033[2J", 4, "\xef\xbf\xbd[2J", "?[2J"},
        {"a\0b", 3,
         "a\xef\xbf\xbd"
         "b",
         "a?b"},
        {"\x7f\x9b", 2, "\xef\xbf\xbd\xef\xbf\xbd", "??"},
        {"\xc2\x9b"
         "5m",
         4,
         "\xef\xbf\xbd"
         "5m",
         "?5m"}, /* C1 CSI */
        {"\xe2\x80\xae"
         "x",
         4,
         "\xef\xbf\xbd"
         "x",
         "?x"},                                            /* right-to-left override */
        {"\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd", "??"}, /* overlong */
        {"\xed\xa0\x80", 3, "\xef\xbf\xbd", "?"},          /* surrogate */
        {"\xf4\x90\x80\x80", 4, "\xef\xbf\xbd", "?"},      /* beyond Unicode */
        {"\xe2\x82", 2, "\xef\xbf\xbd", "?"},              /* cut short */
        {"\xee\x80\x80", 3, "\xef\xbf\xbd", "?"},          /* private use */
        {"\xe2\x94\x80\xe2\x94\x82\xe2\x97\x8f", 9, "\xe2\x94\x80\xe2\x94\x82\xe2\x97\x8f", "-|*"},
    };
    struct buf out = BUF_INIT;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        clean(cases[i].in, cases[i].len, false, &out);
        assert_string_equal(buf_str(&out), cases[i].utf8);
        clean(cases[i].in, cases[i].len, true, &out);
        assert_string_equal(buf_str(&out), cases[i].ascii);
    }
    buf_free(&out);
}

/* Whatever the character, ASCII mode draws one printable ASCII character. */
static void folding_is_total(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x20000; c++)
        assert_in_range(text_fold(c), ' ', '~');
    assert_int_equal(text_fold(0x2502), '|');
    assert_int_equal(text_fold(0x2550), '-');
    assert_int_equal(text_fold(0x2554), '+');
    assert_int_equal(text_fold(0x2588), '#');
    assert_int_equal(text_fold(0xfc), 'u');
    assert_int_equal(text_fold(0x65e5), '?');
}

static void widths(void **state)
{
    (void)state;
    assert_int_equal(text_width("abc", false), 3);
    assert_int_equal(text_width("\xe6\x97\xa5\xe6\x9c\xac", false), 4); /* two wide characters */
    assert_int_equal(text_width("e\xcc\x81", false), 1);                /* combining accent */
    assert_int_equal(text_width("\033[0m", false), 4);
    assert_int_equal(text_fit("\xe6\x97\xa5\xe6\x9c\xac", 3, false), 3);
    assert_int_equal(text_fit("abc", 10, false), 3);
    assert_int_equal(text_fit("abc", 0, false), 0);
}

struct lines {
    char text[8][40];
    int count;
};

static void add_line(void *opaque, int n, const char *s, size_t len)
{
    struct lines *l = opaque;

    assert_in_range(n, 0, 7);
    snprintf(l->text[n], sizeof(l->text[n]), "%.*s", (int)len, s);
    l->count = n + 1;
}

static void wrapping(void **state)
{
    struct lines l = {0};

    (void)state;
    assert_int_equal(text_wrap("the quick brown fox", 10, false, add_line, &l), 2);
    assert_string_equal(l.text[0], "the quick");
    assert_string_equal(l.text[1], "brown fox");
    assert_int_equal(text_wrap("a\n\nbcdefgh", 3, false, add_line, &l), 5);
    assert_string_equal(l.text[1], "");
    assert_string_equal(l.text[2], "bcd");
    assert_int_equal(text_wrap("\xe6\x97\xa5", 1, false, add_line, &l),
                     3); /* too narrow for it: by bytes */
    assert_int_equal(text_wrap("", 5, false, add_line, &l), 0);
    assert_int_equal(text_wrap("x", 0, false, add_line, &l), 0);
}

static void editing(void **state)
{
    struct ui_input in = {0};

    (void)state;
    ui_input_set(&in, "caf");
    assert_true(ui_input_key(&in, 0xe9));
    assert_string_equal(buf_str(&in.text), "caf\xc3\xa9");
    ui_input_key(&in, UI_KEY_LEFT);
    ui_input_key(&in, 'X');
    assert_string_equal(buf_str(&in.text), "cafX\xc3\xa9");
    ui_input_key(&in, UI_KEY_DELETE);
    assert_string_equal(buf_str(&in.text), "cafX");
    ui_input_key(&in, UI_KEY_HOME);
    ui_input_key(&in, UI_KEY_BACKSPACE);
    ui_input_key(&in, '>');
    assert_string_equal(buf_str(&in.text), ">cafX");
    ui_input_key(&in, UI_CTRL('k'));
    assert_string_equal(buf_str(&in.text), ">");
    ui_input_set(&in, "one two  three");
    ui_input_key(&in, UI_CTRL('w'));
    assert_string_equal(buf_str(&in.text), "one two  ");
    ui_input_key(&in, UI_CTRL('w'));
    assert_string_equal(buf_str(&in.text), "one ");
    ui_input_key(&in, UI_CTRL('u'));
    assert_int_equal(in.text.len, 0);
    assert_false(ui_input_key(&in, 0x202e));
    assert_false(ui_input_key(&in, 7));
    assert_false(ui_input_key(&in, UI_KEY_F(3)));
    for (int i = 0; i < INPUT_MAX + 10; i++)
        ui_input_key(&in, 'a');
    assert_int_equal(in.text.len, INPUT_MAX);
    ui_input_free(&in);
}

static void list_moves(void **state)
{
    struct ui_list l = {0};

    (void)state;
    ui_list_layout(&l, 100, 10);
    ui_list_key(&l, UI_KEY_UP);
    assert_int_equal(l.selected, 0);
    ui_list_key(&l, 'G');
    assert_int_equal(l.selected, 99);
    assert_int_equal(l.top, 90);
    ui_list_key(&l, UI_KEY_PGUP);
    assert_int_equal(l.selected, 89);
    assert_int_equal(l.top, 89);
    ui_list_layout(&l, 5, 10); /* most went away */
    assert_int_equal(l.selected, 4);
    assert_int_equal(l.top, 0);
    ui_list_layout(&l, 0, 10);
    assert_int_equal(l.selected, 0);
    ui_list_key(&l, UI_KEY_DOWN);
    assert_int_equal(l.selected, 0);
    assert_false(ui_list_key(&l, 'z'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_text), cmocka_unit_test(folding_is_total),
        cmocka_unit_test(widths),       cmocka_unit_test(wrapping),
        cmocka_unit_test(editing),      cmocka_unit_test(list_moves),
    };

    setlocale(LC_ALL, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
