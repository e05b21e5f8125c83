/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/http/multi.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/base/url.h"

enum {
    CONNECT_TIMEOUT_S = 10,
    LOW_SPEED_BYTES = 1024,
    LOW_SPEED_TIME_S = 60,
    REDIRECTS_MAX = 10,
};

struct multi {
    struct loop *loop; /* borrowed: the process's */
    CURLM *curl;
    struct loop_timer *timer;
};

/* Called only from the loop's own callbacks, never from inside curl's. */
static void collect_results(struct multi *m)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(m->curl, &left))) {
        struct multi_transfer *transfer = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        transfer->ended(transfer->context, message->data.result); /* may free the message, too */
    }
}

static void on_socket(void *context, int fd, unsigned ready)
{
    struct multi *m = context;
    int events =
        (ready & LOOP_READ ? CURL_CSELECT_IN : 0) | (ready & LOOP_WRITE ? CURL_CSELECT_OUT : 0);
    int running;
    curl_multi_socket_action(m->curl, fd, events, &running);
    collect_results(m);
}

static void on_timer(void *context)
{
    struct multi *m = context;
    int running;
    curl_multi_socket_action(m->curl, CURL_SOCKET_TIMEOUT, 0, &running);
    collect_results(m);
}

/* CURLMOPT_SOCKETFUNCTION: watch `fd` for `what`. `watch` is what curl_multi_assign() got, NULL at
 * first. */
static int want_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *watch)
{
    (void)easy;
    struct multi *m = context;
    struct loop_io *io = watch;
    if (what == CURL_POLL_REMOVE) {
        loop_io_free(io);
        curl_multi_assign(m->curl, fd, NULL);
        return 0;
    }
    unsigned interest = (what & CURL_POLL_IN ? (unsigned)LOOP_READ : 0) |
                        (what & CURL_POLL_OUT ? (unsigned)LOOP_WRITE : 0);
    if (io) {
        loop_io_set(io, interest);
    } else {
        curl_multi_assign(m->curl, fd, loop_io_new(m->loop, fd, interest, on_socket, m));
    }
    return 0;
}

/* CURLMOPT_TIMERFUNCTION: call curl after `timeout_ms`, but never from within this function. */
static int want_timer(CURLM *curl, long timeout_ms, void *context)
{
    (void)curl;
    struct multi *m = context;
    if (timeout_ms < 0) {
        loop_timer_stop(m->timer);
    } else {
        loop_timer_start(m->timer, timeout_ms);
    }
    return 0;
}

int multi_new(struct loop *loop, struct multi **ret, struct error *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return error_set(err, ERR_IMAGE_DOWNLOAD, "cannot initialise libcurl");
    }
    CURLM *curl = curl_multi_init();
    if (!curl) {
        curl_global_cleanup();
        return error_set(err, ERR_IMAGE_DOWNLOAD, "cannot initialise libcurl");
    }
    struct multi *m = mem_new(struct multi);
    m->loop = loop;
    m->curl = curl;
    m->timer = loop_timer_new(loop, on_timer, m);
    curl_multi_setopt(curl, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(curl, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(curl, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(curl, CURLMOPT_TIMERDATA, m);
    *ret = m;
    return 0;
}

struct loop *multi_loop(const struct multi *m)
{
    return m->loop;
}

void multi_free(struct multi *m)
{
    if (m) {
        curl_multi_cleanup(m->curl);
        curl_global_cleanup();
        loop_timer_free(m->timer);
        free(m);
    }
}

const char *multi_url(const struct multi_transfer *transfer)
{
    char *url = NULL;
    (void)curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &url);
    return url ? url : "";
}

/* The name and password go apart from the URL, which curl quotes in its messages. Whether the host
 * of `url` is excepted is curl's to find out: a redirect may lead to another. */
static void choose_proxy(const struct multi_transfer *transfer, const char *url)
{
    const struct proxies *proxies = transfer->proxies;
    bool is_https = strncasecmp(url, "https:", strlen("https:")) == 0;
    const char *proxy = !proxies ? NULL : is_https ? proxies->https : proxies->http;
    const char *direct = proxies && proxies->direct ? proxies->direct : "";
    cleanup_free char *shown = proxy ? url_for_people(proxy) : NULL;
    const char *authority = proxy ? strstr(proxy, "://") + strlen("://") : "";
    const char *at = memrchr(authority, '@', strcspn(authority, "/?#"));
    cleanup_free char *login = at ? mem_strndup(authority, (size_t)(at - authority)) : NULL;
    /* "", not NULL: with that, curl reads the environment of this process. */
    curl_easy_setopt(transfer->easy, CURLOPT_PROXY, shown ? shown : "");
    curl_easy_setopt(transfer->easy, CURLOPT_PROXYUSERPWD, login);
    curl_easy_setopt(transfer->easy, CURLOPT_NOPROXY, direct);
}

/* A redirect to another scheme is followed through the proxy of that. */
static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
    static const char name[] = "location:";
    size_t n = size * count;
    if (n > strlen(name) && strncasecmp(bytes, name, strlen(name)) == 0) {
        cleanup_free char *value = mem_strndup(bytes + strlen(name), n - strlen(name));
        const char *url = value + strspn(value, " \t");
        if (strncasecmp(url, "http:", 5) == 0 || strncasecmp(url, "https:", 6) == 0) {
            choose_proxy(context, url);
        }
    }
    return n;
}

void multi_start(struct multi *m, struct multi_transfer *transfer)
{
    transfer->is_active = true;
    curl_easy_setopt(transfer->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(transfer->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(transfer->easy, CURLOPT_HEADERDATA, transfer);
    choose_proxy(transfer, multi_url(transfer));
    curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
    curl_multi_add_handle(m->curl, transfer->easy); /* only starts a timer */
}

void multi_stop(struct multi *m, struct multi_transfer *transfer)
{
    if (transfer->is_active) {
        curl_multi_remove_handle(m->curl, transfer->easy);
        transfer->is_active = false;
    }
}

CURL *multi_easy_new(const char *url, char *curl_text)
{
    CURL *easy = curl_easy_init();
    if (!easy) {
        abort(); /* out of memory: as mem.h does */
    }
    curl_easy_setopt(easy, CURLOPT_URL, url);
    /* A server must not redirect to a file of the host. */
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)LOW_SPEED_BYTES);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)LOW_SPEED_TIME_S);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "vmctl/" VMCTL_VERSION);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, curl_text);
    return easy;
}

int multi_error(const char *url, const char *curl_text, CURLcode code, struct error *err)
{
    /* curl's message may quote what the server sent. */
    const char *text = curl_text[0] ? curl_text : curl_easy_strerror(code);
    cleanup_buf struct buf printable = BUF_INIT(4 * CURL_ERROR_SIZE);
    text_add_printable(&printable, text, strlen(text));
    return error_set(err, ERR_IMAGE_DOWNLOAD, "cannot download %s: %s", url, buf_str(&printable));
}
