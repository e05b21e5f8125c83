/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/fleet/fleet_config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/fleet/fleet_sources.h"
#include "specs/vmfile/nodes_file.h"

enum { CONFIG_MAX_BYTES = 64 * 1024 };

static const struct field config_rows[] = {
    FIELD(struct fleet_config, fleet, "fleet", .is_required = true),
    FIELD(struct fleet_config, uid, "uid"),
    FIELD(struct fleet_config, node, "node", .is_required = true),
    FIELD(struct fleet_config, ssh, "ssh"),
    FIELD_TEXTS(struct fleet_config, endpoints, n_endpoints, "endpoints"),
    FIELD(struct fleet_config, ca, "ca"),
    FIELD(struct fleet_config, cert, "cert"),
    FIELD(struct fleet_config, key, "key"),
    FIELD(struct fleet_config, ttl_s, "ttl"),
    FIELD(struct fleet_config, labels, "labels"),
    FIELD(struct fleet_config, accept, "accept"),
};
static const struct fleet_config no_config = {.ttl_s = FLEET_TTL_S};
static const struct fields config_fields = {
    FIELDS_OF(config_rows, struct fleet_config), .defaults = &no_config};

struct fleet_config *fleet_config_new(void)
{
    return fields_new(&config_fields);
}

void fleet_config_free(struct fleet_config *config)
{
    fields_free(&config_fields, config);
}

json_t *fleet_config_to_json(const struct fleet_config *config)
{
    return fields_to_json(&config_fields, config);
}

static const char *find_fault(const struct fleet_config *config)
{
    bool has_all = config->ca && config->cert && config->key;
    bool has_any = config->ca || config->cert || config->key;
    return !config->fleet || !fleet_name_is_valid(config->fleet)
               ? "its \"fleet\" cannot be the name of a fleet"
           : !config->node || !node_name_is_valid(config->node)
               ? "its \"node\" cannot be the name of a node"
           : config->ssh && !node_address_is_valid(config->ssh)
               ? "its \"ssh\" is not an address for ssh"
           : config->accept && !fleet_sources_read(config->accept)
               ? "its \"accept\" is not of the words url, cache and path"
           : config->n_endpoints == 0        ? "it has no \"endpoints\""
           : has_any && !has_all             ? "it needs all of \"ca\", \"cert\" and \"key\""
           : config->ttl_s < FLEET_TTL_MIN_S ? "its \"ttl\" is too short"
           : config->ttl_s > FLEET_TTL_MAX_S ? "its \"ttl\" is too long"
                                             : NULL;
}

struct fleet_config *fleet_config_read(const char *text, size_t size, struct error *err)
{
    struct error cause = {.code = ERR_NONE};
    struct fleet_config *config = fleet_config_new();
    int rc = fields_read(&config_fields, (struct bytes){text, size}, config, NULL, &cause);
    const char *fault = rc < 0 ? cause.message : find_fault(config);
    if (fault) {
        fleet_config_free(config);
        (void)error_set(err, ERR_FLEET_CONFIG, "this host's settings of the fleet: %s", fault);
        return NULL;
    }
    return config;
}

char *fleet_host_id(const struct paths *paths)
{
    char digest[DIGEST_SIZE];
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf id = BUF_INIT(4096);
    if (fs_read_file("/etc/machine-id", &id, &ignored) < 0 || id.len == 0) {
        char host[65] = ""; /* of a container, often */
        (void)gethostname(host, sizeof(host) - 1);
        buf_add_str(&id, host);
    }
    buf_printf(&id, " %s", paths->data_dir);
    digest_text(buf_str(&id), digest);
    return mem_strndup(digest, 32);
}

int fleet_config_load(const struct paths *paths, struct fleet_config **ret, struct error *err)
{
    cleanup_free char *path = paths_path(paths, FLEET_CONFIG_FILE);
    cleanup_buf struct buf text = BUF_INIT(CONFIG_MAX_BYTES);
    struct error cause = {.code = ERR_NONE};
    *ret = NULL;
    if (fs_read_regular(path, &text, &cause) < 0) {
        if (cause.sys_errno == ENOENT || cause.sys_errno == ENOTDIR) {
            return 0;
        }
        *err = cause;
        return -(int)err->code;
    }
    *ret = fleet_config_read(buf_str(&text), text.len, err);
    return *ret ? 0 : -(int)err->code;
}

int fleet_config_save(
    const struct paths *paths, const struct fleet_config *config, struct error *err)
{
    cleanup_free char *directory = paths_path(paths, "fleet");
    cleanup_free char *path = paths_path(paths, FLEET_CONFIG_FILE);
    cleanup_json json_t *json = fleet_config_to_json(config);
    cleanup_free char *text = json_dumps(json, JSON_INDENT(2));
    int rc = fs_make_dirs(directory, 0700, err);
    return rc < 0 ? rc : fs_write_file(path, text, strlen(text), 0600, err);
}
