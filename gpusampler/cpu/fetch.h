// fetch: members at places, in loops of their own, so that many loads are under way at once.
//
//   in   places, members [reach] i32 | i64, or width 0: places are members
//   out  to [m], i64 or, where to_width is 4, i32 as members are
#pragma once
#include "call.h"

enum { FAR = 1 << 24 };  // bytes of members: more than caches hold, they are asked for ahead

static inline void ask_ahead(const Call *call, const u64 *places, i64 m) {
    if (call->reach * call->width < FAR) return;
    const u8 *members = call->members;
    for (i64 e = 0; e < m; e++) __builtin_prefetch(members + places[e] * (u64)call->width);
}

// To the i64 of out.
static inline void fetch(const Call *call, i64 *to, const u64 *places, i64 m) {
    const i32 *narrow = call->members;
    const i64 *wide = call->members;
    ask_ahead(call, places, m);
    if (call->width == 4)
        for (i64 e = 0; e < m; e++) to[e] = narrow[places[e]];
    else if (call->width == 8)
        for (i64 e = 0; e < m; e++) to[e] = wide[places[e]];
    else
        for (i64 e = 0; e < m; e++) to[e] = (i64)places[e];
}

// To drawn[at] and on, which is as wide as members.
static inline void fetch_drawn(const Call *call, void *drawn, i64 at, const u64 *places, i64 m) {
    if (call->width != 4) {
        fetch(call, (i64 *)drawn + at, places, m);
        return;
    }
    const i32 *narrow = call->members;
    i32 *to = (i32 *)drawn + at;
    ask_ahead(call, places, m);
    for (i64 e = 0; e < m; e++) to[e] = narrow[places[e]];
}

// drawn[to[e]], wherever that is.
static inline void fetch_apart(const Call *call, void *drawn, const u32 *to, const u64 *places, i64 m) {
    const i32 *narrow = call->members;
    const i64 *wide = call->members;
    i64 *to_wide = drawn;
    i32 *to_narrow = drawn;
    ask_ahead(call, places, m);
    if (call->width == 4)
        for (i64 e = 0; e < m; e++) {
            ONE_BY_ONE(e);
            to_narrow[to[e]] = narrow[places[e]];
        }
    else if (call->width == 8)
        for (i64 e = 0; e < m; e++) {
            ONE_BY_ONE(e);
            to_wide[to[e]] = wide[places[e]];
        }
    else
        for (i64 e = 0; e < m; e++) {
            ONE_BY_ONE(e);
            to_wide[to[e]] = (i64)places[e];
        }
}
