/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dispatch, options, errors. */
#include "tui/cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/screens/tui.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

static const struct cli_cmd commands[] = {
#define CMD(cname, name_, aliases_, synopsis_, summary_, min_, max_, opts_, more_, details_)                         \
    {.name = name_, .aliases = aliases_, .synopsis = synopsis_, .summary = summary_, .min = min_, .max = max_,       \
     .opts = opts_, .more_opts = more_, .details = details_, .run = cmd_##cname},
#include "tui/cli/cmds.def"
#undef CMD
};

static const struct cli_opt help_opt = {"help", 'h', NULL, "Show this help."};

const struct cli_cmd *cli_commands(unsigned *count)
{
    *count = ARRAY_LEN(commands);
    return commands;
}

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = list; p && *p; p += strcspn(p, " "), p += *p == ' ')
        if (strcspn(p, " ") == n && !strncmp(p, word, n))
            return true;
    return false;
}

const struct cli_cmd *cli_find(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
        if (!strcmp(commands[i].name, name) || has_word(commands[i].aliases, name))
            return &commands[i];
    return NULL;
}

/* ---- suggestions ---- */

/* Edit distance with transposed neighbours, of words up to 31 letters. */
static unsigned distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned d[32][32];

    if (n > 31 || m > 31)
        return 99;
    for (unsigned i = 0; i <= n; i++)
        for (unsigned j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, MIN(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    return d[n][m];
}

const char *cli_guess(const char *word, const char *(*next)(unsigned i, const void *opaque), const void *opaque)
{
    unsigned best = (unsigned)strlen(word) / 3 + 2;
    const char *guess = NULL, *candidate;

    for (unsigned i = 0; (candidate = next(i, opaque)); i++) {
        unsigned d = distance(word, candidate);
        if (d < best) {
            best = d;
            guess = candidate;
        }
    }
    return guess;
}

static const char *next_command(unsigned i, const void *opaque)
{
    (void)opaque;
    return i < ARRAY_LEN(commands) ? commands[i].name : NULL;
}

/* ---- options ---- */

/* The command's own, then the shared ones. NULL past the end. */
static const struct cli_opt *opt_at(const struct cli_cmd *c, unsigned i)
{
    for (const struct cli_opt *o = c->opts; o && o->name; o++)
        if (i-- == 0)
            return o;
    for (const struct cli_opt *o = c->more_opts; o && o->name; o++)
        if (i-- == 0)
            return o;
    return i == 0 ? &help_opt : NULL;
}

static const char *next_option(unsigned i, const void *opaque)
{
    const struct cli_opt *o = opt_at(opaque, i);

    return o ? o->name : NULL;
}

static const struct cli_opt *find_opt(const struct cli_cmd *c, const char *name, size_t len, char letter)
{
    const struct cli_opt *o;

    for (unsigned i = 0; (o = opt_at(c, i)); i++)
        if (name ? strlen(o->name) == len && !strncmp(o->name, name, len) : o->letter == letter)
            return o;
    return NULL;
}

static bool add_value(struct cli_args *a, const struct cli_opt *o, const char *value, struct err *e)
{
    if (a->value_count == CLI_VALUES)
        return err_set(e, ERR_USAGE, "too many options");
    a->values[a->value_count].opt = o;
    a->values[a->value_count++].value = value;
    if (!strcmp(o->name, "json"))
        a->json = true;
    return true;
}

static bool unknown_option(const struct cli_cmd *c, const char *word, struct err *e)
{
    char name[40];

    str_copy(name, sizeof(name), word + 2);
    name[strcspn(name, "=")] = '\0';
    const char *guess = word[1] == '-' ? cli_guess(name, next_option, c) : NULL;
    err_set(e, ERR_USAGE, "%s: unknown option \"%s\"", c->name, word);
    return guess ? err_hint(e, "did you mean --%s?", guess) : err_hint(e, "see: vmdeck help %s", c->name);
}

/* "--name", "--name=value", "--name value". *i moves past a value. */
static bool long_option(struct cli_args *a, char **argv, int argc, int *i, struct err *e)
{
    const char *name = argv[*i] + 2, *eq = strchr(name, '=');
    const struct cli_opt *o = find_opt(a->cmd, name, eq ? (size_t)(eq - name) : strlen(name), 0);

    if (!o)
        return unknown_option(a->cmd, argv[*i], e);
    if (!o->arg)
        return eq ? err_set(e, ERR_USAGE, "--%s takes no value", o->name) : add_value(a, o, NULL, e);
    if (eq)
        return add_value(a, o, eq + 1, e);
    if (*i + 1 >= argc)
        return err_set(e, ERR_USAGE, "--%s needs a value: %s", o->name, o->arg);
    return add_value(a, o, argv[++*i], e);
}

/* "-q", "-fq", "-oFILE", "-o FILE". */
static bool short_options(struct cli_args *a, char **argv, int argc, int *i, struct err *e)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct cli_opt *o = find_opt(a->cmd, NULL, 0, *p);

        if (!o)
            return unknown_option(a->cmd, argv[*i], e);
        if (!o->arg) {
            if (!add_value(a, o, NULL, e))
                return false;
            continue;
        }
        if (p[1])
            return add_value(a, o, p + 1, e);
        if (*i + 1 >= argc)
            return err_set(e, ERR_USAGE, "-%c needs a value: %s", *p, o->arg);
        return add_value(a, o, argv[++*i], e);
    }
    return true;
}

