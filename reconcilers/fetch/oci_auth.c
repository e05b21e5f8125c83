/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/oci_auth.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/url.h"

enum { PARAMETER_MAX = 2048, TOKEN_MAX = 32 * 1024 };

void oci_challenge_clear(struct oci_challenge *challenge)
{
    free(TAKE_PTR(challenge->realm));
    free(TAKE_PTR(challenge->service));
    free(TAKE_PTR(challenge->scope));
}

/* ---- challenges ---- */

/* Length of the token (RFC 9110, 5.6.2) at `s`. */
static size_t token_length(const char *s)
{
    size_t n = 0;
    while (isalnum((unsigned char)s[n]) || (s[n] && strchr("!#$%&'*+-.^_`|~", s[n]))) {
        n++;
    }
    return n;
}

static const char *skip_blank(const char *s)
{
    return s + strspn(s, " \t");
}

/* The value at `s`, a token or a quoted string; *ret_end points behind it. NULL: unclosed or too
 * long. */
static char *read_value(const char *s, const char **ret_end)
{
    struct buf out = BUF_INIT(PARAMETER_MAX);
    if (*s != '"') {
        size_t n = token_length(s);
        buf_add(&out, s, n);
        s += n;
    } else {
        for (s++; *s && *s != '"'; s++) {
            s += s[0] == '\\' && s[1] ? 1 : 0;
            buf_add_char(&out, *s);
        }
        out.is_full = out.is_full || *s != '"';
        s += *s == '"';
    }
    *ret_end = s;
    if (out.is_full) {
        buf_clear(&out);
        return NULL;
    }
    return buf_steal(&out);
}

static bool is_name(const char *s, size_t n, const char *name)
{
    return strlen(name) == n && strncasecmp(s, name, n) == 0;
}

static void set_parameter(
    struct oci_challenge *challenge, const char *name, size_t n, char *value_take)
{
    struct {
        const char *name;
        char **field;
    } fields[] = {{"realm", &challenge->realm}, {"service", &challenge->service},
        {"scope", &challenge->scope}};
    for (size_t i = 0; value_take && i < ARRAY_LEN(fields); i++) {
        if (is_name(name, n, fields[i].name) && !*fields[i].field) {
            *fields[i].field = TAKE_PTR(value_take);
        }
    }
    free(value_take);
}

struct challenges {
    struct oci_challenge bearer;
    struct oci_challenge basic;
    struct oci_challenge other; /* of unsupported schemes */
    bool has_bearer, has_basic;
};

/* The scheme at `s` begins: returns the destination of its parameters. */
static struct oci_challenge *begin_scheme(struct challenges *all, const char *s, size_t n)
{
    oci_challenge_clear(&all->other);
    if (is_name(s, n, "Bearer") && !all->has_bearer) {
        all->has_bearer = true;
        return &all->bearer;
    }
    if (is_name(s, n, "Basic") && !all->has_basic) {
        all->has_basic = true;
        return &all->basic;
    }
    return &all->other;
}

/* A token before '=' is a parameter, any other begins a scheme; the rest is skipped. */
static void read_all(const char *s, struct challenges *all)
{
    struct oci_challenge *current = &all->other;
    while (*s) {
        size_t n = token_length(s);
        const char *after = skip_blank(s + n);
        if (n == 0) {
            s++;
        } else if (*after == '=') {
            char *value = read_value(skip_blank(after + 1), &after);
            set_parameter(current, s, n, value);
            s = after;
        } else {
            current = begin_scheme(all, s, n);
            s += n;
        }
    }
}

bool oci_challenge_parse(const char *header, struct oci_challenge *ret)
{
    struct challenges all = {.bearer.is_bearer = true};
    read_all(header, &all);
    const char *realm = all.bearer.realm;
    bool is_bearer =
        all.has_bearer && realm &&
        (strncasecmp(realm, "https://", 8) == 0 || strncasecmp(realm, "http://", 7) == 0);
    oci_challenge_clear(&all.other);
    oci_challenge_clear(is_bearer ? &all.basic : &all.bearer);
    if (!is_bearer && !all.has_basic) {
        oci_challenge_clear(&all.basic);
        return false;
    }
    *ret = is_bearer ? all.bearer : all.basic;
    return true;
}

/* ---- tokens ---- */

static void add_query(struct buf *out, const char *name, const char *value)
{
    static const char unreserved[] = "-._~/:,";
    buf_printf(out, "%c%s=", strchr(buf_str(out), '?') ? '&' : '?', name);
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if (isalnum(c) || strchr(unreserved, c)) {
            buf_add_char(out, *value);
        } else {
            buf_printf(out, "%%%02X", c);
        }
    }
}

char *oci_token_url(const struct oci_challenge *challenge, const char *repository)
{
    struct buf out = BUF_INIT(0);
    cleanup_free char *scope = challenge->scope ? mem_strdup(challenge->scope)
                                                : mem_printf("repository:%s:pull", repository);
    buf_add(&out, challenge->realm, strcspn(challenge->realm, "#"));
    if (challenge->service) {
        add_query(&out, "service", challenge->service);
    }
    add_query(&out, "scope", scope);
    return buf_steal(&out);
}

static bool is_domain_of(const char *host, const char *domain)
{
    size_t n = strlen(host), m = strlen(domain);
    return n > m && host[n - m - 1] == '.' && strcasecmp(host + n - m, domain) == 0;
}

/* A name of at least two parts; an IP address is not a domain. */
static bool is_domain(const char *name)
{
    const char *last = strrchr(name, '.');
    return last && isalpha((unsigned char)last[1]);
}

bool oci_realm_is_trusted(const char *base, const char *realm)
{
    bool is_downgrade = strncasecmp(base, "https:", 6) == 0 && strncasecmp(realm, "https:", 6) != 0;
    cleanup_free char *a = url_host(base);
    cleanup_free char *b = url_host(realm);
    const char *parent_a = strchr(a, '.'), *parent_b = strchr(b, '.');
    bool is_same_parent = parent_a && parent_b && strcasecmp(parent_a, parent_b) == 0;
    return !is_downgrade &&
           (strcasecmp(a, b) == 0 || (is_domain(a) && is_domain_of(b, a)) ||
               (is_domain(b) && is_domain_of(a, b)) || (is_same_parent && is_domain(parent_a + 1)));
}

char *oci_token_read(const char *bytes, size_t n)
{
    cleanup_json json_t *answer = json_loadb(bytes, n, 0, NULL);
    const char *token = json_text(answer, "token");
    token = token ? token : json_text(answer, "access_token");
    /* A line break would start another header. */
    bool is_good = token && token[0] && strlen(token) <= TOKEN_MAX && text_is_visible(token);
    return is_good ? mem_strdup(token) : NULL;
}

/* ---- the header ---- */

char *oci_basic(const char *login)
{
    struct buf out = BUF_INIT(0);
    buf_add_str(&out, "Basic ");
    size_t start = out.len;
    base64_encode(&out, login, strlen(login));
    while ((out.len - start) % 4 != 0) {
        buf_add_char(&out, '='); /* RFC 7617 requires padding */
    }
    return buf_steal(&out);
}

char *oci_bearer(const char *token)
{
    return mem_printf("Bearer %s", token);
}
