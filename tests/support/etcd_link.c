/* SPDX-License-Identifier: MPL-2.0 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/mem.h"
#include "tests/support/etcd_server.h"

enum { PAIRS_MAX = 64, PIECE = 64 << 10 };

struct etcd_link {
    pid_t pid;
    char *url;
};

/* Both ends of one connection; -1: free. */
struct pair {
    int fds[2];
};

static int dial(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void pair_close(struct pair *pair)
{
    for (size_t i = 0; i < 2; i++) {
        if (pair->fds[i] >= 0) {
            close(pair->fds[i]);
        }
        pair->fds[i] = -1;
    }
}

static void take_connection(struct pair *pairs, int listener, uint16_t port)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < PAIRS_MAX; i++) {
        if (pairs[i].fds[0] < 0) {
            pairs[i] = (struct pair){{fd, dial(port)}};
            if (pairs[i].fds[1] < 0) {
                pair_close(&pairs[i]);
            }
            return;
        }
    }
    close(fd);
}

/* Blocking on the way out: a test's traffic is small, and its peers read. */
static void pass_on(struct pair *pair, size_t from)
{
    static char piece[PIECE];
    ssize_t n = read(pair->fds[from], piece, sizeof(piece));
    if (n <= 0 || send(pair->fds[1 - from], piece, (size_t)n, MSG_NOSIGNAL) != n) {
        pair_close(pair);
    }
}

/* Descriptor 0 is the listener; 1 + 2 i and 2 + 2 i those of a pair. poll(2) skips negative ones.
 */
static void serve(int listener, uint16_t port)
{
    struct pair pairs[PAIRS_MAX];
    struct pollfd fds[1 + 2 * PAIRS_MAX];
    memset(pairs, -1, sizeof(pairs));
    for (;;) {
        fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (size_t i = 0; i < 2 * (size_t)PAIRS_MAX; i++) {
            fds[1 + i] = (struct pollfd){.fd = pairs[i / 2].fds[i % 2], .events = POLLIN};
        }
        (void)poll(fds, 1 + 2 * PAIRS_MAX, -1);
        for (size_t i = 0; i < 2 * (size_t)PAIRS_MAX; i++) {
            if (fds[1 + i].revents && pairs[i / 2].fds[i % 2] == fds[1 + i].fd) {
                pass_on(&pairs[i / 2], i % 2);
            }
        }
        if (fds[0].revents) {
            take_connection(pairs, listener, port);
        }
    }
}

struct etcd_link *etcd_link_start(const struct etcd_server *server, size_t member)
{
    struct etcd_link *link = mem_new(struct etcd_link);
    const char *url = etcd_server_url(server, member);
    const char *colon = strrchr(url, ':');
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(listen(listener, PAIRS_MAX), 0);
    link->pid = fork();
    assert_true(link->pid >= 0);
    if (link->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listener, (uint16_t)atoi(colon + 1));
    }
    close(listener);
    link->url = mem_printf("%.*s:%u", (int)(colon - url), url, ntohs(address.sin_port));
    return link;
}

const char *etcd_link_url(const struct etcd_link *link)
{
    return link->url;
}

void etcd_link_cut(struct etcd_link *link, bool is_cut)
{
    int status = 0;
    kill(link->pid, is_cut ? SIGSTOP : SIGCONT);
    if (is_cut) { /* not before it has happened */
        assert_int_equal(waitpid(link->pid, &status, WUNTRACED), link->pid);
    }
}

void etcd_link_stop(struct etcd_link *link)
{
    if (link) {
        kill(link->pid, SIGKILL);
        (void)waitpid(link->pid, NULL, 0);
        free(link->url);
        free(link);
    }
}
