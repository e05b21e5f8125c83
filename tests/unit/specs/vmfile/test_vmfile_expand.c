/* SPDX-License-Identifier: MPL-2.0 */
/* Variables, defaults, templates and counts: what comes of them, and what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile.h"

#define IMAGE "image-url \"https://x/i\";"

static const char *environment(void *context, const char *name)
{
    (void)context;
    return text_eq(name, "TAG") ? "13" : text_eq(name, "EMPTY") ? "" : NULL;
}

/* The diagnostics, or else the VMs in KDL; `given` ends with NULL. */
static char *expand(const char *text, const char *const *given)
{
    cleanup_with(strings_clear) struct strings values = {.count = 0};
    for (; given && *given; given++) {
        strings_append(&values, *given);
    }
    const struct vmfile_env env = {.path = "VMFile.kdl",
        .base_dir = "/p",
        .home = "/h",
        .given = &values,
        .environment = environment};
    cleanup_buf struct buf out = BUF_INIT(0);
    struct vmfile *file = vmfile_parse(text, strlen(text), &env);
    for (size_t i = 0; i < file->n_diagnostics; i++) {
        const struct vmfile_diagnostic *d = &file->diagnostics[i];
        buf_printf(&out, "%u:%u %s%s%s\n", d->pos.line, d->pos.column, d->message,
            d->hint ? " | " : "", d->hint ? d->hint : "");
    }
    if (file->n_diagnostics == 0) {
        vmfile_print(&out, text, strlen(text), NULL, &env);
        /* What is printed is a VMFile that means the same. */
        const struct vmfile_env plain = {.path = "x", .base_dir = "/p", .home = "/h"};
        struct vmfile *printed = vmfile_parse(buf_str(&out), out.len, &plain);
        assert_int_equal(printed->n_diagnostics, 0);
        assert_int_equal(printed->n_vms, file->n_vms);
        for (size_t i = 0; i < file->n_vms; i++) {
            char digest[DIGEST_SIZE], again[DIGEST_SIZE];
            vm_spec_digest(file->vms[i], digest);
            vm_spec_digest(printed->vms[i], again);
            assert_string_equal(digest, again);
        }
        vmfile_free(printed);
    }
    vmfile_free(file);
    return buf_steal(&out);
}

struct expected {
    const char *text, *given[4], *result;
};

static void assert_expanded(const struct expected *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *found = expand(cases[i].text, cases[i].given);
        assert_string_equal(found, cases[i].result);
    }
}

static void a_variable_has_the_value_of_set_else_of_the_environment_else_its_default(void **state)
{
    static const struct expected cases[] = {
        {"var t default=\"12\"\nvm a { image-url \"https://x/${{ t }}\" }", {NULL},
            "vm a {\n    image-url \"https://x/12\"\n}\n"},
        {"var t default=\"12\" env=TAG\nvm a { image-url \"https://x/${{t}}-${{t}}\" }", {NULL},
            "vm a {\n    image-url \"https://x/13-13\"\n}\n"},
        {"var t default=\"12\" env=EMPTY\nvm a { image-url \"https://x/${{t}}\" }", {NULL},
            "vm a {\n    image-url \"https://x/12\"\n}\n"},
        {"var t env=TAG\nvm a { image-url \"https://x/${{t}}\" }", {"t=1", "t=2", "t=1"},
            "vm a {\n    image-url \"https://x/1\"\n}\n"},
        /* as a number, where a number belongs, and as a text where that does */
        {"var m default=512\nvm \"n${{m}}\" memory=\"${{m}}\" { " IMAGE " }", {NULL},
            "vm n512 memory=512 {\n    image-url \"https://x/i\"\n}\n"},
        {"var s default=0\nvm a { " IMAGE " stop-timeout \"${{s}}\" }", {NULL},
            "vm a {\n    image-url \"https://x/i\"\n    stop-timeout 0\n}\n"},
        {"var on default=#false\nvm a { " IMAGE " autostart \"${{on}}\" }", {NULL},
            "vm a {\n    image-url \"https://x/i\"\n    autostart #false\n}\n"},
    };
    (void)state;
    assert_expanded(cases, ARRAY_LEN(cases));
}

