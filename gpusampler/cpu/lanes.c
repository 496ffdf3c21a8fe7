// lanes: see lanes.h. Vector loops are those over v or e.
#include "lanes.h"
#include "wide.h"

void make_keys(
    const u64 *x, const u32 *y, const u32 *purposes, i64 m, u64 seed, u32 *k0, u32 *k1
) {
    for (i64 e = 0; e < m; e += LANES_OF_WIDE) {
        Wide counters, labels, uses, second;
        for (int d = 0; d < LANES_OF_WIDE; d++) {
            counters[d] = x[e + d], labels[d] = y[e + d];
            uses[d] = purposes ? purposes[e + d] : MEMBER;
        }
        Wide pair = philox_wide(counters, labels, uses, seed, &second);
        for (int d = 0; d < LANES_OF_WIDE; d++) {
            k0[e + d] = (u32)pair[d];
            k1[e + d] = (u32)(pair[d] >> 32);
        }
    }
}

// left, right = divmod(point, b), exact: a point and a half is 1 / 2b from a whole quotient, or
// more; by way of a sign, as vectors convert no unsigned numbers.
static void split_lanes(
    const u32 *points, i64 deep, i64 count, const Lanes *lanes, LaneRoom *room
) {
    double *inverse = room->inverse;
    for (i64 v = 0; v < count; v++) inverse[v] = 1.0 / (double)lanes->b[v];
    for (i64 m = 0; m < deep; m++) {
        const u32 *at = points + m * count;
        u16 *left = room->left + m * count, *right = room->right + m * count;
        for (i64 v = 0; v < count; v++) {
            double point = (double)(i32)(at[v] ^ 1u << 31) + (2147483648.0 + 0.5);
            u32 quotient = (u32)(i32)(point * inverse[v]);
            left[v] = (u16)quotient;
            right[v] = (u16)(at[v] - quotient * lanes->b[v]);
        }
    }
}

static void round_of_lanes(i64 deep, i64 count, const Lanes *lanes, LaneRoom *room, u32 t) {
    for (i64 v = 0; v < count; v++) {
        u32 w0 = lanes->k0[v] + t * WEYL_0, w1 = lanes->k1[v] + t * WEYL_1;
        room->low0[v] = (u16)w0, room->high0[v] = (u16)(w0 >> 16);
        room->low1[v] = (u16)w1, room->high1[v] = (u16)(w1 >> 16);
    }
    for (i64 m = 0; m < deep; m++) {
        u16 *restrict left = room->left + m * count, *restrict right = room->right + m * count;
        for (i64 v = 0; v < count; v++) {
            u16 x = half_round(left[v], right[v], room->low0[v], room->high0[v], lanes->a[v]);
            left[v] = x;
            right[v] = half_round(right[v], x, room->low1[v], room->high1[v], lanes->b[v]);
        }
    }
}

// One walk over the grid, of the lanes that are not ranked. Gives whether one is beyond its set.
static int walk(u32 *points, i64 deep, i64 count, const Lanes *lanes, LaneRoom *room) {
    split_lanes(points, deep, count, lanes, room);
    for (u32 t = 0; t < ROUNDS; t++) round_of_lanes(deep, count, lanes, room, t);
    u32 beyond = 0;
    for (i64 m = 0; m < deep; m++) {
        u32 *at = points + m * count;
        const u16 *left = room->left + m * count, *right = room->right + m * count;
        for (i64 v = 0; v < count; v++) {
            u32 i = (u32)left[v] * lanes->b[v] + right[v];
            i = lanes->n[v] < RANK_BELOW ? at[v] : i;
            at[v] = i;
            beyond |= i >= lanes->n[v];
        }
    }
    return beyond != 0;
}

static Permutation lane_of(const Lanes *lanes, i64 v) {
    return (Permutation){lanes->n[v], lanes->a[v], lanes->b[v], {lanes->k0[v], lanes->k1[v]}};
}

