// rotations: visits that take turns over some items, DESIGN 4.2 and plans/pk.py.
//
//   in   visits (of which row, how often before), the tables of a PKPlan
//   out  the items of each visit: rows of classes, or members
//
// A visit takes TAKE items, no two the same. Item j of visit v is item rho(base + sigma(i * TAKE + j))
// where i is the visit's place in its cycle; sigma changes by cycle and rho by turn. A visit is cut
// into runs of at most DEEPEST points, which are the lanes of lanes.h. Knows nothing of batches or
// slots.
#pragma once
#include "lanes.h"
#include "room.h"

// Columns of a PKPlan's rows and rotations.
enum { PK_CLASS, PK_FIRST, ROTATION, PK_ROW };
enum {
    N_ITEMS, TAKE, PER_CYCLE, LEAVE, PERIOD, SIGMA_A, SIGMA_B, RHO_A, RHO_B, ROTATION_WORDS
};

enum { DEEPEST = 8 };  // points of a run

typedef struct {
    const Call *call;
    const i64 *rows, *rotations;
    i64 visits, width, most_taken;  // width: places of a visit; most_taken: the largest TAKE
    const u32 *order;               // of visits; it is stream order for each row
    const u32 *row_of;
    const u64 *visit_of;
    u64 rho, sigma;  // purposes
    // the items go to: row and earlier visits of each place; or, where these are none, drawn
    u32 *class_row;
    u64 *class_visit;
    void *drawn;
} Rotations;

// What is known of each run that waits, and the keys that runs ask for.
typedef struct {
    i64 count, asked, deep;
    u32 start[LANES], length[LANES], base[LANES], lag[LANES], sigma_at[LANES], rho_at[LANES];
    u64 to[LANES], of[LANES];
    Lanes sigma, rho;
    u64 x[2 * LANES + 8];
    u32 y[2 * LANES + 8], purpose[2 * LANES + 8], key0[2 * LANES + 8], key1[2 * LANES + 8];
    u32 points[LANES], items[LANES], places_to[LANES];
    u64 places[LANES];
    LaneRoom lanes;
} Runs;

// ranked: only rows of few items, or only those of many.
void rotate(const Rotations *rotations, int ranked, Runs *runs);
