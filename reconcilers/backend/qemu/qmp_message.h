/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Splits the bytes of a QMP socket into messages: one JSON object a line (QEMU's
 * docs/interop/qmp-spec.rst; every response "is terminated by CRLF"). Pure: no descriptor, no
 * clock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/base/json.h"
#include "specs/base/line_reader.h"

struct error;

/* The longest line accepted. The largest normal responses, lists of block nodes, are a few KiB. */
enum { QMP_MESSAGE_MAX = 1 << 20 };

enum qmp_kind { QMP_GREETING, QMP_EVENT, QMP_RETURN, QMP_ERROR };

struct qmp_message {
    enum qmp_kind kind;
    json_t *object;      /* owned; the rest is borrowed from it */
    int64_t id;          /* QMP_RETURN and QMP_ERROR; -1: none, or not a number */
    const char *event;   /* QMP_EVENT */
    const json_t *value; /* QMP_RETURN: what was returned; QMP_EVENT: its data or NULL */
    const char *text;    /* QMP_ERROR: QEMU's message */
};

void qmp_message_clear(struct qmp_message *message);

struct qmp_stream {
    struct line_reader lines;
};

void qmp_stream_init(struct qmp_stream *stream);
void qmp_stream_clear(struct qmp_stream *stream);

/* Appends bytes. -ERR_QMP_COMMAND when a message grows past QMP_MESSAGE_MAX. */
int qmp_stream_feed(struct qmp_stream *stream, const char *bytes, size_t n, struct error *err);

/* 1: *ret is the next message; 0: none is complete; -ERR_QMP_COMMAND: this is not QMP. */
int qmp_stream_next(struct qmp_stream *stream, struct qmp_message *ret, struct error *err);
