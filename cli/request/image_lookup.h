/* SPDX-License-Identifier: MPL-2.0 */
/* Images by name (specs/vmfile/image_names.h), as `vmctl image` has them. */
#pragma once

struct cli;
struct error;
struct follow_values;

/* The name that the catalogue has for what `word` means, free() it; NULL: `word` is a URL.
 * -ERR_IMAGE_NOT_FOUND: the catalogue has no such image. */
int image_names_resolve(const char *word, char **ret, struct error *err);

/* Prints the images of the catalogue that are like `word`, NULL: all. */
int image_names_search(struct cli *cli, const char *word, struct error *err);

/* Asks the publisher of each image that was downloaded by its name whether it is still the current
 * one, and prints what they say. Returns as image_request_run() does. */
int image_names_outdated(struct cli *cli, const struct follow_values *follow, struct error *err);
