/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/cloud_init_report.h"

#include <string.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/json.h"

/*
 * /run is empty at every boot, so nothing in it is of an earlier boot. The generator writes
 * "enabled" before any stage begins: where none has begun after five minutes its units are masked.
 * A final stage that systemd reports as failed leaves no result.
 */
const char cloud_init_query[] =
    "exec 2>/dev/null; d=/run/cloud-init; n=${1:-0}; "
    "while [ $n -gt 0 ] && [ ! -e $d/result.json ] && { [ -e $d/status.json ] || [ -e $d/enabled "
    "]; } "
    "&& sleep 0.1; do n=$((n - 1)); done; "
    "if [ -e $d/result.json ]; then echo ended; cat $d/status.json; "
    "elif [ -e $d/disabled ] || [ -e /etc/cloud/cloud-init.disabled ]; then echo disabled; "
    "elif [ -e $d/status.json ]; then "
    "if systemctl -q is-failed cloud-final.service cloud-init-main.service; then echo broken; "
    "else echo running; fi; cat $d/status.json; "
    "elif [ -e $d/enabled ] && read up rest </proc/uptime && [ \"${up%%.*}\" -lt 300 ]; then "
    "echo running; "
    "else echo absent; fi";

enum { MESSAGE_MAX = 600 };

/* One line for people out of a text that may be a traceback. */
static void add_message(struct buf *out, const char *text)
{
    if (out->len > 0) {
        buf_add_str(out, "; ");
    }
    bool was_space = true;
    for (; *text; text++) {
        bool is_space = (unsigned char)*text <= ' ';
        if (!is_space) {
            buf_add_char(out, *text);
        } else if (!was_space) {
            buf_add_char(out, ' ');
        }
        was_space = is_space;
    }
}

static void add_errors(struct buf *out, const json_t *errors)
{
    size_t i;
    json_t *error;
    json_array_foreach(errors, i, error)
    {
        if (json_is_string(error)) {
            add_message(out, json_string_value(error));
        }
    }
}

/* The stages of "v1" are its objects; each lists its errors, and since 23.4 by level those it calls
 * recoverable: {"WARNING": ["…"]}. */
static void collect(json_t *v1, struct buf *errors, struct buf *recoverable)
{
    const char *name, *level;
    json_t *stage, *messages;
    json_object_foreach(v1, name, stage)
    {
        add_errors(errors, json_object_get(stage, "errors"));
        json_object_foreach(json_object_get(stage, "recoverable_errors"), level, messages)
        {
            add_errors(recoverable, messages);
        }
    }
}

static char *message_of(struct buf *text)
{
    return text->len > 0 ? buf_steal(text) : NULL;
}

static void read_ended(json_t *v1, bool is_broken, struct cloud_init_report *ret)
{
    cleanup_buf struct buf errors = BUF_INIT(MESSAGE_MAX), recoverable = BUF_INIT(MESSAGE_MAX);
    collect(v1, &errors, &recoverable);
    if (is_broken && errors.len == 0) {
        buf_add_str(
            &errors, "its last stage ended without a result (systemctl status cloud-final)");
    }
    if (errors.len > 0) {
        *ret = (struct cloud_init_report){CLOUD_INIT_FAILED, message_of(&errors)};
    } else if (recoverable.len > 0) {
        *ret = (struct cloud_init_report){CLOUD_INIT_DEGRADED, message_of(&recoverable)};
    } else {
        *ret = (struct cloud_init_report){CLOUD_INIT_DONE, NULL};
    }
}

void cloud_init_report_read(const char *answer, size_t n, struct cloud_init_report *ret)
{
    static const char *const words[] = {"ended", "broken", "running", "disabled"};
    enum { ENDED, BROKEN, RUNNING, DISABLED };
    size_t length = 0, word = 0;
    while (length < n && answer[length] != '\n') {
        length++;
    }
    while (word < ARRAY_LEN(words) &&
           (strlen(words[word]) != length || memcmp(words[word], answer, length) != 0)) {
        word++;
    }
    size_t rest = length < n ? length + 1 : n;
    cleanup_json json_t *status = json_loadb(answer + rest, n - rest, 0, NULL);
    json_t *v1 = json_object_get(status, "v1");
    if (word == ENDED || word == BROKEN) {
        read_ended(v1, word == BROKEN, ret);
    } else if (word == RUNNING) {
        *ret = (struct cloud_init_report){CLOUD_INIT_RUNNING, json_copy_text(v1, "stage")};
    } else {
        *ret = (struct cloud_init_report){
            word == DISABLED ? CLOUD_INIT_DISABLED : CLOUD_INIT_ABSENT, NULL};
    }
}
