/* SPDX-License-Identifier: MPL-2.0 */
/* The contract of op.h that every operation leaves to op_finish() and op_cancel(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "controller/loop/op.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

struct fake {
    struct op op; /* first */
    struct error failure;
};

struct owner {
    int n_done;
    struct error told;
    struct op *next; /* started from inside `done` */
};

static int n_freed;

static void cancel_fake(struct op *op)
{
    n_freed++;
    free((struct fake *)(void *)op);
}

static struct fake *start_fake(op_done_fn *done, struct owner *owner)
{
    struct fake *fake = mem_new(struct fake);
    fake->op = (struct op){cancel_fake, done, owner};
    return fake;
}

static void on_done(void *context, const struct error *err)
{
    struct owner *owner = context;
    owner->n_done++;
    assert_int_equal(n_freed, 1); /* before its owner is called */
    if (err) {
        owner->told = *err;
    }
}

static void on_done_start_another(void *context, const struct error *err)
{
    struct owner *owner = context;
    on_done(context, err);
    owner->next = &start_fake(on_done, owner)->op;
}

static void finishing_frees_the_operation_then_reports_once(void **state)
{
    (void)state;
    struct owner owner = {.n_done = 0};
    n_freed = 0;
    op_finish(&start_fake(on_done, &owner)->op, NULL);
    assert_int_equal(n_freed, 1);
    assert_int_equal(owner.n_done, 1);
    assert_int_equal(owner.told.code, ERR_NONE);
}

static void an_error_inside_of_the_operation_outlives_it(void **state)
{
    (void)state;
    struct owner owner = {.n_done = 0};
    n_freed = 0;
    struct fake *fake = start_fake(on_done, &owner);
    (void)error_set(&fake->failure, ERR_IO, "the disk is full");
    op_finish(&fake->op, &fake->failure);
    assert_int_equal(n_freed, 1);
    assert_int_equal(owner.told.code, ERR_IO);
    assert_string_equal(owner.told.message, "the disk is full");
}

static void a_cancelled_operation_is_freed_and_reports_nothing(void **state)
{
    (void)state;
    struct owner owner = {.n_done = 0};
    n_freed = 0;
    op_cancel(&start_fake(on_done, &owner)->op);
    op_cancel(NULL);
    assert_int_equal(n_freed, 1);
    assert_int_equal(owner.n_done, 0);
}

static void done_may_start_the_next_operation(void **state)
{
    (void)state;
    struct owner owner = {.n_done = 0};
    n_freed = 0;
    op_finish(&start_fake(on_done_start_another, &owner)->op, NULL);
    assert_int_equal(owner.n_done, 1);
    assert_non_null(owner.next);
    op_cancel(owner.next);
    assert_int_equal(n_freed, 2);
    assert_int_equal(owner.n_done, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finishing_frees_the_operation_then_reports_once),
        cmocka_unit_test(an_error_inside_of_the_operation_outlives_it),
        cmocka_unit_test(a_cancelled_operation_is_freed_and_reports_nothing),
        cmocka_unit_test(done_may_start_the_next_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
