/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/work_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/text.h"

static void files_that_were_copied_are_named(void **state)
{
    static const struct {
        const char *line, *name;
        bool is_new;
    } cases[] = {
        {">f+++++++++ out/a b", "out/a b", true},
        {">f.st...... Makefile", "Makefile", false},
        {"cL+++++++++ latest", "latest", true},
        {"cd+++++++++ out/", NULL, false},   /* a directory */
        {".f...p..... run.sh", NULL, false}, /* only its mode */
        {"*deleting   old", NULL, false},
        {"sent 12 bytes  received 30 bytes", NULL, false},
        {">f+++++++++ ", NULL, false},
        {"", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool is_new = false;
        const char *name = work_tree_copied(cases[i].line, &is_new);
        assert_true(text_eq(name, cases[i].name));
        assert_int_equal(is_new, cases[i].is_new);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_that_were_copied_are_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
