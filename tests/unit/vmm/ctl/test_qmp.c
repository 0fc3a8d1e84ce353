/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/lib/test.h"

#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/ctl/qmp.h"

static json_t *parse(const char *text, struct err *e)
{
    return qmp_parse(text, strlen(text), e);
}

static void parses_objects_only(void **state)
{
    static const char *const bad[] = {"", " ", "1", "[]", "null", "{", "{}}", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}",
                                      "{\"a\":1e999}", "{'a':1}", "{\"a\":01}", "{\"a\":\"\\ud800\"}"};
    struct err e = ERR_INIT;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        e.code = ERR_NONE;
        assert_null(parse(bad[i], &e));
        assert_int_equal(e.code, ERR_PROTO);
        assert_true(e.msg[0]);
    }
    json_t *v = parse("{\"execute\":\"x\",\"id\":[1,{}]}", &e);
    assert_non_null(v);
    json_decref(v);
}

static void depth_is_bounded(void **state)
{
    char text[2 * QMP_MAX_DEPTH + 64];
    struct err e = ERR_INIT;
    size_t n = 0;

    (void)state;
    /* the limit itself is fine */
    n += (size_t)snprintf(text, sizeof(text), "{\"a\":");
    for (unsigned i = 1; i < QMP_MAX_DEPTH; i++)
        text[n++] = '[';
    for (unsigned i = 1; i < QMP_MAX_DEPTH; i++)
        text[n++] = ']';
    text[n++] = '}';
    json_t *v = qmp_parse(text, n, &e);
    assert_non_null(v);
    json_decref(v);

    char *deep = test_malloc(1 << 20);
    memset(deep, '[', 1 << 20);
    assert_null(qmp_parse(deep, 1 << 20, &e));
    assert_non_null(strstr(e.msg, "nested deeper"));
    test_free(deep);

    /* brackets in strings do not count, nor does an escaped quote end one */
    v = parse("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"}", &e);
    assert_non_null(v);
    json_decref(v);
}

static void messages(void **state)
{
    struct buf text = BUF_INIT;
    struct err e = ERR_INIT, back = ERR_INIT;
    json_t *id = json_string("x");

    (void)state;
    qmp_return(&text, NULL, NULL);
    assert_string_equal(buf_str(&text), "{\"return\":{}}");
    buf_clear(&text);
    qmp_return(&text, json_integer(5), id);
    assert_string_equal(buf_str(&text), "{\"return\":5,\"id\":\"x\"}");
    buf_clear(&text);

    err_set(&e, ERR_BUSY, "disk \"a\": locked");
    err_hint(&e, "stop it");
    qmp_error(&text, &e, id);
    json_t *v = qmp_parse(text.data, text.len, &back);
    assert_non_null(v);
    qmp_read_error(json_object_get(v, "error"), &back);
    assert_int_equal(back.code, ERR_BUSY);
    assert_string_equal(back.msg, e.msg);
    assert_string_equal(back.hint, "stop it");
    json_decref(v);
    buf_clear(&text);

    /* a path need not be UTF-8 */
    err_set(&e, ERR_NOENT, "no \xff\xfe");
    qmp_error(&text, &e, NULL);
    v = qmp_parse(text.data, text.len, &back);
    assert_non_null(v);
    json_decref(v);
    buf_clear(&text);

    /* an error of somebody who knows no codes */
    v = parse("{\"class\":\"GenericError\",\"desc\":\"no\"}", &back);
    qmp_read_error(v, &back);
    assert_int_equal(back.code, ERR_FAILED);
    json_decref(v);

    qmp_event(&text, "STOP", NULL);
    v = qmp_parse(text.data, text.len, &back);
    assert_string_equal(json_string_value(json_object_get(v, "event")), "STOP");
    assert_true(json_is_integer(json_object_get(json_object_get(v, "timestamp"), "microseconds")));
    json_decref(v);
    buf_free(&text);
    json_decref(id);
}

static void arguments(void **state)
{
    static const struct {
        const char *args, *spec, *complaint; /* NULL: fine */
    } rows[] = {
        {NULL, "", NULL},
        {NULL, "a:i?", NULL},
        {NULL, "a:i", "'a' is missing"},
        {"{}", "", NULL},
        {"{\"a\":1}", "a:i", NULL},
        {"{\"a\":1}", "", "'a' is unexpected"},
        {"{\"a\":1}", "ab:i?", "'a' is unexpected"},
        {"{\"a\":\"1\"}", "a:i", "'a' must be an integer"},
        {"{\"a\":1}", "a:s", "'a' must be a string"},
        {"{\"a\":1}", "a:b", "'a' must be true or false"},
        {"{\"a\":1}", "a:a", "'a' must be an array"},
        {"{\"a\":1}", "a:o", "'a' must be an object"},
        {"{\"hold-time\":1,\"keys\":[]}", "keys:a hold-time:i?", NULL},
        {"{\"keys\":[],\"x\":null}", "keys:a hold-time:i?", "'x' is unexpected"},
    };
    struct err e = ERR_INIT;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *args = rows[i].args ? parse(rows[i].args, &e) : NULL;
        bool ok = qmp_check_args(args, rows[i].spec, &e);

        assert_int_equal(ok, !rows[i].complaint);
        if (!ok)
            assert_non_null(strstr(e.msg, rows[i].complaint));
        json_decref(args);
    }
    json_t *list = json_array();
    assert_false(qmp_check_args(list, "", &e));
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_objects_only),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(messages),
        cmocka_unit_test(arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
