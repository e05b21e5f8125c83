/* SPDX-License-Identifier: MPL-2.0 */
/* Forwards over SSH, of a real ssh(1) to a real sshd that stands for the guest's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/tunnel/companion.h"
#include "reconcilers/tunnel/guest_run.h"
#include "reconcilers/tunnel/host_socket.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "tests/support/ssh_fixture.h"

enum { FORWARDS = 2, LIMIT_MS = 20000 };

/* `server`: listens at a path, as a service of the guest, or of the host, does. */
struct tunnel_test {
    struct ssh_fixture ssh;
    struct reconciler_host host;
    struct paths paths;
    struct vm_spec *spec;
    struct vm_status *status;
    struct tunnel *tunnel;
    struct vm_forward forwards[FORWARDS];
    char *in_host, *in_guest, *service, *published; /* the sockets of the two */
    int server;
    unsigned n_changes;
    bool watches_ports;
};

static void changed(void *context)
{
    struct tunnel_test *test = context;
    test->n_changes++;
    loop_stop(test->ssh.loop);
}

static int listen_at(const char *path)
{
    int fd;
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_listen_unix(path, &fd, &err), 0);
    return fd;
}

static int setup_with(void **state, struct sshd_options options)
{
    struct tunnel_test *test = mem_new(struct tunnel_test);
    struct error err = {.code = ERR_NONE};
    ssh_fixture_init(&test->ssh, options);
    cleanup_free char *data = mem_printf("%s/data", test->ssh.dir);
    assert_int_equal(paths_init(&test->paths, data, &err), 0);
    cleanup_free char *dir = paths_vm(&test->paths, "box", VM_DIR);
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    test->host = (struct reconciler_host){
        .loop = test->ssh.loop, .paths = &test->paths, .clock = loop_clock(test->ssh.loop)};
    test->spec = vm_spec_new("box");
    test->spec->ssh.private_key = mem_strdup(test->ssh.sshd->client_key);
    free(test->spec->ssh.user);
    test->spec->ssh.user = mem_strdup(test->ssh.sshd->user);
    test->status = vm_status_new("0123456789abcdef0123456789abcdef");
    test->status->ssh_host = mem_strdup("127.0.0.1");
    test->status->ssh_port = test->ssh.sshd->port;
    test->in_host = mem_printf("%s/in-host.sock", test->ssh.dir);
    test->in_guest = mem_printf("%s/in-guest.sock", test->ssh.dir);
    test->service = mem_printf("%s/service.sock", test->ssh.dir);
    test->published = mem_printf("%s/published.sock", test->ssh.dir);
    test->forwards[0] = (struct vm_forward){
        .socket = test->in_host, .guest_socket = test->in_guest, .is_leased = true};
    test->forwards[1] = (struct vm_forward){.socket = test->service,
        .guest_socket = test->published,
        .direction = SOCKET_TO_HOST,
        .is_leased = true};
    test->server = -1;
    test->tunnel = tunnel_ssh()->open(&test->host, "box", changed, test);
    *state = test;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, (struct sshd_options){0});
}

/* The guest's shell is what write_guest_sh() makes of it. */
static int setup_shell(void **state)
{
    return setup_with(state, (struct sshd_options){.has_own_programs = true});
}

static void write_guest_sh(struct tunnel_test *test, const char *script)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *dir = mem_printf("%s/bin", test->ssh.dir);
    cleanup_free char *path = mem_printf("%s/sh", dir);
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    assert_int_equal(fs_write_file(path, script, strlen(script), 0700, &err), 0);
}

static void open_again(struct tunnel_test *test)
{
    tunnel_ssh()->close(test->tunnel);
    test->tunnel = tunnel_ssh()->open(&test->host, "box", changed, test);
}

/* One turn of what a pass does; where no event comes, after a moment. */
static struct tunnel_facts turn(struct tunnel_test *test, struct tunnel_forward ret[FORWARDS])
{
    const struct vm_env env = {
        .host = &test->host, .name = "box", .spec = test->spec, .status = test->status};
    const struct tunnel_wanted wanted = {.forwards = test->forwards,
        .n_forwards = FORWARDS,
        .may_log_in = true,
        .watches_ports = test->watches_ports};
    struct tunnel_facts facts;
    tunnel_ssh()->keep(test->tunnel, &env, &wanted);
    (void)ssh_fixture_run_ms(&test->ssh, 20);
    tunnel_ssh()->observe(test->tunnel, test->forwards, FORWARDS, ret, &facts);
    return facts;
}

