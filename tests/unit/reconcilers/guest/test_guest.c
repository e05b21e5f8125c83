/* SPDX-License-Identifier: MPL-2.0 */
/* guest_ssh(): probing and provisioning a "guest" that is a real sshd. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/guest/guest.h"
#include "reconcilers/guest/provision.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/digest.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "tests/support/ssh_fixture.h"

struct guest_test {
    struct ssh_fixture fixture; /* first */
    struct paths paths;
    struct reconciler_host host;
    struct vm_spec *spec;
    struct vm_status *status;
    struct vm_env env;
    struct guest *guest;
    struct step_result result;
};

static int setup(void **state)
{
    struct guest_test *test = mem_new(struct guest_test);
    struct ssh_fixture *fixture = &test->fixture;
    struct error err = {.code = ERR_NONE};
    ssh_fixture_init(fixture, (struct sshd_options){.dir = NULL});
    assert_int_equal(
        setenv("HOME", fixture->dir, 1), 0); /* not the keys of the user who runs the test */
    test->paths.data_dir = mem_printf("%s/data", fixture->dir);
    cleanup_free char *vm_dir = paths_vm(&test->paths, "web", VM_DIR);
    assert_int_equal(fs_make_dirs(vm_dir, 0700, &err), 0);
    test->host = (struct reconciler_host){
        .loop = fixture->loop, .paths = &test->paths, .clock = clock_system()};
    test->spec = vm_spec_new("web");
    free(test->spec->ssh.user);
    test->spec->ssh.user = mem_strdup(fixture->sshd->user);
    test->spec->ssh.private_key = mem_strdup(fixture->sshd->client_key);
    char uid[TEXT_ID_SIZE];
    digest_random_id(uid);
    test->status = vm_status_new(uid);
    test->status->ssh_host = mem_strdup("127.0.0.1");
    test->status->ssh_port = fixture->sshd->port;
    test->env = (struct vm_env){
        .host = &test->host, .name = "web", .spec = test->spec, .status = test->status};
    test->env.uid = test->status->uid;
    test->guest = guest_ssh()->open(&test->host, "web");
    *state = test;
    return 0;
}

/* The "guest" is this host: what the runs of this VM left in /var/tmp. */
static void forget_runs(const struct guest_test *test)
{
    cleanup_free char *command =
        mem_printf("rm -rf " PROVISION_GUEST_DIR "/vmctl-$(id -u)/%.8s-*", test->status->uid);
    assert_int_equal(system(command), 0);
}

static int teardown(void **state)
{
    struct guest_test *test = *state;
    guest_ssh()->close(test->guest);
    forget_runs(test);
    vm_spec_free(test->spec);
    vm_status_free(test->status);
    paths_clear(&test->paths);
    ssh_fixture_clear(&test->fixture);
    free(test);
    return 0;
}

static enum error_code probe(struct guest_test *test)
{
    (void)guest_ssh()->probe(test->guest, &test->env, NULL, ssh_fixture_done, &test->fixture);
    return ssh_fixture_wait(&test->fixture);
}

static enum error_code check(struct guest_test *test, enum check_kind kind)
{
    (void)guest_ssh()->check(test->guest, &test->env, kind, ssh_fixture_done, &test->fixture);
    return ssh_fixture_wait(&test->fixture);
}

static void set_private_key(struct guest_test *test, const char *path)
{
    free(test->spec->ssh.private_key);
    test->spec->ssh.private_key = mem_strdup(path);
}

static void copy_into_vm(struct guest_test *test, const char *from, enum vm_file file)
{
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf bytes = BUF_INIT(0);
    cleanup_free char *to = paths_vm(&test->paths, "web", file);
    assert_int_equal(fs_read_file(from, &bytes, &err), 0);
    assert_int_equal(fs_write_file(to, bytes.data, bytes.len, 0600, &err), 0);
}

static void a_guest_that_lets_us_in_is_reached(void **state)
{
    struct guest_test *test = *state;
    assert_int_equal(probe(test), ERR_NONE);
}

