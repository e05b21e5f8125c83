/* SPDX-License-Identifier: MPL-2.0 */
/* The machine of the QEMU backend with a fake QEMU that misbehaves (tests/support/fakeqemu.c). */
#include "tests/unit/reconcilers/backend/qemu/test_qemu_machine.h"

#include <unistd.h>

#ifndef VMCTL_BINARY_DIR
#define VMCTL_BINARY_DIR "."
#endif
#define FAKE_QEMU VMCTL_BINARY_DIR "/bin/fakeqemu"

static void script(struct fixture *f, const char *words)
{
    cleanup_free char *dir = vm_path(f, VM_DIR);
    cleanup_free char *path = fs_join(dir, "fakeqemu");
    struct error err = {0};
    assert_int_equal(fs_write_file(path, words, strlen(words), 0600, &err), 0);
}

static void an_obedient_fake_boots_like_the_real_one(void **state)
{
    struct fixture *f = *state;
    f->status->ssh_port = 10022;
    f->spec->disk_gib = 2;
    start_and_boot(f);
    assert_int_equal(observe(f).run_state, RUN_STATE_RUNNING);
    assert_string_equal(f->boot.vnc, "127.0.0.1:5900");
    ops()->command(f->machine, &f->env, MACHINE_POWERDOWN);
    await_state(f, RUN_STATE_SHUTDOWN);
    ops()->command(f->machine, &f->env, MACHINE_QUIT);
    expect_death(f, 0);
}

/* Fixed: each is a way to QEMU and back, or part of one; a boot that asks more has to say so here.
 */
static void a_boot_asks_qemu_for_no_more_than_it_needs(void **state)
{
    static const char expected[] =
        "qmp_capabilities\nquery-uuid\nquery-status\n"
        "query-status\ninfo usernet\nhostfwd_add net0 tcp:127.0.0.1:10022-:22\n"
        "query-named-block-nodes\nblock_resize\n"
        "query-vnc\nqom-get\ncont\nquery-status\n"
        "query-status\nquery-chardev\n" /* for the event RESUME; whether it has an agent */
        /* a machine that is as it should be */
        "query-status\ninfo usernet\nquery-named-block-nodes\nquery-vnc\nqom-get\nquery-status\n";
    struct fixture *f = *state;
    cleanup_free char *dir = vm_path(f, VM_DIR), *path = fs_join(dir, "commands");
    cleanup_buf struct buf text = BUF_INIT(0);
    struct error err = {0};
    script(f, "log");
    f->status->ssh_port = 10022;
    f->spec->disk_gib = 2;
    start_and_boot(f);
    try_boot(f);
    expect_ok(f);
    assert_int_equal(fs_read_file(path, &text, &err), 0);
    assert_string_equal(buf_str(&text), expected);
}

static void a_guest_that_powers_off_leaves_its_state(void **state)
{
    struct fixture *f = *state;
    script(f, "shutdown-after=300");
    start_and_boot(f);
    await_state(f, RUN_STATE_SHUTDOWN);
    assert_true(observe(f).is_alive);
    ops()->close(f->machine); /* also for a controller that comes later */
    open_machine(f);
    await_state(f, RUN_STATE_SHUTDOWN);
}

static void a_panic_is_told(void **state)
{
    script(*state, "panic-after=300");
    start_and_boot(*state);
    await_state(*state, RUN_STATE_PANICKED);
}

static void an_internal_error_is_told(void **state)
{
    script(*state, "broken-after=300");
    start_and_boot(*state);
    await_state(*state, RUN_STATE_INTERNAL_ERROR);
}

static void booting_what_is_shut_down_is_refused(void **state)
{
    struct fixture *f = *state;
    script(f, "shutdown-after=1");
    launch(f);
    ops()->release(f->machine);
    await_state(f, RUN_STATE_SHUTDOWN);
    try_boot(f);
    assert_int_equal(f->err.code, ERR_VM_INVALID_STATE);
    assert_string_equal(f->err.message, "cannot boot: QEMU is in state 'shutdown'");
}

static void a_guest_that_ignores_the_power_button_runs_on(void **state)
{
    struct fixture *f = *state;
    script(f, "ignore-powerdown");
    start_and_boot(f);
    ops()->command(f->machine, &f->env, MACHINE_POWERDOWN);
    ops()->command(f->machine, &f->env, MACHINE_PAUSE); /* answered after the other */
    await_state(f, RUN_STATE_PAUSED);
}

