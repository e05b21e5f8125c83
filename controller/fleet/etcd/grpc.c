/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/etcd/grpc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "controller/fleet/certificate.h"
#include "controller/fleet/etcd/frame.h"
#include "controller/http/multi.h"
#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

enum { OUT_MAX = 4 << 20 };

struct grpc_channel {
    struct loop *loop; /* borrowed: the process's */
    struct multi *multi;
    char *url;
    bool is_plain;
    char *ca;
    char *certificate;
    char *key;
    size_t n_calls;
    bool is_dropped;
};

struct grpc_call {
    struct grpc_channel *channel;
    struct multi_transfer wire;
    struct curl_slist *headers;
    struct grpc_request request;
    struct buf out; /* not sent yet */
    struct buf in;  /* not reported yet */
    struct loop_timer *drain;
    bool is_paused; /* libcurl waits for more to send */
    bool has_sent;  /* libcurl has taken some of it */
    bool is_ended;  /* libcurl is done, with `code` */
    CURLcode code;
    bool *is_gone; /* set when it is freed, of the function that calls back */
    char curl_text[CURL_ERROR_SIZE];
};

/* ---- channels ---- */

int grpc_channel_new(struct loop *loop, const char *url, const struct grpc_tls *tls,
    struct grpc_channel **ret, struct error *err)
{
    struct grpc_channel *channel = mem_new(struct grpc_channel);
    if (multi_new(loop, &channel->multi, err) < 0) {
        free(channel);
        return -(int)err->code;
    }
    channel->loop = loop;
    channel->url = mem_strdup(url);
    channel->is_plain = text_starts_with(url, "http:");
    channel->ca = mem_strdup(tls->ca);
    channel->certificate = mem_strdup(tls->certificate);
    channel->key = mem_strdup(tls->key);
    *ret = channel;
    return 0;
}

static void channel_free_unused(struct grpc_channel *channel)
{
    if (channel->is_dropped && channel->n_calls == 0) {
        multi_free(channel->multi);
        free(channel->url);
        free(channel->ca);
        free(channel->certificate);
        free(channel->key);
        free(channel);
    }
}

void grpc_channel_drop(struct grpc_channel *channel)
{
    if (channel) {
        channel->is_dropped = true;
        channel_free_unused(channel);
    }
}

/* ---- the end of a call ---- */

void grpc_cancel(struct grpc_call *call)
{
    if (!call) {
        return;
    }
    if (call->is_gone) {
        *call->is_gone = true;
    }
    struct grpc_channel *channel = call->channel;
    multi_stop(channel->multi, &call->wire);
    curl_easy_cleanup(call->wire.easy);
    curl_slist_free_all(call->headers);
    loop_timer_free(call->drain);
    buf_clear(&call->out);
    buf_clear(&call->in);
    free(call);
    channel->n_calls--;
    channel_free_unused(channel);
}

/* NULL: there is none. Borrowed from libcurl. */
static const char *header_of(const struct grpc_call *call, const char *name)
{
    struct curl_header *header = NULL;
    CURLHcode rc =
        curl_easy_header(call->wire.easy, name, 0, CURLH_HEADER | CURLH_TRAILER, -1, &header);
    return rc == CURLHE_OK ? header->value : NULL;
}

static bool is_of_grpc(const struct grpc_call *call)
{
    long status = 0;
    (void)curl_easy_getinfo(call->wire.easy, CURLINFO_RESPONSE_CODE, &status);
    const char *type = header_of(call, "content-type");
    return status == 200 && type && text_starts_with(type, "application/grpc");
}

/* What libcurl found wrong with the server's certificate or our files, or the server with ours. */
static bool is_of_tls(const struct grpc_call *call)
{
    return call->code == CURLE_PEER_FAILED_VERIFICATION || call->code == CURLE_SSL_CERTPROBLEM ||
           call->code == CURLE_SSL_CACERT_BADFILE || call->code == CURLE_SSL_CONNECT_ERROR ||
           call->code == CURLE_SSL_ISSUER_ERROR || call->code == CURLE_SSL_CIPHER ||
           strstr(call->curl_text, " alert ") != NULL;
}

/* In TLS 1.3 a server judges our certificate after the handshake, and its alert is often lost, as
 * it closes the connection with it. */
