/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_summary.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/fields.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

/* The first field; another one means another layout, and the reader falls back on the JSON. */
#define DESIRED_LAYOUT "v1"
#define STATUS_LAYOUT "v5"

enum { LINE_MAX_BYTES = 256 + CAUSE_SIZE };

static const struct field desired_rows[] = {
    FIELD_ENUM(struct desired_summary, backend, "backend", &backend_kind_words),
    FIELD(struct desired_summary, vcpus, "vcpus"),
    FIELD(struct desired_summary, memory_mib, "memory"),
    FIELD_ENUM(struct desired_summary, network, "network", &network_mode_words),
    FIELD_ENUM(struct desired_summary, power, "power", &power_words),
    FIELD(struct desired_summary, is_deleting, "deleting"),
    FIELD(struct desired_summary, generation, "generation"),
    FIELD(struct desired_summary, created_ms, "created"),
};
static const struct fields desired_fields = {FIELDS_OF(desired_rows, struct desired_summary)};

static const struct field status_rows[] = {
    FIELD(struct status_summary, pid, "pid"),
    FIELD(struct status_summary, ssh_port, "sshPort"),
    FIELD(struct status_summary, is_ready, "ready"),
    FIELD_ENUM(struct status_summary, display, "display", &reason_words),
    FIELD(struct status_summary, observed_generation, "observedGeneration"),
    FIELD(struct status_summary, restart_total, "restarts"),
    FIELD(struct status_summary, not_before_ms, "notBefore"),
    FIELD_ENUM(struct status_summary, source, "source", &reason_words),
    FIELD(struct status_summary, ssh_ipv4, "sshIpv4"),
    FIELD(struct status_summary, vcpus, "vcpus"),
    FIELD(struct status_summary, memory_mib, "memory"),
    FIELD(struct status_summary, cause, "cause"),
};
static const struct fields status_fields = {FIELDS_OF(status_rows, struct status_summary)};

/* ---- lines ---- */

static void write_line(
    struct buf *out, const char *layout, const struct fields *fields, const void *summary)
{
    struct json_writer number = {.out = out};
    buf_add_str(out, layout);
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->rows[i];
        buf_add_char(out, '\t');
        if (field->kind == FIELD_KIND_CHARS) {
            buf_add_str(out, field_at(field, summary));
        } else if (field->kind == FIELD_KIND_ENUM) {
            buf_add_str(out, enum_names_at(field->words, (size_t)field_number(field, summary)));
        } else {
            json_write_integer(&number, field_number(field, summary));
        }
    }
}

static bool read_value(const struct field *field, const char *text, void *summary)
{
    if (field->kind == FIELD_KIND_CHARS) {
        size_t n = strlen(text);
        memcpy((char *)summary + field->offset, text, n < field->size ? n + 1 : 0);
        return n < field->size;
    }
    if (field->kind == FIELD_KIND_ENUM) {
        return field_set_number(field, summary, enum_names_find(field->words, text));
    }
    char *end = NULL;
    errno = 0;
    int64_t value = strtoll(text, &end, 10);
    bool is_number = !errno && !*end && ((text[0] >= '0' && text[0] <= '9') || text[0] == '-');
    return is_number && field_set_number(field, summary, value);
}

static bool read_line(
    const char *line, size_t n, const char *layout, const struct fields *fields, void *ret_summary)
{
    char text[LINE_MAX_BYTES];
    if (n >= sizeof(text) || memchr(line, '\0', n)) {
        return false;
    }
    memcpy(text, line, n);
    text[n] = '\0';
    char *rest = text;
    if (!text_eq(strsep(&rest, "\t"), layout)) {
        return false;
    }
    for (size_t i = 0; i < fields->count; i++) {
        const char *value = strsep(&rest, "\t");
        if (!value || !read_value(&fields->rows[i], value, ret_summary)) {
            return false;
        }
    }
    return !rest;
}

/* ---- desired ---- */

