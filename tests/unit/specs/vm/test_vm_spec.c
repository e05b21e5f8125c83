/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"

static void a_new_spec_has_every_default(void **state)
{
    (void)state;
    struct vm_spec *spec = vm_spec_new("web");
    assert_string_equal(spec->name, "web");
    assert_int_equal(spec->backend, BACKEND_QEMU);
    assert_null(spec->image.location);
    assert_int_equal(spec->vcpus, 1);
    assert_int_equal(spec->memory_mib, 1024);
    assert_int_equal(spec->disk_gib, 0);
    assert_int_equal(spec->network.mode, NETWORK_USER);
    assert_false(spec->cloud_init.is_set);
    assert_int_equal(spec->cloud_init.bus, SEED_SCSI);
    assert_int_equal(spec->cloud_init.on_error, SETUP_FAIL);
    assert_false(spec->ssh.is_set);
    assert_string_equal(spec->ssh.user, "vm");
    assert_int_equal(spec->accel, ACCEL_AUTO);
    assert_int_equal(spec->firmware, FIRMWARE_BIOS);
    assert_int_equal(spec->restart, RESTART_ON_FAILURE);
    assert_int_equal(spec->stop_timeout_s, 30);
    vm_spec_free(spec);
    vm_spec_free(NULL);
}

static void a_copy_shares_nothing_and_its_lists_can_grow(void **state)
{
    (void)state;
    struct vm_spec *spec = vm_spec_new("web");
    for (int i = 0; i < 3; i++) {
        mem_grow(spec->steps, spec->n_steps);
        spec->steps[spec->n_steps++] =
            (struct spec_step){.kind = STEP_INLINE, .command = mem_printf("step %d", i)};
    }
    struct vm_spec *copy = vm_spec_copy(spec);
    vm_spec_free(spec);
    mem_grow(copy->steps, copy->n_steps);
    copy->steps[copy->n_steps++] =
        (struct spec_step){.kind = STEP_INLINE, .command = mem_strdup("step 3")};
    mem_grow(copy->depends_on, copy->n_depends_on);
    copy->depends_on[copy->n_depends_on++] = mem_strdup("db");
    assert_string_equal(copy->name, "web");
    assert_string_equal(copy->steps[2].command, "step 2");
    assert_string_equal(copy->steps[3].command, "step 3");
    vm_spec_free(copy);
}

static void another_vm_of_its_settings_is_not_it(void **state)
{
    (void)state;
    struct vm_spec *spec = vm_spec_new("web");
    spec->is_protected = true;
    spec->network.mac = mem_strdup("52:54:00:12:34:56");
    spec->network.address = mem_strdup("10.20.30.40");
    spec->network.mode = NETWORK_PROJECT;
    vm_spec_leave_identity(spec);
    assert_false(spec->is_protected);
    assert_null(spec->network.mac);
    assert_null(spec->network.address);
    assert_int_equal(spec->network.mode, NETWORK_PROJECT);
    assert_string_equal(spec->name, "web");
    vm_spec_free(spec);
}

static void names_are_safe_as_directory_and_host_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "0", "web-1", "Web.example_2",
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz01234567890"};
    static const char *const bad[] = {"", ".", "..", "-a", "_a", ".a", "a/b", "a b", "a\n", "é",
        "a\x7f", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz012345678901"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(vm_spec_name_is_valid(good[i]));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(vm_spec_name_is_valid(bad[i]));
    }
    assert_false(vm_spec_name_is_valid(NULL));
}

static void ssh_is_expected_when_something_needs_it_and_a_network_allows_it(void **state)
{
    (void)state;
    struct vm_spec *spec = vm_spec_new("web");
    assert_false(vm_spec_expects_ssh(spec)); /* the book's minimal VM */
    spec->ssh.is_set = true;
    assert_true(vm_spec_expects_ssh(spec));
    spec->ssh.is_set = false;
    spec->cloud_init.is_set = true;
    assert_true(vm_spec_expects_ssh(spec));
    spec->network.mode = NETWORK_NONE;
    assert_false(vm_spec_expects_ssh(spec));
    spec->network.mode = NETWORK_TAP;
    spec->cloud_init.is_set = false;
    mem_grow(spec->steps, spec->n_steps);
    spec->steps[spec->n_steps++] = (struct spec_step){.command = mem_strdup("true")};
    assert_true(vm_spec_expects_ssh(spec));
    vm_spec_free(spec);
}

static void every_word_leads_back_to_its_value(void **state)
{
    (void)state;
    static const struct enum_names *const lists[] = {&backend_kind_words, &image_kind_words,
        &network_mode_words, &forward_protocol_words, &accel_mode_words, &firmware_words,
        &seed_bus_words, &setup_policy_words, &restart_policy_words, &step_kind_words,
        &step_run_words, &probe_kind_words, &check_kind_words};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (size_t value = 0; value < lists[i]->count; value++) {
            assert_int_equal(enum_names_find(lists[i], lists[i]->words[value]), (int)value);
        }
        assert_int_equal(enum_names_find(lists[i], "nonsense"), -1);
        assert_int_equal(enum_names_find(lists[i], NULL), -1);
    }
}