static bool may_be_refused(const struct grpc_call *call)
{
    long n_connects = 0;
    curl_off_t handshake_us = 0;
    (void)curl_easy_getinfo(call->wire.easy, CURLINFO_NUM_CONNECTS, &n_connects);
    (void)curl_easy_getinfo(call->wire.easy, CURLINFO_APPCONNECT_TIME_T, &handshake_us);
    return call->channel->certificate && n_connects > 0 && handshake_us > 0 &&
           call->code != CURLE_OPERATION_TIMEDOUT && call->code != CURLE_OK;
}

static int connection_error(const struct grpc_call *call, const char *text, struct error *err)
{
    const struct grpc_channel *channel = call->channel;
    bool is_refused = may_be_refused(call);
    if ((is_refused || is_of_tls(call)) && channel->certificate &&
        certificate_check(channel->certificate, err) < 0) {
        return error_wrap(err, "%s", channel->url);
    }
    if (is_of_tls(call)) {
        return error_set(err, ERR_FLEET_TLS, "%s: %s", channel->url, text);
    }
    return error_set(err, ERR_FLEET_UNREACHABLE, "%s: %s%s", channel->url,
        is_refused ? "it closed the connection at once, as if it rejected the certificate: " : "",
        text);
}

/* Sets `end` to how the connection failed. */
static void end_by_curl(const struct grpc_call *call, struct grpc_end *end)
{
    cleanup_buf struct buf text = BUF_INIT(4 * CURL_ERROR_SIZE);
    const char *curl_text = call->curl_text[0] ? call->curl_text : curl_easy_strerror(call->code);
    text_add_printable(&text, curl_text, strlen(curl_text));
    end->ending = !call->has_sent                          ? GRPC_NOT_SENT
                  : call->code == CURLE_OPERATION_TIMEDOUT ? GRPC_LATE
                                                           : GRPC_BROKEN;
    (void)connection_error(call,
        call->code == CURLE_OK ? "it ended the call without a status" : buf_str(&text), &end->err);
}

static void end_call(struct grpc_call *call, const struct grpc_end *end)
{
    grpc_end_fn *fn = call->request.end;
    void *context = call->request.context;
    grpc_cancel(call);
    fn(context, end);
}

static void end_strange(struct grpc_call *call, const struct error *err)
{
    struct grpc_end end = {.ending = GRPC_STRANGE, .words = "", .err = *err};
    (void)error_wrap(&end.err, "%s", call->channel->url);
    end_call(call, &end);
}

static void end_ended(struct grpc_call *call)
{
    struct grpc_end end = {.words = ""};
    struct error err = {0};
    uint64_t status;
    const char *text = header_of(call, "grpc-status");
    const char *encoded = header_of(call, "grpc-message");
    cleanup_buf struct buf words = BUF_INIT(0);
    if (call->in.is_full) {
        (void)error_set(&err, ERR_FLEET_LIMIT, "an answer of more than %zu MiB",
            call->request.message_max >> 20);
        end_strange(call, &err);
    } else if (text && text_to_u64(text, 0, 1000, &status)) {
        frame_add_text(&words, encoded ? encoded : "");
        end.ending = GRPC_STATUS;
        end.status = (int)status;
        end.words = buf_str(&words);
        end_call(call, &end);
    } else if (call->code == CURLE_OK && !is_of_grpc(call)) {
        (void)error_set(&err, ERR_FLEET_VERSION, "the server there is not etcd");
        end_strange(call, &err);
    } else {
        end_by_curl(call, &end);
        end_call(call, &end);
    }
}

/* ---- receiving ---- */

/* False: the call is gone. */
static bool report_messages(struct grpc_call *call)
{
    struct bytes left = {buf_str(&call->in), call->in.len};
    struct bytes message;
    struct error err = {0};
    bool is_gone = false;
    int rc;
    call->is_gone = &is_gone;
    while ((rc = frame_read(&left, call->request.message_max, &message, &err)) > 0) {
        call->request.message(call->request.context, &message);
        if (is_gone) {
            return false;
        }
        left.data = message.data + message.n;
        left.n -= FRAME_HEAD_SIZE + message.n;
    }
    call->is_gone = NULL;
    buf_consume(&call->in, call->in.len - left.n);
    if (rc < 0) {
        end_strange(call, &err);
    }
    return rc == 0;
}

