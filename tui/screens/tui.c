/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/screens/tui.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tui/screens/deck.h"
#include "tui/screens/screens.h"
#include "tui/ui/app.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"

static enum ui_color color = UI_COLOR_AUTO;
static enum ui_charset charset = UI_CHARSET_AUTO;

static bool pick(const char *name, const char *value, const char *const words[3], int *out,
                 struct err *e)
{
    for (int i = 0; i < 3; i++) {
        if (!strcmp(value, words[i])) {
            *out = i;
            return true;
        }
    }
    return err_set(e, ERR_USAGE, "--%s: \"%s\" is not one of %s, %s, %s", name, value, words[0],
                   words[1], words[2]);
}

bool tui_option(const char *name, const char *value, struct err *e)
{
    static const char *const colors[3] = {"auto", "always", "never"}, *const charsets[3] = {
                                                                          "auto", "utf8", "ascii"};
    int i = 0;

    if (!strcmp(name, "color")) {
        if (!pick(name, value, colors, &i, e))
            return false;
        color = (enum ui_color)i;
        return true;
    }
    if (strcmp(name, "charset"))
        return err_set(e, ERR_USAGE, "unknown option --%s", name);
    if (!pick(name, value, charsets, &i, e))
        return false;
    charset = (enum ui_charset)i;
    return true;
}

/* Standard error would write over the screen: it goes to a file while the screen is ours. */
static int log_file(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *dir = state && state[0] == '/'
                    ? x_asprintf("%s/vmdeck", state)
                    : x_asprintf("%s/.local/state/vmdeck", home ? home : "/tmp");
    char *path = x_asprintf("%s/tui.log", dir);

    for (char *p = dir + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(dir, 0700);
        *p = '/';
    }
    mkdir(dir, 0700);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    x_free(path);
    x_free(dir);
    return fd;
}

/* Takes the terminal and standard error; *saved is what give_back wants. */
static bool take(int *saved, struct err *e)
{
    int log;

    if (!app_start(color, charset, e))
        return false;
    *saved = -1;
    log = log_file();
    if (log >= 0) {
        *saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        dup2(log, STDERR_FILENO);
        close(log);
    }
    log_init("tui", STDERR_FILENO, LOG_INFO);
    return true;
}

static void give_back(int saved)
{
    app_stop();
    if (saved >= 0) {
        dup2(saved, STDERR_FILENO);
        close(saved);
    }
}

/* Jobs may still be inside client calls: their memory ends with the process. */
static _Noreturn void leave(void)
{
    fflush(stdout);
    _exit(0);
}

int tui_main(void)
{
    struct err e = ERR_INIT;
    int saved;

    if (!take(&saved, &e)) {
        fprintf(stderr, "vmdeck: %s\n", e.msg);
        if (e.hint[0])
            fprintf(stderr, "vmdeck: %s\n", e.hint);
        return err_exit_status(e.code);
    }
    deck_probe();
    screen_list_open();
    app_run();

    unsigned running = deck_running();
    give_back(saved);
    if (running)
        printf("%u VM%s running. See %s with 'vmdeck ls'.\n", running,
               running == 1 ? " keeps" : "s keep", running == 1 ? "it" : "them");
    leave();
}

bool tui_console(const char *name, struct err *e)
{
    bool ended = false;
    int saved;

    if (!take(&saved, e))
        return false;
    screen_console_only(name, &ended);
    app_run();
    give_back(saved);
    fprintf(stderr, "%s\n", ended ? "The VM has ended." : "Left the console; the VM goes on.");
    leave();
}
