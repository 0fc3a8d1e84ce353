/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tui/ui/list.h"

#include "tui/ui/ui.h"
#include "vmm/base/bits.h"

void ui_list_layout(struct ui_list *l, int count, int page)
{
    l->count = count;
    l->page = MAX(page, 1);
    l->selected = MAX(MIN(l->selected, count - 1), 0);
    if (l->selected < l->top)
        l->top = l->selected;
    if (l->selected >= l->top + l->page)
        l->top = l->selected - l->page + 1;
    l->top = MAX(MIN(l->top, count - l->page), 0);
}

bool ui_list_key(struct ui_list *l, int key)
{
    switch (key) {
    case 'k':
    case UI_KEY_UP: l->selected--; break;
    case 'j':
    case UI_KEY_DOWN: l->selected++; break;
    case UI_CTRL('u'):
    case UI_KEY_PGUP: l->selected -= l->page; break;
    case UI_CTRL('d'):
    case UI_KEY_PGDN: l->selected += l->page; break;
    case 'g':
    case UI_KEY_HOME: l->selected = 0; break;
    case 'G':
    case UI_KEY_END: l->selected = l->count - 1; break;
    default: return false;
    }
    ui_list_layout(l, l->count, l->page);
    return true;
}