static void on_drain(void *context)
{
    struct grpc_call *call = context;
    if (is_of_grpc(call) && !report_messages(call)) {
        return;
    }
    if (call->is_ended) {
        end_ended(call);
    }
}

/* Inside libcurl, or before multi.c is done with it: no call may be stopped there, and no channel
 * freed. So all is reported in the loop's next turn. */
static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct grpc_call *call = context;
    loop_timer_start(call->drain, 0);
    return buf_add(&call->in, bytes, size * count) ? size * count : CURL_WRITEFUNC_ERROR;
}

static void on_end(void *context, CURLcode code)
{
    struct grpc_call *call = context;
    call->is_ended = true;
    call->code = code;
    loop_timer_start(call->drain, 0);
}

/* ---- sending ---- */

/* It may be asked again although nothing was added since the pause. Without a function to seek,
 * libcurl cannot send again what it got here. */
static size_t on_read(char *to, size_t size, size_t count, void *context)
{
    struct grpc_call *call = context;
    size_t n = size * count < call->out.len ? size * count : call->out.len;
    if (n == 0 && call->request.stays_open) {
        call->is_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    if (n > 0) {
        memcpy(to, call->out.data, n);
        buf_consume(&call->out, n);
        call->has_sent = true;
    }
    return n;
}

void grpc_send(struct grpc_call *call, const struct buf *frames)
{
    assert(call->request.stays_open);
    (void)buf_add(&call->out, buf_str(frames), frames->len);
    if (call->is_paused) {
        call->is_paused = false;
        (void)curl_easy_pause(call->wire.easy, CURLPAUSE_CONT);
    }
}

static void call_add_header(struct grpc_call *call, const char *line)
{
    call->headers = curl_slist_append(call->headers, line);
}

static void set_headers(struct grpc_call *call)
{
    call_add_header(call, "Content-Type: application/grpc");
    call_add_header(call, "TE: trailers");
    call_add_header(call, "Expect:"); /* no asking before a large body */
    if (call->request.needs_leader) {
        call_add_header(call, "hasleader: true");
    }
    if (call->request.timeout_ms > 0) {
        cleanup_free char *line =
            mem_printf("grpc-timeout: %lldm", (long long)call->request.timeout_ms);
        call_add_header(call, line);
    }
    curl_easy_setopt(call->wire.easy, CURLOPT_HTTPHEADER, call->headers);
}

static void set_tls(CURL *easy, const struct grpc_channel *channel)
{
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, channel->is_plain ? "http" : "https");
    if (channel->is_plain) {
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
        /* libcurl 7.88.1 fails on a connection without TLS that it uses again (error 16) */
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
        return;
    }
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_CAINFO, channel->ca);
    curl_easy_setopt(easy, CURLOPT_SSLCERT, channel->certificate);
    curl_easy_setopt(easy, CURLOPT_SSLKEY, channel->key);
}

static CURL *easy_for(struct grpc_call *call)
{
    const struct grpc_channel *channel = call->channel;
    CURL *easy = curl_easy_init();
    if (!easy) {
        abort(); /* out of memory: as mem.h does */
    }
    cleanup_free char *url = mem_printf("%s%s", channel->url, call->request.method);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)call->request.connect_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)call->request.timeout_ms);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "vmctl/" VMCTL_VERSION);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_text);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "POST");
    if (!call->request.stays_open) {
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->out.len);
    }
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    set_tls(easy, channel);
    return easy;
}

struct grpc_call *grpc_start(
    struct grpc_channel *channel, const struct grpc_request *request, struct buf *frames)
{
    struct grpc_call *call = mem_new(struct grpc_call);
    call->channel = channel;
    call->request = *request;
    call->out = *frames;
    call->out.max = OUT_MAX;
    call->in.max = request->message_max + FRAME_HEAD_SIZE;
    *frames = (struct buf){.max = frames->max};
    call->drain = loop_timer_new(channel->loop, on_drain, call);
    call->wire = (struct multi_transfer){.easy = easy_for(call), .ended = on_end, .context = call};
    set_headers(call);
    channel->n_calls++;
    multi_start(channel->multi, &call->wire);
    return call;
}