static bool are_in(struct tunnel_test *test, enum tunnel_state first, enum tunnel_state second)
{
    struct tunnel_forward seen[FORWARDS];
    int64_t end_ms = clock_monotonic_ms(clock_system()) + LIMIT_MS;
    do {
        (void)turn(test, seen);
        if (seen[0].state == first && seen[1].state == second) {
            return true;
        }
    } while (clock_monotonic_ms(clock_system()) < end_ms);
    print_error("%d %s, %d %s\n", seen[0].state, seen[0].refusal ? seen[0].refusal : "",
        seen[1].state, seen[1].refusal ? seen[1].refusal : "");
    return false;
}

static bool is_gone(struct tunnel_test *test)
{
    int64_t end_ms = clock_monotonic_ms(clock_system()) + LIMIT_MS;
    struct tunnel_forward seen[FORWARDS];
    struct tunnel_facts facts;
    do {
        (void)ssh_fixture_run_ms(&test->ssh, 20);
        tunnel_ssh()->observe(test->tunnel, test->forwards, FORWARDS, seen, &facts);
    } while (!facts.is_gone && clock_monotonic_ms(clock_system()) < end_ms);
    return facts.is_gone;
}

static int teardown(void **state)
{
    struct tunnel_test *test = *state;
    tunnel_ssh()->end(test->tunnel, test->forwards, FORWARDS);
    assert_true(is_gone(test));
    tunnel_ssh()->close(test->tunnel);
    cleanup_close_(&test->server);
    vm_spec_free(test->spec);
    vm_status_free(test->status);
    paths_clear(&test->paths);
    free(test->in_host);
    free(test->in_guest);
    free(test->service);
    free(test->published);
    ssh_fixture_clear(&test->ssh);
    free(test);
    return 0;
}

/* What is sent into `from` arrives at `to`. */
static bool leads(struct tunnel_test *test, const char *from, const char *to)
{
    struct error err = {.code = ERR_NONE};
    cleanup_close int server = listen_at(to), client = -1, peer = -1;
    char byte = 0;
    if (fs_connect_unix(from, &client, &err) < 0 || write(client, "x", 1) != 1) {
        return false;
    }
    int64_t end_ms = clock_monotonic_ms(clock_system()) + LIMIT_MS;
    while (byte != 'x' && clock_monotonic_ms(clock_system()) < end_ms) {
        (void)ssh_fixture_run_ms(&test->ssh, 10);
        peer = peer < 0 ? accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : peer;
        if (peer >= 0 && read(peer, &byte, 1) == 0) {
            return false;
        }
    }
    return byte == 'x';
}

static pid_t companion_pid(struct tunnel_test *test)
{
    cleanup_free char *path = paths_vm(&test->paths, "box", VM_FORWARD_LOCK);
    cleanup_buf struct buf text = BUF_INIT(0);
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    return (pid_t)strtol(buf_str(&text), NULL, 10);
}

