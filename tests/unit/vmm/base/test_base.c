/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors, buffers, bits and file descriptors. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"
#include "vmm/base/fd.h"

static void err_keeps_what_where_why(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    assert_false(err_errno(&e, EACCES, "cannot open \"%s\"", "a.raw"));
    assert_int_equal(e.code, ERR_PERM);
    assert_false(err_wrap(&e, "disk \"%s\"", "disk0"));
    assert_string_equal(e.msg, "disk \"disk0\": cannot open \"a.raw\": Permission denied");
    err_hint(&e, "chmod it");
    assert_string_equal(e.hint, "chmod it");
    err_set(&e, ERR_BUSY, "x");
    assert_string_equal(e.hint, "");
}

static void err_truncates_long_text(void **state)
{
    struct err e = ERR_INIT;
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    err_set(&e, ERR_FAILED, "%s", text);
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
    err_wrap(&e, "%s", text);
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

static void err_codes_have_names(void **state)
{
    (void)state;
    for (int c = ERR_NONE; c <= ERR_INTERNAL; c++)
        assert_int_equal(err_code_from_name(err_code_name((enum err_code)c)), c);
    assert_int_equal(err_code_from_name("no such"), ERR_INTERNAL);
    assert_int_equal(err_exit_status(ERR_BUSY), 8);
}

static void buf_grows_and_consumes(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%04d", i);
    assert_int_equal(b.len, 4000);
    buf_consume(&b, 3996);
    assert_string_equal(buf_str(&b), "0999");
    buf_consume(&b, 100);
    assert_int_equal(b.len, 0);
    buf_puts(&b, "end");
    char *s = buf_steal(&b);
    assert_string_equal(s, "end");
    x_free(s);
    assert_null(b.data);
}

static void bits_little_and_big_endian(void **state)
{
    uint8_t p[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    (void)state;
    assert_int_equal(ld_le16(p), 0x0201);
    assert_int_equal(ld_be32(p + 1), 0x02030405);
    assert_true(ld_le(p, 3) == 0x030201);
    st_be16(p, 0xabcd);
    assert_int_equal(p[0], 0xab);
    assert_true(range_within(UINT64_MAX - 3, 4, UINT64_MAX - 3, 4));
    assert_false(range_within(10, UINT64_MAX, 0, 100));
    assert_false(range_within(90, 11, 0, 100));
}

static void fd_passes_descriptors(void **state)
{
    struct err e = ERR_INIT;
    int sv[2], fds[FD_PASS_MAX];
    char data[16];
    unsigned n;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    int mem = fd_memfd("test", 4096, &e);
    assert_true(mem >= 0);
    assert_ok(fd_send(sv[0], "hello", 5, &mem, 1, &e));
    assert_int_equal(fd_recv(sv[1], data, sizeof(data), fds, &n), 5);
    assert_int_equal(n, 1);
    struct stat st;
    assert_int_equal(fstat(fds[0], &st), 0);
    assert_int_equal(st.st_size, 4096);
    assert_int_equal(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fds[0]);
    close(mem);
    close(sv[0]);
    assert_int_equal(fd_recv(sv[1], data, sizeof(data), fds, &n), 0);
    close(sv[1]);
}

static void fd_memfd_cannot_shrink(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    int fd = fd_memfd("test", 8192, &e);
    assert_int_equal(ftruncate(fd, 4096), -1);
    assert_int_equal(errno, EPERM);
    fd_close(&fd);
    assert_int_equal(fd, -1);
}

static void fd_writes_atomically(void **state)
{
    struct err e = ERR_INIT;
    char dir[] = "/tmp/vmdeck-test-XXXXXX", path[64];
    size_t len;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/f", dir);
    assert_ok(fd_write_file_atomic(path, "one", 3, 0600, &e));
    assert_ok(fd_write_file_atomic(path, "twotwo", 6, 0600, &e));
    char *text = fd_read_file(AT_FDCWD, path, 100, &len, &e);
    assert_non_null(text);
    assert_int_equal(len, 6);
    assert_string_equal(text, "twotwo");
    x_free(text);
    assert_null(fd_read_file(AT_FDCWD, path, 5, &len, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    assert_null(fd_read_file(AT_FDCWD, dir, 5, &len, &e));
    unlink(path);
    assert_null(fd_read_file(AT_FDCWD, path, 5, &len, &e));
    assert_int_equal(e.code, ERR_NOENT);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_keeps_what_where_why), cmocka_unit_test(err_truncates_long_text),
        cmocka_unit_test(err_codes_have_names),     cmocka_unit_test(buf_grows_and_consumes),
        cmocka_unit_test(bits_little_and_big_endian), cmocka_unit_test(fd_passes_descriptors),
        cmocka_unit_test(fd_memfd_cannot_shrink),   cmocka_unit_test(fd_writes_atomically),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