static void only_sigkill_ends_the_stubborn(void **state)
{
    struct fixture *f = *state;
    script(f, "ignore-powerdown ignore-quit ignore-term");
    start_and_boot(f);
    ops()->command(f->machine, &f->env, MACHINE_POWERDOWN);
    ops()->command(f->machine, &f->env, MACHINE_QUIT);
    ops()->command(f->machine, &f->env, MACHINE_TERMINATE);
    ops()->command(f->machine, &f->env, MACHINE_PAUSE);
    await_state(f, RUN_STATE_PAUSED);
    ops()->command(f->machine, &f->env, MACHINE_KILL);
    expect_death(f, SIGKILL);
}

static bool is_silent_for_200_ms(void *context)
{
    return observe(context).silent_ms >= 200;
}

static void expect_silence(struct fixture *f)
{
    launch(f);
    ops()->release(f->machine);
    assert_true(run_until(f->host.loop, is_silent_for_200_ms, f, PATIENCE_MS));
    assert_true(observe(f).is_alive);
    assert_int_equal(observe(f).run_state, RUN_STATE_UNKNOWN);
    try_boot(f);
    assert_int_equal(f->err.code, ERR_QMP_CONNECT);
}

static void one_that_never_greets_is_silent(void **state)
{
    script(*state, "mute");
    expect_silence(*state);
}

static void one_that_talks_garbage_is_silent(void **state)
{
    script(*state, "garbage");
    expect_silence(*state);
}

static void one_that_exits_at_once_says_why(void **state)
{
    struct fixture *f = *state;
    script(f, "exit=3");
    launch(f);
    ops()->release(f->machine);
    expect_death(f, 3 << 8);
    assert_string_equal(observe(f).last_output, "fakeqemu: told to exit");
}

static void a_death_during_the_boot_fails_it(void **state)
{
    struct fixture *f = *state;
    start(f);
    f->is_done = false;
    assert_non_null(ops()->boot(f->machine, &f->env, &f->boot, on_done, f));
    assert_int_equal(kill(f->status->instance.pid, SIGKILL), 0);
    assert_true(run_until(f->host.loop, is_done, f, PATIENCE_MS));
    assert_int_equal(f->err.code, ERR_QMP_CONNECT);
    expect_death(f, SIGKILL);
}

static void a_busy_port_of_the_spec_is_named(void **state)
{
    struct fixture *f = *state;
    script(f, "busy-port=5353");
    f->spec->network.forwards = mem_new(struct spec_forward);
    f->spec->network.n_forwards = 1;
    f->spec->network.forwards[0] =
        (struct spec_forward){.protocol = FORWARD_UDP, .host_port = 5353, .guest_port = 53};
    f->status->ssh_port = 10022;
    start(f);
    try_boot(f);
    assert_int_equal(f->err.code, ERR_PORT_TAKEN);
    assert_string_equal(f->boot.taken_port, "udp/5353");
    assert_string_equal(f->err.message, "cannot boot: udp port 5353 of 127.0.0.1 is in use by "
                                        "another program (wanted for the guest's port 53)");
}

int main(void)
{
    if (access(FAKE_QEMU, X_OK) < 0 || !qemu_is_installed()) {
        fprintf(stderr, FAKE_QEMU " and qemu-img are needed: skipped\n");
        return 77;
    }
    setenv("VMCTL_QEMU", FAKE_QEMU, 1);
    const struct CMUnitTest tests[] = {
        TEST(an_obedient_fake_boots_like_the_real_one),
        TEST(a_boot_asks_qemu_for_no_more_than_it_needs),
        TEST(a_guest_that_powers_off_leaves_its_state),
        TEST(a_panic_is_told),
        TEST(an_internal_error_is_told),
        TEST(booting_what_is_shut_down_is_refused),
        TEST(a_guest_that_ignores_the_power_button_runs_on),
        TEST(only_sigkill_ends_the_stubborn),
        TEST(one_that_never_greets_is_silent),
        TEST(one_that_talks_garbage_is_silent),
        TEST(one_that_exits_at_once_says_why),
        TEST(a_death_during_the_boot_fails_it),
        TEST(a_busy_port_of_the_spec_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
