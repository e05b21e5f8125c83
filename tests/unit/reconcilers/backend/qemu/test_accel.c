/* SPDX-License-Identifier: MPL-2.0 */
/* Whether KVM is usable depends on the host: what is tested is that the answer is quick, consistent
 * and leaves nothing behind. */
#include "reconcilers/backend/qemu/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/backend/qemu/kvm_probe.h"
#include "specs/base/error.h"
#include "tests/unit/reconcilers/backend/qemu/test_qemu.h"

/* The probe ends at KVM_PROBE_TIMEOUT_MS; a busy machine may be late to notice. */
enum { LIMIT_MS = 1000, PATIENCE_MS = 10000 };

struct answer {
    bool has_come;
    enum kvm_verdict verdict;
    char reason[256];
    const char *accel;
    struct error err;
};

static void probed(void *context, enum kvm_verdict verdict, const char *reason)
{
    struct answer *answer = context;
    answer->has_come = true;
    answer->verdict = verdict;
    strncpy(answer->reason, reason, sizeof(answer->reason) - 1);
}

static void chosen(void *context, const char *accel, const struct error *err)
{
    struct answer *answer = context;
    answer->has_come = true;
    answer->accel = accel;
    answer->err = err ? *err : (struct error){0};
}

static bool has_come(void *context)
{
    return ((struct answer *)context)->has_come;
}

static int set_up(void **state)
{
    struct error err = {0};
    struct loop *loop = NULL;
    assert_int_equal(loop_new(&loop, &err), 0);
    unsetenv("VMCTL_ACCEL");
    *state = loop;
    return 0;
}

static int tear_down(void **state)
{
    loop_free(*state);
    return 0;
}

static bool no_child_is_left(void *context)
{
    (void)context;
    return waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD;
}

static struct answer probe(struct loop *loop)
{
    struct answer answer = {0};
    int64_t start = clock_monotonic_ms(clock_system());
    assert_non_null(kvm_probe_start(loop, probed, &answer));
    assert_false(answer.has_come);
    assert_true(run_until(loop, has_come, &answer, PATIENCE_MS));
    assert_in_range(clock_monotonic_ms(clock_system()) - start, 0, LIMIT_MS);
    return answer;
}

static struct answer choose(struct loop *loop, enum accel_mode wanted)
{
    struct answer answer = {0};
    assert_non_null(accel_choose(loop, wanted, chosen, &answer));
    assert_false(answer.has_come);
    assert_true(run_until(loop, has_come, &answer, PATIENCE_MS));
    return answer;
}

static void the_probe_answers_in_time_and_with_a_reason(void **state)
{
    struct answer answer = probe(*state);
    assert_int_equal(answer.reason[0] == '\0', answer.verdict == KVM_USABLE);
    assert_true(run_until(*state, no_child_is_left, NULL, PATIENCE_MS));
}

static void without_access_the_probe_says_absent(void **state)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        skip();
    }
    assert_int_equal(probe(*state).verdict, KVM_ABSENT);
}

/* Only CPUs with VMX or SVM run ordinary guests at speed (nested or not, the flag is shown). */
static void a_cpu_without_virtualization_is_never_usable(void **state)
{
    if (system("grep -qwE 'vmx|svm' /proc/cpuinfo") == 0) {
        skip();
    }
    assert_int_not_equal(probe(*state).verdict, KVM_USABLE);
    struct answer answer = choose(*state, ACCEL_AUTO);
    assert_string_equal(answer.accel, "tcg");
}

static void a_cancelled_probe_does_not_answer_and_leaves_no_process(void **state)
{
    struct answer answer = {0};
    struct op *op = kvm_probe_start(*state, probed, &answer);
    op_cancel(op);
    assert_true(run_until(*state, no_child_is_left, NULL, PATIENCE_MS));
    assert_false(answer.has_come);
}

static void auto_and_kvm_follow_the_same_verdict(void **state)
{
    struct answer automatic = choose(*state, ACCEL_AUTO);
    struct answer explicit = choose(*state, ACCEL_KVM);
    assert_non_null(automatic.accel);
    if (strcmp(automatic.accel, "kvm") == 0) {
        assert_string_equal(explicit.accel, "kvm");
    } else {
        assert_null(explicit.accel);
        assert_int_equal(explicit.err.code, ERR_KVM_UNAVAILABLE);
        const char *start = "KVM is not usable here: ";
        assert_memory_equal(explicit.err.message, start, strlen(start));
    }
}

static void the_second_answer_comes_without_a_probe(void **state)
{
    struct answer first = choose(*state, ACCEL_AUTO);
    int64_t start = clock_monotonic_ms(clock_system());
    struct answer second = choose(*state, ACCEL_AUTO);
    assert_string_equal(second.accel, first.accel);
    assert_in_range(clock_monotonic_ms(clock_system()) - start, 0, KVM_PROBE_TIMEOUT_MS / 2);
}

static void tcg_needs_no_probe(void **state)
{
    struct answer answer = choose(*state, ACCEL_TCG);
    assert_string_equal(answer.accel, "tcg");
    assert_true(no_child_is_left(NULL));
}

static void the_environment_decides_for_auto_only(void **state)
{
    setenv("VMCTL_ACCEL", "tcg", 1);
    assert_string_equal(choose(*state, ACCEL_AUTO).accel, "tcg");
    setenv("VMCTL_ACCEL", "kvm", 1);
    assert_string_equal(choose(*state, ACCEL_TCG).accel, "tcg");
    struct answer by_environment = choose(*state, ACCEL_AUTO);
    unsetenv("VMCTL_ACCEL");
    struct answer by_spec = choose(*state, ACCEL_KVM);
    assert_int_equal(by_environment.err.code, by_spec.err.code);
}

static void a_cancelled_choice_does_not_answer(void **state)
{
    struct answer answer = {0};
    op_cancel(accel_choose(*state, ACCEL_TCG, chosen, &answer));
    op_cancel(accel_choose(*state, ACCEL_AUTO, chosen, &answer));
    assert_true(run_until(*state, no_child_is_left, NULL, PATIENCE_MS));
    assert_false(answer.has_come);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_probe_answers_in_time_and_with_a_reason),
        TEST(without_access_the_probe_says_absent),
        TEST(a_cpu_without_virtualization_is_never_usable),
        TEST(a_cancelled_probe_does_not_answer_and_leaves_no_process),
        TEST(auto_and_kvm_follow_the_same_verdict),
        TEST(the_second_answer_comes_without_a_probe),
        TEST(tcg_needs_no_probe),
        TEST(the_environment_decides_for_auto_only),
        TEST(a_cancelled_choice_does_not_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
