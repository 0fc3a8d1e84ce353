/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The main screen: all VMs with their live state, and details of the selected one. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "tui/screens/deck.h"
#include "tui/screens/screens.h"
#include "tui/ui/app.h"
#include "tui/ui/dialog.h"
#include "tui/ui/input.h"
#include "tui/ui/list.h"
#include "tui/ui/text.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"

static struct {
    struct view *view;
    struct ui_list list;
    char selected[64]; /* by name, so that it survives a changing list */
    struct ui_input filter;
    bool typing;
    unsigned *shown; /* indexes into the list that pass the filter */
    int shown_count;
    /* details of one VM, from its vm.yaml */
    char detail_name[64], detail[2][240];
    unsigned detail_age;
    bool detail_asking;
} s;

/* ---- rows ---- */

static const struct {
    const char *glyph;
    enum role role;
} looks[] = {
    [LIST_OFF] = {"○", ROLE_DIM},      [LIST_STARTING] = {"◌", ROLE_WARN},
    [LIST_RUNNING] = {"●", ROLE_GOOD}, [LIST_PAUSED] = {"‖", ROLE_WARN},
    [LIST_CRASHED] = {"✗", ROLE_BAD},  [LIST_INVALID] = {"✗", ROLE_BAD},
};

static bool passes(const struct vm_entry *vm)
{
    const char *f = buf_str(&s.filter.text);

    if (!strncmp(f, "state:", 6))
        return !strncmp(vm_list_state_name(vm->state), f + 6, strlen(f + 6));
    return !*f || strcasestr(vm->name, f);
}

static void select_shown(void)
{
    const struct vm_list *l = deck_list();

    s.shown = x_realloc(s.shown, (l->count + 1) * sizeof(*s.shown));
    s.shown_count = 0;
    for (unsigned i = 0; i < l->count; i++) {
        if (!passes(&l->vms[i]))
            continue;
        if (!strcmp(l->vms[i].name, s.selected))
            s.list.selected = s.shown_count;
        s.shown[s.shown_count++] = i;
    }
}

static const struct vm_entry *row_vm(int row)
{
    return row >= 0 && row < s.shown_count ? &deck_list()->vms[s.shown[row]] : NULL;
}

static const struct vm_entry *current(void)
{
    return deck_find(s.selected);
}

static void remember_selection(void)
{
    const struct vm_entry *vm = row_vm(s.list.selected);

    str_copy(s.selected, sizeof(s.selected), vm ? vm->name : "");
}

/* ---- columns ---- */

static void pair_of(uint64_t used, uint64_t total, bool live, char out[32])
{
    char a[16] = "-", b[16] = "-";

    if (live)
        deck_human(used, a);
    if (total)
        deck_human(total, b);
    snprintf(out, 32, "%s/%s", a, b);
}

/* ":1" for display 1, the port when it is none, "socket" */
static void vnc_of(const struct vm_entry *vm, char out[24])
{
    const char *colon = vm->vnc ? strrchr(vm->vnc, ':') : NULL;
    unsigned port = 0;

    if (!vm->vnc)
        str_copy(out, 24, "-");
    else if (vm->vnc[0] == '/' || !colon || sscanf(colon + 1, "%u", &port) != 1)
        str_copy(out, 24, "socket");
    else if (port >= 5900 && port < 6000)
        snprintf(out, 24, ":%u", port - 5900);
    else
        snprintf(out, 24, "%u", port);
    if (vm->viewers && strlen(out) < 12)
        snprintf(out + strlen(out), 24 - strlen(out), " %uv", vm->viewers);
}

struct column {
    const char *head;
    int width; /* with one space after it; 0: the rest */
};

static const struct column wide[] = {{"NAME", 0}, {"STATE", 10}, {"CPU%", 6},
                                     {"MEM", 12}, {"DISK", 12},  {"VNC", 9}};
static const struct column narrow[] = {{"NAME", 0}, {"STATE", 10}, {"CPU%", 5}};

static int layout(const struct column **cols, int *name_width)
{
    bool small = ui_cols() < 60;
    int n = small ? (int)ARRAY_LEN(narrow) : (int)ARRAY_LEN(wide), used = 4;

    *cols = small ? narrow : wide;
    for (int i = 0; i < n; i++)
        used += (*cols)[i].width;
    *name_width = MAX(ui_cols() - used, 8);
    return n;
}

