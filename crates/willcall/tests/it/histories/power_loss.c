/* Journals what a process does to the files of one folder, so that a test can put the folder back
 * to what a power failure would have left. Preloaded (LD_PRELOAD) under the server; it changes
 * nothing of what the server sees.
 *
 *   POWER_LOSS_FOLDER   the folder, as a canonical path
 *   POWER_LOSS_JOURNAL  the journal, in another folder; appended to
 *   POWER_LOSS_LIES     if set: fdatasync, which is how the log is synced after a commit, does
 *                       nothing and says that it did
 *
 * One lock is held over the record of a write and the write, so records are in the order of the
 * writes. A record comes before its write. A sync has two: one before it and one after it returned;
 * what was recorded before the first is durable with the second. Shared memory (-shm) is left out:
 * nothing of it outlives a power failure. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE = 1, ZEROS, LENGTH, SYNC_BEGINS, SYNC_ENDS, CREATE, RENAME, REMOVE };

/* Followed by `bytes` bytes: what is written (WRITE) or names with their final zeros. */
struct record {
    uint32_t kind;
    uint32_t bytes;
    uint64_t inode; /* of the file, or of the folder if a sync is of names */
    uint64_t at;    /* where it is written, the new length, or the number of the sync */
    uint64_t length; /* of ZEROS */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_bytes;
static int journal = -1;
static int lies;
static uint64_t syncs;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWER_LOSS_JOURNAL");
    folder = getenv("POWER_LOSS_FOLDER");
    lies = getenv("POWER_LOSS_LIES") != NULL;
    if (!path || !folder)
        return;
    folder_bytes = strlen(folder);
    journal = REAL(open)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (journal < 0) {
        perror("the journal of the power loss");
        _exit(70);
    }
}

/* The name within the folder, "" for the folder itself, NULL for what is elsewhere. */
static const char *name_of(const char *path) {
    if (journal < 0 || !path || strncmp(path, folder, folder_bytes))
        return NULL;
    const char *rest = path + folder_bytes;
    if (*rest == 0)
        return rest;
    if (*rest != '/' || strchr(rest + 1, '/'))
        return NULL;
    size_t length = strlen(rest + 1);
    if (length >= 4 && !strcmp(rest + 1 + length - 4, "-shm"))
        return NULL;
    return rest + 1;
}

/* The inode of a file of the folder, or of the folder; 0 for what is elsewhere. */
static uint64_t inode_of(int fd) {
    char link[64], path[PATH_MAX];
    struct stat stat;
    if (journal < 0 || fd == journal)
        return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    uint64_t inode = 0;
    if (length > 0) {
        path[length] = 0;
        char *deleted = strstr(path, " (deleted)");
        if (deleted)
            *deleted = 0;
        if (name_of(path) && !fstat(fd, &stat) && (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode)))
            inode = stat.st_ino;
    }
    errno = before;
    return inode;
}

/* With the lock held. */
static void note(uint32_t kind, uint64_t inode, uint64_t at, uint64_t length, const void *bytes,
                 size_t count) {
    struct record record = {kind, (uint32_t)count, inode, at, length};
    struct iovec parts[2] = {{&record, sizeof record}, {(void *)bytes, count}};
    ssize_t all = (ssize_t)(sizeof record + count);
    if (REAL(writev)(journal, parts, 2) != all) {
        perror("the journal of the power loss");
        _exit(70);
    }
}

static void note_write(uint64_t inode, const void *bytes, size_t count, uint64_t at) {
    const char *all = bytes;
    if (count > 0 && all[0] == 0 && !memcmp(all, all + 1, count - 1))
        note(ZEROS, inode, at, count, NULL, 0);
    else
        note(WRITE, inode, at, 0, bytes, count);
}

/* Where a write without an offset goes. */
static uint64_t place(int fd) {
    struct stat stat;
    if ((fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &stat))
        return (uint64_t)stat.st_size;
    return (uint64_t)lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    uint64_t inode = inode_of(fd);
    if (!inode)
        return REAL(write)(fd, bytes, count);
    pthread_mutex_lock(&lock);
    note_write(inode, bytes, count, place(fd));
    ssize_t done = REAL(write)(fd, bytes, count);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int many) {
    uint64_t inode = inode_of(fd);
    if (!inode)
        return REAL(writev)(fd, parts, many);
    pthread_mutex_lock(&lock);
    uint64_t at = place(fd);
    for (int part = 0; part < many; part++) {
        note_write(inode, parts[part].iov_base, parts[part].iov_len, at);
        at += parts[part].iov_len;
    }
    ssize_t done = REAL(writev)(fd, parts, many);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    uint64_t inode = inode_of(fd);
    if (!inode)
        return REAL(pwrite64)(fd, bytes, count, at);
    pthread_mutex_lock(&lock);
    note_write(inode, bytes, count, (uint64_t)at);
    ssize_t done = REAL(pwrite64)(fd, bytes, count, at);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return pwrite64(fd, bytes, count, at);
}

int ftruncate64(int fd, off64_t length) {
    uint64_t inode = inode_of(fd);
    if (!inode)
        return REAL(ftruncate64)(fd, length);
    pthread_mutex_lock(&lock);
    note(LENGTH, inode, (uint64_t)length, 0, NULL, 0);
    int done = REAL(ftruncate64)(fd, length);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

static int synced(int fd, int (*sync)(int)) {
    uint64_t inode = inode_of(fd);
    if (!inode)
        return sync(fd);
    pthread_mutex_lock(&lock);
    uint64_t number = ++syncs;
    note(SYNC_BEGINS, inode, number, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    int done = sync(fd);
    int error = errno;
    if (!done) {
        pthread_mutex_lock(&lock);
        note(SYNC_ENDS, inode, number, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return done;
}

int fsync(int fd) {
    return synced(fd, REAL(fsync));
}

int fdatasync(int fd) {
    if (lies && inode_of(fd))
        return 0;
    return synced(fd, REAL(fdatasync));
}

static int opened(int at, const char *path, int flags, mode_t mode) {
    int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat64");
    const char *name = name_of(path);
    if (!name || !*name || !(flags & (O_CREAT | O_TRUNC)))
        return real(at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int before = errno;
    int is_new = access(path, F_OK) != 0;
    errno = before;
    int fd = real(at, path, flags, mode);
    struct stat stat;
    int error = errno;
    if (fd >= 0 && !fstat(fd, &stat)) {
        if (is_new)
            note(CREATE, stat.st_ino, 0, 0, name, strlen(name) + 1);
        else if (flags & O_TRUNC)
            note(LENGTH, stat.st_ino, 0, 0, NULL, 0);
    }
    errno = error;
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags, mode)                                                                          \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                         \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = (mode_t)va_arg(rest, int);                                                          \
        va_end(rest);                                                                              \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(at, path, flags, mode);
}

int unlink(const char *path) {
    const char *name = name_of(path);
    if (!name || access(path, F_OK))
        return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    note(REMOVE, 0, 0, 0, name, strlen(name) + 1);
    int done = REAL(unlink)(path);
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    const char *old = name_of(from), *new = name_of(to);
    char names[2 * NAME_MAX + 2];
    if (!old || !new)
        return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int bytes = snprintf(names, sizeof names, "%s%c%s", old, 0, new) + 1;
    note(RENAME, 0, 0, 0, names, (size_t)bytes);
    int done = REAL(rename)(from, to);
    pthread_mutex_unlock(&lock);
    return done;
}
