// permute: see permute.h. Vector loops are those over e.
#include "permute.h"

void permute_ranked(u32 *points, i64 m, Permutation p, u64 *hashes) {
    for (u32 j = 0; j < p.n; j++)  // the index below the hash breaks ties: one comparison of two
        hashes[j] = (u64)rank_hash(j, p.key) << 5 | j;
    for (i64 e = 0; e < m; e++) {
        u64 mine = hashes[points[e]];
        u32 rank = 0;
        for (u32 j = 0; j < p.n; j++) rank += hashes[j] < mine;
        points[e] = rank;
    }
}

// Exact: a point and a half is 1 / 2b from a whole quotient, or more, and off by less than
// n * 2^-22 of that in 32 bits, n * 2^-51 in 64.
void split(const u32 *points, i64 begin, i64 end, u32 n, u32 b, Halves *halves) {
    u16 *left = halves->left, *right = halves->right, side = (u16)b;
    if (n < FLOAT32_BELOW) {
        float inverse = 1.0f / (float)b;
        for (i64 e = begin; e < end; e++)
            left[e] = (u16)(i32)(((float)(i32)points[e] + 0.5f) * inverse);
    } else {
        double inverse = 1.0 / (double)b;
        for (i64 e = begin; e < end; e++)
            left[e] = (u16)(i32)(((double)(i32)points[e] + 0.5) * inverse);
    }
    for (i64 e = begin; e < end; e++)  // apart: these lanes have 16 bits
        right[e] = (u16)((u16)points[e] - (u16)((u32)left[e] * side));
}

// The same of points i0, i0 + 1, ...; exact, as i0 % b + e < 2^17.
static void split_run(u32 i0, i64 m, u32 b, Halves *halves) {
    u32 above = i0 / b, rest = i0 - above * b;
    u16 *left = halves->left, *right = halves->right, side = (u16)b;
    float inverse = 1.0f / (float)b;
    for (i64 e = 0; e < m; e++) {
        u16 quotient = (u16)(i32)(((float)(i32)(rest + (u32)e) + 0.5f) * inverse);
        left[e] = (u16)(quotient + above);
        right[e] = (u16)((u16)((u16)rest + (u16)e) - (u16)((u32)quotient * side));
    }
}

// The same side in every lane, where no compiler sees that: of a shifted product with a shared side
// it would not find that its high half is one instruction.
typedef struct {
    u16 a[WHOLE], b[WHOLE];
} Sides;

static inline void hide(Sides *sides) { __asm__("" : "+m"(*sides)); }

void two_rounds(Halves *halves, i64 begin, i64 end, Permutation p, u32 t) {
    u16 *restrict left = halves->left, *restrict right = halves->right;
    u32 w0 = p.key.k0 + t * WEYL_0, w1 = p.key.k1 + t * WEYL_1;
    u16 low0 = (u16)w0, high0 = (u16)(w0 >> 16), low1 = (u16)w1, high1 = (u16)(w1 >> 16);
    Sides sides;
    for (int d = 0; d < WHOLE; d++) sides.a[d] = (u16)p.a, sides.b[d] = (u16)p.b;
    if (end - begin < LONG) {
        for (i64 at = begin; at < end; at += WHOLE) {
            hide(&sides);
            for (int d = 0; d < WHOLE; d++) {
                u16 x = half_round(left[at + d], right[at + d], low0, high0, sides.a[d]);
                left[at + d] = x;
                right[at + d] = half_round(right[at + d], x, low1, high1, sides.b[d]);
            }
        }
    } else {  // lanes wait for less of what is before
        for (i64 at = begin; at < end; at += WHOLE) {
            hide(&sides);
            for (int d = 0; d < WHOLE; d++)
                left[at + d] = half_round(left[at + d], right[at + d], low0, high0, sides.a[d]);
        }
        for (i64 at = begin; at < end; at += WHOLE) {
            hide(&sides);
            for (int d = 0; d < WHOLE; d++)
                right[at + d] = half_round(right[at + d], left[at + d], low1, high1, sides.b[d]);
        }
    }
}

// Back from the grid to [0, a * b), and on from there to [0, n).
static void join(u32 *out, i64 m, Permutation p, const Halves *halves) {
    u32 highest = 0;
    for (i64 e = 0; e < m; e++) {
        u32 i = (u32)halves->left[e] * p.b + halves->right[e];
        out[e] = i;
        highest = i > highest ? i : highest;
    }
    if (highest < p.n) return;
    for (i64 e = 0; e < m; e++)
        if (out[e] >= p.n) out[e] = permute_one(out[e], p);
}

void permute_run(u32 *out, u32 i0, i64 m, Permutation p, Halves *halves) {
    if (p.n < RANK_BELOW || m <= FEW_LANES) {
        for (i64 e = 0; e < m; e++) out[e] = i0 + (u32)e;
        if (p.n < RANK_BELOW) {
            permute_ranked(out, m, p, halves->hashes);
            return;
        }
        for (i64 e = 0; e < m; e++) out[e] = permute_one(out[e], p);
        return;
    }
    split_run(i0, m, p.b, halves);
    for (u32 t = 0; t < ROUNDS; t++) two_rounds(halves, 0, whole_vectors(m), p, t);
    join(out, m, p, halves);
}
