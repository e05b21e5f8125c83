/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/secrets.h"

#include <stdlib.h>
#include <string.h>

#include "controller/secrets.h"
#include "reconcilers/guest/secret_mask.h"
#include "reconcilers/vm/pass.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"

static const struct vm_provision *provision_of(const struct pass *pass)
{
    return &pass->view->status->provision;
}

static const struct spec_step *next_step_of(const struct pass *pass)
{
    uint32_t index = provision_of(pass)->next_step;
    return index < pass->env.spec->n_steps ? &pass->env.spec->steps[index] : NULL;
}

/* ---- where they are got from ---- */

static int read_secret_file(
    struct pass *pass, const struct spec_secret *secret, char **ret, struct error *err)
{
    enum { LINE_END_MAX = 2 };
    cleanup_with(buf_wipe) struct buf text = BUF_INIT(SECRETS_MAX_BYTES + LINE_END_MAX);
    struct error cause = {.code = ERR_NONE};
    int rc = user_path_read(secret->from, &text, &cause);
    const char *of_value = text.is_full || rc == 0 ? spec_secret_problem(secret, &text) : NULL;
    const char *problem = of_value ? of_value : rc < 0 ? cause.message : NULL;
    *ret = problem ? NULL : mem_strndup(text.data, text.len);
    if (problem) {
        (void)error_set(err, ERR_SECRET, "step %u of vm '%s': its secret \"%s\" of '%s': %s",
            provision_of(pass)->next_step + 1, pass->vm->name, secret->name, secret->from, problem);
        return error_help(err, "make the file readable, then: vmctl up --name %s", pass->vm->name);
    }
    return 0;
}

static int get_one(
    struct pass *pass, const struct spec_secret *secret, char **ret, struct error *err)
{
    if (secret->source == SECRET_FROM_FILE) {
        return read_secret_file(pass, secret, ret, err);
    }
    cleanup_free char *key = spec_secret_key(secret);
    const char *value = secrets_get(pass->vm->host->secrets, pass->vm->name, key);
    *ret = mem_strdup(value);
    return value ? 0
                 : error_set(err, ERR_SECRET,
                       "step %u of vm '%s' waits for its secret \"%s\" (from-%s \"%s\"), which the "
                       "command that requests the steps provides",
                       provision_of(pass)->next_step + 1, pass->vm->name, secret->name,
                       enum_names_at(&secret_source_words, secret->source), secret->from);
}

/* ---- whether they changed ---- */

static int read_key(const struct paths *paths, uint8_t ret[DIGEST_KEY_SIZE], struct error *err)
{
    cleanup_free char *path = paths_path(paths, "secrets.key");
    cleanup_buf struct buf text = BUF_INIT(DIGEST_KEY_SIZE + 1);
    struct error ignored = {.code = ERR_NONE};
    if (fs_read_file(path, &text, &ignored) == 0 && text.len == DIGEST_KEY_SIZE) {
        memcpy(ret, text.data, DIGEST_KEY_SIZE);
        return 0;
    }
    digest_random(ret, DIGEST_KEY_SIZE);
    return fs_write_file(path, ret, DIGEST_KEY_SIZE, 0600, err);
}

static int make_digest(struct pass *pass, const struct spec_step *step,
    struct step_secrets *secrets, struct error *err)
{
    uint8_t key[DIGEST_KEY_SIZE];
    cleanup_with(buf_wipe) struct buf text = BUF_INIT(0);
    int rc = read_key(pass->vm->host->paths, key, err);
    for (size_t i = 0; rc == 0 && i < secrets->count; i++) {
        buf_add(&text, step->secrets[i].name, strlen(step->secrets[i].name) + 1);
        buf_add(&text, secrets->values[i], strlen(secrets->values[i]) + 1);
    }
    if (rc == 0) {
        digest_keyed(key, text.data, text.len, secrets->digest);
    }
    explicit_bzero(key, sizeof(key));
    return rc;
}

/* ---- those of the next step ---- */

static int gather(
    struct pass *pass, const struct spec_step *step, struct step_secrets *ret, struct error *err)
{
    size_t size = 0;
    int rc = 0;
    ret->values = mem_calloc(step->n_secrets, sizeof(*ret->values));
    for (size_t i = 0; rc == 0 && i < step->n_secrets; i++) {
        rc = get_one(pass, &step->secrets[i], &ret->values[i], err);
        ret->count += rc == 0;
        size += rc == 0 ? strlen(ret->values[i]) : 0;
    }
    if (rc == 0 && size > SECRETS_MAX_BYTES) {
        rc = error_set(err, ERR_SECRET,
            "step %u of vm '%s': its secrets together have more than %d KiB", ret->index + 1,
            pass->vm->name, SECRETS_MAX_BYTES >> 10);
    }
    if (rc == 0) {
        ret->mask = secret_mask_new((const char *const *)ret->values, ret->count);
        rc = step->run == RUN_ON_CHANGE ? make_digest(pass, step, ret, err) : 0;
    }
    return rc;
}

static bool are_of_next_run(const struct pass *pass)
{
    const struct step_secrets *secrets = pass->vm->secrets;
    return secrets && secrets->index == provision_of(pass)->next_step &&
           secrets->run_started_at_ms == provision_of(pass)->run.started_at_ms;
}

/* Of a run that has begun they are in the guest already: a vmctld that did not begin it follows it
 * without them. */
int step_secrets_get(struct pass *pass, struct error *err)
{
    const struct spec_step *step = next_step_of(pass);
    int64_t run_started_at_ms = provision_of(pass)->run.started_at_ms;
    if (!step || step->n_secrets == 0) { /* those of the step before are not handed to it */
        step_secrets_free(TAKE_PTR(pass->vm->secrets));
        return 0;
    }
    if (run_started_at_ms > 0 && are_of_next_run(pass)) {
        return 0;
    }
    struct step_secrets *secrets = mem_new(struct step_secrets);
    secrets->index = provision_of(pass)->next_step;
    secrets->run_started_at_ms = run_started_at_ms;
    int rc = run_started_at_ms > 0 ? 0 : gather(pass, step, secrets, err);
    step_secrets_free(pass->vm->secrets);
    pass->vm->secrets = secrets;
    if (rc < 0) {
        step_secrets_free(TAKE_PTR(pass->vm->secrets));
    }
    return rc;
}

const char *step_secrets_digest(const struct pass *pass)
{
    const struct spec_step *step = next_step_of(pass);
    if (!step || step->n_secrets == 0) {
        return "";
    }
    return are_of_next_run(pass) && pass->vm->secrets->digest[0] ? pass->vm->secrets->digest : NULL;
}

void step_secrets_forget(struct pass *pass)
{
    step_secrets_free(TAKE_PTR(pass->vm->secrets));
    secrets_forget(pass->vm->host->secrets, pass->vm->name);
}