static void the_text_of_a_variable_can_be_had(void **state)
{
    (void)state;
    static const char text[] =
        "vm a { " IMAGE " ssh; provision shell { inline \"echo $${{ x }} ${y}\" } }";
    const struct vmfile_env env = {.path = "x", .base_dir = "/p", .home = "/h"};
    struct vmfile *file = vmfile_parse(text, strlen(text), &env);
    assert_int_equal(file->n_diagnostics, 0);
    assert_string_equal(file->vms[0]->steps[0].command, "echo ${{ x }} ${y}");
    vmfile_free(file);
    cleanup_free char *printed = expand(text, NULL); /* compares what comes of it, too */
    assert_non_null(strstr(printed, "echo $${{ x }} ${y}"));
}

static void a_use_that_has_no_value_is_an_error_where_it_stands(void **state)
{
    static const struct expected cases[] = {
        {"var tag default=1\nvm a {\n image-url \"https://x/${{ tage }}\" }", {NULL},
            "3:12 variable `tage` is not declared | did you mean `tag`?\n"},
        {"vm a { image-url \"${{ url }}\" }", {NULL},
            "1:18 variable `url` is not declared | declare it at the top: var \"name\" "
            "default=\"value\"; for the text itself write $${{\n"},
        {"var t env=EMPTY\nvm a { image-url \"https://x/${{t}}\" }", {NULL},
            "2:18 variable `t` has no value | --set t=VALUE, or set $EMPTY\n"},
        {"var t\nvm \"a-${{t}}\" { " IMAGE " }", {NULL},
            "2:4 variable `t` has no value | --set t=VALUE, or give it a default\n"},
        {"vm a { image-url \"https://x/${{ t\" }", {NULL},
            "1:18 variable `${{` is not closed by `}}` | for the text itself write $${{\n"},
        {"vm a { image-url \"https://x/${{ index }}\" }", {NULL},
            "1:18 variable `index` is not declared | it is known in a `vm` with `count`\n"},
        {"var index\nvar \"a b\"\nvar t default=1\nvar t\nvar v default=#null x=1\nvm a { " IMAGE
         " }",
            {NULL},
            "1:5 \"index\" cannot be the name of a variable | letters, digits, '_' and '-'; "
            "`index` "
            "is that of `count`\n"
            "2:5 \"a b\" cannot be the name of a variable | letters, digits, '_' and '-'; `index` "
            "is "
            "that of `count`\n"
            "4:5 variable `t` is declared twice\n"
            "5:15 `default` must be a string, a number or a boolean | write \"\" for an empty one\n"
            "5:21 unknown property `x` of `var` | known here: `default`, `env`\n"},
        {"vm a { " IMAGE " ssh }", {"t=1", "vm.b.memory=5", "vm.a.ssh.user=5"},
            "1:1 --set t: the file has no such variable | declare it at the top: var \"t\"\n"
            "1:1 --set vm.b.memory: the file has no such VM, or a VM no such field | write: "
            "--set vm.NAME.FIELD=VALUE, with a VM of the file\n"
            "1:1 --set vm.a.ssh.user: the file has no such VM, or a VM no such field | write: "
            "--set vm.NAME.FIELD=VALUE, with a VM of the file\n"},
        {"vm a { " IMAGE " }", {"vm.a=5"},
            "1:1 --set vm.a: the file has no such VM, or a VM no such field | write: "
            "--set vm.NAME.FIELD=VALUE, with a VM of the file\n"},
    };
    (void)state;
    assert_expanded(cases, ARRAY_LEN(cases));
}