static void copy_lane(Lanes *to, i64 d, const Lanes *from, i64 v) {
    to->n[d] = from->n[v], to->k0[d] = from->k0[v], to->k1[d] = from->k1[v];
    to->a[d] = from->a[v], to->b[d] = from->b[v];
}

// Points beyond [0, n): once more, side by side, and what is left of them one by one.
static void walk_on(u32 *points, i64 deep, i64 count, const Lanes *lanes, LaneRoom *room) {
    i64 found = 0;
    for (i64 m = 0; m < deep; m++)
        for (i64 v = 0; v < count; v++) {
            room->at[found] = (u32)(m * count + v);
            found += points[m * count + v] >= lanes->n[v];
        }
    if (found > FEW_LANES) {
        for (i64 d = 0; d < found; d++) {
            room->points[d] = points[room->at[d]];
            copy_lane(&room->some, d, lanes, room->at[d] % count);
        }
        walk(room->points, 1, found, &room->some, room);
        for (i64 d = 0; d < found; d++) points[room->at[d]] = room->points[d];
    }
    for (i64 d = 0; d < found; d++) {
        i64 e = room->at[d], v = e % count;
        if (points[e] >= lanes->n[v]) points[e] = permute_one(points[e], lane_of(lanes, v));
    }
}

// The rank of each point's hash among those of [0, n).
static void rank(u32 *points, i64 deep, i64 count, const Lanes *lanes, LaneRoom *room) {
    u32 largest = 0;
    for (i64 v = 0; v < count; v++) largest = lanes->n[v] > largest ? lanes->n[v] : largest;
    for (i64 m = 0; m < deep; m++)
        for (i64 v = 0; v < count; v++) {
            Key key = {lanes->k0[v], lanes->k1[v]};
            room->mine[m * count + v] = rank_hash(points[m * count + v], key);
            room->ranks[m * count + v] = 0;
        }
    for (u32 j = 0; j < largest; j++) {
        u32 *other = room->at;
        for (i64 v = 0; v < count; v++) {  // the highest where there is no j: it comes before none
            u32 h = rank_hash(j, (Key){lanes->k0[v], lanes->k1[v]});
            other[v] = j < lanes->n[v] ? h : 0xFFFFFFFFu;
        }
        for (i64 m = 0; m < deep; m++) {
            const u32 *at = points + m * count, *mine = room->mine + m * count;
            u32 *ranks = room->ranks + m * count;
            for (i64 v = 0; v < count; v++)
                ranks[v] += (other[v] < mine[v]) | ((other[v] == mine[v]) & (j < at[v]));
        }
    }
    for (i64 e = 0; e < deep * count; e++) points[e] = room->ranks[e];
}

// Of the runs with n < RANK_BELOW, put side by side and then back.
static void rank_some(u32 *points, i64 deep, i64 count, const Lanes *lanes, LaneRoom *room) {
    for (i64 m = 0; m < deep; m++) {
        i64 found = 0;
        for (i64 v = 0; v < count; v++)
            if (lanes->n[v] < RANK_BELOW) {
                copy_lane(&room->some, found, lanes, v);
                room->points[found++] = points[m * count + v];
            }
        rank(room->points, 1, found, &room->some, room);
        found = 0;
        for (i64 v = 0; v < count; v++)
            if (lanes->n[v] < RANK_BELOW) points[m * count + v] = room->points[found++];
    }
}

void permute_lanes(u32 *points, i64 deep, i64 count, const Lanes *lanes, LaneRoom *room) {
    i64 ranked = 0;
    for (i64 v = 0; v < count; v++) ranked += lanes->n[v] < RANK_BELOW;
    if (ranked == count) {
        rank(points, deep, count, lanes, room);
        return;
    }
    if (walk(points, deep, count, lanes, room)) walk_on(points, deep, count, lanes, room);
    if (ranked) rank_some(points, deep, count, lanes, room);
}
