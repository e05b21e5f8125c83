/* SPDX-License-Identifier: MPL-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/record_json.h"

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

/* Every field set, none to its default: as JSON in canonical order. */
static const char full[] =
    "{\"accel\":\"tcg\",\"backend\":\"noop\",\"cloudInit\":{\"hostname\":\"h\",\"isSet\":true,"
    "\"onError\":\"warn\",\"seedBus\":\"ide\",\"sshKey\":{\"digest\":\"aa\",\"path\":\"/k.pub\"},"
    "\"userData\":{\"digest\":\"bb\",\"path\":\"/u\"}},\"dependsOn\":[\"cache\",\"db\"],"
    "\"diskGib\":20,\"firmware\":\"uefi\",\"image\":{\"kind\":\"url\",\"location\":\"https://x\","
    "\"sha256\":\"cc\"},\"live\":{\"failures\":9,\"periodSeconds\":8,\"probes\":[{\"kind\":"
    "\"tcp\",\"port\":22}],\"startPeriodSeconds\":0,\"timeoutSeconds\":3},\"maxMemoryMib\":4096,"
    "\"maxVcpus\":8,\"memoryMib\":2048,\"name\":\"web\",\"network\":{\"bridge\":\"br1\","
    "\"forwards\":[{\"guestPort\":80,\"hostPort\":8080,\"protocol\":\"udp\"}],\"mode\":\"tap\","
    "\"vnic\":\"vnic0\"},\"provision\":[{\"command\":\"true\",\"kind\":\"inline\",\"run\":\"once\","
    "\"timeoutSeconds\":5},{\"file\":{\"digest\":\"dd\",\"path\":\"/s\"},\"kind\":\"script\","
    "\"run\":\"always\",\"timeoutSeconds\":0},{\"destination\":\"/d\",\"file\":{\"digest\":\"\","
    "\"path\":\"/f\"},\"kind\":\"file\",\"run\":\"on-change\",\"timeoutSeconds\":0}],"
    "\"ready\":{\"failures\":2,\"periodSeconds\":7,\"probes\":[{\"kind\":\"exec\",\"port\":0,"
    "\"text\":\"c\"},{\"kind\":\"http\",\"port\":81,\"text\":\"/z\"},{\"kind\":\"tcp\","
    "\"port\":80}],\"timeoutSeconds\":4},\"restart\":\"never\","
    "\"ssh\":{\"isSet\":true,\"privateKey\":\"/k\",\"user\":\"me\"},\"stopTimeoutSeconds\":7,"
    "\"vcpus\":4}";

static void every_field_survives_the_way_through_json(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = parse(full);
    struct vm_spec *spec = vm_spec_from_json(json, &err);
    assert_non_null(spec);
    struct vm_spec *copy = vm_spec_copy(spec);
    cleanup_json json_t *again = vm_spec_to_json(copy);
    cleanup_free char *text = json_canonical(again);
    assert_string_equal(text, full);
    assert_int_equal(spec->network.forwards[0].host_port, 8080);
    assert_string_equal(spec->cloud_init.user_data.digest, "bb");
    vm_spec_free(copy);
    vm_spec_free(spec);
}

static void a_record_with_only_a_name_has_the_defaults(void **state)
{
    (void)state;
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = parse("{\"name\":\"a\",\"of a later version\":{}}");
    struct vm_spec *read = vm_spec_from_json(json, &err);
    struct vm_spec *fresh = vm_spec_new("a");
    char read_digest[DIGEST_SIZE], fresh_digest[DIGEST_SIZE];
    vm_spec_digest(read, read_digest);
    vm_spec_digest(fresh, fresh_digest);
    assert_string_equal(read_digest, fresh_digest);
    vm_spec_free(read);
    vm_spec_free(fresh);
}

static void assert_refused(const char *text, const char *message)
{
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *json = parse(text);
    assert_null(vm_spec_from_json(json, &err));
    assert_int_equal(err.code, ERR_STORE);
    assert_string_equal(err.message, message);
}

static void what_cannot_be_represented_is_an_error_that_names_it(void **state)
{
    (void)state;
    assert_refused("{}", "spec of a VM: name '' is not valid");
    assert_refused("{\"name\":\"../etc\"}", "spec of a VM: name '../etc' is not valid");
    assert_refused("{\"name\":\"a\",\"accel\":\"hvf\"}",
        "spec of VM 'a': accel 'hvf' is not known to this version");
    assert_refused("{\"name\":\"a\",\"network\":{\"mode\":\"mesh\"}}",
        "spec of VM 'a': mode 'mesh' is not known to this version");
    assert_refused("{\"name\":\"a\",\"vcpus\":-1}", "spec of VM 'a': vcpus -1 is out of range");
    assert_refused("{\"name\":\"a\",\"memoryMib\":4294967296}",
        "spec of VM 'a': memoryMib 4294967296 is out of range");
    assert_refused("{\"name\":\"a\",\"network\":{\"forwards\":[{\"hostPort\":65536}]}}",
        "spec of VM 'a': hostPort 65536 is out of range");
    assert_refused("{\"name\":\"a\",\"provision\":[{\"kind\":\"inline\"}]}",
        "spec of VM 'a': command is missing");
    assert_refused("{\"name\":\"a\",\"provision\":[{\"kind\":\"script\"}]}",
        "spec of VM 'a': a provision step has no file");
}

static void the_first_of_several_errors_is_told(void **state)
{
    (void)state;
    assert_refused("{\"name\":\"a\",\"vcpus\":-1,\"accel\":\"hvf\"}",
        "spec of VM 'a': vcpus -1 is out of range");
}

static void add_forward(struct vm_spec *spec, uint16_t host_port)
{
    mem_grow(spec->network.forwards, spec->network.n_forwards);
    spec->network.forwards[spec->network.n_forwards++] =
        (struct spec_forward){.host_port = host_port, .guest_port = 80};
}

static void the_digest_is_of_the_canonical_json_and_blind_to_the_order_of_sets(void **state)
{
    (void)state;
    struct vm_spec *a = vm_spec_new("a"), *b = vm_spec_new("a");
    add_forward(a, 1);
    add_forward(a, 2);
    add_forward(b, 2);
    add_forward(b, 1);
    char digest[DIGEST_SIZE], other[DIGEST_SIZE];
    vm_spec_digest(a, digest);
    vm_spec_digest(b, other);
    assert_string_equal(digest, other);
    cleanup_json json_t *json = vm_spec_to_json(a);
    cleanup_free char *text = json_canonical(json);
    digest_text(text, other);
    assert_string_equal(digest, other);
    vm_spec_free(a);
    vm_spec_free(b);
}

static void the_digest_changes_with_the_bytes_of_a_file(void **state)
{
    (void)state;
    struct vm_spec *spec = vm_spec_new("a");
    char before[DIGEST_SIZE], after[DIGEST_SIZE];
    spec->cloud_init.user_data.path = mem_strdup("/u");
    digest_text("one", spec->cloud_init.user_data.digest);
    vm_spec_digest(spec, before);
    digest_text("two", spec->cloud_init.user_data.digest);
    vm_spec_digest(spec, after);
    assert_string_not_equal(before, after);
    vm_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives_the_way_through_json),
        cmocka_unit_test(a_record_with_only_a_name_has_the_defaults),
        cmocka_unit_test(what_cannot_be_represented_is_an_error_that_names_it),
        cmocka_unit_test(the_first_of_several_errors_is_told),
        cmocka_unit_test(the_digest_is_of_the_canonical_json_and_blind_to_the_order_of_sets),
        cmocka_unit_test(the_digest_changes_with_the_bytes_of_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
