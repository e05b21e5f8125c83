/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Runs as root in a guest that was woken from the memory of another one, and makes it a guest of
 * its own: its clock, its random numbers, its names and its keys. The records come on a serial port
 * (the argument) or on standard input, as lines; it answers there.
 *
 *   T SECONDS NANOSECONDS   set the clock
 *   C                       answers "clock SECONDS NANOSECONDS": what the clock shows
 *   A NANOSECONDS           set the clock ahead by so much, B back: exact however late it is read
 *   E 128 HEX DIGITS        mix in 64 bytes and reseed the kernel's random numbers from them
 *   H NAME                  set the host's name
 *   F MODE SIZE PATH        write a file: its SIZE bytes follow the line. MODE is octal; the owner
 *                           is that of the file before, or of its directory. Complete or unchanged
 *   X COMMAND               /bin/sh -c COMMAND, without its output
 *   S                       answers "sync" before the next record is read
 *   .                       flushes the files, answers "ok N" (N records failed) and ends
 *
 * First it says "ready". A record that cannot be read is answered with "bad" and ends it: what
 * follows is not known to be one. "ok 0" is the only answer that means that all of it was done.
 *
 * The C library of a guest is not known, and the RNG of one that was linked may be seeded already:
 * none is used. Nothing is allocated, and the entropy is erased once it was given.
 */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <linux/fcntl.h>
#include <linux/ioctl.h>
#include <linux/random.h>
#include <linux/stat.h>
#include <linux/time_types.h>
#include <linux/timex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

enum { LINE_SIZE = 4096, NAME_MAX_BYTES = 64, ENTROPY_BYTES = 64, CHILD = 17 /* SIGCHLD */ };
enum outcome { DONE, FAILED, BAD, ENDED };

static struct {
    int in, out;
    unsigned failed;
    size_t next, n;
    char chunk[LINE_SIZE], line[LINE_SIZE], aside[LINE_SIZE + 1];
} helper;

/* Compilers may call these also where there is no C library. volatile: or this loop becomes a call
 * of itself. */
