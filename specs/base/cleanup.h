/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Ownership that ends with the scope: `cleanup_free char *p = NULL;`, `cleanup_close int fd = -1;`.
 * Ownership moves on by taking the value out: `*ret = TAKE_PTR(p);`, `return TAKE_FD(fd);`.
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close_(int *fd)
{
    if (*fd >= 0) {
        close(*fd); /* never retried on EINTR: Linux has closed it already, see close(2) */
        *fd = -1;   /* the number may be another descriptor's by the next call */
    }
}

#define cleanup_free __attribute__((cleanup(cleanup_free_)))
#define cleanup_close __attribute__((cleanup(cleanup_close_)))
/* For any `void x_free(struct x **)` or `void x_clear(struct x *)` taking the variable's address.
 */
#define cleanup_with(fn) __attribute__((cleanup(fn)))

#define TAKE_PTR(p)                                                                                \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

#define TAKE_FD(fd)                                                                                \
    __extension__({                                                                                \
        int taken_ = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        taken_;                                                                                    \
    })

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
