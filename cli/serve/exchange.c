/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/exchange.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/text.h"

enum {
    PIECE = 16 << 10,
    HELD_MAX = 2 * ANSWER_MAX, /* bytes of answers that are being sent */
};

/* ---- requests ---- */

enum { VALUE_MAX = 1024 };

/* The value of a header; "": there is none, or it is longer. */
static const char *header_of(struct lws *wsi, enum lws_token_indexes token, char ret[VALUE_MAX])
{
    if (lws_hdr_copy(wsi, ret, VALUE_MAX, token) < 0) {
        ret[0] = '\0';
    }
    return ret;
}

static const char *method_of(struct lws *wsi)
{
    static const struct {
        enum lws_token_indexes token;
        const char *name;
    } methods[] = {
        {WSI_TOKEN_GET_URI, "GET"}, {WSI_TOKEN_POST_URI, "POST"}, {WSI_TOKEN_HEAD_URI, "HEAD"}};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (lws_hdr_total_length(wsi, methods[i].token) > 0) {
            return methods[i].name;
        }
    }
    return "";
}

/* libwebsockets knows the end of one only by its Content-Length: what comes behind a request for
 * which that may be missing is not taken for the next request. */
static bool may_have_body(struct lws *wsi)
{
    return text_eq(method_of(wsi), "POST") || method_of(wsi)[0] == '\0' ||
           lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 ||
           lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
}

static void answer_to(struct serve *serve, struct lws *wsi, const char *path, struct answer *ret)
{
    static const char last_id[] = "last-event-id:";
    char values[5][VALUE_MAX] = {"", "", "", "", ""}, argument[VALUE_MAX];
    struct http_request request = {
        .method = method_of(wsi),
        .path = path,
        .host = header_of(wsi, WSI_TOKEN_HOST, values[0]),
        .origin = header_of(wsi, WSI_TOKEN_ORIGIN, values[1]),
        .authorization = header_of(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, values[2]),
        .accept = header_of(wsi, WSI_TOKEN_HTTP_ACCEPT, values[3]),
        .last_event_id = values[4],
    };
    (void)lws_hdr_custom_copy(wsi, values[4], VALUE_MAX, last_id, (int)strlen(last_id));
    for (int i = 0;
         lws_hdr_copy_fragment(wsi, argument, sizeof(argument), WSI_TOKEN_HTTP_URI_ARGS, i) > 0;
         i++) {
        strings_append(&request.arguments, argument);
    }
    answer_request(serve, &request, ret);
    strings_clear(&request.arguments);
}

/* ---- answers ---- */

void exchange_end(struct server *server, struct exchange *exchange)
{
    if (exchange->phase == PHASE_STREAMING) {
        stream_end(server, exchange);
    } else if (exchange->phase == PHASE_SENDING) {
        server->held_bytes -= exchange->answer.body.len;
    } else if (exchange->phase == PHASE_ACTING) {
        action_forget(exchange);
    }
    answer_clear(&exchange->answer);
    buf_clear(&exchange->input);
    *exchange = (struct exchange){.phase = PHASE_NONE};
}

static bool add_answer_header(
    struct lws *wsi, const char *name, const char *value, unsigned char **p, unsigned char *end)
{
    return lws_add_http_header_by_name(wsi, (const unsigned char *)name,
               (const unsigned char *)value, (int)strlen(value), p, end) == 0;
}

/* Nothing from elsewhere is loaded by the page, and no other page shows it. */
static const char content_policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; "
                                     "connect-src 'self'; img-src blob: data:; "
                                     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

int exchange_send_headers(const struct exchange *exchange, lws_filepos_t length)
{
    struct lws *wsi = exchange->wsi;
    const struct answer *answer = &exchange->answer;
    unsigned char space[LWS_PRE + 2048], *start = space + LWS_PRE, *p = start,
                                         *end = space + sizeof(space);
    bool is_written =
        lws_add_http_common_headers(wsi, answer->status, answer->type, length, &p, end) == 0 &&
        add_answer_header(wsi, "cache-control:", "no-store", &p, end) &&
        add_answer_header(wsi, "x-content-type-options:", "nosniff", &p, end) &&
        add_answer_header(wsi, "referrer-policy:", "no-referrer", &p, end) &&
        add_answer_header(wsi, "content-security-policy:", content_policy, &p, end) &&
        (!exchange->is_last || add_answer_header(wsi, "connection:", "close", &p, end)) &&
        (answer->status != 401 || add_answer_header(wsi, "www-authenticate:", "Bearer", &p, end)) &&
        (!answer->method || add_answer_header(wsi, "allow:", answer->method, &p, end));
    return is_written && lws_finalize_write_http_header(wsi, start, &p, end) == 0 ? 0 : -1;
}

/* What every answer holds at one time is bounded, however many clients read slowly. */
static void hold_answer(struct server *server, struct answer *answer)
{
    static const char busy[] = "too many responses are being sent\n";
    if (server->held_bytes + answer->body.len > HELD_MAX) {
        buf_clear(&answer->body);
        buf_add_str(&answer->body, busy);
        answer->status = 503;
        answer->type = "text/plain";
    }
    server->held_bytes += answer->body.len;
}

