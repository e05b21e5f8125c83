/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/fields.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "specs/base/text.h"

static const struct field text_rows[] = {
    {.kind = FIELD_KIND_TEXT, .size = sizeof(char *)},
};
const struct fields fields_of_text = {FIELDS_OF(text_rows, char *)};

/* ---- members and items by their address ---- */

static void save(void *to, size_t size, uint64_t value)
{
    switch (size) {
    case sizeof(uint8_t):
        *(uint8_t *)to = (uint8_t)value;
        break;
    case sizeof(uint16_t):
        *(uint16_t *)to = (uint16_t)value;
        break;
    case sizeof(uint32_t):
        *(uint32_t *)to = (uint32_t)value;
        break;
    default:
        assert(size == sizeof(uint64_t));
        *(uint64_t *)to = value;
    }
}

int64_t field_number(const struct field *field, const void *owner)
{
    const void *from = field_at(field, owner);
    if (field->kind == FIELD_KIND_INT && field->size == sizeof(int32_t)) {
        return *(const int32_t *)from;
    }
    return (int64_t)field_load(from, field->size);
}

bool field_set_number(const struct field *field, void *owner, int64_t value)
{
    bool is_in_range;
    switch (field->kind) {
    case FIELD_KIND_BOOL:
        is_in_range = value == 0 || value == 1;
        break;
    case FIELD_KIND_ENUM:
        is_in_range = value >= 0 && (uint64_t)value < field->words->count;
        break;
    case FIELD_KIND_INT:
        is_in_range = field->size == sizeof(int64_t) || (value >= INT32_MIN && value <= INT32_MAX);
        break;
    default:
        is_in_range = value >= 0 && (uint64_t)value <= UINT64_MAX >> (64 - 8 * field->size);
    }
    if (is_in_range) {
        save(field_at(field, owner), field->size, (uint64_t)value);
    }
    return is_in_range;
}

static bool is_text(const struct field *field)
{
    return field->kind == FIELD_KIND_TEXT || field->kind == FIELD_KIND_JSON;
}

static bool is_pointer(const struct field *field)
{
    return field->kind == FIELD_KIND_OWNED || field->kind == FIELD_KIND_SHARED ||
           field->kind == FIELD_KIND_LIST || field->kind == FIELD_KIND_TEXTS;
}

struct field_items field_items(const struct field *field, const void *owner)
{
    const char *counter = (const char *)owner + field->count_offset;
    struct field_items items = {.first = field_at(field, owner)};
    if (is_pointer(field)) {
        items.first = *(void *const *)field_at(field, owner);
    }
    switch (field->kind) {
    case FIELD_KIND_STRUCT:
        items.count = 1;
        break;
    case FIELD_KIND_KEYED:
        items.count = field->words->count;
        break;
    case FIELD_KIND_OWNED:
    case FIELD_KIND_SHARED:
        items.count = items.first ? 1 : 0;
        break;
    case FIELD_KIND_LIST:
    case FIELD_KIND_TEXTS:
        items.count = (size_t)field_load(counter, field->count_size);
        break;
    default:
        break;
    }
    return items;
}

/* Zeroed memory with the capacity that mem_grow() assumes for an array of `count`. */
static struct field_items new_items(const struct field *field, size_t count)
{
    size_t capacity = 1;
    while (capacity < count) {
        capacity *= 2;
    }
    return (struct field_items){
        count > 0 ? mem_calloc(capacity, field->fields->size) : NULL, count};
}

bool field_is_empty(const struct field *field, const void *owner)
{
    if (field->kind != FIELD_KIND_STRUCT) {
        return field->kind == FIELD_KIND_CHARS ? !*(const char *)field_at(field, owner)
               : is_text(field)                ? !field_text(field, owner)
               : is_pointer(field)             ? field_items(field, owner).count == 0
                                               : field_number(field, owner) == 0;
    }
    bool is_any_set = false;
    for (size_t i = 0; i < field->fields->count && !is_any_set; i++) {
        is_any_set = !field_is_empty(&field->fields->rows[i], field_at(field, owner));
    }
    return !is_any_set;
}

/* ---- what a struct owns: it is copied and freed for each pass over each VM, and of its hundreds
 * of members, those of structs within it included, few own anything ---- */

struct owned {
    size_t at;    /* of the pointer; they are in this order */
    size_t owner; /* the struct that it is a member of: where that begins */
    const struct field *field;
};

struct owned_list {
    struct owned *items;
    size_t count;
};

static void add_owned(struct owned_list *list, const struct fields *fields, size_t owner)
{
    for (size_t row = 0; row < fields->count; row++) {
        const struct field *field = &fields->rows[row];
        bool is_keyed = field->kind == FIELD_KIND_KEYED;
        if (is_text(field) || is_pointer(field)) {
            mem_grow(list->items, list->count);
            list->items[list->count++] = (struct owned){owner + field->offset, owner, field};
        } else if (field->fields) {
            for (size_t i = 0; i < (is_keyed ? field->words->count : 1); i++) {
                add_owned(list, field->fields, owner + field->offset + i * field->fields->size);
            }
        }
    }
}

