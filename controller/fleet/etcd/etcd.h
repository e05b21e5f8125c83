/* SPDX-License-Identifier: MPL-2.0 */
/*
 * engine.h implemented with etcd 3.4 or newer, by gRPC and TLS with client certificates.
 *
 * A request goes to the endpoint that answered last. If that cannot be reached or has no leader,
 * the request goes to the next one, as long as there is time; a request that may have been carried
 * out is repeated only if it changes nothing. A watch asks for progress every two seconds; after
 * two requests without an answer it ends, and all requests go to the next endpoint.
 */
#pragma once

#include <stddef.h>

struct engine;
struct error;
struct loop;

/* All are copied. */
struct etcd_config {
    const char *const *endpoints; /* "https://a.lan:2379"; http: for 127.0.0.1 only, for tests */
    size_t n_endpoints;
    const char *ca; /* files in PEM */
    const char *certificate;
    const char *key;
};

/* Sends nothing yet. -ERR_FLEET_TLS: a file cannot be read; -ERR_USAGE: an endpoint cannot be used.
 */
int etcd_new(
    struct loop *loop, const struct etcd_config *config, struct engine **ret, struct error *err);
