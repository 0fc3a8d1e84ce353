/* SPDX-License-Identifier: GPL-2.0-or-later */
/* screenshot, send-key, type, view */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "display/text.h"
#include "tui/cli/cli.h"
#include "tui/client/client.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"

#define CALL_TIMEOUT_MS 10000
#define TYPE_MAX        (1024 * 1024)

const struct cli_opt opts_screenshot[] = {
    {"text", 0, NULL, "Print a text mode as text."},
    {"output", 'o', "FILE", "Where to write; - is standard output. Default: NAME.png, or standard output for text."},
    {0},
};
const struct cli_opt opts_type[] = {
    {"layout", 0, "LAYOUT", "Keyboard layout of the guest; default: that of vm.yaml."},
    {0},
};
const struct cli_opt opts_view[] = {
    {"json", 0, NULL, "Print JSON."},
    {"print", 0, NULL, "Only say how to connect (the default)."},
    {"viewer", 0, "COMMAND", "Start this viewer with HOST::PORT as its argument."},
    {0},
};

/* ---- screenshot ---- */

static void row_text(const struct text_screen *t, unsigned row, struct buf *out)
{
    size_t end = out->len;
    char utf8[4];

    for (unsigned x = 0; x < t->cols; x++) {
        uint16_t cp = text_cp437((uint8_t)(t->cells[row][x] & 0xff));

        buf_add(out, utf8, text_utf8(cp, utf8));
        if (cp != ' ')
            end = out->len;
    }
    out->len = end; /* no trailing spaces */
    buf_puts(out, "\n");
}

static bool write_out(const char *path, const struct buf *text, struct err *e)
{
    if (!path || !strcmp(path, "-"))
        return fwrite(buf_str(text), 1, text->len, stdout) == text->len || err_errno(e, errno, "cannot write");
    return fd_write_file_atomic(path, buf_str(text), text->len, 0644, e);
}

static bool screen_text(const char *name, const char *path, struct err *e)
{
    struct client *c = client_connect(name, e);
    struct text_screen *t = X_NEW(struct text_screen);
    struct buf text = BUF_INIT;
    bool ok = c && client_text_screen(c, UINT64_MAX, t, e);

    if (ok && t->mode != 1) {
        ok = err_set(e, ERR_STATE, "the screen of \"%s\" is %s", name, t->mode ? "in a graphics mode" : "blank");
        if (t->mode)
            err_hint(e, "leave --text out for a picture");
    }
    for (unsigned y = 0; ok && y < t->rows; y++)
        row_text(t, y, &text);
    ok = ok && write_out(path, &text, e);
    buf_free(&text);
    x_free(t);
    client_close(c);
    return ok;
}

/* The vm process writes to whatever descriptor it is given. */
static bool screen_to_stdout(const char *name, struct err *e)
{
    struct client *c = client_connect(name, e);
    json_t *v = c ? client_call_fd(c, "screendump", NULL, STDOUT_FILENO, CALL_TIMEOUT_MS, e) : NULL;

    json_decref(v);
    client_close(c);
    return v != NULL;
}

int cmd_screenshot(const struct cli_args *a, struct err *e)
{
    const char *name = a->words[0], *path = cli_value(a, "output");
    char *own = NULL;

    if (cli_flag(a, "text")) {
        screen_text(name, path, e);
        return 0;
    }
    if (path && !strcmp(path, "-")) {
        screen_to_stdout(name, e);
        return 0;
    }
    if (!path)
        path = own = x_asprintf("%s.png", name);
    if (client_screenshot(name, path, e) && own)
        printf("%s\n", own);
    x_free(own);
    return 0;
}

/* ---- keyboard ---- */

int cmd_send_key(const struct cli_args *a, struct err *e)
{
    struct client *c = client_connect(a->words[0], e);

    for (unsigned i = 1; c && i < a->word_count; i++)
        if (!client_send_key(c, a->words[i], e))
            break;
    client_close(c);
    return 0;
}

