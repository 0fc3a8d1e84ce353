/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MC146818 real-time clock with 128 bytes of CMOS RAM. Source: Motorola MC146818A data sheet, and the
 * PC's use of the RAM as SeaBIOS reads it. The time is the host's plus an offset that the guest sets;
 * interrupts are timed by guest time. Daylight saving and the square wave pin are left out. */
#include <time.h>

#include "vmm/dev/dev.h"
#include "vmm/dev/platform/rtc.h"

#define RTC_IRQ    8
#define CMOS_SIZE  128
#define UIP_NS     (244 * NS_PER_US)
#define CRYSTAL_HZ 32768

enum reg {
    REG_SECOND, REG_SECOND_ALARM, REG_MINUTE, REG_MINUTE_ALARM, REG_HOUR, REG_HOUR_ALARM,
    REG_WEEKDAY, REG_DAY, REG_MONTH, REG_YEAR, REG_A, REG_B, REG_C, REG_D,
    REG_CENTURY = 0x32,
};

#define A_UIP 0x80u
#define A_DIV 0x70u
#define A_DIV_RUN 0x20u
#define B_SET 0x80u
#define B_PIE 0x40u
#define B_AIE 0x20u
#define B_UIE 0x10u
#define B_BINARY 0x04u
#define B_24H 0x02u
#define C_IRQF 0x80u
#define C_PF 0x40u
#define C_AF 0x20u
#define C_UF 0x10u
#define D_VALID 0x80u
#define ALARM_ANY 0xc0u /* both bits set: don't care */
#define HOUR_PM 0x80u

struct rtc_state {
    /* the guest's time is ours plus this; apart, as guests set years that nanoseconds cannot hold */
    int64_t offset_s, offset_ns;
    int64_t update_seen; /* second up to which the update flag is known */
    int64_t period_start; /* guest time the periodic interrupt counts from */
    uint64_t periods;     /* periods since then */
    uint8_t cmos[CMOS_SIZE];
    uint8_t index;
};

struct rtc {
    struct dev dev;
    const struct irq_line *irq; /* NULL: GSI 8 */
    bool localtime;
    uint64_t start; /* tests: seconds since 1970 at guest time 0; 0: the host's time */
    uint64_t memory_low, memory_high;
    struct timer periodic, update;
    struct rtc_state s;
};

/* ---- time ---- */

static int64_t source_ns(const struct rtc *r)
{
    if (r->start)
        return (int64_t)r->start * NS_PER_S + clock_now(r->dev.env->clock);
    return clock_wall_ns();
}

/* Seconds since 1970 as the guest sees them. */
static int64_t rtc_seconds(const struct rtc *r)
{
    return (source_ns(r) + r->s.offset_ns) / NS_PER_S + r->s.offset_s;
}

static int64_t rtc_fraction_ns(const struct rtc *r)
{
    return (source_ns(r) + r->s.offset_ns) % NS_PER_S;
}

static uint8_t encode(const struct rtc *r, unsigned v)
{
    return (uint8_t)(r->s.cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned decode(const struct rtc *r, uint8_t v)
{
    return r->s.cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15u);
}

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
    if (r->s.cmos[REG_B] & B_24H)
        return encode(r, hour);
    uint8_t v = encode(r, hour % 12 ? hour % 12 : 12);
    return hour >= 12 ? v | HOUR_PM : v;
}

