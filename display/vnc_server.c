/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvncserver in a thread of its own: one screen, rfbProcessEvents. Its "clients" are socketpairs to the
 * relay, which sends it whole, checked messages and always takes what it writes, so it never waits.
 *
 * The library encodes from a private copy of the screen: encoders look at pixels more than once and must
 * not see the guest change them in between.
 *
 * Known traps of libvncserver 0.9.14 and what is done about them: security types are global to the process
 * (one screen, password always set); predictable challenges (vnc_random.c); descriptors above FD_SETSIZE abort
 * (RLIMIT_NOFILE in vnc.c); 100 ms wait for a WebSocket hello (the version is in the socket before the
 * library gets it); a cursor of its own drawn over the guest (none set); HTTP, file transfer, reverse
 * connections, UDP, chat (never started, messages refused by the relay). */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <rfb/rfb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "display/vnc_priv.h"
#include "vmm/base/alloc.h"
#include "vmm/base/bits.h"
#include "vmm/base/buf.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/base/thread.h"

#define POLL_US       15000 /* how long a change of the screen may go unnoticed */
#define RESIZE_NS     (100 * NS_PER_MS) /* a new size must have stood that long */
#define WAIT_MS       2000
#define DEFAULT_WIDTH  640
#define DEFAULT_HEIGHT 480
#define JOINING_MAX   32
#define RECTS_MAX     64
#define QEMU_EXT_KEY  (-258)
#define QEMU_LEDS     (-261)
#define VMWARE_LEDS   0x574d5668

struct joining {
    int sock;
    struct vnc_link *link;
};

struct vnc_server {
    struct surface *surface;
    rfbScreenInfoPtr screen;
    uint32_t *pixels; /* the library's copy */
    unsigned width, height; /* of it; width a multiple of 4 */
    unsigned new_width, new_height; /* what the surface wants, since when */
    int64_t new_since;
    uint64_t frame;
    bool leds_known; /* as viewers were told */
    uint8_t leds;
    char password[VNC_PASSWORD_MAX + 1];
    _Atomic uint32_t size; /* width << 16 | height for the relay */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards joining, stop */
    pthread_cond_t wake;
    struct joining joining[JOINING_MAX];
    unsigned joining_count;
    bool stop;
};

struct vnc_link *vnc_link_new(void)
{
    struct vnc_link *link = X_NEW(struct vnc_link);

    link->refs = 1;
    return link;
}

void vnc_link_put(struct vnc_link *link)
{
    if (atomic_fetch_sub(&link->refs, 1) == 1)
        x_free(link);
}

/* ---- hooks of the library ---- */

__attribute__((format(printf, 1, 2))) static void library_log(const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("rfb", "%s", text);
}

/* In constant time; the password itself is never compared, only what it encrypts to. */
static rfbBool check_password(rfbClientPtr cl, const char *response, int len)
{
    struct vnc_server *srv = cl->screen->screenData;
    struct vnc_link *link = cl->clientData;
    uint8_t expected[CHALLENGESIZE];
    unsigned differ = len != CHALLENGESIZE;

    memcpy(expected, cl->authChallenge, sizeof(expected));
    rfbEncryptBytes(expected, srv->password);
    for (int i = 0; i < CHALLENGESIZE && i < len; i++)
        differ |= expected[i] ^ (uint8_t)response[i];
    explicit_bzero(expected, sizeof(expected));
    if (link)
        link->auth = differ ? VNC_AUTH_WRONG : VNC_AUTH_OK;
    return differ ? FALSE : TRUE;
}

static void client_gone(rfbClientPtr cl)
{
    struct vnc_link *link = cl->clientData;

    cl->clientData = NULL;
    if (link)
        vnc_link_put(link);
}

static enum rfbNewClientAction new_client(rfbClientPtr cl)
{
    struct vnc_server *srv = cl->screen->screenData;

    cl->clientData = srv->joining[0].link; /* with its reference */
    srv->joining[0].link = NULL;
    cl->clientGoneHook = client_gone;
    return RFB_CLIENT_ACCEPT;
}

