/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/qmp_message.h"

#include <string.h>

#include "specs/base/error.h"

void qmp_message_clear(struct qmp_message *message)
{
    json_decref(message->object);
    *message = (struct qmp_message){.id = -1};
}

void qmp_stream_init(struct qmp_stream *stream)
{
    line_reader_init(&stream->lines, QMP_MESSAGE_MAX);
}

void qmp_stream_clear(struct qmp_stream *stream)
{
    line_reader_clear(&stream->lines);
}

int qmp_stream_feed(struct qmp_stream *stream, const char *bytes, size_t n, struct error *err)
{
    if (!line_reader_feed(&stream->lines, bytes, n)) {
        return error_set(
            err, ERR_QMP_COMMAND, "QEMU sent a message of more than %d bytes", QMP_MESSAGE_MAX);
    }
    return 0;
}

static int classify(json_t *object, struct qmp_message *ret, struct error *err)
{
    *ret = (struct qmp_message){.id = json_int(object, "id", -1)};
    const json_t *error = json_object_get(object, "error");
    if (json_is_object(json_object_get(object, "QMP"))) {
        ret->kind = QMP_GREETING;
    } else if (json_text(object, "event")) {
        ret->kind = QMP_EVENT;
        ret->event = json_text(object, "event");
        ret->value = json_object_get(object, "data");
    } else if (json_is_object(error)) {
        const char *desc = json_text(error, "desc"), *class = json_text(error, "class");
        ret->kind = QMP_ERROR;
        ret->text = desc ? desc : class ? class : "unknown error";
    } else if (json_object_get(object, "return")) {
        ret->kind = QMP_RETURN;
        ret->value = json_object_get(object, "return");
    } else {
        return error_set(err, ERR_QMP_COMMAND, "QEMU sent a message of an unknown kind");
    }
    ret->object = object;
    return 0;
}

static int parse(const char *line, size_t n, struct qmp_message *ret, struct error *err)
{
    json_error_t why;
    json_t *object = json_loadb(line, n, 0, &why);
    if (!json_is_object(object)) {
        json_decref(object);
        return error_set(err, ERR_QMP_COMMAND, "QEMU sent something that is not QMP");
    }
    int rc = classify(object, ret, err);
    if (rc < 0) {
        json_decref(object);
    }
    return rc;
}

int qmp_stream_next(struct qmp_stream *stream, struct qmp_message *ret, struct error *err)
{
    size_t n;
    for (const char *line; (line = line_reader_next(&stream->lines, &n));) {
        if (strspn(line, " \t\r") < n) { /* the newline ends a blank line */
            int rc = parse(line, n, ret, err);
            return rc < 0 ? rc : 1;
        }
    }
    return 0;
}
