/* SPDX-License-Identifier: MPL-2.0 */
/* openapi.json and the routes name the same paths and methods. */
#include "cli/serve/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "cli/serve/route.h"
#include "specs/base/error.h"
#include "specs/base/json.h"

static unsigned find(const char *method, const char *path, struct route *ret)
{
    struct error err = {.code = ERR_NONE};
    const struct http_request request = {
        .method = method, .path = path, .accept = "", .last_event_id = ""};
    return route_find(&request, ret, &err);
}

static void each_path_of_the_document_is_served_with_its_method_alone(void **state)
{
    static const char *const methods[] = {"GET", "POST"};
    const struct serve_file *file = serve_file_find("openapi.json");
    bool is_known[ROUTE_KIND_COUNT_] = {false};
    cleanup_json json_t *document = json_loadb(file->data, file->size, 0, NULL);
    const char *path;
    json_t *item;
    (void)state;
    assert_non_null(document);
    json_object_foreach(json_object_get(document, "paths"), path, item)
    {
        char concrete[128];
        const char *brace = strstr(path, "{name}");
        int n = brace ? (int)(brace - path) : (int)strlen(path);
        (void)snprintf(concrete, sizeof(concrete), "%.*s%s%s", n, path, brace ? "web" : "",
            brace ? brace + strlen("{name}") : "");
        for (size_t i = 0; i < 2; i++) {
            struct route route;
            const json_t *operation = json_object_get(item, i == 0 ? "get" : "post");
            assert_int_equal(find(methods[i], concrete, &route), operation ? 200 : 405);
            is_known[route.kind] = true;
            if (operation) { /* "security": [] is what needs no token */
                assert_int_equal(route.is_public, json_object_get(operation, "security") != NULL);
            }
        }
    }
    for (size_t i = 0; i < ROUTE_KIND_COUNT_; i++) {
        assert_true(is_known[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_path_of_the_document_is_served_with_its_method_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