int exchange_answer(struct server *server, struct exchange *exchange)
{
    exchange->phase = PHASE_SENDING;
    exchange->begun_ms = clock_monotonic_ms(clock_system());
    hold_answer(server, &exchange->answer);
    lws_set_timeout(exchange->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_S);
    bool is_endless = exchange->answer.kind == ANSWER_STREAM; /* HEAD */
    lws_filepos_t length = is_endless ? LWS_ILLEGAL_HTTP_CONTENT_LEN : exchange->answer.body.len;
    if (exchange_send_headers(exchange, length) < 0) {
        return -1;
    }
    return lws_callback_on_writable(exchange->wsi) < 0 ? -1 : 0;
}

static int finish_sending(struct server *server, struct exchange *exchange)
{
    struct lws *wsi = exchange->wsi;
    bool is_last = exchange->is_last;
    exchange_end(server, exchange);
    return is_last || lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

/* The next piece of the body; -1: it cannot be sent. */
int exchange_send_piece(struct exchange *exchange, bool ends)
{
    unsigned char space[LWS_PRE + PIECE];
    const struct buf *body = &exchange->answer.body;
    size_t left = body->len - exchange->n_sent, n = left < PIECE ? left : PIECE;
    bool is_final = ends && n == left;
    memcpy(space + LWS_PRE, buf_str(body) + exchange->n_sent, n);
    exchange->n_sent += n;
    return lws_write(exchange->wsi, space + LWS_PRE, n,
               is_final ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < (int)n
               ? -1
               : 0;
}

/* A client that takes it slowly is sent the rest until the answer's time is up. */
static int send_whole(struct server *server, struct exchange *exchange)
{
    int64_t passed_ms = clock_monotonic_ms(clock_system()) - exchange->begun_ms;
    bool has_more = !exchange->is_head && exchange->n_sent < exchange->answer.body.len;
    if (passed_ms > ANSWER_S * INT64_C(1000) ||
        (has_more && exchange_send_piece(exchange, true) < 0)) {
        return -1;
    }
    if (!exchange->is_head && exchange->n_sent < exchange->answer.body.len) {
        return lws_callback_on_writable(exchange->wsi) < 0 ? -1 : 0;
    }
    return finish_sending(server, exchange);
}

/* ---- a body ---- */

static int begin_reading(struct server *server, struct exchange *exchange)
{
    char text[VALUE_MAX];
    uint64_t length = 0;
    struct error err = {.code = ERR_NONE};
    (void)header_of(exchange->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, text);
    if (!text_to_u64(text, 1, TYPING_MAX, &length)) {
        (void)error_set(
            &err, ERR_USAGE, "the request needs a Content-Length of 1 to %d bytes", TYPING_MAX);
        answer_error(&exchange->answer, 413, &err);
        return exchange_answer(server, exchange);
    }
    exchange->phase = PHASE_READING;
    exchange->input.max = TYPING_MAX;
    lws_set_timeout(exchange->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_S);
    return 0;
}

int exchange_take(struct exchange *exchange, const char *bytes, size_t n)
{
    if (exchange->phase == PHASE_READING) {
        buf_add(&exchange->input, bytes, n);
    }
    return 0;
}

int exchange_taken(struct server *server, struct exchange *exchange)
{
    struct error err = {.code = ERR_NONE};
    struct answer *answer = &exchange->answer;
    if (exchange->phase != PHASE_READING) {
        return 0;
    }
    const struct buf *input = &exchange->input;
    if (typing_add(server, answer->route.vm_name, input->data, input->len, &err) < 0) {
        answer_error(answer, err.code == ERR_VM_INVALID_STATE ? 409 : 504, &err);
    } else {
        answer->status = 202;
        buf_add_str(&answer->body, "{}\n");
    }
    return exchange_answer(server, exchange);
}

int exchange_begin(
    struct server *server, struct lws *wsi, struct exchange *exchange, const char *path)
{
    exchange_end(server, exchange);
    exchange->wsi = wsi;
    exchange->is_head = text_eq(method_of(wsi), "HEAD");
    exchange->is_last = may_have_body(wsi);
    answer_to(server->serve, wsi, path, &exchange->answer);
    switch (exchange->answer.kind) {
    case ANSWER_STREAM:
        return exchange->is_head ? exchange_answer(server, exchange)
                                 : stream_begin(server, exchange);
    case ANSWER_INPUT:
        return begin_reading(server, exchange);
    case ANSWER_ACTION:
        return action_begin(server, exchange);
    default:
        return exchange_answer(server, exchange);
    }
}

int exchange_send(struct server *server, struct exchange *exchange)
{
    return exchange->phase == PHASE_SENDING     ? send_whole(server, exchange)
           : exchange->phase == PHASE_STREAMING ? stream_send(server, exchange)
                                                : 0;
}
