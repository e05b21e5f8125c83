/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/media_digest.h"

#include "specs/base/cleanup.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

static void put_file(json_t *json, const char *key, const struct spec_file *file)
{
    json_put_text(json, key, file->digest[0] ? file->digest : file->path);
}

static json_t *seed_inputs(const struct vm_spec *spec)
{
    json_t *json = json_object();
    const char *hostname = spec->cloud_init.hostname;
    json_put_text(json, "hostname", hostname ? hostname : spec->name);
    put_file(json, "userData", &spec->cloud_init.user_data);
    for (size_t i = 0; i < spec->cloud_init.n_further_user_data; i++) {
        cleanup_free char *key = mem_printf("userData-%zu", i + 2);
        put_file(json, key, &spec->cloud_init.further_user_data[i]);
    }
    put_file(json, "vendorData", &spec->cloud_init.vendor_data);
    put_file(json, "networkConfig", &spec->cloud_init.network_config);
    if (spec->cloud_init.is_joined) {
        json_put_text(json, "userDataJoined", "true");
    }
    if (!spec->cloud_init.user_data.path || spec->cloud_init.is_joined) { /* some of it is ours */
        put_file(json, "sshKey", &spec->cloud_init.ssh_key);
        json_put_text(json, "user", spec->ssh.user);
    }
    return json;
}

void spec_seed_digest(const struct vm_spec *spec, char ret_digest[DIGEST_SIZE])
{
    cleanup_json json_t *json = spec->cloud_init.is_set ? seed_inputs(spec) : json_object();
    cleanup_free char *text = json_canonical(json);
    digest_text(text, ret_digest);
}

void spec_media_digest(const struct vm_spec *spec, char ret_digest[DIGEST_SIZE])
{
    cleanup_json json_t *json = json_object();
    json_put_text(json, "imageKind", image_kind_name(spec->image.kind));
    json_put_text(json, "image", spec->image.location);
    json_put_text(json, "sha256", spec->image.sha256);
    if (spec->image.arch != ARCH_HOST) {
        json_put_text(json, "arch", arch_machine(spec->image.arch));
    }
    if (spec->cloud_init.is_set) {
        json_put(json, "seed", seed_inputs(spec));
    }
    cleanup_free char *text = json_canonical(json);
    digest_text(text, ret_digest);
}

bool spec_has_seed(const struct vm_spec *spec, const char *seed_digest)
{
    char none[DIGEST_SIZE];
    digest_text("{}", none);
    return spec->cloud_init.is_set && !text_eq(seed_digest, none);
}
