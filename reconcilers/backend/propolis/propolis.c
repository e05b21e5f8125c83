/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/propolis/propolis.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

/* Every forced stop halts the zone. */
#define HALTED "the guest did not shut down in time; its zone was halted"

static const struct backend_words words = {
    .died = "the zone went down",
    .internal_error = "propolis-server reported an internal error",
    .not_up = "propolis-server did not come up",
    .silence = "propolis-server did not answer",
    .stops = {[MACHINE_POWERDOWN] = "the guest shut down",
        [MACHINE_QUIT] = HALTED,
        [MACHINE_TERMINATE] = HALTED,
        [MACHINE_KILL] = HALTED},
};

/* zoneadm exists on illumos only. */
static bool has_tools(void)
{
    cleanup_free char *tool = fs_find_program("zoneadm");
    return tool != NULL;
}

/* Refuses what the backend does not support; it ignores nothing. */
static int check_spec(const struct vm_spec *spec, struct error *err)
{
    enum { VCPUS_MAX = 255 }; /* board.cpus of propolis-server is a byte */
    const struct spec_network *network;
    if (!has_tools()) {
        return error_set(err, ERR_BACKEND_UNAVAILABLE,
            "vm '%s' needs backend \"propolis\", which this host does not support", spec->name);
    }
    if (strchr(spec->name, '/')) { /* the zone is the administrator's, and has its name */
        return error_set(err, ERR_BACKEND_UNAVAILABLE,
            "vm '%s' belongs to a project, and backend \"propolis\" does not support projects",
            spec->name);
    }
    for (size_t i = 0; (network = vm_spec_network(spec, i)); i++) {
        if (network->mode == NETWORK_VNIC || network->mode == NETWORK_NONE) {
            continue;
        }
        error_set(err, ERR_BACKEND_UNAVAILABLE,
            "vm '%s' needs network \"%s\", which backend \"propolis\" does not support", spec->name,
            network_mode_name(network->mode));
        return error_help(err, "write: network \"vnic\" { name \"vnic0\" }, or network \"none\"");
    }
    if (spec->vcpus > VCPUS_MAX) {
        error_set(err, ERR_BACKEND_UNAVAILABLE,
            "vm '%s' needs %u CPUs; backend \"propolis\" has at most %d", spec->name, spec->vcpus,
            VCPUS_MAX);
        return error_help(err, "write: vcpus %d", VCPUS_MAX);
    }
    return 0;
}

const struct backend *backend_propolis(void)
{
    static struct backend propolis = {
        .name = "propolis",
        .words = &words,
        .check = check_spec,
        .machine = &propolis_machine_ops,
        .media = &propolis_media_ops,
    };
    propolis.traits = backend_traits(BACKEND_PROPOLIS);
    propolis.guest = guest_ssh();
    propolis.tunnel = tunnel_ssh();
    return &propolis;
}

const char *propolis_pool(void)
{
    const char *pool = getenv("VMCTL_ZFS_POOL");
    return pool && pool[0] ? pool : "rpool";
}

int64_t propolis_timeout_ms(void)
{
    enum { DEFAULT_S = 60, MAX_S = 3600 };
    const char *text = getenv("VMCTL_PROPOLIS_TIMEOUT");
    char *end = NULL;
    long seconds = text ? strtol(text, &end, 10) : 0;
    bool is_good = end && *end == '\0' && seconds > 0 && seconds <= MAX_S;
    return (is_good ? seconds : DEFAULT_S) * INT64_C(1000);
}