static void the_session_is_kept_for_the_next_visit(void **state)
{
    struct guest_test *test = *state;
    assert_int_equal(probe(test), ERR_NONE);
    unsigned n = count_open_descriptors();
    set_private_key(test, "/nowhere/key"); /* another key would need another login */
    assert_int_equal(probe(test), ERR_KEY_UNREADABLE);
    set_private_key(test, test->fixture.sshd->client_key);
    assert_int_equal(probe(test), ERR_NONE);
    assert_int_equal(count_open_descriptors(), n);
}

/* A new instance at the same address is another guest, though the old connection may look alive. */
static void a_new_instance_is_logged_in_to_again(void **state)
{
    struct guest_test *test = *state;
    assert_int_equal(probe(test), ERR_NONE);
    free(test->spec->ssh.private_key);
    test->spec->ssh.private_key = NULL;
    copy_into_vm(test, test->fixture.sshd->other_key, VM_KEY);
    strcpy(test->status->instance.instance_id, "00000000000000000000000000000002");
    assert_int_equal(probe(test), ERR_SSH_AUTH);
}

static void the_generated_key_comes_first(void **state)
{
    struct guest_test *test = *state;
    copy_into_vm(test, test->fixture.sshd->client_key, VM_KEY);
    set_private_key(test, "/nowhere/key");
    assert_int_equal(probe(test), ERR_NONE);
}

