/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/host_probe.h"

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/host_files.h"
#include "reconcilers/backend/qemu/kvm_probe.h"
#include "reconcilers/backend/qemu/share.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

struct host_probe {
    struct loop *loop;
    json_t *kvm, *shares;
    unsigned n_awaited;
};

static void came(struct host_probe *probe)
{
    if (--probe->n_awaited == 0) {
        loop_stop(probe->loop);
    }
}

static void probed(void *context, enum kvm_verdict verdict, const char *reason)
{
    struct host_probe *probe = context;
    json_put_flag(probe->kvm, "usable", verdict == KVM_USABLE);
    json_put_text(probe->kvm, "reason", reason);
    came(probe);
}

static void shares_probed(void *context, const struct share_program *program, const char *fault)
{
    struct host_probe *probe = context;
    json_put_text(probe->shares, "path", program->path);
    json_put_text(probe->shares, "error", fault);
    came(probe);
}

static json_t *find_qemu(void)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = NULL;
    json_t *json = json_object();
    if (host_find_qemu(&path, &err) == 0) {
        json_put_text(json, "path", path);
    } else {
        json_put_text(json, "error", err.message);
        json_put_text(json, "help", error_help_text(&err));
    }
    return json;
}

int host_probe_run(json_t **ret, struct error *err)
{
    struct host_probe probe = {.n_awaited = 2};
    int rc = loop_new(&probe.loop, err);
    if (rc < 0) {
        return rc;
    }
    probe.kvm = json_object();
    probe.shares = json_object();
    (void)kvm_probe_start(probe.loop, probed, &probe); /* both end by themselves, in any case */
    (void)share_probe_start(probe.loop, "/usr", shares_probed, &probe);
    loop_run(probe.loop);
    loop_free(probe.loop);
    json_t *json = json_object();
    json_put(json, "kvm", probe.kvm);
    json_put(json, "qemu", find_qemu());
    json_put(json, "shares", probe.shares);
    *ret = json;
    return 0;
}
