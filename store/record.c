/* SPDX-License-Identifier: MPL-2.0 */
#include "store/record.h"

#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"
#include "specs/vm/vm_summary.h"
#include "store/store.h"

/* Takes the text up to `stop` off the front of `rest`; false when `stop` does not come. */
static bool take_until(struct bytes *rest, char stop, struct bytes *ret)
{
    const char *end = rest->n > 0 ? memchr(rest->data, stop, rest->n) : NULL;
    if (!end) {
        return false;
    }
    size_t n = (size_t)(end - rest->data);
    *ret = (struct bytes){rest->data, n};
    *rest = (struct bytes){end + 1, rest->n - n - 1};
    return true;
}

static bool to_text(struct bytes bytes, char *out, size_t size)
{
    if (bytes.n >= size || memchr(bytes.data, '\0', bytes.n)) {
        return false;
    }
    memcpy(out, bytes.data, bytes.n);
    out[bytes.n] = '\0';
    return true;
}

static bool take_u64(struct bytes *rest, uint64_t max, uint64_t *ret)
{
    char digits[24];
    struct bytes field;
    return take_until(rest, '\t', &field) && to_text(field, digits, sizeof(digits)) &&
           text_to_u64(digits, 0, max, ret);
}

/* It becomes a part of file names. */
static bool take_uid(struct bytes *rest, char *ret)
{
    struct bytes field;
    return take_until(rest, '\t', &field) && field.n > 0 && text_is_id(field.data, field.n) &&
           to_text(field, ret, TEXT_ID_SIZE);
}

/* No record is empty: checksum_take() has found that it is damaged. */
static int describe_damage(struct bytes value, const char *what, struct error *err)
{
    return error_set(err, ERR_STORE, "%s", value.n == 0 ? "its checksum is wrong" : what);
}

static bool take_head(struct bytes *rest, bool has_revision, struct record_head *ret)
{
    struct record_head head = {0};
    if (!take_uid(rest, head.uid) ||
        (has_revision && !take_u64(rest, UINT64_MAX, &head.revision))) {
        return false;
    }
    *ret = head;
    return true;
}

bool record_head(struct bytes value, bool has_revision, struct record_head *ret)
{
    return take_head(&value, has_revision, ret);
}

/* ---- desired ---- */

void record_encode_desired(struct buf *out, const struct vm_desired *desired, uint64_t revision)
{
    struct vm_desired revised = *desired; /* shares all with it */
    struct json_writer sparse = {.out = out, .is_sparse = true};
    revised.revision = revision;
    buf_printf(out, "%s\t%llu\t", desired->uid, (unsigned long long)revision);
    desired_summary_write(out, desired);
    buf_add_char(out, '\n');
    fields_write(&vm_desired_fields, &revised, &sparse);
}

bool record_desired_summary(struct bytes value, struct desired_summary *ret)
{
    struct record_head head;
    struct bytes line;
    return take_head(&value, true, &head) && take_until(&value, '\n', &line) &&
           desired_summary_parse(line.data, line.n, ret);
}

int record_decode_desired(
    struct bytes value, const char *name, struct vm_desired **ret, struct error *err)
{
    struct record_head head;
    struct bytes line;
    const struct bytes whole = value;
    if (!take_head(&value, true, &head) || !take_until(&value, '\n', &line)) {
        return describe_damage(whole, "its first line does not belong to a desired record", err);
    }
    struct vm_desired *desired = vm_desired_read(value, err);
    if (!desired) {
        return -(int)err->code;
    }
    bool is_of_name = !name || text_eq(desired->spec->name, name);
    if (!is_of_name || !text_eq(desired->uid, head.uid) || desired->revision != head.revision) {
        vm_desired_free(desired);
        return error_set(err, ERR_STORE, "its %s and its JSON contradict each other",
            is_of_name ? "first line" : "key");
    }
    *ret = desired;
    return 0;
}

/* Searched for, not parsed: within a text its quotes would be escaped, and what a secret of a step
 * calls its source is a word, never a path. Few members follow it, so that mostly the end of a
 * record is all that is read. */
bool record_source(struct bytes stored, struct bytes *ret)
{
    enum { END_BYTES = 256 };
    static const char key[] = "\"source\":\"/";
    size_t n = stored.n < END_BYTES ? stored.n : END_BYTES;
    const char *end = stored.data + stored.n;
    const char *found = n > 0 ? memmem(end - n, n, key, strlen(key)) : NULL;
    if (!found && stored.n > n) {
        found = memmem(stored.data, stored.n, key, strlen(key));
    }
    if (!found) {
        return false;
    }
    const char *path = found + strlen(key) - 1, *at = path;
    while (at < end && *at != '"') {
        at += *at == '\\' ? 2 : 1;
    }
    *ret = (struct bytes){path, at < end ? (size_t)(at - path) : 0};
    return at < end;
}

/* ---- status ---- */

void record_encode_status(struct buf *out, const struct vm_status *status)
{
    struct json_writer sparse = {.out = out, .is_sparse = true};
    buf_add_str(out, status->uid);
    buf_add_char(out, '\t');
    status_summary_write(out, status);
    buf_add_char(out, '\n');
    fields_write(&vm_status_fields, status, &sparse);
}

bool record_status_summary(struct bytes value, struct status_summary *ret)
{
    struct record_head head;
    struct bytes line;
    return take_head(&value, false, &head) && take_until(&value, '\n', &line) &&
           status_summary_parse(line.data, line.n, ret);
}

