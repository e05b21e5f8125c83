/* SPDX-License-Identifier: MPL-2.0 */
/* A reconciler_host for tests of the media: real loop, real pool, a data directory of its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/reconciler.h"
#include "specs/base/error.h"
#include "specs/base/paths.h"

struct media_host {
    struct reconciler_host host;
    struct paths paths;
    char dir[64];       /* made by mkdtemp; the data directory is dir/data */
    json_t *records;    /* what host.image_record() answers from */
    size_t n_waiting;   /* operations under way */
    struct error error; /* of the last one that failed */
    bool is_too_late;
};

void media_host_setup(struct media_host *m);
void media_host_teardown(struct media_host *m);

/* For `done` of an operation, with the media_host as context. */
void media_host_done(void *context, const struct error *err);

/* Runs the loop until `n` operations were done; returns the last error's code (ERR_NONE: none), or
 * ERR_TIMEOUT after 30 s. */
enum error_code media_host_wait(struct media_host *m, size_t n);

/* Runs the loop until `is_true` is, looking every 5 ms; false after 30 s. */
bool media_host_wait_for(struct media_host *m, bool (*is_true)(void *context), void *context);

/* A path in m->dir; free() it. */
char *media_host_path(const struct media_host *m, const char *name);
/* Writes m->dir/name; returns its path: free() it. */
char *media_host_file(const struct media_host *m, const char *name, const void *bytes, size_t n);

/* Bytes that do not repeat and do not compress. free() them. */
uint8_t *media_host_bytes(size_t n, uint32_t seed);

/* Runs a program to its end; true when it exits with 0. */
bool media_host_run(const char *const *argv);
