/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Two real HTTP servers for tests, each on a free port of 127.0.0.1: nginx for everything a good
 * server does, and a small faulty one (a thread of the test) for what servers do wrong.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- nginx ---- */

struct nginx;

/* Serves `root`; its files live in `dir`. NULL when nginx is not installed or does not start. */
struct nginx *nginx_start(const char *dir, const char *root);
void nginx_stop(struct nginx *nginx); /* NULL is fine */
uint16_t nginx_port(const struct nginx *nginx);

/* Access log, one "STATUS BYTES RANGE URI" a line ("200 1000 - /x"). free() it. */
char *nginx_log(const struct nginx *nginx);

/* ---- the faulty one ---- */

struct http_request {
    char method[8];
    char path[256];
    char range[64];
    char if_range[64];
    char if_none_match[64];
    char authorization[128];
    char proxy_authorization[128];
    char api_version[16];
    const char *body; /* "" none; the server's, until it stops */
    size_t sent;      /* bytes of the answer's body */
};

/* Answers a request, in the server's thread: the body (borrowed until the next request; "" none).
 */
typedef const char *http_decide_fn(
    void *context, const struct http_request *request, int *ret_status);

/* An answer for requests of this path (or beginning so) and Authorization. */
struct http_rule {
    const char *path;
    const char *authorization; /* NULL: any or none */
    int status;
    const char *header; /* "Name: value"; NULL: none */
    const char *body;   /* NULL: that of the behaviour, with all it says */
};

/* How it answers everything from now on. Bodies and texts are borrowed until the next change. */
struct http_behaviour {
    const void *body;
    size_t size;
    const char *etag; /* NULL: none */
    int status;       /* 0: 200, or 206 for a range it honours */
    bool ignores_range;
    bool has_no_length;        /* the connection's end is the body's */
    bool is_lying;             /* answers a range with 206 of other bytes than asked for */
    size_t piece;              /* of a range it sends no more than so many bytes; 0: all */
    const char *etag_of_range; /* of a 206, in place of `etag`; "": none */
    bool sends_parts;          /* answers a range as multipart/byteranges */
    bool redirects_to_itself;
    const char *location; /* redirect to there */
    size_t cut_after;     /* closes after so many bytes of the body; 0: never */
    size_t hold_after;    /* waits after so many bytes for http_server_release(); 0: never */
    const struct http_rule *rules; /* the first that fits; none: as above says */
    size_t n_rules;
    http_decide_fn *decide; /* NULL: as above says; one call at a time */
    void *decide_context;
};

struct http_server;

struct http_server *http_server_start(void);
void http_server_stop(struct http_server *server);
uint16_t http_server_port(const struct http_server *server);
void http_server_behave(struct http_server *server, const struct http_behaviour *behaviour);
void http_server_release(struct http_server *server);

size_t http_server_count(struct http_server *server);
struct http_request http_server_request(struct http_server *server, size_t index);