int record_decode_status(struct bytes value, struct vm_status **ret, struct error *err)
{
    struct record_head head;
    struct bytes line;
    const struct bytes whole = value;
    if (!take_head(&value, false, &head) || !take_until(&value, '\n', &line)) {
        return describe_damage(whole, "its first line does not belong to a status record", err);
    }
    struct vm_status *status = vm_status_read(value, err);
    if (!status) {
        return -(int)err->code;
    }
    if (!text_eq(status->uid, head.uid)) {
        vm_status_free(status);
        return error_set(err, ERR_STORE, "its first line and its JSON contradict each other");
    }
    *ret = status;
    return 0;
}

/* ---- leases ---- */

void record_encode_lease(struct buf *out, const struct lease *lease)
{
    buf_printf(out, "%s\t%s\t%s", lease->uid, lease->vm_name, lease->purpose ? lease->purpose : "");
}

bool record_decode_lease(struct bytes key, struct bytes value, struct lease *ret)
{
    struct lease lease = {0};
    struct bytes vm_name;
    if (!take_uid(&value, lease.uid) || !take_until(&value, '\t', &vm_name)) {
        return false;
    }
    lease.key = mem_strndup(key.data, key.n);
    lease.vm_name = mem_strndup(vm_name.data, vm_name.n);
    lease.purpose = mem_strndup(value.data, value.n);
    *ret = lease;
    return true;
}

bool record_lease_holder(struct bytes stored, struct bytes *ret_vm_name)
{
    struct bytes uid;
    return take_until(&stored, '\t', &uid) && take_until(&stored, '\t', ret_vm_name);
}

/* ---- events ---- */

static void add_bytes(struct buf *out, struct bytes bytes)
{
    if (bytes.n > 0) {
        buf_add(out, bytes.data, bytes.n);
    }
}

void record_add_event_texts(struct buf *out, const struct event_view *event)
{
    buf_add_str(out, event->is_warning ? "W\t" : "N\t");
    add_bytes(out, event->reason);
    buf_add_char(out, '\t');
    add_bytes(out, event->vm_name);
    buf_add_char(out, '\t');
    add_bytes(out, event->message);
}

void record_encode_event(struct buf *out, const struct event_view *event)
{
    buf_printf(out, "%lu\t%lld\t%lld\t", (unsigned long)event->count, (long long)event->first_ms,
        (long long)event->last_ms);
    record_add_event_texts(out, event);
}

bool record_event_view(struct bytes value, struct event_view *ret)
{
    struct event_view event = {0};
    struct bytes kind;
    uint64_t count, first_ms, last_ms;
    if (!take_u64(&value, UINT32_MAX, &count) || !take_u64(&value, INT64_MAX, &first_ms) ||
        !take_u64(&value, INT64_MAX, &last_ms) || !take_until(&value, '\t', &kind) ||
        !take_until(&value, '\t', &event.reason) || !take_until(&value, '\t', &event.vm_name)) {
        return false;
    }
    event.count = (uint32_t)count;
    event.first_ms = (int64_t)first_ms;
    event.last_ms = (int64_t)last_ms;
    event.is_warning = kind.n == 1 && kind.data[0] == 'W';
    event.message = value;
    *ret = event;
    return true;
}

bool record_event_vm(struct bytes stored, struct bytes *ret)
{
    enum { FIELDS_BEFORE = 5 };
    struct bytes ignored;
    for (int i = 0; i < FIELDS_BEFORE; i++) {
        if (!take_until(&stored, '\t', &ignored)) {
            return false;
        }
    }
    return take_until(&stored, '\t', ret);
}

bool record_event_is_of(struct bytes stored, struct bytes vm_name)
{
    struct bytes name;
    return record_event_vm(stored, &name) && name.n == vm_name.n &&
           memcmp(name.data, vm_name.data, name.n) == 0;
}

/* ---- plain JSON ---- */

void record_encode_json(struct buf *out, const char *key, const json_t *json)
{
    buf_add(out, key, strlen(key) + 1);
    cleanup_free char *text = json_canonical(json);
    buf_add_str(out, text);
}

int record_split_json(
    struct bytes value, const char **ret_key, struct bytes *ret_text, struct error *err)
{
    struct bytes key;
    if (!take_until(&value, '\0', &key)) {
        return describe_damage(value, "its key before the JSON is missing", err);
    }
    *ret_key = key.data;
    *ret_text = value;
    return 0;
}

int record_decode_json(struct bytes value, const char **ret_key, json_t **ret, struct error *err)
{
    const char *key;
    int rc = record_split_json(value, &key, &value, err);
    if (rc < 0) {
        return rc;
    }
    json_error_t at;
    json_t *json = json_loadb(value.n > 0 ? value.data : "", value.n, JSON_DECODE_ANY, &at);
    if (!json) {
        return error_set(err, ERR_STORE, "not JSON at byte %d: %s", at.position, at.text);
    }
    *ret = json;
    *ret_key = key;
    return 0;
}

void record_key(const char *text, char *out)
{
    size_t n = strlen(text);
    if (n <= RECORD_KEY_MAX) {
        memcpy(out, text, n + 1);
        return;
    }
    size_t kept = RECORD_KEY_MAX - (DIGEST_SIZE - 1);
    memcpy(out, text, kept);
    digest_text(text, out + kept);
}
