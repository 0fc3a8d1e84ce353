/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scalars: text to typed member and back, with messages that say what would be right. */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/conf/schema.h"

const char *conf_type_name(enum conf_type type)
{
    switch (type) {
    case CONF_NUMBER: return "number";
    case CONF_SIZE: return "size";
    case CONF_BOOL: return "boolean";
    case CONF_CHOICE:
    case CONF_WORD: return "choice";
    case CONF_TEXT: return "text";
    case CONF_PATH: return "path";
    case CONF_PORT: return "port";
    case CONF_CLASSES: return "list of choices";
    case CONF_FORWARD: return "forward";
    case CONF_HOSTPORT: return "address and port";
    case CONF_LIST: return "list";
    }
    return "value";
}

/* ---- sizes ---- */

static const struct {
    const char *name;
    unsigned shift;
} units[] = {{"B", 0},  {"K", 10},   {"KiB", 10}, {"M", 20},  {"MiB", 20},
             {"G", 30}, {"GiB", 30}, {"T", 40},   {"TiB", 40}};

/* "8000" may have meant MiB; say so in both spellings. */
static bool unit_missing(const char *s, uint64_t n, struct err *e)
{
    if (n >= 1024)
        return err_set(e, ERR_INVALID, "%s needs a unit (try %sMiB or %lluGiB)", s, s,
                       (unsigned long long)((n + 512) / 1024));
    return err_set(e, ERR_INVALID, "%s needs a unit (try %sMiB or %sGiB)", s, s, s);
}

bool conf_parse_size(const char *s, uint64_t *out, struct err *e)
{
    uint64_t n = 0;
    size_t digits = strspn(s, "0123456789");
    const char *unit = s + digits;

    if (digits == 0 || digits > 18)
        return err_set(e, ERR_INVALID, "\"%.40s\" is not a size (try 512MiB or 4GiB)", s);
    if (digits > 1 && s[0] == '0')
        return err_set(e, ERR_INVALID, "%.40s begins with 0 (write %.40s)", s, s + strspn(s, "0"));
    for (size_t i = 0; i < digits; i++)
        n = n * 10 + (uint64_t)(s[i] - '0');
    while (*unit == ' ')
        unit++;
    if (!*unit)
        return unit_missing(s, n, e);
    if (*unit == '.')
        return err_set(e, ERR_INVALID, "%.40s is not whole (use a smaller unit, such as MiB)", s);
    for (unsigned i = 0; i < ARRAY_LEN(units); i++) {
        if (strcasecmp(unit, units[i].name))
            continue;
        if (n > UINT64_MAX >> units[i].shift)
            return err_set(e, ERR_INVALID, "%.40s is too large", s);
        *out = n << units[i].shift;
        return true;
    }
    if (strlen(unit) == 2 && strchr("KMGTkmgt", unit[0]) && (unit[1] == 'B' || unit[1] == 'b'))
        return err_set(e, ERR_INVALID, "\"%s\" can mean 1000 or 1024 (write %ciB)", unit,
                       toupper((unsigned char)unit[0]));
    return err_set(e, ERR_INVALID, "unknown unit \"%.20s\" (use KiB, MiB, GiB or TiB)", unit);
}

void conf_format_size(uint64_t bytes, struct buf *out)
{
    static const char names[][4] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned i = 0;

    while (i + 1 < ARRAY_LEN(names) && bytes && bytes % 1024 == 0) {
        bytes /= 1024;
        i++;
    }
    buf_printf(out, "%llu%s", (unsigned long long)bytes, names[i]);
}

/* ---- checks of text ---- */

bool conf_check_name(const char *name, struct err *e)
{
    size_t len = strlen(name);

    if (len == 0)
        return err_set(e, ERR_INVALID, "a name must not be empty");
    if (len > 63)
        return err_set(e, ERR_INVALID, "a name has at most 63 characters, this one %zu", len);
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

        if (word || (i > 0 && (c == '.' || c == '_' || c == '-')))
            continue;
        if (c >= 'A' && c <= 'Z')
            return err_set(e, ERR_INVALID, "\"%s\": names are lower-case", name);
        return err_set(e, ERR_INVALID,
                       "\"%s\" is not a name (a-z, 0-9, and after the first character . _ -)",
                       name);
    }
    return true;
}

bool conf_check_id(const char *text, struct err *e)
{
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-')
            return err_set(e, ERR_INVALID, "\"%.40s\" is not an id (letters, digits, _ and -)",
                           text);
    return true;
}

bool conf_check_uuid(const char *text, struct err *e)
{
    for (unsigned i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return err_set(e, ERR_INVALID,
                           "\"%.40s\" is not a UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)", text);
    }
    return true;
}

