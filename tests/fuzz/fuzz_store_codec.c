/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The readers of store records take any bytes (libFuzzer). What they accept must come back equal
 * after it was written and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json_scan.h"
#include "specs/base/json_write.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_summary.h"
#include "store/lmdb/checksum.h"
#include "store/record.h"
#include "store/store.h"

static void insist(bool holds)
{
    if (!holds) {
        abort();
    }
}

static struct bytes bytes_of(const struct buf *buf)
{
    return (struct bytes){buf_str(buf), buf->len};
}

static bool buf_equals(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0;
}

static void try_desired(struct bytes input)
{
    struct vm_desired *desired = NULL, *again = NULL;
    struct record_head head;
    struct desired_summary summary;
    struct error err = {0};
    (void)record_head(input, true, &head);
    (void)record_desired_summary(input, &summary);
    if (record_decode_desired(input, NULL, &desired, &err) < 0) {
        insist(err.code != ERR_NONE);
        return;
    }
    cleanup_buf struct buf first = BUF_INIT(0), second = BUF_INIT(0);
    record_encode_desired(&first, desired, desired->revision);
    insist(record_head(bytes_of(&first), true, &head));
    insist(strcmp(head.uid, desired->uid) == 0 && head.revision == desired->revision);
    insist(record_desired_summary(bytes_of(&first), &summary));
    insist(record_decode_desired(bytes_of(&first), NULL, &again, &err) == 0);
    record_encode_desired(&second, again, again->revision);
    insist(buf_equals(&first, &second));
    vm_desired_free(desired);
    vm_desired_free(again);
}

static void try_status(struct bytes input)
{
    struct vm_status *status = NULL, *again = NULL;
    struct record_head head;
    struct status_summary summary;
    struct error err = {0};
    (void)record_head(input, false, &head);
    (void)record_status_summary(input, &summary);
    if (record_decode_status(input, &status, &err) < 0) {
        insist(err.code != ERR_NONE);
        return;
    }
    cleanup_buf struct buf first = BUF_INIT(0), second = BUF_INIT(0);
    record_encode_status(&first, status);
    insist(record_status_summary(bytes_of(&first), &summary));
    insist(record_decode_status(bytes_of(&first), &again, &err) == 0);
    record_encode_status(&second, again);
    insist(buf_equals(&first, &second));
    vm_status_free(status);
    vm_status_free(again);
}

static void try_lines(struct bytes input)
{
    struct desired_summary desired;
    struct status_summary status;
    if (desired_summary_parse(input.data, input.n, &desired)) {
        insist(strlen(network_mode_name(desired.network)) > 0);
        insist(strlen(backend_kind_name(desired.backend)) > 0);
    }
    if (status_summary_parse(input.data, input.n, &status)) {
        insist(strlen(vm_display_word(&(struct desired_summary){0}, &status)) > 0);
    }
}

static void try_event(struct bytes input)
{
    struct event_view event, again;
    if (!record_event_view(input, &event)) {
        return;
    }
    cleanup_buf struct buf text = BUF_INIT(0);
    record_encode_event(&text, &event);
    insist(record_event_view(bytes_of(&text), &again));
    insist(again.count == event.count && again.first_ms == event.first_ms &&
           again.last_ms == event.last_ms && again.is_warning == event.is_warning &&
           again.message.n == event.message.n && again.vm_name.n == event.vm_name.n);
}

static void try_lease_and_json(struct bytes input)
{
    struct lease lease;
    struct error err = {0};
    const char *key = NULL;
    json_t *json = NULL;
    if (record_decode_lease((struct bytes){"tcp/1", 5}, input, &lease)) {
        free(lease.key);
        free(lease.vm_name);
        free(lease.purpose);
    }
    if (record_decode_json(input, &key, &json, &err) == 0) {
        cleanup_buf struct buf text = BUF_INIT(0);
        json_t *again = NULL;
        record_encode_json(&text, key, json);
        insist(record_decode_json(bytes_of(&text), &key, &again, &err) == 0);
        insist(json_equal(json, again));
        json_decref(json);
        json_decref(again);
    }
}

static void insist_written_as_by_jansson(const json_t *json, bool is_indented)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    struct json_writer writer = {.out = &text, .is_indented = is_indented, .is_sorted = true};
    size_t layout = is_indented ? JSON_INDENT(2) : JSON_COMPACT;
    cleanup_free char *expected = json_dumps(json, layout | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    json_write_tree(&writer, json);
    insist(strcmp(buf_str(&text), expected) == 0);
}

/* The same text in another form: a status reads the same from both. */
static void insist_read_as_by_jansson(struct bytes input, const json_t *json)
{
    struct error err = {0}, other_err = {0};
    cleanup_free char *text =
        json_dumps(json, JSON_INDENT(1) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    struct vm_status *status = vm_status_read(input, &err);
    struct vm_status *other = vm_status_read((struct bytes){text, strlen(text)}, &other_err);
    insist((status == NULL) == (other == NULL));
    if (status && !status->unread_spec) { /* which is kept as the text has it */
        insist(vm_status_equal(status, other));
    }
    vm_status_free(status);
    vm_status_free(other);
}

/* Without a tree, and yet as jansson has it, which overlooks a NUL behind a number. */
static void try_json_text(struct bytes input)
{
    struct json_scan scan;
    json_error_t at;
    cleanup_json json_t *json = json_loadb(input.data, input.n, JSON_DECODE_ANY, &at);
    json_scan_init(&scan, input);
    (void)json_scan_skip(&scan);
    json_scan_end(&scan);
    json_scan_clear(&scan);
    if (memchr(input.data, '\0', input.n)) {
        return;
    }
    insist((json != NULL) == !scan.problem || json_error_code(&at) == json_error_numeric_overflow);
    if (!json) {
        return;
    }
    insist_written_as_by_jansson(json, false);
    insist_written_as_by_jansson(json, true);
    cleanup_json json_t *unique =
        json_loadb(input.data, input.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (unique) {
        insist_read_as_by_jansson(input, unique);
    }
}

/* What has a checksum is read as it was written, and not after any change; other bytes are a record
 * of an older version. */
static void try_checksum(struct bytes input)
{
    const struct bytes key = {"web", 3};
    struct bytes taken = checksum_take(STORE_DESIRED, key, input);
    insist(taken.n <= input.n);
    cleanup_buf struct buf stored = BUF_INIT(0);
    unsigned char sum[CHECKSUM_BYTES];
    if (input.n > 0) {
        buf_add(&stored, input.data, input.n);
    }
    checksum_write(STORE_DESIRED, key, input, sum);
    buf_add(&stored, (const char *)sum, sizeof(sum));
    taken = checksum_take(STORE_DESIRED, key, bytes_of(&stored));
    insist(taken.n == input.n && (input.n == 0 || memcmp(taken.data, input.data, input.n) == 0));
    if (input.n > 0) {
        stored.data[(unsigned char)input.data[0] % input.n] ^= 1;
        insist(checksum_take(STORE_DESIRED, key, bytes_of(&stored)).n == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = {(const char *)data, size};
    try_desired(input);
    try_status(input);
    try_lines(input);
    try_event(input);
    try_lease_and_json(input);
    try_json_text(input);
    try_checksum(input);
    return 0;
}
