/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/ui/text.h"

#include <string.h>
#include <wchar.h>

#include "vmm/base/bits.h"

uint32_t text_decode(const char **p, const char *end)
{
    const unsigned char *s = (const unsigned char *)*p;
    unsigned n;
    uint32_t c;

    if (s[0] < 0x80) {
        *p += 1;
        return s[0];
    }
    if (s[0] >= 0xc2 && s[0] < 0xe0) {
        n = 1;
        c = s[0] & 0x1f;
    } else if (s[0] >= 0xe0 && s[0] < 0xf0) {
        n = 2;
        c = s[0] & 0x0f;
    } else if (s[0] >= 0xf0 && s[0] < 0xf5) {
        n = 3;
        c = s[0] & 0x07;
    } else {
        *p += 1;
        return TEXT_BAD;
    }
    for (unsigned i = 1; i <= n; i++) {
        if ((const char *)s + i >= end || (s[i] & 0xc0) != 0x80) {
            *p += i;
            return TEXT_BAD;
        }
        c = c << 6 | (s[i] & 0x3f);
    }
    *p += n + 1;
    /* overlong forms, surrogates, beyond Unicode */
    if ((n == 2 && c < 0x800) || (n == 3 && c < 0x10000) || (c >= 0xd800 && c < 0xe000) ||
        c > 0x10ffff)
        return TEXT_BAD;
    return c;
}