bool conf_check_mac(const char *text, struct err *e)
{
    for (unsigned i = 0; i < 17; i++) {
        char c = text[i];

        if (c == '\0' || (i % 3 == 2 ? c != ':' : !isxdigit((unsigned char)c)))
            return err_set(e, ERR_INVALID, "\"%.40s\" is not a MAC address (52:54:00:12:34:56)",
                           text);
    }
    if (strtoul(text, NULL, 16) & 1)
        return err_set(e, ERR_INVALID, "%s is a multicast address (the first byte must be even)",
                       text);
    return true;
}

bool conf_check_ipv4(const char *text, struct err *e)
{
    struct in_addr addr;

    if (inet_pton(AF_INET, text, &addr) != 1)
        return err_set(e, ERR_INVALID, "\"%.60s\" is not an IPv4 address (127.0.0.1)", text);
    return true;
}

/* ---- scalars ---- */

static void store(void *p, size_t size, uint64_t v)
{
    if (p)
        st_le(p, v, (unsigned)size);
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out, struct err *e)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = hex ? text + 2 : text;
    size_t n = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");

    if (text[0] == '-' && text[1] && !text[1 + strspn(text + 1, "0123456789")])
        return err_set(e, ERR_INVALID, "%.40s is below %llu", text, (unsigned long long)min);
    if (n == 0 || digits[n])
        return err_set(e, ERR_INVALID, "\"%.40s\" is not a whole number", text);
    if (!hex && n > 1 && digits[0] == '0')
        return err_set(e, ERR_INVALID, "%.40s begins with 0 (write %s, or 0x.. for hexadecimal)",
                       text, digits + strspn(digits, "0"));
    if (n > 16)
        return err_set(e, ERR_INVALID, "%.40s is above %llu", text, (unsigned long long)max);
    *out = strtoull(digits, NULL, hex ? 16 : 10);
    if (*out < min)
        return err_set(e, ERR_INVALID, "%.40s is below %llu", text, (unsigned long long)min);
    if (*out > max)
        return err_set(e, ERR_INVALID, "%.40s is above %llu", text, (unsigned long long)max);
    return true;
}

static bool parse_size(const struct conf_row *row, const char *text, uint64_t *out, struct err *e)
{
    struct buf limit = BUF_INIT;
    bool ok = true;

    if (!conf_parse_size(text, out, e))
        return false;
    if (*out < row->min || *out > row->max) {
        conf_format_size(*out < row->min ? row->min : row->max, &limit);
        ok = err_set(e, ERR_INVALID, "%.40s is %s %s", text, *out < row->min ? "below" : "above",
                     buf_str(&limit));
        buf_free(&limit);
    } else if ((row->flags & CONF_MIB) && *out % MIB) {
        ok = err_set(e, ERR_INVALID, "%.40s is not a multiple of 1MiB", text);
    }
    return ok;
}

static bool parse_bool(const char *text, bool plain, uint64_t *out, struct err *e)
{
    static const char *const yes[] = {"yes", "on", "y", "true", "1"}, *const no[] = {"no", "off",
                                                                                     "n", "false",
                                                                                     "0"};

    if (!strcmp(text, "true") || !strcmp(text, "false")) {
        *out = text[0] == 't';
        if (!plain)
            return err_set(e, ERR_INVALID, "\"%s\" in quotes is text (write %s)", text, text);
        return true;
    }
    for (unsigned i = 0; i < ARRAY_LEN(yes); i++) {
        if (!strcasecmp(text, yes[i]))
            return err_set(e, ERR_INVALID, "\"%s\" is not a boolean (write true)", text);
        if (!strcasecmp(text, no[i]))
            return err_set(e, ERR_INVALID, "\"%s\" is not a boolean (write false)", text);
    }
    return err_set(e, ERR_INVALID, "\"%.40s\" is not a boolean (true or false)", text);
}

/* Index of the word in "a|b|c", or -1. */
static int choice_index(const char *choices, const char *word, size_t len)
{
    int i = 0;

    for (const char *p = choices; *p; i++) {
        size_t n = strcspn(p, "|");

        if (n == len && !memcmp(p, word, n))
            return i;
        p += n + (p[n] == '|');
    }
    return -1;
}

static bool bad_choice(const struct conf_row *row, const char *word, size_t len, struct err *e)
{
    struct conf_guess guess = {0};
    char list[128];

    str_copy(list, sizeof(list), row->choices);
    for (const char *p = row->choices; *p;) {
        size_t n = strcspn(p, "|");

        conf_guess_try(&guess, word, len, p, n);
        p += n + (p[n] == '|');
    }
    for (char *p = list; (p = strchr(p, '|'));)
        *p = ' ';
    err_set(e, ERR_INVALID, "\"%.*s\" is not one of: %s", (int)MIN(len, (size_t)40), word, list);
    if (guess.word)
        return err_set(e, ERR_INVALID, "\"%.*s\" is not one of: %s (did you mean %.*s?)",
                       (int)MIN(len, (size_t)40), word, list, (int)guess.word_len, guess.word);
    return false;
}

