/* Preloaded before libc: the n-th call that changes a file of a database fails, and maybe all later ones. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long left = -1; /* calls until one fails; negative for never */
static int persistent, failed, syncs;

void fail_after(long calls, int all_later)
{
    left = calls;
    persistent = all_later;
    failed = 0;
}

int has_failed(void) { return failed; }

int synced(void) { return syncs; } /* syncs that went well */

static int fails(int file, int error)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    if (!strstr(path, "study.db") || left < 0)
        return 0;
    if (left > 0 && left--)
        return 0;
    if (failed && !persistent)
        return 0;
    failed = 1;
    errno = error;
    return 1;
}

#define CHANGES(name, result, arguments, error, ...)                                                                  \
    result name arguments                                                                                              \
    {                                                                                                                  \
        static result(*real) arguments;                                                                                \
        if (!real)                                                                                                     \
            real = (result(*) arguments)dlsym(RTLD_NEXT, #name);                                                       \
        return fails(file, error) ? -1 : real(__VA_ARGS__);                                                            \
    }
#define SYNCS(name)                                                                                                    \
    int name(int file)                                                                                                 \
    {                                                                                                                  \
        static int (*real)(int);                                                                                       \
        if (!real)                                                                                                     \
            real = (int (*)(int))dlsym(RTLD_NEXT, #name);                                                              \
        if (fails(file, EIO))                                                                                          \
            return -1;                                                                                                 \
        syncs++;                                                                                                       \
        return real(file);                                                                                             \
    }

SYNCS(fsync)
SYNCS(fdatasync)
CHANGES(write, ssize_t, (int file, const void *data, size_t size), ENOSPC, file, data, size)
CHANGES(pwrite, ssize_t, (int file, const void *data, size_t size, off_t at), ENOSPC, file, data, size, at)
CHANGES(pwrite64, ssize_t, (int file, const void *data, size_t size, off64_t at), ENOSPC, file, data, size, at)
CHANGES(ftruncate, int, (int file, off_t size), EIO, file, size)
CHANGES(ftruncate64, int, (int file, off64_t size), EIO, file, size)
