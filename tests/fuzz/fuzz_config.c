/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm.yaml from anyone: parsing, messages, writing, editing. What is accepted reads back the same.
 * The first line may choose an edit: "PATH=VALUE". */
#include <stdlib.h>
#include <string.h>

#include "vmm/base/alloc.h"
#include "vmm/conf/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct vm_config *c)
{
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct conf_diags diags = {0};
    struct vm_config again;
    struct err e;

    config_emit(c, &once);
    if (!config_parse(buf_str(&once), once.len, "name", &again, &diags, &e))
        abort();
    config_emit(&again, &twice);
    if (strcmp(buf_str(&once), buf_str(&twice)))
        abort();
    config_fini(&again);
    buf_free(&once);
    buf_free(&twice);
}

static void edit(const char *text, size_t len, const char *path, const char *value)
{
    struct buf out = BUF_INIT;
    struct conf_diags diags = {0};
    struct vm_config c;
    struct err e;

    if (config_edit(text, len, path, value, &out, &diags, &e)) {
        struct conf_diags none = {0};

        if (!config_parse(buf_str(&out), out.len, "name", &c, &none, &e))
            abort();
        config_fini(&c);
    } else if (out.len) {
        abort();
    }
    buf_free(&out);
    conf_diags_free(&diags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = x_strndup((const char *)data, size), *body = text, *newline = strchr(text, '\n');
    size_t len = strlen(text);
    struct conf_diags diags = {0};
    struct buf report = BUF_INIT;
    struct vm_config c;
    struct err e;

    if (newline && text[0] != '#' && memchr(text, '=', (size_t)(newline - text))) {
        char *value = strchr(text, '=');

        *newline = *value = '\0';
        body = newline + 1;
        len -= (size_t)(body - text);
        edit(body, len, text, value + 1);
    }
    if (config_parse(body, len, "name", &c, &diags, &e))
        round_trip(&c);
    else
        conf_diags_format(&diags, "vm.yaml", body, &report);
    config_fini(&c);
    conf_diags_free(&diags);
    buf_free(&report);
    x_free(text);
    return 0;
}
