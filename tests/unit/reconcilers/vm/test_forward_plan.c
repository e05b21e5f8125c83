/* SPDX-License-Identifier: MPL-2.0 */
/* What is to be forwarded over SSH, from what is desired, recorded and observed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/vm/forward_plan.h"
#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { RECORDED_MAX = 80 };

/* The world of one plan: the record is replaced by what each plan makes of it. */
struct plan_test {
    struct vm_spec *spec;
    struct vm_status *status;
    struct tunnel_forward observed[RECORDED_MAX];
    struct tunnel_facts facts;
    struct tunnel_port ports[TUNNEL_PORTS_MAX];
    bool is_down;
    const char *held;   /* the lease that vm 'other' has */
    uint16_t busy_port; /* a program listens there */
    bool is_full;       /* no port is free */
    char leases[256], dropped[256];
};

static int setup(void **state)
{
    struct plan_test *test = mem_new(struct plan_test);
    test->spec = vm_spec_new("box");
    test->status = vm_status_new("0123456789abcdef0123456789abcdef");
    test->facts.ports = test->ports;
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    struct plan_test *test = *state;
    vm_spec_free(test->spec);
    vm_status_free(test->status);
    free(test);
    return 0;
}

static void add_socket(
    struct plan_test *test, const char *host, const char *guest, enum socket_direction direction)
{
    struct spec_network *network = &test->spec->network;
    mem_grow(network->sockets, network->n_sockets);
    network->sockets[network->n_sockets++] =
        (struct spec_socket){mem_strdup(host), mem_strdup(guest), direction};
}

static const char *holder(void *context, const char *key)
{
    const struct plan_test *test = context;
    return text_eq(test->held, key) ? "other" : NULL;
}

static void join(char ret[256], char **keys, size_t n)
{
    ret[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        strncat(ret, keys[i], 255 - strlen(ret));
        strncat(ret, " ", 255 - strlen(ret));
    }
}

static bool is_bindable(void *context, uint16_t port)
{
    const struct plan_test *test = context;
    return port != test->busy_port;
}

static uint16_t free_port(void *context, uint16_t start)
{
    const struct plan_test *test = context;
    return test->is_full ? 0 : start < 10022 ? 10022 : start;
}

static void plan(struct plan_test *test)
{
    const struct forward_input input = {.spec = test->spec,
        .is_wanted = !test->is_down,
        .recorded = test->status,
        .observed = test->observed,
        .facts = &test->facts,
        .holder = holder,
        .is_bindable = is_bindable,
        .free_port = free_port,
        .context = test};
    struct forward_plan made;
    forward_plan_make(&input, &made);
    join(test->leases, made.leases, made.n_leases);
    join(test->dropped, made.dropped, made.n_dropped);
    struct forward_plan before = {
        .forwards = test->status->forwards, .n = test->status->n_forwards};
    test->status->forwards = TAKE_PTR(made.forwards);
    test->status->n_forwards = made.n;
    made.n = 0;
    forward_plan_clear(&before);
    forward_plan_clear(&made);
}

static void observe(struct plan_test *test, enum tunnel_state state)
{
    for (size_t i = 0; i < RECORDED_MAX; i++) {
        test->observed[i] =
            (struct tunnel_forward){state, state == TUNNEL_REFUSED ? "it is refused" : NULL};
    }
}

static struct vm_forward *only(struct plan_test *test)
{
    assert_int_equal(test->status->n_forwards, 1);
    return &test->status->forwards[0];
}

static void a_socket_is_leased_before_it_is_made(void **state)
{
    struct plan_test *test = *state;
    add_socket(test, "/h", "/g", SOCKET_TO_GUEST);
    plan(test);
    assert_string_equal(test->leases, "socket//h ");
    assert_true(only(test)->is_leased);
    assert_false(only(test)->is_made);
    observe(test, TUNNEL_MADE);
    plan(test);
    assert_string_equal(test->leases, "");
    assert_true(only(test)->is_made);
}

static void one_that_leads_to_the_host_takes_nothing_of_it(void **state)
{
    struct plan_test *test = *state;
    add_socket(test, "/h", "/g", SOCKET_TO_HOST);
    plan(test);
    assert_string_equal(test->leases, "");
    assert_true(only(test)->is_leased);
}

static void what_another_vm_has_is_only_named_with_the_reason(void **state)
{
    struct plan_test *test = *state;
    add_socket(test, "/h", "/g", SOCKET_TO_GUEST);
    test->held = "socket//h";
    plan(test);
    assert_string_equal(test->leases, "");
    assert_false(only(test)->is_leased);
    assert_non_null(strstr(only(test)->refusal, "'other'"));
    plan(test); /* and stays so */
    assert_false(only(test)->is_leased);
    test->held = NULL; /* until that VM stops */
    plan(test);
    assert_string_equal(test->leases, "socket//h ");
    assert_true(only(test)->is_leased);
    assert_null(only(test)->refusal);
}

