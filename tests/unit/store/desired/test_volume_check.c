/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/volume_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"

static struct spec_volume a_volume(const char *name, const char *mount)
{
    return (struct spec_volume){
        .name = mem_strdup(name), .size_gib = 2, .mount = mem_strdup(mount)};
}

static void add_volume(struct vm_spec *spec, const char *name, const char *mount)
{
    mem_grow(spec->volumes, spec->n_volumes);
    spec->volumes[spec->n_volumes++] = a_volume(name, mount);
}

static void add_disk(struct vm_spec *spec, const char *name)
{
    mem_grow(spec->disks, spec->n_disks);
    spec->disks[spec->n_disks++] = (struct spec_disk){.name = mem_strdup(name), .size_gib = 1};
}

static void add_share(struct vm_spec *spec, const char *guest)
{
    mem_grow(spec->shares, spec->n_shares);
    spec->shares[spec->n_shares++] = (struct spec_share){
        .host = mem_strdup("/"), .guest = mem_strdup(guest), .tag = share_default_tag(guest)};
}

static struct vm_spec *a_spec(void)
{
    struct vm_spec *spec = vm_spec_new("web");
    spec->ssh.is_set = true;
    return spec;
}

/* With "data" attached by hand, on /data. */
static struct vm_desired *a_vm(void)
{
    struct vm_desired *desired = vm_desired_new(a_spec(), 0);
    mem_grow(desired->volumes, desired->n_volumes);
    desired->volumes[desired->n_volumes++] = a_volume("data", "/data");
    return desired;
}

static enum error_code check_spec(const struct vm_desired *desired, struct vm_spec *spec_take)
{
    struct error err = {.code = ERR_NONE};
    int rc = volume_check_spec(desired, spec_take, &err);
    assert_int_equal(rc, -(int)err.code);
    vm_spec_free(spec_take);
    return err.code;
}

static enum error_code check_attach(
    const struct vm_desired *desired, const char *name, const char *mount)
{
    struct error err = {.code = ERR_NONE};
    struct spec_volume volume = a_volume(name, mount);
    int rc = volume_check_attach(NULL, desired, &volume, &err);
    assert_int_equal(rc, -(int)err.code);
    free(volume.name);
    free(volume.mount);
    return err.code;
}

static void a_name_belongs_to_one_disk(void **state)
{
    (void)state;
    struct vm_desired *desired = a_vm();
    struct vm_spec *spec = a_spec();
    add_disk(spec, "data");
    assert_int_equal(check_spec(desired, spec), ERR_VM_CONFLICT);
    spec = a_spec();
    add_disk(spec, "other");
    assert_int_equal(check_spec(desired, spec), ERR_NONE);
    add_disk(desired->spec, "scratch");
    assert_int_equal(check_attach(desired, "scratch", NULL), ERR_VM_CONFLICT);
    vm_desired_free(desired);
}

/* Of a record from before that was refused: the guest sees one device of the name. */
static void a_volume_that_a_disk_has_the_name_of_is_not_in_the_machine(void **state)
{
    (void)state;
    struct vm_desired *desired = a_vm();
    add_disk(desired->spec, "data");
    struct vm_spec *whole = vm_desired_attach(desired, desired->spec);
    assert_int_equal(whole->n_volumes, 0);
    vm_spec_free(whole);
    vm_desired_free(desired);
}

static void a_mount_point_belongs_to_one_volume_or_share(void **state)
{
    (void)state;
    struct vm_desired *desired = a_vm();
    assert_int_equal(check_attach(desired, "more", "/data"), ERR_VM_CONFLICT);
    add_volume(desired->spec, "logs", "/logs");
    add_share(desired->spec, "/work");
    assert_int_equal(check_attach(desired, "more", "/logs"), ERR_VM_CONFLICT);
    assert_int_equal(check_attach(desired, "more", "/work"), ERR_VM_CONFLICT);
    struct vm_spec *spec = a_spec();
    add_volume(spec, "more", "/data");
    assert_int_equal(check_spec(desired, spec), ERR_VM_CONFLICT);
    spec = a_spec();
    add_share(spec, "/data");
    assert_int_equal(check_spec(desired, spec), ERR_VM_CONFLICT);
    spec = a_spec();
    add_volume(spec, "more", NULL);
    add_volume(spec, "else", "/data/else");
    assert_int_equal(check_spec(desired, spec), ERR_NONE);
    vm_desired_free(desired);
}

/* It is the VMFile's from then on, with the mount point that it has there. */
static void what_is_attached_may_become_one_of_the_vmfile(void **state)
{
    (void)state;
    struct vm_desired *desired = a_vm();
    struct vm_spec *spec = a_spec();
    add_volume(spec, "data", "/srv");
    add_volume(spec, "more", "/data");
    assert_int_equal(check_spec(desired, spec), ERR_NONE);
    vm_desired_free(desired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_belongs_to_one_disk),
        cmocka_unit_test(a_volume_that_a_disk_has_the_name_of_is_not_in_the_machine),
        cmocka_unit_test(a_mount_point_belongs_to_one_volume_or_share),
        cmocka_unit_test(what_is_attached_may_become_one_of_the_vmfile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
