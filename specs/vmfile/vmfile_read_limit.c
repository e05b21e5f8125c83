/* SPDX-License-Identifier: MPL-2.0 */
/* `io-limit`, `cpu-limit`: what a VM may use of its host. */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/spec_limits.h"

/* "1.5", with three decimals at most: in thousandths. */
static bool number_to_milli(const char *text, uint32_t *ret_milli)
{
    enum { DIGITS_MAX = 5, DECIMALS_MAX = 3 };
    size_t digits = strspn(text, "0123456789");
    size_t decimals = text[digits] == '.' ? strspn(text + digits + 1, "0123456789") : 0;
    if (digits == 0 || digits > DIGITS_MAX || decimals > DECIMALS_MAX ||
        text[digits + (decimals > 0) + decimals] != '\0') {
        return false;
    }
    *ret_milli = (uint32_t)strtoul(text, NULL, 10) * 1000;
    for (uint32_t i = 0, scale = 100; i < decimals; i++, scale /= 10) {
        *ret_milli += (uint32_t)(text[digits + 1 + i] - '0') * scale;
    }
    return true;
}

void vmfile_read_cpu_limit(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    const struct kdl_value *value = field->value;
    bool is_number = value->kind == KDL_NUMBER;
    const char *text = is_number ? value->number : vmfile_line(reader, field);
    uint32_t milli = 0;
    if (!text) {
        return;
    }
    bool is_valid = is_number && number_to_milli(text, &milli) &&
                    milli >= SPEC_CPU_LIMIT_MIN_MILLI && milli <= SPEC_CPU_LIMIT_MAX_MILLI;
    if (!is_valid) {
        vmfile_report(reader, value->pos, "write for example: cpu-limit 1.5, which is 150 %",
            "`cpu-limit` must be a number of CPUs from 0.01 to 1024, not %s", text);
        return;
    }
    ((struct vmfile_vm *)target)->spec->cpu_limit_milli = milli;
}

/* "512K", "100M", "1GiB/s": in KiB. */
static bool rate_to_kib(const char *text, uint64_t *ret_kib)
{
    enum { DIGITS_MAX = 9 };
    bool has_time = text_ends_with(text, "/s");
    cleanup_free char *size = mem_strndup(text, strlen(text) - (has_time ? strlen("/s") : 0));
    size_t digits = strspn(size, "0123456789");
    if ((size[digits] | 0x20) == 'k' && digits <= DIGITS_MAX) {
        size[digits] = 'M'; /* read as 1024 times as much */
        return text_to_size_mib(size, ret_kib);
    }
    bool is_size = text_to_size_mib(size, ret_kib);
    *ret_kib <<= is_size ? 10 : 0;
    return is_size;
}

static void read_rate(
    struct vmfile_reader *reader, const struct vmfile_field *field, uint32_t *ret_kib)
{
    static const char hint[] =
        "write a size such as \"512K\" or \"100M\", which is that of one second";
    if (field->value->kind == KDL_NUMBER && !field->value->string) {
        vmfile_report(reader, field->value->pos, hint, "`%s` of `io-limit` has no unit: %s",
            field->name, field->value->number);
        return;
    }
    const char *text = vmfile_line(reader, field);
    uint64_t kib = 0;
    if (!text) {
        return;
    }
    if (!rate_to_kib(text, &kib)) {
        vmfile_report(reader, field->value->pos, hint, "`%s` of `io-limit` is not a size: \"%s\"",
            field->name, text);
    } else if (kib < 1 || kib > SPEC_RATE_MAX_KIB) {
        vmfile_report(reader, field->value->pos, NULL,
            "`%s` of `io-limit` must be from 1 KiB to 1 TiB a second, not \"%s\"", field->name,
            text);
    } else {
        *ret_kib = (uint32_t)kib;
    }
}

static void read_read(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    read_rate(reader, field, &((struct spec_io_limit *)target)->read_kib);
}

static void read_write(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    read_rate(reader, field, &((struct spec_io_limit *)target)->write_kib);
}

void vmfile_read_io_limit(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    enum { IO_READ, IO_WRITE, IO_IOPS, IO_FIELD_COUNT_ };
    static const struct vmfile_rule io_rules[IO_FIELD_COUNT_] = {
        [IO_READ] = {"read", .usage = "read=\"100M\"", .read_value = read_read},
        [IO_WRITE] = {"write", .usage = "write=\"50M\"", .read_value = read_write},
        [IO_IOPS] = {"iops", .usage = "iops=1000", .kind = VMFILE_INTEGER,
            .offset = offsetof(struct spec_io_limit, iops), .min = 1, .max = SPEC_IOPS_MAX},
    };
    static const struct vmfile_shape io_shape = {
        VMFILE_IO_LIMIT_USAGE, 0, 0, io_rules, IO_FIELD_COUNT_, false};
    struct kdl_pos seen[IO_FIELD_COUNT_] = {{0}};
    struct spec_io_limit limit = {.iops = 0};
    vmfile_read_node(reader, node, &io_shape, &limit, seen);
    if (!seen[IO_READ].line && !seen[IO_WRITE].line && !seen[IO_IOPS].line) {
        vmfile_report(reader, node->pos, "write for example: " VMFILE_IO_LIMIT_USAGE,
            "`io-limit` limits nothing: it needs read=, write= or iops=");
    }
    ((struct vmfile_vm *)target)->spec->io_limit = limit;
}
