/* SPDX-License-Identifier: MPL-2.0 */
/* `include`: what comes of it, where its errors point to, and its bounds. */
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
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile.h"

struct file {
    const char *path, *text;
};

static const char *read_include(void *context, const char *path, struct buf *ret)
{
    for (const struct file *file = context; file->path; file++) {
        if (text_eq(file->path, path)) {
            (void)buf_add_str(ret, file->text);
            return NULL;
        }
    }
    if (strstr(path, "/deep/")) { /* each includes the next */
        buf_printf(ret, "include \"%d.kdl\"", atoi(strrchr(path, '/') + 1) + 1);
        return NULL;
    }
    return "no readable file at";
}

static const char *file_problem(void *context, const char *path, bool is_directory)
{
    (void)is_directory;
    (void)context;
    return strstr(path, "missing") ? "no readable file at" : NULL;
}

static struct vmfile_env env_of(const struct file *files)
{
    return (struct vmfile_env){.path = "VMFile.kdl",
        .base_dir = "/p",
        .home = "/h",
        .file_problem = file_problem,
        .read_include = read_include,
        .context = (void *)(uintptr_t)files};
}

/* As it is called from the directory above. */
static void a_circle_is_found_whatever_the_vmfile_is_called(void **state)
{
    static const struct file files[] = {{"/p/VMFile.kdl", "include \"a.kdl\""},
        {"/p/a.kdl", "include \"VMFile.kdl\""}, {NULL, NULL}};
    struct vmfile_env env = env_of(files);
    (void)state;
    env.path = "p/VMFile.kdl";
    struct vmfile *file = vmfile_parse(files[0].text, strlen(files[0].text), &env);
    assert_string_equal(file->diagnostics[0].message,
        "`include` forms a cycle: /p/VMFile.kdl -> /p/a.kdl -> /p/VMFile.kdl");
    vmfile_free(file);
}

static struct vmfile *parse(const char *text, const struct file *files)
{
    const struct vmfile_env env = env_of(files);
    return vmfile_parse(text, strlen(text), &env);
}

static void what_is_included_counts_as_if_it_stood_there(void **state)
{
    static const struct file files[] = {
        {"/p/lib/common.kdl",
            "var \"mem\" default=512\ndefaults { image \"base.img\"; memory \"${{ mem }}\" }\n"
            "include \"../more.kdl\"\n"},
        {"/p/more.kdl",
            "template \"big\" { vcpus 4 }\nvm \"db\" { ssh; provision \"shell\" { script "
            "\"x.sh\" } }\n"},
        {NULL, NULL}};
    static const char text[] =
        "include \"lib/common.kdl\"\ninclude \"more.kdl\"\nvm \"web\" like=\"big\" { "
        "ssh { private-key \"key\" } }\n";
    (void)state;
    struct vmfile *file = parse(text, files);
    assert_int_equal(file->n_diagnostics, 0);
    assert_int_equal(file->n_vms, 2); /* a file counts once */
    assert_string_equal(file->vms[0]->name, "db");
    assert_string_equal(file->vms[0]->steps[0].file.path, "/p/x.sh");
    /* relative paths start at the file they stand in */
    assert_string_equal(file->vms[1]->image.location, "/p/lib/base.img");
    assert_string_equal(file->vms[1]->ssh.private_key, "/p/key");
    assert_int_equal(file->vms[1]->memory_mib, 512);
    assert_int_equal(file->vms[1]->vcpus, 4);
    assert_int_equal(file->n_sources, 3);
    assert_string_equal(file->sources[1].path, "/p/lib/common.kdl");
    /* What is printed stands alone, and means the same. */
    cleanup_buf struct buf out = BUF_INIT(0);
    const struct vmfile_env env = env_of(files);
    vmfile_print(&out, text, strlen(text), NULL, &env);
    struct vmfile *printed = parse(buf_str(&out), (const struct file[]){{NULL, NULL}});
    assert_int_equal(printed->n_diagnostics, 0);
    for (size_t i = 0; i < file->n_vms; i++) {
        assert_true(vm_spec_equal(file->vms[i], printed->vms[i]));
    }
    vmfile_free(printed);
    vmfile_free(file);
}

/* Each node and property of an included file that names something on the host. */
static void every_path_of_an_included_file_is_printed_as_it_is_meant(void **state)
{
    static const char all[] =
        "vm \"web\" {\n"
        "  image \"i.qcow2\"\n"
        "  share \"src\" \"/work\" tag=\"src\"\n"
        "  share \".\" \"/all\" { readonly #true }\n"
        "  disk \"d\" file=\"d.img\" readonly=#true\n"
        "  disk \"e\" { file \"e.img\"; readonly #true }\n"
        "  forward socket=\"d.sock\" guest=\"/run/d.sock\"\n"
        "  forward { socket \"e.sock\"; guest \"/run/e.sock\"; direction \"to-host\" }\n"
        "  vnc port=5901 password-file=\"pass\"\n"
        "  cloud-init { ssh-key \"k.pub\"; user-data \"u\" raw=#false; user-data \"w\" raw=#false; "
        "vendor-data \"v\"; network-config \"n\" }\n"
        "  ssh private-key=\"k\"\n"
        "  provision \"shell\" { script \"s\"; secret \"A\" from-file=\"a\" }\n"
        "  provision \"file\" { source \"f\"; destination \"/f\" }\n"
        "}\n";
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        cleanup_free char *rest = mem_strdup(strchr(all, '\n'));
        cleanup_free char *text = i == 0   ? mem_strdup(all)
                                  : i == 1 ? mem_printf("defaults {%s", rest)
                                           : mem_printf("template \"t\" {%s", rest);
        const struct file files[] = {{"/p/lib/a.kdl", text}, {NULL, NULL}};
        const char *root = i == 0   ? "include \"lib/a.kdl\""
                           : i == 1 ? "include \"lib/a.kdl\"\nvm \"web\" {}"
                                    : "include \"lib/a.kdl\"\nvm \"web\" like=\"t\" {}";
        struct vmfile *file = parse(root, files);
        assert_int_equal(file->n_diagnostics, 0);
        json_t *json = vm_spec_to_json(file->vms[0]);
        cleanup_free char *spec = json_dumps(json, JSON_COMPACT);
        json_decref(json);
        size_t n = 0;
        for (const char *at = spec; (at = strstr(at, "\"/p/lib")); at++) {
            n++;
        }
        assert_int_equal(n, 17);
        cleanup_buf struct buf out = BUF_INIT(0);
        const struct vmfile_env env = env_of(files);
        vmfile_print(&out, root, strlen(root), NULL, &env);
        struct vmfile *printed = parse(buf_str(&out), (const struct file[]){{NULL, NULL}});
        assert_int_equal(printed->n_diagnostics, 0);
        assert_true(vm_spec_equal(file->vms[0], printed->vms[0]));
        vmfile_free(printed);
        vmfile_free(file);
    }
}

