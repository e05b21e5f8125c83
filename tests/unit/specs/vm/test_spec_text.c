/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/spec_text.h"

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
#include "specs/vmfile/vmfile.h"

/* A VM in the words that spec_text_add_node() chooses. */
static const char *const nodes[] = {
    "image-url \"https://x.org/a.qcow2\" sha256="
    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
    "vcpus 2",
    "memory 2048",
    "max-vcpus 4",
    "max-memory 4096",
    "cpu-limit 1.5",
    "memory-limit 3072",
    "disk 20",
    "io-limit read=\"100M\" write=\"512K\" iops=500",
    "forward host=8080 guest=80",
    "forward host=5300 guest=53 proto=\"udp\"",
    "vnc port=5901 password-file=\"/vnc.pass\"",
    "cloud-init",
    "ssh { user \"debian\"; private-key \"/k\"; timeout 60 }",
    "provision \"shell\" run=\"once\" timeout=60 { inline \"say \\\"hi\\\"\" }",
    "provision \"shell\" {\n    inline \"\"\"\n        a\n\n          b\n        \"\"\"\n}",
    "provision \"shell\" {\n    inline #\"\"\"\n        a\\n\n        \"\"\"\n        \"\"\"#\n}",
    "provision \"shell\" per-vm=#true { script \"/s.sh\" }",
    "provision \"file\" { source \"/f\"; destination \"/etc/f\" }",
    "provision \"shell\" per-vm=#true {\n    inline \"x\"\n    env { A \"1\" }\n"
    "    secret \"TOKEN\" from-env=\"T\"\n}",
    "ready period=5 { exec \"true; false\"; http \"/x\" port=80; tcp 22 }",
    "live start-period=0 { tcp 80 }",
    "depends-on \"db\"",
    "label \"example.org/tier\" \"web\"",
    "label \"stage\" \"\"",
    "protect",
    "accel \"tcg\"",
    "machine \"q35\"",
    "firmware \"uefi\"",
    "restart \"always\"",
    "autostart #false",
    "warm \"disk\"",
    "stop-timeout 5",
};

static const struct vmfile_env env = {.path = "VMFile.kdl", .base_dir = "/p", .home = "/home/u"};

static struct vmfile *parse(const char *text)
{
    struct vmfile *file = vmfile_parse(text, strlen(text), &env);
    if (file->n_diagnostics > 0) {
        fail_msg("%s: %s", text, file->diagnostics[0].message);
    }
    return file;
}

/* Of a VMFile with all of them each node comes back as it was written, so a diff can be pasted. */
static void each_node_is_what_a_vmfile_has(void **state)
{
    (void)state;
    cleanup_buf struct buf text = BUF_INIT(0);
    buf_add_str(&text, "vm \"db\" { image \"/a\" }\nvm \"web\" {\n");
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        buf_printf(&text, "%s\n", nodes[i]);
    }
    buf_add_str(&text, "}\n");
    struct vmfile *file = parse(buf_str(&text));
    struct vm_spec *plain = vm_spec_new("web");
    struct spec_diff diff = spec_diff(plain, file->vms[1]);
    cleanup_buf struct buf all = BUF_INIT(0);
    for (size_t i = 0; i < diff.count; i++) {
        const json_t *value = diff.changes[i].after_value;
        size_t n = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t k = 0; k < n; k++) {
            buf_add_char(&all, '\n');
            spec_text_add_node(&all, diff.changes[i].field,
                json_is_array(value) ? json_array_get(value, k) : value);
        }
    }
    buf_add_char(&all, '\n');
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        cleanup_free char *line = mem_printf("\n%s\n", nodes[i]);
        if (!strstr(buf_str(&all), line)) {
            fail_msg("missing: %s\nin: %s", nodes[i], buf_str(&all));
        }
    }
    spec_diff_clear(&diff);
    vm_spec_free(plain);
    vmfile_free(file);
}

