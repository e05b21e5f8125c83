/* SPDX-License-Identifier: MPL-2.0 */
/* Ports, MAC addresses, and the leases a start takes for them (addresses.c). */
#include "reconcilers/vm/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reconcilers/vm/addresses.h"
#include "tests/unit/reconcilers/vm/pass_fixture.h"

/* Every port of the book's range but `free_port` is held by another VM. */
static struct lease_row *all_held_but(uint16_t free_port)
{
    struct lease_row *rows = mem_calloc(PORT_SSH_LAST - PORT_SSH_FIRST + 2, sizeof(*rows));
    size_t n = 0;
    for (uint16_t port = PORT_SSH_FIRST; port <= PORT_SSH_LAST; port++) {
        if (port != free_port) {
            rows[n++] = (struct lease_row){mem_printf("tcp/%u", port), "other"};
        }
    }
    return rows;
}

static void free_rows(struct lease_row *rows)
{
    for (struct lease_row *row = rows; row->key; row++) {
        free((void *)(uintptr_t)row->key);
    }
    free(rows);
}

static void a_vm_gets_the_same_port_of_the_range_each_time(void **state)
{
    struct pass_fixture *f = *state;
    uint16_t port = ports_first_ssh(&f->host, "web");
    assert_in_range(port, 10022, 10122); /* of the book */
    assert_int_equal(ports_first_ssh(&f->host, "web"), port);
    assert_int_not_equal(ports_first_ssh(&f->host, "db"), port);
}

static void a_port_of_another_vm_is_passed_over(void **state)
{
    struct pass_fixture *f = *state;
    struct lease_row *rows = all_held_but(10077);
    f->leases = rows;
    assert_int_equal(ports_first_ssh(&f->host, "web"), 10077);
    assert_int_equal(ports_first_ssh(&f->host, "db"), 10077);
    free_rows(rows);
}

static void a_full_range_is_left_upwards(void **state)
{
    struct pass_fixture *f = *state;
    struct lease_row *rows = all_held_but(0);
    f->leases = rows;
    assert_true(ports_first_ssh(&f->host, "web") > PORT_SSH_LAST);
    assert_true(f->n_lookups < 10); /* one for each port that is bindable, none for the range */
    free_rows(rows);
}

static void the_next_port_is_never_the_one_that_was_taken(void **state)
{
    struct pass_fixture *f = *state;
    struct lease_row *rows = all_held_but(10122);
    f->leases = rows;
    assert_true(ports_next_ssh(&f->host, "web", 10122) > PORT_SSH_LAST);
    assert_int_equal(ports_next_ssh(&f->host, "web", 10121), 10122);
    free_rows(rows);
}

static void a_port_of_another_program_is_passed_over(void **state)
{
    struct pass_fixture *f = *state;
    struct lease_row *rows = all_held_but(10055);
    f->leases = rows;
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(10055), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        assert_int_equal(listen(fd, 1), 0);
    } /* else somebody else listens there: as good */
    assert_int_not_equal(ports_first_ssh(&f->host, "web"), 10055);
    free_rows(rows);
}

static void a_mac_address_is_local_fixed_and_nobody_elses(void **state)
{
    struct pass_fixture *f = *state;
    cleanup_free char *mac = ports_mac(&f->host, "web", "uid");
    cleanup_free char *again = ports_mac(&f->host, "web", "uid");
    cleanup_free char *key = mem_printf("mac/%s", mac);
    assert_int_equal(strlen(mac), 17);
    assert_true(text_starts_with(mac, "52:54:00:"));
    assert_string_equal(mac, again);
    const struct lease_row rows[] = {{key, "other"}, {NULL, NULL}};
    f->leases = rows;
    cleanup_free char *different = ports_mac(&f->host, "web", "uid");
    assert_string_not_equal(mac, different);
    const struct lease_row own[] = {{key, "web"}, {NULL, NULL}};
    f->leases = own;
    cleanup_free char *same = ports_mac(&f->host, "web", "uid");
    assert_string_equal(mac, same);
}

/* ---- what a start takes ---- */

static void add_forward(struct pass_fixture *f, uint16_t host_port)
{
    struct vm_spec *spec = f->desired->spec;
    mem_grow(spec->network.forwards, spec->network.n_forwards);
    spec->network.forwards[spec->network.n_forwards++] =
        (struct spec_forward){.host_port = host_port, .guest_port = 80};
}

static bool has_key(char **keys, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (text_eq(keys[i], key)) {
            return true;
        }
    }
    return false;
}

static void a_start_takes_leases_for_ssh_and_forwards(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    add_forward(f, 28080);
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    const struct vm_status *status = f->patch.status;
    cleanup_free char *ssh = mem_printf("tcp/%u", status->ssh_port);
    assert_int_equal(f->patch.n_leases, 2);
    assert_true(has_key(f->patch.leases, 2, ssh));
    assert_true(has_key(f->patch.leases, 2, "tcp/28080"));
    assert_string_equal(status->ssh_host, "127.0.0.1");
    assert_non_null(status->mac);
}

