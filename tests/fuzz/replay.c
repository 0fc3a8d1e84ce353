/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A main for fuzz targets without a fuzzer: feeds them the files and folders named on the command
 * line, or the corpus of the target of its own name (replay_X: tests/fuzz/corpus/X), and an empty
 * input. Prints TAP. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned count;

static void replay(const char *path)
{
    struct stat st;
    char name[4096];

    if (stat(path, &st) < 0)
        return;
    if (S_ISDIR(st.st_mode)) {
        DIR *dir = opendir(path);
        for (struct dirent *d; dir && (d = readdir(dir));)
            if (d->d_name[0] != '.' &&
                (size_t)snprintf(name, sizeof(name), "%s/%s", path, d->d_name) < sizeof(name))
                replay(name);
        if (dir)
            closedir(dir);
        return;
    }
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(MAX);
    if (f && data) {
        LLVMFuzzerTestOneInput(data, fread(data, 1, MAX, f));
        count++;
    }
    free(data);
    if (f)
        fclose(f);
}

int main(int argc, char **argv)
{
    const char *name = strstr(argv[0], "replay_");
    char corpus[256];

    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    if (argc == 1 && name) {
        snprintf(corpus, sizeof(corpus), "tests/fuzz/corpus/%s", name + strlen("replay_"));
        replay(corpus);
    }
    printf("ok - %s of %u inputs\n", name ? name : argv[0], count);
    return 0;
}
