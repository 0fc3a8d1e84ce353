/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm.yaml: defaults, every kind of mistake with its place, edits that change nothing else. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "display/keymap.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/fd.h"
#include "vmm/conf/config.h"

static char *slurp(const char *folder, const char *name, size_t *len)
{
    struct err e = ERR_INIT;
    char *path = x_asprintf("%s/%s", folder, name);
    char *text = fd_read_file(AT_FDCWD, path, 1 << 21, len, &e);

    if (!text)
        fail_msg("%s", e.msg);
    x_free(path);
    return text;
}

static void parse_ok(const char *text, struct vm_config *c)
{
    struct conf_diags d = {0};
    struct err e = ERR_INIT;

    if (!config_parse(text, strlen(text), "dir", c, &d, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(d.count, 0);
}

static void defaults(void **state)
{
    struct vm_config c;

    (void)state;
    parse_ok("version: 1\n", &c);
    assert_string_equal(c.name, "dir");
    assert_int_equal(c.cpus, 1);
    assert_int_equal(c.memory, 512 * MIB);
    assert_int_equal(c.accel, ACCEL_AUTO);
    assert_string_equal(c.cpu_model, "x86-64-v3");
    assert_string_equal(c.boot_order, "disk,cdrom");
    assert_int_equal(c.network_count, 1);
    assert_string_equal(c.networks[0].id, "net0");
    assert_int_equal(c.networks[0].mode, NET_USER);
    assert_null(c.networks[0].mac);
    assert_true(c.vnc.enabled && c.vnc.tcp && c.vnc.socket);
    assert_string_equal(c.vnc.listen, "127.0.0.1");
    assert_int_equal(c.vnc.port, 0);
    assert_int_equal(c.serial[0].mode, SERIAL_CONSOLE);
    assert_int_equal(c.serial[1].mode, SERIAL_NONE);
    assert_string_equal(c.keyboard_layout, "us");
    config_fini(&c);
}

static void every_key(void **state)
{
    static const char text[] =
        "# all of it\n"
        "version: 1\n"
        "name: web\n"
        "uuid: 5d307ca9-0000-4000-8000-000000000001\n"
        "description: |\n"
        "  Two\n"
        "  lines: here\n"
        "protected: true\n"
        "accel: software\n"
        "cpus: 0x4\n"
        "cpu: {model: max}\n"
        "memory: 2G\n"
        "x-note: [anything, {goes: here}]\n"
        "boot:\n"
        "  order: [cdrom, disk]\n"
        "  kernel: ~/vmlinuz\n"
        "  append: \"console=ttyS0 root=/dev/vda\"\n"
        "  modules: [a x=1, b]\n"
        "disks:\n"
        "  - {path: a.raw, size: 10 GiB, bus: ide}\n"
        "  - path: b.raw\n"
        "    readonly: true\n"
        "cdroms:\n"
        "  - {id: cd, path: null}\n"
        "networks:\n"
        "  - mac: 52:54:00:12:34:56\n"
        "    forwards:\n"
        "      - \"2222:22\"\n"
        "      - \"0.0.0.0:8080:80/tcp\"\n"
        "      - {host: \"127.0.0.1:5353\", guest: 53, proto: udp}\n"
        "  - {mode: none}\n"
        "display:\n"
        "  vnc: {enabled: true, listen: 0.0.0.0, port: 5910, socket: false}\n"
        "input: {pointer: mouse, layout: de}\n"
        "serial: [{mode: file, path: log/com1}, {mode: console}]\n"
        "machine: {rtc: localtime, debug_exit: true}\n";
    struct vm_config c;

    (void)state;
    parse_ok(text, &c);
    assert_string_equal(c.name, "web");
    assert_string_equal(c.description, "Two\nlines: here\n");
    assert_true(c.protected_);
    assert_int_equal(c.accel, ACCEL_SOFTWARE);
    assert_int_equal(c.cpus, 4);
    assert_int_equal(c.memory, 2 * GIB);
    assert_string_equal(c.boot_order, "cdrom,disk");
    assert_int_equal(c.module_count, 2);
    assert_string_equal(c.modules[0], "a x=1");
    assert_int_equal(c.disk_count, 2);
    assert_int_equal(c.disks[0].bus, DISK_IDE);
    assert_int_equal(c.disks[0].size, 10 * GIB);
    assert_string_equal(c.disks[1].id, "disk1");
    assert_true(c.disks[1].readonly);
    assert_null(c.cdroms[0].path);
    assert_string_equal(c.cdroms[0].id, "cd");
    assert_int_equal(c.networks[0].forward_count, 3);
    assert_string_equal(c.networks[0].forwards[0].host, "127.0.0.1");
    assert_int_equal(c.networks[0].forwards[0].host_port, 2222);
    assert_int_equal(c.networks[0].forwards[1].guest_port, 80);
    assert_true(c.networks[0].forwards[2].udp);
    assert_int_equal(c.networks[0].forwards[2].host_port, 5353);
    assert_int_equal(c.networks[1].mode, NET_NONE);
    assert_int_equal(c.vnc.port, 5910);
    assert_false(c.vnc.socket);
    assert_int_equal(c.pointer, POINTER_MOUSE);
    assert_int_equal(c.serial[0].mode, SERIAL_FILE);
    assert_string_equal(c.serial[0].path, "log/com1");
    assert_int_equal(c.rtc, RTC_LOCALTIME);

    /* written and read again it is the same, and written again too */
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct vm_config again;

    config_emit(&c, &once);
    parse_ok(buf_str(&once), &again);
    config_emit(&again, &twice);
    assert_string_equal(buf_str(&once), buf_str(&twice));
    buf_free(&once);
    buf_free(&twice);
    config_fini(&again);
    config_fini(&c);
}

/* Each file ends in lines "# expect LINE:COLUMN: message", one for each diagnostic in order. */
static void check_bad_file(const char *folder, const char *name)
{
    struct conf_diags d = {0};
    struct err e = ERR_INIT;
    struct vm_config c;
    size_t len;
    char *text = slurp(folder, name, &len);
    const char *p = strstr(text, "# expect ");
    unsigned n = 0;

    assert_false(config_parse(text, len, "dir", &c, &d, &e));
    assert_int_equal(e.code, ERR_INVALID);
    for (; p; p = strstr(p + 1, "\n# expect ") ? strstr(p + 1, "\n# expect ") + 1 : NULL, n++) {
        char got[400];
        size_t expect_len = strcspn(p + 9, "\n");

        if (n == d.count)
            fail_msg("%s: %u diagnostics, expected more", name, n);
        snprintf(got, sizeof(got), "%u:%u: %s", d.list[n].line, d.list[n].column,
                 d.list[n].message);
        if (strlen(got) != expect_len || memcmp(got, p + 9, expect_len))
            fail_msg("%s:\n  expected %.*s\n  got      %s", name, (int)expect_len, p + 9, got);
    }
    if (n == 0 || n != d.count)
        fail_msg("%s: %u diagnostics, expected %u", name, d.count, n);
    /* what a failed parse leaves behind is the defaults */
    assert_int_equal(c.cpus, 1);
    config_fini(&c);
    conf_diags_free(&d);
    x_free(text);
}

static void bad_files(void **state)
{
    static const char folder[] = "tests/unit/vmm/conf/bad";
    DIR *dir = opendir(folder);
    struct dirent *entry;
    unsigned n = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        check_bad_file(folder, entry->d_name);
        n++;
    }
    closedir(dir);
    assert_in_range(n, 30, 1000);
}

static void example_files(void **state)
{
    DIR *dir = opendir("configs");
    struct dirent *entry;
    unsigned n = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        struct vm_config c;
        size_t len;

        if (!strstr(entry->d_name, ".yaml"))
            continue;
        char *text = slurp("configs", entry->d_name, &len);
        parse_ok(text, &c);
        config_fini(&c);
        x_free(text);
        n++;
    }
    closedir(dir);
    assert_in_range(n, 1, 1000);
}