void desired_summary_write_line(struct buf *out, const struct desired_summary *summary)
{
    write_line(out, DESIRED_LAYOUT, &desired_fields, summary);
}

void desired_summary_write(struct buf *out, const struct vm_desired *desired)
{
    struct desired_summary s;
    desired_summary_of(desired, &s);
    desired_summary_write_line(out, &s);
}

bool desired_summary_parse(const char *line, size_t n, struct desired_summary *ret)
{
    struct desired_summary s = {0};
    bool ok = read_line(line, n, DESIRED_LAYOUT, &desired_fields, &s);
    if (ok) {
        *ret = s;
    }
    return ok;
}

void desired_summary_of(const struct vm_desired *desired, struct desired_summary *ret)
{
    *ret = (struct desired_summary){
        .backend = desired->spec->backend,
        .vcpus = desired->spec->vcpus,
        .memory_mib = desired->spec->memory_mib,
        .network = desired->spec->network.mode,
        .power = desired->power,
        .is_deleting = desired->is_deleting,
        .generation = desired->generation,
        .created_ms = desired->created_ms,
    };
}

/* ---- status ---- */

static enum reason source_reason(const struct vm_status *status)
{
    const struct condition *synced = &status->conditions[CONDITION_SYNCED];
    const struct condition *orphaned = &status->conditions[CONDITION_ORPHANED];
    if (orphaned->state == CONDITION_TRUE && orphaned->reason != REASON_NO_DESIRED_RECORD) {
        return orphaned->reason;
    }
    bool is_invalid = synced->state == CONDITION_FALSE && synced->reason == REASON_SOURCE_INVALID;
    return is_invalid ? REASON_SOURCE_INVALID : REASON_NONE;
}

/* The line's fields end with a tab, the line with its end. */
static void put_cause(const char *message, char *ret)
{
    static const char more[] = "…";
    size_t n = message ? strcspn(message, "\n") : 0;
    size_t shown = text_cut(message ? message : "", n, CAUSE_SIZE - sizeof(more));
    for (size_t i = 0; i < shown; i++) {
        ret[i] = (char)((unsigned char)message[i] < ' ' ? ' ' : message[i]);
    }
    memcpy(ret + shown, shown < n ? more : "", shown < n ? sizeof(more) : 1);
}

void status_summary_of(const struct vm_status *status, struct status_summary *ret)
{
    const struct vm_spec *running = vm_status_running_spec(status);
    struct in_addr address = {0};
    bool has_address = status->ssh_host && inet_pton(AF_INET, status->ssh_host, &address) == 1;
    bool is_elsewhere = has_address && address.s_addr != htonl(INADDR_LOOPBACK);
    *ret = (struct status_summary){
        .pid = status->instance.pid,
        .ssh_port = has_address ? status->ssh_port : 0,
        .ssh_ipv4 = is_elsewhere ? ntohl(address.s_addr) : 0,
        .vcpus = running ? running->vcpus : 0,
        .memory_mib = running ? running->memory_mib : 0,
        .is_ready = vm_status_is_true(status, CONDITION_READY),
        .display = vm_display(status),
        .source = source_reason(status),
        .observed_generation = status->observed_generation,
        .restart_total = status->restart.total,
        .not_before_ms = status->restart.not_before_ms,
    };
    put_cause(vm_display_cause(status), ret->cause);
}

void status_summary_write_line(struct buf *out, const struct status_summary *summary)
{
    write_line(out, STATUS_LAYOUT, &status_fields, summary);
}

void status_summary_write(struct buf *out, const struct vm_status *status)
{
    struct status_summary s;
    status_summary_of(status, &s);
    status_summary_write_line(out, &s);
}

bool status_summary_parse(const char *line, size_t n, struct status_summary *ret)
{
    struct status_summary s = {0};
    bool ok = read_line(line, n, STATUS_LAYOUT, &status_fields, &s);
    if (ok) {
        *ret = s;
    }
    return ok;
}
