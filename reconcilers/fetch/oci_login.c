/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/oci_login.h"

#include <stdlib.h>
#include <strings.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

enum { CONFIG_MAX = 1024 * 1024 };

static char *config_path(void)
{
    const char *directory = getenv("DOCKER_CONFIG");
    return directory && directory[0] ? fs_join(directory, "config.json")
                                     : fs_join(paths_home(), ".docker/config.json");
}

void oci_login_find(const char *registry, struct oci_login *ret)
{
    const char *github = getenv("GITHUB_TOKEN");
    *ret = (struct oci_login){.credentials = NULL};
    if (strcasecmp(registry, "ghcr.io") == 0 && github && github[0]) {
        ret->credentials = mem_printf("x-access-token:%s", github); /* any user name will do */
        return;
    }
    cleanup_free char *path = config_path();
    cleanup_buf struct buf text = BUF_INIT(CONFIG_MAX);
    struct error err = {0};
    if (fs_exists(path) && fs_read_file(path, &text, &err) < 0) {
        log_debug("oci", "%s", err.message);
        return;
    }
    docker_config_login(buf_str(&text), text.len, registry, ret);
}
