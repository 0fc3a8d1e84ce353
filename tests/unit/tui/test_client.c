/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client library against a server of our own that says what it likes, and its folders. */
#include "tests/lib/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tui/client/client.h"
#include "vmm/base/alloc.h"
#include "vmm/base/buf.h"
#include "vmm/base/fd.h"
#include "vmm/ctl/paths.h"
#include "vmm/ctl/state.h"

static char *home;

static int setup(void **state)
{
    char template[] = "/tmp/vmdeck-client.XXXXXX", *run;

    (void)state;
    home = x_strdup(mkdtemp(template));
    run = x_asprintf("%s/run", home);
    mkdir(run, 0700);
    setenv("XDG_RUNTIME_DIR", run, 1);
    setenv("XDG_DATA_HOME", home, 1);
    x_free(run);
    return 0;
}

static int teardown(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    assert_ok(path_remove_tree(home, &e));
    x_free(home);
    return 0;
}

/* ---- a server that answers every line with the next of its texts ---- */

struct server {
    int fd;
    const char *const *says; /* ends with NULL: then it closes */
    pthread_t thread;
    char *run;
};

static void *serve(void *arg)
{
    struct server *s = arg;
    char line[4096];
    int c = accept(s->fd, NULL, NULL);

    for (unsigned i = 0; s->says[i]; i++) {
        if (i > 0 && read(c, line, sizeof(line)) <= 0)
            break;
        fd_write_all(c, s->says[i], strlen(s->says[i]));
    }
    close(c);
    return NULL;
}