static void words_are_those_of_the_file_format(void **state)
{
    (void)state;
    assert_string_equal(backend_kind_name(BACKEND_QEMU), "qemu");
    assert_string_equal(backend_kind_name(BACKEND_PROPOLIS), "propolis");
    assert_string_equal(backend_kind_name(BACKEND_NOOP), "noop");
    assert_string_equal(image_kind_name(IMAGE_URL), "url");
    assert_string_equal(network_mode_name(NETWORK_USER), "user");
    assert_string_equal(network_mode_name(NETWORK_TAP), "tap");
    assert_string_equal(network_mode_name(NETWORK_VNIC), "vnic");
    assert_string_equal(network_mode_name(NETWORK_NONE), "none");
    assert_string_equal(forward_protocol_name(FORWARD_UDP), "udp");
    assert_string_equal(enum_names_at(&accel_mode_words, ACCEL_TCG), "tcg");
    assert_string_equal(enum_names_at(&firmware_words, FIRMWARE_UEFI), "uefi");
    assert_string_equal(enum_names_at(&seed_bus_words, SEED_IDE), "ide");
    assert_string_equal(enum_names_at(&setup_policy_words, SETUP_WARN), "warn");
    assert_string_equal(enum_names_at(&restart_policy_words, RESTART_ON_FAILURE), "on-failure");
    assert_string_equal(enum_names_at(&step_kind_words, STEP_SCRIPT), "script");
    assert_string_equal(enum_names_at(&step_run_words, RUN_ON_CHANGE), "on-change");
    assert_string_equal(enum_names_at(&probe_kind_words, PROBE_EXEC), "exec");
    assert_string_equal(check_kind_name(CHECK_LIVE), "live");
}

static const char *problem_of(enum secret_source source, const char *bytes, size_t n, size_t max)
{
    const struct spec_secret secret = {.source = source};
    struct buf value = BUF_INIT(max);
    (void)buf_add(&value, bytes, n);
    const char *problem = spec_secret_problem(&secret, &value);
    buf_wipe(&value);
    assert_null(value.data);
    return problem;
}

static void a_secret_is_neither_empty_nor_binary_nor_long(void **state)
{
    enum { MAX = SECRETS_MAX_BYTES, ROOM = MAX + 2 };
    cleanup_free char *text = mem_calloc(ROOM, 1);
    (void)state;
    memset(text, 'x', MAX);
    text[MAX] = '\r';
    text[MAX + 1] = '\n';
    assert_null(problem_of(SECRET_FROM_FILE, text, ROOM, ROOM));
    assert_non_null(problem_of(SECRET_FROM_FILE, text, ROOM, ROOM - 1)); /* it did not fit */
    assert_string_equal(problem_of(SECRET_FROM_ENV, text, ROOM, ROOM), "it has more than 64 KiB");
    assert_string_equal(problem_of(SECRET_FROM_COMMAND, "\n", 1, ROOM), "it is empty");
    assert_string_equal(problem_of(SECRET_FROM_COMMAND, "", 0, ROOM), "it is empty");
    assert_null(problem_of(SECRET_FROM_ENV, "\n", 1, ROOM)); /* its bytes are taken as they are */
    assert_string_equal(problem_of(SECRET_FROM_FILE, "a\0b", 3, ROOM), "it holds a NUL character");
}

/* Of a registry's index each processor has an image of its own; all other keys are as ever. */
static void the_record_of_an_image_is_of_its_processor(void **state)
{
    static const struct {
        char location[40];
        enum arch arch;
        const char *key;
    } cases[] = {
        {"oci://x/y:1", ARCH_HOST, "url:oci://x/y:1"},
        {"oci://x/y:1", ARCH_RISCV64, "url:oci://x/y:1 riscv64"},
        {"OCI://x/y:1", ARCH_RISCV64, "url:OCI://x/y:1 riscv64"},
        {"https://x/riscv64.qcow2", ARCH_RISCV64, "url:https://x/riscv64.qcow2"},
        {"debian:12", ARCH_RISCV64, "url:debian:12"}, /* names have it in them */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char location[40];
        (void)strcpy(location, cases[i].location);
        cleanup_free char *key = spec_image_record_key(
            &(struct spec_image){.location = location, .arch = cases[i].arch});
        assert_string_equal(key, cases[i].key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_spec_has_every_default),
        cmocka_unit_test(a_copy_shares_nothing_and_its_lists_can_grow),
        cmocka_unit_test(another_vm_of_its_settings_is_not_it),
        cmocka_unit_test(names_are_safe_as_directory_and_host_names),
        cmocka_unit_test(ssh_is_expected_when_something_needs_it_and_a_network_allows_it),
        cmocka_unit_test(every_word_leads_back_to_its_value),
        cmocka_unit_test(words_are_those_of_the_file_format),
        cmocka_unit_test(a_secret_is_neither_empty_nor_binary_nor_long),
        cmocka_unit_test(the_record_of_an_image_is_of_its_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
