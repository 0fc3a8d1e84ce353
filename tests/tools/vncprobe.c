/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VNC viewer without a screen, on libvncclient: logs in, types, waits for a frame, saves it.
 *
 *   vncprobe [options] HOST:PORT | SOCKET
 *     --password P      default: environment VNC_PASSWORD
 *     --keys LIST       keysyms by name or character, comma separated: a,Return,Up (before the picture)
 *     --type TEXT       characters, as keysyms
 *     --pointer X,Y     moves the pointer there
 *     --wait MS         looks at the screen so long after the last of these (default 1000)
 *     --ppm FILE        the picture
 *     --updates         keeps printing a line per update until killed
 * Prints "WIDTHxHEIGHT UPDATES". Exit status 1 when it could not log in or saw no frame. */
#include <rfb/rfbclient.h>

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static unsigned updates;
static bool chatty;
static const char *password;

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static char *get_password(rfbClient *cl)
{
    (void)cl;
    return strdup(password ? password : "");
}

static void finished(rfbClient *cl)
{
    updates++;
    if (chatty) {
        printf("%lld %dx%d\n", (long long)now_ms(), cl->width, cl->height);
        fflush(stdout);
    }
}

static bool pump(rfbClient *cl, int ms)
{
    int64_t end = now_ms() + ms;

    for (int64_t left = ms; left > 0; left = end - now_ms()) {
        int n = WaitForMessage(cl, (unsigned)left * 1000);
        if (n < 0 || (n > 0 && !HandleRFBServerMessage(cl)))
            return false;
    }
    return true;
}

static void key(rfbClient *cl, uint32_t keysym)
{
    SendKeyEvent(cl, keysym, TRUE);
    SendKeyEvent(cl, keysym, FALSE);
}

static uint32_t keysym_by_name(const char *name)
{
    static const struct {
        const char *name;
        uint32_t keysym;
    } names[] = {{"Return", 0xff0d}, {"Escape", 0xff1b}, {"Tab", 0xff09}, {"BackSpace", 0xff08},
                 {"Up", 0xff52}, {"Down", 0xff54}, {"Left", 0xff51}, {"Right", 0xff53},
                 {"Home", 0xff50}, {"End", 0xff57}, {"Delete", 0xffff}, {"Space", ' '}, {"F1", 0xffbe},
                 {"F10", 0xffc7}, {"F12", 0xffc9}};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].keysym;
    return (uint8_t)name[0];
}

static bool save(rfbClient *cl, const char *path)
{
    FILE *f = fopen(path, "wb");

    if (!f)
        return false;
    fprintf(f, "P6\n%d %d\n255\n", cl->width, cl->height);
    for (int i = 0; i < cl->width * cl->height; i++)
        fwrite(cl->frameBuffer + (size_t)i * 4, 1, 3, f);
    return fclose(f) == 0;
}

int main(int argc, char **argv)
{
    const char *keys = NULL, *text = NULL, *ppm = NULL, *target = NULL;
    int wait = 1000, x = -1, y = -1;

    password = getenv("VNC_PASSWORD");
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--updates") == 0) {
            chatty = true;
            continue;
        }
        if (argv[i][0] != '-') {
            target = argv[i];
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--password") == 0)
            password = value;
        else if (strcmp(argv[i - 1], "--keys") == 0)
            keys = value;
        else if (strcmp(argv[i - 1], "--type") == 0)
            text = value;
        else if (strcmp(argv[i - 1], "--wait") == 0)
            wait = (int)strtol(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--ppm") == 0)
            ppm = value;
        else if (strcmp(argv[i - 1], "--pointer") != 0 || sscanf(value, "%d,%d", &x, &y) != 2)
            return 2;
    }
    if (!target)
        return 2;

    rfbClient *cl = rfbGetClient(8, 3, 4);
    cl->GetPassword = get_password;
    cl->FinishedFrameBufferUpdate = finished;
    cl->canHandleNewFBSize = TRUE;
    char host[256];
    snprintf(host, sizeof(host), "%s", target);
    char *colon = target[0] == '/' || target[0] == '.' ? NULL : strrchr(host, ':');
    if (colon) {
        *colon = '\0';
        cl->serverPort = (int)strtol(colon + 1, NULL, 10);
    }
    free(cl->serverHost);
    cl->serverHost = strdup(host);
    if (!rfbInitClient(cl, NULL, NULL))
        return 1; /* it has freed the client */
    int64_t deadline = now_ms() + 10000;
    while (!updates && now_ms() < deadline)
        if (!pump(cl, 50))
            return 1;
    while (keys && *keys) {
        char name[16];
        size_t n = strcspn(keys, ",");
        snprintf(name, sizeof(name), "%.*s", (int)n, keys);
        key(cl, keysym_by_name(name));
        keys += n + (keys[n] != '\0');
    }
    for (; text && *text; text++)
        key(cl, (uint8_t)*text);
    if (x >= 0)
        SendPointerEvent(cl, x, y, 0);
    do {
        if (!pump(cl, wait))
            return 1;
    } while (chatty);
    printf("%dx%d %u\n", cl->width, cl->height, updates);
    return updates && (!ppm || save(cl, ppm)) ? 0 : 1;
}
