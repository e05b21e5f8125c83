/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The pages of a data file as LMDB 0.9 lays them out (its mdb.c: MDB_page, MDB_node, MDB_db,
 * MDB_meta), looked at before LMDB copies, splits or frees one: it takes their sizes and numbers as
 * they are, and a wrong one makes it write over memory of its process.
 */
#include "store/lmdb/lmdb_env.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

enum {
    PAGE_HEAD = 16, /* number u64, pad, flags, lower, upper u16; of overflow their count u32 */
    AT_FLAGS = 10,
    AT_LOWER = 12,
    AT_UPPER = 14,
    IS_BRANCH = 1,
    IS_LEAF = 2,
    IS_OVERFLOW = 4,
    NODE_HEAD = 8, /* low and high half of the data's size, flags, key's size u16 */
    NODE_IS_BIG = 1,
    NODE_IS_TREE = 2,
    TREE_SIZE = 48,
    TREE_DEPTH = 6,
    TREE_ROOT = 40,
    META_FREE_TREE = PAGE_HEAD + 24,
    META_MAIN_TREE = META_FREE_TREE + TREE_SIZE,
    META_LAST_PAGE = META_MAIN_TREE + TREE_SIZE,
    META_TXN = META_LAST_PAGE + 8,
    META_SIZE = META_TXN + 8,
    FIRST_PAGE = 2, /* behind the two meta pages */
    PAGE_MIN = 512,
    PAGE_MAX = 1 << 16,
    DEPTH_MAX = 32,
    KEY_MAX = 511,
};

struct pages {
    const uint8_t *map;
    size_t page_size;
    uint64_t end;    /* the number behind the last page */
    uint64_t stored; /* how many the file has: the last ones may be free, and never written */
    uint8_t *seen;   /* a byte for each page: in a tree, or free */
};

enum tree_kind { TREE_FREE, TREE_MAIN, TREE_RECORDS };

static uint64_t number_at(const uint8_t *bytes, size_t n)
{
    uint64_t wide = 0;
    uint32_t half = 0;
    uint16_t quarter = 0;
    if (n == sizeof(wide)) {
        memcpy(&wide, bytes, sizeof(wide));
        return wide;
    }
    if (n == sizeof(half)) {
        memcpy(&half, bytes, sizeof(half));
        return half;
    }
    memcpy(&quarter, bytes, sizeof(quarter));
    return quarter;
}

/* A page has one use. */
static bool take_page(struct pages *pages, uint64_t number)
{
    if (number < FIRST_PAGE || number >= pages->end || pages->seen[number]) {
        return false;
    }
    pages->seen[number] = 1;
    return true;
}

/* The page, whose head says that it is this one; NULL: it is not. */
static const uint8_t *page_at(struct pages *pages, uint64_t number, unsigned flags)
{
    if (number >= pages->stored || !take_page(pages, number)) {
        return NULL;
    }
    const uint8_t *page = pages->map + number * pages->page_size;
    return number_at(page, 8) == number && number_at(page + AT_FLAGS, 2) == flags ? page : NULL;
}

/* Data too large for a leaf, on pages of its own; NULL: they are damaged. */
static const uint8_t *big_data(struct pages *pages, uint64_t number, uint64_t n)
{
    const uint8_t *page = page_at(pages, number, IS_OVERFLOW);
    uint64_t needed = (PAGE_HEAD + n + pages->page_size - 1) / pages->page_size;
    uint64_t count = page ? number_at(page + AT_LOWER, 4) : 0;
    if (!page || count < needed || count > pages->stored - number) {
        return NULL;
    }
    for (uint64_t i = 1; i < count; i++) {
        if (!take_page(pages, number + i)) {
            return NULL;
        }
    }
    return page + PAGE_HEAD;
}

/* A list of free pages: their number, then they, the largest first; there may be room left. */
static bool list_is_sound(struct pages *pages, const uint8_t *data, uint64_t n)
{
    uint64_t before = pages->end, count = n < 8 ? 0 : number_at(data, 8);
    if (n < 8 || n % 8 != 0 || count > n / 8 - 1) {
        return false;
    }
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = number_at(data + 8 * i, 8);
        if (number >= before || !take_page(pages, number)) {
            return false;
        }
        before = number;
    }
    return true;
}

static bool tree_is_sound(struct pages *pages, const uint8_t *tree, enum tree_kind kind);

