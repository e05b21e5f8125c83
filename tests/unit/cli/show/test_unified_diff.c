/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/unified_diff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vm/spec_diff.h"
#include "specs/vm/vm_spec.h"

static struct vm_spec *a_spec(void)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.location = mem_strdup("/a.qcow2");
    return spec;
}

static void depend_on(struct vm_spec *spec, const char *name)
{
    mem_grow(spec->depends_on, spec->n_depends_on);
    spec->depends_on[spec->n_depends_on++] = mem_strdup(name);
}

static void add_diff(
    struct buf *out, const struct vm_spec *before, const struct vm_spec *after, bool use_color)
{
    cleanup_with(spec_diff_clear) struct spec_diff diff = spec_diff(before, after);
    unified_diff_add(out, after->name, &diff, use_color);
}

static void assert_diff(
    const struct vm_spec *before, const struct vm_spec *after, const char *expected)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    add_diff(&out, before, after, false);
    assert_string_equal(buf_str(&out), expected);
}

static void nothing_is_said_of_equal_specs(void **state)
{
    (void)state;
    struct vm_spec *a = a_spec(), *b = a_spec();
    assert_diff(a, b, "");
    vm_spec_free(a);
    vm_spec_free(b);
}

static void each_field_has_a_hunk_with_what_it_needs(void **state)
{
    (void)state;
    struct vm_spec *a = a_spec(), *b = a_spec();
    b->memory_mib = 2048;
    b->stop_timeout_s = 5;
    assert_diff(a, b,
        "--- web (stored)\n+++ web (VMFile)\n"
        "@@ -1 +1 @@ restart\n-memory 1024\n+memory 2048\n"
        "@@ -2 +2 @@ live\n-stop-timeout 30\n+stop-timeout 5\n");
    vm_spec_free(a);
    vm_spec_free(b);
}

