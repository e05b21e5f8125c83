/* SPDX-License-Identifier: MPL-2.0 */
/* Typed values. Every rule about types, ranges and characters that is not a node's own is here. */
#include "specs/vmfile/vmfile_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/guest_text.h"

static const char *kind_name(const struct kdl_value *value)
{
    static const char *const names[] = {
        [KDL_NULL] = "null",
        [KDL_BOOL] = "a boolean",
        [KDL_NUMBER] = "a number",
        [KDL_STRING] = "a string",
    };
    return names[value->kind];
}

static const char *string_of(struct vmfile_reader *reader, const struct vmfile_field *field)
{
    if (field->value->string) { /* also what a variable has put there, whatever it reads as */
        return field->value->string;
    }
    vmfile_report(reader, field->value->pos,
        field->value->kind == KDL_NUMBER ? "put it into quotes" : NULL,
        "`%s` must be a string, not %s", field->name, kind_name(field->value));
    return NULL;
}

const char *vmfile_text(struct vmfile_reader *reader, const struct vmfile_field *field)
{
    const char *text = string_of(reader, field);
    if (!text) {
        return NULL;
    }
    if (strlen(text) != field->value->length) {
        vmfile_report(reader, field->value->pos, NULL, "`%s` holds a NUL character", field->name);
        return NULL;
    }
    if (text[0] == '\0') {
        vmfile_report(reader, field->value->pos, NULL, "`%s` is empty", field->name);
        return NULL;
    }
    return text;
}

static bool has_control_character(const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        bool is_c1 = s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0;
        if (*s < 0x20 || *s == 0x7f || is_c1) {
            return true;
        }
    }
    return false;
}

const char *vmfile_line(struct vmfile_reader *reader, const struct vmfile_field *field)
{
    const char *text = vmfile_text(reader, field);
    if (text && has_control_character(text)) {
        vmfile_report(reader, field->value->pos, NULL, "`%s` holds a control character or line end",
            field->name);
        return NULL;
    }
    return text;
}

const char *vmfile_value_line(struct vmfile_reader *reader, const struct vmfile_field *field)
{
    const struct kdl_value *value = field->value;
    if (value->kind == KDL_NUMBER || value->kind == KDL_BOOL) {
        return value->string               ? value->string
               : value->kind == KDL_NUMBER ? value->number
                                           : (value->boolean ? "true" : "false");
    }
    return value->string && value->length == 0 ? "" : vmfile_line(reader, field);
}

/* Whether the guest will understand the file; reports why not. */
static bool is_understood(struct vmfile_reader *reader, const struct vmfile_field *field,
    const char *path, vmfile_content_check *check)
{
    const struct vmfile_env *env = reader->env;
    cleanup_buf struct buf content = BUF_INIT(GUEST_TEXT_MAX + 1);
    struct error err = {.code = ERR_NONE};
    if (!env->read_file) {
        return true;
    }
    if (!env->read_file(env->context, path, &content)) {
        (void)error_set_errno(&err, ERR_IO, errno, "it cannot be read");
    } else if (check(buf_str(&content), content.len, &err) == 0) {
        return true;
    }
    vmfile_report(reader, field->value->pos, err.help[0] ? err.help : NULL, "`%s` '%s': %s",
        field->name, path, err.message);
    return false;
}

/* A file of another host cannot be looked at, and what is relative to a directory of this host is
 * not there: false after a report. */
static bool is_over_there(
    struct vmfile_reader *reader, const struct vmfile_field *field, const char *raw)
{
    if (raw[0] == '/' || text_eq(raw, "~") || text_starts_with(raw, "~/") ||
        vmfile_goes_along(field->name, raw)) {
        return true;
    }
    vmfile_report(reader, field->value->pos, "write an absolute path of that host, or one below ~/",
        "`%s`: \"%s\" is a path of this host, and the VM is on node \"%s\"", field->name, raw,
        reader->place);
    return false;
}

