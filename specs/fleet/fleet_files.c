/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/fleet/fleet_files.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

#define EXECUTABLE ".x"

int fleet_files_each(struct vm_spec *spec, fleet_file_fn *each, void *context, struct error *err)
{
    struct spec_cloud_init *seed = &spec->cloud_init;
    struct spec_file *const files[] = {
        &seed->ssh_key, &seed->user_data, &seed->vendor_data, &seed->network_config};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(files); i++) {
        rc = files[i]->path ? each(context, files[i], err) : 0;
    }
    for (size_t i = 0; rc == 0 && i < seed->n_further_user_data; i++) {
        rc = each(context, &seed->further_user_data[i], err);
    }
    for (size_t i = 0; rc == 0 && i < spec->n_steps; i++) {
        rc = spec->steps[i].file.path ? each(context, &spec->steps[i].file, err) : 0;
    }
    return rc;
}

char *fleet_file_path(const char *digest, bool is_executable, const char *name)
{
    return mem_printf(FLEET_FILES_ROOT "%s%s/%s", digest, is_executable ? EXECUTABLE : "", name);
}

/* "SHA256.x/NAME" */
static bool parse_rest(const char *rest, struct fleet_file *ret)
{
    const size_t n = DIGEST_SIZE - 1;
    if (strspn(rest, "0123456789abcdef") != n) {
        return false;
    }
    memcpy(ret->digest, rest, n);
    ret->digest[n] = '\0';
    ret->is_executable = text_starts_with(rest + n, EXECUTABLE "/");
    const char *slash = rest + n + (ret->is_executable ? strlen(EXECUTABLE) : 0);
    ret->name = slash + 1;
    return *slash == '/' && fs_is_entry_name(ret->name) && !strchr(ret->name, '/');
}

bool fleet_file_parse(const char *path, struct fleet_file *ret)
{
    return path && text_starts_with(path, FLEET_FILES_ROOT) &&
           parse_rest(path + strlen(FLEET_FILES_ROOT), ret);
}

struct change_of_root {
    const char *from, *to;
};

static int change_root(void *context, struct spec_file *file, struct error *err)
{
    const struct change_of_root *change = context;
    struct fleet_file parsed;
    (void)err;
    if (text_starts_with(file->path, change->from) &&
        parse_rest(file->path + strlen(change->from), &parsed)) {
        char *path = mem_printf("%s%s", change->to, file->path + strlen(change->from));
        free(file->path);
        file->path = path;
    }
    return 0;
}

void fleet_files_place(struct vm_spec *spec, const char *data_dir)
{
    cleanup_free char *dir = mem_printf("%s/" FLEET_FILES_DIR "/", data_dir);
    struct change_of_root change = {FLEET_FILES_ROOT, dir};
    (void)fleet_files_each(spec, change_root, &change, NULL);
}

void fleet_files_unplace(struct vm_spec *spec, const char *data_dir)
{
    cleanup_free char *dir = mem_printf("%s/" FLEET_FILES_DIR "/", data_dir);
    struct change_of_root change = {dir, FLEET_FILES_ROOT};
    (void)fleet_files_each(spec, change_root, &change, NULL);
}
