/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: whatever etcd, or what answers in its place, sends: frames, statuses, each of
 * its messages, and a certificate. What is read holds what the headers promise. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controller/fleet/certificate.h"
#include "controller/fleet/engine.h"
#include "controller/fleet/etcd/frame.h"
#include "controller/fleet/etcd/messages.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { MESSAGE_MAX = 1 << 20, OPS_MAX = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_row(const struct engine_row *row)
{
    check(row->key[0] != '\0' && row->value.data[row->value.n] == '\0');
    check(strlen(row->key) < MESSAGE_MAX);
}

static void check_rows(struct engine_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        check_row(&rows->rows[i]);
    }
    engine_rows_clear(rows);
}

static void try_rows(const struct bytes *message)
{
    struct engine_rows rows = {0};
    struct error err = {0};
    int rc = message_read_range(message, &rows, &err);
    check(rc == 0 || (rc == -(int)err.code && rows.n == 0 && !rows.memory));
    check_rows(&rows);
}

static void try_txn(const struct bytes *message, size_t n_writes, size_t n_reads)
{
    struct engine_result result = {0};
    struct error err = {0};
    int rc = message_read_txn(message, n_writes, n_reads, &result, &err);
    check(rc == 0 ? result.n_reads == n_reads && result.outcome >= ENGINE_FAILED
                  : !result.reads && result.outcome == ENGINE_NOT_DONE);
    for (size_t i = 0; i < result.n_reads; i++) {
        check_rows(&result.reads[i]);
    }
    engine_result_clear(&result);
}

static void try_watch(const struct bytes *message)
{
    struct watch_message watch;
    struct error err = {0};
    if (message_read_watch(message, &watch, &err) == 0) {
        for (size_t i = 0; i < watch.n_events; i++) {
            check_row(&watch.events[i].row);
        }
        watch_message_clear(&watch);
    }
}

static void try_small(const struct bytes *message)
{
    struct engine_lease lease = {0};
    struct engine_status status;
    struct certificate_dates dates;
    struct error err = {0};
    check(message_read_lease(message, &lease, &err) < 0 || lease.ttl_ms > 0);
    error_clear(&err);
    if (message_read_status(message, &status, &err) == 0) {
        check(strlen(status.version) < sizeof(status.version));
    }
    error_clear(&err);
    (void)certificate_parse(message, &dates, &err);
}

static void try_text(const char *text)
{
    struct error err = {0};
    bool is_refused;
    bool is_elsewhere;
    cleanup_buf struct buf words = BUF_INIT(0);
    frame_add_text(&words, text);
    (void)message_status_error(text[0], buf_str(&words), &is_refused, &is_elsewhere, &err);
    check(err.code != ERR_NONE && err.message[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes whole = {(const char *)data, size};
    struct bytes left = whole;
    struct bytes frame;
    struct error err = {0};
    cleanup_free char *text = mem_strndup(size ? (const char *)data : "", size);
    while (frame_read(&left, MESSAGE_MAX, &frame, &err) > 0) {
        left.n -= FRAME_HEAD_SIZE + frame.n;
        left.data = frame.data + frame.n;
        try_watch(&frame);
    }
    try_text(text);
    try_rows(&whole);
    try_watch(&whole);
    try_small(&whole);
    for (size_t n_writes = 0; n_writes < OPS_MAX; n_writes++) {
        for (size_t n_reads = 0; n_reads < OPS_MAX; n_reads++) {
            try_txn(&whole, n_writes, n_reads);
        }
    }
    return 0;
}
