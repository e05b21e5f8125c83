/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/answer.h"

#include "cli/serve/files.h"
#include "cli/serve/log_tail.h"
#include "cli/serve/metrics.h"
#include "cli/serve/stream.h"
#include "cli/show/events.h"
#include "cli/show/image_catalog.h"
#include "cli/show/output.h"
#include "cli/show/result.h"
#include "cli/show/vm_rows.h"
#include "cli/wait/controller_process.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "store/store.h"

static const char type_text[] = "text/plain; charset=utf-8", type_json[] = "application/json";

/* ---- errors ---- */

static unsigned status_of(enum error_code code)
{
    switch (code) {
    case ERR_USAGE:
        return 400;
    case ERR_VM_NOT_FOUND:
        return 404;
    case ERR_VM_INVALID_STATE:
        return 403;
    case ERR_STORE:
    case ERR_STORE_VERSION:
    case ERR_CONTROLLER:
        return 503;
    default:
        return 500;
    }
}

void answer_error(struct answer *answer, unsigned status, const struct error *err)
{
    cleanup_json json_t *json = json_object();
    json_put(json, "error", result_of_error(err));
    answer->kind = ANSWER_WHOLE;
    answer->status = status;
    answer->type = type_json;
    buf_reset(&answer->body);
    output_add(&answer->body, json);
}

/* ---- of the program ---- */

static int answer_health(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    (void)serve;
    (void)route;
    (void)err;
    answer->type = type_text;
    buf_add_str(&answer->body, "ok\n");
    return 0;
}

/* Ready: a controller serves, by the store, and has looked at every VM since it started, so that
 * what is answered is true now. A store that cannot be read has no controller. */
static int answer_readiness(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    struct controller_process controller;
    int rc = controller_find(&serve->cli, &controller, err);
    if (rc < 0) {
        return rc;
    }
    if (controller.state != CONTROLLER_SERVES) {
        (void)error_set(err, ERR_CONTROLLER, "no controller serves the data directory");
        return error_help(err, "vmctl controller start");
    }
    if (controller.is_stopped) {
        return error_set(err, ERR_CONTROLLER, "the controller (process %d) is halted by SIGSTOP",
            (int)controller.pid);
    }
    if (!controller.has_observed_all) {
        return error_set(err, ERR_CONTROLLER,
            "the controller (process %d) has not processed every VM yet", (int)controller.pid);
    }
    return answer_health(serve, route, answer, err);
}

static int answer_file(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    (void)serve;
    if (!route->file) {
        return serve_file_read(route->library, &answer->body, &answer->type, err);
    }
    const struct serve_file *file = serve_file_find(route->file);
    answer->type = file->type;
    buf_add(&answer->body, file->data, file->size);
    return 0;
}

static int answer_server(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    cleanup_json json_t *json = json_object();
    (void)route;
    (void)err;
    json_put_text(json, "version", VMCTL_VERSION);
    json_put_flag(json, "allowsChanges", serve->allows_changes);
    output_add(&answer->body, json);
    return 0;
}

static int answer_change(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    answer->kind = route->kind == ROUTE_TYPE ? ANSWER_INPUT : ANSWER_ACTION;
    if (serve->allows_changes) {
        return 0;
    }
    (void)error_set(err, ERR_VM_INVALID_STATE, "this vmctl-serve allows no changes");
    return error_help(err, "allow them: vmctl serve --allow-changes");
}

/* What asks for it otherwise is no viewer. */
static int answer_vnc(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    int rc = answer_change(serve, route, answer, err);
    answer->kind = ANSWER_WHOLE;
    return rc < 0 ? rc
                  : error_set(err, ERR_USAGE, "this path serves the screen over a WebSocket only");
}

static int answer_screen(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    (void)serve;
    (void)route;
    (void)err;
    answer->kind = ANSWER_ACTION;
    return 0;
}

/* ---- of the store ---- */

static int answer_vms(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    struct vm_list list = {.count = 0};
    (void)route;
    int rc = store_list(serve->cli.store, &list, err);
    cleanup_free bool *chosen = mem_calloc(list.count + 1, sizeof(*chosen));
    for (size_t i = 0; i < list.count; i++) {
        chosen[i] = !vm_spec_name_is_of_template(list.records[i].name);
    }
    if (rc == 0) {
        vm_rows_add_json(&answer->body, &list, chosen, false);
    }
    vm_list_clear(&list);
    return rc;
}

