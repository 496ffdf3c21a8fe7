// permute: the keyed permutation of [0, n): a Feistel network on an a x b grid, or below RANK_BELOW
// the rank of a hash (bits/random_bits.py says why both).
//
//   in   runs or points of [0, n), a Permutation
//   out  where it sends them
//
// Knows nothing of classes, members or batches. Vector loops are those over e.
#pragma once
#include "bits.h"

#define ROUND_M0 0x9E3Bu
#define ROUND_M1 0xB979u
#define WEYL_0 0x9E3779B9u
#define WEYL_1 0xBB67AE85u

enum {
    ROUNDS = 6,  // of two half-rounds
    RANK_BELOW = 32,
    FEW_LANES = 3,             // up to here one lane after another is faster
    FLOAT32_BELOW = 1 << 21,   // where 32 bits are enough to divide
    LONG = 288,                // lanes
};

typedef struct {
    u32 n, a, b;  // a x b is of no meaning where n < RANK_BELOW
    Key key;
} Permutation;

typedef struct {
    u16 left[CHUNK], right[CHUNK];  // of each lane
    u64 hashes[RANK_BELOW];
} __attribute__((aligned(64))) Halves;

static inline u16 half_round(u16 x, u16 y, u16 low, u16 high, u16 side) {
    u16 h = (u16)((u32)(u16)(y ^ low) * ROUND_M0);
    h = (u16)(h ^ h >> 8 ^ high);
    h = (u16)((u32)h * ROUND_M1);
    // x - (side - v) mod side, since x + v may pass 16 bits
    u16 back = (u16)(side - (u16)((u32)h * side >> 16));
    u16 moved = (u16)(x - back);
    return x < back ? (u16)(moved + side) : moved;
}

// The same of one lane, in 32 bits: it waits for one multiply less.
static inline u32 half_round_one(u32 x, u32 y, u32 w, u32 side) {
    u32 h = (y ^ w) * (ROUND_M0 << 16);
    h = (h ^ h >> 8 ^ w) >> 16;
    h *= ROUND_M1 << 16;
    x += (u32)((u64)h * side >> 32);
    return x >= side ? x - side : x;
}

// One point, n >= RANK_BELOW.
static inline u32 permute_one(u32 i, Permutation p) {
    do {
        u32 left = i / p.b, right = i - left * p.b;
        for (u32 t = 0; t < ROUNDS; t++) {
            left = half_round_one(left, right, p.key.k0 + t * WEYL_0, p.a);
            right = half_round_one(right, left, p.key.k1 + t * WEYL_1, p.b);
        }
        i = left * p.b + right;
    } while (i >= p.n);
    return i;
}

static inline u32 rank_hash(u32 j, Key key) { return lowbias32(mix(j ^ key.k0) ^ key.k1); }

static inline i64 whole_vectors(i64 m) { return (m + WHOLE - 1) / WHOLE * WHOLE; }

// points[e] = perm(points[e]) for the first m; n < RANK_BELOW.
void permute_ranked(u32 *points, i64 m, Permutation p, u64 *hashes);

// Left and right of lanes begin .. end: divmod(points[e], b).
void split(const u32 *points, i64 begin, i64 end, u32 n, u32 b, Halves *halves);

// Half-rounds 2t and 2t + 1 of lanes begin .. end, whole vectors.
void two_rounds(Halves *halves, i64 begin, i64 end, Permutation p, u32 t);

// out[e] = perm(i0 + e) for 0 <= e < m <= CHUNK.
void permute_run(u32 *out, u32 i0, i64 m, Permutation p, Halves *halves);
