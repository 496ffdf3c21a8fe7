// fixed: the same class counts in every batch.
//
//   in   tables rows [A, 8] i64 (plan.py), class_rows [A, 8] i32, blocks [A, 8] i32 or none
//   out  batches first .. end of out
//
// Rank r of batch g falls in class c at ordinal j: its running ordinal is start_c + g * count_c + j.
// A slab's draws of a class are one run of ordinals, so that one key serves a whole run; they lie in
// drawn class by class, and then batch by batch the slots are permuted and the draws scattered.
#include "members.h"
#include "slots.h"

enum { ROWS, CLASS_ROWS, BLOCKS };
enum { CLASS, ROW_SIZE, FIRST, COUNT, RANK, ROW_A, ROW_B, START, COLUMNS };

static void draw_classes(const Call *call, i64 first, i64 n, Back *back, u32 *source, u32 *steps) {
    const i64 *rows = call->tables[ROWS];
    i64 g = call->g0 + first * call->stride;
    for (i64 c = 0; c < call->rows[ROWS]; c++) {
        const i64 *row = rows + c * COLUMNS;
        i64 count = row[COUNT], rank = row[RANK], todo = count * n;
        Run run = {
            .row = c, .to = rank * n, .todo = todo, .count = count, .stride = call->stride,
            .label = (u64)row[CLASS], .ordinal = (u64)row[START] + (u64)g * (u64)count,
        };
        draw_run(back, &run, few_apart(row[ROW_SIZE], todo, count, call->stride));
        for (i64 j = 0; j < count; j++) {
            source[rank + j] = (u32)(rank * n + j);
            steps[rank + j] = (u32)count;
        }
    }
    finish(back);
}

EXPORT int draw_fixed(const Call *call, i64 first, i64 end) {
    i64 n = end - first, size = call->size;
    Room room = {0};
    Back *back = make_back(
        &room, n * size, call, call->tables[CLASS_ROWS], call->tables[BLOCKS]
    );
    SlotRoom *slots = take(&room, sizeof(SlotRoom));
    u32 *source = take(&room, size * (i64)sizeof(u32)), *steps = take(&room, size * (i64)sizeof(u32));
    if (room.failed) return give_back(&room, 0);
    draw_classes(call, first, n, back, source, steps);
    for (i64 t = first; t < end; t++) {
        scatter(call, t, back->drawn, source, slots);
        for (i64 r = 0; r < size; r++) source[r] += steps[r];
    }
    return give_back(&room, 0);
}
