/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: what registries and users write about images. The first byte chooses the
 * reader; what a reader accepts must keep what it promises. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "reconcilers/fetch/docker_config.h"
#include "reconcilers/fetch/oci_auth.h"
#include "reconcilers/fetch/oci_manifest.h"
#include "reconcilers/fetch/oci_reference.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void read_reference(const char *text)
{
    cleanup_with(oci_reference_clear) struct oci_reference reference = {0};
    struct error err = {0};
    if (oci_reference_parse(text, text, &reference, &err) == 0) {
        must(!strstr(reference.repository, "/../"));
        must(!strpbrk(reference.repository, "@?#: \r\n") && !strpbrk(reference.target, "/?# \r\n"));
        must(!strpbrk(reference.base, "@?# \r\n"));
    } else {
        must(err.code == ERR_IMAGE_NOT_FOUND && !reference.base);
    }
}

static void read_challenge(const char *text)
{
    cleanup_with(oci_challenge_clear) struct oci_challenge challenge = {0};
    if (oci_challenge_parse(text, &challenge) && challenge.is_bearer) {
        cleanup_free char *url = oci_token_url(&challenge, "a/b");
        must(strncasecmp(url, "http", 4) == 0 && strstr(url, "scope="));
        (void)oci_realm_is_trusted("https://ghcr.io", challenge.realm);
        (void)oci_realm_is_trusted(challenge.realm, challenge.realm);
    }
}

static void read_manifest(const char *text, size_t n)
{
    struct oci_choice choice = {0};
    struct error err = {0};
    if (oci_manifest_choose(text, n, "amd64", &choice, &err) == 0) {
        must(strspn(choice.digest, "0123456789abcdef") == 64);
        free(choice.title);
    } else {
        must(err.code == ERR_IMAGE_FORMAT && !strchr(err.message, '\033'));
    }
}

static void read_secrets(const char *text, size_t n)
{
    cleanup_free char *token = oci_token_read(text, n);
    cleanup_free char *answer = docker_helper_credentials(text);
    cleanup_with(oci_login_clear) struct oci_login login = {.credentials = NULL};
    docker_config_login(text, n, "ghcr.io", &login);
    must(!token || !strpbrk(token, " \r\n\t"));
    must(!answer || strchr(answer, ':'));
    must(!login.credentials || strchr(login.credentials, ':'));
    must(!login.helper || !strpbrk(login.helper, "/ \n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    char *text = mem_strndup((const char *)data + 1, size - 1);
    size_t n = strlen(text);
    switch (data[0]) {
    case 'r':
        read_reference(text);
        break;
    case 'c':
        read_challenge(text);
        break;
    case 'm':
        read_manifest(text, n);
        break;
    default:
        read_secrets(text, n);
        break;
    }
    free(text);
    return 0;
}
