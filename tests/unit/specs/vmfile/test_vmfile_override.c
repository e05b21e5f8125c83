/* SPDX-License-Identifier: MPL-2.0 */
/* Further VMFiles on the command line: what becomes of the fields of each, and where errors point.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile.h"

static const char base[] =
    "var \"mem\" default=512 env=\"MEM\"\n"
    "defaults { image \"base.img\"; label \"a\" \"1\" }\n"
    "template \"big\" { vcpus 4; max-vcpus 8 }\n"
    "vm \"web\" memory=\"${{ mem }}\" like=\"big\" { forward host=80 guest=80 }\n"
    "vm \"node\" count=2 { disk 10 }\n";

/* What it includes is the VMFile itself, and a file beside the override. */
static const char *read_include(void *context, const char *path, struct buf *ret)
{
    (void)context;
    if (text_eq(path, "/p/VMFile.kdl")) {
        (void)buf_add_str(ret, base);
        return NULL;
    }
    (void)buf_add_str(ret, "vm \"extra\" { image \"extra.img\" }\n");
    return text_eq(path, "/q/extra.kdl") ? NULL : "no readable file at";
}

static struct vmfile_env env_of(const struct vmfile_override *overrides, size_t count)
{
    return (struct vmfile_env){.path = "VMFile.kdl",
        .base_dir = "/p",
        .home = "/h",
        .read_include = read_include,
        .overrides = overrides,
        .n_overrides = count};
}

static struct vmfile_override override_of(const char *path, const char *text)
{
    return (struct vmfile_override){
        .path = path, .shown = path + 3, .base_dir = "/q", .text = text, .size = strlen(text)};
}

static struct vmfile *parse_with(const char *text)
{
    const struct vmfile_override override = override_of("/q/prod.kdl", text);
    const struct vmfile_env env = env_of(&override, 1);
    return vmfile_parse(base, strlen(base), &env);
}

static void a_single_value_of_the_later_counts_and_lists_append(void **state)
{
    (void)state;
    const struct vmfile_override overrides[] = {
        override_of("/q/prod.kdl", "var \"mem\" default=768\n"
                                   "defaults { image \"prod.img\"; label \"b\" \"2\" }\n"
                                   "template \"big\" { vcpus 6 }\n"
                                   "vm \"web\" { forward host=443 guest=443; disk 5 }\n"
                                   "vm \"node\" count=3\n"
                                   "vm \"cache\" vcpus=3\n"),
        override_of("/q/more.kdl", "vm \"web\" disk=7\nvm \"cache\" { vcpus 5 }\n"),
    };
    const struct vmfile_env env = env_of(overrides, 2);
    struct vmfile *file = vmfile_parse(base, strlen(base), &env);
    assert_int_equal(file->n_diagnostics, 0);
    assert_int_equal(file->n_vms, 5);
    const struct vm_spec *web = file->vms[0], *node = file->vms[3], *cache = file->vms[4];
    assert_string_equal(web->image.location, "/q/prod.img"); /* starts at the file that has it */
    assert_int_equal(web->memory_mib, 768);
    assert_int_equal(web->vcpus, 6);
    assert_int_equal(web->max_vcpus, 8);
    assert_int_equal(web->disk_gib, 7);
    assert_int_equal(web->network.n_forwards, 2);
    assert_int_equal(web->network.forwards[1].host_port, 443);
    assert_string_equal(web->labels[0].key, "a");
    assert_string_equal(web->labels[1].key, "b");
    assert_string_equal(node->name, "node-3");
    assert_int_equal(node->disk_gib, 10);
    assert_string_equal(cache->name, "cache");
    assert_int_equal(cache->vcpus, 5);
    /* What is printed stands alone, and means the same. */
    cleanup_buf struct buf out = BUF_INIT(0);
    vmfile_print(&out, base, strlen(base), NULL, &env);
    const struct vmfile_env plain = env_of(NULL, 0);
    struct vmfile *printed = vmfile_parse(buf_str(&out), out.len, &plain);
    assert_int_equal(printed->n_diagnostics, 0);
    for (size_t i = 0; i < file->n_vms; i++) {
        assert_true(vm_spec_equal(file->vms[i], printed->vms[i]));
    }
    vmfile_free(printed);
    vmfile_free(file);
}

