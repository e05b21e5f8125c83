/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Finds what a request to vmctl-serve asks for, by a table of methods, paths and arguments. Pure.
 * All texts come from the client; the server's limit for headers bounds their length.
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
    const char *method; /* "GET"; "": a method that vmctl-serve does not know */
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
    ROUTE_FILE, /* of the page, the description of requests, or a library of the page */
    ROUTE_KIND_COUNT_
};

struct route {
    enum route_kind kind;
    bool is_public;     /* needs no token: the response contains nothing about VMs */
    const char *method; /* that the path takes; static */
    const char *verb;   /* ROUTE_CHANGE, ROUTE_SCREEN: the command of vmctl */
    const char *file;   /* ROUTE_FILE: "openapi.json"; ROUTE_LOG: "console", "provision" */
    char library[LIBRARY_PATH_MAX + 1]; /* ROUTE_FILE without `file` (files.h) */
    char vm_name[VM_FULL_NAME_MAX + 1]; /* in the path, or as ?vm=; "": none */
    uint64_t after; /* ROUTE_EVENTS: the last event that the client has; 0: none. ROUTE_LOG: a
                       position */
    bool has_after; /* ROUTE_EVENTS: the client gave it */
    bool streams;   /* ROUTE_EVENTS, ROUTE_LOG: and what is added later */
    bool wants_openmetrics; /* ROUTE_METRICS */
};

/* The HTTP status: 200, or 400, 404 or 405 with *err set. */
unsigned route_find(const struct http_request *request, struct route *ret, struct error *err);