static bool parse(struct cli_args *a, int argc, char **argv, struct err *e)
{
    bool options = true;

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        bool ok = true;

        if (options && !strcmp(word, "--"))
            options = false;
        else if (options && word[0] == '-' && word[1] == '-')
            ok = long_option(a, argv, argc, &i, e);
        else if (options && word[0] == '-' && word[1])
            ok = short_options(a, argv, argc, &i, e);
        else
            a->words[a->word_count++] = argv[i];
        if (!ok)
            return false;
    }
    return true;
}

static bool check_words(const struct cli_args *a, struct err *e)
{
    const struct cli_cmd *c = a->cmd;

    if ((int)a->word_count >= c->min && (c->max < 0 || (int)a->word_count <= c->max))
        return true;
    if ((int)a->word_count < c->min)
        err_set(e, ERR_USAGE, "%s: something is missing", c->name);
    else
        err_set(e, ERR_USAGE, "%s: unexpected \"%s\"", c->name, a->words[c->max]);
    return err_hint(e, "use: vmdeck %s %s", c->name, c->synopsis);
}

bool cli_flag(const struct cli_args *a, const char *name)
{
    for (unsigned i = 0; i < a->value_count; i++)
        if (!strcmp(a->values[i].opt->name, name))
            return true;
    return false;
}

const char *cli_value(const struct cli_args *a, const char *name)
{
    for (unsigned i = a->value_count; i-- > 0;)
        if (!strcmp(a->values[i].opt->name, name))
            return a->values[i].value;
    return NULL;
}

bool cli_number(const struct cli_args *a, const char *name, long min, long max, long *out, struct err *e)
{
    const char *text = cli_value(a, name);
    char *end;

    if (!text)
        return true;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || end == text || *end || n < min || n > max)
        return err_set(e, ERR_USAGE, "--%s: \"%s\" is not a whole number from %ld to %ld", name, text, min, max);
    *out = n;
    return true;
}

/* ---- output ---- */

int cli_fail(const struct err *e)
{
    return err_exit_status(e->code);
}

