/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/tunnel/guest_ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "controller/reconciler.h"
#include "reconcilers/tunnel/guest_ports.sh.h"
#include "reconcilers/tunnel/guest_run.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum { WORD_DIGITS = 8, PORT_DIGITS = 4, WORDS_MAX = 4 };

/* ---- one line ---- */

/* How sure it is that a connection to this address, from within, arrives: more is better. */
enum rank { RANK_NONE, RANK_OTHER, RANK_LOOPBACK6, RANK_ANY6, RANK_LOOPBACK };

/* A word of an address as the kernel prints it: as a number of the host's order, which is of the
 * order of the network in memory. */
static bool take_hex(const char **at, size_t n_digits, uint32_t *ret)
{
    char text[WORD_DIGITS + 1] = "";
    size_t n = strspn(*at, "0123456789ABCDEFabcdef");
    if (n < n_digits) {
        return false;
    }
    memcpy(text, *at, n_digits);
    *ret = (uint32_t)strtoul(text, NULL, 16);
    *at += n_digits;
    return true;
}

static enum rank rank_of_v4(uint32_t address, char ret[INET6_ADDRSTRLEN])
{
    enum { RESOLVER = 0x7f000035, RESOLVER_PROXY = 0x7f000036 };
    uint32_t host = ntohl(address);
    struct in_addr in = {.s_addr = address};
    if (host == RESOLVER || host == RESOLVER_PROXY) {
        return RANK_NONE;
    }
    bool is_near = host == INADDR_ANY || host == INADDR_LOOPBACK;
    (void)inet_ntop(AF_INET, &in, ret, INET6_ADDRSTRLEN);
    if (is_near) {
        (void)snprintf(ret, INET6_ADDRSTRLEN, "127.0.0.1");
    }
    return is_near ? RANK_LOOPBACK : RANK_OTHER;
}

static enum rank rank_of_v6(const uint32_t words[WORDS_MAX], char ret[INET6_ADDRSTRLEN])
{
    struct in6_addr in;
    memcpy(&in, words, sizeof(in));
    if (IN6_IS_ADDR_V4MAPPED(&in)) {
        return rank_of_v4(words[3], ret);
    }
    if (IN6_IS_ADDR_LINKLOCAL(&in)) {
        return RANK_NONE;
    }
    if (IN6_IS_ADDR_UNSPECIFIED(&in)) { /* by IPv4, too, unless it does not want that */
        (void)snprintf(ret, INET6_ADDRSTRLEN, "localhost");
        return RANK_ANY6;
    }
    (void)inet_ntop(AF_INET6, &in, ret, INET6_ADDRSTRLEN);
    return IN6_IS_ADDR_LOOPBACK(&in) ? RANK_LOOPBACK6 : RANK_OTHER;
}

/* "0100007F:1F90", or with 32 digits before the colon. */
static enum rank parse_listener(const char *word, uint16_t *ret_port, char ret[INET6_ADDRSTRLEN])
{
    uint32_t words[WORDS_MAX], port;
    size_t n = 0;
    while (n < WORDS_MAX && take_hex(&word, WORD_DIGITS, &words[n])) {
        n++;
    }
    if ((n != 1 && n != WORDS_MAX) || *word++ != ':' || !take_hex(&word, PORT_DIGITS, &port) ||
        *word || port == 0) {
        return RANK_NONE;
    }
    *ret_port = (uint16_t)port;
    return n == 1 ? rank_of_v4(words[0], ret) : rank_of_v6(words, ret);
}

size_t guest_ports_parse(const char *line, struct tunnel_port ret[TUNNEL_PORTS_MAX])
{
    enum { LISTENER_MAX = WORD_DIGITS * WORDS_MAX + 1 + PORT_DIGITS };
    enum rank ranks[TUNNEL_PORTS_MAX];
    size_t n = 0;
    for (size_t length; line += strspn(line, " "), (length = strcspn(line, " ")) > 0;
         line += length) {
        char word[LISTENER_MAX + 1] = "";
        struct tunnel_port found = {.port = 0};
        memcpy(word, line, length < LISTENER_MAX ? length : LISTENER_MAX);
        enum rank rank =
            length > LISTENER_MAX ? RANK_NONE : parse_listener(word, &found.port, found.address);
        size_t at = 0;
        while (at < n && ret[at].port < found.port) {
            at++;
        }
        bool is_known = at < n && ret[at].port == found.port;
        if (rank == RANK_NONE || (is_known && ranks[at] >= rank) ||
            (!is_known && n == TUNNEL_PORTS_MAX)) {
            continue;
        }
        if (!is_known) {
            memmove(&ret[at + 1], &ret[at], (n - at) * sizeof(*ret));
            memmove(&ranks[at + 1], &ranks[at], (n - at) * sizeof(*ranks));
            n++;
        }
        ret[at] = found;
        ranks[at] = rank;
    }
    return n;
}

