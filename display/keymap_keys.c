/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys by name, by XT scan code and by keysym. */
#include <linux/input-event-codes.h>
#include <string.h>

#include "display/keymap_priv.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"

/* clang-format off */
/* The first row of a code has its QMP name; xt: scan code set 1 with bit 7 for E0, 0 for none. */
static const struct key {
    const char *name;
    uint8_t code, xt;
} keys[] = {
    {"esc", KEY_ESC, 0x01}, {"1", KEY_1, 0x02}, {"2", KEY_2, 0x03}, {"3", KEY_3, 0x04}, {"4", KEY_4, 0x05},
    {"5", KEY_5, 0x06}, {"6", KEY_6, 0x07}, {"7", KEY_7, 0x08}, {"8", KEY_8, 0x09}, {"9", KEY_9, 0x0a},
    {"0", KEY_0, 0x0b}, {"minus", KEY_MINUS, 0x0c}, {"equal", KEY_EQUAL, 0x0d},
    {"backspace", KEY_BACKSPACE, 0x0e}, {"tab", KEY_TAB, 0x0f}, {"q", KEY_Q, 0x10}, {"w", KEY_W, 0x11},
    {"e", KEY_E, 0x12}, {"r", KEY_R, 0x13}, {"t", KEY_T, 0x14}, {"y", KEY_Y, 0x15}, {"u", KEY_U, 0x16},
    {"i", KEY_I, 0x17}, {"o", KEY_O, 0x18}, {"p", KEY_P, 0x19}, {"bracket_left", KEY_LEFTBRACE, 0x1a},
    {"bracket_right", KEY_RIGHTBRACE, 0x1b}, {"ret", KEY_ENTER, 0x1c}, {"ctrl", KEY_LEFTCTRL, 0x1d},
    {"a", KEY_A, 0x1e}, {"s", KEY_S, 0x1f}, {"d", KEY_D, 0x20}, {"f", KEY_F, 0x21}, {"g", KEY_G, 0x22},
    {"h", KEY_H, 0x23}, {"j", KEY_J, 0x24}, {"k", KEY_K, 0x25}, {"l", KEY_L, 0x26},
    {"semicolon", KEY_SEMICOLON, 0x27}, {"apostrophe", KEY_APOSTROPHE, 0x28},
    {"grave_accent", KEY_GRAVE, 0x29}, {"shift", KEY_LEFTSHIFT, 0x2a}, {"backslash", KEY_BACKSLASH, 0x2b},
    {"z", KEY_Z, 0x2c}, {"x", KEY_X, 0x2d}, {"c", KEY_C, 0x2e}, {"v", KEY_V, 0x2f}, {"b", KEY_B, 0x30},
    {"n", KEY_N, 0x31}, {"m", KEY_M, 0x32}, {"comma", KEY_COMMA, 0x33}, {"dot", KEY_DOT, 0x34},
    {"slash", KEY_SLASH, 0x35}, {"shift_r", KEY_RIGHTSHIFT, 0x36}, {"kp_multiply", KEY_KPASTERISK, 0x37},
    {"alt", KEY_LEFTALT, 0x38}, {"spc", KEY_SPACE, 0x39}, {"caps_lock", KEY_CAPSLOCK, 0x3a},
    {"f1", KEY_F1, 0x3b}, {"f2", KEY_F2, 0x3c}, {"f3", KEY_F3, 0x3d}, {"f4", KEY_F4, 0x3e},
    {"f5", KEY_F5, 0x3f}, {"f6", KEY_F6, 0x40}, {"f7", KEY_F7, 0x41}, {"f8", KEY_F8, 0x42},
    {"f9", KEY_F9, 0x43}, {"f10", KEY_F10, 0x44}, {"num_lock", KEY_NUMLOCK, 0x45},
    {"scroll_lock", KEY_SCROLLLOCK, 0x46}, {"kp_7", KEY_KP7, 0x47}, {"kp_8", KEY_KP8, 0x48},
    {"kp_9", KEY_KP9, 0x49}, {"kp_subtract", KEY_KPMINUS, 0x4a}, {"kp_4", KEY_KP4, 0x4b},
    {"kp_5", KEY_KP5, 0x4c}, {"kp_6", KEY_KP6, 0x4d}, {"kp_add", KEY_KPPLUS, 0x4e},
    {"kp_1", KEY_KP1, 0x4f}, {"kp_2", KEY_KP2, 0x50}, {"kp_3", KEY_KP3, 0x51}, {"kp_0", KEY_KP0, 0x52},
    {"kp_decimal", KEY_KPDOT, 0x53}, {"less", KEY_102ND, 0x56}, {"f11", KEY_F11, 0x57},
    {"f12", KEY_F12, 0x58}, {"kp_equals", KEY_KPEQUAL, 0x59}, {"katakanahiragana", KEY_KATAKANAHIRAGANA, 0x70},
    {"ro", KEY_RO, 0x73}, {"henkan", KEY_HENKAN, 0x79}, {"muhenkan", KEY_MUHENKAN, 0x7b},
    {"yen", KEY_YEN, 0x7d}, {"kp_comma", KEY_KPCOMMA, 0x7e},
    {"kp_enter", KEY_KPENTER, 0x9c}, {"ctrl_r", KEY_RIGHTCTRL, 0x9d}, {"audiomute", KEY_MUTE, 0xa0},
    {"volumedown", KEY_VOLUMEDOWN, 0xae}, {"volumeup", KEY_VOLUMEUP, 0xb0}, {"kp_divide", KEY_KPSLASH, 0xb5},
    {"print", KEY_SYSRQ, 0xb7}, {"alt_r", KEY_RIGHTALT, 0xb8}, {"pause", KEY_PAUSE, 0xc6},
    {"home", KEY_HOME, 0xc7}, {"up", KEY_UP, 0xc8}, {"pgup", KEY_PAGEUP, 0xc9}, {"left", KEY_LEFT, 0xcb},
    {"right", KEY_RIGHT, 0xcd}, {"end", KEY_END, 0xcf}, {"down", KEY_DOWN, 0xd0},
    {"pgdn", KEY_PAGEDOWN, 0xd1}, {"insert", KEY_INSERT, 0xd2}, {"delete", KEY_DELETE, 0xd3},
    {"meta_l", KEY_LEFTMETA, 0xdb}, {"meta_r", KEY_RIGHTMETA, 0xdc}, {"compose", KEY_COMPOSE, 0xdd},
    {"power", KEY_POWER, 0xde}, {"sleep", KEY_SLEEP, 0xdf}, {"wake", KEY_WAKEUP, 0xe3},
    /* other names and codes of the same keys */
    {"sysrq", KEY_SYSRQ, 0x54}, {"enter", KEY_ENTER, 0}, {"return", KEY_ENTER, 0}, {"escape", KEY_ESC, 0},
    {"space", KEY_SPACE, 0}, {"del", KEY_DELETE, 0}, {"ins", KEY_INSERT, 0}, {"pageup", KEY_PAGEUP, 0},
    {"pagedown", KEY_PAGEDOWN, 0}, {"control", KEY_LEFTCTRL, 0}, {"altgr", KEY_RIGHTALT, 0},
    {"win", KEY_LEFTMETA, 0}, {"super", KEY_LEFTMETA, 0}, {"menu", KEY_COMPOSE, 0},
    {"asterisk", KEY_KPASTERISK, 0},
};

