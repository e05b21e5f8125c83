/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/docker_config.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

enum { CREDENTIALS_MAX = 32 * 1024, HELPER_MAX = 64, CONFIG_MAX = 1024 * 1024 };

static const char hub_server[] = "https://index.docker.io/v1/";

void oci_login_clear(struct oci_login *login)
{
    free(TAKE_PTR(login->credentials));
    free(TAKE_PTR(login->helper));
}

static bool is_hub(const char *registry)
{
    return strcasecmp(registry, "docker.io") == 0 ||
           strcasecmp(registry, "registry-1.docker.io") == 0;
}

/* Keys are registries, some with a scheme and a path. */
static bool is_key_of(const char *key, const char *registry)
{
    static const char hub[] = "index.docker.io";
    const char *host = strstr(key, "://");
    host = host ? host + strlen("://") : key;
    size_t n = strcspn(host, "/");
    return (n == strlen(registry) && strncasecmp(host, registry, n) == 0) ||
           (is_hub(registry) && n == strlen(hub) && strncasecmp(host, hub, n) == 0);
}

static const json_t *entry_of(const json_t *config, const char *table, const char *registry)
{
    const char *key;
    json_t *entry;
    json_object_foreach(json_object_get(config, table), key, entry)
    {
        if (is_key_of(key, registry)) {
            return entry;
        }
    }
    return NULL;
}

/* ---- auths ---- */

static char *decode_entry(const json_t *entry)
{
    const char *auth = json_text(entry, "auth");
    const char *user = json_text(entry, "username");
    const char *password = json_text(entry, "password");
    cleanup_buf struct buf out = BUF_INIT(CREDENTIALS_MAX);
    if (auth && auth[0] && base64_decode(&out, auth, strlen(auth)) && out.len > 0 &&
        strlen(buf_str(&out)) == out.len && strchr(buf_str(&out), ':')) {
        return buf_steal(&out);
    }
    return user && password ? mem_printf("%s:%s", user, password) : NULL;
}

/* ---- helpers ---- */

/* The configured name becomes part of a program's name, so its characters are checked. */
static char *helper_of(const json_t *config, const char *registry)
{
    const char *name = json_string_value(entry_of(config, "credHelpers", registry));
    name = name ? name : json_text(config, "credsStore");
    size_t n = 0;
    while (name && (isalnum((unsigned char)name[n]) || (name[n] && strchr("-_.", name[n])))) {
        n++;
    }
    bool is_valid = n > 0 && n <= HELPER_MAX && name[n] == '\0';
    return is_valid ? mem_printf("docker-credential-%s", name) : NULL;
}

void docker_config_login(const char *bytes, size_t n, const char *registry, struct oci_login *ret)
{
    cleanup_json json_t *config = json_loadb(bytes, n, 0, NULL);
    char *credentials = decode_entry(entry_of(config, "auths", registry));
    *ret = (struct oci_login){
        .credentials = credentials,
        .helper = credentials ? NULL : helper_of(config, registry),
    };
}

const char *docker_helper_server(const char *registry)
{
    return is_hub(registry) ? hub_server : registry;
}

/* A helper may print other text first. The user "<token>" means that the secret must first be
 * exchanged for a token, which only Docker's own registries require. */
char *docker_helper_credentials(const char *output)
{
    const char *start = strchr(output, '{');
    cleanup_json json_t *answer = start ? json_loads(start, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    const char *user = json_text(answer, "Username");
    const char *secret = json_text(answer, "Secret");
    bool is_usable = user && secret && user[0] && user[0] != '<' && !strchr(user, ':');
    return is_usable ? mem_printf("%s:%s", user, secret) : NULL;
}

/* ---- where it is ---- */

void oci_login_find(const char *registry, struct oci_login *ret)
{
    const char *github = getenv("GITHUB_TOKEN");
    *ret = (struct oci_login){.credentials = NULL};
    if (strcasecmp(registry, "ghcr.io") == 0 && github && github[0]) {
        ret->credentials =
            mem_printf("x-access-token:%s", github); /* ghcr.io ignores the user name */
        return;
    }
    const char *directory = getenv("DOCKER_CONFIG");
    cleanup_free char *path = directory && directory[0]
                                  ? fs_join(directory, "config.json")
                                  : fs_join(paths_home(), ".docker/config.json");
    cleanup_buf struct buf text = BUF_INIT(CONFIG_MAX);
    struct error err = {0};
    if (fs_exists(path) && fs_read_regular(path, &text, &err) < 0) {
        log_debug("oci", "%s", err.message);
        return;
    }
    docker_config_login(buf_str(&text), text.len, registry, ret);
}
