/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/text.h"
#include "store/store.h"

static void add_event(struct buf *out, const struct vm_event *event, int64_t now_ms, bool use_color)
{
    char age[DURATION_SIZE];
    duration_format(now_ms - event->last_ms, age);
    bool is_colored = use_color && event->is_warning;
    buf_printf(out, "  %5s ago  %s%-7s%s  %-18s ", age, is_colored ? "\033[33m" : "",
        event->is_warning ? "Warning" : "Normal", is_colored ? "\033[0m" : "",
        reason_name(event->reason));
    const char *message = event->message ? event->message : "";
    text_add_printable(out, message, strcspn(message, "\n"));
    if (event->count > 1) {
        buf_printf(out, " (%u times)", event->count);
    }
    buf_add_char(out, '\n');
}

/* Of this VM, not of an earlier one of the name: events know the VM by its name only. */
static int find_events(
    struct cli *cli, const char *vm_name, size_t limit, struct event_list *ret, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(cli->store, vm_name, &record, err);
    int64_t born_ms = record.desired ? record.desired->created_ms : 0;
    if (rc < 0 || (rc = store_list_events(cli->store, vm_name, 0, limit, ret, err)) < 0) {
        return rc;
    }
    size_t kept = 0;
    for (size_t i = 0; i < ret->count; i++) {
        if (ret->items[i].last_ms >= born_ms) {
            ret->items[kept++] = ret->items[i];
        } else {
            free(ret->items[i].vm_name);
            free(ret->items[i].message);
        }
    }
    ret->count = kept;
    return 0;
}

int events_list(struct cli *cli, const char *vm_name, size_t limit, const char *shown,
    bool use_color, struct buf *out, struct error *err)
{
    struct event_list list = {.count = 0};
    int64_t now_ms = clock_wall_ms(clock_system());
    int rc = find_events(cli, vm_name, limit, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        const struct vm_event *event = &list.items[i];
        bool is_shown =
            shown && event->count == 1 && event->message[0] && strstr(shown, event->message);
        if (!is_shown) {
            add_event(out, event, now_ms, use_color);
        }
    }
    event_list_clear(&list);
    return rc;
}

void events_explain(struct cli *cli, const char *vm_name, const char *shown)
{
    enum { SHOWN = 5 };
    static const enum vm_file logs[] = {VM_CONSOLE_LOG, VM_PROVISION_LOG, VM_QEMU_LOG};
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf events = BUF_INIT(0), out = BUF_INIT(0);
    (void)events_list(cli, vm_name, SHOWN, shown, cli->use_color, &events, &ignored);
    if (events.len > 0) {
        buf_printf(&out, "  last events of '%s':\n", vm_name);
        cli_add_folded(&out, buf_str(&events), 0, strlen("        "));
    }
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        cleanup_free char *path = paths_vm(&cli->paths, vm_name, logs[i]);
        if (fs_size(path) > 0) {
            buf_printf(&out, "  log: %s\n", path);
        }
    }
    fputs(buf_str(&out), stderr);
}

json_t *event_to_json(const struct vm_event *event)
{
    cleanup_buf struct buf message = BUF_INIT(0); /* may be cut within a character */
    text_add_printable(&message, event->message, strlen(event->message));
    json_t *json = json_object();
    json_put_text(json, "vm", event->vm_name);
    json_put_text(json, "type", event->is_warning ? "Warning" : "Normal");
    json_put_text(json, "reason", reason_name(event->reason));
    json_put_text(json, "message", buf_str(&message));
    json_put_int(json, "count", event->count);
    json_put_time(json, "first", event->first_ms);
    json_put_time(json, "last", event->last_ms);
    json_put_int(json, "sequence", (json_int_t)event->sequence);
    return json;
}

int events_add_json(struct cli *cli, const char *vm_name, json_t *array, struct error *err)
{
    enum { SHOWN = 10 };
    struct event_list list = {.count = 0};
    int rc = find_events(cli, vm_name, SHOWN, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        (void)json_array_append_new(array, event_to_json(&list.items[i]));
    }
    event_list_clear(&list);
    return rc;
}
