/* SPDX-License-Identifier: MPL-2.0 */
/* KDL text becomes a tree (vmfile_include.c), that the tree of its VMs (vmfile_expand.h), and this
 * specs; then the specs are checked together. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vmfile/vmfile.h"
#include "specs/vmfile/vmfile_expand.h"
#include "specs/vmfile/vmfile_reader.h"

static void read_vms(struct vmfile_reader *reader, const struct vmfile_expansion *expansion)
{
    for (size_t i = 0; i < expansion->n_vms; i++) {
        if (reader->file->n_vms == VMFILE_MAX_VMS) {
            vmfile_report(reader, expansion->vms[i].pos, "split the file",
                "a file can have at most %d VMs", VMFILE_MAX_VMS);
            return;
        }
        vmfile_read_vm(reader, &expansion->vms[i]);
    }
    if (reader->file->n_vms == 0 && reader->file->n_diagnostics == 0) {
        const struct kdl_pos start = {.line = 1, .column = 1, .length = 1};
        vmfile_report(reader, start, "write: vm \"name\" { image-url \"https://…\" }",
            "the file defines no VM");
    }
}

static void name_in(const char *project, char **name)
{
    cleanup_free char *plain = *name;
    *name = vm_name_in(project, plain);
}

/* In the file its VMs and volumes have their plain names, everywhere else those with the project.
 */
static void name_in_project(struct vmfile *file)
{
    for (size_t i = 0; file->project && i < file->n_vms; i++) {
        struct vm_spec *vm = file->vms[i];
        name_in(file->project, &vm->name);
        for (size_t k = 0; k < vm->n_depends_on; k++) {
            name_in(file->project, &vm->depends_on[k]);
        }
        for (size_t k = 0; k < vm->n_volumes; k++) {
            name_in(file->project, &vm->volumes[k].name);
        }
    }
}

struct vmfile *vmfile_parse(const char *text, size_t size, const struct vmfile_env *env)
{
    struct vmfile_reader reader = {.env = env, .file = mem_new(struct vmfile)};
    struct vmfile_documents documents;
    struct vmfile_expansion expansion;
    vmfile_documents_read(&reader, text, size, &documents);
    if (reader.file->n_diagnostics > 0 && documents.count < reader.file->n_sources) {
        vmfile_sort_diagnostics(reader.file); /* one of them is not KDL: the rest would follow */
        vmfile_documents_clear(&documents);
        return reader.file;
    }
    vmfile_expand(&reader, &documents.whole, &expansion);
    if (!expansion.is_too_much) { /* else one is in pieces, and some are missing */
        read_vms(&reader, &expansion);
        vmfile_check_file(&reader);
    }
    vmfile_sort_diagnostics(reader.file);
    for (size_t i = 0; i < reader.file->n_vms; i++) {
        free(reader.vms[i].forwards);
        free(reader.vms[i].networks);
        free(reader.vms[i].sockets);
        free(reader.vms[i].volumes);
        free(reader.vms[i].shares);
        free(reader.vms[i].probes[CHECK_READY]);
        free(reader.vms[i].probes[CHECK_LIVE]);
        free(reader.vms[i].depends_on);
    }
    name_in_project(reader.file);
    free(reader.vms);
    free(reader.unresolved);
    vmfile_expansion_clear(&expansion);
    vmfile_documents_clear(&documents);
    return reader.file;
}

/* Leaves those of the node, each as it is there. */
static void choose_place(struct vmfile_expansion *expansion, const char *place)
{
    size_t n = 0;
    for (size_t i = 0; i < expansion->n_vms; i++) {
        if (text_eq(vmfile_place_of(&expansion->vms[i]), place)) {
            expansion->vms[n] = expansion->vms[i];
            vmfile_drop_place(&expansion->memory, &expansion->vms[n++]);
        }
    }
    expansion->n_vms = n;
}

static void print_project(struct buf *out, const char *project)
{
    struct kdl_entry name = {.value = {.kind = KDL_STRING,
                                 .string = (char *)(uintptr_t)project,
                                 .length = project ? strlen(project) : 0}};
    struct kdl_node node = {.name = (char *)"project", .entries = &name, .n_entries = 1};
    if (project) {
        kdl_print(out, &(struct kdl_document){KDL_V2, &node, 1});
    }
}

void vmfile_print(
    struct buf *out, const char *text, size_t size, const char *place, const struct vmfile_env *env)
{
    struct vmfile_reader reader = {.env = env, .file = mem_new(struct vmfile)};
    struct vmfile_documents documents;
    struct vmfile_expansion expansion;
    vmfile_documents_read(&reader, text, size, &documents);
    vmfile_expand(&reader, &documents.whole, &expansion);
    if (place) {
        choose_place(&expansion, place);
    }
    for (size_t i = 0; i < expansion.n_vms; i++) {
        vmfile_fix_paths(&reader, &expansion.memory, &expansion.vms[i]);
    }
    vmfile_expansion_escape(&expansion);
    print_project(out, reader.file->project);
    kdl_print(out, &(struct kdl_document){KDL_V2, expansion.vms, expansion.n_vms});
    vmfile_expansion_clear(&expansion);
    vmfile_documents_clear(&documents);
    free(reader.unresolved);
    vmfile_free(reader.file);
}

void vmfile_free(struct vmfile *file)
{
    if (!file) {
        return;
    }
    for (size_t i = 0; i < file->n_vms; i++) {
        vm_spec_free(file->vms[i]);
        free(file->places[i]);
    }
    for (size_t i = 0; i < file->n_sources; i++) {
        free(file->sources[i].path);
        free(file->sources[i].shown);
        free(file->sources[i].base_dir);
        free(file->sources[i].text);
    }
    free(file->sources);
    for (size_t i = 0; i < file->n_variables; i++) {
        free(file->variables[i].name);
        free(file->variables[i].value);
        free(file->variables[i].env);
    }
    free(file->variables);
    for (size_t i = 0; i < file->n_diagnostics; i++) {
        free(file->diagnostics[i].message);
        free(file->diagnostics[i].hint);
    }
    free(file->project);
    free(file->vms);
    free(file->positions);
    free(file->places);
    free(file->diagnostics);
    free(file);
}