void text_encode(uint32_t c, struct buf *out)
{
    char s[4];
    unsigned n = 0;

    if (c < 0x80) {
        s[n++] = (char)c;
    } else if (c < 0x800) {
        s[n++] = (char)(0xc0 | c >> 6);
        s[n++] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        s[n++] = (char)(0xe0 | c >> 12);
        s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        s[n++] = (char)(0x80 | (c & 0x3f));
    } else {
        s[n++] = (char)(0xf0 | c >> 18);
        s[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        s[n++] = (char)(0x80 | (c & 0x3f));
    }
    buf_add(out, s, n);
}

bool text_unsafe(uint32_t c)
{
    static const struct {
        uint32_t from, to;
    } ranges[] = {
        {0x0000, 0x001f}, {0x007f, 0x009f}, /* C0, DEL, C1 */
        {0x00ad, 0x00ad},                   /* soft hyphen */
        {0x061c, 0x061c}, {0x200b, 0x200f}, /* invisible and direction marks */
        {0x2028, 0x202e}, {0x2060, 0x206f}, /* separators, direction overrides and isolates */
        {0xd800, 0xf8ff},                   /* surrogates, private use */
        {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, /* variation selectors, byte order mark */
        {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0x10ffff}, /* tags, private planes */
    };

    for (unsigned i = 0; i < ARRAY_LEN(ranges); i++)
        if (c >= ranges[i].from && c <= ranges[i].to)
            return true;
    return c > 0x10ffff;
}

uint32_t text_next(const char **p, const char *end, bool ascii)
{
    uint32_t c = text_decode(p, end);

    if (text_unsafe(c))
        c = TEXT_BAD;
    return ascii ? (uint32_t)text_fold(c) : c;
}

static const struct fold {
    uint16_t from, to;
    char ascii;
} folds[] = {
    {0x0020, 0x0020, ' '},  {0x00a1, 0x00a1, '!'}, {0x00a2, 0x00a2, 'c'}, {0x00a3, 0x00a3, 'L'},
    {0x00a5, 0x00a5, 'Y'},  {0x00a7, 0x00a7, 'S'}, {0x00aa, 0x00aa, 'a'}, {0x00ab, 0x00ab, '<'},
    {0x00ac, 0x00ac, '-'},  {0x00b0, 0x00b0, 'o'}, {0x00b1, 0x00b1, '+'}, {0x00b2, 0x00b2, '2'},
    {0x00b5, 0x00b5, 'u'},  {0x00b6, 0x00b6, 'P'}, {0x00b7, 0x00b7, '-'}, {0x00ba, 0x00ba, 'o'},
    {0x00bb, 0x00bb, '>'},  {0x00bc, 0x00bd, '1'}, {0x00bf, 0x00bf, '?'}, {0x00c4, 0x00c5, 'A'},
    {0x00c7, 0x00c7, 'C'},  {0x00c9, 0x00c9, 'E'}, {0x00d1, 0x00d1, 'N'}, {0x00d6, 0x00d6, 'O'},
    {0x00d7, 0x00d7, 'x'},  {0x00dc, 0x00dc, 'U'}, {0x00df, 0x00df, 's'}, {0x00e0, 0x00e2, 'a'},
    {0x00e4, 0x00e5, 'a'},  {0x00e7, 0x00e7, 'c'}, {0x00e8, 0x00eb, 'e'}, {0x00ec, 0x00ef, 'i'},
    {0x00f1, 0x00f1, 'n'},  {0x00f2, 0x00f4, 'o'}, {0x00f6, 0x00f6, 'o'}, {0x00f7, 0x00f7, '/'},
    {0x00f9, 0x00fc, 'u'},  {0x00ff, 0x00ff, 'y'}, {0x2013, 0x2014, '-'}, {0x2016, 0x2016, '='},
    {0x2018, 0x2019, '\''}, {0x201c, 0x201d, '"'}, {0x2022, 0x2022, '*'}, {0x2026, 0x2026, '.'},
    {0x203c, 0x203c, '!'},  {0x207f, 0x207f, 'n'}, {0x20ac, 0x20ac, 'E'}, {0x2190, 0x2190, '<'},
    {0x2191, 0x2191, '^'},  {0x2192, 0x2192, '>'}, {0x2193, 0x2193, 'v'}, {0x2194, 0x2195, '|'},
    {0x2219, 0x2219, '.'},  {0x221a, 0x221a, 'v'}, {0x2248, 0x2248, '~'}, {0x2261, 0x2261, '='},
    {0x2302, 0x2302, '^'},  {0x2310, 0x2310, '-'}, {0x2500, 0x2501, '-'}, {0x2502, 0x2503, '|'},
    {0x2504, 0x2505, '-'},  {0x2506, 0x2507, '|'}, {0x2508, 0x2509, '+'}, {0x250a, 0x250b, '|'},
    {0x250c, 0x254b, '+'},  {0x254c, 0x254d, '-'}, {0x254e, 0x254f, '|'}, {0x2550, 0x2550, '-'},
    {0x2551, 0x2551, '|'},  {0x2552, 0x257f, '+'}, {0x2580, 0x2580, '#'}, {0x2581, 0x2583, '_'},
    {0x2584, 0x2590, '#'},  {0x2591, 0x2591, '.'}, {0x2592, 0x2592, ':'}, {0x2593, 0x25a0, '#'},
    {0x25ac, 0x25ac, '#'},  {0x25b2, 0x25b2, '^'}, {0x25b6, 0x25b6, '>'}, {0x25b8, 0x25b8, '>'},
    {0x25ba, 0x25ba, '>'},  {0x25bc, 0x25bc, 'v'}, {0x25be, 0x25be, 'v'}, {0x25c2, 0x25c2, '<'},
    {0x25c4, 0x25c4, '<'},  {0x25cb, 0x25cb, '.'}, {0x25cc, 0x25cc, '~'}, {0x25cf, 0x25cf, '*'},
    {0x263a, 0x263b, '@'},  {0x2660, 0x2660, '*'}, {0x2663, 0x2663, '*'}, {0x2665, 0x2666, '*'},
    {0x266a, 0x266b, '~'},  {0x2713, 0x2713, '+'}, {0x2717, 0x2717, '!'},
};

char text_fold(uint32_t c)
{
    size_t low = 0, high = ARRAY_LEN(folds);

    if (c < 0x80)
        return c < 0x20 || c == 0x7f ? '?' : (char)c;
    while (low < high) {
        size_t mid = (low + high) / 2;

        if (c > folds[mid].to)
            low = mid + 1;
        else if (c < folds[mid].from)
            high = mid;
        else
            return folds[mid].ascii;
    }
    return '?';
}

int text_columns(uint32_t c)
{
    int w = c < 0x80 ? 1 : wcwidth((wchar_t)c);

    return w < 0 ? 1 : w;
}

int text_width(const char *s, bool ascii)
{
    const char *end = s + strlen(s);
    int w = 0;

    while (s < end)
        w += text_columns(text_next(&s, end, ascii));
    return w;
}

size_t text_fit(const char *s, int columns, bool ascii)
{
    const char *start = s, *end = s + strlen(s);

    while (s < end) {
        const char *before = s;

        columns -= text_columns(text_next(&s, end, ascii));
        if (columns < 0)
            return (size_t)(before - start);
    }
    return (size_t)(end - start);
}

int text_wrap(const char *s, int columns, bool ascii,
              void (*line)(void *opaque, int n, const char *s, size_t len), void *opaque)
{
    int n = 0;

    if (columns < 1)
        return 0;
    while (*s) {
        size_t whole = strcspn(s, "\n"), len = text_fit(s, columns, ascii);
        size_t skip;

        if (len >= whole) {
            len = whole;
            skip = s[len] == '\n';
        } else {
            size_t space = len;

            while (space > 0 && s[space] != ' ')
                space--;
            len = space ? space : len ? len : 1;
            skip = space ? 1 : 0;
        }
        if (line)
            line(opaque, n, s, len);
        n++;
        s += len + skip;
    }
    return n;
}