static unsigned decode_hour(const struct rtc *r, uint8_t v)
{
    if (r->s.cmos[REG_B] & B_24H)
        return decode(r, v);
    return decode(r, v & (uint8_t)~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

static void time_to_regs(struct rtc *r)
{
    time_t t = (time_t)rtc_seconds(r);
    uint8_t *c = r->s.cmos;
    struct tm tm;

    if (!gmtime_r(&t, &tm))
        return;
    unsigned year = (unsigned)tm.tm_year + 1900;
    c[REG_SECOND] = encode(r, (unsigned)tm.tm_sec);
    c[REG_MINUTE] = encode(r, (unsigned)tm.tm_min);
    c[REG_HOUR] = encode_hour(r, (unsigned)tm.tm_hour);
    c[REG_WEEKDAY] = encode(r, (unsigned)tm.tm_wday + 1);
    c[REG_DAY] = encode(r, (unsigned)tm.tm_mday);
    c[REG_MONTH] = encode(r, (unsigned)tm.tm_mon + 1);
    c[REG_YEAR] = encode(r, year % 100);
    c[REG_CENTURY] = (uint8_t)(year / 100 % 100 / 10 << 4 | year / 100 % 10); /* BCD always */
}

/* Any values are taken: timegm carries what is out of range. The fraction of the second is kept when
 * the clock runs, and zero when it starts. */
static void regs_to_time(struct rtc *r, bool starting)
{
    const uint8_t *c = r->s.cmos;
    unsigned century = (c[REG_CENTURY] >> 4) * 10u + (c[REG_CENTURY] & 15u);
    struct tm tm = {
        .tm_sec = (int)decode(r, c[REG_SECOND]),
        .tm_min = (int)decode(r, c[REG_MINUTE]),
        .tm_hour = (int)decode_hour(r, c[REG_HOUR]),
        .tm_mday = (int)decode(r, c[REG_DAY]),
        .tm_mon = (int)decode(r, c[REG_MONTH]) - 1,
        .tm_year = (int)(century * 100 + decode(r, c[REG_YEAR])) - 1900,
    };

    if (starting)
        r->s.offset_ns = (NS_PER_S - source_ns(r) % NS_PER_S) % NS_PER_S;
    r->s.offset_s += (int64_t)timegm(&tm) - rtc_seconds(r);
}

static bool running(const struct rtc *r)
{
    return !(r->s.cmos[REG_B] & B_SET) && (r->s.cmos[REG_A] & A_DIV) == A_DIV_RUN;
}

/* ---- interrupts ---- */

static void update_irq(struct rtc *r)
{
    uint8_t *c = r->s.cmos;
    bool level = c[REG_B] & c[REG_C] & (B_PIE | B_AIE | B_UIE);

    c[REG_C] = level ? c[REG_C] | C_IRQF : c[REG_C] & (uint8_t)~C_IRQF;
    irq_set(r->irq, level);
}

/* The flag of updates is set each second, but nobody needs to be woken for it. */
static void note_update(struct rtc *r)
{
    int64_t second = rtc_seconds(r);

    if (running(r) && second != r->s.update_seen)
        r->s.cmos[REG_C] |= C_UF;
    r->s.update_seen = second;
}

static void schedule_update(struct rtc *r)
{
    if (!running(r) || !(r->s.cmos[REG_B] & (B_AIE | B_UIE))) {
        timer_cancel(&r->update);
        return;
    }
    timer_arm(&r->update, clock_now(r->dev.env->clock) + NS_PER_S - rtc_fraction_ns(r));
}

static bool alarm_matches(struct rtc *r)
{
    const uint8_t *c = r->s.cmos;

    time_to_regs(r);
    return ((c[REG_SECOND_ALARM] & ALARM_ANY) == ALARM_ANY ||
            c[REG_SECOND_ALARM] == c[REG_SECOND]) &&
           ((c[REG_MINUTE_ALARM] & ALARM_ANY) == ALARM_ANY ||
            c[REG_MINUTE_ALARM] == c[REG_MINUTE]) &&
           ((c[REG_HOUR_ALARM] & ALARM_ANY) == ALARM_ANY || c[REG_HOUR_ALARM] == c[REG_HOUR]);
}

static void on_update(void *opaque)
{
    struct rtc *r = opaque;

    note_update(r);
    if (alarm_matches(r))
        r->s.cmos[REG_C] |= C_AF;
    update_irq(r);
    schedule_update(r);
}

/* Crystal ticks between two periodic interrupts; 0: none. */
static uint64_t period(const struct rtc *r)
{
    unsigned rate = r->s.cmos[REG_A] & 15;

    if (!rate || (r->s.cmos[REG_A] & A_DIV) != A_DIV_RUN)
        return 0;
    return UINT64_C(1) << (rate <= 2 ? rate + 6 : rate - 1);
}

static void schedule_periodic(struct rtc *r)
{
    uint64_t ticks = period(r);
    int64_t now = clock_now(r->dev.env->clock);

    if (!ticks || !(r->s.cmos[REG_B] & B_PIE)) {
        timer_cancel(&r->periodic);
        return;
    }
    uint64_t elapsed = (uint64_t)((unsigned __int128)(now - r->s.period_start) * CRYSTAL_HZ /
                                  NS_PER_S);
    r->s.periods = elapsed / ticks + 1;
    timer_arm(&r->periodic,
              r->s.period_start + (int64_t)((unsigned __int128)r->s.periods * ticks * NS_PER_S /
                                            CRYSTAL_HZ) + 1);
}

static void on_periodic(void *opaque)
{
    struct rtc *r = opaque;

    r->s.cmos[REG_C] |= C_PF;
    update_irq(r);
    schedule_periodic(r);
}

/* ---- registers ---- */

static bool is_time(unsigned reg)
{
    return reg == REG_CENTURY || (reg <= REG_YEAR && (reg > REG_HOUR_ALARM || reg % 2 == 0));
}

static uint8_t reg_read(struct rtc *r, unsigned reg)
{
    uint8_t *c = r->s.cmos, v;

    if (is_time(reg) && running(r))
        time_to_regs(r);
    switch (reg) {
    case REG_A:
        return c[REG_A] | (running(r) && rtc_fraction_ns(r) >= NS_PER_S - UIP_NS ? A_UIP : 0);
    case REG_C:
        note_update(r);
        update_irq(r);
        v = c[REG_C];
        c[REG_C] = 0;
        update_irq(r);
        return v;
    case REG_D: return D_VALID;
    default: return c[reg];
    }
}

static void control_write(struct rtc *r, unsigned reg, uint8_t v)
{
    uint8_t *c = r->s.cmos;
    bool was = running(r);

    note_update(r);
    if (was)
        time_to_regs(r);
    if (reg == REG_A) {
        c[REG_A] = v & (uint8_t)~A_UIP;
    } else {
        if (was && ((v ^ c[REG_B]) & (B_BINARY | B_24H))) {
            c[REG_B] = v; /* the same time in other digits */
            time_to_regs(r);
        }
        c[REG_B] = v & B_SET ? v & (uint8_t)~B_UIE : v;
    }
    if (!was && running(r)) {
        regs_to_time(r, true);
        r->s.update_seen = rtc_seconds(r);
    }
    update_irq(r);
    schedule_update(r);
    schedule_periodic(r);
}

static void reg_write(struct rtc *r, unsigned reg, uint8_t v)
{
    if (reg == REG_C || reg == REG_D)
        return;
    if (reg == REG_A || reg == REG_B) {
        control_write(r, reg, v);
        return;
    }
    if (is_time(reg) && running(r))
        time_to_regs(r);
    r->s.cmos[reg] = v;
    if (is_time(reg) && running(r)) {
        regs_to_time(r, false);
        schedule_update(r);
    }
}

static uint32_t rtc_read(void *opaque, uint16_t offset, unsigned size)
{
    struct rtc *r = opaque;

    (void)size;
    return offset ? reg_read(r, r->s.index) : 0xff; /* the index cannot be read */
}

static void rtc_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct rtc *r = opaque;

    (void)size;
    if (offset)
        reg_write(r, r->s.index, (uint8_t)value);
    else
        r->s.index = value & (CMOS_SIZE - 1); /* bit 7 masks an NMI we do not have */
}

static const struct pio_ops rtc_ops = {.read = rtc_read, .write = rtc_write, .max_size = 1};

/* ---- CMOS RAM ---- */

void rtc_set_cmos(struct dev *d, uint8_t index, uint8_t value)
{
    struct rtc *r = container_of(d, struct rtc, dev);

    if (index > REG_D && index < CMOS_SIZE)
        r->s.cmos[index] = value;
}

/* Memory sizes as PC firmware leaves them for operating systems, and as SeaBIOS takes them. */
static void fill_memory_cells(struct rtc *r)
{
    uint8_t *c = r->s.cmos;
    uint64_t low = r->memory_low, high = r->memory_high;

    st_le16(c + 0x15, 640);
    uint16_t kib = (uint16_t)(low > MIB ? MIN((low - MIB) / KIB, 65535) : 0);
    st_le16(c + 0x17, kib);
    st_le16(c + 0x30, kib);
    st_le16(c + 0x34, (uint16_t)(low > 16 * MIB ? MIN((low - 16 * MIB) / (64 * KIB), 65535) : 0));
    st_le(c + 0x5b, MIN(high / (64 * KIB), 0xffffff), 3);
    c[0x14] = 0x06; /* equipment: FPU, PS/2 mouse */
}

static bool rtc_realize(struct dev *d, struct err *e)
{
    struct rtc *r = container_of(d, struct rtc, dev);

    (void)e;
    if (!r->irq)
        r->irq = bus_gsi(d->env->bus, RTC_IRQ);
    timer_init(&r->periodic, d->env->clock, on_periodic, r);
    timer_init(&r->update, d->env->clock, on_update, r);
    r->s.cmos[REG_A] = A_DIV_RUN | 6; /* 1024 Hz */
    r->s.cmos[REG_B] = B_24H;
    fill_memory_cells(r);
    if (r->localtime) {
        time_t now = (time_t)(source_ns(r) / NS_PER_S);
        struct tm tm;
        if (localtime_r(&now, &tm))
            r->s.offset_s = tm.tm_gmtoff;
    }
    r->s.update_seen = rtc_seconds(r);
    time_to_regs(r);
    bus_add_pio(d->env->bus, "rtc", 0x70, 2, &rtc_ops, r);
    return true;
}

static void rtc_unrealize(struct dev *d)
{
    struct rtc *r = container_of(d, struct rtc, dev);

    if (!r->periodic.clock)
        return;
    timer_cancel(&r->periodic);
    timer_cancel(&r->update);
}

/* The battery keeps everything but the interrupt enables. */
static void rtc_reset(struct dev *d)
{
    struct rtc *r = container_of(d, struct rtc, dev);

    r->s.cmos[REG_B] &= (uint8_t)~(B_PIE | B_AIE | B_UIE);
    r->s.cmos[REG_C] = 0;
    r->s.index = 0;
    r->s.period_start = clock_now(d->env->clock);
    update_irq(r);
    schedule_update(r);
    schedule_periodic(r);
}

static const struct dev_prop rtc_props[] = {
    DEV_PROP("irq", PROP_PTR, struct rtc, irq, 0, "interrupt line, GSI 8 by default"),
    DEV_PROP("localtime", PROP_BOOL, struct rtc, localtime, 0, "start with local time, not UTC"),
    DEV_PROP("start", PROP_U64, struct rtc, start, 0, "seconds since 1970 at guest time 0; 0: host"),
    DEV_PROP("memory-low", PROP_U64, struct rtc, memory_low, 0, "bytes of RAM below 4 GiB"),
    DEV_PROP("memory-high", PROP_U64, struct rtc, memory_high, 0, "bytes of RAM above 4 GiB"),
    {0},
};

const struct dev_class rtc_class = {
    .name = "rtc",
    .summary = "MC146818 real-time clock and CMOS RAM",
    .size = sizeof(struct rtc),
    .props = rtc_props,
    .realize = rtc_realize,
    .unrealize = rtc_unrealize,
    .reset = rtc_reset,
};
