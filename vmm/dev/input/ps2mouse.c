/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PS/2 mouse with the IntelliMouse wheel. Source: IBM PS/2 mouse technical reference; Microsoft's
 * wheel extension (sample rates 200, 100, 80 turn a fourth byte on). */
#include "vmm/dev/input/ps2.h"

#include <string.h>

#include "display/input.h"
#include "vmm/base/bits.h"

#define ACK 0xfau

static void reply(struct ps2_mouse_state *m, uint8_t v)
{
    ps2_queue_put(&m->out, &v, 1);
}

static void defaults(struct ps2_mouse_state *m)
{
    m->rate = 100;
    m->resolution = 2;
    m->scale21 = m->reporting = m->remote = m->wrap = false;
    m->dx = m->dy = m->dz = 0;
    m->command = m->knock = 0;
}

void ps2_mouse_reset(struct ps2_mouse_state *m)
{
    memset(m, 0, sizeof(*m));
    defaults(m);
}

static int32_t clamp(int32_t v, int32_t lo, int32_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static void put_packet(struct ps2_mouse_state *m)
{
    uint8_t p[4];
    int32_t dx = clamp(m->dx, -255, 255), dy = clamp(-m->dy, -255, 255), dz = clamp(m->dz, -7, 7);
    unsigned n = m->id == 3 ? 4 : 3;

    p[0] =
        (uint8_t)(8 | (m->buttons & INPUT_BTN_LEFT ? 1 : 0) |
                  (m->buttons & INPUT_BTN_RIGHT ? 2 : 0) | (m->buttons & INPUT_BTN_MIDDLE ? 4 : 0) |
                  (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0));
    p[1] = (uint8_t)dx;
    p[2] = (uint8_t)dy;
    p[3] = (uint8_t)dz;
    if (!ps2_queue_put(&m->out, p, n))
        return;
    m->dx -= dx;
    m->dy += dy;
    m->dz = n == 4 ? m->dz - dz : 0;
    m->reported_buttons = m->buttons;
}

void ps2_mouse_poll(struct ps2_mouse_state *m)
{
    /* one packet on its way at a time: the rest adds up */
    if (m->reporting && !m->remote && !m->wrap && m->out.count == 0 &&
        (m->dx || m->dy || m->dz || m->buttons != m->reported_buttons))
        put_packet(m);
}

void ps2_mouse_move(struct ps2_mouse_state *m, int dx, int dy, int dz, uint32_t buttons)
{
    m->dx = clamp(m->dx + dx, -4096, 4096);
    m->dy = clamp(m->dy + dy, -4096, 4096);
    m->dz = clamp(m->dz + dz, -64, 64);
    m->buttons = (uint8_t)(buttons & (INPUT_BTN_LEFT | INPUT_BTN_MIDDLE | INPUT_BTN_RIGHT));
    ps2_mouse_poll(m);
}

static void set_rate(struct ps2_mouse_state *m, uint8_t v)
{
    static const uint8_t wheel[3] = {200, 100, 80};

    m->rate = v;
    m->knock = v == wheel[m->knock] ? m->knock + 1 : v == wheel[0];
    if (m->knock == 3) {
        m->id = 3;
        m->knock = 0;
    }
}

static void status(struct ps2_mouse_state *m)
{
    reply(m, (uint8_t)((m->remote ? 0x40 : 0) | (m->reporting ? 0x20 : 0) |
                       (m->scale21 ? 0x10 : 0) | (m->buttons & INPUT_BTN_LEFT ? 4 : 0) |
                       (m->buttons & INPUT_BTN_MIDDLE ? 2 : 0) |
                       (m->buttons & INPUT_BTN_RIGHT ? 1 : 0)));
    reply(m, m->resolution);
    reply(m, m->rate);
}

void ps2_mouse_write(struct ps2_mouse_state *m, uint8_t v)
{
    if (m->command) {
        if (m->command == 0xf3)
            set_rate(m, v);
        else
            m->resolution = v & 3;
        m->command = 0;
        reply(m, ACK);
        return;
    }
    if (m->wrap && v != 0xec && v != 0xff) {
        reply(m, v);
        return;
    }
    if (v != 0xeb)
        m->out.count = 0; /* a command ends what was being sent */
    reply(m, ACK);
    switch (v) {
    case 0xe6: m->scale21 = false; break;
    case 0xe7: m->scale21 = true; break;
    case 0xe8:
    case 0xf3: m->command = v; break;
    case 0xe9: status(m); break;
    case 0xea: m->remote = false; break;
    case 0xeb: put_packet(m); break;
    case 0xec: m->wrap = false; break;
    case 0xee: m->wrap = true; break;
    case 0xf0: m->remote = true; break;
    case 0xf2: reply(m, m->id); break;
    case 0xf4: m->reporting = true; break;
    case 0xf5: m->reporting = false; break;
    case 0xf6: defaults(m); break;
    case 0xff:
        m->id = 0;
        defaults(m);
        reply(m, 0xaa);
        reply(m, 0);
        break;
    default:
        m->out.count = 0;
        reply(m, 0xfe); /* resend: not understood */
        break;
    }
}
