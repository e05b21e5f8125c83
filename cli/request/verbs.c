/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/verbs.h"

#include "cli/args.h"
#include "specs/base/error.h"
#include "specs/base/text.h"

const struct verb *verb_find(
    const struct verbs *verbs, const struct arg_strings *words, struct error *err)
{
    const char *command = verbs->command, *nearest = NULL;
    for (size_t i = 0; words->count > 0 && i < verbs->count; i++) {
        const struct verb *verb = &verbs->items[i];
        size_t n = words->count - 1;
        if (!text_eq(verb->word, words->items[0])) {
            continue;
        }
        if (n >= verb->min_words && n <= verb->max_words) {
            return verb;
        }
        (void)error_set(err, ERR_USAGE, "%s %s takes %s", command, verb->word,
            verb->max_words > 0 ? verb->usage : verbs->nothing);
        (void)error_help(err, "write: vmctl %s %s %s", command, verb->word, verb->usage);
        return NULL;
    }
    if (words->count > 0 && verbs->suggested) {
        nearest = text_nearest(words->items[0], verbs->suggested, verbs->n_suggested);
    }
    (void)error_set(err, ERR_USAGE, "%s needs one of: %s", command, verbs->choice);
    if (nearest) {
        (void)error_help(err, "did you mean `vmctl %s %s`?", command, nearest);
    } else {
        (void)error_help(err, "see: vmctl %s --help", command);
    }
    return NULL;
}

int verb_run(const struct verbs *verbs, struct cli *cli, const void *values,
    const struct arg_strings *words, struct error *err)
{
    const struct verb *verb = verb_find(verbs, words, err);
    return verb ? verb->run(cli, values, words, err) : -ERR_USAGE;
}
