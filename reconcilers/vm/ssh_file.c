/* SPDX-License-Identifier: MPL-2.0 */
/* The Host block of ssh_config(5) that `vmctl ssh-config --install` has ssh(1) include. */
#include "reconcilers/vm/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/log.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/vm/ssh_options.h"

/* What the block is made of, but for what never changes. */
struct ssh_source {
    uint64_t generation;
    char instance_id[TEXT_ID_SIZE];
    uint16_t port; /* 0: there is no block */
    char host[];
};

static bool is_source(const struct ssh_source *source, const struct pass *pass, bool has_block)
{
    const struct vm_status *status = pass->patch->status;
    return source && (source->port != 0) == has_block &&
           (!has_block || (source->port == status->ssh_port &&
                              source->generation == pass->view->desired->generation &&
                              text_eq(source->instance_id, status->instance.instance_id) &&
                              text_eq(source->host, status->ssh_host)));
}

static struct ssh_source *source_new(const struct pass *pass, bool has_block)
{
    const struct vm_status *status = pass->patch->status;
    const char *host = has_block ? status->ssh_host : "";
    struct ssh_source *source = mem_calloc(1, sizeof(*source) + strlen(host) + 1);
    if (has_block) {
        source->generation = pass->view->desired->generation;
        memcpy(source->instance_id, status->instance.instance_id, TEXT_ID_SIZE);
        source->port = status->ssh_port;
        memcpy(source->host, host, strlen(host));
    }
    return source;
}

/* A VM without a port has none, as the port may become another VM's, which ssh(1) would then reach
 * by this one's name. False: what there is stays, that of a machine that is off included. */
static bool may_change(const struct pass *pass, bool *ret_has_block)
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *status = pass->patch->status;
    *ret_has_block = ssh_options_has_address(status);
    return desired && !desired->is_deleting && !vm_spec_name_is_of_template(desired->spec->name) &&
           (*ret_has_block || status->ssh_port == 0);
}

static void print_block(const struct pass *pass, struct buf *out)
{
    const struct vm_spec *spec = pass->view->desired->spec;
    const struct paths *paths = pass->vm->host->paths;
    cleanup_with(ssh_options_clear) struct ssh_options options = {.count = 0};
    ssh_options_add_guest(&options, paths, spec, pass->patch->status, NULL);
    ssh_options_add_key_paths(&options, paths, spec);
    if (!ssh_options_unfit(&options)) {
        ssh_options_print(out, spec->name, &options);
    }
}

/* Without fsync: what a loss of power leaves is not right, and is written again. */
static int ssh_file_write(const char *path, const char *text, struct error *err)
{
    cleanup_free char *part = mem_printf("%s.part", path);
    cleanup_close int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? error_set_errno(err, ERR_IO, errno, "cannot write '%s'", part)
                    : fs_write_all(fd, text, strlen(text), err);
    if (rc == 0 && rename(part, path) < 0) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot rename '%s'", part);
    }
    return rc;
}

/* One that is right already, as after a start of the controller, is left alone. */
static int write_block(const struct pass *pass, const char *path, struct error *err)
{
    enum { BLOCK_MAX = 64 * 1024 };
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf block = BUF_INIT(0), present = BUF_INIT(BLOCK_MAX);
    print_block(pass, &block);
    bool is_right = block.len == 0 || (fs_read_file(path, &present, &ignored) == 0 &&
                                          text_eq(buf_str(&present), buf_str(&block)));
    return is_right ? 0 : ssh_file_write(path, buf_str(&block), err);
}

void pass_keep_ssh_file(struct pass *pass, bool is_under_way)
{
    struct vm *vm = pass->vm;
    bool has_block;
    if (!may_change(pass, &has_block)) {
        return;
    }
    bool is_known = is_source(vm->ssh_source, pass, has_block);
    if (is_known && (!has_block || is_under_way)) {
        return;
    }
    cleanup_free char *path = paths_vm(vm->host->paths, vm->name, VM_SSH_CONFIG);
    if (is_known && fs_exists(path)) {
        return;
    }
    struct error err = {.code = ERR_NONE};
    int rc = has_block             ? write_block(pass, path, &err)
             : pass->media.has_dir ? fs_remove_file(path, &err)
                                   : 0;
    if (rc < 0) {
        log_warn("vm", "%s: %s", vm->name, err.message);
        return;
    }
    free(vm->ssh_source);
    vm->ssh_source = source_new(pass, has_block);
}
