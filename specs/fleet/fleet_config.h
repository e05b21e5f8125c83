/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a host knows of the fleet that it has joined: DATA/fleet/config.json, mode 0600, written by
 * `vmctl fleet` and read by the messenger (`vmctld --fleet`). Without the file there is no fleet,
 * and nothing else of vmctl looks for one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/base/json.h"

struct error;
struct paths;

#define FLEET_CONFIG_FILE "fleet/config.json" /* below the data directory */
/* When etcd last answered the messenger: the file's time of modification. */
#define FLEET_CONTACT_FILE "fleet/contact"

enum { FLEET_TTL_S = 15, FLEET_TTL_MIN_S = 5, FLEET_TTL_MAX_S = 300 };

struct fleet_config {
    char *fleet;      /* its name */
    char *uid;        /* of the fleet: one of the same name that was made again is another */
    char *node;       /* this host's name in it */
    char *ssh;        /* how the others reach this host: "me@b.lan" */
    char **endpoints; /* "https://a.lan:2379" */
    size_t n_endpoints;
    char *ca, *cert, *key; /* absolute paths; all NULL: without TLS, in tests alone */
    uint32_t ttl_s;
    char *labels; /* "ssd=yes,site=x"; NULL: none */
    char *accept; /* fleet_sources_read(); NULL: FLEET_SOURCES_DEFAULT */
};

struct fleet_config *fleet_config_new(void);
void fleet_config_free(struct fleet_config *config); /* NULL is fine */
json_t *fleet_config_to_json(const struct fleet_config *config);

/* NULL and ERR_FLEET_CONFIG: it cannot be used, with what is wrong in it. */
struct fleet_config *fleet_config_read(const char *text, size_t size, struct error *err);

/* node/N's "uid", by which two hosts of one name differ: 32 hex digits, made of the host and its
 * data directory. free() it. */
char *fleet_host_id(const struct paths *paths);

/* 0, with NULL where there is no such file: no fleet was joined. */
int fleet_config_load(const struct paths *paths, struct fleet_config **ret, struct error *err);
int fleet_config_save(
    const struct paths *paths, const struct fleet_config *config, struct error *err);
