// slots: see slots.h.
#include "slots.h"

void scatter(const Call *call, i64 t, const void *drawn, const u32 *source, SlotRoom *room) {
    i64 size = call->size, *out = call->out + t * size, narrow = call->width == 4;
    const i32 *drawn4 = drawn;
    const i64 *drawn8 = drawn;
    if (call->slot_a < 0) {
        for (i64 r = 0; r < size; r++) out[r] = narrow ? drawn4[source[r]] : drawn8[source[r]];
        return;
    }
    Permutation p = {
        (u32)size, (u32)call->slot_a, (u32)call->slot_b,
        key_of(call->seed, SLOT, (u64)(call->g0 + t * call->stride), 0),
    };
    for (i64 r = 0; r < size; r += CHUNK) {
        i64 m = least(CHUNK, size - r);
        permute_run(room->slots, (u32)r, m, p, &room->halves);
        if (narrow)
            for (i64 e = 0; e < m; e++) {
                ONE_BY_ONE(e);
                out[room->slots[e]] = drawn4[source[r + e]];
            }
        else
            for (i64 e = 0; e < m; e++) {
                ONE_BY_ONE(e);
                out[room->slots[e]] = drawn8[source[r + e]];
            }
    }
}
