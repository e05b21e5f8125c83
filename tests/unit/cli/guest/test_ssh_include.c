/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/ssh_include.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/buf.h"

static const char line[] = "Include \"/d/vms/*/ssh_config\"";

/* NULL: the text stays as it is. */
static void check(const char *text, const char *added, const char *removed)
{
    cleanup_buf struct buf with = BUF_INIT(0), without = BUF_INIT(0);
    assert_int_equal(ssh_include_add(text, line, &with), added != NULL);
    assert_string_equal(buf_str(&with), added ? added : text);
    assert_int_equal(ssh_include_remove(text, line, &without), removed != NULL);
    assert_string_equal(buf_str(&without), removed ? removed : text);
}

static void the_line_comes_first_once_and_the_rest_stays(void **state)
{
    (void)state;
    check("", "Include \"/d/vms/*/ssh_config\"\n", NULL);
    check("Host a\n\tPort 1", "Include \"/d/vms/*/ssh_config\"\nHost a\n\tPort 1", NULL);
    check("Include \"/d/vms/*/ssh_config\"\n", NULL, "");
    check("# mine\r\n\nInclude \"/d/vms/*/ssh_config\"\nHost a\n", NULL, "# mine\r\n\nHost a\n");
    check("# none at the end\nInclude \"/d/vms/*/ssh_config\"", NULL, "# none at the end\n");
}

static void within_a_block_it_counts_for_that_host_only(void **state)
{
    (void)state;
    check("HOST a\nInclude \"/d/vms/*/ssh_config\"\n",
        "Include \"/d/vms/*/ssh_config\"\nHOST a\nInclude \"/d/vms/*/ssh_config\"\n", "HOST a\n");
    check(" match all\nInclude \"/d/vms/*/ssh_config\"\n",
        "Include \"/d/vms/*/ssh_config\"\n match all\nInclude \"/d/vms/*/ssh_config\"\n",
        " match all\n");
    check("Host=a\nInclude \"/d/vms/*/ssh_config\"\n",
        "Include \"/d/vms/*/ssh_config\"\nHost=a\nInclude \"/d/vms/*/ssh_config\"\n", "Host=a\n");
    check("HostName a\nInclude \"/d/vms/*/ssh_config\"\n", NULL, "HostName a\n");
}

static void another_data_directory_has_a_line_of_its_own(void **state)
{
    (void)state;
    check("Include \"/e/vms/*/ssh_config\"\n",
        "Include \"/d/vms/*/ssh_config\"\nInclude \"/e/vms/*/ssh_config\"\n", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_line_comes_first_once_and_the_rest_stays),
        cmocka_unit_test(within_a_block_it_counts_for_that_host_only),
        cmocka_unit_test(another_data_directory_has_a_line_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