static void both_directions_lead_where_they_are_to(void **state)
{
    struct tunnel_test *test = *state;
    struct stat st;
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    assert_int_equal(stat(test->in_host, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(leads(test, test->in_host, test->in_guest));
    assert_true(leads(test, test->published, test->service));
}

/* A controller that was killed finds what it had made, by the same process. */
static void another_controller_adopts_what_is_there(void **state)
{
    struct tunnel_test *test = *state;
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    pid_t pid = companion_pid(test);
    open_again(test);
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    assert_int_equal(companion_pid(test), pid);
    assert_true(leads(test, test->in_host, test->in_guest));
    assert_true(leads(test, test->published, test->service));
}

static void one_that_was_killed_is_started_again(void **state)
{
    struct tunnel_test *test = *state;
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    pid_t pid = companion_pid(test);
    assert_int_equal(kill(pid, SIGKILL), 0);
    struct tunnel_forward seen[FORWARDS];
    while (turn(test, seen), seen[0].state == TUNNEL_MADE) {
    }
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    assert_int_not_equal(companion_pid(test), pid);
    assert_true(leads(test, test->in_host, test->in_guest));
    assert_true(leads(test, test->published, test->service));
}

/* Also when no controller was there to see it. */
static void one_that_was_killed_meanwhile_is_started_again(void **state)
{
    struct tunnel_test *test = *state;
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    tunnel_ssh()->close(test->tunnel);
    assert_int_equal(kill(companion_pid(test), SIGKILL), 0);
    test->tunnel = tunnel_ssh()->open(&test->host, "box", changed, test);
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    assert_true(leads(test, test->in_host, test->in_guest));
    assert_true(leads(test, test->published, test->service));
}

static void a_guest_that_does_not_answer_is_said_so(void **state)
{
    struct tunnel_test *test = *state;
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    sshd_kill(test->ssh.sshd);
    assert_true(are_in(test, TUNNEL_PENDING, TUNNEL_PENDING));
    struct tunnel_forward seen[FORWARDS];
    struct tunnel_facts facts;
    do {
        facts = turn(test, seen);
    } while (!facts.failure);
    assert_non_null(strstr(facts.failure, "onnect"));
}

static void what_is_not_ours_stays(void **state)
{
    struct tunnel_test *test = *state;
    struct error err = {.code = ERR_NONE};
    struct tunnel_forward seen[FORWARDS];
    assert_int_equal(fs_write_file(test->in_host, "mine", 4, 0600, &err), 0);
    assert_int_equal(fs_write_file(test->published, "mine", 4, 0600, &err), 0);
    assert_true(are_in(test, TUNNEL_REFUSED, TUNNEL_REFUSED));
    (void)turn(test, seen);
    assert_non_null(strstr(seen[0].refusal, "is not vmctl's"));
    assert_non_null(strstr(seen[1].refusal, "is not vmctl's"));
    tunnel_ssh()->end(test->tunnel, test->forwards, FORWARDS);
    assert_int_equal(fs_size(test->in_host), 4);
    assert_int_equal(fs_size(test->published), 4);
    /* It is tried again: what was in the way may go. */
    assert_int_equal(unlink(test->in_host), 0);
    assert_int_equal(symlink("/nowhere", test->in_host), 0);
    assert_int_equal(unlink(test->published), 0);
    assert_true(are_in(test, TUNNEL_REFUSED, TUNNEL_MADE));
    assert_int_equal(unlink(test->in_host), 0);
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
}

static void others_must_not_be_able_to_replace_it(void **state)
{
    struct tunnel_test *test = *state;
    struct tunnel_forward seen[FORWARDS];
    assert_int_equal(chmod(test->ssh.dir, 0777), 0);
    assert_true(are_in(test, TUNNEL_REFUSED, TUNNEL_MADE));
    (void)turn(test, seen);
    assert_non_null(strstr(seen[0].refusal, "other users can write to its directory"));
    assert_int_equal(chmod(test->ssh.dir, 0700), 0);
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
}

/* One after the other, also by a controller that did not make them. */
static void what_leaves_is_removed_on_both_sides(void **state)
{
    struct tunnel_test *test = *state;
    struct stat st;
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    pid_t pid = companion_pid(test);
    test->forwards[0].is_leaving = true;
    assert_true(are_in(test, TUNNEL_GONE, TUNNEL_MADE));
    assert_true(lstat(test->in_host, &st) < 0);
    assert_true(leads(test, test->published, test->service));
    open_again(test);
    test->forwards[1].is_leaving = true;
    assert_true(are_in(test, TUNNEL_GONE, TUNNEL_GONE));
    assert_true(lstat(test->published, &st) < 0);
    assert_int_equal(companion_pid(test), pid);
}

static void the_end_leaves_nothing(void **state)
{
    struct tunnel_test *test = *state;
    struct stat st;
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    open_again(test); /* by another controller */
    tunnel_ssh()->end(test->tunnel, test->forwards, FORWARDS);
    assert_true(is_gone(test));
    assert_true(lstat(test->in_host, &st) < 0);
    tunnel_ssh()->end(test->tunnel, test->forwards, FORWARDS);
    assert_false(companion_is_alive(&test->host, "box"));
}

/* The host's service is taken from a guest that does not want to lose it. */
static void a_guest_cannot_keep_what_leaves(void **state)
{
    struct tunnel_test *test = *state;
    struct error err = {.code = ERR_NONE};
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    pid_t pid = companion_pid(test);
    write_guest_sh(test, "#!/bin/false\n");
    test->forwards[1].is_leaving = true;
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_GONE));
    assert_int_not_equal(companion_pid(test), pid);
    assert_true(leads(test, test->in_host, test->in_guest));
    cleanup_close int client = -1;
    assert_true(fs_connect_unix(test->published, &client, &err) < 0);
}

static void nor_by_saying_that_it_was_another(void **state)
{
    struct tunnel_test *test = *state;
    cleanup_free char *id = host_socket_id(&test->forwards[1]);
    cleanup_free char *script =
        mem_printf("#!/bin/bash\necho '- %s /elsewhere/forward.sock'\n", id);
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    pid_t pid = companion_pid(test);
    write_guest_sh(test, script);
    test->forwards[1].is_leaving = true;
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_GONE));
    assert_int_not_equal(companion_pid(test), pid);
}

static void what_a_guest_says_is_no_command_to_a_terminal(void **state)
{
    struct tunnel_test *test = *state;
    struct tunnel_forward seen[FORWARDS];
    cleanup_free char *id = host_socket_id(&test->forwards[1]);
    cleanup_free char *script = mem_printf("#!/bin/bash\nprintf 'x %s \\033[2Jno%%9999d\\n'\n", id);
    write_guest_sh(test, script);
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_REFUSED));
    (void)turn(test, seen);
    assert_non_null(strstr(seen[1].refusal, "is not created: "));
    assert_null(strchr(seen[1].refusal, '\033'));
    assert_true(strlen(seen[1].refusal) < 1000);
}

