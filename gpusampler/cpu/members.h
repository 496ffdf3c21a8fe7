// members: the members that classes give to a slab of batches, for every kind.
//
//   in   asks, one after another: of a class, draws whose ordinals are a run, or those of batches
//        that lie apart, or listed; and where they go in drawn
//   out  drawn, in the width of members
//
// Rank and ordinal -> member, DESIGN 4.4: ordinal q is place q mod n of cycle q div n, and that
// cycle's key permutes [0, n). Draws of one class and key are a span, and those of a chunk go side
// by side; where a class has few draws with one key, each is a lane and waits for those of other
// classes. Knows nothing of slots or trees, nor of which batch a draw is for.
#pragma once
#include "lanes.h"
#include "room.h"

// Columns of class rows, [C, 8] i32 (class_rows.py).
enum { SIZE, GRID_A, GRID_B, GRID_INVERSE, SIZE_INVERSE, BASE, FIRST_LOW, FIRST_HIGH, ROW_WORDS };

enum {
    MOST_SPANS = CHUNK / WHOLE,
    MOST_LANES = 1024,  // of different classes, in one vector loop
    FEW_DRAWS = 12,     // with one key: below, lanes of different classes fill the vectors
};

// Of lanes in blocks: where each one's block begins, its purpose, size and grid, and a place.
typedef struct {
    u32 begin[MOST_LANES], purpose[MOST_LANES], place[MOST_LANES];
    Lanes block;
} BlockRoom;

typedef struct {
    const Call *call;
    void *drawn;
    const i32 *rows, *blocks;  // of classes; blocks: none, or no batch has a member twice
    // spans that wait: spans of them, of `points` points
    i64 spans, points;
    struct {
        i64 begin, to;  // where its points begin, whole vectors; where its draws go in drawn
        i64 row, draws;
    } span[MOST_SPANS];
    u64 span_cycle[MOST_SPANS], places[CHUNK];
    u32 span_label[MOST_SPANS], span_k0[MOST_SPANS], span_k1[MOST_SPANS], point[CHUNK];
    Halves halves;
    u8 beyond[CHUNK], any[MOST_SPANS];  // their class: lanes, vectors with one
    // lanes that wait
    i64 lanes;
    u32 lane_point[MOST_LANES], lane_label[MOST_LANES], lane_to[MOST_LANES], lane_row[MOST_LANES];
    u64 lane_cycle[MOST_LANES], lane_first[MOST_LANES];
    Lanes lane;
    LaneRoom room;
    BlockRoom block_room;
} Back;

// For so many draws.
Back *make_back(Room *room, i64 draws, const Call *call, const i32 *rows, const i32 *blocks);

// Of the class in a row, with this label, draws to drawn[to] and on: `todo` of them from `ordinal`
// on, `count` a batch, of batches that are `stride` apart; or the `listed` ones, ascending.
typedef struct {
    i64 row, to, todo, count, stride;
    u64 label, ordinal;
    const u64 *listed;
} Run;

// few: draws with one key are few.
void draw_run(Back *back, const Run *run, int few);

// Draw what waits still.
void finish(Back *back);

// Whether draws with one key are few: those of a batch, or of all batches in one cycle.
static inline int few_apart(i64 n, i64 todo, i64 count, i64 stride) {
    return most(count, least(stride == 1 ? n : n / stride, todo)) < FEW_DRAWS;
}

static inline u64 first_place(const i32 *row) {
    return (u64)(u32)row[FIRST_HIGH] << 32 | (u32)row[FIRST_LOW];
}

static inline Permutation of_row(const i32 *row, Key key) {
    return (Permutation){(u32)row[SIZE], (u32)row[GRID_A], (u32)row[GRID_B], key};
}