static void format(void **state)
{
    static const char text[] =
        "version: 1\ndisks: [{id: \"\xc3\xa9\", path: a}]\nmemory: 8000\nx: \"\033[31m\"\n";
    static const char expected[] =
        "vm.yaml:2:14: error: disks[0].id: \"\xc3\xa9\" is not an id (letters, digits, _ and -)\n"
        "    2 | disks: [{id: \"\xc3\xa9\", path: a}]\n"
        "      |              ^~~\n"
        "vm.yaml:3:9: error: memory: 8000 needs a unit (try 8000MiB or 8GiB)\n"
        "    3 | memory: 8000\n"
        "      |         ^~~~\n";
    struct conf_diags d = {0};
    struct err e = ERR_INIT;
    struct vm_config c;
    struct buf out = BUF_INIT;

    (void)state;
    assert_false(config_parse(text, strlen(text), NULL, &c, &d, &e));
    conf_diags_format(&d, "vm.yaml", text, &out);
    assert_null(strchr(buf_str(&out), '\033'));
    buf_clear(&out);
    conf_diags_free(&d);
    config_fini(&c);

    char *clean = x_strndup(text, (size_t)(strstr(text, "x: ") - text));

    assert_false(config_parse(clean, strlen(clean), NULL, &c, &d, &e));
    conf_diags_format(&d, "vm.yaml", clean, &out);
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
    conf_diags_free(&d);
    config_fini(&c);
    x_free(clean);
}