static void draw_row(const struct vm_entry *vm, int y, bool selected)
{
    const struct column *cols;
    int name_width, n = layout(&cols, &name_width), x = 4;
    enum role base = selected ? ROLE_SELECTED : ROLE_TEXT;
    enum role state_role = selected ? ROLE_SELECTED : looks[vm->state].role;
    bool live = vm->pid != 0;
    const char *busy = deck_busy(vm->name);
    char text[6][32];

    ui_fill((struct rect){y, 0, 1, ui_cols()}, base);
    ui_text(y, 0, 1, base, selected ? "▸" : " ");
    ui_text(y, 2, 1, state_role, looks[vm->state].glyph);
    ui_pad(y, x, name_width - 1, base, vm->name);
    x += name_width;
    str_copy(text[1], sizeof(text[1]), busy ? busy : vm_list_state_name(vm->state));
    snprintf(text[2], sizeof(text[2]), live ? "%4.0f" : "   -", vm->cpu_percent);
    pair_of(vm->memory_used, vm->memory, live, text[3]);
    pair_of(vm->disk_used, vm->disk_size, vm->disk_size > 0, text[4]);
    vnc_of(vm, text[5]);
    for (int i = 1; i < n; i++) {
        ui_text(y, x, cols[i].width - 1, i == 1 ? state_role : base, text[i]);
        x += cols[i].width;
    }
    if (selected)
        ui_cursor(y, 0, false);
}

static void draw_heads(int y)
{
    const struct column *cols;
    int name_width, n = layout(&cols, &name_width), x = 4;

    for (int i = 0; i < n; i++) {
        ui_text(y, x, ui_cols() - x, ROLE_HEAD, cols[i].head);
        x += i == 0 ? name_width : cols[i].width;
    }
}

/* ---- header and details ---- */

static void draw_header(void)
{
    const struct vm_list *l = deck_list();
    uint64_t memory = 0,
             total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    char host[40] = "", used[16], all[16], right[64] = "";
    int w = ui_cols();

    gethostname(host, sizeof(host) - 1);
    for (unsigned i = 0; i < l->count; i++)
        memory += l->vms[i].memory_used;
    deck_human(memory, used);
    deck_human(total, all);
    ui_fill((struct rect){0, 0, 1, w}, ROLE_TITLE);
    if (w < 60) {
        ui_textf(0, 1, w - 2, ROLE_TITLE, "vmdeck  VMs %u (%u run)", l->count, deck_running());
    } else {
        ui_textf(0, 1, w - 2, ROLE_TITLE, "vmdeck  %.20s  %s  VMs %u (%u run)  RAM %s/%s", host,
                 deck_accel(), l->count, deck_running(), used, all);
    }
    if (buf_str(&s.filter.text)[0])
        snprintf(right, sizeof(right), "filter: %.40s ", buf_str(&s.filter.text));
    if (right[0])
        ui_text(0, MAX(w - text_width(right, ui_ascii()), 0), w, ROLE_TITLE, right);
}

static void uptime(int64_t sec, char out[32])
{
    if (sec >= 86400)
        snprintf(out, 32, "up %lldd%02lldh", (long long)(sec / 86400),
                 (long long)(sec / 3600 % 24));
    else if (sec >= 3600)
        snprintf(out, 32, "up %lldh%02lldm", (long long)(sec / 3600), (long long)(sec / 60 % 60));
    else
        snprintf(out, 32, "up %lldm%02llds", (long long)(sec / 60), (long long)(sec % 60));
}

static void problem_line(void *opaque, int n, const char *text, size_t len)
{
    const struct rect *r = opaque;

    if (n < r->h)
        ui_textn(r->y + n, r->x, r->w, ROLE_BAD, text, len);
}

static void draw_detail(const struct vm_entry *vm, int y, int lines)
{
    int w = ui_cols();
    char up[32] = "", memory[16], accel[32] = "";
    bool known = !strcmp(s.detail_name, vm->name);

    if (vm->pid)
        uptime(vm->uptime_s, up);
    if (vm->accel)
        snprintf(accel, sizeof(accel), " %.20s", vm->accel);
    deck_human(vm->memory, memory);
    int x = 1 + ui_text(y, 1, w - 2, ROLE_HEAD, vm->name);
    ui_textf(y, x + 2, w - x - 3, ROLE_TEXT, "%u vCPU%s%s · %s · %s %s", vm->cpus,
             vm->cpus == 1 ? "" : "s", accel, memory, vm_list_state_name(vm->state), up);
    if (lines > 1 && vm->problem) {
        struct rect r = {y + 1, 1, lines - 1, w - 2};

        text_wrap(vm->problem, w - 2, ui_ascii(), problem_line, &r);
        return;
    }
    if (lines > 1 && known)
        ui_text(y + 1, 1, w - 2, ROLE_TEXT, s.detail[0]);
    if (lines > 2 && vm->vnc)
        ui_textf(y + 2, 1, w - 2, ROLE_TEXT, "%s · vnc %s", known ? s.detail[1] : "", vm->vnc);
    else if (lines > 2 && known)
        ui_text(y + 2, 1, w - 2, ROLE_TEXT, s.detail[1]);
}

