// random: each slot drawn by itself, with replacement.
//
//   in   tables rows [A, 3] i64, cuts [A + 1] u64, guide [2^k + 1] i32 (plans/fixed.py), classes
//        [n, B] i64 or none; numbers: the shift of the guide, and the steps that find a row in it
//   out  flat slots first .. end of out; NO_ROW where a given class is no row
//
// Slot s of batch g has the 128 bits of Philox(seed; g, s, PICK): 64 draw the class, the last with
// cuts[row] <= bits, and 64 the member, (bits * n) >> 64.
#if defined(__clang__)  // else a round waits for its keys; elsewhere registers run out
#define UNROLLED _Pragma("clang loop unroll(full)")
#endif
#include "bits.h"
#include "fetch.h"
#include "room.h"
#include "wide.h"

enum { ROWS, CUTS, GUIDE, CLASSES };
enum { CLASS, SIZE, FIRST, COLUMNS };
enum { GUIDE_SHIFT, STEPS };

typedef struct {
    u64 class_bits[CHUNK + 2 * LANES_OF_WIDE], member_bits[CHUNK + 2 * LANES_OF_WIDE];
    u64 places[CHUNK];
} RandomRoom;

static u64 high_half(u64 x, u64 y) {  // of a 64 x 64 bit product
    return (u64)((unsigned __int128)x * y >> 64);
}

// Of slots slot .. slot + run of batch g, and of what fills up vectors.
static void make_run(u64 seed, u64 g, i64 slot, i64 run, u64 *first, u64 *second) {
#if defined(__clang__)  // it makes vectors of this by itself, and faster ones
    for (i64 d = 0; d < run; d++)
        first[d] = philox(g, g >> 32, (u64)(slot + d), PICK, seed, second + d);
#else
    const Wide each = {0, 1, 2, 3, 4, 5, 6, 7}, none = {0};
    Wide batch = none + g, other;
    for (i64 d = 0; d < run; d += 2 * LANES_OF_WIDE)
        for (int half = 0; half < 2 * LANES_OF_WIDE; half += LANES_OF_WIDE) {
            Wide slots = each + (u64)(slot + d + half);
            *(Wide *)(first + d + half) = philox_wide(batch, slots, none + PICK, seed, &other);
            *(Wide *)(second + d + half) = other;
        }
#endif
}

static void make_bits(const Call *call, i64 at, i64 m, RandomRoom *room) {
    i64 row = at / call->size, slot = at - row * call->size;
    for (i64 e = 0, run; e < m; e += run, row++, slot = 0) {  // a run writes on into the next one
        run = least(call->size - slot, m - e);
        u64 g = (u64)(call->g0 + row * call->stride);
        make_run(call->seed, g, slot, run, room->class_bits + e, room->member_bits + e);
    }
}

// The row of each slot: one compare without a branch where no part of the guide has two cuts.
static void find_rows(const Call *call, i64 m, RandomRoom *room) {
    const u64 *cuts = call->tables[CUTS], *bits = room->class_bits;
    const i32 *guide = call->tables[GUIDE];
    u64 *found = room->places, last = (u64)call->rows[ROWS] - 1;
    int shift = (int)call->numbers[GUIDE_SHIFT];
    for (i64 e = 0; e < m; e++) {
        u64 row = shift < 64 ? (u64)guide[bits[e] >> shift] : 0;
        row += cuts[row + 1] <= bits[e];
        found[e] = row < last ? row : last;
    }
    if (call->numbers[STEPS] <= 1) return;
    for (i64 e = 0; e < m; e++)
        while (found[e] < last && cuts[found[e] + 1] <= bits[e]) found[e]++;
}

// The rows that are given. One that is none of the plan's says so, and the last stands for it.
static int given_rows(const Call *call, i64 at, i64 m, RandomRoom *room) {
    const u64 *classes = (const u64 *)call->tables[CLASSES] + at;
    u64 last = (u64)call->rows[ROWS] - 1, highest = 0;
    for (i64 e = 0; e < m; e++) {
        u64 row = classes[e];
        highest = row > highest ? row : highest;
        room->places[e] = row < last ? row : last;
    }
    return highest > last ? NO_ROW : 0;
}

static void put_members(const Call *call, i64 at, i64 m, RandomRoom *room) {
    const i64 *rows = call->tables[ROWS];
    u64 *places = room->places;
    for (i64 e = 0; e < m; e++) {
        const i64 *row = rows + places[e] * COLUMNS;
        places[e] = (u64)row[FIRST] + high_half(room->member_bits[e], (u64)row[SIZE]);
    }
    fetch(call, call->out + at, places, m);
}

EXPORT int draw_random(const Call *call, i64 first, i64 end) {
    Room room = {0};
    RandomRoom *mine = take(&room, sizeof(RandomRoom));
    int result = 0;
    for (i64 at = first; at < end && !room.failed; at += CHUNK) {
        i64 m = least(CHUNK, end - at);
        make_bits(call, at, m, mine);
        if (call->tables[CLASSES])
            result |= given_rows(call, at, m, mine);
        else
            find_rows(call, m, mine);
        put_members(call, at, m, mine);
    }
    return give_back(&room, result);
}