static void assert_shown(const char *text, const struct file *files, const char *expected)
{
    struct vmfile *file = parse(text, files);
    const struct vmfile_env env = env_of(files);
    cleanup_buf struct buf out = BUF_INIT(0);
    vmfile_render_diagnostics(&out, file, text, strlen(text), &env, false, 0);
    assert_string_equal(buf_str(&out), expected);
    vmfile_free(file);
}

static void an_error_points_into_the_file_where_the_text_stands(void **state)
{
    static const struct file files[] = {{"/p/a.kdl", "\ninclude \"b.kdl\""},
        {"/p/b.kdl", "defaults { memry 5 }"}, {"/p/broken.kdl", "vm \"x\" {\n"}, {NULL, NULL}};
    (void)state;
    assert_shown("include \"a.kdl\"\nvm \"x\" { image-url \"https://x/y\" }\n", files,
        "error[vmctl::vmfile::validation]: unknown node `memry` in `vm`\n"
        "  --> /p/b.kdl:1:12\n"
        "   |\n"
        " 1 | defaults { memry 5 }\n"
        "   |            ^^^^^\n"
        "   = help: did you mean `memory`?\n"
        "   = included from /p/a.kdl:2:9\n"
        "   = included from VMFile.kdl:1:9\n");
    assert_shown("include \"broken.kdl\"\nvm \"y\" { image-url \"https://x/y\" }\n", files,
        "error[vmctl::vmfile::parse_failed]: unclosed block: '}' is missing\n"
        "  --> /p/broken.kdl:1:8\n"
        "   |\n"
        " 1 | vm \"x\" {\n"
        "   |        ^\n"
        "   = help: check the VMFile's syntax; see https://kdl.dev\n"
        "   = included from VMFile.kdl:1:9\n");
}

static void assert_refused(const char *text, const struct file *files, const char *words)
{
    struct vmfile *file = parse(text, files);
    assert_true(file->n_diagnostics > 0);
    if (!strstr(file->diagnostics[0].message, words)) {
        fail_msg("'%s' has no '%s'", file->diagnostics[0].message, words);
    }
    vmfile_free(file);
}

static void circles_depth_and_size_are_bounded(void **state)
{
    char *large = mem_calloc(1, (600 << 10) + 1);
    memset(large, ' ', 600 << 10);
    const struct file files[] = {{"/p/a.kdl", "include \"./b.kdl\""},
        {"/p/b.kdl", "include \"../p/a.kdl\""}, {"/p/self.kdl", "include \"VMFile.kdl\""},
        {"/p/large1.kdl", large}, {"/p/large2.kdl", large}, {NULL, NULL}};
    (void)state;
#define VM "vm \"x\" { image-url \"https://x/y\" }\n"
    assert_refused(
        VM "include \"a.kdl\"", files, "`include` forms a cycle: /p/a.kdl -> /p/b.kdl -> /p/a.kdl");
    assert_refused(VM "include \"self.kdl\"", files,
        "`include` forms a cycle: /p/VMFile.kdl -> /p/self.kdl -> /p/VMFile.kdl");
    assert_refused(VM "include \"deep/1.kdl\"", files, "more than 8 files include each other");
    assert_refused(VM "include \"large1.kdl\"; include \"large2.kdl\"", files,
        "all files together are larger than 1 MiB with '/p/large2.kdl'");
    assert_refused(VM "include \"missing.kdl\"", files, "no readable file at '/p/missing.kdl'");
    assert_refused(VM "include", files, "`include` needs a value");
    assert_refused(VM "include \"a\" { x }", files, "`include` has no block");
    assert_refused("var \"v\" default=1\n" VM "include \"${{ v }}.kdl\"", files,
        "variables are not known in `include`");
    assert_refused(
        "vm \"x\" { image \"i\"; include \"a.kdl\" }", files, "unknown node `include` in `vm`");
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_included_counts_as_if_it_stood_there),
        cmocka_unit_test(every_path_of_an_included_file_is_printed_as_it_is_meant),
        cmocka_unit_test(an_error_points_into_the_file_where_the_text_stands),
        cmocka_unit_test(a_circle_is_found_whatever_the_vmfile_is_called),
        cmocka_unit_test(circles_depth_and_size_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