static void standard_keys_of_the_home_directory_are_tried(void **state)
{
    struct guest_test *test = *state;
    struct error err = {.code = ERR_NONE};
    static const char *const names[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
    cleanup_free char *dir = mem_printf("%s/.ssh", test->fixture.dir);
    cleanup_buf struct buf bytes = BUF_INIT(0);
    free(test->spec->ssh.private_key);
    test->spec->ssh.private_key = NULL;
    assert_int_equal(probe(test), ERR_KEY_UNREADABLE);
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    assert_int_equal(fs_read_file(test->fixture.sshd->client_key, &bytes, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cleanup_free char *key = fs_join(dir, names[i]);
        assert_int_equal(fs_write_file(key, bytes.data, bytes.len, 0600, &err), 0);
        test->spec->cloud_init.is_set = false;
        assert_int_equal(probe(test), ERR_KEY_UNREADABLE); /* a stranger, without a seed of ours */
        test->spec->cloud_init.is_set = true;
        assert_int_equal(probe(test), ERR_NONE);
        assert_int_equal(unlink(key), 0);
    }
}

static void the_key_beside_the_public_one_is_tried(void **state)
{
    struct guest_test *test = *state;
    free(test->spec->ssh.private_key);
    test->spec->ssh.private_key = NULL;
    test->spec->cloud_init.is_set = true;
    test->spec->cloud_init.ssh_key.path = mem_printf("%s.pub", test->fixture.sshd->client_key);
    assert_int_equal(probe(test), ERR_NONE);
    test->spec->cloud_init.is_set = false; /* of an earlier VMFile */
    assert_int_equal(probe(test), ERR_KEY_UNREADABLE);
}

static void an_explicit_key_that_is_missing_is_told(void **state)
{
    struct guest_test *test = *state;
    set_private_key(test, "/nowhere/key");
    assert_int_equal(probe(test), ERR_KEY_UNREADABLE);
    assert_non_null(strstr(test->fixture.err.message, "vm 'web'"));
    assert_non_null(strstr(test->fixture.err.message, "'/nowhere/key'"));
}

static void the_host_key_is_pinned_when_the_seed_is_ours(void **state)
{
    struct guest_test *test = *state;
    test->spec->cloud_init.is_set = true;
    copy_into_vm(test, test->fixture.sshd->other_key_public, VM_HOST_KEY_PUBLIC);
    assert_int_equal(probe(test), ERR_SSH_HOSTKEY);
    copy_into_vm(test, test->fixture.sshd->host_key_public, VM_HOST_KEY_PUBLIC);
    assert_int_equal(probe(test), ERR_NONE);
}

/* A guest that never read its seed has a host key of its own: the console says so. */
static void a_foreign_host_key_is_explained_by_a_seed_that_was_not_found(void **state)
{
    static const char console[] = "Cloud-init v. 22.4.2 finished. Datasource DataSourceNone.\n";
    struct guest_test *test = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *log = paths_vm(&test->paths, "web", VM_CONSOLE_LOG);
    assert_int_equal(fs_write_file(log, console, strlen(console), 0600, &err), 0);
    test->spec->cloud_init.is_set = true;
    test->spec->cloud_init.bus = SEED_IDE;
    copy_into_vm(test, test->fixture.sshd->other_key_public, VM_HOST_KEY_PUBLIC);
    assert_int_equal(probe(test), ERR_SSH_HOSTKEY);
    assert_non_null(strstr(test->fixture.err.message, "did not find its seed on ide"));
}

static void a_left_over_host_key_is_not_pinned(void **state)
{
    struct guest_test *test = *state;
    copy_into_vm(test, test->fixture.sshd->other_key_public, VM_HOST_KEY_PUBLIC);
    assert_int_equal(probe(test), ERR_NONE);
    test->spec->cloud_init.is_set = true;
    test->spec->cloud_init.user_data.path = mem_strdup("/my/user-data");
    assert_int_equal(probe(test), ERR_NONE);
    test->spec->cloud_init.is_joined = true;
    assert_int_not_equal(probe(test), ERR_NONE);
}

static void without_an_address_nothing_is_tried(void **state)
{
    struct guest_test *test = *state;
    free(test->status->ssh_host);
    test->status->ssh_host = NULL;
    assert_int_equal(probe(test), ERR_IP_TIMEOUT);
    assert_string_equal(test->fixture.err.message, "vm 'web' has no address yet");
}

static void a_guest_that_went_away_is_an_ssh_error_with_its_address(void **state)
{
    struct guest_test *test = *state;
    assert_int_equal(probe(test), ERR_NONE);
    sshd_kill(test->fixture.sshd);
    (void)probe(test); /* may still meet the dying session */
    assert_int_equal(probe(test), ERR_SSH);
    cleanup_free char *address =
        mem_printf("%s@127.0.0.1:%u", test->spec->ssh.user, test->status->ssh_port);
    assert_non_null(strstr(test->fixture.err.message, address));
    assert_non_null(strstr(test->fixture.err.message, "Connection refused"));
}

/* ---- a guest that boots ---- */

/* A port that counts its clients: it refuses them until it is opened, and then hangs up on them, as
 * slirp does while the guest has no listener, or leads to the fixture's sshd. */
struct gate {
    struct guest_test *test;
    int listener;
    struct loop_io *io;
    bool leads_to_sshd;
    unsigned n_clients;
    unsigned n_refused; /* so many of them at first */
};

static void copy(int from, int to)
{
    char bytes[4096];
    ssize_t n;
    while ((n = read(from, bytes, sizeof(bytes))) > 0 && write(to, bytes, (size_t)n) == n) {
    }
    (void)shutdown(to, SHUT_WR);
}

/* In a process that nobody waits for. */
static void lead_to_sshd(int client, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int server = socket(AF_INET, SOCK_STREAM, 0);
        bool is_copying = fork() == 0 &&
                          connect(server, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                          dup2(client, 0) == 0 && dup2(server, 1) == 1 &&
                          close_range(2, ~0u, 0) == 0; /* also the test's end of the connection */
        if (is_copying) {
            bool is_answer = fork() == 0;
            copy(is_answer, !is_answer);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void on_client(void *context, int fd, unsigned ready)
{
    struct gate *gate = context;
    (void)ready;
    int client = accept(fd, NULL, NULL);
    assert_true(client >= 0);
    if (gate->n_clients++ >= gate->n_refused && gate->leads_to_sshd) {
        lead_to_sshd(client, gate->test->fixture.sshd->port);
    }
    close(client);
}

/* Takes the guest's place. */
static void gate_init(struct gate *gate, struct guest_test *test)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    *gate = (struct gate){
        .test = test, .listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(gate->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(gate->listener, (struct sockaddr *)&address, &size), 0);
    test->status->ssh_port = ntohs(address.sin_port);
}

static void gate_open(struct gate *gate, bool leads_to_sshd)
{
    gate->leads_to_sshd = leads_to_sshd;
    assert_int_equal(listen(gate->listener, 16), 0);
    gate->io = loop_io_new(gate->test->fixture.loop, gate->listener, LOOP_READ, on_client, gate);
}

static void gate_clear(struct gate *gate)
{
    loop_io_free(gate->io);
    close(gate->listener);
}

/* Only a process that stands still for a second makes no second try in an operation. */
static void a_guest_that_refuses_is_tried_again_at_once(void **state)
{
    struct guest_test *test = *state;
    struct gate gate;
    gate_init(&gate, test);
    assert_int_equal(probe(test), ERR_SSH); /* by its kernel */
    assert_int_equal(test->fixture.err.sys_errno, ECONNREFUSED);
    gate_open(&gate, false);
    for (int i = 0; i < 5 && gate.n_clients < 2; i++) {
        gate.n_clients = 0;
        assert_int_equal(probe(test), ERR_SSH);
        assert_int_equal(test->fixture.err.sys_errno, ECONNREFUSED);
    }
    assert_in_range(gate.n_clients, 2, 1000 / 25);
    gate_clear(&gate);
}

static void sshd_is_found_by_the_try_that_began_before_it_listened(void **state)
{
    struct guest_test *test = *state;
    struct gate gate;
    enum error_code code = ERR_SSH;
    gate_init(&gate, test);
    gate_open(&gate, true);
    for (int i = 0; i < 5 && code != ERR_NONE; i++) {
        gate.n_clients = 0;
        gate.n_refused = 1;
        code = probe(test);
    }
    assert_int_equal(code, ERR_NONE);
    assert_int_equal(gate.n_clients, 2);
    gate_clear(&gate);
}

static void a_login_is_one_connection_and_asks_cloud_init_with_it(void **state)
{
    struct guest_test *test = *state;
    struct cloud_init_report report = {CLOUD_INIT_UNKNOWN, NULL};
    struct gate gate;
    gate_init(&gate, test);
    gate_open(&gate, true);
    (void)guest_ssh()->probe(test->guest, &test->env, &report, ssh_fixture_done, &test->fixture);
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_NONE);
    assert_int_not_equal(report.state, CLOUD_INIT_UNKNOWN);
    free(report.message);
    (void)guest_ssh()->cloud_init(
        test->guest, &test->env, &report, ssh_fixture_done, &test->fixture);
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_NONE);
    free(report.message);
    assert_int_equal(gate.n_clients, 1);
    gate_clear(&gate);
}

static int64_t pause_after(enum error_code code, int sys_errno, int64_t failing_ms)
{
    return guest_pause_ms(&(struct error){.code = code, .sys_errno = sys_errno}, failing_ms);
}

static void a_guest_that_lets_nobody_in_is_tried_less_and_less_often(void **state)
{
    (void)state;
    enum { MINUTE_MS = 60000, HOUR_MS = 60 * MINUTE_MS };
    assert_int_equal(pause_after(ERR_SSH, ECONNREFUSED, 0), 25);
    assert_int_equal(pause_after(ERR_SSH, ETIMEDOUT, 0), 0); /* it took its time already */
    assert_int_equal(pause_after(ERR_SSH_AUTH, 0, 0), 250);
    assert_int_equal(pause_after(ERR_SSH, ECONNRESET, 0), 250); /* by sshd, after its banner */
    assert_int_equal(pause_after(ERR_SSH, ECONNREFUSED, MINUTE_MS - 1), 25);
    assert_int_equal(pause_after(ERR_SSH, ECONNREFUSED, MINUTE_MS), 234);
    assert_int_equal(pause_after(ERR_SSH, ETIMEDOUT, MINUTE_MS), 234);
    assert_int_equal(pause_after(ERR_SSH_AUTH, 0, MINUTE_MS), 250);
    assert_int_equal(pause_after(ERR_SSH, ECONNREFUSED, HOUR_MS), 1000);
    assert_int_equal(pause_after(ERR_SSH, ETIMEDOUT, HOUR_MS), 1000);
    assert_int_equal(pause_after(ERR_SSH_AUTH, 0, HOUR_MS), 1000);
}

static void refused_logins_are_at_least_a_quarter_second_apart(void **state)
{
    struct guest_test *test = *state;
    set_private_key(test, test->fixture.sshd->other_key);
    assert_int_equal(probe(test), ERR_SSH_AUTH);
    int64_t started_ms = loop_now_ms(test->fixture.loop);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(probe(test), ERR_SSH_AUTH);
    }
    assert_in_range(loop_now_ms(test->fixture.loop) - started_ms, 700, 20000);
}

static void give_steps(struct guest_test *test, const char *first, const char *second)
{
    test->spec->n_steps = second ? 2 : 1;
    test->status->provision.total = (uint32_t)test->spec->n_steps;
    test->spec->steps = mem_calloc(test->spec->n_steps, sizeof(*test->spec->steps));
    test->spec->steps[0] = (struct spec_step){.kind = STEP_INLINE, .command = mem_strdup(first)};
    if (second) {
        test->spec->steps[1] =
            (struct spec_step){.kind = STEP_INLINE, .command = mem_strdup(second)};
    }
}

static enum error_code run_step(struct guest_test *test, uint32_t index)
{
    cleanup_free char *path = paths_vm(&test->paths, "web", VM_PROVISION_LOG);
    struct vm_step_run *run = &test->status->provision.run;
    int64_t size = fs_size(path);
    *run = (struct vm_step_run){.log_begin = size > 0 ? (uint64_t)size : 0, .tries = run->tries};
    (void)guest_ssh()->run_step(
        test->guest, &test->env, index, &test->result, ssh_fixture_done, &test->fixture);
    return ssh_fixture_wait(&test->fixture);
}

static void read_log(const struct guest_test *test, struct buf *out)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = paths_vm(&test->paths, "web", VM_PROVISION_LOG);
    assert_int_equal(fs_read_file(path, out, &err), 0);
}

static void steps_run_in_order_on_one_session(void **state)
{
    struct guest_test *test = *state;
    give_steps(test, "echo $SSH_CLIENT", "echo $SSH_CLIENT; exit 8");
    assert_int_equal(run_step(test, 0), ERR_NONE);
    assert_int_equal(test->result.exit_status, 0);
    assert_int_equal(run_step(test, 1), ERR_PROVISION);
    assert_int_equal(test->result.exit_status, 8);
    cleanup_buf struct buf log = BUF_INIT(0);
    read_log(test, &log);
    const char *first = strstr(buf_str(&log), "\n127.0.0.1 ");
    assert_non_null(first);
    const char *second = strstr(first + 1, "\n127.0.0.1 ");
    assert_non_null(second);
    size_t n = strcspn(first + 1, "\n");
    assert_memory_equal(second + 1, first + 1, n + 1); /* our port is the same */
}

static void a_step_has_another_name_for_each_request_and_each_try(void **state)
{
    struct guest_test *test = *state;
    give_steps(test, "echo ran", NULL);
    assert_int_equal(run_step(test, 0), ERR_NONE);
    assert_int_equal(run_step(test, 0), ERR_NONE); /* the same: its result stands already */
    test->status->provision.run.tries = 1;
    assert_int_equal(run_step(test, 0), ERR_NONE);
    strcpy(test->status->provision.token, "another request");
    assert_int_equal(run_step(test, 0), ERR_NONE);
    cleanup_buf struct buf log = BUF_INIT(0);
    unsigned n_ran = 0;
    read_log(test, &log);
    for (const char *p = buf_str(&log); (p = strstr(p, "\nran\n")); p++) {
        n_ran++;
    }
    assert_int_equal(n_ran, 3);
}

static void a_step_of_an_earlier_instance_that_left_nothing_is_lost(void **state)
{
    struct guest_test *test = *state;
    give_steps(test, "echo ran", NULL);
    strcpy(test->status->provision.run.instance_id, "the instance before");
    (void)guest_ssh()->run_step(
        test->guest, &test->env, 0, &test->result, ssh_fixture_done, &test->fixture);
    assert_int_equal(ssh_fixture_wait(&test->fixture), ERR_PROVISION_LOST);
    assert_non_null(strstr(test->fixture.err.message, "the VM was restarted while it ran"));
    cleanup_buf struct buf log = BUF_INIT(0);
    read_log(test, &log);
    assert_null(strstr(buf_str(&log), "\nran"));
}

static void checks_use_the_session_and_keep_it(void **state)
{
    struct guest_test *test = *state;
    struct spec_check *ready = &test->spec->checks[CHECK_READY];
    test->spec->ssh.is_set = true;
    mem_grow(ready->probes, ready->n_probes);
    ready->probes[ready->n_probes++] =
        (struct spec_probe){.kind = PROBE_EXEC, .text = mem_strdup("exit 0")};
    assert_int_equal(check(test, CHECK_READY), ERR_NONE);
    unsigned n = count_open_descriptors();
    assert_int_equal(check(test, CHECK_READY), ERR_NONE);
    assert_int_equal(count_open_descriptors(), n);
    ready->probes[0].text[5] = '1';
    assert_int_equal(check(test, CHECK_READY), ERR_PROBE);
    assert_int_equal(check(test, CHECK_LIVE), ERR_NONE); /* there are none */
    set_private_key(test, test->fixture.sshd->other_key);
    assert_int_equal(check(test, CHECK_READY), ERR_SSH_AUTH);
}

static void without_ssh_checks_go_over_the_network(void **state)
{
    struct guest_test *test = *state;
    struct spec_check *live = &test->spec->checks[CHECK_LIVE];
    test->spec->network.mode = NETWORK_TAP;
    mem_grow(live->probes, live->n_probes);
    live->probes[live->n_probes++] =
        (struct spec_probe){.kind = PROBE_TCP, .port = test->fixture.sshd->port};
    assert_int_equal(check(test, CHECK_LIVE), ERR_NONE);
    free(TAKE_PTR(test->status->ssh_host));
    assert_int_equal(check(test, CHECK_LIVE), ERR_IP_TIMEOUT);
}

static void cancelling_a_probe_at_any_moment_leaves_nothing_open(void **state)
{
    struct guest_test *test = *state;
    unsigned before = count_open_descriptors();
    for (int64_t ms = 0;; ms += 3 + ms / 4) {
        struct op *op =
            guest_ssh()->probe(test->guest, &test->env, NULL, ssh_fixture_done, &test->fixture);
        if (ssh_fixture_run_ms(&test->fixture, ms)) {
            break;
        }
        op_cancel(op);
        assert_int_equal(count_open_descriptors(), before);
        assert_int_equal(test->fixture.n_done, 0);
    }
    assert_int_equal(test->fixture.err.code, ERR_NONE);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void a_guest_that_is_slow_at_each_banner_is_given_its_time_at_last(void **state)
{
    (void)state;
    assert_int_equal(guest_banner_ms(0, 0), 1000);
    assert_int_equal(guest_banner_ms(8, 600000), 1000);
    assert_int_equal(guest_banner_ms(9, 12000), 4000);
    assert_int_equal(guest_banner_ms(10, 600000), 1000);
    assert_int_equal(guest_banner_ms(59, 76000), 7600); /* a tenth of what it took so far */
    assert_int_equal(guest_banner_ms(199, 3600000), 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_guest_that_lets_us_in_is_reached),
        test(the_session_is_kept_for_the_next_visit),
        test(a_new_instance_is_logged_in_to_again),
        test(the_generated_key_comes_first),
        test(standard_keys_of_the_home_directory_are_tried),
        test(the_key_beside_the_public_one_is_tried),
        test(an_explicit_key_that_is_missing_is_told),
        test(the_host_key_is_pinned_when_the_seed_is_ours),
        test(a_foreign_host_key_is_explained_by_a_seed_that_was_not_found),
        test(a_left_over_host_key_is_not_pinned),
        test(without_an_address_nothing_is_tried),
        test(a_guest_that_went_away_is_an_ssh_error_with_its_address),
        test(refused_logins_are_at_least_a_quarter_second_apart),
        test(a_guest_that_refuses_is_tried_again_at_once),
        test(sshd_is_found_by_the_try_that_began_before_it_listened),
        test(a_login_is_one_connection_and_asks_cloud_init_with_it),
        test(a_guest_that_lets_nobody_in_is_tried_less_and_less_often),
        test(a_guest_that_is_slow_at_each_banner_is_given_its_time_at_last),
        test(steps_run_in_order_on_one_session),
        test(checks_use_the_session_and_keep_it),
        test(without_ssh_checks_go_over_the_network),
        test(a_step_has_another_name_for_each_request_and_each_try),
        test(a_step_of_an_earlier_instance_that_left_nothing_is_lost),
        test(cancelling_a_probe_at_any_moment_leaves_nothing_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