static int answer_vm(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(serve->cli.store, route->vm_name, &record, err);
    if (rc == 0 && !record.desired && !record.status) {
        return error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'", route->vm_name);
    }
    if (rc == 0) {
        const struct vm_list list = {.records = &record, .count = 1};
        vm_rows_add_json(&answer->body, &list, NULL, true);
    }
    return rc;
}

/* From the present on, unless the client says how far it has come. */
static int answer_stream(struct serve *serve, struct answer *answer, struct error *err)
{
    struct route *route = &answer->route;
    answer->kind = ANSWER_STREAM;
    answer->type = "text/event-stream";
    return route->has_after ? 0 : stream_newest(serve->cli.store, &route->after, err);
}

static int answer_events(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    const char *name = route->vm_name[0] ? route->vm_name : NULL;
    if (route->streams) {
        return answer_stream(serve, answer, err);
    }
    struct event_list list = {.count = 0};
    cleanup_json json_t *array = json_array();
    int rc = store_list_events(serve->cli.store, name, route->after, 0, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        (void)json_array_append_new(array, event_to_json(&list.items[i]));
    }
    event_list_clear(&list);
    output_add(&answer->body, array);
    return rc;
}

/* As it was written, escape sequences included: what shows it has to know them. */
static int answer_log(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    bool is_there = false;
    int rc = store_has(serve->cli.store, route->vm_name, &is_there, err);
    if (rc < 0 || !is_there) {
        return rc < 0 ? rc
                      : error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'", route->vm_name);
    }
    const struct paths *paths = &serve->cli.paths;
    answer->type = type_text;
    if (route->streams) {
        answer->kind = ANSWER_STREAM;
        answer->route.after = log_tail_begin(paths, route);
    } else {
        log_tail_read(paths, route, &answer->body);
    }
    return 0;
}

static int answer_images(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    struct controller_process controller;
    cleanup_json json_t *catalog = NULL;
    (void)route;
    int rc = controller_find(&serve->cli, &controller, err);
    rc = rc < 0 ? rc : image_catalog_read(&serve->cli, controller.session, &catalog, err);
    if (rc == 0) {
        output_add(&answer->body, catalog);
    }
    return rc;
}

static int answer_metrics(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err)
{
    answer->type = route->wants_openmetrics
                       ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                       : "text/plain; version=0.0.4; charset=utf-8";
    return metrics_add(serve->metrics, &serve->cli, route->wants_openmetrics, &answer->body, err);
}

/* ---- all ---- */

static int (*const answers[ROUTE_KIND_COUNT_])(
    struct serve *serve, const struct route *route, struct answer *answer, struct error *err) = {
    [ROUTE_HEALTH] = answer_health,
    [ROUTE_READINESS] = answer_readiness,
    [ROUTE_METRICS] = answer_metrics,
    [ROUTE_VMS] = answer_vms,
    [ROUTE_VM] = answer_vm,
    [ROUTE_CHANGE] = answer_change,
    [ROUTE_SCREEN] = answer_screen,
    [ROUTE_TYPE] = answer_change,
    [ROUTE_VNC] = answer_vnc,
    [ROUTE_SERVER] = answer_server,
    [ROUTE_FILE] = answer_file,
    [ROUTE_EVENTS] = answer_events,
    [ROUTE_LOG] = answer_log,
    [ROUTE_IMAGES] = answer_images,
};

/* The token comes before all that says what there is. */
static unsigned find_allowed(
    struct serve *serve, const struct http_request *request, struct route *ret, struct error *err)
{
    struct error not_found = {.code = ERR_NONE};
    unsigned status = route_find(request, ret, &not_found);
    unsigned access = access_check(&serve->access, request, status == 200 && ret->is_public, err);
    if (access == 200 && status != 200) {
        *err = not_found;
    }
    return access == 200 ? status : access;
}

void answer_request(struct serve *serve, const struct http_request *request, struct answer *ret)
{
    struct error err = {.code = ERR_NONE};
    *ret = (struct answer){.status = 200, .type = type_json, .body = BUF_INIT(ANSWER_MAX)};
    unsigned status = find_allowed(serve, request, &ret->route, &err);
    if (status != 200) {
        ret->method = status == 405 ? ret->route.method : NULL;
        answer_error(ret, status, &err);
        return;
    }
    if (answers[ret->route.kind](serve, &ret->route, ret, &err) < 0) {
        answer_error(ret, ret->route.library[0] ? 404 : status_of(err.code), &err);
    } else if (ret->body.is_full) {
        (void)error_set(&err, ERR_NO_SPACE, "the answer is longer than %d MiB", ANSWER_MAX >> 20);
        answer_error(ret, 500, &err);
    }
}

void answer_clear(struct answer *answer)
{
    buf_clear(&answer->body);
}
