/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/oci.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "controller/http/multi.h"
#include "controller/loop/child.h"
#include "reconcilers/fetch/docker_config.h"
#include "reconcilers/fetch/oci_auth.h"
#include "reconcilers/fetch/oci_manifest.h"
#include "reconcilers/fetch/oci_reference.h"
#include "reconcilers/fetch/request.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"

enum { MANIFEST_MAX = 4 * 1024 * 1024, TOKEN_ANSWER_MAX = 64 * 1024 };
/* A helper may prompt its user to unlock a key ring. */
enum { HELPER_TIMEOUT_MS = 30 * 1000 };

struct lookup {
    struct op op;        /* first: op_cancel() finds the lookup by it */
    struct multi *multi; /* borrowed: outlives its transfers */
    char *registry, *base, *repository;
    char *target; /* of the requested manifest: tag or "sha256:…" */
    char *architecture;
    char *basic;  /* value of an Authorization header; NULL: no credentials */
    char *helper; /* the program that returns credentials; NULL: none, or it has run */
    struct error helper_failure;
    char *authorization; /* the header sent to the registry; NULL: none yet */
    bool is_indexed;     /* an index led to the requested manifest */
    struct answer answer;
    struct proxies *proxies;
    char *url; /* of the last request */
    struct op *stage;
    struct oci_layer *layer; /* borrowed until `done` or a cancel */
};

void oci_layer_clear(struct oci_layer *layer)
{
    free(layer->url);
    free(layer->title);
    free(layer->authorization);
    free(layer->sha512);
    *layer = (struct oci_layer){0};
}

void oci_layer_copy(struct oci_layer *to, const struct oci_layer *from)
{
    *to = *from;
    to->url = mem_strdup(from->url);
    to->title = mem_strdup(from->title);
    to->authorization = mem_strdup(from->authorization);
    to->sha512 = mem_strdup(from->sha512);
}

static void cancel_lookup(struct op *op)
{
    struct lookup *l = (struct lookup *)(void *)op;
    op_cancel(l->stage);
    answer_clear(&l->answer);
    free(l->registry);
    free(l->base);
    free(l->repository);
    free(l->target);
    free(l->architecture);
    free(l->basic);
    free(l->helper);
    free(l->authorization);
    proxies_free(l->proxies);
    free(l->url);
    free(l);
}

static void lookup_fail(struct lookup *l, struct error *err)
{
    proxies_blame(l->proxies, l->url, err);
    (void)error_wrap(err, "image '%s/%s' (%s)", l->registry, l->repository, l->target);
    op_finish(&l->op, err);
}

/* Go's names of architectures, which manifests use. */
static const char *architecture_of(const char *machine)
{
    return text_eq(machine, "x86_64") ? "amd64" : text_eq(machine, "aarch64") ? "arm64" : machine;
}

static void on_manifest(void *context, const struct error *err);

static void request_manifest(struct lookup *l)
{
    free(l->url);
    l->url = mem_printf("%s/v2/%s/manifests/%s", l->base, l->repository, l->target);
    struct request request = {.url = l->url,
        .proxies = l->proxies,
        .accept = oci_manifest_accept,
        .authorization = l->authorization,
        .body_max = MANIFEST_MAX};
    l->stage = request_get(l->multi, &request, &l->answer, on_manifest, l);
}

/* ---- refused ---- */

static void fail_refused(struct lookup *l)
{
    struct error err = {0};
    (void)error_set(&err, ERR_IMAGE_DOWNLOAD, "registry %s refuses access%s (HTTP status %ld)",
        l->registry, l->basic ? " with the credentials given" : " without credentials",
        l->answer.status);
    if (l->helper_failure.code != ERR_NONE) {
        (void)error_help(
            &err, "%s; log in: docker login %s", l->helper_failure.message, l->registry);
    } else if (text_eq(l->registry, "ghcr.io")) {
        (void)error_help(&err, "set GITHUB_TOKEN, then: vmctl controller stop; or log in: "
                               "docker login ghcr.io");
    } else {
        (void)error_help(
            &err, "check the name; for a private image log in: docker login %s", l->registry);
    }
    lookup_fail(l, &err);
}

static void on_token(void *context, const struct error *err)
{
    struct lookup *l = context;
    l->stage = NULL;
    if (err) {
        struct error copy = *err;
        lookup_fail(l, &copy);
        return;
    }
    bool is_good = l->answer.status == 200;
    cleanup_free char *token =
        is_good ? oci_token_read(buf_str(&l->answer.body), l->answer.body.len) : NULL;
    if (!token) {
        fail_refused(l);
        return;
    }
    l->authorization = oci_bearer(token);
    request_manifest(l);
}

static void authenticate(struct lookup *l);

/* What a failed helper printed may be what it was asked for: words that look like tokens, and all
 * of its JSON, are not repeated. */
static void hide_secrets(char *message)
{
    enum { TOKEN_MIN = 20 };
    static const char blanks[] = " \t\"':,=";
    char *to = message, *json = strchr(message, '{');
    if (json) {
        *json = '\0';
    }
    for (const char *at = message; *at;) {
        size_t n = strcspn(at, blanks), digits = 0, gap = strspn(at + n, blanks);
        for (size_t i = 0; i < n; i++) {
            digits += at[i] >= '0' && at[i] <= '9';
        }
        bool is_token = n >= TOKEN_MIN && digits > 0 && digits < n && at[0] != '/';
        size_t kept = is_token ? 1 : n;
        memmove(to, is_token ? "*" : at, kept);
        memmove(to + kept, at + n, gap);
        to += kept + gap;
        at += n + gap;
    }
    *to = '\0';
}