/* Says that extended key events are understood, with an empty rectangle of that pseudo-encoding; the
 * events themselves end in the relay. */
static rfbBool enable_ext_key(rfbClientPtr cl, void **data, int encoding)
{
    struct {
        rfbFramebufferUpdateMsg msg;
        rfbFramebufferUpdateRectHeader rect;
    } __attribute__((packed)) ack = {
        .msg = {.type = rfbFramebufferUpdate, .nRects = htobe16(1)},
        .rect = {.encoding = htobe32((uint32_t)QEMU_EXT_KEY)},
    };

    (void)data;
    if (encoding != QEMU_EXT_KEY)
        return FALSE;
    return rfbWriteExact(cl, (const char *)&ack, sizeof(ack)) > 0;
}

static int ext_key_encodings[] = {QEMU_EXT_KEY, 0};
static rfbProtocolExtension ext_key = {.pseudoEncodings = ext_key_encodings,
                                       .enablePseudoEncoding = enable_ext_key};

/* ---- lights of the keyboard ---- */

/* The extension's data of a client is a pointer to one of these. */
static int led_encodings[] = {QEMU_LEDS, VMWARE_LEDS, 0};
static rfbBool enable_leds(rfbClientPtr cl, void **data, int encoding);
static rfbProtocolExtension leds_ext = {.pseudoEncodings = led_encodings, .enablePseudoEncoding = enable_leds};

/* An update of one empty rectangle with the lights behind it; both protocols number them alike. */
static rfbBool send_leds(rfbClientPtr cl, int encoding, uint8_t leds)
{
    struct {
        rfbFramebufferUpdateMsg msg;
        rfbFramebufferUpdateRectHeader rect;
        uint8_t state[4];
    } __attribute__((packed)) m = {
        .msg = {.type = rfbFramebufferUpdate, .nRects = htobe16(1)},
        .rect = {.encoding = htobe32((uint32_t)encoding)},
    };
    bool wide = encoding == VMWARE_LEDS;

    m.state[wide ? 3 : 0] = leds;
    return rfbWriteExact(cl, (const char *)&m, (int)(sizeof(m) - (wide ? 0 : 3))) > 0;
}

static rfbBool enable_leds(rfbClientPtr cl, void **data, int encoding)
{
    const struct vnc_server *srv = cl->screen->screenData;

    if (encoding != QEMU_LEDS && encoding != VMWARE_LEDS)
        return FALSE;
    if (*data == &led_encodings[0])
        return TRUE; /* one kind is enough */
    *data = &led_encodings[encoding == QEMU_LEDS ? 0 : 1];
    return srv->leds_known ? send_leds(cl, encoding, srv->leds) : TRUE;
}

static void update_leds(struct vnc_server *srv)
{
    rfbClientPtr cl;
    uint8_t leds;

    if (!surface_get_leds(srv->surface, &leds) || (srv->leds_known && leds == srv->leds))
        return;
    srv->leds_known = true;
    srv->leds = leds;
    rfbClientIteratorPtr it = rfbGetClientIterator(srv->screen);
    while ((cl = rfbClientIteratorNext(it))) {
        const int *encoding = rfbGetExtensionClientData(cl, &leds_ext);
        if (encoding && !send_leds(cl, *encoding, leds))
            rfbCloseClient(cl);
    }
    rfbReleaseClientIterator(it);
}

/* ---- screen ---- */

/* XRGB8888 as the surface has it: viewers mostly ask for the same and get it untranslated. */
static void set_format(rfbScreenInfoPtr screen)
{
    screen->serverFormat.redShift = 16;
    screen->serverFormat.greenShift = 8;
    screen->serverFormat.blueShift = 0;
    screen->serverFormat.depth = 24;
}