/* "disk, cdrom" to "disk,cdrom", each at most once. */
static bool parse_classes(const struct conf_row *row, const char *text, char **out, struct err *e)
{
    struct buf b = BUF_INIT;
    unsigned seen = 0;

    for (const char *p = text; *p;) {
        size_t skip = strspn(p, ", []"), len = strcspn(p + skip, ", []");

        p += skip;
        if (!len)
            break;
        int i = choice_index(row->choices, p, len);
        bool twice = i >= 0 && (seen & BIT(i));

        if (i < 0 || twice) {
            buf_free(&b);
            return twice ? err_set(e, ERR_INVALID, "\"%.*s\" is named twice", (int)len, p)
                         : bad_choice(row, p, len, e);
        }
        seen |= BIT(i);
        buf_printf(&b, "%s%.*s", b.len ? "," : "", (int)len, p);
        p += len;
    }
    *out = buf_steal(&b);
    return true;
}

static bool parse_text(const struct conf_row *row, const char *text, struct err *e)
{
    size_t len = strlen(text);

    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool layout = (row->flags & CONF_MULTILINE) && (c == '\n' || c == '\t');

        if ((c < 32 && !layout) || c == 127)
            return err_set(e, ERR_INVALID, "contains the control character 0x%02x", c);
    }
    if ((row->flags & CONF_AUTO) && !strcmp(text, "auto"))
        return true;
    if (row->check && !row->check(text, e))
        return false;
    if (len < row->min)
        return len ? err_set(e, ERR_INVALID, "\"%s\" is shorter than %llu characters", text,
                             (unsigned long long)row->min)
                   : err_set(e, ERR_INVALID, "must not be empty");
    if (len > row->max)
        return err_set(e, ERR_INVALID, "%zu bytes are too long (at most %llu)", len,
                       (unsigned long long)row->max);
    return true;
}

static bool parse_port(const char *text, uint16_t *out, struct err *e)
{
    uint64_t v;

    if (!parse_number(text, 1, 65535, &v, e))
        return err_wrap(e, "port");
    *out = (uint16_t)v;
    return true;
}

/* "127.0.0.1:2222" or "2222" */
static bool parse_hostport(char *text, struct conf_forward *f, struct err *e)
{
    char *colon = strrchr(text, ':');
    const char *host = "127.0.0.1";

    if (colon) {
        *colon = '\0';
        host = text;
    }
    if (!conf_check_ipv4(host, e) || !parse_port(colon ? colon + 1 : text, &f->host_port, e))
        return false;
    x_free(f->host);
    f->host = x_strdup(host);
    return true;
}

static bool parse_forward(const char *text, struct conf_forward *out, struct err *e)
{
    char *copy = x_strdup(text), *slash = strchr(copy, '/');
    struct conf_forward f = {0};
    bool ok = true;

    if (slash) {
        *slash = '\0';
        f.udp = !strcmp(slash + 1, "udp");
        if (!f.udp && strcmp(slash + 1, "tcp"))
            ok = err_set(e, ERR_INVALID, "\"%.20s\" is not a protocol (tcp or udp)", slash + 1);
    }
    char *guest = strrchr(copy, ':');
    if (!guest) {
        ok = ok && err_set(e, ERR_INVALID, "\"%.60s\" lacks the guest's port (try %.40s:22)", text, copy);
    } else if (ok) {
        *guest++ = '\0';
        ok = parse_port(guest, &f.guest_port, e) && parse_hostport(copy, &f, e);
    }
    if (ok && out) {
        x_free(out->host);
        *out = f;
        f.host = NULL;
    }
    x_free(f.host);
    x_free(copy);
    return ok;
}

static void store_text(void *member, char *text)
{
    if (member) {
        x_free(*(char **)member);
        *(char **)member = text;
    } else {
        x_free(text);
    }
}

bool conf_value_parse(const struct conf_row *row, const char *text, bool plain, void *base,
                      struct err *e)
{
    void *member = base ? (char *)base + row->offset : NULL;
    uint64_t v = 0;
    char *words = NULL;
    bool numeric = row->type == CONF_NUMBER || row->type == CONF_SIZE;

