/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/etcd_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

enum { ARGUMENTS_MAX = 64 };

struct member {
    pid_t pid; /* 0: it does not run */
    uint16_t client_port;
    uint16_t peer_port;
    char *url;
};

struct etcd_server {
    char *dir;
    size_t n;
    bool is_plain;
    const char *const *arguments;
    struct member members[ETCD_SERVERS_MAX];
};

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

/* A child that ends with the test, its output in `log`. */
static pid_t spawn(const char *log, char *const *argv)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

/* The exit status of a shell's command line. */
static int run_shell(const struct etcd_server *server, const char *line)
{
    cleanup_free char *log = mem_printf("%s/shell.log", server->dir);
    char *argv[] = {"sh", "-ec", (char *)(uintptr_t)line, NULL};
    int status = 0;
    assert_true(waitpid(spawn(log, argv), &status, 0) > 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

const char *etcd_server_url(const struct etcd_server *server, size_t member)
{
    return server->members[member].url;
}

char *etcd_server_certificate(const struct etcd_server *server, const char *name)
{
    return mem_printf("%s/tls/%s.pem", server->dir, name);
}

char *etcd_server_key(const struct etcd_server *server, const char *name)
{
    return mem_printf("%s/tls/%s.key", server->dir, name);
}

/* ---- members ---- */

static char *peer_url(const struct etcd_server *server, size_t i)
{
    return mem_printf("http://127.0.0.1:%u", server->members[i].peer_port);
}

static char *cluster_of(const struct etcd_server *server)
{
    struct buf list = BUF_INIT(0);
    for (size_t i = 0; i < server->n; i++) {
        cleanup_free char *peer = peer_url(server, i);
        buf_printf(&list, "%sm%zu=%s", i > 0 ? "," : "", i, peer);
    }
    return buf_steal(&list);
}

static void add(char **argv, size_t *n, char *word)
{
    assert_true(*n + 1 < ARGUMENTS_MAX);
    argv[(*n)++] = word;
    argv[*n] = NULL;
}

static void member_start(struct etcd_server *server, size_t i)
{
    struct member *member = &server->members[i];
    char *argv[ARGUMENTS_MAX];
    size_t n = 0;
    cleanup_free char *log = mem_printf("%s/etcd-%zu.log", server->dir, i);
    cleanup_free char *cluster = cluster_of(server);
    cleanup_free char *peer = peer_url(server, i);
    add(argv, &n, mem_strdup("etcd"));
    add(argv, &n, mem_printf("--name=m%zu", i));
    add(argv, &n, mem_printf("--data-dir=%s/m%zu", server->dir, i));
    add(argv, &n, mem_printf("--listen-client-urls=%s", member->url));
    add(argv, &n, mem_printf("--advertise-client-urls=%s", member->url));
    add(argv, &n, mem_printf("--listen-peer-urls=%s", peer));
    add(argv, &n, mem_printf("--initial-advertise-peer-urls=%s", peer));
    add(argv, &n, mem_printf("--initial-cluster=%s", cluster));
    add(argv, &n, mem_strdup("--heartbeat-interval=100"));
    add(argv, &n, mem_strdup("--election-timeout=1000"));
    add(argv, &n, mem_strdup("--pre-vote"));
    if (!server->is_plain) {
        add(argv, &n, mem_strdup("--client-cert-auth"));
        add(argv, &n, mem_printf("--trusted-ca-file=%s/tls/ca.pem", server->dir));
        add(argv, &n, mem_printf("--cert-file=%s/tls/member.pem", server->dir));
        add(argv, &n, mem_printf("--key-file=%s/tls/member.key", server->dir));
    }
    for (const char *const *more = server->arguments; more && *more; more++) {
        add(argv, &n, mem_strdup(*more));
    }
    member->pid = spawn(log, argv);
    for (size_t j = 0; j < n; j++) {
        free(argv[j]);
    }
}

/* etcdctl with these words, at these members. */
static void run_ctl(const struct etcd_server *server, size_t first, size_t end, const char *words)
{
    cleanup_buf struct buf line = BUF_INIT(0);
    size_t n = 0;
    buf_add_str(&line, "ETCDCTL_API=3 timeout 60 etcdctl --command-timeout=20s --dial-timeout=20s");
    for (size_t i = first; i < end; i++) {
        if (server->members[i].pid > 0) {
            buf_printf(&line, " --endpoints=%s", server->members[i].url);
            n++;
        }
    }
    assert_true(n > 0); /* without any, it would ask the host's own */
    if (!server->is_plain) {
        buf_printf(&line, " --cacert=%s/tls/ca.pem --cert=%s/tls/root.pem --key=%s/tls/root.key",
            server->dir, server->dir, server->dir);
    }
    buf_printf(&line, " %s", words);
    if (run_shell(server, buf_str(&line)) != 0) {
        fail_msg("failed: %s", buf_str(&line));
    }
}

void etcd_server_ctl(const struct etcd_server *server, const char *words)
{
    run_ctl(server, 0, server->n, words);
}

static bool is_installed(const struct etcd_server *server)
{
    if (run_shell(server, "command -v etcd && command -v etcdctl && command -v openssl") == 0) {
        return true;
    }
    printf("skipped: etcd, etcdctl or openssl is not installed (etcd-server, etcd-client)\n");
    return false;
}

static void make_certificates(const struct etcd_server *server)
{
    cleanup_free char *line = mem_printf("make=%s/examples/fleet/certificates\n"
                                         "$make %s/tls server member 127.0.0.1\n"
                                         "$make %s/tls user root a b\n"
                                         "DAYS=-1 $make %s/tls user expired",
        VMCTL_SOURCE_DIR, server->dir, server->dir, server->dir);
    assert_int_equal(run_shell(server, line), 0);
}

struct etcd_server *etcd_server_start(const char *dir, const struct etcd_server_options *options)
{
    struct etcd_server *server = mem_new(struct etcd_server);
    server->dir = mem_strdup(dir);
    server->n = options->n > 0 ? options->n : 1;
    server->is_plain = options->is_plain;
    server->arguments = options->arguments;
    if (!is_installed(server)) {
        etcd_server_stop(server);
        return NULL;
    }
    if (!server->is_plain) {
        make_certificates(server);
    }
    for (size_t i = 0; i < server->n; i++) {
        struct member *member = &server->members[i];
        member->client_port = free_port();
        member->peer_port = free_port();
        member->url = mem_printf(
            "%s://127.0.0.1:%u", server->is_plain ? "http" : "https", member->client_port);
    }
    for (size_t i = 0; i < server->n; i++) {
        member_start(server, i);
    }
    etcd_server_ctl(server, "endpoint health"); /* waits until it serves */
    return server;
}

void etcd_server_kill(struct etcd_server *server, size_t i)
{
    struct member *member = &server->members[i];
    if (member->pid > 0) {
        kill(member->pid, SIGKILL);
        (void)waitpid(member->pid, NULL, 0);
        member->pid = 0;
    }
}

void etcd_server_restart(struct etcd_server *server, size_t i)
{
    etcd_server_kill(server, i);
    member_start(server, i);
    etcd_server_ctl(server, "endpoint health");
}

void etcd_server_save(const struct etcd_server *server, const char *path)
{
    cleanup_free char *words = mem_printf("snapshot save %s", path);
    run_ctl(server, 0, 1, words);
}

void etcd_server_restore(struct etcd_server *server, const char *path)
{
    cleanup_free char *cluster = cluster_of(server);
    for (size_t i = 0; i < server->n; i++) {
        etcd_server_kill(server, i);
        cleanup_free char *peer = peer_url(server, i);
        cleanup_free char *line =
            mem_printf("rm -rf %s/m%zu\n"
                       "ETCDCTL_API=3 etcdctl snapshot restore %s --name m%zu --data-dir %s/m%zu"
                       " --initial-cluster %s --initial-advertise-peer-urls %s",
                server->dir, i, path, i, server->dir, i, cluster, peer);
        assert_int_equal(run_shell(server, line), 0);
    }
    for (size_t i = 0; i < server->n; i++) {
        member_start(server, i);
    }
    etcd_server_ctl(server, "endpoint health");
}

void etcd_server_freeze(struct etcd_server *server, size_t i, bool is_frozen)
{
    kill(server->members[i].pid, is_frozen ? SIGSTOP : SIGCONT);
}

void etcd_server_stop(struct etcd_server *server)
{
    for (size_t i = 0; server && i < ETCD_SERVERS_MAX; i++) {
        etcd_server_kill(server, i);
        free(server->members[i].url);
    }
    if (server) {
        free(server->dir);
        free(server);
    }
}
