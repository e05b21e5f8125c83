/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_counter_is_named_in_the_way_of_each_format(void **state)
{
    (void)state;
    for (int is_open = 0; is_open < 2; is_open++) {
        cleanup_buf struct buf out = BUF_INIT(0);
        struct exposition to = {.out = &out, .is_openmetrics = is_open};
        exposition_family(&to, "x_bytes", METRIC_COUNTER, "Bytes.");
        exposition_sample(&to, "vm", "web", 12.5);
        assert_string_equal(buf_str(&out),
            is_open
                ? "# HELP x_bytes Bytes.\n# TYPE x_bytes counter\nx_bytes_total{vm=\"web\"} 12.5\n"
                : "# HELP x_bytes_total Bytes.\n# TYPE x_bytes_total counter\n"
                  "x_bytes_total{vm=\"web\"} 12.5\n");
    }
}

static void a_vm_of_a_project_has_that_as_a_label(void **state)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    struct exposition to = {.out = &out};
    (void)state;
    exposition_family(&to, "x", METRIC_GAUGE, "X.");
    buf_reset(&out);
    exposition_vm_sample(&to, "web", 1);
    exposition_vm_sample(&to, "shop/web", 0);
    assert_string_equal(buf_str(&out), "x{vm=\"web\"} 1\nx{vm=\"shop/web\",project=\"shop\"} 0\n");
}

static void the_buckets_of_a_histogram_count_what_is_below_them(void **state)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    struct exposition to = {.out = &out, .name = "x_seconds"};
    struct histogram histogram = {.sum = 0};
    (void)state;
    histogram_observe(&histogram, 0.1);
    histogram_observe(&histogram, 3);
    histogram_observe(&histogram, 10000);
    exposition_histogram(&to, &histogram);
    assert_non_null(strstr(buf_str(&out), "x_seconds_bucket{le=\"0.1\"} 1\n"));
    assert_non_null(strstr(buf_str(&out), "x_seconds_bucket{le=\"2.5\"} 1\n"));
    assert_non_null(strstr(buf_str(&out), "x_seconds_bucket{le=\"5.0\"} 2\n"));
    assert_non_null(strstr(buf_str(&out), "x_seconds_bucket{le=\"900.0\"} 2\n"));
    assert_non_null(strstr(buf_str(&out), "x_seconds_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(buf_str(&out), "x_seconds_sum 10003.1\nx_seconds_count 3\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_counter_is_named_in_the_way_of_each_format),
        cmocka_unit_test(a_vm_of_a_project_has_that_as_a_label),
        cmocka_unit_test(the_buckets_of_a_histogram_count_what_is_below_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