static void verdict_line(void *opaque, int n, const char *text, size_t len)
{
    const struct rect *r = opaque;

    if (n < r->h)
        ui_textn(r->y + n, r->x, r->w, ROLE_DIM, text, len);
}

static void draw_empty(int y, int h)
{
    int top = y + MAX((h - 6) / 2, 0), x = ui_cols() >= 60 ? ui_cols() / 2 - 20 : 2,
        w = ui_cols() - x - 1;

    if (deck_error()) {
        ui_text(top, 2, ui_cols() - 4, ROLE_BAD, deck_error());
        return;
    }
    if (!deck_ready()) {
        ui_text(top, x, w, ROLE_DIM, "Looking for VMs…");
        return;
    }
    if (buf_str(&s.filter.text)[0]) {
        ui_text(top, x, w, ROLE_TEXT, "No VM passes the filter. Esc clears it.");
        return;
    }
    ui_text(top, x, w, ROLE_HEAD, "No VMs yet.");
    ui_text(top + 2, x + 2 + ui_text(top + 2, x, w, ROLE_KEY, "n"), w - 3, ROLE_TEXT, "new VM");
    ui_text(top + 3, x + 2 + ui_text(top + 3, x, w, ROLE_KEY, "?"), w - 3, ROLE_TEXT, "help");
    if (h > 6) {
        struct rect r = {top + 5, 2, 2, ui_cols() - 4};

        text_wrap(deck_verdict(), r.w, ui_ascii(), verdict_line, &r);
    }
}

static void draw(struct view *v)
{
    int rows = ui_rows(), detail = rows >= 16 ? 3 : rows >= 12 ? 1 : 0;
    int body = 2, page = rows - body - 1 - (detail ? detail + 2 : 0);
    const struct vm_entry *vm;

    (void)v;
    select_shown();
    ui_list_layout(&s.list, s.shown_count, page);
    remember_selection();
    draw_header();
    draw_heads(1);
    vm = row_vm(s.list.selected);
    if (!s.shown_count)
        draw_empty(body, page);
    for (int i = 0; i < s.list.page && s.list.top + i < s.shown_count; i++)
        draw_row(row_vm(s.list.top + i), body + i, s.list.top + i == s.list.selected);
    if (detail) {
        ui_hline(rows - 3 - detail, 0, ui_cols(), ROLE_BORDER);
        if (vm)
            draw_detail(vm, rows - 2 - detail, detail);
        ui_hline(rows - 2, 0, ui_cols(), ROLE_BORDER);
    }
    if (s.typing) {
        int x = ui_text(rows - 1, 0, 20, ROLE_KEY, "Filter: ");

        ui_input_draw(&s.filter, rows - 1, x, ui_cols() - x, ROLE_TEXT, true);
    } else {
        action_footer(&list_actions, rows - 1, vm ? (int)vm->state : -1);
    }
}

/* ---- details from vm.yaml, read by a job ---- */

struct detail_job {
    char name[64], lines[2][240];
};

static void detail_disks(const struct vm_config *c, char *out, size_t size)
{
    struct buf b = BUF_INIT;

    if (c->description && c->description[0])
        buf_printf(&b, "%.*s · ", (int)MIN(strcspn(c->description, "\n"), (size_t)40),
                   c->description);
    for (unsigned i = 0; i < c->disk_count; i++) {
        const char *slash = strrchr(c->disks[i].path, '/');

        buf_printf(&b, "%s%s %.40s%s", i ? ", " : "", c->disks[i].id,
                   slash ? slash + 1 : c->disks[i].path,
                   c->disks[i].readonly ? " (read-only)" : "");
    }
    for (unsigned i = 0; i < c->cdrom_count; i++) {
        const char *path = c->cdroms[i].path ? c->cdroms[i].path : "empty",
                   *slash = strrchr(path, '/');

        buf_printf(&b, "%s%s %.40s", i || c->disk_count ? ", " : "", c->cdroms[i].id,
                   slash ? slash + 1 : path);
    }
    if (c->kernel)
        buf_printf(&b, "%skernel %.60s", b.len ? ", " : "",
                   strrchr(c->kernel, '/') ? strrchr(c->kernel, '/') + 1 : c->kernel);
    str_copy(out, size, b.len ? buf_str(&b) : "no disks");
    buf_free(&b);
}