static void of_a_list_only_the_entries_that_differ_are_shown(void **state)
{
    (void)state;
    static const char *const before[] = {"a", "b", "c"}, *const after[] = {"a", "x", "y", "c"};
    struct vm_spec *a = a_spec(), *b = a_spec();
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        depend_on(a, before[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(after); i++) {
        depend_on(b, after[i]);
    }
    cleanup_buf struct buf out = BUF_INIT(0);
    add_diff(&out, a, b, false);
    assert_non_null(strstr(buf_str(&out), "@@ live\n-depends-on \"b\"\n"));
    assert_non_null(strstr(buf_str(&out), "+depends-on \"x\"\n"));
    assert_non_null(strstr(buf_str(&out), "+depends-on \"y\"\n"));
    assert_null(strstr(buf_str(&out), "depends-on \"a\""));
    assert_null(strstr(buf_str(&out), "depends-on \"c\""));
    vm_spec_free(a);
    vm_spec_free(b);
}

static void add_step(struct vm_spec *spec, const char *command)
{
    mem_grow(spec->steps, spec->n_steps);
    spec->steps[spec->n_steps++] =
        (struct spec_step){.kind = STEP_INLINE, .command = mem_strdup(command)};
}

static void a_list_in_another_order_is_shown_whole(void **state)
{
    (void)state;
    struct vm_spec *a = a_spec(), *b = a_spec();
    add_step(a, "make");
    add_step(a, "install");
    add_step(b, "install");
    add_step(b, "make");
    cleanup_buf struct buf out = BUF_INIT(0);
    add_diff(&out, a, b, false);
    assert_non_null(strstr(buf_str(&out), "@@ -1,2 +1,2 @@ provision\n-provision "));
    vm_spec_free(a);
    vm_spec_free(b);
}

static void an_entry_that_is_only_added_is_a_hunk_of_no_old_lines(void **state)
{
    (void)state;
    struct vm_spec *a = a_spec(), *b = a_spec();
    depend_on(a, "db");
    depend_on(b, "db");
    depend_on(b, "san");
    assert_diff(
        a, b, "--- web (stored)\n+++ web (VMFile)\n@@ -0,0 +1 @@ live\n+depends-on \"san\"\n");
    vm_spec_free(a);
    vm_spec_free(b);
}

static void a_new_vm_is_shown_with_what_is_not_as_by_default(void **state)
{
    (void)state;
    struct vm_spec *spec = a_spec();
    spec->vcpus = 2;
    cleanup_buf struct buf new = BUF_INIT(0), removed = BUF_INIT(0);
    unified_diff_add_whole(&new, spec, true, false);
    assert_string_equal(buf_str(&new),
        "--- /dev/null\n+++ web (VMFile)\n"
        "@@ -0,0 +1,3 @@ create\n+vm \"web\"\n+image \"/a.qcow2\"\n+vcpus 2\n");
    unified_diff_add_whole(&removed, spec, false, false);
    assert_string_equal(buf_str(&removed),
        "--- web (stored)\n+++ /dev/null\n"
        "@@ -1,3 +0,0 @@ left running (vmctl up --prune destroys it)\n"
        "-vm \"web\"\n-image \"/a.qcow2\"\n-vcpus 2\n");
    vm_spec_free(spec);
}

static void a_command_of_several_lines_is_compared_by_lines(void **state)
{
    (void)state;
    struct vm_spec *a = a_spec(), *b = a_spec();
    add_step(a, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk");
    add_step(b, "A\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl");
    assert_diff(a, b,
        "--- web (stored)\n+++ web (VMFile)\n"
        "@@ -1,6 +1,6 @@ provision\n"
        " provision \"shell\" {\n     inline \"\"\"\n"
        "-        a\n+        A\n"
        "         b\n         c\n         d\n"
        "@@ -7,5 +7,6 @@ provision\n"
        "         i\n         j\n         k\n+        l\n         \"\"\"\n }\n");
    vm_spec_free(a);
    vm_spec_free(b);
}

static void of_an_edited_script_the_digests_are_shown(void **state)
{
    (void)state;
    static const char old[] = "1111aaaa22", new[] = "2222bbbb33";
    struct vm_spec *a = a_spec(), *b = a_spec();
    struct vm_spec *specs[] = {a, b};
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        add_step(specs[i], "x");
        free(specs[i]->steps[0].command);
        specs[i]->steps[0] =
            (struct spec_step){.kind = STEP_SCRIPT, .file.path = mem_strdup("/setup.sh")};
        strcpy(specs[i]->steps[0].file.digest, i ? new : old);
    }
    assert_diff(a, b,
        "--- web (stored)\n+++ web (VMFile)\n@@ -1 +1 @@ provision\n"
        "-provision \"shell\" { script \"/setup.sh\" } // sha256 1111aaaa\n"
        "+provision \"shell\" { script \"/setup.sh\" } // sha256 2222bbbb\n");
    vm_spec_free(a);
    vm_spec_free(b);
}

/* More comparisons than are made: replaced as a whole, in no time. */
static void long_commands_are_replaced_as_a_whole(void **state)
{
    (void)state;
    cleanup_buf struct buf old = BUF_INIT(0), new = BUF_INIT(0), out = BUF_INIT(0);
    struct vm_spec *a = a_spec(), *b = a_spec();
    for (int i = 0; i < 5000; i++) {
        buf_printf(&old, "same\nold %d\n", i);
        buf_printf(&new, "same\nnew %d\n", i);
    }
    add_step(a, buf_str(&old));
    add_step(b, buf_str(&new));
    add_diff(&out, a, b, false);
    assert_non_null(strstr(buf_str(&out), "@@ -1,10005 +1,10005 @@ provision\n"));
    vm_spec_free(a);
    vm_spec_free(b);
}

static void what_a_spec_holds_cannot_steer_the_terminal(void **state)
{
    (void)state;
    struct vm_spec *a = a_spec(), *b = a_spec();
    free(b->image.location);
    b->image.location = mem_strdup("/\033[2J\n+vm fake");
    cleanup_buf struct buf out = BUF_INIT(0);
    add_diff(&out, a, b, false);
    assert_null(strchr(buf_str(&out), '\033'));
    assert_null(strstr(buf_str(&out), "\n+vm fake"));
    vm_spec_free(a);
    vm_spec_free(b);
}

static void colours_are_taken_back_on_each_line(void **state)
{
    (void)state;
    struct vm_spec *a = a_spec(), *b = a_spec();
    b->vcpus = 2;
    cleanup_buf struct buf out = BUF_INIT(0);
    add_diff(&out, a, b, true);
    assert_non_null(strstr(buf_str(&out), "\033[31m-vcpus 1\033[0m\n\033[32m+vcpus 2\033[0m\n"));
    vm_spec_free(a);
    vm_spec_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_said_of_equal_specs),
        cmocka_unit_test(each_field_has_a_hunk_with_what_it_needs),
        cmocka_unit_test(of_a_list_only_the_entries_that_differ_are_shown),
        cmocka_unit_test(a_list_in_another_order_is_shown_whole),
        cmocka_unit_test(an_entry_that_is_only_added_is_a_hunk_of_no_old_lines),
        cmocka_unit_test(a_new_vm_is_shown_with_what_is_not_as_by_default),
        cmocka_unit_test(a_command_of_several_lines_is_compared_by_lines),
        cmocka_unit_test(of_an_edited_script_the_digests_are_shown),
        cmocka_unit_test(long_commands_are_replaced_as_a_whole),
        cmocka_unit_test(what_a_spec_holds_cannot_steer_the_terminal),
        cmocka_unit_test(colours_are_taken_back_on_each_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