void cli_print_json(json_t *fields)
{
    json_t *v = json_pack("{si}", "schemaVersion", 1);

    json_object_update(v, fields);
    json_decref(fields);
    json_dumpf(v, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
    json_decref(v);
}

/* Names and paths come from anywhere: nothing may drive the terminal. */
static void print_clean(FILE *f, const char *text)
{
    for (const char *p = text; *p; p++)
        fputc((unsigned char)*p < 0x20 && *p != '\n' ? '?' : *p, f);
}

void cli_print_error(const struct err *e, const char *vm, bool json)
{
    if (json) {
        json_t *message = json_string(e->msg);

        cli_print_json(json_pack("{s{sssossss}}", "error", "code", err_code_name(e->code), "message",
                                 message ? message : json_string("?"), "hint", e->hint, "vm", vm ? vm : ""));
    }
    fputs("vmdeck: ", stderr);
    print_clean(stderr, e->msg);
    fputc('\n', stderr);
    if (e->hint[0]) {
        fputs("hint: ", stderr);
        print_clean(stderr, e->hint);
        fputc('\n', stderr);
    }
}

bool cli_confirm(const struct cli_args *a, struct err *e, const char *fmt, ...)
{
    char line[16] = "";
    va_list ap;

    if (cli_flag(a, "yes"))
        return true;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs(" [y/N] ", stderr);
    fflush(stderr);
    if (fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y'))
        return true;
    return err_set(e, ERR_CANCELLED, "cancelled");
}

/* ---- main ---- */

/* "destroy" powers off in one tool and deletes in another. */
static int unknown_command(const char *word, struct err *e)
{
    const char *guess = cli_guess(word, next_command, NULL);

    err_set(e, ERR_USAGE, "unknown command \"%s\"", word);
    if (!strcmp(word, "destroy"))
        err_hint(e, "say kill to power off at once, rm to remove the VM");
    else if (guess)
        err_hint(e, "did you mean %s?", guess);
    else
        err_hint(e, "see: vmdeck help");
    cli_print_error(e, NULL, false);
    return cli_fail(e);
}

static int run(struct cli_args *a, int argc, char **argv)
{
    struct err e = ERR_INIT;
    int status = 0;

    if (parse(a, argc, argv, &e)) {
        if (cli_flag(a, "help")) {
            a->words[0] = (char *)(uintptr_t)a->cmd->name;
            a->word_count = 1;
            return cmd_help(a, &e);
        }
        if (check_words(a, &e))
            status = a->cmd->run(a, &e);
    }
    if (e.code == ERR_NONE)
        return status;
    cli_print_error(&e, a->word_count > 0 ? a->words[0] : NULL, a->json);
    return cli_fail(&e);
}

/* --color and --charset before a command, or alone, are the terminal interface's. */
static bool screen_options(int *argc, char ***argv, struct err *e)
{
    while (*argc > 1 && (!strncmp((*argv)[1], "--color=", 8) || !strncmp((*argv)[1], "--charset=", 10))) {
        const char *word = (*argv)[1] + 2, *eq = strchr(word, '=');
        char *name = x_strndup(word, (size_t)(eq - word));
        bool ok = tui_option(name, eq + 1, e);

        x_free(name);
        if (!ok)
            return false;
        ++*argv;
        --*argc;
    }
    return true;
}

int cli_main(int argc, char **argv)
{
    static struct cli_args a;
    struct err e = ERR_INIT;

    if (!screen_options(&argc, &argv, &e)) {
        cli_print_error(&e, NULL, false);
        return cli_fail(&e);
    }
    if (argc < 2) {
        if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
            return tui_main();
        a.cmd = cli_find("help");
        cmd_help(&a, &e);
        return 2;
    }
    const char *word = argv[1];
    if (!strcmp(word, "--help") || !strcmp(word, "-h"))
        word = "help";
    if (!strcmp(word, "--version") || !strcmp(word, "-V"))
        word = "version";
    a.cmd = cli_find(word);
    if (!a.cmd)
        return unknown_command(word, &e);
    a.words = x_calloc((size_t)argc, sizeof(a.words[0]));
    int status = run(&a, argc - 2, argv + 2);
    x_free(a.words);
    if (fflush(stdout) != 0 && status == 0)
        status = 1;
    return status;
}