/* Continues without credentials, too: public images need a token but no login. */
static void on_helper(void *context, const struct error *err, const char *output)
{
    struct lookup *l = context;
    cleanup_free char *credentials = err ? NULL : docker_helper_credentials(output);
    l->stage = NULL;
    if (credentials) {
        l->basic = oci_basic(credentials);
    } else if (err) {
        l->helper_failure = *err;
        hide_secrets(l->helper_failure.message);
    }
    authenticate(l);
}

static void run_helper(struct lookup *l)
{
    cleanup_free char *helper = TAKE_PTR(l->helper);
    const char *const argv[] = {helper, "get", NULL};
    struct child_request request = {
        .argv = argv,
        .timeout_ms = HELPER_TIMEOUT_MS,
        .standard_input = docker_helper_server(l->registry),
    };
    l->stage = child_start(multi_loop(l->multi), &request, on_helper, l);
}

static void authenticate(struct lookup *l)
{
    if (l->helper) {
        run_helper(l);
        return;
    }
    cleanup_with(oci_challenge_clear) struct oci_challenge challenge = {0};
    bool is_clear = l->answer.challenges && oci_challenge_parse(l->answer.challenges, &challenge);
    if (!is_clear || l->authorization || (!challenge.is_bearer && !l->basic)) {
        fail_refused(l);
    } else if (challenge.is_bearer) {
        free(l->url);
        l->url = oci_token_url(&challenge, l->repository);
        struct request request = {
            .url = l->url,
            .proxies = l->proxies,
            .accept = "application/json",
            .authorization = oci_realm_is_trusted(l->base, challenge.realm) ? l->basic : NULL,
            .body_max = TOKEN_ANSWER_MAX,
        };
        l->stage = request_get(l->multi, &request, &l->answer, on_token, l);
    } else {
        l->authorization = mem_strdup(l->basic);
        request_manifest(l);
    }
}

/* ---- the manifest ---- */

static int check_digest(const struct lookup *l, struct error *err)
{
    static const char prefix[] = "sha256:";
    char found[DIGEST_SIZE];
    digest_bytes(buf_str(&l->answer.body), l->answer.body.len, found);
    if (!text_starts_with(l->target, prefix) || text_eq(found, l->target + strlen(prefix))) {
        return 0;
    }
    return error_set(
        err, ERR_IMAGE_CHECKSUM, "the registry returned another manifest, sha256:%s", found);
}

static int choose(const struct lookup *l, struct oci_choice *ret, struct error *err)
{
    const struct buf *body = &l->answer.body;
    int rc = check_digest(l, err);
    if (rc == 0) {
        rc = oci_manifest_choose(buf_str(body), body->len, l->architecture, ret, err);
    }
    if (rc == 0 && ret->is_manifest && l->is_indexed) {
        return error_set(err, ERR_IMAGE_FORMAT, "its index refers to another index");
    }
    return rc;
}

static void take_manifest(struct lookup *l)
{
    struct error err = {0};
    struct oci_choice choice = {0};
    if (choose(l, &choice, &err) < 0) {
        lookup_fail(l, &err);
    } else if (choice.is_manifest) {
        l->is_indexed = true;
        free(l->target);
        l->target = mem_printf("sha256:%s", choice.digest);
        request_manifest(l);
    } else {
        struct oci_layer *layer = l->layer;
        oci_layer_clear(layer);
        layer->url = mem_printf("%s/v2/%s/blobs/sha256:%s", l->base, l->repository, choice.digest);
        memcpy(layer->digest, choice.digest, sizeof(layer->digest));
        layer->title = choice.title;
        layer->authorization = TAKE_PTR(l->authorization);
        op_finish(&l->op, NULL);
    }
}

static void on_manifest(void *context, const struct error *err)
{
    struct lookup *l = context;
    l->stage = NULL;
    struct error failure = err ? *err : (struct error){0};
    long status = l->answer.status;
    if (!err && status == 200) {
        take_manifest(l);
        return;
    }
    if (!err && (status == 401 || status == 403)) {
        authenticate(l);
        return;
    }
    if (!err && status == 404) {
        (void)error_set(&failure, ERR_IMAGE_NOT_FOUND, "the registry has no such image");
    } else if (!err) {
        (void)error_set(
            &failure, ERR_IMAGE_DOWNLOAD, "the registry returned HTTP status %ld", status);
    }
    lookup_fail(l, &failure);
}

struct op *oci_find_layer(struct multi *multi, const struct oci_reference *reference,
    const char *machine, const struct oci_login *login, const struct proxies *proxies,
    struct oci_layer *layer, op_done_fn *done, void *context)
{
    struct lookup *l = mem_new(struct lookup);
    l->op = (struct op){cancel_lookup, done, context};
    l->multi = multi;
    l->registry = mem_strdup(reference->registry);
    l->base = mem_strdup(reference->base);
    l->repository = mem_strdup(reference->repository);
    l->target = mem_strdup(reference->target);
    l->architecture = mem_strdup(architecture_of(machine));
    l->basic = login->credentials ? oci_basic(login->credentials) : NULL;
    l->helper = mem_strdup(login->helper);
    l->proxies = proxies_copy(proxies);
    l->layer = layer;
    request_manifest(l);
    return &l->op;
}