static void start_server(struct server *s, const char *const *says)
{
    struct err e = ERR_INIT;

    s->says = says;
    s->run = client_run_dir("x", &e);
    assert_ok(path_make(s->run, &e));
    s->fd = path_listen(s->run, PATH_CONTROL, &e);
    assert_true(s->fd >= 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop_server(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->fd);
    x_free(s->run);
}

#define GREETING "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n"

static void calls_skip_events_and_old_answers(void **state)
{
    static const char *const says[] = {
        GREETING,
        "{\"event\":\"STOP\",\"data\":{}}\n{\"return\":{},\"id\":1}\n",
        "{\"return\":1,\"id\":1}\n{\"event\":\"RESUME\"}\n{\"return\":{\"a\":5},\"id\":2}\n",
        "{\"error\":{\"class\":\"GenericError\",\"desc\":\"locked\",\"x-code\":\"busy\","
        "\"x-hint\":\"wait\"},\"id\":3}\n",
        NULL};
    struct err e = ERR_INIT;
    struct server s;

    (void)state;
    start_server(&s, says);
    struct client *c = client_connect("x", &e);
    assert_non_null(c);
    json_t *v = client_call(c, "one", NULL, 5000, &e);
    assert_int_equal(json_integer_value(json_object_get(v, "a")), 5);
    json_decref(v);
    assert_null(client_call(c, "two", json_object(), 5000, &e));
    assert_int_equal(e.code, ERR_BUSY);
    assert_string_equal(e.msg, "locked");
    assert_string_equal(e.hint, "wait");
    /* it has gone by now */
    assert_null(client_call(c, "three", NULL, 5000, &e));
    assert_int_equal(e.code, ERR_STATE);
    client_close(c);
    stop_server(&s);
}

static void bad_greetings(void **state)
{
    static const char *const greetings[] = {"", "nonsense\n", "{}\n", "[]\n", "{\"QMP\":1",
                                            "{\"error\":{\"desc\":\"too many\",\"x-code\":\"limit\"}}\n"};

    (void)state;
    for (unsigned i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
        const char *says[] = {greetings[i], NULL};
        struct err e = ERR_INIT;
        struct server s;

        start_server(&s, says);
        assert_null(client_connect("x", &e));
        assert_true(e.code != ERR_NONE);
        stop_server(&s);
    }
}

static void a_silent_vm_times_out(void **state)
{
    static const char *const says[] = {GREETING, "{\"return\":{},\"id\":1}\n", "", "", NULL};
    struct err e = ERR_INIT;
    struct server s;

    (void)state;
    start_server(&s, says);
    struct client *c = client_connect("x", &e);
    assert_non_null(c);
    assert_null(client_call(c, "one", NULL, 50, &e));
    assert_int_equal(e.code, ERR_TIMEOUT);
    client_close(c);
    stop_server(&s);
}

/* Whatever geometry and cells a VM claims, nothing outside the struct is touched. */
static void hostile_text_screens(void **state)
{
    static const char *const says[] = {
        GREETING,
        "{\"return\":{},\"id\":1}\n",
        "{\"return\":{\"mode\":\"text\",\"cols\":2,\"rows\":1,\"frame\":5,\"cells\":\"QQdCBw==\"},\"id\":2}\n",
        "{\"return\":{\"mode\":\"text\",\"cols\":99999,\"rows\":-5,\"frame\":6,\"cells\":\"QQdCBw==\"},\"id\":3}\n",
        "{\"return\":{\"mode\":\"text\",\"cols\":1,\"rows\":99999,\"frame\":7,\"cells\":\"////////\"},\"id\":4}\n",
        "{\"return\":{\"mode\":7,\"cols\":0,\"rows\":60,\"frame\":8,\"cells\":\"AAAA\"},\"id\":5}\n",
        "{\"return\":[],\"id\":6}\n",
        NULL};
    struct text_screen *t = X_NEW(struct text_screen);
    struct err e = ERR_INIT;
    struct server s;

    (void)state;
    start_server(&s, says);
    struct client *c = client_connect("x", &e);
    assert_ok(client_text_screen(c, 0, t, &e));
    assert_int_equal(t->mode, 1);
    assert_int_equal(t->cells[0][0], 'A' | 7 << 8);
    assert_int_equal(t->cells[0][1], 'B' | 7 << 8);
    assert_int_equal(t->frame, 5);
    for (unsigned i = 0; i < 4; i++) {
        client_text_screen(c, 0, t, &e);
        assert_in_range(t->cols, 0, 132);
        assert_in_range(t->rows, 0, 60);
    }
    client_close(c);
    stop_server(&s);
    x_free(t);
}

static void create_list_remove(void **state)
{
    struct vm_config cfg;
    struct vm_list list;
    struct err e = ERR_INIT;
    char *dir, *path;

    (void)state;
    config_init(&cfg);
    cfg.name = x_strdup("web");
    cfg.disks[0] = (struct conf_disk){.id = x_strdup("disk0"), .path = x_strdup("disks/disk0.raw"), .size = 1 << 20};
    cfg.disk_count = 1;
    assert_ok(client_create(&cfg, &e));
    assert_false(client_create(&cfg, &e));
    assert_int_equal(e.code, ERR_EXISTS);
    assert_ok(client_list(&list, &e));
    assert_int_equal(list.count, 1);
    assert_string_equal(list.vms[0].name, "web");
    assert_int_equal(list.vms[0].state, LIST_OFF);
    assert_int_equal(list.vms[0].disk_size, 1 << 20);
    client_list_free(&list);

    /* a supervisor that died */
    dir = client_vm_dir("web", &e);
    assert_ok(state_write(dir, &(struct vm_last){.end = VM_END_RUNNING}, &e));
    assert_ok(client_list(&list, &e));
    assert_int_equal(list.vms[0].state, LIST_CRASHED);
    assert_string_equal(list.vms[0].problem, "the supervisor was killed");
    client_list_free(&list);

    /* one that starts or does not answer */
    path = client_run_dir("web", &e);
    assert_ok(path_make(path, &e));
    int lock = state_lock(path, &e);
    assert_true(lock >= 0);
    assert_ok(client_list(&list, &e));
    assert_int_equal(list.vms[0].state, LIST_STARTING);
    assert_int_equal(list.vms[0].pid, getpid());
    client_list_free(&list);
    assert_false(client_remove("web", &e));
    assert_int_equal(e.code, ERR_STATE);
    close(lock);
    x_free(path);

    assert_ok(client_remove("web", &e));
    assert_ok(client_list(&list, &e));
    assert_int_equal(list.count, 0);
    client_list_free(&list);
    assert_null(client_vm_dir("web", &e));
    assert_int_equal(e.code, ERR_NOENT);
    x_free(dir);
    config_fini(&cfg);
}

static void a_failed_create_leaves_nothing(void **state)
{
    struct vm_config cfg;
    struct vm_list list;
    struct err e = ERR_INIT;

    (void)state;
    config_init(&cfg);
    cfg.name = x_strdup("bad");
    cfg.disks[0] = (struct conf_disk){.id = x_strdup("disk0"), .path = x_strdup("disks/ok.raw"), .size = 4096};
    cfg.disks[1] = (struct conf_disk){.id = x_strdup("disk1"), .path = x_strdup("/proc/no.raw"), .size = 4096};
    cfg.disk_count = 2;
    assert_false(client_create(&cfg, &e));
    assert_ok(client_list(&list, &e));
    assert_int_equal(list.count, 0);
    client_list_free(&list);
    char *vms = client_vms_dir(&e);
    assert_int_equal(rmdir(vms), 0); /* empty */
    x_free(vms);
    config_fini(&cfg);
}

static void names_are_not_paths(void **state)
{
    static const char *const bad[] = {"", ".", "..", "../x", "a/b", "-x", "A", "a b", "x\n"};
    struct err e = ERR_INIT;

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(client_vm_dir(bad[i], &e));
        assert_null(client_run_dir(bad[i], &e));
        assert_int_equal(e.code, ERR_INVALID);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(calls_skip_events_and_old_answers), T(bad_greetings), T(a_silent_vm_times_out), T(hostile_text_screens),
        T(create_list_remove), T(a_failed_create_leaves_nothing), T(names_are_not_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
