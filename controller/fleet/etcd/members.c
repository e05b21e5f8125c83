/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/etcd/members.h"

#include "specs/base/cleanup.h"

enum { CONNECT_MS = 2000, CONNECT_ONLY_MS = 4000 };

struct grpc_channel *members_channel(struct members *members, size_t index, struct error *err)
{
    struct member *member = &members->list[index];
    struct grpc_tls tls = {members->ca, members->certificate, members->key};
    if (!member->channel) {
        (void)grpc_channel_new(members->loop, member->url, &tls, &member->channel, err);
    }
    return member->channel;
}

void members_fail(struct members *members, size_t index)
{
    grpc_channel_drop(TAKE_PTR(members->list[index].channel));
    members->list[index].is_progress_exact = false; /* it may come back as another version */
    if (index == members->current) {
        members->current = (index + 1) % members->n;
    }
}

bool members_next(const struct members *members, size_t *index, size_t *n_tried)
{
    *index = (*index + 1) % members->n;
    return ++*n_tried < members->n;
}

int64_t members_connect_ms(const struct members *members)
{
    return members->n > 1 ? CONNECT_MS : CONNECT_ONLY_MS;
}
