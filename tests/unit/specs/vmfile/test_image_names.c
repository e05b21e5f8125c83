/* SPDX-License-Identifier: MPL-2.0 */
/* Images by name: catalogues, and what a VM begins with that has one. */
#include "specs/vmfile/image_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile.h"

#define WHERE "url \"https://x/d.img\"; sums \"https://x/SUMS\""
/* Both kinds of processor, so that the tests pass on either. */
#define BOTH(names, fields)                                                                        \
    "image " names " { " fields " }\nimage " names " { arch \"aarch64\"; " fields " }\n"

static const char catalogue[] = BOTH("\"tiny:1\" \"tiny\"", WHERE
    "; user \"tiny\"; firmware \"uefi\"; seed \"virtio\"; about \"Tiny\"") BOTH("\"bare\"", WHERE);

static int add(struct image_names *names, const char *text, bool is_own, struct error *err)
{
    return image_names_add(names, text, strlen(text), "images.kdl", is_own, err);
}

static void an_entry_of_the_users_replaces_the_one_of_the_same_name(void **state)
{
    (void)state;
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    struct error err = {.code = ERR_NONE};
    assert_int_equal(add(&names, catalogue, false, &err), 0);
    assert_int_equal(names.count, 4);
    assert_string_equal(image_names_find(&names, "tiny")->names.items[0], "tiny:1");
    assert_int_equal(add(&names,
                         BOTH("\"tiny:1\"", "url \"https://own/d.img\"; sums \"https://own/S\"")
                             BOTH("\"mine\" \"tiny\"", WHERE),
                         true, &err),
        0);
    assert_int_equal(names.count, 6);
    assert_string_equal(image_names_find(&names, "tiny:1")->url, "https://own/d.img");
    assert_true(image_names_find(&names, "tiny:1")->is_own);
    assert_string_equal(image_names_find(&names, "tiny")->names.items[0], "mine");
    assert_null(image_names_find(&names, "Tiny:1"));
}

static void entries_that_no_vm_can_have_are_left_out(void **state)
{
    (void)state;
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    struct error err = {.code = ERR_NONE};
    assert_int_equal(add(&names, "image \"a\" { arch \"pdp11\"; " WHERE " }", false, &err), 0);
    assert_int_equal(names.count, 0);
}

static void a_vm_of_another_processor_takes_its_entry(void **state)
{
    (void)state;
    const bool is_arm = !arch_is_foreign(ARCH_AARCH64);
    const enum arch foreign = is_arm ? ARCH_X86_64 : ARCH_AARCH64;
    const char *name = is_arm ? "tiny:1+x86_64" : "tiny:1+aarch64";
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    struct error err = {.code = ERR_NONE};
    assert_int_equal(add(&names, catalogue, false, &err), 0);
    const struct named_image *image = image_names_find_for(&names, "tiny", foreign);
    assert_non_null(image);
    assert_string_equal(image->names.items[0], name);
    assert_ptr_equal(image_names_find_for(&names, name, foreign), image);
    assert_ptr_equal(
        image_names_find_for(&names, "tiny", ARCH_HOST), image_names_find(&names, "tiny"));
    struct vm_spec *spec = vm_spec_new("web");
    named_image_apply(image, spec);
    assert_int_equal(spec->image.arch, foreign);
    assert_string_equal(spec->image.location, name);
    vm_spec_free(spec);
}

static void what_is_wrong_with_a_catalogue_is_said_with_its_place(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"image \"a\" {", "images.kdl:1:"},
        {"image \"a\" { url \"https://x/d\" }", "1:1: `image` needs both `url` and `sums`"},
        {"image \"a\" { " WHERE "; usr \"x\" }", "unknown node `usr`"},
        {"image \"a/b\" { " WHERE " }", "\"a/b\" cannot be the name of an image"},
        {"image { " WHERE " }", "`image` needs a value"},
        {"\n vm \"x\"", "2:2: unknown node `vm`"},
        {"image \"a\" { url \"file:///x\"; sums \"https://x/s\" }", "it must be http or https"},
        {"image \"a\" { " WHERE "; seed \"usb\" }", "`seed` must be"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_with(image_names_clear) struct image_names names = {.count = 0};
        struct error err = {.code = ERR_NONE};
        assert_int_equal(add(&names, rows[i].text, true, &err), -ERR_VMFILE_INVALID);
        if (!strstr(err.message, rows[i].message)) {
            fail_msg("'%s' has no '%s'", err.message, rows[i].message);
        }
    }
}