/* Small caps hold against large input, quickly. */
static void caps(void **state)
{
    struct conf_diags d = {0};
    struct err e = ERR_INIT;
    struct vm_config c;
    size_t len = 1024 * 1024 + 1;
    char *text = x_alloc(len + 1);

    (void)state;
    memset(text, '[', len);
    assert_false(config_parse(text, len, NULL, &c, &d, &e));
    assert_non_null(strstr(d.list[0].message, "too large"));
    conf_diags_free(&d);
    config_fini(&c);
    assert_false(config_parse(text, len - 1, NULL, &c, &d, &e));
    assert_non_null(strstr(d.list[0].message, "too deeply"));
    conf_diags_free(&d);
    config_fini(&c);
    for (size_t i = 0; i < len - 1; i += 2)
        memcpy(text + i, "a,", 2);
    memcpy(text, "[ ", 2);
    assert_false(config_parse(text, len - 1, NULL, &c, &d, &e));
    assert_non_null(strstr(d.list[0].message, "too many parts"));
    conf_diags_free(&d);
    config_fini(&c);
    x_free(text);
}

/* ---- edits ---- */

static const char editable[] = "# my VM\n"
                               "version: 1   # schema\n"
                               "memory:   1GiB   # enough\n"
                               "cpus: 2\n"
                               "\n"
                               "# where it lives\n"
                               "disks:\n"
                               "  - id: disk0\n"
                               "    path: 'my disk.raw'\n"
                               "    size: 4GiB\n"
                               "cdroms: [{id: cd, path: x.iso}]\n"
                               "networks:\n"
                               "- forwards: # ports\n"
                               "  - \"2222:22\"\n"
                               "  - \"8080:80\"\n"
                               "boot: {append: \"quiet\", kernel: k}\n"
                               "input:\n"
                               "# end\n";

/* Replaces the one line (or inserts after it when with begins with '+') and compares. */
static void check_edit(const char *path, const char *value, const char *line, const char *with)
{
    struct conf_diags d = {0};
    struct err e = ERR_INIT;
    struct buf out = BUF_INIT, expected = BUF_INIT;
    const char *at = strstr(editable, line);
    size_t len = strlen(line);
    bool insert = with[0] == '+';

    assert_non_null(at);
    buf_add(&expected, editable, (size_t)(at - editable) + (insert ? len : 0));
    buf_puts(&expected, with + insert);
    buf_puts(&expected, at + len);
    if (!config_edit(editable, strlen(editable), path, value, &out, &d, &e))
        fail_msg("%s: %s", path, e.msg);
    assert_string_equal(buf_str(&out), buf_str(&expected));
    buf_free(&out);
    buf_free(&expected);
    conf_diags_free(&d);
}