static int compare_places(const void *a, const void *b)
{
    size_t at = ((const struct owned *)a)->at, other = ((const struct owned *)b)->at;
    return (at > other) - (at < other);
}

static void free_owned_list(struct owned_list *list)
{
    free(list->items);
    free(list);
}

static const struct owned_list *find_owned(const struct fields *fields)
{
    struct owned_list *list = mem_new(struct owned_list), *others = NULL;
    add_owned(list, fields, 0);
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof(*list->items), compare_places);
    }
    if (!atomic_compare_exchange_strong(&fields->owned->list, &others, list)) {
        free_owned_list(list); /* another thread was as fast */
    }
    return others ? others : list;
}

static const struct owned_list *owned_of(const struct fields *fields)
{
    const struct owned_list *list =
        atomic_load_explicit(&fields->owned->list, memory_order_acquire);
    return list ? list : find_owned(fields);
}

/* ---- sharing ---- */

struct shared {
    atomic_size_t n_owners;
    _Atomic(char *) text; /* its JSON; NULL: not written yet */
    _Alignas(max_align_t) char object[];
};

static struct shared *shared_of(const void *object)
{
    return (struct shared *)(void *)((char *)(uintptr_t)object - offsetof(struct shared, object));
}

const void *fields_share(const struct fields *fields, void *object_take)
{
    if (!object_take) {
        return NULL;
    }
    struct shared *shared = mem_calloc(1, sizeof(*shared) + fields->size);
    atomic_init(&shared->n_owners, 1);
    atomic_init(&shared->text, NULL);
    memcpy(shared->object, object_take, fields->size);
    free(object_take);
    return shared->object;
}

void fields_drop(const struct fields *fields, const void *shared)
{
    if (shared && atomic_fetch_sub(&shared_of(shared)->n_owners, 1) == 1) {
        fields_clear(fields, shared_of(shared)->object);
        free(atomic_load(&shared_of(shared)->text));
        free(shared_of(shared));
    }
}

const char *fields_shared_text(const void *shared)
{
    return atomic_load_explicit(&shared_of(shared)->text, memory_order_acquire);
}

const char *fields_keep_shared_text(const void *shared, char *text_take)
{
    char *others = NULL;
    if (!atomic_compare_exchange_strong(&shared_of(shared)->text, &others, text_take)) {
        free(text_take); /* another thread was as fast */
    }
    return others ? others : text_take;
}

/* ---- creation and release ---- */

static void clear_owned(const struct field *field, void *owner, void *first)
{
    if (field->kind == FIELD_KIND_SHARED) {
        fields_drop(field->fields, first);
        return;
    }
    struct field_items items = field_items(field, owner);
    for (size_t i = 0; i < items.count; i++) { /* none of a text */
        fields_clear(field->fields, field_item(field, items, i));
    }
    free(first);
}

void fields_clear(const struct fields *fields, void *object)
{
    const struct owned_list *list = owned_of(fields);
    for (size_t i = 0; i < list->count; i++) {
        const struct owned *owned = &list->items[i];
        void *first = *(void **)(void *)((char *)object + owned->at);
        if (first) {
            clear_owned(owned->field, (char *)object + owned->owner, first);
        }
    }
}

static void unshare(const struct fields *fields, void *object);

static void unshare_owned(const struct field *field, void *owner)
{
    void **to = field_at(field, owner);
    if (is_text(field)) {
        *to = mem_strdup(*to);
        return;
    }
    if (field->kind == FIELD_KIND_SHARED) {
        (void)atomic_fetch_add(&shared_of(*to)->n_owners, 1);
        return;
    }
    struct field_items items = field_items(field, owner), copy = new_items(field, items.count);
    if (items.count > 0) {
        memcpy(copy.first, items.first, items.count * field->fields->size);
    }
    *to = copy.first;
    for (size_t i = 0; i < items.count; i++) {
        unshare(field->fields, field_item(field, copy, i));
    }
}

/* Turns a bytewise copy of a struct into one of its own: duplicates what the original owns. */
static void unshare(const struct fields *fields, void *object)
{
    const struct owned_list *list = owned_of(fields);
    for (size_t i = 0; i < list->count; i++) {
        const struct owned *owned = &list->items[i];
        if (*(void **)(void *)((char *)object + owned->at)) {
            unshare_owned(owned->field, (char *)object + owned->owner);
        }
    }
}

void *fields_copy(const struct fields *fields, const void *object)
{
    void *copy = mem_dup(object, fields->size);
    if (copy) {
        unshare(fields, copy);
    }
    return copy;
}

static void set_defaults(const struct fields *fields, void *zeroed)
{
    if (fields->defaults) {
        memcpy(zeroed, fields->defaults, fields->size);
        unshare(fields, zeroed);
    }
}

void *field_add_item(const struct field *field, void *owner)
{
    struct field_items items = field_items(field, owner);
    size_t n = items.count;
    if ((n & (n - 1)) == 0) { /* as mem_grow() */
        items.first = mem_resize(items.first, n ? n * 2 : 1, field->fields->size);
        *(void **)field_at(field, owner) = items.first;
    }
    save((char *)owner + field->count_offset, field->count_size, n + 1);
    void *item = field_item(field, items, n);
    memset(item, 0, field->fields->size);
    set_defaults(field->fields, item);
    return item;
}

