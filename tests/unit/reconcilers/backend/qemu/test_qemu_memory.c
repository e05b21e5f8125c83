/* SPDX-License-Identifier: MPL-2.0 */
/* Freezing a real QEMU that ends meanwhile. What a guest makes of it: tests/e2e/qemu_warm.bats. */
#include <poll.h>
#include <sys/pidfd.h>

#include "controller/loop/loop.h"
#include "controller/loop/op.h"
#include "controller/loop/pool.h"
#include "tests/unit/reconcilers/backend/qemu/test_qemu_machine.h"

static void a_qemu_that_dies_amid_a_freeze_fails_it(void **state)
{
    struct fixture *f = *state;
    f->spec->network.mode = NETWORK_NONE;
    start_and_boot(f);
    f->is_done = false;
    struct op *op = ops()->freeze(f->machine, &f->env, on_done, f);
    /* Its end is seen before the loop has read what is left in the socket. */
    cleanup_close int fd = pidfd_open(f->status->instance.pid, 0);
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    assert_int_equal(pidfd_send_signal(fd, SIGKILL, NULL, 0), 0);
    assert_int_equal(poll(&ended, 1, PATIENCE_MS), 1);
    assert_true(is_dead(f));
    if (f->is_done) {
        assert_int_not_equal(f->err.code, ERR_NONE);
    } else {
        op_cancel(op);
    }
}

int main(void)
{
    if (!qemu_is_installed()) {
        fprintf(stderr, "qemu-system-x86_64 and qemu-img are needed: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_qemu_that_dies_amid_a_freeze_fails_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
