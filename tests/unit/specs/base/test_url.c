/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

static void urls_in_a_text_lose_their_secrets(void **state)
{
    static const char *const cases[][2] = {
        {"type ssh -t ssh://user@b.lan:2222 vmctl", "type ssh -t ssh://user@b.lan:2222 vmctl"},
        {"ssh://me:pass@b.lan", "ssh://me:***@b.lan"},
        {"no URL: a?b=c me:pw@host", "no URL: a?b=c me:pw@host"},
        {"get https://a.example/x@2.img: refused", "get https://a.example/x@2.img: refused"},
        {"get https://me:p@w@a.example/x@2.img: no", "get https://***@a.example/x@2.img: no"},
        {"'https://a/x?sig=abc#f' and (http://token@b).", "'https://a/x?***' and (http://***@b)."},
        {"'http://me:p w@a/x' cannot", "'http://***@a/x' cannot"},
        {"it's https://a/x#key=1, then", "it's https://a/x#***, then"},
        {"https://a/?k=1,ftp://b", "https://a/?***"},
        {"https://a/x?…", "https://a/x?…"},
        {"https://a/x?***", "https://a/x?***"},
        {"https://a/x?b", "https://a/x?*"},
        {"://@?", "://@?"},
        {"http://u@", "http://*@"},
        {"pull http:me:pw@a/x.img: no", "pull http:***@a/x.img: no"},
        {"https:/me:pw@a/x?k=1, http:", "https:/***@a/x?***, http:"},
        {"http: me@home, https is not", "http: me@home, https is not"},
        {"http:a, then http://me:pw@b", "http:a, then http://***@b"},
        {"https://a/p;sig=abc/x;v=1;w;=?k=1", "https://a/p;sig=***/x;v=*;w;=?***"},
        {"https://a/p;sig=…/x", "https://a/p;sig=…/x"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_free char *text = mem_strdup(cases[i][0]);
        url_mask(text);
        assert_string_equal(text, cases[i][1]);
        url_mask(text);
        assert_string_equal(text, cases[i][1]);
    }
}

static void people_see_no_secrets_of_a_url(void **state)
{
    static const char *const cases[][2] = {
        {"https://me:pw@a/x.img?sig=1#k", "https://a/x.img?…"},
        {"https://a/p;sig=abc;v/x;k=/y", "https://a/p;sig=…;v/x;k=…/y"},
        {"https://a/p;v/x=1", "https://a/p;v/x=1"},
        {"/a?b;c=d", "/a?b;c=d"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_free char *text = url_for_people(cases[i][0]);
        assert_string_equal(text, cases[i][1]);
    }
}

static void no_error_has_the_secrets_of_a_url(void **state)
{
    struct error err = {.code = ERR_NONE};
    (void)state;
    error_set_errno(&err, ERR_IO, 2, "cannot read '%s'", "http://me:pw@a/x?sig=1");
    assert_null(strstr(err.message, "pw"));
    /* nor one that does not fit */
    for (int n = 0; n < (int)sizeof(err.message); n++) {
        error_clear(&err);
        error_set(&err, ERR_IO, "%*s http://me:secret@a/x", n, "");
        assert_null(strstr(err.message, "sec"));
    }
    error_clear(&err);
    error_set_errno(&err, ERR_IO, 2, "cannot read '%s'", "http://me:pw@a/x?sig=1");
    error_wrap(&err, "image %s", "http://me:pw@a/x?sig=1");
    error_help(&err, "type: vmctl image pull '%s'", "http://me:pw@a/x?sig=1");
    assert_string_equal(err.message,
        "image http://***@a/x?***: cannot read 'http://***@a/x?***': No such file or directory");
    assert_string_equal(err.help, "type: vmctl image pull 'http://***@a/x?***'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_in_a_text_lose_their_secrets),
        cmocka_unit_test(people_see_no_secrets_of_a_url),
        cmocka_unit_test(no_error_has_the_secrets_of_a_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