/* ---- in a VMFile ---- */

static const struct image_names *image_names(void *context, struct error *err)
{
    if (!context) {
        (void)error_set(err, ERR_VMFILE_INVALID, "the catalogue is broken");
    }
    return context;
}

static const char *file_problem(void *context, const char *path, bool is_directory)
{
    (void)is_directory;
    (void)context;
    return text_eq(path, "/p/bare") || text_eq(path, "/p/disk.img") ? NULL : "no readable file at";
}

static struct vmfile *parse(const char *text, struct image_names *names)
{
    const struct vmfile_env env = {.path = "VMFile.kdl",
        .base_dir = "/p",
        .home = "/h",
        .file_problem = file_problem,
        .image_names = image_names,
        .context = names};
    return vmfile_parse(text, strlen(text), &env);
}

static void a_vm_with_an_image_by_name_begins_with_its_entry(void **state)
{
    (void)state;
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    struct error err = {.code = ERR_NONE};
    assert_int_equal(add(&names, catalogue, false, &err), 0);
    struct vmfile *file = parse("vm \"a\" { ssh; cloud-init; image \"tiny\" }\n"
                                "vm \"b\" { firmware \"bios\"; cloud-init seed=\"ide\"; image "
                                "\"tiny:1\"; ssh { user \"me\" } }\n"
                                "vm \"c\" { image \"bare\" }\nvm \"d\" { image \"./disk.img\" }",
        &names);
    assert_int_equal(file->n_diagnostics, 0);
    const struct vm_spec *a = file->vms[0], *b = file->vms[1], *c = file->vms[2];
    assert_int_equal(a->image.kind, IMAGE_NAME);
    assert_string_equal(a->image.location, "tiny:1");
    assert_string_equal(a->ssh.user, "tiny");
    assert_int_equal(a->firmware, FIRMWARE_UEFI);
    assert_int_equal(a->cloud_init.bus, SEED_VIRTIO);
    assert_string_equal(b->ssh.user, "me");
    assert_int_equal(b->firmware, FIRMWARE_BIOS);
    assert_int_equal(b->cloud_init.bus, SEED_IDE);
    assert_int_equal(c->image.kind, IMAGE_FILE); /* a file of that name counts */
    assert_string_equal(c->image.location, "/p/bare");
    assert_string_equal(file->vms[3]->image.location, "/p/disk.img");
    vmfile_free(file);
}

static void assert_wrong(const char *text, struct image_names *names, const char *words)
{
    struct vmfile *file = parse(text, names);
    assert_int_equal(file->n_diagnostics, 1);
    cleanup_buf struct buf said = BUF_INIT(0);
    const char *hint = file->diagnostics[0].hint;
    buf_printf(&said, "%s | %s", file->diagnostics[0].message, hint ? hint : "");
    if (!strstr(buf_str(&said), words)) {
        fail_msg("'%s' has no '%s'", buf_str(&said), words);
    }
    vmfile_free(file);
}

static void a_name_that_is_not_in_the_catalogue_is_an_error_with_the_nearest(void **state)
{
    (void)state;
    cleanup_with(image_names_clear) struct image_names names = {.count = 0};
    struct error err = {.code = ERR_NONE};
    assert_int_equal(add(&names, catalogue, false, &err), 0);
    assert_wrong("vm \"a\" { image \"tniy:1\" }", &names, "| did you mean `tiny:1`?");
    assert_wrong("vm \"a\" { image \"debian:12\" }", &names, "| see what there is: vmctl image");
    assert_wrong(
        "vm \"a\" { image \"disk.qcow2\" }", &names, "no readable file at '/p/disk.qcow2'");
    assert_wrong("vm \"a\" { image \"tiny:1\"; image-url \"https://x/y\" }", &names, "has both");
    assert_wrong("vm \"a\" { image \"tiny:1\" }", NULL, "the catalogue is broken");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_of_the_users_replaces_the_one_of_the_same_name),
        cmocka_unit_test(entries_that_no_vm_can_have_are_left_out),
        cmocka_unit_test(a_vm_of_another_processor_takes_its_entry),
        cmocka_unit_test(what_is_wrong_with_a_catalogue_is_said_with_its_place),
        cmocka_unit_test(a_vm_with_an_image_by_name_begins_with_its_entry),
        cmocka_unit_test(a_name_that_is_not_in_the_catalogue_is_an_error_with_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
