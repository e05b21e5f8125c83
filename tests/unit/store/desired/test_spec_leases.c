/* SPDX-License-Identifier: MPL-2.0 */
#include "store/desired/spec_leases.h"

#include <string.h>

#include "tests/unit/store/desired/change_fixture.h"

/* Of a VM that names its screen's port and both of its addresses, and has one forward. */
static struct vm_desired desired_of(struct vm_spec *spec, const char *uid)
{
    struct spec_forward forward = {FORWARD_UDP, 5353, 53, ""};
    struct vm_desired desired = {.spec = spec};
    spec->vnc.port = 5901;
    spec->network = (struct spec_network){.mode = NETWORK_PROJECT,
        .network = mem_strdup("shop-01234567"),
        .address = mem_strdup("10.20.30.40"),
        .mac = mem_strdup("52:54:00:12:34:56"),
        .forwards = mem_dup(&forward, sizeof(forward)),
        .n_forwards = 1};
    (void)snprintf(desired.uid, sizeof(desired.uid), "%s", uid);
    return desired;
}

static void what_a_spec_names_is_one_vms(void **state)
{
    static const char *const keys[] = {
        "udp/5353", "tcp/5901", "mac/52:54:00:12:34:56", "net/shop-01234567/10.20.30.40"};
    struct store *store = ((struct fixture *)*state)->store;
    struct vm_spec *web = vm_spec_new("web"), *db = vm_spec_new("db");
    struct vm_desired first = desired_of(web, "uid-1"), second = desired_of(db, "uid-2");
    struct store_batch *batch = store_batch_new();
    struct error err = {0};
    must(spec_leases_check(store, &first, &err), &err);
    spec_leases_take(batch, &first);
    must(store_commit(store, batch, &err), &err);
    store_batch_free(batch);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char uid[TEXT_ID_SIZE];
        must(store_lease_holder(store, keys[i], uid, NULL, &err), &err);
        assert_string_equal(uid, "uid-1");
    }
    must(spec_leases_check(store, &first, &err), &err);
    assert_int_equal(spec_leases_check(store, &second, &err), -ERR_VM_CONFLICT);
    assert_string_equal(err.message, "host port udp/5353 of vm 'db' is used by vm 'web'");

    db->network.n_forwards = 0;
    db->vnc.port = 0;
    err = (struct error){0};
    assert_int_equal(spec_leases_check(store, &second, &err), -ERR_VM_CONFLICT);
    assert_string_equal(
        err.message, "MAC address 52:54:00:12:34:56 of vm 'db' is used by vm 'web'");
    db->network.mode = NETWORK_USER; /* whose address is no lease */
    free(TAKE_PTR(db->network.mac));
    err = (struct error){0};
    must(spec_leases_check(store, &second, &err), &err);
    vm_spec_free(web);
    vm_spec_free(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_a_spec_names_is_one_vms, fixture_set_up_open, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