void *fields_new(const struct fields *fields)
{
    return fields->defaults ? fields_copy(fields, fields->defaults) : mem_calloc(1, fields->size);
}

void fields_free(const struct fields *fields, void *object)
{
    if (object) {
        fields_clear(fields, object);
        free(object);
    }
}

/* ---- comparison ---- */

static bool are_items_equal(const struct field *field, const void *a_owner, const void *b_owner)
{
    struct field_items a = field_items(field, a_owner), b = field_items(field, b_owner);
    bool is_equal = a.count == b.count;
    for (size_t i = 0; i < a.count && is_equal; i++) {
        is_equal = fields_equal(field->fields, field_item(field, a, i), field_item(field, b, i));
    }
    return is_equal;
}

/* Rarely, a set has the same items in another order, and JSON has them in one. */
static bool are_sets_equal(const struct field *field, const void *a_owner, const void *b_owner)
{
    if (field_items(field, a_owner).count != field_items(field, b_owner).count) {
        return false;
    }
    cleanup_free char *a = field_to_text(field, a_owner), *b = field_to_text(field, b_owner);
    return text_eq(a, b);
}

bool field_equal_beyond(const struct field *field, const void *a_owner, const void *b_owner)
{
    const void *a = field_at(field, a_owner), *b = field_at(field, b_owner);
    switch (field->kind) {
    case FIELD_KIND_TEXT:
    case FIELD_KIND_JSON:
        return text_eq(field_text(field, a_owner), field_text(field, b_owner));
    case FIELD_KIND_CHARS:
        return *(const char *)a == *(const char *)b && text_eq(a, b);
    case FIELD_KIND_STRUCT:
        return fields_equal(field->fields, a, b);
    default:
        return are_items_equal(field, a_owner, b_owner) ||
               (field->is_set && are_sets_equal(field, a_owner, b_owner));
    }
}

static bool is_owned_alike(const struct owned *owned, const void *a_owner, const void *b_owner,
    const void *a, const void *b)
{
    return a && b &&
           (is_text(owned->field) ? strcmp(a, b) == 0
                                  : are_items_equal(owned->field, a_owner, b_owner));
}

/* What is the same byte for byte, but for the pointers to what is owned, and owns what is equal, is
 * equal, as a copy is that was not changed. Else bytes between the members may be what differs.
 * Most pointers are NULL in both, and compared with the bytes around them. */
static bool is_alike(const struct fields *fields, const char *a, const char *b)
{
    const struct owned_list *list = owned_of(fields);
    size_t from = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct owned *owned = &list->items[i];
        const void *a_first = *(void *const *)(const void *)(a + owned->at);
        const void *b_first = *(void *const *)(const void *)(b + owned->at);
        if (a_first == b_first) {
            continue;
        }
        if (memcmp(a + from, b + from, owned->at - from) != 0 ||
            !is_owned_alike(owned, a + owned->owner, b + owned->owner, a_first, b_first)) {
            return false;
        }
        from = owned->at + sizeof(void *);
    }
    return memcmp(a + from, b + from, fields->size - from) == 0;
}

bool fields_equal(const struct fields *fields, const void *a, const void *b)
{
    bool are_there = a && b;
    if (a == b || (are_there && (memcmp(a, b, fields->size) == 0 || is_alike(fields, a, b)))) {
        return true;
    }
    for (size_t i = 0; are_there && i < fields->count; i++) {
        if (!field_equal(&fields->rows[i], a, b)) {
            return false;
        }
    }
    return (a != NULL) == (b != NULL);
}

const struct field *fields_find(
    const struct fields *fields, const void *object, const char *path, const void **ret_owner)
{
    size_t n = strcspn(path, ".");
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->rows[i];
        if (field->name_n != n || memcmp(field->name, path, n) != 0) {
            continue;
        }
        if (path[n] == '.') {
            return fields_find(field->fields, field_at(field, object), path + n + 1, ret_owner);
        }
        *ret_owner = object;
        return field;
    }
    return NULL;
}

bool fields_take(const struct fields *fields, void *to, const void *from, const char *path)
{
    const void *to_owner, *from_owner;
    const struct field *field = fields_find(fields, to, path, &to_owner);
    (void)fields_find(fields, from, path, &from_owner);
    assert(field);
    if (field_equal(field, to_owner, from_owner)) {
        return false;
    }
    struct fields_owned owned = {NULL};
    const struct fields one = {.rows = field, .count = 1, .owned = &owned};
    char *owner = (char *)to + ((const char *)to_owner - (const char *)to);
    fields_clear(&one, owner);
    memcpy(field_at(field, owner), field_at(field, from_owner), field->size);
    memcpy(owner + field->count_offset, (const char *)from_owner + field->count_offset,
        field->count_size);
    unshare(&one, owner);
    free_owned_list(owned.list);
    return true;
}