static void the_most_specific_place_counts_and_lists_begin_with_the_defaults(void **state)
{
    static const struct expected cases[] = {
        {"defaults { " IMAGE " memory 1024; vcpus 2; ssh; provision shell { inline one } }\n"
         "template big { memory 4096; vcpus 4; provision shell { inline two } }\n"
         "vm a { memory 512; provision shell { inline three } }\nvm b like=big vcpus=8",
            {NULL},
            "vm a {\n    image-url \"https://x/i\"\n    vcpus 2\n    ssh\n    provision shell {\n"
            "        inline one\n    }\n    memory 512\n    provision shell {\n        inline "
            "three\n"
            "    }\n}\n"
            "vm b vcpus=8 {\n    image-url \"https://x/i\"\n    ssh\n    provision shell {\n"
            "        inline one\n    }\n    memory 4096\n    provision shell {\n        inline "
            "two\n"
            "    }\n}\n"},
        {"defaults { image-url \"https://x/d\" }\nvm a { image \"own.img\" }", {NULL},
            "vm a {\n    image own.img\n}\n"},
        {"vm a memory=512 { " IMAGE " vcpus 1 }",
            {"vm.a.memory=4G", "vm.a.vcpus=2", "vm.a.vcpus=3"},
            "vm a {\n    image-url \"https://x/i\"\n    vcpus 3\n    memory \"4G\"\n}\n"},
        {"template t { memory 1 }\nvm a like=u { " IMAGE " }", {NULL},
            "2:11 there is no template \"u\" | write it at the top: template \"u\" { vcpus 2 }\n"},
        {"defaults memory=1\ndefaults { }\ntemplate\ntemplate t x=1\ntemplate t\nvm a like=t "
         "{ " IMAGE " }",
            {NULL},
            "1:17 `defaults` has a block only | write its fields in a block: { memory 1024 }\n"
            "2:1 `defaults` occurs a second time | there is one block for all VMs\n"
            "3:1 `template` needs a value | write: template \"small\" { memory 1024 }\n"
            "4:14 `template` has a name and a block only | write its fields in a block: { memory "
            "1024 }\n"
            "5:10 template \"t\" occurs a second time\n"},
        /* what is wrong once is reported once, where it stands */
        {"defaults { " IMAGE " memry 1 }\nvm a\nvm b\n", {NULL},
            "1:37 unknown node `memry` in `vm` | did you mean `memory`?\n"},
        {"vm a like=t like=t { " IMAGE " like t }\ntemplate t", {NULL},
            "1:47 `like` occurs a second time\n"},
    };
    (void)state;
    assert_expanded(cases, ARRAY_LEN(cases));
}

static void a_count_makes_vms_with_a_number_each(void **state)
{
    static const struct expected cases[] = {
        {"vm n count=2 { " IMAGE " ssh; provision shell { inline \"echo ${{ index }}\" } }", {NULL},
            "vm n-1 {\n    image-url \"https://x/i\"\n    ssh\n    provision shell {\n        "
            "inline \"echo 1\"\n    }\n}\n"
            "vm n-2 {\n    image-url \"https://x/i\"\n    ssh\n    provision shell {\n        "
            "inline \"echo 2\"\n    }\n}\n"},
        {"var many default=1\nvm \"w${{index}}.x\" { count \"${{many}}\"; " IMAGE " }",
            {"many=2", "vm.w2.x.vcpus=3"},
            "vm w1.x {\n    image-url \"https://x/i\"\n}\n"
            "vm w2.x {\n    image-url \"https://x/i\"\n    vcpus 3\n}\n"},
        {"vm n count=0 { " IMAGE " }\nvm m count=2000 { " IMAGE " }", {NULL},
            "1:12 `count` must be a whole number from 1 to 1024, not 0\n"
            "2:12 `count` must be a whole number from 1 to 1024, not 2000\n"},
        {"vm n count=2 { " IMAGE " }\nvm n-2 { " IMAGE " }", {NULL},
            "2:4 VM \"n-2\" is defined twice: the first one is on line 1 | every VM of a file "
            "needs a name "
            "of its own\n"},
    };
    (void)state;
    assert_expanded(cases, ARRAY_LEN(cases));
}