/* X11 keysymdef.h. The keypad without Num Lock is given as the grey keys, and its digits as characters
 * (keymap.c), so that the guest's Num Lock does not matter. */
static const struct {
    uint16_t keysym;
    uint8_t code;
} function_keysyms[] = {
    {0xff08, KEY_BACKSPACE}, {0xff09, KEY_TAB}, {0xfe20, KEY_TAB /* ISO_Left_Tab: Shift is held */},
    {0xff0d, KEY_ENTER}, {0xff13, KEY_PAUSE}, {0xff14, KEY_SCROLLLOCK}, {0xff15, KEY_SYSRQ},
    {0xff1b, KEY_ESC}, {0xff6b, KEY_PAUSE /* Break */}, {0xff61, KEY_SYSRQ /* Print */},
    {0xffff, KEY_DELETE}, {0xff50, KEY_HOME}, {0xff51, KEY_LEFT}, {0xff52, KEY_UP}, {0xff53, KEY_RIGHT},
    {0xff54, KEY_DOWN}, {0xff55, KEY_PAGEUP}, {0xff56, KEY_PAGEDOWN}, {0xff57, KEY_END},
    {0xff63, KEY_INSERT}, {0xff67, KEY_COMPOSE /* Menu */}, {0xff7f, KEY_NUMLOCK},
    {0xff8d, KEY_KPENTER}, {0xff95, KEY_HOME}, {0xff96, KEY_LEFT}, {0xff97, KEY_UP}, {0xff98, KEY_RIGHT},
    {0xff99, KEY_DOWN}, {0xff9a, KEY_PAGEUP}, {0xff9b, KEY_PAGEDOWN}, {0xff9c, KEY_END},
    {0xff9d, KEY_KP5}, {0xff9e, KEY_INSERT}, {0xff9f, KEY_DELETE}, {0xffaa, KEY_KPASTERISK},
    {0xffab, KEY_KPPLUS}, {0xffad, KEY_KPMINUS}, {0xffaf, KEY_KPSLASH},
    {0xffbe, KEY_F1}, {0xffbf, KEY_F2}, {0xffc0, KEY_F3}, {0xffc1, KEY_F4}, {0xffc2, KEY_F5},
    {0xffc3, KEY_F6}, {0xffc4, KEY_F7}, {0xffc5, KEY_F8}, {0xffc6, KEY_F9}, {0xffc7, KEY_F10},
    {0xffc8, KEY_F11}, {0xffc9, KEY_F12},
    {0xffe1, KEY_LEFTSHIFT}, {0xffe2, KEY_RIGHTSHIFT}, {0xffe3, KEY_LEFTCTRL}, {0xffe4, KEY_RIGHTCTRL},
    {0xffe5, KEY_CAPSLOCK}, {0xffe7, KEY_LEFTMETA}, {0xffe8, KEY_RIGHTMETA}, {0xffe9, KEY_LEFTALT},
    {0xffea, KEY_RIGHTALT}, {0xffeb, KEY_LEFTMETA}, {0xffec, KEY_RIGHTMETA},
    {0xfe03, KEY_RIGHTALT /* ISO_Level3_Shift */}, {0xff7e, KEY_RIGHTALT /* Mode_switch */},
};
/* clang-format on */