static char *read_stdin(struct err *e)
{
    struct buf text = BUF_INIT;
    char data[4096];
    size_t n;

    while ((n = fread(data, 1, sizeof(data), stdin)) > 0 && text.len <= TYPE_MAX)
        buf_add(&text, data, n);
    if (text.len > TYPE_MAX) {
        err_set(e, ERR_LIMIT, "more than 1 MiB to type");
        buf_free(&text);
        return NULL;
    }
    return text.data ? buf_steal(&text) : x_strdup("");
}

static char *layout_of(const char *name)
{
    struct err ignored = ERR_INIT;
    char *dir = client_vm_dir(name, &ignored), *layout = NULL;
    struct vm_config cfg;

    config_init(&cfg);
    if (dir && cli_load_config(dir, name, &cfg, &ignored) && cfg.keyboard_layout)
        layout = x_strdup(cfg.keyboard_layout);
    config_fini(&cfg);
    x_free(dir);
    return layout ? layout : x_strdup("us");
}

int cmd_type(const struct cli_args *a, struct err *e)
{
    const char *name = a->words[0], *layout = cli_value(a, "layout");
    struct buf words = BUF_INIT;
    char *text, *own_layout = layout ? NULL : layout_of(name);

    for (unsigned i = 1; i < a->word_count; i++)
        buf_printf(&words, "%s%s", i > 1 ? " " : "", a->words[i]);
    bool from_stdin = a->word_count == 1 || (a->word_count == 2 && !strcmp(a->words[1], "-"));
    text = from_stdin ? read_stdin(e) : x_strdup(buf_str(&words));
    struct client *c = text ? client_connect(name, e) : NULL;
    if (c)
        client_type(c, text, layout ? layout : own_layout, e);
    client_close(c);
    buf_free(&words);
    x_free(own_layout);
    x_free(text);
    return 0;
}

/* ---- view ---- */

static int start_viewer(const char *viewer, const char *host, const char *port, struct err *e)
{
    char *address = x_asprintf("%s::%s", host, port);

    execlp(viewer, viewer, address, (char *)NULL);
    err_errno(e, errno, "cannot start viewer \"%s\"", viewer);
    x_free(address);
    return 1;
}

static void print_view(const json_t *v, const char *name)
{
    const char *host = json_string_value(json_object_get(v, "host"));
    const char *port = json_string_value(json_object_get(v, "service"));
    const char *socket = json_string_value(json_object_get(v, "x-socket"));
    const char *password = json_string_value(json_object_get(v, "x-password-file"));
    char hostname[256] = "this-host";

    gethostname(hostname, sizeof(hostname) - 1);
    if (host)
        printf("address:   %s:%s\n", host, port);
    if (socket)
        printf("socket:    %s\n", socket);
    printf("password:  in %s\n", password ? password : "?");
    printf("viewers:   %d\n", (int)json_integer_value(json_object_get(v, "x-viewers")));
    if (!host) {
        printf("connect:   vncviewer %s\n", socket ? socket : "?");
        return;
    }
    printf("connect:   vncviewer -passwd <(vncpasswd -f < %s) %s::%s\n", password ? password : "?", host, port);
    printf("from afar: ssh -L %s:localhost:%s %s, then a viewer on localhost:%s\n", port, port, hostname, port);
    printf("in text:   vmdeck console %s\n", name);
}

int cmd_view(const struct cli_args *a, struct err *e)
{
    const char *viewer = cli_value(a, "viewer");
    json_t *v = client_call_once(a->words[0], "query-vnc", NULL, e);
    int status = 0;

    if (!v)
        return 1;
    if (!json_is_true(json_object_get(v, "enabled"))) {
        err_set(e, ERR_STATE, "VNC of \"%s\" is off", a->words[0]);
        err_hint(e, "set display.vnc.enabled: true in its vm.yaml and start it again");
    } else if (viewer && !cli_flag(a, "print")) {
        const char *host = json_string_value(json_object_get(v, "host"));

        if (host)
            status = start_viewer(viewer, host, json_string_value(json_object_get(v, "service")), e);
        else
            err_set(e, ERR_STATE, "VNC of \"%s\" listens on no TCP port", a->words[0]);
    } else if (a->json) {
        cli_print_json(json_pack("{sO}", "vnc", v));
    } else {
        print_view(v, a->words[0]);
    }
    json_decref(v);
    return status;
}
