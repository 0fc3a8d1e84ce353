/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source: DMTF DSP0134 2.8. */
#include "vmm/fw/smbios.h"

#include <stdio.h>
#include <string.h>

#include "vmm/base/bits.h"

#define HANDLE_BIOS    0x0000
#define HANDLE_SYSTEM  0x0100
#define HANDLE_CHASSIS 0x0300
#define HANDLE_CPU     0x0400
#define HANDLE_ARRAY   0x1000
#define HANDLE_DIMM    0x1100
#define HANDLE_RANGE   0x1300
#define HANDLE_BOOT    0x2000
#define HANDLE_END     0x7f00

struct table {
    struct buf *out;
    unsigned count, largest;
};

/* One structure: formatted area of len bytes, then its strings (NULL-terminated list). */
static void add(struct table *t, uint8_t *s, unsigned type, unsigned len, unsigned handle,
                const char *const *strings)
{
    size_t before = t->out->len;

    s[0] = (uint8_t)type;
    s[1] = (uint8_t)len;
    st_le16(s + 2, (uint16_t)handle);
    buf_add(t->out, s, len);
    if (!*strings)
        buf_add(t->out, "", 1);
    for (; *strings; strings++) {
        const char *text = **strings ? *strings : " ";
        buf_add(t->out, text, MIN(strlen(text), 64u));
        buf_add(t->out, "", 1);
    }
    buf_add(t->out, "", 1);
    t->count++;
    t->largest = MAX(t->largest, (unsigned)(t->out->len - before));
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool smbios_uuid(const char *text, uint8_t out[16])
{
    /* where byte i of the text goes */
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            if (*text++ != '-')
                return false;
        int high = nibble(text[0]), low = high < 0 ? -1 : nibble(text[1]);
        if (low < 0)
            return false;
        out[order[i]] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    return *text == '\0';
}

static const char *const no_strings[] = {NULL};

static void system_tables(const struct smbios_cfg *cfg, struct table *t)
{
    {
        uint8_t s[24] = {[4] = 1, [5] = 2, [8] = 3};
        const char *strings[] = {"vmdeck", VMDECK_VERSION, "01/01/2024", NULL};
        st_le16(s + 6, 0xe800); /* segment */
        st_le64(s + 10, BIT64(3)); /* characteristics are not given */
        s[19] = 0x10; /* a virtual machine */
        s[20] = s[21] = s[22] = s[23] = 0xff;
        add(t, s, 0, sizeof(s), HANDLE_BIOS, strings);
    }
    {
        uint8_t s[27] = {[4] = 1, [5] = 2, [6] = 3, [7] = 4, [24] = 6 /* power switch */};
        const char *strings[] = {"vmdeck", "vmdeck PC", VMDECK_VERSION,
                                 cfg->name ? cfg->name : "", NULL};
        if (cfg->uuid && !smbios_uuid(cfg->uuid, s + 8))
            memset(s + 8, 0, 16);
        add(t, s, 1, sizeof(s), HANDLE_SYSTEM, strings);
    }
    {
        uint8_t s[22] = {[4] = 1, [5] = 1 /* other */, [9] = 3, [10] = 3, [11] = 3, [12] = 2};
        const char *strings[] = {"vmdeck", NULL};
        add(t, s, 3, sizeof(s), HANDLE_CHASSIS, strings);
    }
}

static void processor_table(unsigned cpus, struct table *t)
{
    uint8_t s[42] = {[4] = 1, [5] = 3 /* central */, [6] = 1 /* other */, [7] = 2, [16] = 3,
                     [24] = 0x41 /* populated, enabled */, [25] = 1};
    const char *strings[] = {"CPU 0", "vmdeck", "virtual", NULL};

    st_le16(s + 26, 0xffff); /* no cache tables */
    st_le16(s + 28, 0xffff);
    st_le16(s + 30, 0xffff);
    s[35] = s[36] = s[37] = (uint8_t)MIN(cpus, 255u); /* cores, enabled, threads */
    st_le16(s + 38, BIT(2)); /* 64 bits */
    st_le16(s + 40, 0xfe);   /* family 2: unknown */
    add(t, s, 4, sizeof(s), HANDLE_CPU, strings);
}

static void memory_tables(uint64_t memory, struct table *t)
{
    uint64_t mib = memory / MIB;
    {
        uint8_t s[23] = {[4] = 1, [5] = 3 /* system memory */, [6] = 6 /* multi-bit ECC */};
        st_le32(s + 7, (uint32_t)MIN(memory / KIB, UINT64_C(0x80000000)));
        st_le16(s + 11, 0xfffe);
        st_le16(s + 13, 1);
        if (memory / KIB >= 0x80000000)
            st_le64(s + 15, memory);
        add(t, s, 16, sizeof(s), HANDLE_ARRAY, no_strings);
    }
    {
        uint8_t s[40] = {[14] = 9 /* DIMM */, [16] = 1, [18] = 7 /* RAM */, [19] = 2};
        const char *strings[] = {"DIMM 0", NULL};
        st_le16(s + 4, HANDLE_ARRAY);
        st_le16(s + 6, 0xfffe);
        st_le16(s + 8, 0xffff);
        st_le16(s + 10, 0xffff);
        st_le16(s + 12, (uint16_t)MIN(mib, UINT64_C(0x7fff)));
        if (mib >= 0x7fff)
            st_le32(s + 28, (uint32_t)mib);
        add(t, s, 17, sizeof(s), HANDLE_DIMM, strings);
    }
    {
        uint8_t s[31] = {[14] = 1};
        uint64_t kib = memory / KIB;
        st_le32(s + 8, kib - 1 < UINT32_MAX ? (uint32_t)(kib - 1) : UINT32_MAX);
        st_le16(s + 12, HANDLE_ARRAY);
        if (kib - 1 >= UINT32_MAX) {
            st_le32(s + 4, UINT32_MAX);
            st_le64(s + 23, memory - 1);
        }
        add(t, s, 19, sizeof(s), HANDLE_RANGE, no_strings);
    }
}

static uint8_t checksum(const uint8_t *p, unsigned len)
{
    uint8_t sum = 0;

    while (len--)
        sum = (uint8_t)(sum + *p++);
    return (uint8_t)-sum;
}

void smbios_build(const struct smbios_cfg *cfg, uint32_t gpa, struct buf *tables,
                  uint8_t a[SMBIOS_ANCHOR_SIZE])
{
    struct table t = {.out = tables};
    uint8_t boot[11] = {0}, end[4] = {0};

    system_tables(cfg, &t);
    processor_table(cfg->cpus, &t);
    memory_tables(cfg->memory, &t);
    add(&t, boot, 32, sizeof(boot), HANDLE_BOOT, no_strings);
    add(&t, end, 127, sizeof(end), HANDLE_END, no_strings);

    memset(a, 0, SMBIOS_ANCHOR_SIZE);
    memcpy(a, "_SM_", 4);
    a[5] = SMBIOS_ANCHOR_SIZE;
    a[6] = 2;
    a[7] = 8;
    st_le16(a + 8, (uint16_t)t.largest);
    memcpy(a + 16, "_DMI_", 5);
    st_le16(a + 22, (uint16_t)tables->len);
    st_le32(a + 24, gpa);
    st_le16(a + 28, (uint16_t)t.count);
    a[30] = 0x28;
    a[21] = checksum(a + 16, 15);
    a[4] = checksum(a, SMBIOS_ANCHOR_SIZE);
}
