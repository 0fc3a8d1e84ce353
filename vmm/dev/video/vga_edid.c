/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A monitor's identity: VESA E-EDID 1.4, one base block. Preferred timing is computed with the reduced
 * blanking of VESA CVT, whose exact numbers no guest of a virtual monitor depends on. */
#include "vmm/dev/video/vga_priv.h"

#define H_BLANK 160
#define REFRESH 60

static void detailed_timing(uint8_t *d, unsigned w, unsigned h)
{
    unsigned v_blank = 23 + h / 100;
    unsigned clock = (unsigned)((uint64_t)(w + H_BLANK) * (h + v_blank) * REFRESH / 10000); /* 10 kHz */

    st_le16(d, (uint16_t)clock);
    d[2] = (uint8_t)w;
    d[3] = H_BLANK;
    d[4] = (uint8_t)(w >> 8 << 4);
    d[5] = (uint8_t)h;
    d[6] = (uint8_t)v_blank;
    d[7] = (uint8_t)(h >> 8 << 4);
    d[8] = 48;               /* horizontal front porch */
    d[9] = 32;               /* and sync */
    d[10] = 3 << 4 | 5;      /* vertical */
    d[17] = 0x18;            /* digital separate sync */
}

static void text_descriptor(uint8_t *d, uint8_t tag, const char *text)
{
    size_t n = strlen(text);

    d[3] = tag;
    memset(d + 5, ' ', 13);
    memcpy(d + 5, text, n);
    if (n < 13)
        d[5 + n] = '\n';
}

/* Standard timing at 60 Hz; aspect: 1 is 4:3, 2 is 5:4, 3 is 16:9, 0 is 16:10. */
static void standard_timing(uint8_t *p, unsigned width, unsigned aspect)
{
    p[0] = (uint8_t)(width / 8 - 31);
    p[1] = (uint8_t)(aspect << 6 | (REFRESH - 60));
}

void vga_edid(uint8_t e[128], unsigned width, unsigned height)
{
    static const uint8_t magic[8] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
    static const uint8_t srgb[10] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
    static const struct { uint16_t width; uint8_t aspect; } modes[8] = {
        {1024, 1}, {1280, 0}, {1280, 2}, {1440, 0}, {1600, 1}, {1680, 0}, {1920, 3}, {1920, 0}};
    uint8_t sum = 0;

    memset(e, 0, 128);
    memcpy(e, magic, sizeof(magic));
    st_be16(e + 8, ('V' - '@') << 10 | ('M' - '@') << 5 | ('D' - '@'));
    e[16] = 1;        /* week */
    e[17] = 34;       /* of 2024 */
    e[18] = 1;
    e[19] = 4;
    e[20] = 0xa0;     /* digital, 8 bits per colour */
    e[21] = (uint8_t)(width / 40); /* cm, at about 100 dpi */
    e[22] = (uint8_t)(height / 40);
    e[23] = 120;      /* gamma 2.2 */
    e[24] = 0x06;     /* RGB, sRGB, preferred timing is native */
    memcpy(e + 25, srgb, sizeof(srgb));
    e[35] = 0x21;     /* 640x480 and 800x600 at 60 Hz */
    e[36] = 0x08;     /* 1024x768 */
    for (unsigned i = 0; i < ARRAY_LEN(modes); i++)
        standard_timing(e + 38 + i * 2, modes[i].width, modes[i].aspect);
    detailed_timing(e + 54, width, height);
    text_descriptor(e + 72, 0xfc, "vmdeck");
    text_descriptor(e + 90, 0xff, "1");
    e[108 + 3] = 0xfd; /* range limits: 50-75 Hz, 30-120 kHz, 300 MHz */
    e[108 + 5] = 50;
    e[108 + 6] = 75;
    e[108 + 7] = 30;
    e[108 + 8] = 120;
    e[108 + 9] = 30;
    e[108 + 10] = 1;   /* limits only */
    e[108 + 11] = '\n';
    memset(e + 108 + 12, ' ', 6);
    for (unsigned i = 0; i < 127; i++)
        sum = (uint8_t)(sum + e[i]);
    e[127] = (uint8_t)-sum;
}