/* A megabyte of openings, and a file that stands for more than may be. */
static void what_grows_beyond_bounds_ends_in_an_error(void **state)
{
    enum { MANY = 300000 };
    cleanup_buf struct buf openings = BUF_INIT(0), large = BUF_INIT(0);
    (void)state;
    buf_add_str(&openings, "vm a { image-url \"");
    for (int i = 0; i < MANY; i++) {
        buf_add_str(&openings, "${{");
    }
    buf_add_str(&openings, "\" }");
    cleanup_free char *unclosed = expand(buf_str(&openings), NULL);
    assert_string_equal(unclosed, "1:18 variable `${{` is not closed by `}}` | for the text itself "
                                  "write $${{\n");
    buf_add_str(&large, "var x default=\"");
    for (int i = 0; i < MANY; i++) {
        buf_add_char(&large, 'x');
    }
    buf_add_str(
        &large, "\"\nvm a count=1024 { " IMAGE " ssh; provision shell { inline \"${{x}}\" } }");
    cleanup_free char *found = expand(buf_str(&large), NULL);
    assert_string_equal(found, "2:74 with its variables, templates and counts the file is too "
                               "large | split the file\n");
    buf_reset(&large);
    buf_add_str(&large, "var x default=\"");
    for (int i = 0; i < MANY; i++) {
        buf_add_char(&large, 'x');
    }
    buf_add_str(&large, "\"\nvm a count=1024 { " IMAGE " label \"a\" \"");
    for (int i = 0; i < 60; i++) {
        buf_add_str(&large, "${{x}}");
    }
    buf_add_str(&large, "\" }");
    cleanup_free char *value = expand(buf_str(&large), NULL);
    assert_non_null(strstr(value, "the file is too large | split the file\n"));
    assert_int_equal(strchr(value, '\n')[1], '\0'); /* nothing else is said of it */
    cleanup_buf struct buf many = BUF_INIT(0);
    buf_add_str(&many, "vm a count=1024 { " IMAGE " ssh; ");
    for (int i = 0; i < 150; i++) {
        buf_add_str(&many, "provision shell { inline x }; ");
    }
    buf_add_str(&many, "}");
    cleanup_free char *nodes = expand(buf_str(&many), NULL);
    assert_non_null(strstr(nodes, "the file is too large | split the file\n"));
}

static void the_part_of_a_node_has_its_vms_without_the_node(void **state)
{
    static const char text[] = "var x default=b\n"
                               "defaults { node \"${{ x }}\"; memory 64 }\n"
                               "vm a { image \"/i\"; node local }\n"
                               "vm w count=2 { image \"/i-${{ index }}\" }\n"
                               "vm c node=c { image \"/i\" }\n";
    const struct vmfile_env env = {.path = "VMFile.kdl", .base_dir = "/p", .home = "/h"};
    cleanup_buf struct buf out = BUF_INIT(0), other = BUF_INIT(0);
    struct vmfile *file = vmfile_parse(text, strlen(text), &env);
    (void)state;
    assert_int_equal(file->n_diagnostics, 0);
    assert_null(file->places[0]);
    assert_string_equal(file->places[2], "b");
    vmfile_print(&out, text, strlen(text), "b", &env);
    assert_string_equal(buf_str(&out), "vm w-1 {\n    memory 64\n    image \"/i-1\"\n}\n"
                                       "vm w-2 {\n    memory 64\n    image \"/i-2\"\n}\n");
    vmfile_print(&other, text, strlen(text), "c", &env);
    assert_string_equal(buf_str(&other), "vm c {\n    memory 64\n    image \"/i\"\n}\n");
    vmfile_free(file);
}

static struct vmfile *parse_given(const char *text, const char *given)
{
    cleanup_with(strings_clear) struct strings values = {.count = 0};
    if (given) {
        strings_append(&values, given);
    }
    const struct vmfile_env env = {.path = "VMFile.kdl",
        .base_dir = "/p/folder",
        .home = "/h",
        .given = &values,
        .environment = environment};
    return vmfile_parse(text, strlen(text), &env);
}

