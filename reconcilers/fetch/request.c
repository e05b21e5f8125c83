/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/request.h"

#include <stdlib.h>
#include <string.h>

#include "controller/http/multi.h"
#include "specs/base/proxies.h"
#include "specs/base/url.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

enum { DEADLINE_S = 60, CHALLENGES_MAX = 8192 };

struct exchange {
    struct op op;        /* first: op_cancel() finds the exchange by it */
    struct multi *multi; /* borrowed: outlives its transfers */
    struct multi_transfer wire;
    struct curl_slist *headers;
    char *url; /* for messages */
    char curl_text[CURL_ERROR_SIZE];
    struct answer *answer; /* borrowed until `done` or a cancel */
};

void answer_clear(struct answer *answer)
{
    buf_clear(&answer->body);
    free(TAKE_PTR(answer->challenges));
    answer->status = 0;
}

static void cancel_exchange(struct op *op)
{
    struct exchange *x = (struct exchange *)(void *)op;
    multi_stop(x->multi, &x->wire);
    curl_easy_cleanup(x->wire.easy);
    curl_slist_free_all(x->headers);
    proxies_free(x->wire.proxies);
    free(x->url);
    free(x);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct exchange *x = context;
    return buf_add(&x->answer->body, bytes, size * count) ? size * count : CURL_WRITEFUNC_ERROR;
}

/* From the last response, not from the redirects before it. */
static char *collect_challenges(CURL *easy)
{
    cleanup_buf struct buf out = BUF_INIT(CHALLENGES_MAX);
    struct curl_header *header = NULL;
    for (size_t i = 0;
         curl_easy_header(easy, "WWW-Authenticate", i, CURLH_HEADER, -1, &header) == CURLHE_OK;
         i++) {
        buf_printf(&out, "%s%s", i > 0 ? ", " : "", header->value);
    }
    return out.len > 0 ? buf_steal(&out) : NULL;
}

static int read_result(struct exchange *x, CURLcode code, struct error *err)
{
    if (x->answer->body.is_full) {
        return error_set(err, ERR_IMAGE_DOWNLOAD, "%s returned more than %zu KiB", x->url,
            x->answer->body.max / 1024);
    }
    if (code != CURLE_OK) {
        return multi_error(x->url, x->curl_text, code, err);
    }
    (void)curl_easy_getinfo(x->wire.easy, CURLINFO_RESPONSE_CODE, &x->answer->status);
    x->answer->challenges = collect_challenges(x->wire.easy);
    return 0;
}

static void on_end(void *context, CURLcode code)
{
    struct exchange *x = context;
    struct error err = {0};
    int rc = read_result(x, code, &err);
    op_finish(&x->op, rc < 0 ? &err : NULL);
}

static void add_header(struct exchange *x, const char *name, const char *value)
{
    if (value) {
        cleanup_free char *line = mem_printf("%s: %s", name, value);
        x->headers = curl_slist_append(x->headers, line);
    }
}

struct op *request_get(struct multi *multi, const struct request *request, struct answer *answer,
    op_done_fn *done, void *context)
{
    struct exchange *x = mem_new(struct exchange);
    answer_clear(answer);
    answer->body.max = request->body_max;
    x->op = (struct op){cancel_exchange, done, context};
    x->multi = multi;
    x->url = url_for_people(request->url);
    x->answer = answer;
    CURL *easy = multi_easy_new(request->url, x->curl_text);
    x->wire = (struct multi_transfer){
        .easy = easy, .proxies = proxies_copy(request->proxies), .ended = on_end, .context = x};
    add_header(x, "Accept", request->accept);
    add_header(x, "Authorization", request->authorization);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, x->headers);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long)DEADLINE_S);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
    multi_start(multi, &x->wire);
    return &x->op;
}
