/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a request to vmctl-serve means: a table of routes over the method, the path and the
 * arguments. Pure; every text is of the outside, bounded by the server's limit for a header.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/strings.h"
#include "specs/base/vm_name.h"
#include "specs/vm/vm_spec.h"

struct error;

/* Borrowed texts, "": there is no such header. */
struct http_request {
    const char *method; /* "GET"; "": one that is not served */
    const char *path;   /* decoded */
    const char *host, *origin, *authorization, *accept, *last_event_id;
    struct strings arguments; /* of the query, decoded: "after=12" */
};

enum { LIBRARY_PATH_MAX = 127 };

enum route_kind {
    ROUTE_HEALTH,
    ROUTE_READINESS,
    ROUTE_METRICS,
    ROUTE_VMS,
    ROUTE_VM,
    ROUTE_CHANGE,
    ROUTE_SCREEN,
    ROUTE_TYPE, /* text for the serial console */
    ROUTE_VNC,  /* the screen, for a viewer: a WebSocket (viewer.c) */
    ROUTE_SERVER,
    ROUTE_LOG,
    ROUTE_EVENTS,
    ROUTE_IMAGES,
    ROUTE_FILE, /* of the program itself: its page, its description; or of a library of the page */
    ROUTE_KIND_COUNT_
};

struct route {
    enum route_kind kind;
    bool is_public;     /* without the token: nothing of the VMs is in it */
    const char *method; /* static; also of a path that has another one only */
    const char *verb;   /* ROUTE_CHANGE, ROUTE_SCREEN: the command of vmctl */
    const char *file;   /* ROUTE_FILE: "openapi.json"; ROUTE_LOG: "console", "provision" */
    char library[LIBRARY_PATH_MAX + 1]; /* ROUTE_FILE without `file` (files.h) */
    char vm_name[VM_FULL_NAME_MAX + 1]; /* in the path, or as ?vm=; "": none */
    uint64_t after; /* ROUTE_EVENTS: the last one that is known; 0: none. ROUTE_LOG: a position */
    bool has_after; /* ROUTE_EVENTS: the client says it */
    bool streams;   /* ROUTE_EVENTS, ROUTE_LOG: as it comes */
    bool wants_openmetrics; /* ROUTE_METRICS */
};

/* The HTTP status: 200, or 400, 404 or 405 with *err set. */
unsigned route_find(const struct http_request *request, struct route *ret, struct error *err);