static void a_field_is_one_in_whichever_form_it_is_written(void **state)
{
    (void)state;
    struct vmfile *file = parse_with("vm \"web\" { memory 64; image-url \"https://x/y\" }\n");
    assert_int_equal(file->n_diagnostics, 0);
    assert_int_equal(file->vms[0]->memory_mib, 64);
    assert_string_equal(file->vms[0]->image.location, "https://x/y");
    vmfile_free(file);
}

static void an_override_includes_files_of_its_own(void **state)
{
    (void)state;
    struct vmfile *file = parse_with("include \"extra.kdl\"\ninclude \"/p/VMFile.kdl\"\n");
    assert_int_equal(file->n_diagnostics, 0);
    assert_int_equal(file->n_vms, 4); /* a file counts once */
    assert_string_equal(file->vms[3]->image.location, "/q/extra.img");
    vmfile_free(file);
}

static void assert_refused(const char *text, unsigned line, const char *words)
{
    struct vmfile *file = parse_with(text);
    assert_int_equal(file->n_diagnostics, 1);
    assert_int_equal(file->diagnostics[0].pos.source, 1);
    assert_int_equal(file->diagnostics[0].pos.line, line);
    if (!strstr(file->diagnostics[0].message, words)) {
        fail_msg("'%s' has no '%s'", file->diagnostics[0].message, words);
    }
    vmfile_free(file);
}

static void an_error_points_into_the_file_where_the_text_stands(void **state)
{
    (void)state;
    const struct vmfile_override override = override_of("/q/prod.kdl", "vm \"web\" { memry 5 }\n");
    const struct vmfile_env env = env_of(&override, 1);
    struct vmfile *file = vmfile_parse(base, strlen(base), &env);
    cleanup_buf struct buf out = BUF_INIT(0);
    vmfile_render_diagnostics(&out, file, base, strlen(base), &env, false, 0);
    assert_string_equal(buf_str(&out),
        "error[vmctl::vmfile::validation]: unknown node `memry` in `vm`\n"
        "  --> prod.kdl:1:12\n"
        "   |\n"
        " 1 | vm \"web\" { memry 5 }\n"
        "   |            ^^^^^\n"
        "   = help: did you mean `memory`?\n");
    vmfile_free(file);
    assert_refused("\nvm \"web\" {", 2, "unclosed block");
    assert_refused("vm \"web\" { disk 1 }\nvm \"web\" { image \"i\" }\n", 2,
        "VM \"web\" is defined twice"); /* as in one file */
    assert_refused("vm \"web\" { disk 1; disk 2 }", 1, "`disk` occurs a second time");
    assert_refused("vm \"web\" \"x\"", 1, "`vm` has too many values");
    assert_refused("defaults \"x\" { disk 2 }", 1, "`defaults` has a block only");
    assert_refused("vm \"node-1\" { image \"i\" }", 1, "VM \"node-1\" is defined twice");
    assert_refused("vmm \"web\"", 1, "unknown node `vmm`");
}

static void a_file_is_given_once(void **state)
{
    (void)state;
    const struct vmfile_override override = override_of("/p/VMFile.kdl", base);
    const struct vmfile_env env = env_of(&override, 1);
    struct vmfile *file = vmfile_parse(base, strlen(base), &env);
    assert_int_equal(file->n_diagnostics, 1);
    assert_string_equal(
        file->diagnostics[0].message, "'VMFile.kdl' is read already: a file counts once");
    vmfile_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_value_of_the_later_counts_and_lists_append),
        cmocka_unit_test(a_field_is_one_in_whichever_form_it_is_written),
        cmocka_unit_test(an_override_includes_files_of_its_own),
        cmocka_unit_test(an_error_points_into_the_file_where_the_text_stands),
        cmocka_unit_test(a_file_is_given_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