static void a_declared_port_of_another_vm_is_an_error_naming_it(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    const struct lease_row rows[] = {{"tcp/28080", "other"}, {NULL, NULL}};
    f->leases = rows;
    add_forward(f, 28080);
    assert_int_equal(addresses_choose(begin(f), &err), -ERR_PORT_TAKEN);
    assert_non_null(strstr(err.message, "'other'"));
    assert_int_equal(f->patch.n_leases, 0);
}

static void the_ssh_port_makes_way_for_a_declared_port(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    uint16_t first = ports_first_ssh(&f->host, "web");
    f->status->ssh_port = first;
    add_forward(f, first);
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_int_not_equal(f->patch.status->ssh_port, first);
    assert_int_equal(f->patch.n_leases, 2);
    assert_int_equal(f->patch.n_dropped_leases, 0); /* it is the forward's now */
}

static void leases_of_forwards_that_went_are_dropped(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    /* 28082 was leased and never forwarded, so no spec of an instance has it. */
    const struct lease_row rows[] = {{"tcp/28080", "web"}, {"tcp/28081", "web"},
        {"udp/28082", "web"}, {"tcp/28083", "other"}, {"mac/52:54:00:00:00:01", "web"},
        {NULL, NULL}};
    f->leases = rows;
    add_forward(f, 28080);
    add_forward(f, 28081);
    f->status->mac = mem_strdup("52:54:00:00:00:01");
    vm_status_set_applied_spec(f->status, f->desired->spec);
    f->desired->spec->network.n_forwards = 1;
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_int_equal(f->patch.n_dropped_leases, 2);
    assert_string_equal(f->patch.dropped_leases[0], "tcp/28081");
    assert_string_equal(f->patch.dropped_leases[1], "udp/28082");
    addresses_release_forwards(begin(f));
    assert_int_equal(f->patch.n_dropped_leases, 3);
    strcpy(f->status->instance.instance_id, "runs"); /* and still has 28081 */
    addresses_release_undeclared(begin(f));
    assert_int_equal(f->patch.n_dropped_leases, 1);
    assert_string_equal(f->patch.dropped_leases[0], "udp/28082");
}

static void the_first_start_of_a_vm_reads_no_table_of_leases(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    const struct lease_row rows[] = {{"tcp/28081", "web"}, {NULL, NULL}};
    f->leases = rows;
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_int_equal(f->patch.n_dropped_leases, 0);
    f->status->ssh_port = PORT_SSH_FIRST; /* it has held one */
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_int_equal(f->patch.n_dropped_leases, 1);
}

static void a_screens_port_is_leased_on_any_network(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    const struct lease_row rows[] = {{"tcp/5901", "other"}, {NULL, NULL}};
    f->desired->spec->network.mode = NETWORK_NONE;
    f->desired->spec->vnc.port = 5901;
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_int_equal(f->patch.n_leases, 1);
    assert_string_equal(f->patch.leases[0], "tcp/5901");
    f->leases = rows;
    assert_int_equal(addresses_choose(begin(f), &err), -ERR_PORT_TAKEN);
}

static void a_bridged_vm_leases_its_mac_and_has_no_ssh_port(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    f->desired->spec->network.mode = NETWORK_TAP;
    f->status->ssh_host = mem_strdup("127.0.0.1"); /* of an instance in user mode */
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_int_equal(f->patch.n_leases, 1);
    assert_true(text_starts_with(f->patch.leases[0], "mac/52:54:00:"));
    assert_null(f->patch.status->ssh_host);
}

static void a_vm_of_a_project_leases_an_address_and_keeps_it(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    struct vm_spec *spec = f->desired->spec;
    spec->network.mode = NETWORK_PROJECT;
    spec->network.project = mem_strdup("shop");
    spec->network.network = mem_strdup("shop-01234567");
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    cleanup_free char *first = mem_strdup(f->patch.status->address);
    cleanup_free char *lease = mem_printf("net/shop-01234567/%s", first);
    assert_true(text_starts_with(first, "10."));
    assert_int_equal(f->patch.n_leases, 3); /* and its MAC address and SSH port */
    assert_true(text_starts_with(f->patch.leases[0], "mac/") ||
                text_starts_with(f->patch.leases[1], "mac/"));
    assert_string_equal(f->patch.status->ssh_host, "127.0.0.1");

    const struct lease_row own[] = {{lease, "web"}, {NULL, NULL}};
    f->leases = own;
    f->status->address = mem_strdup(first);
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_string_equal(f->patch.status->address, first);

    const struct lease_row others[] = {{lease, "other"}, {NULL, NULL}};
    f->leases = others;
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_string_not_equal(f->patch.status->address, first);
}

