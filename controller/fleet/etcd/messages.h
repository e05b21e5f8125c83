/* SPDX-License-Identifier: MPL-2.0 */
/*
 * engine.h's requests and answers as messages of etcd's API, in protobuf: pure functions. A
 * message_write_…() appends a message in its frame; a message_read_…() takes one without.
 *
 * The readers accept any bytes. -ERR_FLEET_VERSION: they are not the expected message;
 * -ERR_FLEET_LIMIT: it unpacks to far more than its size. Results are written on success only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/fleet/engine.h"

struct buf;

void message_write_range(struct buf *out, const struct engine_range *range);
int message_read_range(const struct bytes *message, struct engine_rows *rows, struct error *err);

void message_write_txn(struct buf *out, const struct engine_txn *txn);
/* Of a transaction with so many writes and reads. */
int message_read_txn(const struct bytes *message, size_t n_writes, size_t n_reads,
    struct engine_result *result, struct error *err);

void message_write_grant(struct buf *out, int64_t ttl_ms);
void message_write_lease(struct buf *out, int64_t id); /* to be renewed or revoked */
/* -ERR_FLEET_LEASE: there is none. */
int message_read_lease(const struct bytes *message, struct engine_lease *lease, struct error *err);

void message_write_status(struct buf *out);
/* All but the endpoint. -ERR_FLEET_VERSION for one older than 3.4, too. */
int message_read_status(
    const struct bytes *message, struct engine_status *status, struct error *err);

/* Starts the watch of one prefix, under a number of our own, from 1. */
void message_write_watch(struct buf *out, const char *prefix, int64_t revision, int64_t number);
void message_write_progress(struct buf *out);

enum watch_news { WATCH_CREATED, WATCH_EVENTS, WATCH_PROGRESS, WATCH_NOTHING };

struct watch_message {
    enum watch_news news;
    int64_t revision; /* of the store */
    struct engine_event *events;
    size_t n_events;
    void *memory;
};
/* A watch that was ended or refused is an error with its reason: -ERR_FLEET_COMPACTED,
 * -ERR_FLEET_DENIED, -ERR_FLEET_UNREACHABLE. */
int message_read_watch(const struct bytes *message, struct watch_message *ret, struct error *err);
void watch_message_clear(struct watch_message *message);

/*
 * What a status of gRPC other than 0, with etcd's words, means: sets `err`. *ret_is_refused: it was
 * not carried out, and will not be; *ret_is_elsewhere: another member may do better.
 */
int message_status_error(
    int status, const char *words, bool *ret_is_refused, bool *ret_is_elsewhere, struct error *err);