static void assert_change(const char *before, const char *after, const char *expected)
{
    struct vm_spec *specs[2];
    const char *const texts[] = {before, after};
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        cleanup_free char *text = mem_printf("vm \"web\" { image \"/a\"\n%s\n}", texts[i]);
        struct vmfile *file = parse(text);
        specs[i] = vm_spec_copy(file->vms[0]);
        vmfile_free(file);
    }
    struct spec_diff diff = spec_diff(specs[0], specs[1]);
    assert_int_equal(diff.count, 1);
    cleanup_free char *shown = mem_printf(
        "%s %s -> %s", diff.changes[0].field, diff.changes[0].before, diff.changes[0].after);
    assert_string_equal(shown, expected);
    spec_diff_clear(&diff);
    vm_spec_free(specs[0]);
    vm_spec_free(specs[1]);
}

static void a_change_is_shown_in_a_few_words(void **state)
{
    (void)state;
    assert_change("forward host=8080 guest=80",
        "forward host=8081 guest=80; forward host=53 guest=53 proto=\"udp\"",
        "forward 8080:80 -> 53:53/udp, 8081:80");
    assert_change("", "forward host=8080 guest=80", "forward (none) -> 8080:80");
    assert_change(
        "ssh { user \"a\" }", "ssh { user \"b\" }", "ssh { user \"a\" } -> { user \"b\" }");
    assert_change("", "ssh", "ssh (not set) -> { user \"vm\" }");
    assert_change("ssh", "ssh; ready { tcp 80 }", "ready (not set) -> { tcp 80 }");
    assert_change("ssh; provision \"shell\" { inline \"a\" }",
        "ssh; provision \"shell\" { inline \"a\" }; provision \"shell\" { inline \"b\" }",
        "provision 1 step -> 2 steps");
    assert_change("ssh; provision \"shell\" { inline \"a\" }; provision \"shell\" { inline \"b\" }",
        "ssh; provision \"shell\" { inline \"a\" }; provision \"shell\" { inline \"c\" }",
        "provision step 2 \"shell\" { inline \"b\" } -> \"shell\" { inline \"c\" }");
    assert_change("ssh; provision \"shell\" { inline \"a\" }; provision \"shell\" { inline \"b\" }",
        "ssh; provision \"shell\" { inline \"b\" }; provision \"shell\" { inline \"a\" }",
        "provision 2 steps -> 2 steps (changed)");
    assert_change("network \"user\" { host-services 80 }",
        "network \"user\" { host-services 80 81 }", "host-services 80 -> 80, 81");
    assert_change("ssh; provision \"shell\" { inline \"a\\nb\" }",
        "ssh; provision \"shell\" { inline \"c\"; secret \"T\" from-env=\"T\" }",
        "provision step 1 \"shell\" { inline \"\"\" a b \"\"\" } -> \"shell\" per-vm=#true { "
        "inline "
        "\"c\" }");
    assert_change(
        "ssh; provision \"shell\" { inline \"a\"; secret \"T\" from-env=\"T\"; secret \"U\" "
        "from-env=\"U\" }",
        "ssh; provision \"shell\" { inline \"a\"; secret \"T\" from-env=\"T\"; secret \"U\" "
        "from-env=\"V\"; env { A \"1\" } }",
        "provision step 1 secret \"U\" from-env=\"U\" -> env { A \"1\" } secret \"U\" "
        "from-env=\"V\"");
    assert_change("ssh; provision \"shell\" per-vm=#true { inline \"a\" }",
        "ssh; provision \"shell\" { inline \"a\"; secret \"T\" from-env=\"T\" }",
        "provision step 1 (none) -> secret \"T\" from-env=\"T\"");
    assert_change("", "vnc port=5901 password-file=\"/p\"",
        "vnc (not set) -> port=5901 password-file=\"/p\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_node_is_what_a_vmfile_has),
        cmocka_unit_test(a_change_is_shown_in_a_few_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
