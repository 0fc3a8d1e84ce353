/* SPDX-License-Identifier: GPL-2.0-or-later */
/* state.json, the lock, the status pipe, folders. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/state.h"
#include "vmm/ctl/sup.h"

static int setup(void **state)
{
    char template[] = "/tmp/vmdeck-state.XXXXXX";

    *state = x_strdup(mkdtemp(template));
    return 0;
}

static int teardown(void **state)
{
    struct err e = ERR_INIT;

    assert_ok(path_remove_tree(*state, &e));
    x_free(*state);
    return 0;
}

static void put(const char *dir, const char *text)
{
    struct err e = ERR_INIT;
    char *path = x_asprintf("%s/%s", dir, PATH_STATE);

    assert_ok(fd_write_file_atomic(path, text, strlen(text), 0600, &e));
    x_free(path);
}

static void state_round_trip(void **state)
{
    struct vm_last last = {.end = VM_END_CRASHED, .reason = "killed by \"signal\" 9", .status = 11}, back;
    struct err e = ERR_INIT;

    state_read(*state, &back);
    assert_int_equal(back.end, VM_END_NONE);
    assert_ok(state_write(*state, &last, &e));
    state_read(*state, &back);
    assert_int_equal(back.end, VM_END_CRASHED);
    assert_string_equal(back.reason, last.reason);
    assert_int_equal(back.status, 11);
}

static void state_of_another_boot(void **state)
{
    struct vm_last back;

    put(*state, "{\"state\":\"running\",\"boot\":\"another\"}");
    state_read(*state, &back);
    assert_int_equal(back.end, VM_END_RUNNING);
    assert_non_null(strstr(back.reason, "host went down"));
    put(*state, "nonsense");
    state_read(*state, &back);
    assert_int_equal(back.end, VM_END_NONE);
    put(*state, "{\"state\":5,\"reason\":[],\"boot\":{}}");
    state_read(*state, &back);
    assert_int_equal(back.end, VM_END_NONE);
}

static void lock_has_one_holder(void **state)
{
    struct err e = ERR_INIT;

    assert_int_equal(state_holder(*state), 0);
    int fd = state_lock(*state, &e);
    assert_true(fd >= 0);
    assert_int_equal(state_holder(*state), getpid());
    assert_int_equal(state_lock(*state, &e), -1);
    assert_int_equal(e.code, ERR_BUSY);
    close(fd);
    assert_int_equal(state_holder(*state), 0); /* the file stays, the lock does not */
    fd = state_lock(*state, &e);
    assert_true(fd >= 0);
    close(fd);
}

static void status_pipe(void **state)
{
    struct err e = ERR_INIT, sent = ERR_INIT;
    int p[2];

    (void)state;
    assert_int_equal(pipe(p), 0);
    status_ready(p[1]);
    assert_ok(status_wait(p[0], 1000, &e));
    close(p[1]);

    assert_int_equal(pipe(p), 0);
    err_set(&sent, ERR_BUSY, "port \"22\": in use");
    err_hint(&sent, "choose another");
    status_error(p[1], &sent);
    assert_false(status_wait(p[0], 1000, &e));
    assert_int_equal(e.code, ERR_BUSY);
    assert_string_equal(e.msg, sent.msg);
    assert_string_equal(e.hint, sent.hint);
    close(p[1]);

    assert_int_equal(pipe(p), 0); /* died without a word */
    close(p[1]);
    assert_false(status_wait(p[0], 1000, &e));
    assert_int_equal(e.code, ERR_FAILED);

    assert_int_equal(pipe(p), 0); /* says nothing */
    assert_false(status_wait(p[0], 20, &e));
    assert_int_equal(e.code, ERR_TIMEOUT);
    close(p[1]);

    assert_int_equal(pipe(p), 0); /* nonsense */
    assert_true(write(p[1], "{\"error\": 5\n", 12) == 12);
    assert_false(status_wait(p[0], 1000, &e));
    close(p[1]);
}

static void remove_tree_follows_no_link(void **state)
{
    struct err e = ERR_INIT;
    char *outside = x_asprintf("%s/outside", (char *)*state), *tree = x_asprintf("%s/tree/a/b", (char *)*state);
    char *link_path = x_asprintf("%s/tree/link", (char *)*state), *top = x_asprintf("%s/tree", (char *)*state);
    char *file = x_asprintf("%s/precious", outside);

    assert_ok(path_make(outside, &e));
    assert_ok(path_make(tree, &e));
    assert_ok(fd_write_file_atomic(file, "x", 1, 0600, &e));
    assert_int_equal(symlink(outside, link_path), 0);
    assert_ok(path_remove_tree(top, &e));
    assert_int_equal(access(top, F_OK), -1);
    assert_int_equal(access(file, F_OK), 0);
    x_free(outside);
    x_free(tree);
    x_free(link_path);
    x_free(top);
    x_free(file);
}

static void sockets_of_long_paths(void **state)
{
    struct err e = ERR_INIT;
    char *dir = x_asprintf("%s/%0100d/%0100d", (char *)*state, 1, 2); /* sun_path has 108 bytes */
    struct stat st;

    assert_ok(path_make(dir, &e));
    int server = path_listen(dir, "s.sock", &e);
    assert_true(server >= 0);
    int client = path_connect(dir, "s.sock", &e);
    assert_true(client >= 0);
    char *path = x_asprintf("%s/s.sock", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0177, 0);
    close(client);
    close(server);
    assert_int_equal(path_connect(dir, "none.sock", &e), -1);
    assert_int_equal(e.code, ERR_NOENT);
    x_free(path);
    x_free(dir);
}

static void folders_from_the_environment(void **state)
{
    struct err e = ERR_INIT;
    char *run = x_asprintf("%s/run", (char *)*state), *data = x_asprintf("%s/data", (char *)*state), *p;

    assert_int_equal(mkdir(run, 0700), 0);
    setenv("XDG_RUNTIME_DIR", run, 1);
    setenv("XDG_DATA_HOME", data, 1);
    setenv("XDG_STATE_HOME", data, 1);
    p = path_vms_dir(&e);
    assert_non_null(p);
    assert_true(!strncmp(p, data, strlen(data)));
    x_free(p);
    p = path_run_dir("x", &e);
    assert_true(!strncmp(p, run, strlen(run)));
    x_free(p);
    /* a runtime folder that others can enter is none */
    assert_int_equal(chmod(run, 0755), 0);
    p = path_run_dir("x", &e);
    assert_true(!strncmp(p, data, strlen(data)));
    x_free(p);
    x_free(run);
    x_free(data);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(state_round_trip), T(state_of_another_boot), T(lock_has_one_holder), T(status_pipe),
        T(remove_tree_follows_no_link), T(sockets_of_long_paths), T(folders_from_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
