/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/agent_protocol.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { DELIMITER = 0xff, SYNC_LINE_MAX = 64 };

void agent_add_command(struct buf *out, const char *command, json_t *arguments_take)
{
    cleanup_json json_t *object = json_object();
    json_put_text(object, "execute", command);
    if (arguments_take) {
        json_put(object, "arguments", arguments_take);
    }
    cleanup_free char *text = json_canonical(object);
    buf_add_str(out, text);
    buf_add_char(out, '\n');
}

void agent_add_sync(struct buf *out, int64_t id)
{
    json_t *arguments = json_object();
    json_put_int(arguments, "id", id);
    buf_add_char(out, (char)DELIMITER);
    agent_add_command(out, "guest-sync-delimited", arguments);
}

void agent_answer_clear(struct agent_answer *answer)
{
    json_decref(answer->object);
    *answer = (struct agent_answer){.object = NULL};
}

void agent_stream_init(struct agent_stream *stream, int64_t id, size_t line_max)
{
    *stream = (struct agent_stream){.id = id};
    line_reader_init(&stream->lines, line_max);
}

void agent_stream_clear(struct agent_stream *stream)
{
    line_reader_clear(&stream->lines);
}

/* Whether the line is the answer that begins the conversation. */
static bool is_sync_answer(const struct agent_stream *stream, const char *line, size_t n)
{
    cleanup_json json_t *object = json_loadb(line, n, 0, NULL);
    const json_t *value = json_object_get(object, "return");
    return json_is_integer(value) && json_integer_value(value) == stream->id;
}

/* Until a conversation has begun only what may be its beginning is kept. True: it has. */
static bool agent_stream_sync(struct agent_stream *stream)
{
    size_t left;
    for (const char *rest; rest = line_reader_rest(&stream->lines, &left),
                           stream->state != AGENT_ANSWERING && left > 0;) {
        const char *newline = memchr(rest, '\n', left);
        size_t n = newline ? (size_t)(newline - rest) : left;
        const char *delimiter = memrchr(rest, DELIMITER, n);
        bool is_wanted = stream->state == AGENT_SYNCING;
        if (delimiter) {
            stream->state = AGENT_SYNCING;
            line_reader_skip(&stream->lines, (size_t)(delimiter - rest) + 1);
        } else if (is_wanted && !newline && n <= SYNC_LINE_MAX) {
            return false;
        } else {
            bool is_it =
                is_wanted && newline && n <= SYNC_LINE_MAX && is_sync_answer(stream, rest, n);
            stream->state = is_it ? AGENT_ANSWERING : AGENT_SEEKING;
            line_reader_skip(&stream->lines, newline ? n + 1 : n);
        }
    }
    return stream->state == AGENT_ANSWERING;
}

/* What does not matter yet takes no room, however much comes at once. */
int agent_stream_feed(struct agent_stream *stream, const char *bytes, size_t n, struct error *err)
{
    const char *delimiter = stream->state == AGENT_SEEKING ? memchr(bytes, DELIMITER, n) : bytes;
    if (!delimiter) {
        return 0;
    }
    if (!line_reader_feed(&stream->lines, delimiter, n - (size_t)(delimiter - bytes))) {
        return error_set(err, ERR_AGENT, "the guest's agent sent an answer of more than %zu bytes",
            stream->lines.input.max);
    }
    return 0;
}

static int parse_answer(const char *line, size_t n, struct agent_answer *ret, struct error *err)
{
    cleanup_json json_t *object = json_loadb(line, n, 0, NULL);
    const json_t *error = json_object_get(object, "error");
    const json_t *value = json_object_get(object, "return");
    const char *desc = json_text(error, "desc"), *class = json_text(error, "class");
    if (!json_is_object(error) && !value) {
        return error_set(
            err, ERR_AGENT, "the program that answers in the guest is not qemu-guest-agent");
    }
    *ret = (struct agent_answer){.value = value};
    if (json_is_object(error)) {
        ret->value = NULL;
        ret->text = desc ? desc : class ? class : "no reason is given";
    }
    ret->object = TAKE_PTR(object);
    return 0;
}

int agent_stream_next(struct agent_stream *stream, struct agent_answer *ret, struct error *err)
{
    size_t n;
    if (stream->state != AGENT_ANSWERING) {
        *ret = (struct agent_answer){.is_sync = agent_stream_sync(stream)};
        return ret->is_sync;
    }
    for (const char *line; (line = line_reader_next(&stream->lines, &n));) {
        for (; n > 0 && strchr(" \t\r\xff", *line); line++) { /* also a line of nothing else */
            n--;
        }
        if (n > 0) {
            int rc = parse_answer(line, n, ret, err);
            return rc < 0 ? rc : 1;
        }
    }
    return 0;
}
