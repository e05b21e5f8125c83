/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/host_probe.h"

#include "controller/loop/loop.h"
#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/firmware.h"
#include "reconcilers/backend/qemu/host_files.h"
#include "reconcilers/backend/qemu/kvm_probe.h"
#include "reconcilers/backend/qemu/share.h"
#include "reconcilers/backend/qemu/tpm.h"
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

static json_t *path_or_error(int rc, const char *path, const struct error *err)
{
    json_t *json = json_object();
    json_put_text(json, rc == 0 ? "path" : "error", rc == 0 ? path : err->message);
    json_put_text(json, "help", rc == 0 ? NULL : error_help_text(err));
    return json;
}

static json_t *find_program(int (*find)(char **ret_path, struct error *err))
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = NULL;
    int rc = find(&path, &err);
    return path_or_error(rc, path, &err);
}

static int find_own_qemu(char **ret_path, struct error *err)
{
    return host_find_qemu(ARCH_HOST, ret_path, err);
}

static json_t *find_uefi(enum firmware kind)
{
    struct error err = {.code = ERR_NONE};
    const struct vm_spec any = {.firmware = kind};
    const struct firmware_wanted wanted = {
        kind, arch_machine(ARCH_HOST), qemu_newest_machine(&any), "/nonexistent"};
    cleanup_with(firmware_build_clear) struct firmware_build build = {.code = NULL};
    int rc = firmware_find(firmware_directories(), &wanted, &build, &err);
    return path_or_error(rc, build.code, &err);
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
    json_put(json, "qemu", find_program(find_own_qemu));
    json_put(json, "uefi", find_uefi(FIRMWARE_UEFI));
    json_put(json, "uefi-secure", find_uefi(FIRMWARE_UEFI_SECURE));
    json_put(json, "tpm", find_program(tpm_find_program));
    json_put(json, "shares", probe.shares);
    *ret = json;
    return 0;
}