/* As a VM of network "shop-01234567" that names both of its addresses. */
static struct spec_network *name_addresses(struct pass_fixture *f)
{
    struct spec_network *network = &f->desired->spec->network;
    *network = (struct spec_network){.mode = NETWORK_PROJECT,
        .project = mem_strdup("shop"),
        .network = mem_strdup("shop-01234567"),
        .range = mem_strdup("10.20.30.0/24"),
        .address = mem_strdup("10.20.30.40"),
        .mac = mem_strdup("52:54:00:00:00:99")};
    return network;
}

static void addresses_that_the_spec_names_are_taken_at_the_next_start(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    const struct lease_row rows[] = {{"mac/52:54:00:00:00:01", "web"},
        {"net/shop-01234567/10.9.9.9", "web"}, {"mac/52:54:00:00:00:99", "web"}, {NULL, NULL}};
    struct spec_network *network = name_addresses(f);
    f->leases = rows;
    f->status->mac = mem_strdup("52:54:00:00:00:01");
    f->status->address = mem_strdup("10.9.9.9");
    f->status->ssh_port = PORT_SSH_FIRST;
    begin(f)->situation.is_alive = true;
    assert_int_equal(addresses_choose(&f->pass, &err), 0);
    assert_string_equal(f->patch.status->mac, "52:54:00:00:00:01");
    assert_string_equal(f->patch.status->address, "10.9.9.9");
    assert_int_equal(f->patch.n_dropped_leases, 0);

    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_string_equal(f->patch.status->mac, network->mac);
    assert_string_equal(f->patch.status->address, network->address);
    assert_int_equal(f->patch.n_dropped_leases, 2);
    assert_true(has_key(f->patch.leases, f->patch.n_leases, "net/shop-01234567/10.20.30.40"));

    f->leases = NULL;
    free(TAKE_PTR(network->address)); /* another one in the range of those that are named */
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_true(text_starts_with(f->patch.status->address, "10.20.30."));
}

static void a_mac_address_that_is_named_no_more_is_not_kept(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    struct spec_network *network = name_addresses(f);
    f->status->mac = mem_strdup(network->mac);
    vm_status_set_applied_spec(f->status, f->desired->spec);
    free(TAKE_PTR(network->mac));
    assert_int_equal(addresses_choose(begin(f), &err), 0);
    assert_string_not_equal(f->patch.status->mac, "52:54:00:00:00:99");
}

static void an_address_of_another_vm_is_an_error_naming_it(void **state)
{
    struct pass_fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    const struct lease_row rows[] = {{"net/shop-01234567/10.20.30.40", "db"}, {NULL, NULL}};
    (void)name_addresses(f);
    f->leases = rows;
    assert_int_equal(addresses_choose(begin(f), &err), -ERR_VM_CONFLICT);
    assert_string_equal(err.message, "address 10.20.30.40 of vm 'web' is used by vm 'db'");
}

static void the_addresses_of_two_networks_differ_in_their_first_three_numbers(void **state)
{
    struct pass_fixture *f = *state;
    struct reconciler_host *host = begin(f)->vm->host;
    const struct spec_network shop = {.network = (char *)(uintptr_t) "shop-01234567"};
    const struct spec_network lan = {.network = (char *)(uintptr_t) "shop-01234567.lan"};
    cleanup_free char *a = ports_address(host, "web", &shop, NULL);
    cleanup_free char *same = ports_address(host, "web", &shop, a);
    cleanup_free char *b = ports_address(host, "web", &lan, a);
    assert_string_equal(a, same);
    assert_false(strncmp(a, b, (size_t)(strrchr(a, '.') - a) + 1) == 0);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, pass_fixture_set_up, pass_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_vm_gets_the_same_port_of_the_range_each_time),
        TEST(a_port_of_another_vm_is_passed_over),
        TEST(a_full_range_is_left_upwards),
        TEST(the_next_port_is_never_the_one_that_was_taken),
        TEST(a_port_of_another_program_is_passed_over),
        TEST(a_mac_address_is_local_fixed_and_nobody_elses),
        TEST(a_start_takes_leases_for_ssh_and_forwards),
        TEST(a_declared_port_of_another_vm_is_an_error_naming_it),
        TEST(the_ssh_port_makes_way_for_a_declared_port),
        TEST(a_screens_port_is_leased_on_any_network),
        TEST(a_vm_of_a_project_leases_an_address_and_keeps_it),
        TEST(addresses_that_the_spec_names_are_taken_at_the_next_start),
        TEST(a_mac_address_that_is_named_no_more_is_not_kept),
        TEST(an_address_of_another_vm_is_an_error_naming_it),
        TEST(the_addresses_of_two_networks_differ_in_their_first_three_numbers),
        TEST(leases_of_forwards_that_went_are_dropped),
        TEST(the_first_start_of_a_vm_reads_no_table_of_leases),
        TEST(a_bridged_vm_leases_its_mac_and_has_no_ssh_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
