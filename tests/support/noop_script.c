/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Scripts for the noop backend, linked in place of reconcilers/backend/noop/noop_script.c into
 * every test program and into the vmctld of a test build.
 *
 * DATA/noop/NAME.json, else DATA/noop/default.json, is read at the start of each operation, so that
 * a test changes the world by writing a file:
 *
 *   {"fetchMs": 5, "prepareMs": 5, "launchMs": 5, "bootMs": 5, "probeMs": 5, "stepMs": 5,
 *    "cloudInitMs": 5, "failCloudInit": 0, "cloudInitRuns": 0, "cloudInitFails": false,
 *    "checkMs": 5, "failFetch": 2, "failPrepare": 0, "failLaunch": 0, "failBoot": 0, "failProbe":
 * 3, "failStep": 0, "failReady": 0, "failLive": 0, "ignorePowerdown": true, "ignoreQuit": false,
 *    "ignoreTerminate": false, "ignoreKill": false, "powerdownMs": 100, "imageChanged": false,
 * "silent": false, "freeMib": 0, "refuseLogin": false, "loseConnection": false, "loseStep": false,
 *    "takenPorts": 0, "agent": false, "copyMs": 5, "failCopy": 0, "keepsFrozen": false, "thawMs":
 * 5, "failThaw": 0}
 *
 * "…Ms" is how long an operation takes; "fail…": N makes the first N tries of it fail, counted
 * since the controller opened the VM (fetch and prepare fail for as long as the script says so,
 * whatever the number); "freeMib": room for the disk, plenty when not said; "silent": the machine
 * lives but does not answer; "refuseLogin": a probe that fails was refused; "cloudInitRuns": so
 * many answers say that cloud-init runs, then that it is done, with 0 that there is none;
 * "cloudInitFails": or that it failed; "loseConnection": a step that fails does so by its
 * connection; "loseStep": or because it is gone without a result; "takenPorts": so many boots find
 * the SSH port taken by another program; "agent": one answers in the guest; "keepsFrozen": a copy
 * of the disk does not thaw what it froze.
 */
#include "reconcilers/backend/noop/noop_script.h"

#include "controller/reconciler.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"

/* NULL when there is no such file, or no JSON in it. Caller owns. */
static json_t *read_json(const char *path)
{
    enum { MAX_BYTES = 65536 };
    cleanup_buf struct buf text = BUF_INIT(MAX_BYTES);
    struct error ignored = {.code = ERR_NONE};
    if (fs_read_file(path, &text, &ignored) < 0) {
        return NULL;
    }
    return json_loadb(buf_str(&text), text.len, 0, NULL);
}

/* What the VM's own script says, else the one for all. Caller owns. */
static json_t *script_value(
    const struct reconciler_host *host, const char *vm_name, const char *key)
{
    const char *const names[] = {vm_name, "default"};
    json_t *value = NULL;
    for (size_t i = 0; i < ARRAY_LEN(names) && !value; i++) {
        cleanup_free char *path = mem_printf("%s/noop/%s.json", host->paths->data_dir, names[i]);
        cleanup_json json_t *script = read_json(path);
        value = json_incref(json_object_get(script, key));
    }
    return value;
}

int64_t noop_script_int(
    const struct reconciler_host *host, const char *vm_name, const char *key, int64_t otherwise)
{
    cleanup_json json_t *value = script_value(host, vm_name, key);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool noop_script_flag(const struct reconciler_host *host, const char *vm_name, const char *key)
{
    cleanup_json json_t *value = script_value(host, vm_name, key);
    return json_is_true(value);
}
