/* SPDX-License-Identifier: MPL-2.0 */
/* The boot operation with a real QEMU: forwards, the disk's size, devices, networks. */
#include "tests/unit/reconcilers/backend/qemu/test_qemu_machine.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void it_runs_after_release_and_boot(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(observe(f).silent_ms, 0);
    try_boot(f);
    expect_ok(f);
    struct machine_facts facts = observe(f);
    assert_int_equal(facts.run_state, RUN_STATE_RUNNING);
    assert_true(facts.is_alive);
    assert_false(facts.is_waiting);
    cleanup_free char *screen = vm_path(f, VM_VNC_SOCKET);
    assert_string_equal(f->boot.vnc, screen);
    assert_memory_equal(f->boot.machine, "pc-q35-", strlen("pc-q35-")); /* what q35 stands for */
}

static void booting_twice_does_no_harm(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    try_boot(f);
    expect_ok(f);
    assert_int_equal(observe(f).run_state, RUN_STATE_RUNNING);
}

static void a_cancelled_boot_does_not_complete(void **state)
{
    struct fixture *f = *state;
    start(f);
    f->is_done = false;
    op_cancel(ops()->boot(f->machine, &f->env, &f->boot, on_done, f));
    try_boot(f); /* the connection is still good for another one */
    expect_ok(f);
    assert_int_equal(observe(f).run_state, RUN_STATE_RUNNING);
}

/* ---- ports ---- */

static uint16_t busy_port(int *ret_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(*ret_fd >= 0);
    assert_int_equal(bind(*ret_fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(*ret_fd, 1), 0);
    assert_int_equal(getsockname(*ret_fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static uint16_t free_port(void)
{
    cleanup_close int fd = -1;
    return busy_port(&fd);
}

static bool is_listening(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static void forwards_are_there_after_boot(void **state)
{
    struct fixture *f = *state;
    struct spec_forward *forward = mem_new(struct spec_forward);
    *forward =
        (struct spec_forward){.protocol = FORWARD_TCP, .host_port = free_port(), .guest_port = 80};
    f->spec->network.forwards = forward;
    f->spec->network.n_forwards = 1;
    f->status->ssh_port = free_port();
    start_and_boot(f);
    assert_true(is_listening(f->status->ssh_port));
    assert_true(is_listening(forward->host_port));
    try_boot(f); /* "already bound, by us" is not an error */
    expect_ok(f);
}

static void a_busy_port_is_told_and_qemu_lives(void **state)
{
    struct fixture *f = *state;
    cleanup_close int holder = -1;
    uint16_t port = busy_port(&holder);
    f->status->ssh_port = port;
    start(f);
    try_boot(f);
    assert_int_equal(f->err.code, ERR_PORT_TAKEN);
    cleanup_free char *key = mem_printf("tcp/%u", port);
    assert_string_equal(f->boot.taken_port, key);
    assert_int_equal(observe(f).run_state, RUN_STATE_PRELAUNCH);
    f->status->ssh_port = free_port();
    try_boot(f);
    expect_ok(f);
    assert_true(is_listening(f->status->ssh_port));
}

static void a_forward_that_is_no_longer_wanted_goes(void **state)
{
    struct fixture *f = *state;
    uint16_t old_port = free_port();
    f->status->ssh_port = old_port;
    start_and_boot(f);
    f->status->ssh_port = free_port();
    assert_int_not_equal(f->status->ssh_port, old_port);
    try_boot(f);
    expect_ok(f);
    assert_false(is_listening(old_port));
    assert_true(is_listening(f->status->ssh_port));
}

/* ---- the disk ---- */

static void the_disk_grows_to_the_specs_size(void **state)
{
    struct fixture *f = *state;
    f->spec->disk_gib = 3;
    start_and_boot(f);
    cleanup_free char *answer = ask_user_socket(
        f, "{\"execute\":\"query-named-block-nodes\",\"arguments\":{\"flat\":true}}");
    assert_non_null(strstr(answer, "\"virtual-size\":3221225472"));
}

static void every_seed_bus_is_accepted_by_qemu(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *seed = vm_path(f, VM_SEED);
    cleanup_free char *bytes = mem_calloc(1 << 16, 1);
    struct error err = {0};
    assert_int_equal(fs_write_file(seed, bytes, 1 << 16, 0600, &err), 0);
    for (int bus = 0; bus < SEED_BUS_COUNT_; bus++) {
        f->spec->cloud_init.bus = (enum seed_bus)bus;
        start_and_boot(f);
        ops()->command(f->machine, &f->env, MACHINE_KILL);
        expect_death(f, SIGKILL);
    }
}

/* ---- io-limit ---- */

static size_t count_in(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)); text += strlen(word)) {
        n++;
    }
    return n;
}

static void expect_limit(struct fixture *f, const char *number, size_t n_disks)
{
    cleanup_free char *answer = ask_user_socket(f, "{\"execute\":\"query-block\"}");
    if (count_in(answer, number) != n_disks) {
        fail_msg("%zu times %s in %s", n_disks, number, answer);
    }
}

static void boot_limited(struct fixture *f, struct spec_io_limit limit)
{
    free(TAKE_PTR(f->boot.changes));
    f->spec->io_limit = limit;
    try_boot(f);
    expect_ok(f);
}

static void add_scratch_disk(struct fixture *f)
{
    struct vm_spec *spec = f->spec;
    spec->disks = mem_calloc(1, sizeof(*spec->disks));
    spec->disks[spec->n_disks++] = (struct spec_disk){.name = mem_strdup("scratch"), .size_gib = 1};
}

/* The disk and the further one; not the seed. */
static void the_disks_share_the_limit_which_changes_while_it_runs(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *seed = vm_path(f, VM_SEED), *bytes = mem_calloc(1 << 16, 1);
    struct error err = {0};
    assert_int_equal(fs_write_file(seed, bytes, 1 << 16, 0600, &err), 0);
    add_scratch_disk(f);
    f->spec->io_limit = (struct spec_io_limit){.read_kib = 100 << 10, .iops = 500};
    start_and_boot(f);
    assert_string_equal(f->boot.changes, "io-limit read=\"100M\" iops=500");
    expect_limit(f, "\"bps_rd\":104857600,", 2);
    expect_limit(f, "\"iops\":500,", 2);
    expect_limit(f, "\"group\":\"vmctl\"", 2);
    boot_limited(f, f->spec->io_limit); /* done twice: killed before it was recorded */
    assert_null(f->boot.changes);
    boot_limited(f, (struct spec_io_limit){.write_kib = 512});
    assert_string_equal(f->boot.changes, "io-limit write=\"512K\"");
    expect_limit(f, "\"bps_rd\":0,", 3);
    expect_limit(f, "\"bps_wr\":524288,", 2);
    boot_limited(f, (struct spec_io_limit){.iops = 0});
    assert_string_equal(f->boot.changes, "io-limit removed");
    expect_limit(f, "\"bps_wr\":0,", 3);
}

/* A controller killed between the limit and its record, and then it is not wanted any more. */
static void a_limit_that_an_earlier_controller_left_goes(void **state)
{
    struct fixture *f = *state;
    f->spec->io_limit.iops = 500;
    start_and_boot(f);
    ops()->close(f->machine);
    open_machine(f);
    await_state(f, RUN_STATE_RUNNING);
    boot_limited(f, (struct spec_io_limit){.iops = 0});
    expect_limit(f, "\"iops\":500,", 0);
}

static void a_limit_by_the_machines_own_socket_is_left_alone(void **state)
{
    struct fixture *f = *state;
    start_and_boot(f);
    cleanup_free char *answer = ask_user_socket(f,
        "{\"execute\":\"block_set_io_throttle\",\"arguments\":{\"id\":"
        "\"/machine/peripheral/disk/virtio-backend\",\"bps\":0,\"bps_rd\":0,\"bps_wr\":0,"
        "\"iops\":77,\"iops_rd\":0,\"iops_wr\":0}}");
    assert_string_equal(answer, "{}");
    ops()->close(f->machine);
    open_machine(f);
    await_state(f, RUN_STATE_RUNNING);
    boot_limited(f, (struct spec_io_limit){.iops = 0});
    expect_limit(f, "\"iops\":77,", 1);
}

/* ---- tap ---- */

static bool bring_up(const char *device)
{
    cleanup_close int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_flags = IFF_UP};
    memcpy(request.ifr_name, device, strlen(device));
    return ioctl(control, SIOCSIFFLAGS, &request) == 0;
}

static bool enter_network_with_bridge(const char *bridge)
{
    cleanup_close int control = -1;
    if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
        return false;
    }
    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return ioctl(control, SIOCBRADDBR, bridge) == 0 && bring_up("lo");
}

