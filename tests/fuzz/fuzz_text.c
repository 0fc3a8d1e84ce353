/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is drawn, from anyone: nothing unsafe passes, widths and cuts agree. The bytes are also keys
 * for the line editor. */
#include <stdlib.h>
#include <string.h>

#include "tui/ui/input.h"
#include "tui/ui/text.h"
#include "vmm/base/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_bytes(void *opaque, int n, const char *s, size_t len)
{
    (void)n;
    (void)s;
    *(size_t *)opaque += len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = x_strndup((const char *)data, size);
    size_t len = strlen(text), wrapped = 0;
    struct ui_input in = {0};

    for (int ascii = 0; ascii <= 1; ascii++) {
        const char *p = text, *end = text + len;
        int width = 0;

        while (p < end) {
            const char *before = p;
            uint32_t c = text_next(&p, end, ascii);

            if (p <= before || p > end || (text_unsafe(c) && c != TEXT_BAD) ||
                (ascii && (c < ' ' || c > '~')))
                abort();
            width += text_columns(c);
        }
        if (width != text_width(text, ascii) || text_fit(text, width, ascii) != len)
            abort();
        if (width > 0 && text_fit(text, width / 2, ascii) > len)
            abort();
        text_wrap(text, 1 + (int)(len % 80), ascii, count_bytes, &wrapped);
    }
    if (wrapped > 2 * len)
        abort();
    for (size_t i = 0; i < size; i++) {
        int key = data[i] < 16 ? UI_KEY_UP + data[i] % (UI_KEY_PASTE - UI_KEY_UP) : data[i] * 7;

        ui_input_key(&in, key);
        if (in.cursor > in.text.len || (in.cursor && in.cursor < in.text.len &&
                                        ((unsigned char)in.text.data[in.cursor] & 0xc0) == 0x80))
            abort();
    }
    ui_input_free(&in);
    x_free(text);
    return 0;
}