/* `room` is from the node to the end of its page. *ret_size: what it takes of the page. */
static bool leaf_node_is_sound(
    struct pages *pages, const uint8_t *node, size_t room, enum tree_kind kind, size_t *ret_size)
{
    uint64_t n = number_at(node, 2) | number_at(node + 2, 2) << 16;
    uint64_t flags = number_at(node + 4, 2), n_key = number_at(node + 6, 2);
    uint64_t n_here = flags & NODE_IS_BIG ? sizeof(uint64_t) : n;
    if ((flags & ~(uint64_t)(NODE_IS_BIG | NODE_IS_TREE)) || n_key == 0 || n_key > KEY_MAX ||
        NODE_HEAD + n_key + n_here > room) {
        return false;
    }
    const uint8_t *data = node + NODE_HEAD + n_key;
    *ret_size = (size_t)(NODE_HEAD + n_key + n_here);
    if (flags & NODE_IS_BIG) {
        data = big_data(pages, number_at(data, 8), n);
    }
    if (flags & NODE_IS_TREE) {
        return kind == TREE_MAIN && data && n == TREE_SIZE &&
               tree_is_sound(pages, data, TREE_RECORDS);
    }
    return data && (kind != TREE_FREE || list_is_sound(pages, data, n));
}

static bool page_is_sound(struct pages *pages, uint64_t number, unsigned depth, enum tree_kind kind)
{
    bool is_leaf = depth == 1;
    const uint8_t *page = page_at(pages, number, is_leaf ? IS_LEAF : IS_BRANCH);
    uint64_t lower = page ? number_at(page + AT_LOWER, 2) : 0;
    uint64_t upper = page ? number_at(page + AT_UPPER, 2) : 0;
    uint64_t n_nodes = (lower - PAGE_HEAD) / 2, n_used = 0;
    if (lower < PAGE_HEAD || lower % 2 != 0 || lower > upper || upper > pages->page_size ||
        n_nodes < (is_leaf ? 1 : 2)) {
        return false;
    }
    for (uint64_t i = 0; i < n_nodes; i++) {
        uint64_t at = number_at(page + PAGE_HEAD + 2 * i, 2);
        if (at < upper || at % 2 != 0 || at > pages->page_size - NODE_HEAD) {
            return false;
        }
        const uint8_t *node = page + at;
        size_t room = pages->page_size - (size_t)at, size = NODE_HEAD;
        if (is_leaf) {
            if (!leaf_node_is_sound(pages, node, room, kind, &size)) {
                return false;
            }
        } else {
            uint64_t child =
                number_at(node, 2) | number_at(node + 2, 2) << 16 | number_at(node + 4, 2) << 32;
            size += (size_t)number_at(node + 6, 2);
            if (size > room || !page_is_sound(pages, child, depth - 1, kind)) {
                return false;
            }
        }
        n_used += (size + 1) & ~(size_t)1;
    }
    return n_used <= pages->page_size - upper; /* more would overlap */
}

static bool tree_is_sound(struct pages *pages, const uint8_t *tree, enum tree_kind kind)
{
    uint64_t depth = number_at(tree + TREE_DEPTH, 2), root = number_at(tree + TREE_ROOT, 8);
    if (root == UINT64_MAX) {
        return depth == 0;
    }
    return depth >= 1 && depth <= DEPTH_MAX && page_is_sound(pages, root, (unsigned)depth, kind);
}

bool lmdb_pages_are_sound(const void *map, size_t n, uint64_t txn)
{
    const uint8_t *bytes = map;
    if (sizeof(size_t) != sizeof(uint64_t) || n < META_SIZE) {
        return true; /* laid out in another way; too short is for mdb_env_open() to say */
    }
    size_t page_size = (size_t)number_at(bytes + META_FREE_TREE, 4);
    if (page_size < PAGE_MIN || page_size > PAGE_MAX || (page_size & (page_size - 1)) != 0 ||
        n < 2 * page_size) {
        return false;
    }
    bool is_first = number_at(bytes + META_TXN, 8) == txn;
    const uint8_t *meta = bytes + (is_first ? 0 : page_size);
    if (number_at(meta + META_TXN, 8) != txn) {
        return true; /* others have written twice since the transaction began */
    }
    enum { MISSING_MAX = 1 << 20 };
    uint64_t end = number_at(meta + META_LAST_PAGE, 8), stored = n / page_size;
    if (end >= stored && end - stored > MISSING_MAX) {
        return false;
    }
    cleanup_free uint8_t *seen = mem_calloc((size_t)end + 1, 1);
    struct pages pages = {
        .map = map, .page_size = page_size, .end = end + 1, .stored = stored, .seen = seen};
    return tree_is_sound(&pages, meta + META_FREE_TREE, TREE_FREE) &&
           tree_is_sound(&pages, meta + META_MAIN_TREE, TREE_MAIN);
}
