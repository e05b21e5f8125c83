/* SPDX-License-Identifier: MPL-2.0 */
/* Where a guest is reached, as whom, with which keys. */
#include "reconcilers/guest/guest.h"

#include <stdlib.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/media_digest.h"
#include "specs/vm/ssh_options.h"

_Static_assert(3 + SSH_STANDARD_KEYS <= SSH_KEYS_MAX, "all keys have room");

/* Once each: the guest counts what it refuses. */
static void add_key(struct guest_address *address, char *path_take, bool is_explicit)
{
    for (size_t i = 0; i < address->n_keys; i++) {
        if (text_eq(address->keys[i].path, path_take)) {
            free(path_take);
            return;
        }
    }
    address->keys[address->n_keys++] =
        (struct ssh_key){.path = path_take, .is_explicit = is_explicit};
}

static void add_keys(struct guest_address *address, const struct vm_env *env)
{
    add_key(address, paths_vm(env->host->paths, env->name, VM_KEY), false);
    if (env->spec->ssh.private_key) {
        add_key(address, mem_strdup(env->spec->ssh.private_key), true);
    }
    char *beside = vm_spec_key_beside(env->spec);
    if (beside) {
        add_key(address, beside, false);
    }
    /* A guest that no seed of ours has set up is a stranger, which must not learn who the user is.
     */
    bool has_seed = spec_has_seed(env->spec, env->status->prepared.seed_digest);
    size_t n_standard = has_seed ? SSH_STANDARD_KEYS : 0;
    for (size_t i = 0; i < n_standard; i++) {
        add_key(address, mem_printf("%s/.ssh/%s", paths_home(), ssh_standard_keys[i]), false);
    }
}

/* With user-data of the user's own alone, or without a seed, the guest makes its host keys itself;
 * a key left over from an earlier spec is not the guest's. */
static char *pinned_host_key(const struct vm_env *env)
{
    bool has_seed = spec_has_seed(env->spec, env->status->prepared.seed_digest);
    if (!has_seed || !vm_spec_has_our_seed(env->spec)) {
        return NULL;
    }
    cleanup_free char *trusted = paths_vm(env->host->paths, env->name, VM_HOST_KEY_TRUSTED);
    cleanup_free char *ours = paths_vm(env->host->paths, env->name, VM_HOST_KEY_PUBLIC);
    return fs_exists(trusted) ? TAKE_PTR(trusted) : fs_exists(ours) ? TAKE_PTR(ours) : NULL;
}

void guest_address_init(struct guest_address *address, const struct vm_env *env)
{
    const char *user = env->spec->ssh.user;
    *address = (struct guest_address){
        .host = mem_strdup(env->status->ssh_host),
        .port = env->status->ssh_port,
        .user = mem_strdup(user ? user : SPEC_DEFAULT_USER),
        .instance_id = mem_strdup(env->status->instance.instance_id),
        .host_key_path = pinned_host_key(env),
    };
    add_keys(address, env);
}

void guest_address_clear(struct guest_address *address)
{
    for (size_t i = 0; i < address->n_keys; i++) {
        free(address->keys[i].path);
    }
    free(address->host);
    free(address->user);
    free(address->instance_id);
    free(address->host_key_path);
    *address = (struct guest_address){.host = NULL};
}

bool guest_address_equal(const struct guest_address *a, const struct guest_address *b)
{
    bool is_same = text_eq(a->host, b->host) && a->port == b->port && text_eq(a->user, b->user) &&
                   text_eq(a->instance_id, b->instance_id) &&
                   text_eq(a->host_key_path, b->host_key_path) && a->n_keys == b->n_keys;
    for (size_t i = 0; is_same && i < a->n_keys; i++) {
        is_same = text_eq(a->keys[i].path, b->keys[i].path);
    }
    return is_same;
}