static void copy_rect(struct vnc_server *srv, struct surface_rect r)
{
    const uint32_t *src = surface_read_pixels(srv->surface);

    if (r.x >= srv->width || r.y >= srv->height)
        return;
    r.w = (uint16_t)MIN(r.w, srv->width - r.x);
    r.h = (uint16_t)MIN(r.h, srv->height - r.y);
    for (unsigned y = r.y; y < r.y + (unsigned)r.h; y++)
        memcpy(srv->pixels + (size_t)y * srv->width + r.x, src + (size_t)y * SURFACE_MAX_WIDTH + r.x,
               r.w * sizeof(*src));
    rfbMarkRectAsModified(srv->screen, r.x, r.y, r.x + r.w, r.y + r.h);
}

static bool resize(struct vnc_server *srv, unsigned width, unsigned height)
{
    uint32_t *old = srv->pixels, *new = try_alloc((size_t)width * height * sizeof(*new));
    rfbClientPtr cl;

    if (!new) {
        log_error("vnc", "no memory for a desktop of %ux%u", width, height);
        srv->new_since = clock_now_ns() + NS_PER_S; /* try again later */
        return false;
    }
    srv->pixels = new;
    srv->width = width;
    srv->height = height;
    srv->size = width << 16 | height;
    rfbNewFramebuffer(srv->screen, (char *)new, (int)width, (int)height, 8, 3, 4);
    x_free(old);
    /* that call went back to the library's own pixel format */
    set_format(srv->screen);
    rfbClientIteratorPtr it = rfbGetClientIterator(srv->screen);
    while ((cl = rfbClientIteratorNext(it)))
        srv->screen->setTranslateFunction(cl);
    rfbReleaseClientIterator(it);
    return true;
}

/* Takes over what has changed on the surface; true when something has. A new size is followed once it has
 * stood for a moment: a boot goes through several, and some viewers break when they come in bursts. */
static bool update(struct vnc_server *srv)
{
    struct surface_rect rects[RECTS_MAX];
    struct surface_geometry g;
    uint64_t frame;

    surface_get_geometry(srv->surface, &g);
    unsigned width = g.width ? (g.width + 3u) & ~3u : DEFAULT_WIDTH;
    unsigned height = g.height ? g.height : DEFAULT_HEIGHT;
    if (width != srv->width || height != srv->height) {
        int64_t now = clock_now_ns();
        if (width != srv->new_width || height != srv->new_height) {
            srv->new_width = width;
            srv->new_height = height;
            srv->new_since = now;
        }
        if (now - srv->new_since < RESIZE_NS || !resize(srv, width, height))
            return false;
        srv->frame = UINT64_MAX; /* everything is new */
    }
    srv->new_width = 0;
    if (surface_frame(srv->surface) == srv->frame)
        return false;
    unsigned n = surface_get_damage(srv->surface, srv->frame, rects, RECTS_MAX, &frame);
    srv->frame = frame;
    for (unsigned i = 0; i < n; i++)
        copy_rect(srv, rects[i]);
    return n > 0;
}

/* ---- thread ---- */

static void admit(struct vnc_server *srv)
{
    pthread_mutex_lock(&srv->lock);
    while (srv->joining_count) {
        if (!rfbNewClient(srv->screen, srv->joining[0].sock)) /* calls new_client */
            log_warn("vnc", "the library refused a viewer");
        if (srv->joining[0].link)
            vnc_link_put(srv->joining[0].link);
        srv->joining_count--;
        memmove(srv->joining, srv->joining + 1, srv->joining_count * sizeof(srv->joining[0]));
    }
    pthread_mutex_unlock(&srv->lock);
}

static void *serve(void *opaque)
{
    struct vnc_server *srv = opaque;

    for (;;) {
        pthread_mutex_lock(&srv->lock);
        while (!srv->stop && !srv->joining_count && !srv->screen->clientHead)
            pthread_cond_wait(&srv->wake, &srv->lock);
        bool stop = srv->stop;
        pthread_mutex_unlock(&srv->lock);
        if (stop)
            return NULL;
        admit(srv);
        update_leds(srv);
        rfbProcessEvents(srv->screen, update(srv) ? 0 : POLL_US);
    }
}

