/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/secrets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/reconciler.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum { MESSAGE_MAX = 4 << 20, CONNECTIONS_MAX = 16, SENDER_LIMIT_MS = 10000 };

/* In one piece each, which is overwritten before it is freed. */
struct item {
    char *bytes; /* "VM\0KEY\0VALUE\0" */
    size_t size;
    const char *vm_name, *key, *value; /* in it */
};

/* A command that is handing some over. */
struct sender {
    struct secrets *secrets;
    int fd; /* -1: none */
    struct loop_io *io;
    struct loop_timer *limit;
    struct buf message;
};

struct secrets {
    struct item *items;
    size_t count;
    struct reconciler_host *host; /* borrowed; NULL: it does not listen */
    int fd;
    struct loop_io *io;
    struct sender senders[CONNECTIONS_MAX];
};

/* ---- what is kept ---- */

static void item_clear(struct item *item)
{
    mem_wipe(item->bytes, item->size);
}

void secrets_forget(struct secrets *secrets, const char *vm_name)
{
    size_t n = 0;
    for (size_t i = 0; secrets && i < secrets->count; i++) {
        if (text_eq(secrets->items[i].vm_name, vm_name)) {
            item_clear(&secrets->items[i]);
        } else {
            secrets->items[n++] = secrets->items[i];
        }
    }
    if (secrets) {
        secrets->count = n;
    }
}

const char *secrets_get(const struct secrets *secrets, const char *vm_name, const char *key)
{
    for (size_t i = 0; secrets && i < secrets->count; i++) {
        const struct item *item = &secrets->items[i];
        if (text_eq(item->vm_name, vm_name) && text_eq(item->key, key)) {
            return item->value;
        }
    }
    return NULL;
}

/* The next of the message's texts; NULL: there is no whole one. */
static const char *next_text(const char **at, const char *end)
{
    const char *text = *at;
    const char *nul = memchr(text, '\0', (size_t)(end - text));
    *at = nul ? nul + 1 : end;
    return nul ? text : NULL;
}

static void wake_vm(const struct secrets *secrets, const char *vm_name)
{
    if (secrets->host) {
        secrets->host->wake(secrets->host, key_of(KEY_VM, vm_name), WORK_USER);
    }
}

static bool read_item(const char **at, const char *end, struct item *ret)
{
    const char *begin = *at;
    const char *vm_name = next_text(at, end);
    const char *key = vm_name ? next_text(at, end) : NULL;
    const char *value = key ? next_text(at, end) : NULL;
    if (!value) {
        return false;
    }
    *ret = (struct item){.size = (size_t)(*at - begin)};
    ret->bytes = mem_dup(begin, ret->size);
    ret->vm_name = ret->bytes;
    ret->key = ret->bytes + (key - begin);
    ret->value = ret->bytes + (value - begin);
    return true;
}

bool secrets_take(struct secrets *secrets, const char *bytes, size_t n)
{
    const char *end = bytes + n, *at = bytes;
    struct item item;
    while (at < end) { /* all of it, or nothing */
        if (!next_text(&at, end) || !next_text(&at, end) || !next_text(&at, end)) {
            return false;
        }
    }
    for (at = bytes; at < end; next_text(&at, end), next_text(&at, end)) {
        secrets_forget(secrets, next_text(&at, end));
    }
    for (at = bytes; at < end && read_item(&at, end, &item);) {
        mem_grow(secrets->items, secrets->count);
        secrets->items[secrets->count++] = item;
        wake_vm(secrets, item.vm_name);
    }
    return true;
}

/* ---- who hands them over ---- */

static void sender_clear(struct sender *sender)
{
    if (sender->fd >= 0) {
        loop_io_free(TAKE_PTR(sender->io));
        loop_timer_free(TAKE_PTR(sender->limit));
        buf_wipe(&sender->message);
        cleanup_close_(&sender->fd);
        sender->fd = -1;
    }
}

static void on_silent(void *context)
{
    sender_clear(context);
}

static void on_sent(void *context, int fd, unsigned ready)
{
    static const char answer[] = "ok\n";
    struct sender *sender = context;
    char piece[16384];
    ssize_t n;
    bool fits = true;
    (void)ready;
    while (fits && (n = recv(fd, piece, sizeof(piece), 0)) > 0) {
        fits = buf_add(&sender->message, piece, (size_t)n);
    }
    explicit_bzero(piece, sizeof(piece));
    if (fits && n < 0 && errno == EAGAIN) {
        return;
    }
    if (fits && n == 0 &&
        secrets_take(sender->secrets, buf_str(&sender->message), sender->message.len)) {
        (void)send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    }
    sender_clear(sender);
}

/* One too many is closed without an answer, and tries again. */
static void on_connection(void *context, int listening, unsigned ready)
{
    struct secrets *secrets = context;
    cleanup_close int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)ready;
    for (size_t i = 0; fd >= 0 && i < CONNECTIONS_MAX; i++) {
        struct sender *sender = &secrets->senders[i];
        if (sender->fd < 0) {
            sender->secrets = secrets;
            sender->message = BUF_INIT(MESSAGE_MAX);
            sender->fd = TAKE_FD(fd);
            sender->io = loop_io_new(secrets->host->loop, sender->fd, LOOP_READ, on_sent, sender);
            sender->limit = loop_timer_new(secrets->host->loop, on_silent, sender);
            loop_timer_start(sender->limit, SENDER_LIMIT_MS);
        }
    }
}

int secrets_listen(struct reconciler_host *host, struct error *err)
{
    struct secrets *secrets = host->secrets;
    cleanup_free char *path = paths_path(host->paths, PATHS_SECRETS_SOCKET);
    int rc = fs_listen_unix(path, &secrets->fd, err);
    if (rc == 0) {
        secrets->host = host;
        secrets->io = loop_io_new(host->loop, secrets->fd, LOOP_READ, on_connection, secrets);
    }
    return rc;
}

struct secrets *secrets_new(void)
{
    struct secrets *secrets = mem_new(struct secrets);
    secrets->fd = -1;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        secrets->senders[i].fd = -1;
    }
    return secrets;
}

void secrets_free(struct secrets *secrets)
{
    if (!secrets) {
        return;
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        sender_clear(&secrets->senders[i]);
    }
    loop_io_free(secrets->io);
    cleanup_close_(&secrets->fd);
    for (size_t i = 0; i < secrets->count; i++) {
        item_clear(&secrets->items[i]);
    }
    free(secrets->items);
    free(secrets);
}
