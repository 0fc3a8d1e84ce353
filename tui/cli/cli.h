/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: sub-commands and options are tables (cmds.def, the option lists of cmd_*.c), from which parsing,
 * help and suggestions come. */
#ifndef VMDECK_TUI_CLI_CLI_H
#define VMDECK_TUI_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/buf.h"
#include "vmm/base/err.h"
#include "vmm/conf/config.h"

/* One option; lists end with a name of NULL. */
struct cli_opt {
    const char *name; /* "memory" */
    char letter;      /* 'm', or 0 */
    const char *arg;  /* "SIZE"; NULL: a flag */
    const char *help;
};

struct cli_args;

struct cli_cmd {
    const char *name, *aliases; /* aliases: "list ps" or NULL */
    const char *synopsis;       /* "NAME..." */
    const char *summary;
    int min, max; /* words besides options; max -1: any number */
    const struct cli_opt *opts, *more_opts; /* or NULL */
    const char *details; /* paragraphs for `help VERB`, or NULL */
    /* The exit status. With an err set (code other than ERR_NONE) it is printed, and gives the status. */
    int (*run)(const struct cli_args *a, struct err *e);
};

#define CLI_VALUES 128

struct cli_args {
    const struct cli_cmd *cmd;
    struct {
        const struct cli_opt *opt;
        const char *value; /* NULL of a flag */
    } values[CLI_VALUES];
    unsigned value_count;
    char **words;
    unsigned word_count;
    bool json;
};

int cli_main(int argc, char **argv);

bool cli_flag(const struct cli_args *a, const char *name);
/* The last one wins; NULL when absent. */
const char *cli_value(const struct cli_args *a, const char *name);
/* A whole number in a range. False with e; *out stays when the option is absent. */
bool cli_number(const struct cli_args *a, const char *name, long min, long max, long *out, struct err *e);

/* `return cli_fail(e)`: any status, the error decides. */
int cli_fail(const struct err *e);
/* Prints {"schemaVersion": 1, ...fields}, which is consumed. */
void cli_print_json(json_t *fields);
/* Text for the terminal: control characters of names and messages replaced. */
void cli_print_error(const struct err *e, const char *vm, bool json);
/* Asks on the terminal unless -y is given. False with e: no, or nobody to ask. */
bool cli_confirm(const struct cli_args *a, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The configuration in a VM's folder. c is initialised, and as config_init leaves it on failure. */
bool cli_load_config(const char *dir, const char *name, struct vm_config *c, struct err *e);

/* The words of cmds.def. */
const struct cli_cmd *cli_commands(unsigned *count);
const struct cli_cmd *cli_find(const char *name);
/* "list, ps" */
void cli_alias_list(const struct cli_cmd *c, struct buf *out);
/* The nearest of several words, NULL when none is near; next(i) gives them until NULL. */
const char *cli_guess(const char *word, const char *(*next)(unsigned i, const void *opaque), const void *opaque);

/* vmopts.c: the options of run and create, and what they make of a configuration. c->name must be set. */
extern const struct cli_opt vm_opts[];
bool vm_opts_apply(const struct cli_args *a, struct vm_config *c, struct err *e);

/* What the exit statuses mean; ends with a meaning of NULL. */
struct cli_exit {
    int status;
    const char *meaning;
};
extern const struct cli_exit cli_exits[];
extern const char cli_exit_run[]; /* those of run */
/* vmdeck(1). */
void cli_man_page(struct buf *out);

/* cmd_*.c */
extern const struct cli_opt opts_ls[], opts_info[], opts_stats[], opts_create[], opts_json[], opts_start[], opts_stop[],
    opts_yes[], opts_run[], opts_console[], opts_logs[], opts_screenshot[], opts_type[], opts_view[];
#define CMD(name, ...) int cmd_##name(const struct cli_args *a, struct err *e);
#include "tui/cli/cmds.def"
#undef CMD

#endif