/* ---- a command over the same login ---- */

static void take_line(void *context, const char *text)
{
    struct tunnel_test *test = context;
    ssh_fixture_output(&test->ssh, text, strlen(text));
    ssh_fixture_output(&test->ssh, ";", 1);
}

static void run_ended(void *context, const char *output)
{
    struct tunnel_test *test = context;
    ssh_fixture_output(&test->ssh, output, strlen(output));
    ssh_fixture_done(&test->ssh, NULL);
}

static void a_command_runs_over_the_same_login(void **state)
{
    struct tunnel_test *test = *state;
    cleanup_free char *control = paths_vm(&test->paths, "box", VM_FORWARD_CONTROL);
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    struct guest_run *run = guest_run_new(
        test->ssh.loop, control, "echo a; echo b; printf c", take_line, run_ended, test);
    assert_true(ssh_fixture_run_ms(&test->ssh, LIMIT_MS));
    assert_string_equal(buf_str(&test->ssh.output), "a;b;c");
    guest_run_free(run);
    run = guest_run_new(test->ssh.loop, "/nowhere", "true", NULL, run_ended, test);
    assert_true(ssh_fixture_run_ms(&test->ssh, LIMIT_MS));
    guest_run_free(run);
}

static bool sees_port(struct tunnel_test *test, uint16_t port)
{
    struct tunnel_forward seen[FORWARDS];
    struct tunnel_facts facts = turn(test, seen);
    bool is_seen = false;
    for (size_t i = 0; i < facts.n_ports; i++) {
        is_seen |= facts.ports[i].port == port && text_eq(facts.ports[i].address, "127.0.0.1");
    }
    return is_seen;
}

static bool comes_to(struct tunnel_test *test, uint16_t port, bool is_seen)
{
    int64_t end_ms = clock_monotonic_ms(clock_system()) + LIMIT_MS;
    while (sees_port(test, port) != is_seen) {
        if (clock_monotonic_ms(clock_system()) >= end_ms) {
            return false;
        }
    }
    return true;
}

static void the_guests_ports_are_seen_to_open_and_close(void **state)
{
    struct tunnel_test *test = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    test->watches_ports = true;
    assert_true(comes_to(test, test->ssh.sshd->port, true));
    test->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(test->server, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(test->server, 1), 0);
    assert_int_equal(getsockname(test->server, (struct sockaddr *)&address, &length), 0);
    assert_true(comes_to(test, ntohs(address.sin_port), true));
    open_again(test); /* another controller sees them, too */
    assert_true(comes_to(test, ntohs(address.sin_port), true));
    cleanup_close_(&test->server);
    assert_true(comes_to(test, ntohs(address.sin_port), false));
    assert_true(sees_port(test, test->ssh.sshd->port));
}

static void a_moved_data_directory_takes_its_link_along(void **state)
{
    struct tunnel_test *test = *state;
    cleanup_free char *file = host_socket_file(&test->forwards[0]);
    cleanup_free char *moved = mem_printf("/elsewhere/vms/box/%s", file);
    cleanup_free char *of_another = mem_printf("/elsewhere/vms/other/%s", file);
    assert_int_equal(symlink(of_another, test->in_host), 0);
    assert_true(are_in(test, TUNNEL_REFUSED, TUNNEL_MADE));
    assert_int_equal(unlink(test->in_host), 0);
    assert_int_equal(symlink(moved, test->in_host), 0);
    assert_true(are_in(test, TUNNEL_MADE, TUNNEL_MADE));
    assert_true(leads(test, test->in_host, test->in_guest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_directions_lead_where_they_are_to, setup, teardown),
        cmocka_unit_test_setup_teardown(another_controller_adopts_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_was_killed_is_started_again, setup, teardown),
        cmocka_unit_test_setup_teardown(
            one_that_was_killed_meanwhile_is_started_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_guest_that_does_not_answer_is_said_so, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_ours_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(others_must_not_be_able_to_replace_it, setup, teardown),
        cmocka_unit_test_setup_teardown(what_leaves_is_removed_on_both_sides, setup, teardown),
        cmocka_unit_test_setup_teardown(a_guest_cannot_keep_what_leaves, setup_shell, teardown),
        cmocka_unit_test_setup_teardown(nor_by_saying_that_it_was_another, setup_shell, teardown),
        cmocka_unit_test_setup_teardown(
            what_a_guest_says_is_no_command_to_a_terminal, setup_shell, teardown),
        cmocka_unit_test_setup_teardown(the_end_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_command_runs_over_the_same_login, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_moved_data_directory_takes_its_link_along, setup, teardown),
        cmocka_unit_test_setup_teardown(
            the_guests_ports_are_seen_to_open_and_close, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
