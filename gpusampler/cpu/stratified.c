// stratified: each batch the quota of each class rounded down or up, running totals near their due.
//
//   in   tables rows [C, 8] i32, base_rows [K, 2] i32, start [C] i64, leaf_class [L] i32,
//        class_leaf [C] i32, shares [L] i64, links [L, 3] i32 (plans/stratified.py), blocks [C, 8]
//        i32 or none; numbers as below
//   out  batches first .. end of out
//
// Of class c batch r of the segment draws base_c, and one more where the even tree says so; its
// running ordinal is start_c + r * base_c + the extras before. As in fixed.c a slab of batches is
// drawn class by class; source[t, rank] says where each rank's draw lies in drawn, and then batch by
// batch the slots are permuted and the draws scattered.
#include "even_tree.h"
#include "members.h"
#include "slots.h"

enum { ROWS, BASE_ROWS, START, LEAF_CLASS, CLASS_LEAF, SHARES, TREE_LINKS, BLOCKS };
enum {
    FIRST_BATCH, PURPOSE, TREE_PURPOSE, ROOT, HEIGHT,
    ROUND_BATCHES, ROUND_DRAWS, ORDER_A, ORDER_B,  // 0 batches: there are no rounds
};

typedef struct {
    const Call *call;
    const i32 *rows, *base_rows, *leaf_class, *class_leaf;
    const i64 *start;
    i64 n, r0, stride, first;  // first: of the round, or 0
    u64 earlier;               // draws of a leaf's class before the round
    int in_rounds;
    Permutation turn;  // leaf -> leaf_class of this round
    Tree tree;
    Back *back;
    i64 pitch, drawn;        // entries of a row of source; how much of drawn is asked for
    u32 *source, *order;     // order [L], or none where there are few draws
    i64 *filled;             // [n]: ranks that are taken of each batch
    u64 *ordinals;           // of one class, where batches lie apart
    SlotRoom *slots;
} Slab;

// A class with what the tree says of it: in batches in a row those with an extra, in batches apart
// all in which it is drawn.
typedef struct {
    i64 c, rank, base, begin, m;
    u64 before;  // draws before batch 0 of the segment, and of earlier rounds
} Drawn;

// source[t, rank]: where the draws of a class lie in drawn; extras take the ranks from filled[t] on.
static void note_apart(Slab *slab, Drawn d) {
    for (i64 e = d.begin; e < d.begin + d.m; e++) {
        i64 t = slab->tree.lists[e];
        u32 *source = slab->source + t * slab->pitch;
        for (i64 j = 0; j < d.base; j++) source[d.rank + j] = (u32)slab->drawn++;
        if (slab->tree.flags[e]) source[slab->filled[t]++] = (u32)slab->drawn++;
    }
}

static void note_in_a_row(Slab *slab, Drawn d) {
    i64 e = d.begin, end = d.begin + d.m;
    const u32 *lists = slab->tree.lists;
    if (d.base == 0) {
        for (; e < end; e++) {
            i64 t = lists[e];
            slab->source[t * slab->pitch + slab->filled[t]++] = (u32)slab->drawn++;
        }
        return;
    }
    for (i64 t = 0; t < slab->n; t++) {
        u32 *source = slab->source + t * slab->pitch;
        for (i64 j = 0; j < d.base; j++) source[d.rank + j] = (u32)slab->drawn++;
        if (e < end && lists[e] == t) {
            source[slab->filled[t]++] = (u32)slab->drawn++;
            e++;
        }
    }
}

static i64 list_ordinals(Slab *slab, Drawn d) {
    i64 todo = 0;
    for (i64 e = d.begin; e < d.begin + d.m; e++) {
        u64 r = (u64)(slab->r0 + slab->tree.lists[e] * slab->stride);
        u64 ordinal = d.before + r * (u64)d.base + slab->tree.befores[e];
        for (i64 j = 0; j < d.base + slab->tree.flags[e]; j++)
            slab->ordinals[todo++] = ordinal + (u64)j;
    }
    return todo;
}

static void draw_apart(Slab *slab, Drawn d) {
    i64 todo = list_ordinals(slab, d), size = slab->rows[d.c * ROW_WORDS + SIZE];
    if (todo == 0) return;
    i64 cycles = (i64)((slab->ordinals[todo - 1] - slab->ordinals[0]) / (u64)size) + 1;
    Run run = {
        .row = d.c, .to = slab->drawn, .todo = todo, .label = (u64)d.c, .listed = slab->ordinals,
    };
    note_apart(slab, d);
    draw_run(slab->back, &run, todo < FEW_DRAWS * least(todo, cycles));
}

static void draw_in_a_row(Slab *slab, Drawn d) {
    u64 ordinal = d.before + (u64)slab->r0 * (u64)d.base + slab->tree.befores[d.begin];
    Run run = {
        .row = d.c, .to = slab->drawn, .todo = slab->n * d.base + d.m, .count = 1, .stride = 1,
        .label = (u64)d.c, .ordinal = ordinal,
    };
    note_in_a_row(slab, d);
    draw_run(slab->back, &run, least(slab->rows[d.c * ROW_WORDS + SIZE], run.todo) < FEW_DRAWS);
}

static void draw_class(Slab *slab, Drawn d) {
    d.base = slab->rows[d.c * ROW_WORDS + BASE];
    d.before += (u64)slab->start[d.c];
    if (slab->stride == 1)
        draw_in_a_row(slab, d);
    else
        draw_apart(slab, d);
}