static void the_reason_of_a_refusal_is_recorded_until_it_is_over(void **state)
{
    struct plan_test *test = *state;
    add_socket(test, "/h", "/g", SOCKET_TO_GUEST);
    plan(test);
    observe(test, TUNNEL_REFUSED);
    plan(test);
    assert_string_equal(only(test)->refusal, "it is refused");
    observe(test, TUNNEL_PENDING);
    test->facts.failure = "ssh ended";
    plan(test);
    assert_string_equal(only(test)->refusal, "ssh ended");
    observe(test, TUNNEL_MADE);
    plan(test);
    assert_null(only(test)->refusal);
    assert_true(only(test)->is_made);
}

/* Its lease is dropped only once nothing of it is left. */
static void what_leaves_is_marked_first(void **state)
{
    struct plan_test *test = *state;
    add_socket(test, "/h", "/g", SOCKET_TO_GUEST);
    plan(test);
    observe(test, TUNNEL_MADE);
    plan(test);
    vm_spec_leave_sockets(test->spec, true);
    plan(test);
    assert_true(only(test)->is_leaving);
    assert_string_equal(test->dropped, "");
    plan(test); /* it is still there */
    assert_true(only(test)->is_leaving);
    observe(test, TUNNEL_GONE);
    plan(test);
    assert_int_equal(test->status->n_forwards, 0);
    assert_string_equal(test->dropped, "socket//h ");
}

/* Asked for again meanwhile: it leaves first, and comes back. */
static void one_that_leads_elsewhere_waits_until_the_path_is_free(void **state)
{
    struct plan_test *test = *state;
    add_socket(test, "/h", "/g", SOCKET_TO_GUEST);
    plan(test);
    observe(test, TUNNEL_MADE);
    vm_spec_leave_sockets(test->spec, true);
    add_socket(test, "/h", "/other", SOCKET_TO_GUEST);
    plan(test);
    assert_string_equal(only(test)->guest_socket, "/g");
    assert_true(only(test)->is_leaving);
    observe(test, TUNNEL_GONE);
    plan(test);
    assert_string_equal(only(test)->guest_socket, "/other");
    assert_false(only(test)->is_leaving);
    assert_string_equal(test->leases, "socket//h ");
}

static void a_machine_that_is_down_keeps_none_once_nothing_runs(void **state)
{
    struct plan_test *test = *state;
    add_socket(test, "/h", "/g", SOCKET_TO_GUEST);
    plan(test);
    observe(test, TUNNEL_MADE);
    plan(test);
    test->is_down = true;
    observe(test, TUNNEL_PENDING);
    plan(test);
    assert_true(only(test)->is_leaving);
    test->facts.is_gone = true;
    plan(test);
    assert_int_equal(test->status->n_forwards, 0);
    assert_string_equal(test->dropped, "socket//h ");
}

/* ---- the guest's ports ---- */

static void listen_on(struct plan_test *test, uint16_t port)
{
    test->facts.are_ports_known = true;
    test->ports[test->facts.n_ports++] = (struct tunnel_port){port, "127.0.0.1"};
}

static void forward_port(struct plan_test *test, uint16_t host, uint16_t guest)
{
    struct spec_network *network = &test->spec->network;
    mem_grow(network->forwards, network->n_forwards);
    network->forwards[network->n_forwards++] =
        (struct spec_forward){.host_port = host, .guest_port = guest, .protocol = FORWARD_TCP};
}

static void a_port_comes_and_goes_with_the_guests_server(void **state)
{
    struct plan_test *test = *state;
    listen_on(test, 8080);
    plan(test);
    assert_int_equal(test->status->n_forwards, 0); /* nobody asked for it */
    test->spec->network.is_auto = true;
    plan(test);
    assert_string_equal(test->leases, "tcp/8080 ");
    assert_int_equal(only(test)->host_port, 8080);
    observe(test, TUNNEL_MADE);
    test->facts.are_ports_known = false; /* the guest is silent: it stays */
    test->facts.n_ports = 0;
    plan(test);
    assert_true(only(test)->is_made);
    test->facts.are_ports_known = true;
    plan(test);
    assert_true(only(test)->is_leaving);
    assert_string_equal(test->dropped, "");
    observe(test, TUNNEL_GONE);
    plan(test);
    assert_int_equal(test->status->n_forwards, 0);
    assert_string_equal(test->dropped, "tcp/8080 ");
}

static void ports_that_lead_there_already_are_left_out(void **state)
{
    struct plan_test *test = *state;
    test->spec->network.is_auto = true;
    forward_port(test, 9000, 80);
    listen_on(test, 22);
    listen_on(test, 80);
    plan(test);
    assert_int_equal(test->status->n_forwards, 0);
}

