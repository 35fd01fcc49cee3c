/* A wall clock that is off by so many seconds as CLOCK_OFF_S says, for one process (LD_PRELOAD). */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, id, now);
    const char *off = getenv("CLOCK_OFF_S");
    if (failed == 0 && off && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += atol(off);
    return (int)failed;
}
