/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x-stats: counters, and a look at what the vCPUs do. */
#include <stdio.h>

#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/ctl/vm_priv.h"

#define SAMPLE_MAX_MS  10000
#define SAMPLE_PERIOD_US 1000

#define INT(v) ((json_int_t)(v))

/* ---- counters ---- */

static void put(json_t *o, const char *name, uint64_t v)
{
    json_object_set_new(o, name, json_integer(INT(v)));
}

static json_t *translator_json(const struct cpu_jit_stats *j)
{
    json_t *o = json_object(), *exits = json_object();

    put(o, "blocks", j->blocks);
    put(o, "instructions", j->instructions);
    put(o, "guest-bytes", j->guest_bytes);
    put(o, "host-bytes", j->host_bytes);
    put(o, "blocks-now", j->blocks_now);
    put(o, "code-used", j->code_used);
    put(o, "code-size", j->code_size);
    put(o, "flushes", j->flushes);
    put(o, "evicted", j->evicted);
    put(o, "moved", j->moved);
    put(o, "overwritten", j->overwritten);
    put(o, "revived", j->revived);
    put(o, "compared", j->compared);
    put(o, "compared-instructions", j->compared_instructions);
    put(o, "compared-again", j->compared_again);
    for (unsigned k = 0; k < CPU_JIT_EXITS; k++)
        put(exits, cpu_jit_exit_names[k], j->exits[k]);
    json_object_set_new(o, "exits", exits);
    return o;
}

static json_t *software_json(const struct cpu_stats *c, json_t *o)
{
    json_t *tlb = json_object();

    put(o, "instructions", c->instructions);
    put(o, "exceptions", c->exceptions);
    put(o, "halted-ns", c->halted_ns);
    put(o, "decoded-flushes", c->code_flushes);
    put(tlb, "slots", c->tlb_slots);
    put(tlb, "fills", c->tlb_fills);
    put(tlb, "flushes", c->tlb_flushes);
    json_object_set_new(o, "tlb", tlb);
    if (c->jit.code_size)
        json_object_set_new(o, "translator", translator_json(&c->jit));
    return o;
}

static json_t *vcpu_json(const struct accel_vcpu_stats *v)
{
    json_t *o = json_object();

    put(o, "exits", v->exits);
    put(o, "pio", v->pio);
    put(o, "mmio", v->mmio);
    put(o, "halts", v->halts);
    put(o, "interrupts", v->interrupts);
    put(o, "fallback", v->fallback);
    return v->cpu.tlb_slots ? software_json(&v->cpu, o) : o;
}

static json_t *stats_json(struct vm_proc *p)
{
    json_t *cpus = json_array();
    struct vm_stats st;

    vm_get_stats(p->vm, &st);
    for (unsigned i = 0; i < st.cpus && i < ARRAY_LEN(st.vcpu); i++)
        json_array_append_new(cpus, vcpu_json(&st.vcpu[i]));
    return json_pack("{sIsIsIsIso}", "uptime-ns", INT(st.uptime_ns), "cpu-ns", INT(st.cpu_ns), "disk-read-bytes",
                     INT(st.disk_read_bytes), "disk-write-bytes", INT(st.disk_write_bytes), "vcpus", cpus);
}

/* ---- samples ---- */

struct sampling {
    struct vm_req *request;
    struct timer timer;
};

static json_t *hot_json(const struct cpu_profile *f)
{
    json_t *list = json_array();
    char address[24];

    for (unsigned n = 0; n < f->hot_count; n++) {
        const struct cpu_hot *h = &f->hot[n];

        snprintf(address, sizeof(address), "0x%llx", (unsigned long long)h->rip);
        json_array_append_new(list, json_pack("{sssisisIsI}", "address", address, "cpl", h->cpl, "bits", h->bits,
                                              "instructions", INT(h->instructions), "samples", INT(h->samples)));
    }
    return list;
}

static json_t *profile_json(const struct cpu_profile *f)
{
    json_t *doing = json_object();

    for (unsigned k = 0; k < CPU_DOING; k++)
        json_object_set_new(doing, cpu_doing_names[k], json_integer(INT(f->doing[k])));
    return json_pack("{sIsoso}", "samples", INT(f->samples), "doing", doing, "hot", hot_json(f));
}

static void sampled(void *opaque)
{
    struct sampling *s = opaque;
    struct vm_proc *p = s->request->p;
    json_t *stats = stats_json(p), *cpus = json_object_get(stats, "vcpus");

    for (size_t i = 0; i < json_array_size(cpus); i++) {
        struct cpu_profile f;

        vm_profile_stop(p->vm, (unsigned)i, &f);
        json_object_set_new(json_array_get(cpus, i), "profile", profile_json(&f));
    }
    p->sampling = false;
    vm_reply(s->request, stats);
    x_free(s);
}

static bool start_sampling(struct vm_proc *p, struct vm_req *r, json_int_t ms, struct err *e)
{
    if (ms < 1 || ms > SAMPLE_MAX_MS)
        return err_set(e, ERR_USAGE, "sample-ms must be 1 to %d", SAMPLE_MAX_MS);
    if (vm_state(p->vm) != VM_RUNNING)
        return err_set(e, ERR_STATE, "the VM is paused");
    if (p->sampling)
        return err_set(e, ERR_BUSY, "somebody else is sampling this VM");
    if (!vm_profile_start(p->vm, SAMPLE_PERIOD_US, e))
        return false;
    struct sampling *s = X_NEW(struct sampling);
    p->sampling = true;
    s->request = r;
    timer_init(&s->timer, loop_clock(p->loop), sampled, s);
    timer_arm(&s->timer, clock_now(loop_clock(p->loop)) + ms * NS_PER_MS);
    return true;
}

void vm_cmd_x_stats(struct vm_proc *p, struct vm_req *r, const json_t *args)
{
    const json_t *ms = json_object_get(args, "sample-ms");
    struct err e = ERR_INIT;

    if (!ms)
        vm_reply(r, stats_json(p));
    else if (!start_sampling(p, r, json_integer_value(ms), &e))
        vm_reply_error(r, &e);
}
