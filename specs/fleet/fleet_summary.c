/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/fleet/fleet_summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/vm/record_json.h"
#include "specs/vmfile/nodes_file.h"

/* The members of a record are sorted: this one comes first. */
#define MEMBER "#"

/* ---- from the row ---- */

static void take_desired(const json_t *json, struct fleet_summary *ret)
{
    struct error ignored = {.code = ERR_NONE};
    struct vm_desired *desired = vm_desired_from_json(json, &ignored);
    ret->has_desired = desired != NULL;
    ret->is_desired_damaged = !desired;
    if (desired) {
        const char *to = desired->fleet.move_to;
        bool moves = to && node_name_is_valid(to);
        desired_summary_of(desired, &ret->desired);
        (void)snprintf(ret->move_to, sizeof(ret->move_to), "%s", moves ? to : "");
        vm_desired_free(desired);
    }
}

static void take_status(const json_t *json, struct fleet_summary *ret)
{
    struct error ignored = {.code = ERR_NONE};
    struct vm_status *status = vm_status_from_json(json, &ignored);
    ret->has_status = status != NULL;
    ret->is_status_damaged = !status;
    if (status) {
        status_summary_of(status, &ret->status);
        vm_status_free(status);
    }
}

/* No other text is a session's. */
static void take_session(const char *session, struct fleet_summary *ret)
{
    size_t n = session ? strlen(session) : 0;
    if (n < sizeof(ret->session) && session && text_is_visible(session)) {
        memcpy(ret->session, session, n + 1);
    }
}

void fleet_summary_of(enum fleet_kind kind, const json_t *row, struct fleet_summary *ret)
{
    *ret = (struct fleet_summary){.has_desired = false};
    bool is_vm = kind == FLEET_KIND_VM;
    const json_t *desired = is_vm ? row : json_object_get(row, "desired");
    const json_t *status = is_vm ? NULL : json_object_get(row, "status");
    take_session(is_vm ? NULL : json_text(row, "session"), ret);
    if (desired) {
        take_desired(desired, ret);
    }
    if (status) {
        take_status(status, ret);
    }
}

/* ---- as text ---- */

void fleet_summary_add(enum fleet_kind kind, json_t *row)
{
    struct fleet_summary summary;
    cleanup_buf struct buf text = BUF_INIT(0);
    (void)fleet_summary_remove(row);
    fleet_summary_of(kind, row, &summary);
    if (summary.is_desired_damaged || summary.is_status_damaged) {
        return;
    }
    buf_printf(&text, "%s\n%s\n", summary.session, summary.move_to);
    if (summary.has_desired) {
        desired_summary_write_line(&text, &summary.desired);
    }
    buf_add_char(&text, '\n');
    if (summary.has_status) {
        status_summary_write_line(&text, &summary.status);
    }
    json_put_text(row, MEMBER, buf_str(&text));
}

/* Takes a line, the last one up to the end; false: there is none. */
static bool take_line(struct bytes *rest, bool is_last, struct bytes *ret)
{
    const char *end = rest->n > 0 ? memchr(rest->data, '\n', rest->n) : NULL;
    size_t n = end ? (size_t)(end - rest->data) : rest->n;
    if (is_last != !end) {
        return false;
    }
    *ret = (struct bytes){rest->data, n};
    *rest = is_last ? (struct bytes){NULL, 0} : (struct bytes){end + 1, rest->n - n - 1};
    return true;
}

static bool take_name(struct bytes *rest, char *out, size_t size)
{
    struct bytes line;
    if (!take_line(rest, false, &line) || line.n >= size) {
        return false;
    }
    memcpy(out, line.data, line.n);
    out[line.n] = '\0';
    return true;
}

static bool parse_summary(struct bytes text, struct fleet_summary *ret)
{
    struct fleet_summary summary = {.has_desired = false};
    struct bytes desired, status;
    if (!take_name(&text, summary.session, sizeof(summary.session)) ||
        !take_name(&text, summary.move_to, sizeof(summary.move_to)) ||
        !take_line(&text, false, &desired) || !take_line(&text, true, &status)) {
        return false;
    }
    summary.has_desired = desired.n > 0;
    summary.has_status = status.n > 0;
    if ((desired.n > 0 && !desired_summary_parse(desired.data, desired.n, &summary.desired)) ||
        (status.n > 0 && !status_summary_parse(status.data, status.n, &summary.status))) {
        return false;
    }
    *ret = summary;
    return true;
}

bool fleet_summary_remove(json_t *row)
{
    struct fleet_summary summary;
    const char *text = json_text(row, MEMBER);
    bool is_readable = text && parse_summary((struct bytes){text, strlen(text)}, &summary);
    (void)json_object_del(row, MEMBER);
    return is_readable;
}

/* Of a JSON text, up to its quote. A summary has no other escapes than these: what the row's own
 * text has of them is no summary of ours. Parsing it as JSON takes four times as long. */
static bool unescape(struct bytes text, char *out, size_t size, size_t *ret_n)
{
    static const char escapes[] = "\"\\nt", meant[] = "\"\\\n\t";
    size_t n = 0;
    for (size_t i = 0; i < text.n && n < size; i++) {
        char c = text.data[i];
        if (c == '"') {
            *ret_n = n;
            return true;
        }
        if (c == '\\') {
            const char *escape =
                i + 1 < text.n && text.data[i + 1] ? strchr(escapes, text.data[++i]) : NULL;
            if (!escape) {
                return false;
            }
            c = meant[escape - escapes];
        }
        out[n++] = c;
    }
    return false;
}

bool fleet_summary_read(struct bytes record, struct fleet_summary *ret)
{
    enum { TEXT_MAX = 1024 };
    static const char begin[] = "{\"" MEMBER "\":\"";
    char text[TEXT_MAX];
    size_t n = strlen(begin), n_text;
    return record.n >= n && memcmp(record.data, begin, n) == 0 &&
           unescape((struct bytes){record.data + n, record.n - n}, text, sizeof(text), &n_text) &&
           parse_summary((struct bytes){text, n_text}, ret);
}
