/* SPDX-License-Identifier: MPL-2.0 */
/* Functions of store.c for the store's own files and its tests only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct error;
struct paths;
struct store;

/* store_open() with another size of the first map: how a test sees a full map without 256 MiB. */
int store_open_sized(
    const struct paths *paths, size_t map_bytes, struct store **ret, struct error *err);

/* The map as it is now. */
size_t store_map_bytes(const struct store *store);

/* Refuses the file systems LMDB's locks and shared map do not work on, by statfs(2)'s f_type. */
int store_check_filesystem(int64_t magic, const char *path, struct error *err);
