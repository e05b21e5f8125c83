/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The host's side of identity_helper.c: records for the helper that waits on a guest's second
 * serial port, whose other end is a socket in the VM's directory (VM_IDENTITY_SOCKET).
 *
 * It is used once. How far an interrupted stream got is not known, so it is never sent again: the
 * guest is discarded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/loop/op.h"

struct buf;
struct loop;

struct identity_order {
    const char *socket_path;
    const char *records; /* lines, and bytes of files; borrowed for the call */
    size_t n;
    /* True: the clock and fresh random numbers come first; after the records the clock is compared
     * with the host's and stepped, and the helper ends. False: it waits for more. */
    bool is_last;
    int64_t timeout_ms; /* for all of it */
};

/* Succeeds once the helper has answered that every record was done. ERR_IDENTITY: one failed, the
 * helper answers something else, has ended, or is not there; ERR_TIMEOUT: it does not answer. */
struct op *identity_send(
    struct loop *loop, const struct identity_order *order, op_done_fn *done, void *context);

/* Appends the record that makes a file of these bytes. */
void identity_add_file(
    struct buf *records, unsigned mode, const char *path, const char *bytes, size_t n);

/* The helper itself, as text for printf(1): "\177\105…". free() it. NULL: this build has none,
 * because its guests are no x86. */
char *identity_helper_text(void);

/* ---- the helper's answers; pure ---- */

enum identity_answer {
    IDENTITY_MORE,  /* no line that means anything yet */
    IDENTITY_SYNC,  /* all records so far were read and done; how many failed is not known */
    IDENTITY_CLOCK, /* reader->clock_ms is what the guest's clock shows */
    IDENTITY_DONE,  /* "ok 0" */
    IDENTITY_GONE,  /* the helper has ended: start_identity.sh says so in its place */
    IDENTITY_WRONG, /* anything else */
};

struct identity_reader {
    char line[40]; /* what has arrived of it; with IDENTITY_WRONG: what was wrong */
    size_t n;
    int64_t clock_ms; /* since 1970 */
};

/* Reads *n bytes at most; *n becomes how many it took. */
enum identity_answer identity_read(struct identity_reader *reader, const char *bytes, size_t *n);