void *memset(void *to, int byte, size_t n);
void *memset(void *to, int byte, size_t n)
{
    volatile unsigned char *p = to;
    for (size_t i = 0; i < n; i++) {
        p[i] = (unsigned char)byte;
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    volatile unsigned char *p = to;
    const unsigned char *q = from;
    for (size_t i = 0; i < n; i++) {
        p[i] = q[i];
    }
    return to;
}

static long system_call(long number, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

#define CALL(name, a, b, c) system_call(SYS_##name, (long)(a), (long)(b), (long)(c), 0, 0)

/* ---- the stream ---- */

static void say(const char *words)
{
    size_t length = 0;
    while (words[length]) {
        length++;
    }
    for (long n = 0; length > 0 && n >= 0; words += n, length -= (size_t)n) {
        n = CALL(write, helper.out, words, length);
    }
}

static void say_number(long value)
{
    char digits[24];
    size_t at = sizeof(digits) - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0 && at > 0);
    say(digits + at);
}

/* -1: the stream has ended. */
static int take_byte(void)
{
    enum { INTERRUPTED = -4 }; /* EINTR */
    if (helper.next == helper.n) {
        long n = INTERRUPTED;
        while (n == INTERRUPTED) {
            n = CALL(read, helper.in, helper.chunk, LINE_SIZE);
        }
        helper.next = 0;
        helper.n = n > 0 ? (size_t)n : 0;
        if (n <= 0) {
            return -1;
        }
    }
    return (unsigned char)helper.chunk[helper.next++];
}

/* Into helper.line, without its end. false: there is none, or it is too long. */
static bool take_line(void)
{
    for (size_t i = 0; i < LINE_SIZE; i++) {
        int byte = take_byte();
        if (byte < 0) {
            return false;
        }
        helper.line[i] = (char)byte;
        if (byte == '\n') {
            helper.line[i] = '\0';
            return true;
        }
    }
    return false;
}

/* Digits up to a space or the end of the line; *at is behind them then. */
static bool take_number(const char **at, unsigned base, long *ret)
{
    const char *c = *at;
    long value = 0;
    while (*c >= '0' && *c < (char)('0' + base) && value < (1L << 40)) {
        value = value * (long)base + (*c++ - '0');
    }
    bool is_number = c != *at && (*c == ' ' || *c == '\0');
    *at = *c == ' ' ? c + 1 : c;
    *ret = value;
    return is_number;
}

/* ---- the records ---- */

static enum outcome set_time(const char *text)
{
    struct __kernel_timespec now = {0};
    long seconds = 0, nanoseconds = 0;
    if (!take_number(&text, 10, &seconds) || !take_number(&text, 10, &nanoseconds) || *text) {
        return BAD;
    }
    now.tv_sec = seconds;
    now.tv_nsec = nanoseconds;
    return CALL(clock_settime, 0 /* CLOCK_REALTIME */, &now, 0) == 0 ? DONE : FAILED;
}

static enum outcome answer_time(void)
{
    struct __kernel_timespec now = {0};
    if (CALL(clock_gettime, 0 /* CLOCK_REALTIME */, &now, 0) != 0 || now.tv_sec < 0) {
        return FAILED;
    }
    say("clock ");
    say_number((long)now.tv_sec);
    say(" ");
    say_number((long)now.tv_nsec);
    say("\n");
    return DONE;
}

/* adjtimex(2): one step of the kernel's own clock, with nothing between reading and setting it. */
static enum outcome step_time(const char *text, bool is_ahead)
{
    enum { SECOND_NS = 1000000000 };
    struct __kernel_timex step = {.modes = ADJ_SETOFFSET | ADJ_NANO};
    long by_ns = 0;
    if (!take_number(&text, 10, &by_ns) || *text) {
        return BAD;
    }
    long rest_ns = by_ns % SECOND_NS, seconds = by_ns / SECOND_NS;
    bool borrows = !is_ahead && rest_ns > 0; /* its nanoseconds are never negative */
    step.time.tv_sec = is_ahead ? seconds : -seconds - borrows;
    step.time.tv_usec = borrows ? SECOND_NS - rest_ns : rest_ns;
    return CALL(adjtimex, &step, 0, 0) >= 0 ? DONE : FAILED;
}

static enum outcome reseed(char *hex)
{
    static struct {
        int bits, size;
        volatile unsigned char bytes[ENTROPY_BYTES];
    } pool = {.bits = ENTROPY_BYTES * 8, .size = ENTROPY_BYTES};
    for (size_t i = 0; i < 2 * ENTROPY_BYTES; i++) {
        char c = hex[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return BAD;
        }
        pool.bytes[i / 2] = (unsigned char)(pool.bytes[i / 2] << 4 | digit);
    }
    if (hex[2 * ENTROPY_BYTES]) {
        return BAD;
    }
    long fd = CALL(open, "/dev/urandom", O_RDONLY | O_CLOEXEC, 0);
    bool is_done = fd >= 0 && CALL(ioctl, fd, RNDADDENTROPY, &pool) == 0 &&
                   CALL(ioctl, fd, RNDRESEEDCRNG, 0) == 0;
    CALL(close, fd, 0, 0);
    for (size_t i = 0; i < ENTROPY_BYTES; i++) {
        pool.bytes[i] = 0;
        ((volatile char *)hex)[2 * i] = ((volatile char *)hex)[2 * i + 1] = '0';
    }
    return is_done ? DONE : FAILED;
}

static enum outcome set_name(const char *name)
{
    size_t length = 0;
    while (name[length]) {
        length++;
    }
    if (length == 0 || length > NAME_MAX_BYTES) {
        return BAD;
    }
    return CALL(sethostname, name, length, 0) == 0 ? DONE : FAILED;
}

/* A file that stands aside of `path`, of the same owner; < 0: an error. */
static long open_aside(const char *path, long mode)
{
    struct statx owner = {0};
    size_t slash = 0, length = 0;
    for (; path[length]; length++) {
        helper.aside[length] = path[length];
        slash = path[length] == '/' ? length : slash;
    }
    helper.aside[slash + 1] = '\0'; /* its directory */
    bool is_known = system_call(SYS_statx, AT_FDCWD, (long)path, AT_SYMLINK_NOFOLLOW,
                        STATX_UID | STATX_GID, (long)&owner) == 0 ||
                    system_call(SYS_statx, AT_FDCWD, (long)helper.aside, 0, STATX_UID | STATX_GID,
                        (long)&owner) == 0;
    for (size_t i = slash; i < length; i++) {
        helper.aside[i] = path[i];
    }
    helper.aside[length] = '~';
    helper.aside[length + 1] = '\0';
    (void)CALL(unlink, helper.aside, 0, 0);
    long fd = !is_known ? -1
                        : CALL(open, helper.aside,
                              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool is_owned = fd >= 0 && CALL(fchown, fd, owner.stx_uid, owner.stx_gid) == 0 &&
                    CALL(fchmod, fd, mode, 0) == 0;
    if (fd >= 0 && !is_owned) {
        CALL(close, fd, 0, 0);
    }
    return is_owned ? fd : -1;
}

/* Its bytes are taken from the stream whatever comes of it: the next record is behind them. */
static enum outcome write_record(const char *text)
{
    long mode = 0, size = 0;
    if (!take_number(&text, 8, &mode) || !take_number(&text, 10, &size) || *text != '/') {
        return BAD;
    }
    long fd = open_aside(text, mode & 07777);
    bool is_whole = fd >= 0;
    for (long left = size; left > 0;) {
        int byte = take_byte();
        if (byte < 0) {
            (void)CALL(unlink, helper.aside, 0, 0);
            return BAD;
        }
        size_t n = 1 + (helper.n - helper.next);
        n = n > (size_t)left ? (size_t)left : n;
        const char *from = helper.chunk + helper.next - 1;
        is_whole = is_whole && CALL(write, fd, from, n) == (long)n;
        helper.next += n - 1;
        left -= (long)n;
    }
    if (fd >= 0) {
        is_whole = CALL(close, fd, 0, 0) == 0 && is_whole;
    }
    if (is_whole && CALL(rename, helper.aside, text, 0) == 0) {
        return DONE;
    }
    (void)CALL(unlink, helper.aside, 0, 0);
    return FAILED;
}

static enum outcome run_record(const char *command)
{
    const char *const words[] = {"sh", "-c", command, NULL};
    const char *const environment[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", NULL};
    int status = -1;
    long child = system_call(SYS_clone, CHILD, 0, 0, 0, 0);
    if (child == 0) {
        long null = CALL(open, "/dev/null", O_RDWR, 0);
        for (long fd = 0; fd < 3; fd++) { /* never the records, nor the place of the answers */
            (void)(null < 0 ? CALL(close, fd, 0, 0) : CALL(dup2, null, fd, 0));
        }
        (void)CALL(execve, "/bin/sh", words, environment);
        CALL(exit_group, 127, 0, 0);
    }
    return child > 0 && system_call(SYS_wait4, child, (long)&status, 0, 0, 0) == child &&
                   status == 0
               ? DONE
               : FAILED;
}

static enum outcome finish(void)
{
    (void)CALL(sync, 0, 0, 0);
    say("ok ");
    say_number(helper.failed);
    say("\n");
    return ENDED;
}

static enum outcome do_record(char *line)
{
    bool has_text = line[0] && line[1] == ' ';
    char kind = has_text || (line[0] && !line[1]) ? line[0] : '\0';
    char *text = line + 2;
    switch (has_text ? kind : kind | 0x80) {
    case 'T':
        return set_time(text);
    case 'A':
    case 'B':
        return step_time(text, kind == 'A');
    case 'E':
        return reseed(text);
    case 'H':
        return set_name(text);
    case 'F':
        return write_record(text);
    case 'X':
        return run_record(text);
    case 'C' | 0x80:
        return answer_time();
    case 'S' | 0x80:
        say("sync\n");
        return DONE;
    case '.' | 0x80:
        return finish();
    default:
        return BAD;
    }
}

/* The port as a stream of bytes: no echo, no signals, no line ends of its own. */
static bool open_port(const char *path)
{
    struct termios raw = {.c_cflag = CS8 | CREAD | CLOCAL | B115200};
    raw.c_cc[VMIN] = 1;
    long fd = CALL(open, path, O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
    helper.in = helper.out = (int)fd;
    return fd >= 0 && CALL(ioctl, fd, TCSETS, &raw) == 0;
}

/* `stack`: as the kernel leaves it, the number of arguments and then each. */
__attribute__((noreturn, used)) static void start_helper(const uintptr_t *stack)
{
    helper.out = 1;
    bool is_open = stack[0] < 2 || open_port((const char *)stack[2]);
    enum outcome outcome = is_open ? DONE : BAD;
    if (outcome == DONE) {
        say("ready\n");
    }
    while (outcome == DONE || outcome == FAILED) {
        outcome = take_line() ? do_record(helper.line) : BAD;
        helper.failed += outcome == FAILED;
    }
    if (outcome == BAD) {
        say("bad\n");
    }
    CALL(exit_group, outcome == BAD ? 2 : helper.failed > 0, 0, 0);
    __builtin_unreachable();
}

__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call start_helper\n");
