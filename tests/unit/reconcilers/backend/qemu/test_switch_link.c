/* SPDX-License-Identifier: MPL-2.0 */
/* A VM's port on the switch, with the real switch. */
#include "reconcilers/backend/qemu/switch_link.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"
#include "tests/support/media_host.h"

struct bench {
    struct media_host m;
    struct switch_link *link;
    struct vm_spec *spec;
    struct spec_forward forward;
    struct switch_result result;
    char *lock, *port;
    int n_changed;
};

static void changed(void *context)
{
    ((struct bench *)context)->n_changed++;
}

static bool is_running(void *context)
{
    return lockfile_is_held(((struct bench *)context)->lock);
}

static bool is_over(void *context)
{
    return !is_running(context);
}

static bool has_changed(void *context)
{
    return ((struct bench *)context)->n_changed > 0;
}

static int set_up(void **state)
{
    struct bench *bench = mem_new(struct bench);
    media_host_setup(&bench->m);
    bench->spec = vm_spec_new("web");
    bench->spec->network.mode = NETWORK_PROJECT;
    bench->spec->network.project = mem_strdup("shop");
    bench->spec->network.network = mem_strdup("shop-01234567");
    bench->lock = mem_printf("%s/networks/shop-01234567/switch.lock", bench->m.paths.data_dir);
    bench->port = mem_printf("%s/networks/shop-01234567/web.port", bench->m.paths.data_dir);
    bench->link = switch_link_new(&bench->m.host, "web", changed, bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    switch_leave(&bench->m.paths, "shop-01234567", "web");
    assert_true(media_host_wait_for(&bench->m, is_over, bench));
    switch_link_free(bench->link);
    vm_spec_free(bench->spec);
    free(bench->result.taken_port);
    free(bench->result.why);
    free(bench->lock);
    free(bench->port);
    media_host_teardown(&bench->m);
    free(bench);
    return 0;
}

static enum error_code apply(struct bench *bench)
{
    struct switch_wanted wanted = {.spec = bench->spec,
        .mac = "52:54:00:00:00:01",
        .address = "10.77.1.15",
        .forwards = &bench->forward,
        .n_forwards = bench->forward.host_port ? 1 : 0};
    free(bench->result.taken_port);
    free(bench->result.why);
    bench->m.n_waiting++;
    (void)switch_link_apply(bench->link, &wanted, &bench->result, media_host_done, &bench->m);
    return media_host_wait(&bench->m, 1);
}

/* The process that answers on the control socket. */
static pid_t pid_of_switch(const struct bench *bench)
{
    struct error err = {0};
    struct ucred peer;
    socklen_t n = sizeof(peer);
    cleanup_close int fd = -1;
    cleanup_free char *path =
        mem_printf("%s/networks/shop-01234567/hub/control", bench->m.paths.data_dir);
    assert_int_equal(fs_connect_unix(path, &fd, &err), 0);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n), 0);
    assert_int_not_equal(peer.pid, getpid());
    return peer.pid;
}

static void the_first_starts_the_switch_and_a_second_time_finds_it(void **state)
{
    struct bench *bench = *state;
    assert_false(switch_link_is_up(bench->link));
    assert_int_equal(apply(bench), ERR_NONE);
    assert_true(bench->result.is_started);
    assert_true(switch_link_is_up(bench->link));
    pid_t pid = pid_of_switch(bench);
    assert_int_equal(apply(bench), ERR_NONE);
    assert_false(bench->result.is_started);
    assert_int_equal(pid_of_switch(bench), pid);
    assert_int_equal(bench->n_changed, 0);
}

static void one_that_is_killed_is_noticed_and_started_again(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(apply(bench), ERR_NONE);
    assert_int_equal(kill(pid_of_switch(bench), SIGKILL), 0);
    assert_true(media_host_wait_for(&bench->m, has_changed, bench));
    assert_false(switch_link_is_up(bench->link));
    assert_int_equal(apply(bench), ERR_NONE);
    assert_true(bench->result.is_started);
    assert_true(switch_link_is_up(bench->link));
}

static void one_that_hangs_is_killed_for_the_next_to_start_another(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(apply(bench), ERR_NONE);
    assert_int_equal(kill(pid_of_switch(bench), SIGSTOP), 0);
    assert_int_equal(apply(bench), ERR_TIMEOUT);
    assert_true(media_host_wait_for(&bench->m, is_over, bench));
    assert_int_equal(apply(bench), ERR_NONE);
    assert_true(bench->result.is_started);
}

static void another_handle_adopts_it(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(apply(bench), ERR_NONE);
    pid_t pid = pid_of_switch(bench);
    switch_link_free(bench->link);
    bench->link = switch_link_new(&bench->m.host, "web", changed, bench);
    assert_false(switch_link_is_up(bench->link));
    assert_int_equal(apply(bench), ERR_NONE);
    assert_false(bench->result.is_started);
    assert_int_equal(pid_of_switch(bench), pid);
}

static void it_ends_without_ports_and_the_next_starts_it(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(apply(bench), ERR_NONE);
    switch_leave(&bench->m.paths, "shop-01234567", "web");
    assert_false(fs_exists(bench->port));
    assert_true(media_host_wait_for(&bench->m, is_over, bench));
    assert_true(media_host_wait_for(&bench->m, has_changed, bench));
    assert_int_equal(apply(bench), ERR_NONE);
    assert_true(is_running(bench));
}

static int listener(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void a_port_that_is_taken_is_named_and_one_that_is_free_again_is_made(void **state)
{
    struct bench *bench = *state;
    int fd = listener(&bench->forward.host_port);
    bench->forward.guest_port = 80;
    cleanup_free char *key = forward_lease_key(&bench->forward);
    assert_int_equal(apply(bench), ERR_NONE);
    assert_string_equal(bench->result.taken_port, key);
    assert_non_null(strstr(bench->result.why, "in use"));
    close(fd);
    assert_int_equal(apply(bench), ERR_NONE);
    assert_null(bench->result.taken_port);
}

static void a_cancelled_one_leaves_no_answer_behind(void **state)
{
    struct bench *bench = *state;
    struct switch_wanted wanted = {
        .spec = bench->spec, .mac = "52:54:00:00:00:01", .address = "10.77.1.15"};
    op_cancel(switch_link_apply(bench->link, &wanted, &bench->result, media_host_done, &bench->m));
    assert_int_equal(apply(bench), ERR_NONE);
    op_cancel(switch_link_apply(bench->link, &wanted, &bench->result, media_host_done, &bench->m));
    assert_int_equal(apply(bench), ERR_NONE);
    assert_true(switch_link_is_up(bench->link));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_starts_the_switch_and_a_second_time_finds_it),
        TEST(one_that_is_killed_is_noticed_and_started_again),
        TEST(one_that_hangs_is_killed_for_the_next_to_start_another),
        TEST(another_handle_adopts_it),
        TEST(it_ends_without_ports_and_the_next_starts_it),
        TEST(a_port_that_is_taken_is_named_and_one_that_is_free_again_is_made),
        TEST(a_cancelled_one_leaves_no_answer_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
