/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/probe_http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"

static void the_request_asks_for_the_path_and_to_close(void **state)
{
    (void)state;
    cleanup_free char *request = http_probe_request("/healthz?full=1", 8080);
    assert_string_equal(request,
        "GET /healthz?full=1 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: vmctl-probe\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n");
}

static void success_is_200_to_399_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        const char *message; /* NULL: it passes */
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n", NULL},
        {"HTTP/1.0 399 \r\n", NULL},
        {"HTTP/1.1 302 Found\r\nLocation: /x\r\n", NULL},
        {"HTTP/1.1 204", NULL},
        {"HTTP/1.1 199 X\r\n", "the response has status 199, not 200 to 399"},
        {"HTTP/1.1 400 Bad Request\r\n", "the response has status 400, not 200 to 399"},
        {"HTTP/1.1 503 \r\n", "the response has status 503, not 200 to 399"},
        {"", "the connection was closed without a response"},
        {"HTTP/1.1", "the port is not an HTTP/1 server"},
        {"HTTP/1.1 2", "the port is not an HTTP/1 server"},
        {"HTTP/1.1 2000 \r\n", "the port is not an HTTP/1 server"},
        {"HTTP/2 200\r\n", "the port is not an HTTP/1 server"},
        {"SSH-2.0-OpenSSH\r\n", "the port is not an HTTP/1 server"},
        {"\n", "the port is not an HTTP/1 server"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", NULL},
        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 X\n\nHTTP/1.1 500 \r\n",
            "the response has status 500, not 200 to 399"},
        {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n",
            "the response has status 103, not 200 to 399"},
        {"HTTP/1.1 102 Processing\r\n\r\n", "the connection was closed without a response"},
        {"HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 200 OK\r\n",
            "the response has status 101, not 200 to 399"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = {.code = ERR_NONE};
        int rc = http_probe_judge(cases[i].answer, &err);
        assert_string_equal(err.message, cases[i].message ? cases[i].message : "");
        assert_int_equal(rc, cases[i].message ? -ERR_PROBE : 0);
    }
}

static void an_answer_is_complete_with_the_line_of_its_final_status(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        bool is_complete;
    } cases[] = {
        {"", false},
        {"HTTP/1.1 200 OK", false},
        {"HTTP/1.1 200 OK\r\n", true},
        {"anything else\n", true},
        {"HTTP/1.1 100 Continue\r\n", false},
        {"HTTP/1.1 100 Continue\r\n\r\n", false},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 ", false},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \n", true},
        {"HTTP/1.1 101 Switching\r\n", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(http_probe_is_complete(cases[i].answer), cases[i].is_complete);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_request_asks_for_the_path_and_to_close),
        cmocka_unit_test(success_is_200_to_399_and_nothing_else),
        cmocka_unit_test(an_answer_is_complete_with_the_line_of_its_final_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
