/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/fleet/fleet_sources.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

static const struct {
    const char *word;
    enum fleet_source source;
} sources[] = {
    {"url", FLEET_SOURCE_URL}, {"cache", FLEET_SOURCE_CACHE}, {"path", FLEET_SOURCE_PATH}};

static unsigned source_of(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if (text_eq(word, sources[i].word)) {
            return sources[i].source;
        }
    }
    return 0;
}

unsigned fleet_sources_read(const char *words)
{
    unsigned all = 0;
    for (const char *at = words ? words : FLEET_SOURCES_DEFAULT; at;) {
        const char *comma = strchr(at, ',');
        cleanup_free char *word = comma ? mem_strndup(at, (size_t)(comma - at)) : mem_strdup(at);
        unsigned source = source_of(word);
        if (!source) {
            return 0;
        }
        all |= source;
        at = comma ? comma + 1 : NULL;
    }
    return all;
}

unsigned fleet_sources_of_node(const json_t *node)
{
    const json_t *words = json_object_get(node, "accept");
    unsigned all = words ? 0 : FLEET_SOURCE_URL | FLEET_SOURCE_CACHE | FLEET_SOURCE_PATH;
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *word = json_string_value(json_array_get(words, i));
        all |= word ? source_of(word) : 0;
    }
    return all;
}

json_t *fleet_sources_to_json(unsigned all)
{
    json_t *words = json_array();
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if (all & sources[i].source) {
            (void)json_array_append_new(words, json_string(sources[i].word));
        }
    }
    return words;
}

/* Of the first network alone: the others have none. */
const char *fleet_spec_host_path(const struct vm_spec *spec)
{
    if (spec->image.kind == IMAGE_FILE && spec->image.location) {
        return spec->image.location;
    }
    for (size_t i = 0; i < spec->n_disks; i++) {
        if (spec->disks[i].file) {
            return spec->disks[i].file;
        }
    }
    return spec->n_shares > 0            ? spec->shares[0].host
           : spec->network.n_sockets > 0 ? spec->network.sockets[0].host
                                         : spec->vnc.password_file;
}