static i64 class_of(Slab *slab, i64 leaf) {
    u32 at = (u32)leaf;
    if (slab->order)
        at = slab->order[leaf];
    else if (slab->in_rounds)
        permute_run(&at, at, 1, slab->turn, &slab->slots->halves);
    return slab->leaf_class[at];
}

// The order of the leaves' classes in this round: all of it where there are about as many draws.
static void order_leaves(Slab *slab, Room *room, i64 draws) {
    i64 leaves = slab->call->rows[LEAF_CLASS];
    slab->order = 0;
    if (!slab->in_rounds || 2 * draws < leaves) return;
    slab->order = take(room, leaves * (i64)sizeof(u32));
    for (i64 i = 0; i < leaves && !room->failed; i += CHUNK)
        permute_run(
            slab->order + i, (u32)i, least(CHUNK, leaves - i), slab->turn, &slab->slots->halves
        );
}

static i64 rank_of(const Slab *slab, i64 c) {  // of the first base draw
    i64 low = 0, high = slab->call->rows[BASE_ROWS];
    while (low < high) {
        i64 middle = (low + high) / 2;
        if (slab->base_rows[2 * middle] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return slab->base_rows[2 * low + 1];
}

static void draw_classes(Slab *slab) {
    const i32 *base_rows = slab->base_rows;
    for (i64 row = 0; row < slab->call->rows[BASE_ROWS]; row++) {
        i64 c = base_rows[2 * row];
        if (slab->class_leaf[c] >= 0) continue;
        // of a whole quota: no extras before and none now, as the root
        Drawn d = {.c = c, .rank = base_rows[2 * row + 1], .m = slab->stride == 1 ? 0 : slab->n};
        draw_class(slab, d);
    }
    for (Leaf leaf; leaf = next_leaf(&slab->tree), leaf.leaf >= 0;) {
        i64 c = class_of(slab, leaf.leaf);
        Drawn d = {.c = c, .begin = leaf.begin, .m = leaf.count, .before = slab->earlier};
        if (slab->rows[c * ROW_WORDS + BASE]) d.rank = rank_of(slab, c);
        draw_class(slab, d);
    }
    finish(slab->back);
}

static void make_slab(Slab *slab, Room *room) {
    const Call *call = slab->call;
    i64 n = slab->n, size = call->size, ranks = 0;
    for (i64 row = 0; row < call->rows[BASE_ROWS]; row++)
        ranks += slab->rows[(i64)slab->base_rows[2 * row] * ROW_WORDS + BASE];
    slab->tree = (Tree){
        .shares = call->tables[SHARES], .links = call->tables[TREE_LINKS],
        .key = key_of(call->seed, (u64)call->numbers[TREE_PURPOSE], 0, 0),
        .n = n, .r0 = slab->r0 - slab->first, .stride = slab->stride,
    };
    slab->back = make_back(room, n * size, call, slab->rows, call->tables[BLOCKS]);
    slab->slots = take(room, sizeof(SlotRoom));
    begin_tree(&slab->tree, room, call->numbers[ROOT], call->numbers[HEIGHT], size - ranks);
    // rows of an odd number of cache lines: those of many batches then have room in the cache
    slab->pitch = size + 48 - size % 32, slab->drawn = 0;
    slab->source = take(room, n * slab->pitch * (i64)sizeof(u32));
    slab->filled = take(room, n * (i64)sizeof(i64));
    slab->ordinals = take(room, (slab->stride == 1 ? 0 : n * size) * (i64)sizeof(u64));
    order_leaves(slab, room, n * (size - ranks));
    for (i64 t = 0; t < n && !room->failed; t++) slab->filled[t] = ranks;
}

static int draw_slab(Slab *slab, i64 first) {
    Room room = {0};
    make_slab(slab, &room);
    if (room.failed) return give_back(&room, 0);
    draw_classes(slab);
    for (i64 t = 0; t < slab->n; t++)
        scatter(
            slab->call, first + t, slab->back->drawn, slab->source + t * slab->pitch, slab->slots
        );
    return give_back(&room, 0);
}

EXPORT int draw_stratified(const Call *call, i64 first, i64 end) {
    const i64 *numbers = call->numbers;
    i64 batches = numbers[ROUND_BATCHES], until = end;
    int result = 0;
    for (; first < end && !result; first = until) {
        i64 r = call->g0 - numbers[FIRST_BATCH] + first * call->stride;
        Slab slab = {
            .call = call, .rows = call->tables[ROWS], .base_rows = call->tables[BASE_ROWS],
            .leaf_class = call->tables[LEAF_CLASS], .class_leaf = call->tables[CLASS_LEAF],
            .start = call->tables[START], .r0 = r, .stride = call->stride, .in_rounds = batches > 0,
        };
        if (batches) {  // as far as the round goes
            i64 number = r / batches, left = (number + 1) * batches - r;
            until = least(end, first + (left + call->stride - 1) / call->stride);
            slab.first = number * batches;
            slab.earlier = (u64)number * (u64)numbers[ROUND_DRAWS];
            slab.turn = (Permutation){
                (u32)call->rows[LEAF_CLASS], (u32)numbers[ORDER_A], (u32)numbers[ORDER_B],
                key_of(call->seed, (u64)numbers[PURPOSE], (u64)number, 0),
            };
        }
        slab.n = until - first;
        result = draw_slab(&slab, first);
    }
    return result;
}