void vnc_server_add(struct vnc_server *srv, int sock, struct vnc_link *link)
{
    pthread_mutex_lock(&srv->lock);
    if (srv->joining_count == JOINING_MAX) {
        close(sock);
    } else {
        link->refs++;
        srv->joining[srv->joining_count++] = (struct joining){.sock = sock, .link = link};
        pthread_cond_signal(&srv->wake);
    }
    pthread_mutex_unlock(&srv->lock);
}

void vnc_server_size(const struct vnc_server *srv, unsigned *width, unsigned *height)
{
    uint32_t size = srv->size;

    *width = size >> 16;
    *height = size & 0xffff;
}

struct vnc_server *vnc_server_new(const struct vnc_cfg *cfg, struct surface *surface, struct err *e)
{
    struct vnc_server *srv = X_NEW(struct vnc_server);

    rfbLog = library_log;
    rfbErr = library_log;
    rfbMaxClientWait = WAIT_MS;
    srv->surface = surface;
    pthread_mutex_init(&srv->lock, NULL);
    pthread_cond_init(&srv->wake, NULL);
    str_copy(srv->password, sizeof(srv->password), cfg->password);
    if (dlsym(RTLD_DEFAULT, "rfbRandomBytes") != (void *)rfbRandomBytes) {
        err_set(e, ERR_INTERNAL, "libvncserver would not use our random numbers (link with -rdynamic)");
        goto fail;
    }
    srv->width = DEFAULT_WIDTH;
    srv->height = DEFAULT_HEIGHT;
    srv->size = DEFAULT_WIDTH << 16 | DEFAULT_HEIGHT;
    srv->frame = UINT64_MAX;
    srv->pixels = x_calloc((size_t)srv->width * srv->height, sizeof(*srv->pixels));
    srv->screen = rfbGetScreen(NULL, NULL, (int)srv->width, (int)srv->height, 8, 3, 4);
    if (!srv->screen) {
        err_set(e, ERR_NOMEM, "libvncserver does not start");
        goto fail;
    }
    rfbScreenInfoPtr s = srv->screen;
    s->frameBuffer = (char *)srv->pixels;
    s->screenData = srv;
    s->desktopName = cfg->name;
    s->authPasswdData = srv->password;
    s->passwordCheck = check_password;
    s->newClientHook = new_client;
    s->cursor = NULL;
    s->alwaysShared = TRUE;
    s->dontDisconnect = TRUE;
    s->deferUpdateTime = 0;
    s->port = s->ipv6port = 0; /* it listens nowhere */
    s->autoPort = FALSE;
    s->httpDir = NULL;
    s->permitFileTransfer = FALSE;
    set_format(s);
    rfbRegisterProtocolExtension(&ext_key);
    rfbRegisterProtocolExtension(&leds_ext);
    rfbInitServer(s);
    if (!thread_start(&srv->thread, "rfb", serve, srv, e))
        goto fail;
    srv->started = true;
    return srv;
fail:
    vnc_server_free(srv);
    return NULL;
}

void vnc_server_free(struct vnc_server *srv)
{
    if (!srv)
        return;
    if (srv->started) {
        pthread_mutex_lock(&srv->lock);
        srv->stop = true;
        pthread_cond_signal(&srv->wake);
        pthread_mutex_unlock(&srv->lock);
        pthread_join(srv->thread, NULL);
    }
    for (unsigned i = 0; i < srv->joining_count; i++) {
        close(srv->joining[i].sock);
        vnc_link_put(srv->joining[i].link);
    }
    if (srv->screen) {
        rfbShutdownServer(srv->screen, TRUE);
        rfbScreenCleanup(srv->screen);
        rfbUnregisterProtocolExtension(&ext_key);
        rfbUnregisterProtocolExtension(&leds_ext);
    }
    x_free(srv->pixels);
    explicit_bzero(srv->password, sizeof(srv->password));
    pthread_mutex_destroy(&srv->lock);
    pthread_cond_destroy(&srv->wake);
    x_free(srv);
}
