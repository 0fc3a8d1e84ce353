/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and pointer over the control socket: send-key, input-send-event. */
#include <string.h>

#include "display/input.h"
#include "display/keymap.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/ctl/vm_priv.h"

#define HOLD_DEFAULT_MS 100
#define HOLD_MAX_MS     10000

/* {"type": "qcode", "data": "ret"}, {"type": "number", "data": XT scan code}, or just "ret". 0 with e. */
static uint16_t parse_key(const json_t *v, struct err *e)
{
    const json_t *data = json_is_object(v) ? json_object_get(v, "data") : v;
    uint16_t code = 0;

    if (json_is_string(data))
        code = keymap_code(json_string_value(data));
    else if (json_is_integer(data) && json_integer_value(data) > 0 && json_integer_value(data) < 0x100)
        code = keymap_from_xt((uint32_t)json_integer_value(data));
    if (code == 0)
        err_set(e, ERR_USAGE, "unknown key \"%.32s\"", json_is_string(data) ? json_string_value(data) : "");
    return code;
}

static void key(struct vm_proc *p, uint16_t code, bool down)
{
    vm_input(p->vm, &(struct input_event){.type = INPUT_KEY, .code = code, .value = down});
}

/* ---- send-key ---- */

struct chord {
    struct vm_req *request;
    struct timer timer;
    uint16_t codes[KEYMAP_COMBO];
    unsigned count;
};

static void release(void *opaque)
{
    struct chord *c = opaque;

    for (unsigned i = c->count; i-- > 0;)
        key(c->request->p, c->codes[i], false);
    vm_reply(c->request, NULL);
    x_free(c);
}

void vm_cmd_send_key(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    const json_t *keys = json_object_get(args, "keys"), *hold = json_object_get(args, "hold-time"), *v;
    json_int_t ms = hold ? json_integer_value(hold) : HOLD_DEFAULT_MS;
    struct chord *c = X_NEW(struct chord);
    struct err e = ERR_INIT;
    size_t i;

    c->request = r;
    if (json_array_size(keys) < 1 || json_array_size(keys) > KEYMAP_COMBO || ms < 1 || ms > HOLD_MAX_MS) {
        err_set(&e, ERR_USAGE, "expected 1 to %d keys and a hold-time of 1 to %d ms", KEYMAP_COMBO, HOLD_MAX_MS);
        goto fail;
    }
    json_array_foreach((json_t *)(uintptr_t)keys, i, v)
    {
        c->codes[c->count] = parse_key(v, &e);
        if (c->codes[c->count++] == 0)
            goto fail;
    }
    if (vm_state(p->vm) != VM_RUNNING) {
        err_set(&e, ERR_STATE, "the VM is paused");
        goto fail;
    }
    for (i = 0; i < c->count; i++)
        key(p, c->codes[i], true);
    timer_init(&c->timer, loop_clock(p->loop), release, c);
    timer_arm(&c->timer, clock_now(loop_clock(p->loop)) + ms * NS_PER_MS);
    return;
fail:
    x_free(c);
    vm_reply_error(r, &e);
}

/* ---- input-send-event ---- */

static bool button_event(struct vm_proc *p, const json_t *data, struct err *e)
{
    static const struct {
        const char *name;
        uint32_t mask;
    } names[] = {{"left", INPUT_BTN_LEFT},       {"middle", INPUT_BTN_MIDDLE},       {"right", INPUT_BTN_RIGHT},
                 {"wheel-up", INPUT_WHEEL_UP}, {"wheel-down", INPUT_WHEEL_DOWN}};
    const char *name = json_string_value(json_object_get(data, "button"));

    for (unsigned i = 0; name && i < ARRAY_LEN(names); i++)
        if (!strcmp(name, names[i].name)) {
            if (json_is_true(json_object_get(data, "down")))
                p->buttons |= names[i].mask;
            else
                p->buttons &= ~names[i].mask;
            return true;
        }
    return err_set(e, ERR_USAGE, "unknown button \"%.32s\"", name ? name : "");
}

static bool axis_event(struct vm_proc *p, const json_t *data, struct err *e)
{
    const char *axis = json_string_value(json_object_get(data, "axis"));
    json_int_t value = json_integer_value(json_object_get(data, "value"));

    if (value < 0 || value > INPUT_ABS_MAX)
        return err_set(e, ERR_USAGE, "value must be 0 to %d", INPUT_ABS_MAX);
    if (axis && !strcmp(axis, "x"))
        p->pointer_x = (uint16_t)value;
    else if (axis && !strcmp(axis, "y"))
        p->pointer_y = (uint16_t)value;
    else
        return err_set(e, ERR_USAGE, "unknown axis \"%.32s\"", axis ? axis : "");
    return true;
}

/* Sends the pointer as it is now. */
static void pointer(struct vm_proc *p)
{
    vm_input(p->vm, &(struct input_event){.type = INPUT_POINTER, .value = p->buttons, .x = p->pointer_x,
                                          .y = p->pointer_y});
}

static bool one_event(struct vm_proc *p, const json_t *ev, bool *moved, struct err *e)
{
    const char *type = json_string_value(json_object_get(ev, "type"));
    const json_t *data = json_object_get(ev, "data");

    if (type && !strcmp(type, "key")) {
        uint16_t code = parse_key(json_object_get(data, "key"), e);
        if (code)
            key(p, code, json_is_true(json_object_get(data, "down")));
        return code != 0;
    }
    if (type && !strcmp(type, "abs")) {
        *moved = true;
        return axis_event(p, data, e);
    }
    if (type && !strcmp(type, "btn")) {
        if (!button_event(p, data, e))
            return false;
        pointer(p);
        *moved = false;
        return true;
    }
    return err_set(e, ERR_USAGE, "unknown event type \"%.32s\"", type ? type : "");
}

void vm_cmd_input_send_event(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    const json_t *events = json_object_get(args, "events"), *ev;
    struct err e = ERR_INIT;
    bool moved = false, ok = true;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)events, i, ev)
        if (!(ok = one_event(p, ev, &moved, &e)))
            break;
    if (moved)
        pointer(p);
    if (ok)
        vm_reply(r, NULL);
    else
        vm_reply_error(r, &e);
}
