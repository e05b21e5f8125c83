/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_summary.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/vm/vm_status.h"

/* The first field; another one means another layout, and the reader falls back on the JSON. */
#define LAYOUT "v1"
#define STATUS_LAYOUT "v2"

enum { LINE_MAX_BYTES = 256, FIELDS_MAX = 9 };

struct fields {
    char text[LINE_MAX_BYTES];
    const char *at[FIELDS_MAX];
};

/* Splits the line at its tabs; true when there are exactly `count` fields after the layout's. */
static bool split(
    struct fields *fields, const char *line, size_t n, const char *layout, size_t count)
{
    if (n >= sizeof(fields->text) || memchr(line, '\0', n)) {
        return false;
    }
    memcpy(fields->text, line, n);
    fields->text[n] = '\0';
    size_t found = 0;
    for (char *field = fields->text; field; found++) {
        char *tab = strchr(field, '\t');
        if (tab) {
            *tab++ = '\0';
        }
        if (found > count) {
            return false;
        }
        fields->at[found] = field;
        field = tab;
    }
    return found == count + 1 && text_eq(fields->at[0], layout);
}

static bool read_int(const char *text, int64_t min, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool starts_well = (text[0] >= '0' && text[0] <= '9') || (text[0] == '-' && min < 0);
    if (errno || *end || !starts_well || value < min) {
        return false;
    }
    *ret = value;
    return true;
}

static bool read_u32(const char *text, uint32_t max, uint32_t *ret)
{
    uint64_t value;
    bool ok = text_to_u64(text, 0, max, &value);
    *ret = ok ? (uint32_t)value : 0;
    return ok;
}

static bool read_flag(const char *text, bool *ret)
{
    *ret = text_eq(text, "1");
    return *ret || text_eq(text, "0");
}

static bool read_backend(const char *text, enum backend_kind *ret)
{
    for (int i = 0; i < BACKEND_COUNT_; i++) {
        if (text_eq(text, backend_kind_name((enum backend_kind)i))) {
            *ret = (enum backend_kind)i;
            return true;
        }
    }
    return false;
}

static bool read_network(const char *text, enum network_mode *ret)
{
    for (int i = 0; i < NETWORK_MODE_COUNT_; i++) {
        if (text_eq(text, network_mode_name((enum network_mode)i))) {
            *ret = (enum network_mode)i;
            return true;
        }
    }
    return false;
}

static bool read_power(const char *text, enum power *ret)
{
    for (int i = 0; i < POWER_COUNT_; i++) {
        if (text_eq(text, power_name((enum power)i))) {
            *ret = (enum power)i;
            return true;
        }
    }
    return false;
}

static bool read_reason(const char *text, enum reason *ret)
{
    int reason = reason_parse(text);
    if (reason < 0) {
        return false;
    }
    *ret = (enum reason)reason;
    return true;
}

void desired_summary_write(struct buf *out, const struct vm_desired *desired)
{
    const struct vm_spec *spec = desired->spec;
    buf_printf(out, LAYOUT "\t%s\t%" PRIu32 "\t%" PRIu32 "\t%s\t%s\t%d\t%" PRIu64 "\t%" PRId64,
        backend_kind_name(spec->backend), spec->vcpus, spec->memory_mib,
        network_mode_name(spec->network.mode), power_name(desired->power), desired->is_deleting,
        desired->generation, desired->created_ms);
}

bool desired_summary_parse(const char *line, size_t n, struct desired_summary *ret)
{
    struct fields f;
    struct desired_summary s = {0};
    if (!split(&f, line, n, LAYOUT, 8) || !read_backend(f.at[1], &s.backend) ||
        !read_u32(f.at[2], UINT32_MAX, &s.vcpus) || !read_u32(f.at[3], UINT32_MAX, &s.memory_mib) ||
        !read_network(f.at[4], &s.network) || !read_power(f.at[5], &s.power) ||
        !read_flag(f.at[6], &s.is_deleting) ||
        !text_to_u64(f.at[7], 0, UINT64_MAX, &s.generation) ||
        !read_int(f.at[8], INT64_MIN, &s.created_ms)) {
        return false;
    }
    *ret = s;
    return true;
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

static enum reason source_reason(const struct vm_status *status)
{
    const struct condition *synced = &status->conditions[CONDITION_SYNCED];
    const struct condition *orphaned = &status->conditions[CONDITION_ORPHANED];
    if (orphaned->state == CONDITION_TRUE && orphaned->reason != REASON_NO_DESIRED_RECORD) {
        return orphaned->reason;
    }
    bool is_invalid =
        synced->state == CONDITION_FALSE && synced->reason == REASON_SOURCE_INVALID;
    return is_invalid ? REASON_SOURCE_INVALID : REASON_NONE;
}

void status_summary_of(const struct vm_status *status, struct status_summary *ret)
{
    *ret = (struct status_summary){
        .pid = status->instance.pid,
        .ssh_port = status->ssh_port,
        .is_ready = vm_status_is_true(status, CONDITION_READY),
        .display = vm_display(status),
        .source = source_reason(status),
        .observed_generation = status->observed_generation,
        .restart_count = status->restart.count,
        .not_before_ms = status->restart.not_before_ms,
    };
}

void status_summary_write(struct buf *out, const struct vm_status *status)
{
    struct status_summary s;
    status_summary_of(status, &s);
    buf_printf(out,
        STATUS_LAYOUT "\t%" PRId32 "\t%u\t%d\t%s\t%" PRIu64 "\t%" PRIu32 "\t%" PRId64 "\t%s", s.pid,
        (unsigned)s.ssh_port, s.is_ready, reason_name(s.display), s.observed_generation,
        s.restart_count, s.not_before_ms, reason_name(s.source));
}

bool status_summary_parse(const char *line, size_t n, struct status_summary *ret)
{
    struct fields f;
    struct status_summary s = {0};
    int64_t pid;
    uint32_t port;
    if (!split(&f, line, n, STATUS_LAYOUT, 8) || !read_int(f.at[1], INT32_MIN, &pid) || pid > INT32_MAX ||
        !read_u32(f.at[2], UINT16_MAX, &port) || !read_flag(f.at[3], &s.is_ready) ||
        !read_reason(f.at[4], &s.display) ||
        !text_to_u64(f.at[5], 0, UINT64_MAX, &s.observed_generation) ||
        !read_u32(f.at[6], UINT32_MAX, &s.restart_count) ||
        !read_int(f.at[7], INT64_MIN, &s.not_before_ms) || !read_reason(f.at[8], &s.source)) {
        return false;
    }
    s.pid = (int32_t)pid;
    s.ssh_port = (uint16_t)port;
    *ret = s;
    return true;
}
