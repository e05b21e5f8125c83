/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The protocol of qemu-guest-agent (QEMU's docs/interop/qemu-ga-ref): one JSON object per line, no
 * greeting, and answers without the id of their request. So every conversation starts with
 * guest-sync-delimited: everything before its answer, which follows a byte 0xFF, was meant for an
 * earlier client. Pure: no descriptor, no clock.
 *
 * A guest may send anything: before the answer nothing is kept, and a line is bounded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/buf.h"
#include "specs/base/json.h"
#include "specs/base/line_reader.h"

struct error;

/* The port's name on the machine: the agent looks for it. */
#define AGENT_PORT "org.qemu.guest_agent.0"

/* A command as a line; `arguments_take` may be NULL. Appends to `out`. */
void agent_add_command(struct buf *out, const char *command, json_t *arguments_take);
/* The beginning of a conversation: ends what the agent has of an unfinished line, and has it answer
 * with `id`. */
void agent_add_sync(struct buf *out, int64_t id);

struct agent_stream {
    struct line_reader lines;
    int64_t id; /* of the answer that begins the conversation */
    enum {
        AGENT_SEEKING, /* … of which no 0xFF was seen … */
        AGENT_SYNCING, /* … or that may be the line that is arriving */
        AGENT_ANSWERING,
    } state;
};

struct agent_answer {
    json_t *object;      /* owned; the rest is borrowed from it */
    bool is_sync;        /* the conversation has begun; neither of the others */
    const json_t *value; /* what was returned */
    const char *text;    /* or the agent's error; NULL: none */
};

void agent_answer_clear(struct agent_answer *answer);

/* `line_max`: of an answer. */
void agent_stream_init(struct agent_stream *stream, int64_t id, size_t line_max);
void agent_stream_clear(struct agent_stream *stream);

/* Appends bytes. -ERR_AGENT when an answer grows past the maximum. */
int agent_stream_feed(struct agent_stream *stream, const char *bytes, size_t n, struct error *err);

/* 1: *ret is the next answer; 0: none is complete; -ERR_AGENT: this is no agent. */
int agent_stream_next(struct agent_stream *stream, struct agent_answer *ret, struct error *err);
