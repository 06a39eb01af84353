/* Preloaded into a process: one call of fdatasync on a journal's segment fails with EIO once $BAD_DISK/fail is there. Later calls succeed, as
   after a failure the pages count as clean; each is written down in $BAD_DISK/calls with its file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed;

static void note(const char *place, const char *what, const char *path)
{
    char name[600], line[600];
    snprintf(name, sizeof name, "%s/calls", place);
    int size = snprintf(line, sizeof line, "%s %s\n", what, path);
    int to = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (to < 0 || write(to, line, size) != size)
        abort();
    close(to);
}

int fdatasync(int fd)
{
    static int (*real)(int);
    const char *place = getenv("BAD_DISK");
    char link[64], path[512] = "", trigger[600];
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (!place || readlink(link, path, sizeof path - 1) < 0)
        return real(fd);
    snprintf(trigger, sizeof trigger, "%s/fail", place);
    if (failed) {
        note(place, "again", path);
    } else if (strstr(path, "/segment-") && access(trigger, F_OK) == 0) {
        failed = 1;
        note(place, "failed", path);
        errno = EIO;
        return -1;
    }
    return real(fd);
}
