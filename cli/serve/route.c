/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/route.h"

#include <stdio.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"

/* A '*' stands for the name of a VM. */
static const struct {
    const char *path, *method, *verb, *file;
    enum route_kind kind;
    bool is_public;
} routes[] = {
    {"/healthz", "GET", NULL, NULL, ROUTE_HEALTH, true},
    {"/readyz", "GET", NULL, NULL, ROUTE_READINESS, true},
    {"/metrics", "GET", NULL, NULL, ROUTE_METRICS, false},
    {"/v1/vms", "GET", NULL, NULL, ROUTE_VMS, false},
    {"/v1/vms/*", "GET", NULL, NULL, ROUTE_VM, false},
    {"/v1/vms/*/start", "POST", "start", NULL, ROUTE_CHANGE, false},
    {"/v1/vms/*/stop", "POST", "stop", NULL, ROUTE_CHANGE, false},
    {"/v1/vms/*/restart", "POST", "restart", NULL, ROUTE_CHANGE, false},
    {"/v1/vms/*/suspend", "POST", "suspend", NULL, ROUTE_CHANGE, false},
    {"/v1/vms/*/resume", "POST", "resume", NULL, ROUTE_CHANGE, false},
    {"/v1/vms/*/type", "POST", NULL, NULL, ROUTE_TYPE, false},
    {"/v1/vms/*/vnc", "GET", NULL, NULL, ROUTE_VNC, true},
    {"/v1/vms/*/screen", "GET", "screenshot", NULL, ROUTE_SCREEN, false},
    {"/v1/vms/*/console", "GET", NULL, "console", ROUTE_LOG, false},
    {"/v1/vms/*/provision", "GET", NULL, "provision", ROUTE_LOG, false},
    {"/v1/server", "GET", NULL, NULL, ROUTE_SERVER, false},
    {"/v1/events", "GET", NULL, NULL, ROUTE_EVENTS, false},
    {"/v1/images", "GET", NULL, NULL, ROUTE_IMAGES, false},
    {"/v1/openapi.json", "GET", NULL, "openapi.json", ROUTE_FILE, true},
    {"/", "GET", NULL, "index.html", ROUTE_FILE, true},
    {"/page.css", "GET", NULL, "page.css", ROUTE_FILE, true},
    {"/page.js", "GET", NULL, "page.js", ROUTE_FILE, true},
};

/* *ret_name points at what stands for the '*', if there is one. */
static bool path_matches(const char *pattern, const char *path, const char **ret_name)
{
    const char *star = strchr(pattern, '*');
    size_t n = star ? (size_t)(star - pattern) : 0;
    if (!star || strncmp(pattern, path, n) != 0) {
        return text_eq(pattern, path);
    }
    *ret_name = path + n;
    return text_eq(star + 1, path + n + strcspn(path + n, "/"));
}

static unsigned take_name(
    const char *text, size_t n, char ret[VM_FULL_NAME_MAX + 1], struct error *err)
{
    (void)snprintf(ret, VM_FULL_NAME_MAX + 1, "%.*s", (int)(n <= VM_FULL_NAME_MAX ? n : 0), text);
    char *space = strchr(ret, ' ');
    if (space) { /* libwebsockets makes a ' ' of each '+' that is not written as %2B */
        *space = '+';
    }
    cleanup_free char *name = vm_name_is_valid(ret) ? NULL : vm_name_of_flat(ret);
    if (name) { /* a '/' would begin the next part of a path */
        memcpy(ret, name, strlen(name) + 1);
    }
    if (vm_name_is_valid(ret)) {
        return 200;
    }
    ret[0] = '\0';
    (void)error_set(err, ERR_VM_NOT_FOUND, "the request contains an invalid VM name");
    return 404;
}

static unsigned take_sequence(const char *text, struct route *ret, struct error *err)
{
    if (text_to_u64(text, 0, UINT64_MAX, &ret->after)) {
        ret->has_after = true;
        return 200;
    }
    (void)error_set(err, ERR_USAGE, "'after' is not the sequence number of an event");
    return 400;
}

static unsigned take_argument(struct route *route, const char *argument, struct error *err)
{
    static const char vm[] = "vm=", after[] = "after=";
    bool is_of_events = route->kind == ROUTE_EVENTS;
    if (is_of_events && text_starts_with(argument, vm)) {
        const char *name = argument + strlen(vm);
        return take_name(name, strlen(name), route->vm_name, err);
    }
    if (is_of_events && text_starts_with(argument, after)) {
        return take_sequence(argument + strlen(after), route, err);
    }
    if (route->kind == ROUTE_LOG && text_eq(argument, "follow=1")) {
        route->streams = true;
        return 200;
    }
    (void)error_set(err, ERR_USAGE, "the request has an unknown argument");
    (void)error_help(err, "see /v1/openapi.json");
    return 400;
}

static unsigned take_arguments(
    struct route *route, const struct http_request *request, struct error *err)
{
    unsigned status = 200;
    route->streams = route->kind == ROUTE_EVENTS && strstr(request->accept, "text/event-stream");
    route->wants_openmetrics = strstr(request->accept, "application/openmetrics-text") != NULL;
    if (route->streams && request->last_event_id[0]) {
        status = take_sequence(request->last_event_id, route, err);
    }
    for (size_t i = 0; status == 200 && i < request->arguments.count; i++) {
        status = take_argument(route, request->arguments.items[i], err);
    }
    return status;
}

static bool is_of_library(const struct http_request *request)
{
    return (text_starts_with(request->path, "/xterm/") ||
               text_starts_with(request->path, "/novnc/")) &&
           strlen(request->path) <= LIBRARY_PATH_MAX;
}

unsigned route_find(const struct http_request *request, struct route *ret, struct error *err)
{
    const char *method = text_eq(request->method, "HEAD") ? "GET" : request->method;
    *ret = (struct route){.kind = ROUTE_KIND_COUNT_};
    if (is_of_library(request) && text_eq(method, "GET")) {
        ret->kind = ROUTE_FILE;
        ret->is_public = true;
        (void)snprintf(ret->library, sizeof(ret->library), "%s", request->path);
        return 200;
    }
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        const char *name = NULL;
        if (!path_matches(routes[i].path, request->path, &name)) {
            continue;
        }
        ret->kind = routes[i].kind;
        ret->is_public = routes[i].is_public;
        ret->method = routes[i].method;
        ret->verb = routes[i].verb;
        ret->file = routes[i].file;
        if (!text_eq(method, ret->method)) {
            (void)error_set(err, ERR_USAGE, "this path takes only %s", ret->method);
            return 405;
        }
        unsigned status = name ? take_name(name, strcspn(name, "/"), ret->vm_name, err) : 200;
        return status == 200 ? take_arguments(ret, request, err) : status;
    }
    (void)error_set(err, ERR_USAGE, "nothing is served at this path");
    (void)error_help(err, "see /v1/openapi.json");
    return 404;
}
