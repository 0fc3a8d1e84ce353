/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 16550A UART. Source: National PC16550D data sheet (1995). Bytes leave at once, whatever the divisor
 * says: the transmitter is busy only while the reader of the stream cannot keep up. The receiver has
 * its FIFO of 16 bytes; the character time-out comes four character times after the last byte. */
#include "vmm/dev/dev.h"

#include "vmm/chr/chr.h"

#define FIFO_SIZE 16u
#define CLOCK_HZ  115200 /* after the division by 16 */

#define IER_RX    BIT(0)
#define IER_TX    BIT(1)
#define IER_LINE  BIT(2)
#define IER_MODEM BIT(3)

#define IIR_NONE     0x01u
#define IIR_MODEM    0x00u
#define IIR_TX       0x02u
#define IIR_RX       0x04u
#define IIR_LINE     0x06u
#define IIR_TIMEOUT  0x0cu
#define IIR_FIFO_ON  0xc0u

#define FCR_ENABLE   BIT(0)
#define FCR_CLEAR_RX BIT(1)
#define FCR_CLEAR_TX BIT(2)

#define LCR_DLAB  BIT(7)
#define LCR_BREAK BIT(6)

#define MCR_DTR  BIT(0)
#define MCR_RTS  BIT(1)
#define MCR_OUT1 BIT(2)
#define MCR_OUT2 BIT(3) /* gates the interrupt line on a PC */
#define MCR_LOOP BIT(4)

#define LSR_READY   BIT(0)
#define LSR_OVERRUN BIT(1)
#define LSR_BREAK   BIT(4)
#define LSR_THRE    BIT(5)
#define LSR_TEMT    BIT(6)
#define LSR_ERRORS  0x1eu

#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI  0x40u
#define MSR_DCD 0x80u
#define MSR_TERI 0x04u

struct uart_state {
    uint8_t rx[FIFO_SIZE];
    uint8_t rx_head, rx_len;
    uint8_t ier, fcr, lcr, mcr, msr, scratch;
    uint8_t lsr_errors;  /* latched until LSR is read */
    uint8_t tx_busy;     /* the stream behind us is full */
    uint8_t tx_pending;  /* interrupt "transmitter empty" not yet acknowledged */
    uint8_t timeout;     /* bytes have been waiting below the trigger level */
    uint16_t divisor;
};

struct uart {
    struct dev dev;
    uint32_t port, irq;
    struct chr *chr; /* NULL: nobody listens */
    struct timer timeout;
    bool irq_level; /* as last driven */
    struct uart_state s;
};

static bool fifo_on(const struct uart_state *s)
{
    return s->fcr & FCR_ENABLE;
}

static unsigned trigger_level(const struct uart_state *s)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};

    return fifo_on(s) ? levels[s->fcr >> 6] : 1;
}

