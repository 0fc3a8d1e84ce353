/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm.yaml on disk, and the round through $EDITOR. */
#include "tui/screens/yaml_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/client/client.h"
#include "tui/screens/deck.h"
#include "tui/screens/screens.h"
#include "tui/ui/app.h"
#include "tui/ui/dialog.h"
#include "vmm/base/alloc.h"
#include "vmm/base/fd.h"

#define MAX_BYTES (1024 * 1024)

static char *read_yaml(const char *dir, size_t *len, struct err *e)
{
    char *path = x_asprintf("%s/vm.yaml", dir);
    char *text = fd_read_file(AT_FDCWD, path, MAX_BYTES, len, e);

    x_free(path);
    return text;
}

bool yaml_file_open(struct yaml_file *f, const char *name, struct err *e)
{
    memset(f, 0, sizeof(*f));
    str_copy(f->name, sizeof(f->name), name);
    f->dir = client_vm_dir(name, e);
    if (f->dir)
        f->text = read_yaml(f->dir, &f->len, e);
    return f->text != NULL;
}

void yaml_file_copy(struct yaml_file *to, const struct yaml_file *from)
{
    *to = *from;
    to->dir = x_strdup(from->dir);
    to->text = x_strndup(from->text, from->len);
}

void yaml_file_close(struct yaml_file *f)
{
    x_free(f->dir);
    x_free(f->text);
    f->dir = f->text = NULL;
}

bool yaml_file_save(const struct yaml_file *f, const char *text, size_t len, struct err *e)
{
    size_t now_len;
    char *now = read_yaml(f->dir, &now_len, e);
    char *path = x_asprintf("%s/vm.yaml", f->dir), *backup = x_asprintf("%s/vm.yaml.bak", f->dir);
    bool ok = now != NULL;

    if (ok && (now_len != f->len || memcmp(now, f->text, now_len))) {
        ok = err_set(e, ERR_BUSY, "cannot save %s: the file was changed by someone else meanwhile",
                     path);
        err_hint(e, "leave this form and edit again");
    }
    if (ok && (len != f->len || memcmp(text, f->text, len)))
        ok = fd_write_file_atomic(backup, f->text, f->len, 0600, e) &&
             fd_write_file_atomic(path, text, len, 0600, e);
    x_free(now);
    x_free(path);
    x_free(backup);
    return ok;
}

/* ---- $EDITOR ---- */

struct editing {
    struct yaml_file file;
    char *draft; /* path */
    unsigned line;
};

static void editing_end(struct editing *ed)
{
    unlink(ed->draft);
    x_free(ed->draft);
    yaml_file_close(&ed->file);
    x_free(ed);
}

static void edit_again(void *owner, bool yes);

/* Looks at what the editor left: saves it, or shows what is wrong. */
static void review(struct editing *ed)
{
    struct err e = ERR_INIT;
    struct conf_diags diags = {0};
    struct vm_config c;
    size_t len;
    char *text = fd_read_file(AT_FDCWD, ed->draft, MAX_BYTES, &len, &e);

    if (!text) {
        app_toast_err(&e);
        editing_end(ed);
        return;
    }
    if (len == ed->file.len && !memcmp(text, ed->file.text, len)) {
        app_toast(ROLE_STATUS, "%s: not changed", ed->file.name);
        editing_end(ed);
    } else if (config_parse(text, len, ed->file.name, &c, &diags, &e)) {
        if (yaml_file_save(&ed->file, text, len, &e))
            app_toast(ROLE_STATUS, "%s saved", ed->file.name);
        else
            app_toast_err(&e);
        config_fini(&c);
        editing_end(ed);
        deck_refresh();
    } else {
        struct buf report = BUF_INIT;

        config_fini(&c);
        ed->line = diags.list[0].line;
        conf_diags_format(&diags, "vm.yaml", text, &report);
        buf_puts(&report, "\nNothing is saved yet.");
        dialog_open(&(struct dialog){.level = DIALOG_ASK,
                                     .title = "Mistakes in vm.yaml",
                                     .text = buf_str(&report),
                                     .yes = "y Edit again",
                                     .done = edit_again,
                                     .owner = ed});
        buf_free(&report);
    }
    conf_diags_free(&diags);
    x_free(text);
}

static void run_editor(struct editing *ed)
{
    const char *editor = getenv("VISUAL");
    char line[16];

    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    snprintf(line, sizeof(line), "+%u", ed->line ? ed->line : 1);
    /* the variable may hold arguments, so the shell splits it; the file name is passed as it is */
    char *script = x_asprintf("exec %s \"$@\"", editor);
    const char *argv[] = {"/bin/sh", "-c", script, "sh", line, ed->draft, NULL};
    int status = app_run_program(argv);

    x_free(script);
    if (status != 0) {
        app_toast(ROLE_BAD, "the editor \"%s\" ended with status %d: nothing was saved", editor,
                  status);
        editing_end(ed);
        return;
    }
    review(ed);
}

static void edit_again(void *owner, bool yes)
{
    struct editing *ed = owner;

    if (yes) {
        run_editor(ed);
    } else {
        app_toast(ROLE_STATUS, "%s: changes discarded", ed->file.name);
        editing_end(ed);
    }
}

void screen_edit_yaml(const char *name)
{
    struct editing *ed = X_NEW(struct editing);
    struct err e = ERR_INIT;

    if (!yaml_file_open(&ed->file, name, &e)) {
        app_toast_err(&e);
        yaml_file_close(&ed->file);
        x_free(ed);
        return;
    }
    ed->draft = x_asprintf("%s/.vm.edit.yaml", ed->file.dir);
    if (!fd_write_file_atomic(ed->draft, ed->file.text, ed->file.len, 0600, &e)) {
        app_toast_err(&e);
        editing_end(ed);
        return;
    }
    run_editor(ed);
}
