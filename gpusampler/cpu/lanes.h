// lanes: permutations of many short runs at once, each with a set, grid and key of its own.
//
//   in   of each of `count` runs n, the grid a x b (1 x 1 where n is ranked) and the key; and `deep`
//        points: point m of run v lies at points[m * count + v], so that the runs are the lanes
//   out  where the permutations send the points, in place
//
// Knows nothing of classes, members or batches.
#pragma once
#include "permute.h"

enum { LANES = 2048 };  // points at once; their workspace stays in the first-level cache

typedef struct {
    u32 n[LANES], k0[LANES], k1[LANES];
    u16 a[LANES], b[LANES];
} Lanes;

typedef struct {
    u16 left[LANES], right[LANES], low0[LANES], high0[LANES], low1[LANES], high1[LANES];
    u32 mine[LANES], ranks[LANES], at[LANES], points[LANES];
    double inverse[LANES];
    Lanes some;
} LaneRoom;

void permute_lanes(u32 *points, i64 deep, i64 count, const Lanes *lanes, LaneRoom *room);

// Words 0 and 1 of Philox(seed; x, y, purpose), of each lane, and of what fills up the last eight;
// purposes: none where all are MEMBER.
void make_keys(
    const u64 *x, const u32 *y, const u32 *purposes, i64 m, u64 seed, u32 *k0, u32 *k1
);