/* The VMFile's own forward from the port of this host goes before; its lease stays. */
static void a_forward_of_the_vmfile_gets_the_port(void **state)
{
    struct plan_test *test = *state;
    test->spec->network.is_auto = true;
    listen_on(test, 8080);
    plan(test);
    observe(test, TUNNEL_MADE);
    plan(test);
    forward_port(test, 8080, 80);
    plan(test);
    assert_true(only(test)->is_leaving);
    observe(test, TUNNEL_GONE);
    plan(test);
    assert_string_equal(test->dropped, "");
    assert_string_equal(test->leases, "tcp/10022 ");
    assert_int_equal(only(test)->host_port, 10022);
    assert_int_equal(only(test)->guest_port, 8080);
}

static void a_port_that_is_taken_gets_another(void **state)
{
    struct plan_test *test = *state;
    test->spec->network.is_auto = true;
    test->held = "tcp/8080";
    test->busy_port = 8081;
    test->status->ssh_port = 8082;
    listen_on(test, 8080);
    listen_on(test, 8081);
    listen_on(test, 8082);
    plan(test);
    assert_string_equal(test->leases, "tcp/10022 tcp/10023 tcp/10024 ");
    test->held = NULL; /* it stays as long as the guest listens */
    observe(test, TUNNEL_MADE);
    plan(test);
    assert_string_equal(test->leases, "");
    assert_string_equal(test->dropped, "");
    assert_int_equal(test->status->forwards[0].host_port, 10022);
}

/* Between the tunnel's end and its next start, or before it was made first. */
static void a_port_that_a_program_takes_meanwhile_is_left_to_it(void **state)
{
    struct plan_test *test = *state;
    test->spec->network.is_auto = true;
    listen_on(test, 8080);
    plan(test);
    observe(test, TUNNEL_REFUSED);
    plan(test);
    assert_false(only(test)->is_leaving); /* it is refused for another reason */
    test->busy_port = 8080;
    plan(test);
    assert_true(only(test)->is_leaving);
    observe(test, TUNNEL_GONE);
    plan(test);
    assert_string_equal(test->dropped, "tcp/8080 ");
    assert_string_equal(test->leases, "tcp/10022 ");
    observe(test, TUNNEL_MADE);
    test->busy_port = 10022; /* ssh is the one that listens there */
    plan(test);
    assert_true(only(test)->is_made);
}

static void ports_below_1024_get_free_ones(void **state)
{
    struct plan_test *test = *state;
    test->spec->network.is_auto = true;
    listen_on(test, 80);
    listen_on(test, 443);
    listen_on(test, 10022); /* which the first has */
    plan(test);
    assert_string_equal(test->leases, "tcp/10022 tcp/10023 tcp/10024 ");
    assert_int_equal(test->status->forwards[2].host_port, 10024);
    test->is_full = true;
    observe(test, TUNNEL_MADE);
    listen_on(test, 25);
    plan(test);
    assert_string_equal(test->leases, "");
    assert_int_equal(test->status->forwards[0].host_port, 10022);
    assert_non_null(strstr(test->status->forwards[3].refusal, "this host has no free port"));
}

/* Further ones are named, and of those not all. */
static void there_are_64_at_most(void **state)
{
    struct plan_test *test = *state;
    test->spec->network.is_auto = true;
    for (uint16_t i = 0; i < 200; i++) {
        listen_on(test, (uint16_t)(5000 + i));
    }
    plan(test);
    assert_int_equal(test->status->n_forwards, FORWARD_PORTS_MAX + 16);
    assert_true(test->status->forwards[FORWARD_PORTS_MAX - 1].is_leased);
    assert_false(test->status->forwards[FORWARD_PORTS_MAX].is_leased);
    assert_string_equal(
        test->status->forwards[FORWARD_PORTS_MAX].refusal, "64 ports are forwarded already");
    observe(test, TUNNEL_MADE);
    plan(test);
    assert_int_equal(test->status->n_forwards, FORWARD_PORTS_MAX + 16);
    assert_string_equal(test->leases, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_socket_is_leased_before_it_is_made, setup, teardown),
        cmocka_unit_test_setup_teardown(
            one_that_leads_to_the_host_takes_nothing_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_another_vm_has_is_only_named_with_the_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(
            the_reason_of_a_refusal_is_recorded_until_it_is_over, setup, teardown),
        cmocka_unit_test_setup_teardown(what_leaves_is_marked_first, setup, teardown),
        cmocka_unit_test_setup_teardown(
            one_that_leads_elsewhere_waits_until_the_path_is_free, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_machine_that_is_down_keeps_none_once_nothing_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_port_comes_and_goes_with_the_guests_server, setup, teardown),
        cmocka_unit_test_setup_teardown(
            ports_that_lead_there_already_are_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_forward_of_the_vmfile_gets_the_port, setup, teardown),
        cmocka_unit_test_setup_teardown(a_port_that_is_taken_gets_another, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_port_that_a_program_takes_meanwhile_is_left_to_it, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_below_1024_get_free_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(there_are_64_at_most, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
