/* SPDX-License-Identifier: MPL-2.0 */
/* The Host block of ssh_config(5) that `vmctl ssh-config --install` has ssh(1) include. */
#include "reconcilers/vm/pass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

enum { SOURCE_SIZE = 512 }; /* a host's name has 253 bytes at most */

/* What the block is made of, but for what never changes. "": a VM without a port has none, as the
 * port may become another VM's, which ssh(1) would then reach by this one's name. False: what there
 * is stays, that of a machine that is off included. */
static bool source_of(const struct pass *pass, char ret[SOURCE_SIZE])
{
    const struct vm_desired *desired = pass->view->desired;
    const struct vm_status *status = pass->patch->status;
    ret[0] = '\0';
    if (!desired || desired->is_deleting || vm_spec_name_is_of_template(desired->spec->name)) {
        return false;
    }
    if (!ssh_options_has_address(status)) {
        return status->ssh_port == 0;
    }
    int n = snprintf(ret, SOURCE_SIZE, "%llu %s %s %u", (unsigned long long)desired->generation,
        status->instance.instance_id, status->ssh_host, status->ssh_port);
    return n < SOURCE_SIZE;
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
    struct error err = {.code = ERR_NONE};
    char source[SOURCE_SIZE];
    bool is_known = !source_of(pass, source) || text_eq(source, vm->ssh_source);
    if (is_known && (!source[0] || is_under_way)) {
        return;
    }
    cleanup_free char *path = paths_vm(vm->host->paths, vm->name, VM_SSH_CONFIG);
    if (is_known && fs_exists(path)) {
        return;
    }
    int rc = source[0] ? write_block(pass, path, &err) : fs_remove_file(path, &err);
    if (rc < 0) {
        log_warn("vm", "%s: %s", vm->name, err.message);
        return;
    }
    free(vm->ssh_source);
    vm->ssh_source = mem_strdup(source);
}
