/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/oci_reference.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

enum { NAME_MAX_LENGTH = 255, TAG_MAX_LENGTH = 128, SHA256_DIGITS = 64 };

static const char scheme[] = "oci://";

bool oci_is_reference(const char *url)
{
    return strncasecmp(url, scheme, strlen(scheme)) == 0;
}

void oci_reference_clear(struct oci_reference *reference)
{
    free(TAKE_PTR(reference->registry));
    free(TAKE_PTR(reference->base));
    free(TAKE_PTR(reference->repository));
    free(TAKE_PTR(reference->target));
}

/* ---- the parts ---- */

/* "host", "host:5000", "[::1]:5000"; no user, no password. */
static bool registry_is_valid(const char *registry)
{
    const char *at = registry;
    if (*at == '[') {
        size_t n = strspn(at + 1, DIGIT "abcdefABCDEF:.");
        at += 1 + n;
        if (n == 0 || *at++ != ']') {
            return false;
        }
    } else {
        size_t n = strspn(at, LOWER UPPER DIGIT "-.");
        if (n == 0 || *at == '-' || *at == '.') {
            return false;
        }
        at += n;
    }
    uint64_t port;
    return *at == '\0' || (*at == ':' && text_to_u64(at + 1, 1, UINT16_MAX, &port));
}

/* Components begin and end with a letter or digit, so none is "." or "..". */
static bool repository_is_valid(const char *repository)
{
    if (strlen(repository) > NAME_MAX_LENGTH) {
        return false;
    }
    for (const char *at = repository;;) {
        size_t n = strspn(at, LOWER DIGIT "._-");
        if (n == 0 || !strchr(LOWER DIGIT, at[0]) || !strchr(LOWER DIGIT, at[n - 1])) {
            return false;
        }
        at += n;
        if (*at == '\0') {
            return true;
        }
        if (*at++ != '/') {
            return false;
        }
    }
}

static bool tag_is_valid(const char *tag)
{
    size_t n = strspn(tag, LOWER UPPER DIGIT "_.-");
    return n > 0 && n <= TAG_MAX_LENGTH && tag[n] == '\0' && tag[0] != '.' && tag[0] != '-';
}

static bool digest_is_valid(const char *digest)
{
    const char *digits = digest + strlen("sha256:");
    return text_starts_with(digest, "sha256:") && strspn(digits, DIGIT "abcdef") == SHA256_DIGITS &&
           digits[SHA256_DIGITS] == '\0';
}

/* ---- where it is ---- */

/* Whether `list` contains the registry, with or without its port. */
static bool list_has(const char *list, const char *registry, size_t host_length)
{
    while (list && *list) {
        size_t n = strcspn(list, ", ");
        bool is_it = n > 0 && strncasecmp(list, registry, n) == 0 &&
                     (registry[n] == '\0' || n == host_length);
        if (is_it) {
            return true;
        }
        list += n + strspn(list + n, ", ");
    }
    return false;
}

static char *base_url(const char *registry, const char *insecure)
{
    const char *bracket = strchr(registry, ']');
    size_t host_length = bracket ? (size_t)(bracket + 1 - registry) : strcspn(registry, ":");
    bool is_plain = list_has("localhost,127.0.0.1,[::1]", registry, host_length) ||
                    list_has(insecure, registry, host_length);
    /* The only registry whose name is not its address. */
    const char *address =
        strcasecmp(registry, "docker.io") == 0 ? "registry-1.docker.io" : registry;
    return mem_printf("%s://%s", is_plain ? "http" : "https", address);
}

/* ---- the whole ---- */

/* A malformed tag or digest leaves the target NULL. */
static void split(char *rest_take, const char *insecure, struct oci_reference *ret)
{
    cleanup_free char *rest = rest_take;
    char *slash = strchr(rest, '/');
    char *repository = slash ? slash + 1 : rest + strlen(rest);
    char *digest = strchr(repository, '@');
    if (digest) {
        *digest++ = '\0';
    }
    char *tag = strchr(repository, ':');
    if (tag) {
        *tag++ = '\0';
    }
    bool is_good = (!tag || tag_is_valid(tag)) && (!digest || digest_is_valid(digest));
    const char *target = digest ? digest : tag ? tag : "latest";
    ret->repository = mem_strdup(repository);
    ret->target = is_good ? mem_strdup(target) : NULL;
    if (slash) {
        *slash = '\0';
    }
    ret->registry = mem_strdup(rest);
    ret->base = base_url(rest, insecure);
}

int oci_reference_parse(
    const char *url, const char *insecure, struct oci_reference *ret, struct error *err)
{
    cleanup_with(oci_reference_clear) struct oci_reference reference = {0};
    if (oci_is_reference(url)) {
        split(mem_strdup(url + strlen(scheme)), insecure, &reference);
    }
    if (!reference.target || !registry_is_valid(reference.registry) ||
        !repository_is_valid(reference.repository)) {
        (void)error_set(
            err, ERR_IMAGE_NOT_FOUND, "'%s' is not the reference of an image in a registry", url);
        return error_help(err, "write oci://REGISTRY/REPOSITORY:TAG, such as "
                               "oci://ghcr.io/org/debian:12");
    }
    *ret = reference;
    reference = (struct oci_reference){0};
    return 0;
}