/* The pending interrupt of the highest priority, as IIR shows it. */
static unsigned cause(const struct uart_state *s)
{
    if ((s->ier & IER_LINE) && s->lsr_errors)
        return IIR_LINE;
    if ((s->ier & IER_RX) && s->rx_len >= trigger_level(s))
        return IIR_RX;
    if ((s->ier & IER_RX) && s->timeout)
        return IIR_TIMEOUT;
    if ((s->ier & IER_TX) && s->tx_pending)
        return IIR_TX;
    if ((s->ier & IER_MODEM) && (s->msr & 0x0f))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(struct uart *u)
{
    bool level = (u->s.mcr & MCR_OUT2) && cause(&u->s) != IIR_NONE;

    if (level != u->irq_level)
        irq_set(bus_gsi(u->dev.env->bus, u->irq), level);
    u->irq_level = level;
}

/* ---- receiver ---- */

static unsigned capacity(const struct uart_state *s)
{
    return fifo_on(s) ? FIFO_SIZE : 1;
}

/* Four characters of ten bits. */
static int64_t timeout_ns(const struct uart_state *s)
{
    return 40 * NS_PER_S * (s->divisor ? s->divisor : 1) / CLOCK_HZ;
}

static void restart_timeout(struct uart *u)
{
    struct uart_state *s = &u->s;

    s->timeout = 0;
    if (fifo_on(s) && s->rx_len && s->rx_len < trigger_level(s))
        timer_arm(&u->timeout, clock_now(u->dev.env->clock) + timeout_ns(s));
    else
        timer_cancel(&u->timeout);
}

static void on_timeout(void *opaque)
{
    struct uart *u = opaque;

    u->s.timeout = u->s.rx_len > 0;
    update_irq(u);
}

static bool receive(struct uart *u, uint8_t byte)
{
    struct uart_state *s = &u->s;

    if (s->rx_len >= capacity(s))
        return false;
    s->rx[(s->rx_head + s->rx_len++) % FIFO_SIZE] = byte;
    return true;
}

static size_t on_rx(void *opaque, const uint8_t *p, size_t n)
{
    struct uart *u = opaque;
    size_t took = 0;

    if (u->s.mcr & MCR_LOOP)
        return 0;
    while (took < n && receive(u, p[took]))
        took++;
    if (took) {
        restart_timeout(u);
        update_irq(u);
    }
    return took;
}

static uint8_t rbr_read(struct uart *u)
{
    struct uart_state *s = &u->s;
    uint8_t byte = s->rx[s->rx_head];

    if (s->rx_len) {
        s->rx_head = (uint8_t)((s->rx_head + 1) % FIFO_SIZE);
        s->rx_len--;
    }
    restart_timeout(u);
    update_irq(u);
    if (u->chr && s->rx_len == 0)
        chr_rx_ready(u->chr);
    return byte;
}

/* ---- transmitter ---- */

static void on_tx_ready(void *opaque)
{
    struct uart *u = opaque;

    if (!u->s.tx_busy)
        return;
    u->s.tx_busy = 0;
    u->s.tx_pending = 1;
    update_irq(u);
}

static void thr_write(struct uart *u, uint8_t byte)
{
    struct uart_state *s = &u->s;

    s->tx_pending = 0;
    if (s->mcr & MCR_LOOP) {
        if (!receive(u, byte))
            s->lsr_errors |= LSR_OVERRUN;
        restart_timeout(u);
    } else if (u->chr) {
        s->tx_busy = !chr_write(u->chr, &byte, 1);
    }
    if (!s->tx_busy) {
        update_irq(u); /* the line falls before the next "empty", for edge-triggered controllers */
        s->tx_pending = 1;
    }
    update_irq(u);
}

/* ---- registers ---- */

static void fcr_write(struct uart *u, uint8_t v)
{
    struct uart_state *s = &u->s;
    bool toggled = (v ^ s->fcr) & FCR_ENABLE;

    if (toggled || (v & FCR_CLEAR_RX))
        s->rx_len = 0;
    if (toggled || (v & FCR_CLEAR_TX))
        s->tx_pending = !s->tx_busy;
    s->fcr = v & 0xc9;
    restart_timeout(u);
    update_irq(u);
    if (u->chr)
        chr_rx_ready(u->chr);
}

static uint8_t iir_read(struct uart *u)
{
    unsigned id = cause(&u->s);

    if (id == IIR_TX) {
        u->s.tx_pending = 0;
        update_irq(u);
    }
    return (uint8_t)(id | (fifo_on(&u->s) ? IIR_FIFO_ON : 0));
}

static uint8_t lsr_read(struct uart *u)
{
    struct uart_state *s = &u->s;
    uint8_t v = s->lsr_errors;

    if (s->rx_len)
        v |= LSR_READY;
    if (!s->tx_busy)
        v |= LSR_THRE | LSR_TEMT;
    if (s->lsr_errors) {
        s->lsr_errors = 0;
        update_irq(u);
    }
    return v;
}

/* Modem inputs: a null modem with everything present, or our own outputs in loopback. */
static uint8_t modem_lines(const struct uart_state *s)
{
    if (!(s->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
                     (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void update_modem(struct uart_state *s)
{
    uint8_t lines = modem_lines(s), changed = (s->msr ^ lines) & 0xf0;
    uint8_t delta = (uint8_t)(changed >> 4) & (uint8_t)~MSR_TERI;

    if ((changed & MSR_RI) && !(lines & MSR_RI)) /* only its falling edge counts */
        delta |= MSR_TERI;
    s->msr = lines | (s->msr & 0x0f) | delta;
}

static void mcr_write(struct uart *u, uint8_t v)
{
    bool left_loop = u->s.mcr & ~v & MCR_LOOP;

    u->s.mcr = v & 0x1f;
    update_modem(&u->s);
    update_irq(u);
    if (left_loop && u->chr)
        chr_rx_ready(u->chr);
}

static void ier_write(struct uart *u, uint8_t v)
{
    struct uart_state *s = &u->s;

    if ((v & ~s->ier & IER_TX) && !s->tx_busy) /* enabling it reports an empty transmitter */
        s->tx_pending = 1;
    s->ier = v & 0x0f;
    update_irq(u);
}

static uint32_t uart_read(void *opaque, uint16_t offset, unsigned size)
{
    struct uart *u = opaque;
    struct uart_state *s = &u->s;
    bool dlab = s->lcr & LCR_DLAB;

    (void)size;
    switch (offset) {
    case 0: return dlab ? s->divisor & 0xff : rbr_read(u);
    case 1: return dlab ? s->divisor >> 8 : s->ier;
    case 2: return iir_read(u);
    case 3: return s->lcr;
    case 4: return s->mcr;
    case 5: return lsr_read(u);
    case 6: {
        uint8_t v = s->msr;
        s->msr &= 0xf0;
        update_irq(u);
        return v;
    }
    default: return s->scratch;
    }
}

static void uart_write(void *opaque, uint16_t offset, uint32_t value, unsigned size)
{
    struct uart *u = opaque;
    struct uart_state *s = &u->s;
    uint8_t v = (uint8_t)value;
    bool dlab = s->lcr & LCR_DLAB;

    (void)size;
    switch (offset) {
    case 0:
        if (dlab)
            s->divisor = (uint16_t)((s->divisor & 0xff00) | v);
        else
            thr_write(u, v);
        break;
    case 1:
        if (dlab)
            s->divisor = (uint16_t)((s->divisor & 0xff) | v << 8);
        else
            ier_write(u, v);
        break;
    case 2: fcr_write(u, v); break;
    case 3:
        if ((v & ~s->lcr & LCR_BREAK) && (s->mcr & MCR_LOOP) && receive(u, 0)) {
            s->lsr_errors |= LSR_BREAK;
            update_irq(u);
        }
        s->lcr = v;
        break;
    case 4: mcr_write(u, v); break;
    case 7: s->scratch = v; break;
    default: break; /* LSR and MSR are read only */
    }
}

static const struct pio_ops uart_ops = {.read = uart_read, .write = uart_write, .max_size = 1};

static bool uart_realize(struct dev *d, struct err *e)
{
    struct uart *u = container_of(d, struct uart, dev);

    (void)e;
    timer_init(&u->timeout, d->env->clock, on_timeout, u);
    bus_add_pio(d->env->bus, "uart", (uint16_t)u->port, 8, &uart_ops, u);
    if (u->chr) {
        chr_set_device(u->chr, on_rx, u);
        chr_set_tx_ready(u->chr, on_tx_ready, u);
    }
    return true;
}

static void uart_unrealize(struct dev *d)
{
    struct uart *u = container_of(d, struct uart, dev);

    if (u->timeout.clock)
        timer_cancel(&u->timeout);
    if (u->chr) {
        chr_set_device(u->chr, NULL, NULL);
        chr_set_tx_ready(u->chr, NULL, NULL);
    }
}

static void uart_reset(struct dev *d)
{
    struct uart *u = container_of(d, struct uart, dev);

    u->s = (struct uart_state){.divisor = 12, .tx_busy = u->s.tx_busy,
                               .msr = MSR_CTS | MSR_DSR | MSR_DCD};
    timer_cancel(&u->timeout);
    update_irq(u);
}

static const struct dev_prop uart_props[] = {
    DEV_PROP("port", PROP_U32, struct uart, port, 0x3f8, "first of eight ports"),
    DEV_PROP("irq", PROP_U32, struct uart, irq, 4, "GSI"),
    DEV_PROP("chr", PROP_PTR, struct uart, chr, 0, "struct chr behind it"),
    {0},
};

const struct dev_class uart_class = {
    .name = "uart",
    .summary = "16550A serial port",
    .size = sizeof(struct uart),
    .props = uart_props,
    .realize = uart_realize,
    .unrealize = uart_unrealize,
    .reset = uart_reset,
};
