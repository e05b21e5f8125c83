/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/step_secrets.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/guest/secret_mask.h"
#include "specs/base/buf.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_spec.h"

void step_secrets_free(struct step_secrets *secrets)
{
    if (!secrets) {
        return;
    }
    for (size_t i = 0; i < secrets->count; i++) {
        mem_wipe_text(secrets->values[i]);
    }
    free(secrets->values);
    secret_mask_free(secrets->mask);
    free(secrets);
}

/* All but plain characters as octal numbers, which no shell on the way to the command means
 * anything by; csh would a '!' even in quotes. */
static void add_variable(struct buf *out, const struct spec_variable *variable)
{
    buf_printf(out, "%s=$(printf %%b '", variable->name);
    for (const char *at = variable->value; *at; at++) {
        bool is_plain = isalnum((unsigned char)*at) || strchr(" ./:,_+@%=-", *at);
        buf_printf(out, is_plain ? "%c" : "\\0%03o", (unsigned char)*at);
    }
    buf_add_str(out, "') ");
}

char *step_environment(const struct spec_step *step)
{
    struct buf out = BUF_INIT(0);
    for (size_t i = 0; i < step->n_env; i++) {
        add_variable(&out, &step->env[i]);
    }
    for (size_t i = 0; i < step->n_secrets; i++) {
        buf_printf(&out, "%s=$secret_%zu ", step->secrets[i].name, i + 1);
    }
    return buf_steal(&out);
}

static size_t count_lines(const char *value)
{
    size_t n = 1;
    for (; *value; value++) {
        n += *value == '\n';
    }
    return n;
}

char *step_secrets_input(const struct step_secrets *secrets, size_t *ret_lines)
{
    struct buf out = BUF_INIT(0);
    *ret_lines = 0;
    for (size_t i = 0; secrets && i < secrets->count; i++) {
        buf_add_str(&out, secrets->values[i]);
        buf_add_char(&out, '\n');
        *ret_lines += count_lines(secrets->values[i]);
    }
    return buf_steal(&out);
}

char *step_secrets_take(const struct step_secrets *secrets)
{
    struct buf out = BUF_INIT(0);
    for (size_t i = 0; secrets && i < secrets->count; i++) {
        buf_printf(&out, "take %zu; secret_%zu=$st; ", count_lines(secrets->values[i]), i + 1);
    }
    return buf_steal(&out);
}
