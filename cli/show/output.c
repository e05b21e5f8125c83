/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/output.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/yaml.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/url.h"
#include "specs/base/vm_name.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/spec_diff.h"
#include "store/store.h"

bool output_is_data(const struct cli *cli)
{
    return cli->output == OUTPUT_JSON || cli->output == OUTPUT_YAML;
}

/* Without the secrets that url_for_people() omits; NULL: the text has none. */
static char *shown_text(const char *text)
{
    const char *colon = strchr(text, ':'); /* few have one */
    bool is_url = colon && strstr(colon, "://") && !text[strcspn(text, " \t\r\n")];
    return is_url ? url_for_people(text) : NULL;
}

struct json_writer output_writer(struct buf *out, bool is_indented)
{
    return (struct json_writer){.out = out,
        .is_indented = is_indented,
        .is_sorted = true,
        .says_times = true,
        .shown = shown_text};
}

void output_write_vm(struct json_writer *writer, const struct vm_record *record)
{
    struct desired_summary desired = {.generation = 0};
    struct status_summary status = {.pid = 0};
    json_write_open(writer, '{');
    if (record->desired) {
        desired_summary_of(record->desired, &desired);
        json_write_key(writer, "desired");
        fields_write(&vm_desired_fields, record->desired, writer);
    }
    if (record->status) {
        status_summary_of(record->status, &status);
    }
    json_write_key(writer, "display");
    json_write_text(writer, vm_display_word(&desired, &status));
    json_write_key(writer, "name");
    json_write_text(writer, record->name);
    cleanup_free char *project = vm_name_project(record->name);
    if (project) {
        json_write_key(writer, "project");
        json_write_text(writer, project);
    }
    json_write_key(writer, "ready");
    json_write_flag(writer, status.is_ready);
    json_write_key(writer, "state");
    json_write_text(writer, vm_display_book_state(&desired, &status));
    if (record->status) {
        json_write_key(writer, "status");
        fields_write(&vm_status_fields, record->status, writer);
    }
    json_write_close(writer, '}');
}

json_t *output_of_vm(const struct vm_record *record)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    struct json_writer plain = {.out = &text, .says_times = true};
    output_write_vm(&plain, record);
    return json_loadb(buf_str(&text), text.len, 0, NULL);
}

static void put_value(json_t *json, const char *key, json_t *value)
{
    json_put(json, key, value ? json_incref(value) : json_null());
}

void output_put_name(json_t *json, const char *vm_name)
{
    cleanup_free char *project = vm_name_project(vm_name);
    json_put_text(json, "name", vm_name);
    if (project) {
        json_put_text(json, "project", project);
    }
}

json_t *output_of_change(const struct spec_change *change)
{
    json_t *json = json_object();
    json_put_text(json, "field", change->field);
    put_value(json, "old", change->before_value);
    put_value(json, "new", change->after_value);
    json_put_text(json, "disposition", disposition_name(change->disposition));
    return json;
}

/* A copy in which no URL has what url_for_people() omits. Caller owns. */
static json_t *without_secrets(const json_t *value)
{
    const char *key, *text = json_string_value(value);
    json_t *item;
    if (json_is_string(value)) {
        cleanup_free char *shown = shown_text(text);
        return json_string(shown ? shown : text);
    }
    json_t *copy = json_copy((json_t *)(uintptr_t)value); /* only read */
    for (size_t i = 0; i < json_array_size(copy); i++) {
        (void)json_array_set_new(copy, i, without_secrets(json_array_get(copy, i)));
    }
    if (json_is_object(copy)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            (void)json_object_set_new(copy, key, without_secrets(item));
        }
    }
    return copy;
}

void output_add(struct buf *out, const json_t *shown)
{
    cleanup_json json_t *value = without_secrets(shown);
    cleanup_free char *text = json_dumps(value, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    buf_add_str(out, text ? text : "null");
    buf_add_char(out, '\n');
}

void output_print(const struct cli *cli, const json_t *shown)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    if (cli->output == OUTPUT_YAML) {
        cleanup_json json_t *value = without_secrets(shown);
        yaml_add(&out, value);
    } else {
        output_add(&out, shown);
    }
    fputs(buf_str(&out), stdout);
}

void output_add_next(struct buf *out, const json_t *value)
{
    cleanup_json json_t *shown = without_secrets(value);
    cleanup_free char *text = json_canonical(shown);
    buf_add_str(out, text);
    buf_add_char(out, '\n');
}

void output_print_next(const struct cli *cli, const json_t *value)
{
    if (cli->output == OUTPUT_YAML) {
        puts("---");
        output_print(cli, value);
        return;
    }
    cleanup_buf struct buf out = BUF_INIT(0);
    output_add_next(&out, value);
    fputs(buf_str(&out), stdout);
}