char *vmfile_future_path(struct vmfile_reader *reader, const struct vmfile_field *field)
{
    const char *raw = vmfile_line(reader, field);
    if (!raw) {
        return NULL;
    }
    cleanup_free char *path =
        fs_resolve(raw, vmfile_base_dir(reader, field->value->pos), reader->env->home);
    /* The VMFile is UTF-8, but the directories above it need not be, and JSON must be. */
    cleanup_json json_t *json = json_string(path);
    if (!json) {
        vmfile_report(reader, field->value->pos, "rename its directory",
            "`%s`: the path '%s' is not UTF-8", field->name, path);
        return NULL;
    }
    return !reader->place || is_over_there(reader, field, raw) ? TAKE_PTR(path) : NULL;
}

/* Whether the file can be looked at. */
static bool is_of_here(const struct vmfile_reader *reader, const struct vmfile_field *field)
{
    return !reader->place || vmfile_goes_along(field->name, field->value->string);
}

static char *resolve_path(
    struct vmfile_reader *reader, const struct vmfile_field *field, bool is_directory)
{
    cleanup_free char *path = vmfile_future_path(reader, field);
    if (!path || !is_of_here(reader, field)) {
        return TAKE_PTR(path);
    }
    const char *raw = field->value->string;
    const struct vmfile_env *env = reader->env;
    const char *problem =
        env->file_problem ? env->file_problem(env->context, path, is_directory) : NULL;
    if (problem) {
        bool is_relative = raw[0] != '/' && raw[0] != '~';
        vmfile_report(reader, field->value->pos,
            !is_relative               ? NULL
            : field->value->pos.source ? "relative paths start at the directory of this file"
                                       : "relative paths start at the directory of the VMFile",
            "`%s`: %s '%s'", field->name, problem, path);
        return NULL;
    }
    return TAKE_PTR(path);
}

char *vmfile_path(
    struct vmfile_reader *reader, const struct vmfile_field *field, vmfile_content_check *check)
{
    cleanup_free char *path = resolve_path(reader, field, false);
    bool is_right =
        path && (!check || !is_of_here(reader, field) || is_understood(reader, field, path, check));
    return is_right ? TAKE_PTR(path) : NULL;
}

char *vmfile_directory(struct vmfile_reader *reader, const struct vmfile_field *field)
{
    return resolve_path(reader, field, true);
}

static bool is_decimal(const struct kdl_value *value)
{
    return value->kind == KDL_STRING && value->length > 0 &&
           strspn(value->string, "0123456789") == value->length;
}

bool vmfile_integer(struct vmfile_reader *reader, const struct vmfile_field *field, uint32_t min,
    uint32_t max, uint32_t *ret)
{
    const struct kdl_value *value = field->value;
    if (value->kind != KDL_NUMBER) {
        vmfile_report(reader, value->pos, is_decimal(value) ? "remove the quotes" : NULL,
            "`%s` must be a number, not %s", field->name, kind_name(value));
        return false;
    }
    if (!value->is_integer || value->integer < (int64_t)min || value->integer > (int64_t)max) {
        vmfile_report(reader, value->pos, NULL,
            "`%s` must be a whole number from %" PRIu32 " to %" PRIu32 ", not %s", field->name, min,
            max, value->number);
        return false;
    }
    *ret = (uint32_t)value->integer;
    return true;
}

bool vmfile_port(struct vmfile_reader *reader, const struct vmfile_field *field, uint16_t *ret)
{
    uint32_t port;
    if (!vmfile_integer(reader, field, 1, UINT16_MAX, &port)) {
        return false;
    }
    *ret = (uint16_t)port;
    return true;
}