static void edits(void **state)
{
    (void)state;
    check_edit("memory", "2GiB", "memory:   1GiB   # enough", "memory:   2GiB   # enough");
    check_edit("cpus", "8", "cpus: 2", "cpus: 8");
    check_edit("cpus", NULL, "cpus: 2", "cpus: null");
    check_edit("name", "web", "version: 1   # schema\n", "+name: web\n");
    check_edit("accel", "kvm", "version: 1   # schema\n", "+accel: kvm\n");
    check_edit("disks[0].path", "other.raw", "'my disk.raw'", "'other.raw'");
    check_edit("disks[0].path", "it's", "'my disk.raw'", "\"it's\"");
    check_edit("disks[0].bus", "ide", "    size: 4GiB\n", "+    bus: ide\n");
    check_edit("disks[1].path", "b: c.raw", "    size: 4GiB\n", "+  - path: \"b: c.raw\"\n");
    check_edit("disks[0]", NULL, "disks:\n  - id: disk0\n    path: 'my disk.raw'\n    size: 4GiB\n",
               "disks: []\n");
    check_edit("cdroms[0].path", "", "path: x.iso", "path: null");
    check_edit("cdroms[1].path", "y.iso", "path: x.iso}", "+, {path: y.iso}");
    check_edit("cdroms[0]", NULL, "[{id: cd, path: x.iso}]", "[]");
    check_edit("networks[0].forwards[0]", NULL, "  - \"2222:22\"\n", "");
    check_edit("networks[0].forwards[2]", "53:53/udp", "  - \"8080:80\"\n", "+  - \"53:53/udp\"\n");
    check_edit("networks[0].forwards", "1:2, 3:4",
               "- forwards: # ports\n  - \"2222:22\"\n  - \"8080:80\"\n",
               "- forwards: [\"1:2\", \"3:4\"] # ports\n");
    check_edit("networks[0].id", "lan", "- forwards:", "- id: lan\n  forwards:");
    check_edit("networks[1].mode", "none", "  - \"8080:80\"\n", "+- mode: none\n");
    check_edit("boot.append", "loud", "\"quiet\"", "\"loud\"");
    check_edit("boot.order", "cdrom,disk", "boot: {", "+order: [cdrom, disk], ");
    check_edit("boot.initrd", "/i,r", "kernel: k", "+, initrd: \"/i,r\"");
    check_edit("input.layout", "de", "input:", "input: {layout: de}");
    check_edit("display.vnc.port", "5905", "kernel: k}\n", "+display:\n  vnc:\n    port: 5905\n");
    check_edit("machine.rtc", NULL, "input:", "input:");
    check_edit("memory", "1GiB", "1GiB", "1GiB");
}

/* A list that is not in the file has default entries all the same. */
static void edits_of_defaults(void **state)
{
    static const struct {
        const char *before, *path, *value, *after;
    } cases[] = {
        {"version: 1\n", "networks[0].mode", "none", "version: 1\nnetworks:\n  - mode: none\n"},
        {"version: 1\n", "networks[1].mode", "none", "version: 1\nnetworks:\n  - mode: user\n  - mode: none\n"},
        {"version: 1\n", "networks[0]", NULL, "version: 1\nnetworks: []\n"},
        {"version: 1\nnetworks:\n", "networks[0]", NULL, "version: 1\nnetworks: []\n"},
        {"version: 1\nnetworks: []\n", "networks[0].mode", "user", "version: 1\nnetworks: [{mode: user}]\n"},
        {"version: 1\n", "serial[1].mode", "none",
         "version: 1\nserial:\n  - mode: console\n  - mode: none\n"},
        {"version: 1\n", "disks[0]", NULL, "version: 1\n"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf_diags d = {0};
        struct err e = ERR_INIT;
        struct buf out = BUF_INIT;

        if (!config_edit(cases[i].before, strlen(cases[i].before), cases[i].path, cases[i].value, &out, &d, &e))
            fail_msg("%s: %s", cases[i].path, e.msg);
        assert_string_equal(buf_str(&out), cases[i].after);
        buf_free(&out);
        conf_diags_free(&d);
    }
}

static void edit_refusals(void **state)
{
    static const struct {
        const char *path, *value;
    } cases[] = {{"memory", "2"},       {"no.such", "1"},       {"disks[3].path", "x"},
                 {"disks", "x"},        {"disks[0].path", ""},  {"version", "2"},
                 {"display", "x"},      {"cpus", "8\ncpus: 9"}, {"disks[0", "x"},
                 {"disks[0].id", "a b"}};
    struct err e;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf_diags d = {0};
        struct buf out = BUF_INIT;

        if (config_edit(editable, strlen(editable), cases[i].path, cases[i].value, &out, &d, &e))
            fail_msg("%s: %s was accepted:\n%s", cases[i].path, cases[i].value, buf_str(&out));
        assert_int_equal(out.len, 0);
        buf_free(&out);
        conf_diags_free(&d);
    }
}

/* A file with Windows line ends keeps them. */
static void edit_crlf(void **state)
{
    static const char text[] = "version: 1\r\nmemory: 1GiB\r\n";
    struct conf_diags d = {0};
    struct err e = ERR_INIT;
    struct buf out = BUF_INIT;

    (void)state;
    assert_true(config_edit(text, strlen(text), "cpus", "2", &out, &d, &e));
    assert_string_equal(buf_str(&out), "version: 1\r\ncpus: 2\r\nmemory: 1GiB\r\n");
    buf_free(&out);
}