uint16_t keymap_function_keysym(uint32_t keysym)
{
    for (unsigned i = 0; i < ARRAY_LEN(function_keysyms); i++)
        if (function_keysyms[i].keysym == keysym)
            return function_keysyms[i].code;
    return 0;
}

uint16_t keymap_code(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++)
        if (strcmp(keys[i].name, name) == 0)
            return keys[i].code;
    return 0;
}

const char *keymap_name(uint16_t code)
{
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++)
        if (keys[i].code == code)
            return keys[i].name;
    return NULL;
}

uint16_t keymap_from_xt(uint32_t xt)
{
    for (unsigned i = 0; xt && i < ARRAY_LEN(keys); i++)
        if (keys[i].xt == xt)
            return keys[i].code;
    return 0;
}

bool keymap_combo(const char *text, uint16_t codes[KEYMAP_COMBO], unsigned *count, struct err *e)
{
    *count = 0;
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, "-");
        char name[24];
        if (len == 0 || len >= sizeof(name)) {
            err_set(e, ERR_USAGE, "cannot send \"%s\": key names are joined by single \"-\"", text);
            return err_hint(e, "write for example ctrl-alt-delete");
        }
        str_copy(name, len + 1, p);
        uint16_t code = keymap_code(name);
        if (!code) {
            err_set(e, ERR_USAGE, "cannot send \"%s\": no key is named \"%s\"", text, name);
            return err_hint(e, "use names like a, 1, f1, ret, spc, esc, ctrl, alt, shift, delete, up, pgdn");
        }
        if (*count == KEYMAP_COMBO)
            return err_set(e, ERR_USAGE, "cannot send \"%s\": more than %d keys at once", text,
                           KEYMAP_COMBO);
        codes[(*count)++] = code;
        p += len;
        if (!*p)
            return true;
    }
}
