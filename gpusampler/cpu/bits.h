// bits: Philox4x32-10, hashes, and the constants of the bit contract (bits/random_bits.py).
//
//   in   keys and counters
//   out  words
//
// Knows nothing of permutations, classes or batches. Vector loops are those over e.
#pragma once
#include "call.h"

enum { SLOT = 1, MEMBER = 2, CLASS_ORDER = 3, PICK = 7, SCATTER = 11 };

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u
#define MIX_M0 0x7FEB352Du
#define MIX_M1 0x846CA68Bu

enum {
    CHUNK = 2048,  // lanes of one vector loop; its workspace stays in the first-level cache
    WHOLE = 32,    // lanes in whole vectors of any machine; what is left of one goes lane by lane
};

typedef struct {
    u32 k0, k1;
} Key;

#ifndef UNROLLED
#define UNROLLED  // how a file has the rounds of Philox
#endif

// Philox in 64-bit lanes whose high halves may hold anything: a 32 x 32 -> 64 bit multiply does not
// read them, so nothing is masked or packed between rounds. MULTIPLY is that multiply, of a T.
#define PHILOX(T, MULTIPLY, c0, c1, c2, c3, seed)                                                 \
    u32 k0 = (u32)(seed), k1 = (u32)((seed) >> 32);                                               \
    UNROLLED                                                                                      \
    for (int round = 0; round < 10; round++) {                                                    \
        T p = MULTIPLY(c0, PHILOX_M0), q = MULTIPLY(c2, PHILOX_M1);                               \
        c0 = (q >> 32) ^ c1 ^ k0;                                                                 \
        c2 = (p >> 32) ^ c3 ^ k1;                                                                 \
        c1 = q, c3 = p;                                                                           \
        k0 += PHILOX_W0, k1 += PHILOX_W1;                                                         \
    }

static inline u64 multiply_low(u64 x, u32 y) { return (u64)(u32)x * y; }

// Gives words 0-1; 2-3 in *second.
static inline u64 philox(u64 c0, u64 c1, u64 c2, u64 c3, u64 seed, u64 *second) {
    PHILOX(u64, multiply_low, c0, c1, c2, c3, seed)
    *second = c3 << 32 | (u32)c2;
    return c1 << 32 | (u32)c0;
}

// Words 0 and 1 of Philox(seed; x, y, purpose).
static inline Key key_of(u64 seed, u64 purpose, u64 x, u64 y) {
    u64 second, pair = philox(x, x >> 32, y, purpose, seed, &second);
    return (Key){(u32)pair, (u32)(pair >> 32)};
}

static inline u32 mix(u32 x) {
    x *= MIX_M0;
    x ^= x >> 15;
    return x * MIX_M1;
}

static inline u32 lowbias32(u32 x) {
    x = mix(x ^ x >> 16);
    return x ^ x >> 16;
}

static inline i64 least(i64 x, i64 y) { return x < y ? x : y; }
static inline i64 most(i64 x, i64 y) { return x > y ? x : y; }