/* The last test: this process does not come back from the network namespace. */
static void a_tap_network_is_inherited(void **state)
{
    struct fixture *f = *state;
    if (!enter_network_with_bridge("br0")) {
        skip();
    }
    f->spec->network.mode = NETWORK_TAP;
    f->status->mac = mem_strdup("52:54:00:12:34:56");
    start_and_boot(f);
    assert_int_not_equal(if_nametoindex("vmt0"), 0);
    cleanup_free char *answer =
        ask_user_socket(f, "{\"execute\":\"query-rx-filter\",\"arguments\":{\"name\":\"nic\"}}");
    assert_non_null(strstr(answer, "\"main-mac\":\"52:54:00:12:34:56\""));
    ops()->command(f->machine, &f->env, MACHINE_QUIT);
    expect_death(f, 0);
    assert_int_equal(if_nametoindex("vmt0"), 0);
}

int main(void)
{
    if (!qemu_is_installed()) {
        fprintf(stderr, "qemu-system-x86_64 and qemu-img are needed: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        TEST(it_runs_after_release_and_boot),
        TEST(booting_twice_does_no_harm),
        TEST(a_cancelled_boot_does_not_complete),
        TEST(forwards_are_there_after_boot),
        TEST(a_busy_port_is_told_and_qemu_lives),
        TEST(a_forward_that_is_no_longer_wanted_goes),
        TEST(the_disk_grows_to_the_specs_size),
        TEST(every_seed_bus_is_accepted_by_qemu),
        TEST(the_disks_share_the_limit_which_changes_while_it_runs),
        TEST(a_limit_that_an_earlier_controller_left_goes),
        TEST(a_limit_by_the_machines_own_socket_is_left_alone),
        TEST(a_tap_network_is_inherited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
