/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/media/identify.h"

#include <stdlib.h>
#include <string.h>

#include "controller/loop/loop.h"
#include "controller/loop/pool.h"
#include "reconcilers/backend/backend.h"
#include "reconcilers/guest/identity.h"
#include "reconcilers/guest/settle_guest.sh.h"
#include "reconcilers/guest/take_identity.sh.h"
#include "reconcilers/media/seed.h"
#include "reconcilers/template/template_files.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"

/* Fifty guests that are woken at once on two busy processors without KVM take most of a minute: one
 * that is given up boots, which costs them all far more. */
enum { SETTLE_MS = 60000, IDENTIFY_MS = 180000, RECORDS_MAX = 1 << 20 };

struct identify_op {
    struct op op; /* first */
    struct loop *loop;
    char *socket_path;
    struct op *inner;            /* the files are read, then sent */
    struct gathering *gathering; /* borrowed from the former */
};

/* What pool work may touch. */
struct gathering {
    struct paths paths;
    struct vm_spec *spec;
    struct buf records;
};

static int add_vm_file(
    struct gathering *g, enum vm_file file, unsigned mode, const char *path, struct error *err)
{
    cleanup_with(buf_wipe) struct buf bytes = BUF_INIT(RECORDS_MAX); /* a private key */
    cleanup_free char *from = paths_vm(&g->paths, g->spec->name, file);
    int rc = fs_read_file(from, &bytes, err);
    if (rc == 0) {
        identity_add_file(&g->records, mode, path, buf_str(&bytes), bytes.len);
    }
    return rc;
}

static int gather(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    enum { MACHINE_ID_DIGITS = 32 };
    struct gathering *g = context;
    struct buf *records = &g->records;
    cleanup_buf struct buf keys = BUF_INIT(RECORDS_MAX);
    cleanup_free char *name = seed_hostname(g->spec);
    cleanup_free char *hostname = mem_printf("%s\n", name);
    char id[TEXT_ID_SIZE];
    (void)is_cancelled;
    digest_random_id(id);
    cleanup_free char *machine_id = mem_printf("%.*s\n", MACHINE_ID_DIGITS, id);
    buf_printf(records, "H %s\n", name);
    identity_add_file(records, 0644, "/etc/hostname", hostname, strlen(hostname));
    identity_add_file(records, 0444, "/etc/machine-id", machine_id, strlen(machine_id));
    int rc = seed_read_authorized_keys(&g->paths, g->spec, &keys, err);
    buf_add_char(&keys, '\n');
    identity_add_file(records, 0600, "/run/vmctl-keys", buf_str(&keys), keys.len);
    rc = rc < 0 ? rc : add_vm_file(g, VM_HOST_KEY, 0600, "/run/vmctl-host-key", err);
    rc = rc < 0 ? rc : add_vm_file(g, VM_HOST_KEY_PUBLIC, 0644, "/run/vmctl-host-key.pub", err);
    identity_add_file(
        records, 0700, "/run/vmctl-take-identity", take_identity_sh, sizeof(take_identity_sh) - 1);
    buf_printf(records, "X sh /run/vmctl-take-identity '%s'\n", g->spec->ssh.user);
    return rc < 0 || !records->is_full
               ? rc
               : error_set(err, ERR_IDENTITY, "the guest's own identity is too long");
}

static void free_gathering(void *context)
{
    struct gathering *g = context;
    buf_wipe(&g->records); /* a private key */
    paths_clear(&g->paths);
    vm_spec_free(g->spec);
    free(g);
}

/* ---- the operations ---- */

struct op *media_seal(
    const struct vm_env *env, struct template_record *record_take, op_done_fn *done, void *context)
{
    cleanup_free char *overlay = paths_vm(env->host->paths, env->name, VM_OVERLAY);
    return template_seal(env, overlay, record_take, done, context);
}

static void identify_cancel(struct op *op)
{
    struct identify_op *self = (struct identify_op *)(void *)op;
    op_cancel(self->inner);
    free(self->socket_path);
    free(self);
}

static void sent(void *context, const struct error *err)
{
    struct identify_op *self = context;
    self->inner = NULL;
    op_finish(&self->op, err);
}

/* The work's context is freed only after this. */
static void gathered(void *context, const struct error *err)
{
    struct identify_op *self = context;
    self->inner = NULL;
    if (err) {
        op_finish(&self->op, err);
        return;
    }
    const struct identity_order order = {.socket_path = self->socket_path,
        .records = buf_str(&self->gathering->records),
        .n = self->gathering->records.len,
        .is_last = true,
        .timeout_ms = IDENTIFY_MS};
    self->inner = identity_send(self->loop, &order, sent, self);
}

static struct identify_op *new_identify_op(
    const struct vm_env *env, op_done_fn *done, void *context)
{
    struct identify_op *self = mem_new(struct identify_op);
    *self = (struct identify_op){.op = {identify_cancel, done, context},
        .loop = env->host->loop,
        .socket_path = paths_vm(env->host->paths, env->name, VM_IDENTITY_SOCKET)};
    return self;
}

struct op *media_settle_guest(const struct vm_env *env, op_done_fn *done, void *context)
{
    struct identify_op *self = new_identify_op(env, done, context);
    cleanup_buf struct buf records = BUF_INIT(RECORDS_MAX);
    identity_add_file(
        &records, 0700, "/var/lib/vmctl/settle", settle_guest_sh, sizeof(settle_guest_sh) - 1);
    buf_add_str(&records, "X sh /var/lib/vmctl/settle\n");
    const struct identity_order order = {.socket_path = self->socket_path,
        .records = buf_str(&records),
        .n = records.len,
        .timeout_ms = SETTLE_MS};
    self->inner = identity_send(self->loop, &order, sent, self);
    return &self->op;
}

struct op *media_identify_guest(const struct vm_env *env, op_done_fn *done, void *context)
{
    struct identify_op *self = new_identify_op(env, done, context);
    self->gathering = mem_new(struct gathering);
    *self->gathering = (struct gathering){
        .paths = {.data_dir = mem_strdup(env->host->paths->data_dir)},
        .spec = vm_spec_copy(env->spec),
        .records = BUF_INIT(RECORDS_MAX),
    };
    self->inner = pool_start_in(
        env->host->pool, POOL_SOURCE, gather, free_gathering, self->gathering, gathered, self);
    return &self->op;
}
