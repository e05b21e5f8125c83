/* SPDX-License-Identifier: MPL-2.0 */
/* KDL text becomes a tree (specs/kdl), the tree specs; then the specs are checked together. */
#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile.h"
#include "specs/vmfile/vmfile_reader.h"

static void read_top_level(struct vmfile_reader *reader, const struct kdl_document *doc)
{
    static const char *const names[] = {"vm"};
    for (size_t i = 0; i < doc->n_nodes; i++) {
        const struct kdl_node *node = &doc->nodes[i];
        if (!text_eq(node->name, "vm")) {
            vmfile_report_unknown(reader, node->pos, node->name, names, ARRAY_LEN(names),
                "unknown node `%s` at the top of the file, which holds `vm` blocks", node->name);
        } else if (reader->file->n_vms == VMFILE_MAX_VMS) {
            vmfile_report(reader, node->pos, "split the file", "a file can hold at most %d VMs",
                VMFILE_MAX_VMS);
            return;
        } else {
            vmfile_read_vm(reader, node);
        }
    }
    if (reader->file->n_vms == 0 && reader->file->n_diagnostics == 0) {
        const struct kdl_pos start = {.line = 1, .column = 1, .length = 1};
        vmfile_report(reader, start, "write: vm \"name\" { image-url \"https://…\" }",
            "the file defines no VM");
    }
}

struct vmfile *vmfile_parse(const char *text, size_t size, const struct vmfile_env *env)
{
    static const struct kdl_limits limits = {
        .max_bytes = VMFILE_MAX_BYTES,
        .max_depth = VMFILE_MAX_DEPTH,
        .max_nodes = VMFILE_MAX_NODES,
    };
    struct vmfile_reader reader = {.env = env, .file = mem_new(struct vmfile)};
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    if (kdl_parse(text, size, KDL_AUTO, &limits, &doc, &error) < 0) {
        vmfile_report_syntax(&reader, &error);
        return reader.file;
    }
    read_top_level(&reader, doc);
    vmfile_check_file(&reader);
    vmfile_sort_diagnostics(reader.file);
    for (size_t i = 0; i < reader.file->n_vms; i++) {
        free(reader.vms[i].forwards);
        free(reader.vms[i].volumes);
        free(reader.vms[i].probes[CHECK_READY]);
        free(reader.vms[i].probes[CHECK_LIVE]);
        free(reader.vms[i].depends_on);
    }
    free(reader.vms);
    kdl_document_free(doc);
    return reader.file;
}

void vmfile_free(struct vmfile *file)
{
    if (!file) {
        return;
    }
    for (size_t i = 0; i < file->n_vms; i++) {
        vm_spec_free(file->vms[i]);
    }
    for (size_t i = 0; i < file->n_diagnostics; i++) {
        free(file->diagnostics[i].message);
        free(file->diagnostics[i].hint);
    }
    free(file->vms);
    free(file->positions);
    free(file->diagnostics);
    free(file);
}
