/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboard layouts. Where Linux, X and Windows differ in AltGr, the table holds what they share and, for
 * the rest, what Linux has: a plain character rather than a dead key. */
#include "display/keymap_priv.h"

#include <linux/input-event-codes.h>

#include "vmm/base/bits.h"

/* clang-format off */
const uint8_t keymap_positions[KEYMAP_KEYS] = {
    KEY_GRAVE, KEY_1, KEY_2, KEY_3, KEY_4, KEY_5, KEY_6, KEY_7, KEY_8, KEY_9, KEY_0, KEY_MINUS, KEY_EQUAL,
    KEY_Q, KEY_W, KEY_E, KEY_R, KEY_T, KEY_Y, KEY_U, KEY_I, KEY_O, KEY_P, KEY_LEFTBRACE, KEY_RIGHTBRACE,
    KEY_A, KEY_S, KEY_D, KEY_F, KEY_G, KEY_H, KEY_J, KEY_K, KEY_L, KEY_SEMICOLON, KEY_APOSTROPHE,
    KEY_BACKSLASH,
    KEY_102ND,
    KEY_Z, KEY_X, KEY_C, KEY_V, KEY_B, KEY_N, KEY_M, KEY_COMMA, KEY_DOT, KEY_SLASH,
};

#define GRAVE "\u0300"
#define ACUTE "\u0301"
#define CIRC  "\u0302"
#define TILDE "\u0303"
#define UML   "\u0308"
#define RING  "\u030a"
#define CEDIL "\u0327"

const struct keymap keymap_layout_table[] = {
    {"us", {
        u"`1234567890-=" u"qwertyuiop[]" u"asdfghjkl;'" u"\\" u" " u"zxcvbnm,./",
        u"~!@#$%^&*()_+" u"QWERTYUIOP{}" u"ASDFGHJKL:\"" u"|" u" " u"ZXCVBNM<>?"}},
    {"gb", {
        u"`1234567890-=" u"qwertyuiop[]" u"asdfghjkl;'" u"#" u"\\" u"zxcvbnm,./",
        u"¬!\"£$%^&*()_+" u"QWERTYUIOP{}" u"ASDFGHJKL:@" u"~" u"|" u"ZXCVBNM<>?",
        u"¦   €        " u"  é   úíó   " u"á          " u" " u" " u"          ",
        u"             " u"  É   ÚÍÓ   " u"Á          " u" " u" " u"          "}},
    {"de", {
        u"" CIRC u"1234567890ß" ACUTE u"qwertzuiopü+" u"asdfghjklöä" u"#" u"<" u"yxcvbnm,.-",
        u"°!\"§$%&/()=?" GRAVE u"QWERTZUIOPÜ*" u"ASDFGHJKLÖÄ" u"'" u">" u"YXCVBNM;:_",
        u"  ²³   {[]}\\ " u"@ €        ~" u"           " u" " u"|" u"      µ   "}},
    {"fr", {
        u"²&é\"'(-è_çà)=" u"azertyuiop" CIRC u"$" u"qsdfghjklmù" u"*" u"<" u"wxcvbn,;:!",
        u" 1234567890°+" u"AZERTYUIOP" UML u"£" u"QSDFGHJKLM%" u"µ" u">" u"WXCVBN?./§",
        u"  ~#{[|`\\^@]}" u"  €        ¤" u"           " u" " u" " u"          "}},
    {"es", {
        u"º1234567890'¡" u"qwertyuiop" GRAVE u"+" u"asdfghjklñ" ACUTE u"ç" u"<" u"zxcvbnm,.-",
        u"ª!\"·$%&/()=?¿" u"QWERTYUIOP" CIRC u"*" u"ASDFGHJKLÑ" UML u"Ç" u">" u"ZXCVBNM;:_",
        u"\\|@#~ ¬      " u"  €       []" u"          {" u"}" u" " u"          "}},
};
const unsigned keymap_layout_count = ARRAY_LEN(keymap_layout_table);

const struct keymap_compose keymap_compose_table[] = {
    {0x0300, u'`', u"aeiouAEIOU", u"àèìòùÀÈÌÒÙ"},
    {0x0301, u'´', u"aeiouyAEIOUY", u"áéíóúýÁÉÍÓÚÝ"},
    {0x0302, u'^', u"aeiouAEIOU", u"âêîôûÂÊÎÔÛ"},
    {0x0303, u'~', u"anoANO", u"ãñõÃÑÕ"},
    {0x0308, u'¨', u"aeiouyAEIOU", u"äëïöüÿÄËÏÖÜ"},
    {0x030a, u'°', u"aA", u"åÅ"},
    {0x0327, u'¸', u"cC", u"çÇ"},
};
const unsigned keymap_compose_count = ARRAY_LEN(keymap_compose_table);
/* clang-format on */