static void outside_of_the_file_its_vms_have_its_project(void **state)
{
    static const char text[] =
        "project shop; vm a { image i; depends-on b; volume data; network project; cloud-init }\n"
        "vm b { image i; network project name=lan }";
    static const struct {
        const char *given, *a, *b, *volume, *project, *network;
    } rows[] = {
        {NULL, "shop/a", "shop/b", "shop/data", "shop", "shop-"},
        {"--project=job-1", "job-1/a", "job-1/b", "job-1/data", "job-1", "job-1-"},
        {"--project=", "a", "b", "data", "folder", "folder-"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct vmfile *file = parse_given(text, rows[i].given);
        assert_int_equal(file->n_diagnostics, 0);
        assert_string_equal(file->vms[0]->name, rows[i].a);
        assert_string_equal(file->vms[0]->depends_on[0], rows[i].b);
        assert_string_equal(file->vms[0]->volumes[0].name, rows[i].volume);
        assert_string_equal(file->vms[0]->network.project, rows[i].project);
        assert_true(text_starts_with(file->vms[0]->network.network, rows[i].network));
        assert_true(text_ends_with(file->vms[1]->network.network, ".lan"));
        vmfile_free(file);
    }
}

static void a_file_without_a_project_reads_as_before(void **state)
{
    char with[DIGEST_SIZE], without[DIGEST_SIZE];
    (void)state;
    struct vmfile *file =
        parse_given("vm a { image i; network project; volume v; cloud-init }", NULL);
    struct vmfile *none = parse_given(
        "project x; vm a { image i; network project; volume v; cloud-init }", "--project=");
    assert_null(file->project);
    assert_null(none->project);
    vm_spec_digest(file->vms[0], with);
    vm_spec_digest(none->vms[0], without);
    assert_string_equal(with, without);
    vmfile_free(file);
    vmfile_free(none);
}

static void a_project_is_printed_and_its_errors_stand_where_it_is(void **state)
{
    static const struct {
        const char *text, *given, *wanted;
    } rows[] = {
        {"project \"job-${{ t }}\"; var t default=7; vm a { " IMAGE " }", NULL,
            "project job-7\nvm a {\n    image-url \"https://x/i\"\n}\n"},
        {"project x; vm a { " IMAGE " }", "--project=y",
            "project y\nvm a {\n    image-url \"https://x/i\"\n}\n"},
        {"vm a { " IMAGE " }\nproject \"Shop\"", NULL,
            "2:9 \"Shop\" cannot be the name of a project | lower-case letters, digits and '-', a "
            "letter or digit first and last, at most 63 characters\n"},
        {"project local; vm a { " IMAGE " }", NULL,
            "1:9 \"local\" cannot be the name of a project | lower-case letters, digits and '-', a "
            "letter or digit first and last, at most 63 characters\n"},
        {"project a; project b; vm a { " IMAGE " }", NULL, "1:12 `project` occurs a second time\n"},
        {"project; vm a { " IMAGE " }", NULL,
            "1:1 `project` needs a value | write: project \"shop\"\n"},
        {"project 3; vm a { " IMAGE " }", NULL,
            "1:9 `project` must be a string, not a number | put it into quotes\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *given[] = {rows[i].given, NULL};
        cleanup_free char *found = expand(rows[i].text, given);
        assert_string_equal(found, rows[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_variable_has_the_value_of_set_else_of_the_environment_else_its_default),
        cmocka_unit_test(the_text_of_a_variable_can_be_had),
        cmocka_unit_test(outside_of_the_file_its_vms_have_its_project),
        cmocka_unit_test(a_file_without_a_project_reads_as_before),
        cmocka_unit_test(a_project_is_printed_and_its_errors_stand_where_it_is),
        cmocka_unit_test(a_use_that_has_no_value_is_an_error_where_it_stands),
        cmocka_unit_test(the_most_specific_place_counts_and_lists_begin_with_the_defaults),
        cmocka_unit_test(a_count_makes_vms_with_a_number_each),
        cmocka_unit_test(the_part_of_a_node_has_its_vms_without_the_node),
        cmocka_unit_test(what_grows_beyond_bounds_ends_in_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