/* What other tools call a word of ours, if it is one of `words`; else the nearest. NULL: none. */
static const char *find_meant(const struct enum_names *words, const char *word)
{
    static const struct {
        const char *theirs, *ours;
    } synonyms[] = {
        {"bridge", "tap"},
        {"bridged", "tap"},
        {"nat", "user"},
        {"slirp", "user"},
        {"default", "user"},
        {"private", "project"},
        {"internal", "project"},
        {"unless-stopped", "always"},
        {"no", "never"},
        {"ovmf", "uefi"},
        {"seabios", "bios"},
        {"secure-boot", "uefi-secure"},
        {"uefi-secure-boot", "uefi-secure"},
    };
    for (size_t i = 0; i < ARRAY_LEN(synonyms); i++) {
        if (text_eq(synonyms[i].theirs, word) && enum_names_find(words, synonyms[i].ours) >= 0) {
            return synonyms[i].ours;
        }
    }
    return text_nearest(word, words->words, words->count);
}

bool vmfile_word(struct vmfile_reader *reader, const struct vmfile_field *field,
    const struct enum_names *words, int *ret)
{
    const char *word = vmfile_line(reader, field);
    if (!word) {
        return false;
    }
    int value = enum_names_find(words, word);
    if (value < 0) {
        cleanup_buf struct buf choice = BUF_INIT(0); /* "a", "b" or "c" */
        for (size_t i = 0; i < words->count; i++) {
            const char *separator = i == 0 ? "" : i + 1 < words->count ? ", " : " or ";
            buf_printf(&choice, "%s\"%s\"", separator, words->words[i]);
        }
        const char *meant = find_meant(words, word);
        cleanup_free char *hint = meant ? mem_printf("did you mean `%s`?", meant) : NULL;
        vmfile_report(reader, field->value->pos, hint, "`%s` must be %s, not \"%s\"", field->name,
            buf_str(&choice), word);
        return false;
    }
    *ret = value;
    return true;
}

static bool size_from_text(struct vmfile_reader *reader, const struct vmfile_field *field,
    char unit, uint32_t max, uint32_t *ret)
{
    const char *text = vmfile_line(reader, field);
    uint64_t mib;
    if (!text) {
        return false;
    }
    unsigned shift = unit == 'G' ? 10 : 0;
    if (!text_to_size_mib(text, &mib)) {
        vmfile_report(reader, field->value->pos,
            is_decimal(field->value) ? "remove the quotes"
                                     : "write a number, or a size such as \"512M\" or \"2G\"",
            "`%s` is not a size: \"%s\"", field->name, text);
        return false;
    }
    if (mib >> shift << shift != mib || mib >> shift < 1 || mib >> shift > max) {
        vmfile_report(reader, field->value->pos, NULL,
            "`%s` must be a whole number of %ciB from 1 to %" PRIu32 ", not \"%s\"", field->name,
            unit, max, text);
        return false;
    }
    *ret = (uint32_t)(mib >> shift);
    return true;
}

bool vmfile_size(struct vmfile_reader *reader, const struct vmfile_field *field, char unit,
    uint32_t max, uint32_t *ret)
{
    if (field->value->kind == KDL_STRING) {
        return size_from_text(reader, field, unit, max, ret);
    }
    return vmfile_integer(reader, field, 1, max, ret);
}

bool vmfile_seconds(
    struct vmfile_reader *reader, const struct vmfile_field *field, uint32_t max, uint32_t *ret)
{
    if (field->value->kind != KDL_STRING) {
        return vmfile_integer(reader, field, 0, max, ret);
    }
    const char *text = vmfile_line(reader, field);
    int64_t ms;
    if (!text) {
        return false;
    }
    if (!text_to_duration_ms(text, &ms) || ms % 1000 != 0 || ms / 1000 > (int64_t)max) {
        vmfile_report(reader, field->value->pos,
            "write a number of seconds, or a duration such as \"90s\", \"5m\" or \"2h\"",
            "`%s` is not a whole number of seconds up to %" PRIu32 ": \"%s\"", field->name, max,
            text);
        return false;
    }
    *ret = (uint32_t)(ms / 1000);
    return true;
}
