/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *must(void *p)
{
    static const char message[] = "vmctl: out of memory\n";
    if (!p) {
        (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
        abort();
    }
    return p;
}

void *mem_calloc(size_t count, size_t size)
{
    return must(calloc(count ? count : 1, size));
}

void *mem_resize(void *p, size_t count, size_t size)
{
    return must(reallocarray(p, count ? count : 1, size));
}

char *mem_strdup(const char *s)
{
    return s ? must(strdup(s)) : NULL;
}

char *mem_strndup(const char *s, size_t n)
{
    return s ? must(strndup(s, n)) : NULL;
}

void *mem_dup(const void *p, size_t n)
{
    return p ? memcpy(must(malloc(n ? n : 1)), p, n) : NULL;
}

char *mem_vprintf(const char *fmt, va_list ap)
{
    char *s = NULL;
    int n = vasprintf(&s, fmt, ap);
    return must(n < 0 ? NULL : s);
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = mem_vprintf(fmt, ap);
    va_end(ap);
    return s;
}

void mem_wipe(void *p, size_t n)
{
    if (p) {
        explicit_bzero(p, n);
    }
    free(p);
}

void mem_wipe_text(char *s)
{
    mem_wipe(s, s ? strlen(s) : 0);
}
