/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/probe_http.h"

#include <stdio.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

char *http_probe_request(const char *path, uint16_t port)
{
    return mem_printf("GET %s HTTP/1.1\r\nHost: localhost:%u\r\nUser-Agent: vmctl-probe\r\n"
                      "Accept: */*\r\nConnection: close\r\n\r\n",
        path, port);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* RFC 9112, section 4: HTTP-version SP status-code SP [ reason-phrase ]. -1: no status line. */
static int parse_status(const char *answer)
{
    static const char version[] = "HTTP/1.";
    const char *s = answer + strlen(version);
    bool is_http = text_starts_with(answer, version) && is_digit(s[0]) && s[1] == ' ' &&
                   is_digit(s[2]) && is_digit(s[3]) && is_digit(s[4]) && !is_digit(s[5]);
    return is_http ? (s[2] - '0') * 100 + (s[3] - '0') * 10 + (s[4] - '0') : -1;
}

/* Behind the interim responses, each of which ends with an empty line (101 is final): what follows
 * them, or the one that has not ended. */
static const char *last_response(const char *answer, bool *ret_is_interim)
{
    enum { FIRST = 100, SWITCHING = 101, BEYOND = 200 };
    for (;;) {
        int status = parse_status(answer);
        const char *crlf = strstr(answer, "\n\r\n"), *lf = strstr(answer, "\n\n");
        *ret_is_interim = status >= FIRST && status < BEYOND && status != SWITCHING;
        if (!*ret_is_interim || (!crlf && !lf)) {
            return answer;
        }
        answer = lf && (!crlf || lf < crlf) ? lf + 2 : crlf + 3;
    }
}

bool http_probe_is_complete(const char *answer)
{
    bool is_interim;
    const char *last = last_response(answer, &is_interim);
    return !is_interim && strchr(last, '\n');
}

int http_probe_judge(const char *answer, struct error *err)
{
    enum { FIRST_GOOD = 200, LAST_GOOD = 399 };
    bool is_interim;
    answer = last_response(answer, &is_interim);
    int status = answer[0] ? parse_status(answer) : -1;
    if (!answer[0]) {
        return error_set(err, ERR_PROBE, "the connection was closed without a response");
    }
    if (status < 0) {
        return error_set(err, ERR_PROBE, "the port is not an HTTP/1 server");
    }
    if (status < FIRST_GOOD || status > LAST_GOOD) {
        return error_set(err, ERR_PROBE, "the response has status %d, not 200 to 399", status);
    }
    return 0;
}