    if (numeric && !plain)
        return err_set(e, ERR_INVALID, "\"%.40s\" in quotes is text (write it without quotes)",
                       text);
    switch (row->type) {
    case CONF_NUMBER:
        if (!parse_number(text, row->min, row->max, &v, e))
            return false;
        break;
    case CONF_PORT:
        if (strcmp(text, "auto") && !parse_number(text, row->min, row->max, &v, e))
            return false;
        break;
    case CONF_SIZE:
        if (!parse_size(row, text, &v, e))
            return false;
        break;
    case CONF_BOOL:
        if (!parse_bool(text, plain, &v, e))
            return false;
        break;
    case CONF_CHOICE:
    case CONF_WORD: {
        int i = choice_index(row->choices, text, strlen(text));

        if (i < 0)
            return bad_choice(row, text, strlen(text), e);
        v = (uint64_t)i;
        break;
    }
    case CONF_CLASSES:
        if (!parse_classes(row, text, &words, e))
            return false;
        store_text(member, words);
        return true;
    case CONF_FORWARD: return parse_forward(text, base, e);
    case CONF_HOSTPORT: {
        char *copy = x_strdup(text);
        struct conf_forward scratch = {0};
        bool ok = parse_hostport(copy, base ? base : &scratch, e);

        x_free(scratch.host);
        x_free(copy);
        return ok;
    }
    case CONF_TEXT:
    case CONF_PATH:
        if (!parse_text(row, text, e))
            return false;
        store_text(member,
                   (row->flags & CONF_AUTO) && !strcmp(text, "auto") ? NULL : x_strdup(text));
        return true;
    case CONF_LIST: return err_set(e, ERR_INVALID, "expected a list");
    }
    if (row->type == CONF_WORD)
        store_text(member, x_strdup(text));
    else
        store(member, row->size, v);
    return true;
}

static bool format_choice(const char *choices, uint64_t index, struct buf *out)
{
    const char *p = choices;

    while (index-- && strchr(p, '|'))
        p = strchr(p, '|') + 1;
    buf_add(out, p, strcspn(p, "|"));
    return true;
}

bool conf_value_format(const struct conf_row *row, const void *base, struct buf *out)
{
    const void *member = (const char *)base + row->offset;
    const struct conf_forward *f = base;
    uint64_t v = 0;

    switch (row->type) {
    case CONF_WORD:
    case CONF_TEXT:
    case CONF_PATH:
    case CONF_CLASSES: {
        const char *s = *(char *const *)member;

        if (!s && (row->flags & CONF_AUTO))
            s = "auto";
        buf_puts(out, s ? s : "");
        return s;
    }
    case CONF_FORWARD:
        buf_printf(out, "%s:%u:%u%s", f->host ? f->host : "127.0.0.1", f->host_port, f->guest_port,
                   f->udp ? "/udp" : "");
        return true;
    case CONF_HOSTPORT:
        buf_printf(out, "%s:%u", f->host ? f->host : "127.0.0.1", f->host_port);
        return true;
    case CONF_LIST: return false;
    default: break;
    }
    v = ld_le(member, (unsigned)row->size);
    switch (row->type) {
    case CONF_SIZE:
        if (v)
            conf_format_size(v, out);
        return v;
    case CONF_BOOL: buf_puts(out, v ? "true" : "false"); return true;
    case CONF_CHOICE: return format_choice(row->choices, v, out);
    default: break;
    }
    if (row->type == CONF_PORT && !v)
        buf_puts(out, "auto");
    else
        buf_printf(out, "%llu", (unsigned long long)v);
    return true;
}

void conf_value_free(const struct conf_row *row, void *base)
{
    void *member = (char *)base + row->offset;
    struct conf_forward *f = base;

    switch (row->type) {
    case CONF_WORD:
    case CONF_TEXT:
    case CONF_PATH:
    case CONF_CLASSES:
        x_free(*(char **)member);
        *(char **)member = NULL;
        break;
    case CONF_FORWARD:
    case CONF_HOSTPORT:
        x_free(f->host);
        f->host = NULL;
        break;
    case CONF_LIST: break;
    default: store(member, row->size, 0);
    }
}

/* ---- guesses ---- */

/* Edit distance with swaps of neighbours, for words of at most 31 characters. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned d[32][32];

    if (na > 31 || nb > 31)
        return 99;
    for (size_t i = 0; i <= na; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= nb; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        for (size_t j = 1; j <= nb; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            unsigned best = MIN(d[i - 1][j] + 1, d[i][j - 1] + 1);

            best = MIN(best, d[i - 1][j - 1] + !same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    }
    return d[na][nb];
}

void conf_guess_try(struct conf_guess *g, const char *typed, size_t typed_len, const char *word,
                    size_t word_len)
{
    unsigned dist = distance(typed, typed_len, word, word_len);
    unsigned limit = typed_len <= 3 ? 1 : typed_len <= 6 ? 2 : 3;

    if (dist > limit || dist >= word_len || (g->word && g->distance <= dist))
        return;
    *g = (struct conf_guess){word, word_len, dist};
}