static void detail_network(const struct vm_config *c, char *out, size_t size)
{
    struct buf b = BUF_INIT;

    for (unsigned i = 0; i < c->network_count; i++) {
        const struct conf_network *n = &c->networks[i];

        buf_printf(&b, "%s%s %s", i ? ", " : "", n->id, n->mode == NET_USER ? "user" : "unplugged");
        for (unsigned j = 0; j < n->forward_count && j < 4; j++)
            buf_printf(&b, "%s%u→%u%s", j ? "," : " fwd ", n->forwards[j].host_port,
                       n->forwards[j].guest_port, n->forwards[j].udp ? "/udp" : "");
    }
    str_copy(out, size, b.len ? buf_str(&b) : "no network");
    buf_free(&b);
}

static void detail_work(void *arg)
{
    struct detail_job *d = arg;
    struct vm_config c;
    struct err e;
    char *dir = client_vm_dir(d->name, &e);

    if (!dir)
        return;
    if (config_load(dir, d->name, &c, &e)) {
        detail_disks(&c, d->lines[0], sizeof(d->lines[0]));
        detail_network(&c, d->lines[1], sizeof(d->lines[1]));
    }
    config_fini(&c);
    x_free(dir);
}

static void detail_done(void *arg)
{
    struct detail_job *d = arg;

    s.detail_asking = false;
    str_copy(s.detail_name, sizeof(s.detail_name), d->name);
    memcpy(s.detail, d->lines, sizeof(s.detail));
    x_free(d);
}

static void ask_detail(void)
{
    bool same = !strcmp(s.detail_name, s.selected);

    if (s.detail_asking || !s.selected[0] || (same && ++s.detail_age < 5))
        return;
    struct detail_job *d = X_NEW(struct detail_job);

    str_copy(d->name, sizeof(d->name), s.selected);
    s.detail_asking = true;
    s.detail_age = 0;
    job_run(detail_work, detail_done, d);
}

/* ---- actions ---- */

static int state_of(const char *name)
{
    const struct vm_entry *vm = deck_find(name);

    return vm ? (int)vm->state : -1;
}

static void run_open(void *owner)
{
    const struct vm_entry *vm = current();

    (void)owner;
    if (!vm)
        return;
    if (vm->pid || deck_busy(vm->name))
        screen_console_open(vm->name);
    else
        action_menu(&list_actions, state_of, vm->name, NULL);
}

static void run_start(void *owner)
{
    const struct vm_entry *vm = current();

    (void)owner;
    if (vm)
        deck_do(vm->name, vm->state == LIST_PAUSED ? OP_RESUME : OP_START);
}

static void run_shutdown(void *owner)
{
    (void)owner;
    deck_do(s.selected, OP_STOP);
}

static void run_pause(void *owner)
{
    const struct vm_entry *vm = current();

    (void)owner;
    if (vm)
        deck_do(vm->name, vm->state == LIST_PAUSED ? OP_RESUME : OP_PAUSE);
}

static void run_console(void *owner)
{
    (void)owner;
    screen_console_open(s.selected);
}

static void run_create(void *owner)
{
    (void)owner;
    screen_create_open();
}

static void run_edit(void *owner)
{
    (void)owner;
    screen_edit_open(s.selected);
}

static void run_edit_yaml(void *owner)
{
    (void)owner;
    screen_edit_yaml(s.selected);
}

static void run_log(void *owner)
{
    (void)owner;
    screen_log_open(s.selected);
}

static void run_viewer(void *owner)
{
    (void)owner;
    screen_viewer_open(s.selected);
}

static void run_screenshot(void *owner)
{
    (void)owner;
    deck_do(s.selected, OP_SCREENSHOT);
}

struct question {
    char name[64];
    enum deck_op op;
};

static void answered(void *owner, bool yes)
{
    struct question *q = owner;

    if (yes)
        deck_do(q->name, q->op);
    x_free(q);
}

static void ask(enum deck_op op, enum dialog_level level, const char *title, const char *text,
                const char *yes)
{
    struct question *q = X_NEW(struct question);

    str_copy(q->name, sizeof(q->name), s.selected);
    q->op = op;
    dialog_open(&(struct dialog){.level = level,
                                 .title = title,
                                 .text = text,
                                 .yes = yes,
                                 .word = q->name,
                                 .done = answered,
                                 .owner = q});
}