/* ---- the watch ---- */

enum { AGAIN_MS = 5000, CHANGE_EVERY_MS = 500 };

struct guest_ports {
    struct loop *loop; /* borrowed */
    char *control;
    void (*changed)(void *context);
    void *context;
    struct guest_run *run;     /* NULL: the timer starts it again */
    struct loop_timer *timer;  /* or takes `line` */
    char *line;                /* the last one, for which it is too early; NULL */
    int64_t taken_ms;          /* when one was taken */
    struct tunnel_port *found; /* TUNNEL_PORTS_MAX; NULL: not known */
    size_t n_found;
};

static void take_line(struct guest_ports *ports, const char *line)
{
    struct tunnel_port *found = mem_calloc(TUNNEL_PORTS_MAX, sizeof(*found));
    size_t n = guest_ports_parse(line, found);
    bool is_same =
        ports->found && ports->n_found == n && memcmp(ports->found, found, n * sizeof(*found)) == 0;
    free(ports->found);
    ports->found = found;
    ports->n_found = n;
    ports->taken_ms = loop_now_ms(ports->loop);
    if (!is_same) {
        ports->changed(ports->context);
    }
}

static void line_came(void *context, const char *line)
{
    struct guest_ports *ports = context;
    int64_t due_ms = ports->taken_ms + CHANGE_EVERY_MS - loop_now_ms(ports->loop);
    bool is_waiting = ports->line != NULL;
    free(TAKE_PTR(ports->line));
    if (ports->taken_ms == 0 || due_ms <= 0) {
        loop_timer_stop(ports->timer);
        take_line(ports, line);
        return;
    }
    ports->line = mem_strdup(line);
    if (!is_waiting) {
        loop_timer_start(ports->timer, due_ms);
    }
}

/* Until it is known again, what is forwarded stays. */
static void watch_ended(void *context, const char *output)
{
    struct guest_ports *ports = context;
    (void)output;
    guest_run_free(TAKE_PTR(ports->run));
    free(TAKE_PTR(ports->line));
    free(TAKE_PTR(ports->found));
    loop_timer_start(ports->timer, AGAIN_MS);
    ports->changed(ports->context);
}

static void start_watch(struct guest_ports *ports)
{
    cleanup_buf struct buf command = BUF_INIT(0);
    buf_add_str(&command, "exec sh -c ");
    text_add_shell_word(&command, guest_ports_sh);
    ports->taken_ms = 0;
    ports->run = guest_run_new(
        ports->loop, ports->control, buf_str(&command), line_came, watch_ended, ports);
}

static void is_due(void *context)
{
    struct guest_ports *ports = context;
    cleanup_free char *line = TAKE_PTR(ports->line);
    if (!ports->run) {
        start_watch(ports);
    } else if (line) {
        take_line(ports, line);
    }
}

struct guest_ports *guest_ports_new(struct reconciler_host *host, const char *vm_name,
    void (*changed)(void *context), void *context)
{
    struct guest_ports *ports = mem_new(struct guest_ports);
    *ports = (struct guest_ports){.loop = host->loop,
        .control = paths_vm(host->paths, vm_name, VM_FORWARD_CONTROL),
        .changed = changed,
        .context = context};
    ports->timer = loop_timer_new(ports->loop, is_due, ports);
    start_watch(ports);
    return ports;
}

void guest_ports_free(struct guest_ports *ports)
{
    if (!ports) {
        return;
    }
    guest_run_free(ports->run);
    loop_timer_free(ports->timer);
    free(ports->line);
    free(ports->found);
    free(ports->control);
    free(ports);
}

void guest_ports_get(const struct guest_ports *ports, struct tunnel_facts *ret)
{
    ret->are_ports_known = ports && ports->found;
    ret->ports = ret->are_ports_known ? ports->found : NULL;
    ret->n_ports = ret->are_ports_known ? ports->n_found : 0;
}
