/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The bytes of store records, apart from LMDB so that they can be fuzzed. Private to store/.
 *
 *   desired  key NAME   UID \t REVISION \t summary \n JSON     (summary: specs/vm/vm_summary.h)
 *   status   key NAME   UID \t summary \n JSON
 *   leases   key KEY    UID \t VM \t PURPOSE
 *   events   key u64 BE COUNT \t FIRST \t LAST \t N|W \t REASON \t VM \t MESSAGE
 *   others   key KEY    KEY \0 JSON
 *
 * The uid and the revision come first so that compare-and-set parses no JSON under the write
 * lock, the summary so that `list` parses none at all. Readers take any bytes: bytes they cannot
 * read are an error, never a crash.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/json.h"
#include "specs/base/text.h"
#include "specs/vm/condition.h"

struct buf;
struct desired_summary;
struct error;
struct lease;
struct status_summary;
struct vm_desired;
struct vm_event;
struct vm_status;

/* The VM a record belongs to; revision is 0 for a status. */
struct record_head {
    char uid[TEXT_ID_SIZE];
    uint64_t revision;
};

/* `has_revision`: of a desired record; else of a status. */
bool record_head(struct bytes value, bool has_revision, struct record_head *ret);

void record_encode_desired(struct buf *out, const struct vm_desired *desired, uint64_t revision);
bool record_desired_summary(struct bytes value, struct desired_summary *ret);
/* `name`: the key, which the JSON must agree with; NULL: any. */
int record_decode_desired(
    struct bytes value, const char *name, struct vm_desired **ret, struct error *err);

/* The path of the VMFile that a desired record came from, as its JSON has it; false: it came from
 * none. `stored` may be damaged, and may have its checksum. */
bool record_source(struct bytes stored, struct bytes *ret);

void record_encode_status(struct buf *out, const struct vm_status *status);
bool record_status_summary(struct bytes value, struct status_summary *ret);
int record_decode_status(struct bytes value, struct vm_status **ret, struct error *err);

void record_encode_lease(struct buf *out, const struct lease *lease);
bool record_decode_lease(struct bytes key, struct bytes value, struct lease *ret);

/* Whose it says to be: `stored` may be damaged, and may have its checksum. */
bool record_lease_holder(struct bytes stored, struct bytes *ret_vm_name);

/* An event whose texts are still in the record. */
struct event_view {
    uint32_t count;
    int64_t first_ms, last_ms;
    bool is_warning;
    struct bytes reason, vm_name, message;
};
void record_encode_event(struct buf *out, const struct event_view *event);
/* What it ends with: all but the count and the times. */
void record_add_event_texts(struct buf *out, const struct event_view *event);
bool record_event_view(struct bytes value, struct event_view *ret);
/* Whether it says that it is of this VM: `stored` may be damaged, and may have its checksum. */
bool record_event_is_of(struct bytes stored, struct bytes vm_name);
/* Whose it says to be, of such a one. */
bool record_event_vm(struct bytes stored, struct bytes *ret);

/* The key is kept beside the JSON because LMDB's keys are limited to 511 bytes (record_key()). */
void record_encode_json(struct buf *out, const char *key, const json_t *json);
/* The two parts; the text is not looked at. */
int record_split_json(
    struct bytes value, const char **ret_key, struct bytes *ret_text, struct error *err);
int record_decode_json(struct bytes value, const char **ret_key, json_t **ret, struct error *err);

/* The key LMDB gets: the text itself, or, when that is longer than LMDB allows, its start and its
 * digest. `out` holds RECORD_KEY_SIZE bytes. */
enum { RECORD_KEY_MAX = 511, RECORD_KEY_SIZE = RECORD_KEY_MAX + 1 };
void record_key(const char *text, char *out);