static void run_reset(void *owner)
{
    char title[96], text[200];

    (void)owner;
    snprintf(title, sizeof(title), "Reset %s?", s.selected);
    snprintf(
        text, sizeof(text),
        "%s restarts at once, as by its reset button. What its programs have not saved is lost.",
        s.selected);
    ask(OP_RESET, DIALOG_DANGER, title, text, "Reset");
}

static void run_kill(void *owner)
{
    char title[96], text[240];

    (void)owner;
    snprintf(title, sizeof(title), "Power off %s?", s.selected);
    snprintf(text, sizeof(text),
             "%s loses power at once. What its programs have not saved is lost. To shut it down "
             "properly, use o.",
             s.selected);
    ask(OP_KILL, DIALOG_DANGER, title, text, "Power off");
}

static void run_remove(void *owner)
{
    const struct vm_entry *vm = current();
    char title[96], text[700], used[16];

    (void)owner;
    if (!vm)
        return;
    deck_human(vm->disk_used, used);
    snprintf(title, sizeof(title), "Delete %s?", vm->name);
    snprintf(
        text, sizeof(text),
        "Deletes the folder %.300s with everything in it: vm.yaml, logs and the disk images that "
        "are there "
        "(%s used). Images elsewhere stay. There is no undo.\n\nType the VM's name to confirm:",
        vm->dir ? vm->dir : "of the VM", used);
    ask(OP_REMOVE, DIALOG_TYPE, title, text, "Delete");
}

static void run_filter(void *owner)
{
    (void)owner;
    s.typing = true;
}

static void run_host(void *owner)
{
    (void)owner;
    screen_host_open();
}

static void run_refresh(void *owner)
{
    (void)owner;
    deck_refresh();
}

static void run_menu(void *owner)
{
    (void)owner;
    action_menu(&list_actions, state_of, s.selected, NULL);
}

static void run_help(void *owner)
{
    static const struct action_table *const tables[] = {&list_actions, &console_actions};

    (void)owner;
    action_help(tables, ARRAY_LEN(tables));
}

static void run_quit(void *owner)
{
    (void)owner;
    app_quit();
}

static const struct action actions[] = {
#define ACTION(n, k, k2, l, h, st, w, f)                                                           \
    {.name = #n,                                                                                   \
     .key = k,                                                                                     \
     .alt_key = k2,                                                                                \
     .label = l,                                                                                   \
     .help = h,                                                                                    \
     .states = st,                                                                                 \
     .why = w,                                                                                     \
     .flags = f,                                                                                   \
     .run = run_##n},
#include "tui/screens/actions.def"
#undef ACTION
};
const struct action_table list_actions = {"VM list", actions, ARRAY_LEN(actions)};

/* ---- the view ---- */

static bool filter_key(int key)
{
    if (key == UI_KEY_ESC) {
        ui_input_set(&s.filter, "");
        s.typing = false;
    } else if (key == UI_KEY_ENTER) {
        s.typing = false;
    } else if (key == UI_KEY_UP || key == UI_KEY_DOWN) {
        ui_list_key(&s.list, key);
        remember_selection();
    } else {
        ui_input_key(&s.filter, key);
        s.list.selected = 0;
        s.selected[0] = '\0';
    }
    return true;
}

static bool key(struct view *v, int k)
{
    (void)v;
    if (s.typing)
        return filter_key(k);
    if (k == UI_KEY_ESC && s.filter.text.len) {
        ui_input_set(&s.filter, "");
        return true;
    }
    if (ui_list_key(&s.list, k)) {
        remember_selection();
        ask_detail();
        return true;
    }
    return action_key(&list_actions, k, state_of(s.selected), s.selected, NULL);
}

static void tick(struct view *v)
{
    (void)v;
    deck_tick();
    ask_detail();
}

static void shown(struct view *v)
{
    (void)v;
    s.detail_age = 99;
    deck_refresh();
}

static void closed(struct view *v)
{
    (void)v;
    ui_input_free(&s.filter);
    x_free(s.shown);
    s.shown = NULL;
}

static const struct view_ops list_view = {
    .name = "list",
    .draw = draw,
    .key = key,
    .tick = tick,
    .shown = shown,
    .close = closed,
};

void screen_list_open(void)
{
    s.view = view_push(&list_view, NULL);
    deck_refresh();
}

void screen_list_select(const char *name)
{
    str_copy(s.selected, sizeof(s.selected), name);
    ui_input_set(&s.filter, "");
    deck_refresh();
}