static void get_and_set(void **state)
{
    struct vm_config c;
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT;

    (void)state;
    config_init(&c);
    assert_true(config_set(&c, "disks[0].path", "a.raw", &e));
    assert_true(config_set(&c, "disks[0].size", "3G", &e));
    assert_true(config_set(&c, "networks[0].forwards", "2222:22, 0.0.0.0:80:80", &e));
    assert_true(config_set(&c, "display.vnc.port", "auto", &e));
    assert_false(config_set(&c, "disks[2].path", "b", &e));
    assert_false(config_set(&c, "cpus", "no", &e));
    assert_string_equal(e.msg, "cpus: \"no\" is not a whole number");
    assert_int_equal(c.disk_count, 1);
    assert_true(config_get(&c, "disks[0].size", &b));
    assert_string_equal(buf_str(&b), "3GiB");
    buf_clear(&b);
    assert_true(config_get(&c, "networks[0].forwards", &b));
    assert_string_equal(buf_str(&b), "127.0.0.1:2222:22, 0.0.0.0:80:80");
    buf_clear(&b);
    assert_true(config_get(&c, "accel", &b));
    assert_string_equal(buf_str(&b), "auto");
    assert_false(config_get(&c, "nothing", &b));
    assert_true(config_validate(&c, &e));
    assert_true(config_set(&c, "boot.initrd", "x", &e));
    assert_false(config_validate(&c, &e));
    assert_string_equal(e.msg, "boot.initrd: needs boot.kernel");
    buf_free(&b);
    config_fini(&c);
}

/* Every default of the schema is a value that the schema accepts. */
static void schema_is_sound(void **state)
{
    unsigned n;
    const struct conf_key *keys = conf_keys(&n);

    (void)state;
    assert_in_range(n, 30, 200);
    for (unsigned i = 0; i < n; i++) {
        struct err e = ERR_INIT;

        assert_true(strlen(keys[i].help) > 5);
        if (keys[i].def[0] && !strchr(keys[i].def, '#') &&
            !config_check(keys[i].path, keys[i].def, &e))
            fail_msg("%s: %s", keys[i].path, e.msg);
    }
}

/* vmm/conf does not know the keyboard tables, so the two lists are held together here. */
static void layouts_exist(void **state)
{
    unsigned n, found = 0;
    const struct conf_key *keys = conf_keys(&n);

    (void)state;
    for (unsigned i = 0; i < n; i++) {
        char choices[80];

        if (strcmp(keys[i].path, "input.layout"))
            continue;
        str_copy(choices, sizeof(choices), keys[i].choices);
        for (char *word = choices, *next; word; word = next, found++) {
            next = strchr(word, '|');
            if (next)
                *next++ = '\0';
            assert_non_null(keymap_find(word));
        }
    }
    for (const char *p = keymap_layouts(); (p = strchr(p, ',')); p++)
        found--;
    assert_int_equal(found, 1);
}

static void sizes_and_paths(void **state)
{
    uint64_t v;
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT;

    (void)state;
    assert_true(conf_parse_size("512MiB", &v, &e) && v == 512 * MIB);
    assert_true(conf_parse_size("1 g", &v, &e) && v == GIB);
    assert_true(conf_parse_size("16T", &v, &e) && v == 16384 * GIB);
    assert_false(conf_parse_size("", &v, &e));
    assert_false(conf_parse_size("-1M", &v, &e));
    assert_false(conf_parse_size("99999999999999999999M", &v, &e));
    assert_false(conf_parse_size("99999999999999T", &v, &e));
    conf_format_size(1536 * MIB, &b);
    assert_string_equal(buf_str(&b), "1536MiB");
    buf_free(&b);

    char *p = config_path("/vm", "disks/a.raw");
    assert_string_equal(p, "/vm/disks/a.raw");
    x_free(p);
    p = config_path("/vm", "/abs");
    assert_string_equal(p, "/abs");
    x_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),        cmocka_unit_test(every_key),
        cmocka_unit_test(bad_files),       cmocka_unit_test(example_files),
        cmocka_unit_test(format),          cmocka_unit_test(caps),
        cmocka_unit_test(edits),           cmocka_unit_test(edits_of_defaults),
        cmocka_unit_test(edit_refusals),
        cmocka_unit_test(edit_crlf),       cmocka_unit_test(get_and_set),
        cmocka_unit_test(schema_is_sound), cmocka_unit_test(layouts_exist),
        cmocka_unit_test(sizes_and_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
