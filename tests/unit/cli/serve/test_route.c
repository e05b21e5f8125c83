/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/route.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "specs/base/error.h"

static unsigned find(const char *method, const char *path, const char *argument, struct route *ret)
{
    struct error err = {.code = ERR_NONE};
    struct http_request request = {
        .method = method, .path = path, .accept = "text/event-stream", .last_event_id = ""};
    if (argument) {
        strings_append(&request.arguments, argument);
    }
    unsigned status = route_find(&request, ret, &err);
    assert_int_equal(status == 200, err.code == ERR_NONE);
    strings_clear(&request.arguments);
    return status;
}

static void a_path_and_a_method_lead_to_a_route(void **state)
{
    struct route route;
    (void)state;
    assert_int_equal(find("GET", "/healthz", NULL, &route), 200);
    assert_int_equal(route.kind, ROUTE_HEALTH);
    assert_true(route.is_public);
    assert_int_equal(find("HEAD", "/v1/vms", NULL, &route), 200);
    assert_int_equal(route.kind, ROUTE_VMS);
    assert_false(route.is_public);
    assert_int_equal(find("POST", "/v1/vms", NULL, &route), 405);
    assert_string_equal(route.method, "GET");
    assert_int_equal(find("", "/v1/vms", NULL, &route), 405);
    assert_int_equal(find("GET", "/novnc/core/rfb.js", NULL, &route), 200);
    assert_int_equal(route.kind, ROUTE_FILE);
    assert_true(route.is_public);
    assert_string_equal(route.library, "/novnc/core/rfb.js");
    assert_int_equal(find("POST", "/novnc/core/rfb.js", NULL, &route), 404);
    assert_int_equal(find("GET", "/novncs", NULL, &route), 404);
}

static void a_vm_is_named_in_the_path(void **state)
{
    struct route route;
    (void)state;
    assert_int_equal(find("GET", "/v1/vms/web-1.lan", NULL, &route), 200);
    assert_int_equal(route.kind, ROUTE_VM);
    assert_string_equal(route.vm_name, "web-1.lan");
}

static void what_cannot_be_a_name_leads_nowhere(void **state)
{
    static const char *const paths[] = {"/v1/vms/", "/v1/vms/-x", "/v1/vms/a  b", "/v1/vms/../x",
        "/v1/vms/a/b", "/v1/vms/--data-dir", "/v1", "", "//v1/vms",
        "/v1/vms/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct route route;
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_int_equal(find("GET", paths[i], NULL, &route), 404);
    }
}

static void events_take_a_sequence_and_a_name_and_nothing_else(void **state)
{
    struct route route;
    (void)state;
    assert_int_equal(find("GET", "/v1/events", "after=12", &route), 200);
    assert_int_equal(route.after, 12);
    assert_true(route.has_after);
    assert_true(route.streams);
    assert_int_equal(find("GET", "/v1/events", "after=0", &route), 200);
    assert_true(route.has_after); /* from the first one on, not from the present on */
    assert_int_equal(find("GET", "/v1/vms/shop+web", NULL, &route), 200);
    assert_string_equal(route.vm_name, "shop/web");
    assert_int_equal(find("GET", "/v1/vms/shop web", NULL, &route), 200);
    assert_string_equal(route.vm_name, "shop/web");
    assert_int_equal(find("GET", "/v1/vms/shop web+", NULL, &route), 404);
    assert_int_equal(find("GET", "/v1/vms/web ", NULL, &route), 404);
    assert_int_equal(find("POST", "/v1/vms/shop+web/stop", NULL, &route), 200);
    assert_string_equal(route.vm_name, "shop/web");
    assert_int_equal(find("GET", "/v1/events", "vm=shop/web", &route), 200);
    assert_string_equal(route.vm_name, "shop/web");
    assert_int_equal(find("GET", "/v1/events", "vm=web", &route), 200);
    assert_string_equal(route.vm_name, "web");
    assert_false(route.has_after);
    assert_int_equal(find("GET", "/v1/events", "after=", &route), 400);
    assert_int_equal(find("GET", "/v1/events", "after=-1", &route), 400);
    assert_int_equal(find("GET", "/v1/events", "after=99999999999999999999", &route), 400);
    assert_int_equal(find("GET", "/v1/events", "other=1", &route), 400);
    assert_int_equal(find("GET", "/v1/vms", "after=1", &route), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_and_a_method_lead_to_a_route),
        cmocka_unit_test(a_vm_is_named_in_the_path),
        cmocka_unit_test(what_cannot_be_a_name_leads_nowhere),
        cmocka_unit_test(events_take_a_sequence_and_a_name_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
