/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/support/sshd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

static const char sshd_program[] = "/usr/sbin/sshd"; /* must be started by its absolute path */

/* ---- files ---- */

char *test_dir_make(void)
{
    const char *parent = getenv("TMPDIR");
    char *dir = mem_printf("%s/vmctl-test-XXXXXX", parent && parent[0] == '/' ? parent : "/tmp");
    assert_non_null(mkdtemp(dir));
    return dir;
}

void test_dir_remove(char *dir)
{
    struct error err = {.code = ERR_NONE};
    (void)fs_remove_tree(dir, &err);
    free(dir);
}

/* Runs a program to its end; the test fails when that does. */
static void run(const char *const *argv)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static char *make_key(const char *dir, const char *name)
{
    char *path = mem_printf("%s/%s", dir, name);
    run((const char *const[]){
        "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path, NULL});
    return path;
}

static void write_file(const char *path, const char *text)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_file(path, text, strlen(text), 0600, &err), 0);
}

static void authorize(const struct sshd *sshd)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf key = BUF_INIT(0);
    cleanup_free char *public = mem_printf("%s.pub", sshd->client_key);
    cleanup_free char *authorized = mem_printf("%s/authorized_keys", sshd->dir);
    assert_int_equal(fs_read_file(public, &key, &err), 0);
    write_file(authorized, buf_str(&key));
}

static const char *subsystem_line(const struct sshd_options *options)
{
    if (options->has_broken_sftp) {
        return "Subsystem sftp /nonexistent/sftp-server\n";
    }
    return options->has_no_sftp ? "" : "Subsystem sftp internal-sftp\n";
}

static void configure(const struct sshd *sshd, const struct sshd_options *options)
{
    cleanup_free char *path = mem_printf("%s/sshd_config", sshd->dir);
    /* a home of its own: what the user's ~/.bashrc prints is not the command's output */
    cleanup_free char *text = mem_printf("HostKey %s/host_key\n"
                                         "SetEnv HOME=%s%s%s%s\n"
                                         "AuthorizedKeysFile %s/authorized_keys\n"
                                         "PidFile none\n"
                                         "UsePAM no\n"
                                         "UseDNS no\n"
                                         "StrictModes no\n"
                                         "PasswordAuthentication no\n"
                                         "KbdInteractiveAuthentication no\n"
                                         "PermitRootLogin prohibit-password\n"
                                         "LogLevel ERROR\n"
                                         "%s",
        sshd->dir, sshd->dir, options->has_own_programs ? " PATH=" : "",
        options->has_own_programs ? sshd->dir : "",
        options->has_own_programs ? "/bin:/usr/bin:/bin" : "", sshd->dir, subsystem_line(options));
    write_file(path, text);
}

/* ---- the server's processes; only what is safe after fork ---- */

/* Copies each byte by itself, until either side ends. */
static void relay(int server, int client)
{
    struct pollfd fds[] = {{.fd = server, .events = POLLIN}, {.fd = client, .events = POLLIN}};
    int on = 1;
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    while (poll(fds, 2, -1) >= 0) {
        char bytes[512];
        for (int i = 0; i < 2; i++) {
            ssize_t n = fds[i].revents ? read(fds[i].fd, bytes, i == 0 ? 1 : sizeof(bytes)) : -2;
            if (n == 0 || n == -1 || (n > 0 && write(fds[!i].fd, bytes, (size_t)n) != n)) {
                return;
            }
        }
    }
}

static _Noreturn void serve(int client, const char *config, const struct sshd_options *options)
{
    int socket_fd = client;
    int log = open("sshd.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    (void)dup2(log, STDERR_FILENO);
    if (options->is_trickling) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) {
            _exit(1);
        }
        if (fork() > 0) {
            close(pair[1]);
            relay(pair[0], client);
            _exit(0);
        }
        close(pair[0]);
        close(client);
        socket_fd = pair[1];
    }
    dup2(socket_fd, STDIN_FILENO);
    dup2(socket_fd, STDOUT_FILENO);
    (void)close_range(3, ~0u, 0);
    execl(sshd_program, sshd_program, "-i", "-e", "-f", config, (char *)NULL);
    _exit(127);
}

static _Noreturn void listen_and_serve(
    int listener, const char *config, const struct sshd_options *options)
{
    signal(SIGCHLD, SIG_IGN); /* nobody waits for the connections */
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0 && fork() == 0) {
            signal(SIGCHLD, SIG_DFL);
            close(listener);
            serve(client, config, options);
        }
        close(client);
    }
}

static int bind_any_port(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* ---- life ---- */

struct sshd *sshd_start(const struct sshd_options *options)
{
    struct sshd *sshd = mem_new(struct sshd);
    sshd->dir = mem_strdup(options->dir);
    sshd->user = mem_strdup(getpwuid(geteuid())->pw_name);
    sshd->client_key = make_key(options->dir, "client_key");
    sshd->other_key = make_key(options->dir, "other_key");
    free(make_key(options->dir, "host_key"));
    sshd->host_key_public = mem_printf("%s/host_key.pub", options->dir);
    sshd->other_key_public = mem_printf("%s/other_key.pub", options->dir);
    authorize(sshd);
    configure(sshd, options);
    if (geteuid() == 0) {
        (void)mkdir("/run/sshd", 0755); /* sshd's privilege separation wants it, even with -i */
    }
    cleanup_free char *config = mem_printf("%s/sshd_config", options->dir);
    int listener = bind_any_port(&sshd->port);
    pid_t parent = getpid();
    sshd->pid = fork();
    assert_true(sshd->pid >= 0);
    if (sshd->pid == 0) {
        setpgid(0, 0);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves no server */
        if (chdir(options->dir) < 0 || getppid() != parent) {
            _exit(1);
        }
        listen_and_serve(listener, config, options);
    }
    close(listener);
    (void)setpgid(sshd->pid, sshd->pid); /* parent or child, the first of them */
    sshd->pidfd = pidfd_open(sshd->pid, 0);
    assert_true(sshd->pidfd >= 0);
    (void)fcntl(sshd->pidfd, F_SETFD, FD_CLOEXEC);
    return sshd;
}

void sshd_kill(struct sshd *sshd)
{
    if (sshd->pid > 0) {
        /* Not reaped yet, so the group's number is still ours. */
        assert_int_equal(kill(-sshd->pid, SIGKILL), 0);
        struct pollfd ended = {.fd = sshd->pidfd, .events = POLLIN};
        assert_int_equal(poll(&ended, 1, 10000), 1);
        assert_int_equal(waitpid(sshd->pid, NULL, 0), sshd->pid);
        close(sshd->pidfd);
        sshd->pid = 0;
    }
}

void sshd_freeze(struct sshd *sshd)
{
    assert_int_equal(kill(-sshd->pid, SIGSTOP), 0);
}

void sshd_stop(struct sshd *sshd)
{
    if (!sshd) {
        return;
    }
    sshd_kill(sshd);
    free(sshd->dir);
    free(sshd->user);
    free(sshd->client_key);
    free(sshd->other_key);
    free(sshd->host_key_public);
    free(sshd->other_key_public);
    free(sshd);
}
