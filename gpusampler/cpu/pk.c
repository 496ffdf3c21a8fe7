// pk: P distinct classes in every batch, K members of each.
//
//   in   tables rows [A, 3] i64, rotations [1 + D, 9] i64 (plans/pk.py); numbers as below
//   out  batches first .. end of out
//
// First the classes of a slab of batches, then the visits to each class in a row (sorted by class
// where classes come back within the slab), so that a visit's place in its rotation follows from the
// last one's without a division, and a key serves a cycle.
#include "rotations.h"
#include "slots.h"
#include <string.h>

enum { ROWS, ROTATIONS };
enum { FIRST_BATCH, PER_CLASS, RHO, SIGMA, MEMBER_RHO, MEMBER_SIGMA };  // purposes of the segment
enum { CLASSES = 0 };  // the rotation by which the classes come

// The row of each visit, and how often it came before. The classes are the items of one row, which
// each batch visits.
static void draw_classes(const Call *call, i64 first, i64 n, u64 *batches, Rotations visits, Runs *runs) {
    const i64 only[PK_ROW] = {[ROTATION] = CLASSES}, *rotations = call->tables[ROTATIONS];
    i64 take = rotations[TAKE];
    for (i64 t = 0; t < n; t++)
        batches[t] = (u64)(call->g0 - call->numbers[FIRST_BATCH] + (first + t) * call->stride);
    Rotations all = {
        .call = call, .rows = only, .rotations = rotations, .visits = n, .width = take,
        .most_taken = take, .visit_of = batches, .rho = (u64)call->numbers[RHO],
        .sigma = (u64)call->numbers[SIGMA], .class_row = (u32 *)visits.row_of,
        .class_visit = (u64 *)visits.visit_of,
    };
    rotate(&all, rotations[N_ITEMS] < RANK_BELOW, runs);
}

// The visits in the order of their classes, each class's in stream order.
static void sort_visits(const u32 *row_of, i64 visits, i64 n_rows, u32 *ends, u32 *order) {
    memset(ends, 0, (size_t)(n_rows + 1) * sizeof(u32));
    for (i64 v = 0; v < visits; v++) ends[row_of[v] + 1]++;
    for (i64 row = 0; row < n_rows; row++) ends[row + 1] += ends[row];
    for (i64 v = 0; v < visits; v++) order[ends[row_of[v]]++] = (u32)v;
}

// The visits of each batch in the order of their classes: within a batch each comes once.
static void sort_in_batches(u32 *row_of, u64 *visit_of, i64 visits, i64 per_batch) {
    for (i64 begin = 0; begin < visits; begin += per_batch) {
        u32 *rows = row_of + begin;
        u64 *earlier = visit_of + begin;
        for (i64 gap = per_batch / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11)  // Shell's sort
            for (i64 e = gap; e < per_batch; e++) {
                u32 row = rows[e];
                u64 visit = earlier[e];
                i64 to = e;
                for (; to >= gap && rows[to - gap] > row; to -= gap)
                    rows[to] = rows[to - gap], earlier[to] = earlier[to - gap];
                rows[to] = row, earlier[to] = visit;
            }
    }
}

// The first places of each visit to a class of at most `width` members: all of them.
static void copy_whole(const Rotations *all) {
    const Call *call = all->call;
    const i32 *narrow = call->members;
    const i64 *wide = call->members;
    for (i64 v = 0; v < all->visits; v++) {
        const i64 *row = all->rows + (i64)all->row_of[v] * PK_ROW;
        const i64 *rotation = all->rotations + row[ROTATION] * ROTATION_WORDS;
        for (i64 m = 0, i = 0; m < all->width - rotation[TAKE]; m++) {
            i64 place = row[PK_FIRST] + i, to = v * all->width + m;
            i = i + 1 == rotation[N_ITEMS] ? 0 : i + 1;
            if (call->width == 4)
                ((i32 *)all->drawn)[to] = narrow[place];
            else
                ((i64 *)all->drawn)[to] = call->width ? wide[place] : place;
        }
    }
}

static void draw_members(Rotations *all, Runs *runs) {
    const i64 *rotations = all->rotations, rows = all->call->rows[ROTATIONS];
    const i64 *first = rotations + ROTATION_WORDS, *last = rotations + (rows - 1) * ROTATION_WORDS;
    for (const i64 *rotation = first; rotation <= last; rotation += ROTATION_WORDS)
        all->most_taken = most(all->most_taken, rotation[TAKE]);
    if (first[N_ITEMS] <= all->width) copy_whole(all);
    if (first[N_ITEMS] < RANK_BELOW) rotate(all, 1, runs);
    if (last[N_ITEMS] >= RANK_BELOW) rotate(all, 0, runs);
}

EXPORT int draw_pk(const Call *call, i64 first, i64 end) {
    i64 n = end - first, size = call->size, width = call->numbers[PER_CLASS];
    i64 visits = n * (size / width), n_rows = call->rows[ROWS];
    Room room = {0};
    Runs *runs = take(&room, sizeof(Runs));
    SlotRoom *slots = take(&room, sizeof(SlotRoom));
    u32 *row_of = take(&room, visits * (i64)sizeof(u32));
    u64 *visit_of = take(&room, visits * (i64)sizeof(u64));
    u64 *batches = take(&room, n * (i64)sizeof(u64));
    u32 *order = take(&room, visits * (i64)sizeof(u32));
    u32 *ends = take(&room, (n_rows + 1) * (i64)sizeof(u32));
    u32 *source = take(&room, size * (i64)sizeof(u32));
    void *drawn = take(&room, n * size * (call->width == 4 ? 4 : 8));
    if (room.failed) return give_back(&room, 0);
    Rotations all = {
        .call = call, .rows = call->tables[ROWS], .rotations = call->tables[ROTATIONS],
        .visits = visits, .width = width, .row_of = row_of, .visit_of = visit_of,
        .rho = (u64)call->numbers[MEMBER_RHO], .sigma = (u64)call->numbers[MEMBER_SIGMA],
        .drawn = drawn,
    };
    draw_classes(call, first, n, batches, all, runs);
    if (call->slot_a < 0) sort_in_batches(row_of, visit_of, visits, size / width);
    if (2 * visits >= n_rows) {
        sort_visits(row_of, visits, n_rows, ends, order);
        all.order = order;
    }
    draw_members(&all, runs);
    for (i64 r = 0; r < size; r++) source[r] = (u32)r;
    for (i64 t = 0; t < n; t++) {
        scatter(call, first + t, drawn, source, slots);
        for (i64 r = 0; r < size; r++) source[r] += (u32)size;
    }
    return give_back(&room, 0);
}
