// wide: Philox of eight lanes at once.
//
//   in   counters, and a seed
//   out  words
#pragma once
#include "bits.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

enum { LANES_OF_WIDE = 8 };
typedef u64 Wide __attribute__((vector_size(64), aligned(8)));

// By name where a compiler would multiply all 64 bits.
static inline Wide multiply_wide(Wide x, u32 y) {
#if defined(__AVX512F__)
    return (Wide)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(y));
#elif defined(__AVX2__)
    typedef u64 Half __attribute__((vector_size(32)));
    union {
        Wide all;
        Half halves[2];
    } lanes = {x};
    for (int i = 0; i < 2; i++)
        lanes.halves[i] = (Half)_mm256_mul_epu32((__m256i)lanes.halves[i], _mm256_set1_epi64x(y));
    return lanes.all;
#elif defined(__SSE2__)
    typedef u64 Pair __attribute__((vector_size(16)));
    union {
        Wide all;
        Pair pairs[4];
    } lanes = {x};
    for (int i = 0; i < 4; i++)
        lanes.pairs[i] = (Pair)_mm_mul_epu32((__m128i)lanes.pairs[i], _mm_set1_epi64x(y));
    return lanes.all;
#else
    return (x & 0xFFFFFFFFu) * (u64)y;
#endif
}

// The same of eight lanes, with counters x, y and purposes.
static inline Wide philox_wide(Wide x, Wide y, Wide purpose, u64 seed, Wide *second) {
    Wide c0 = x, c1 = x >> 32, c2 = y, c3 = purpose, low = {0};
    low += 0xFFFFFFFFu;
    PHILOX(Wide, multiply_wide, c0, c1, c2, c3, seed)
    *second = c3 << 32 | (c2 & low);
    return c1 << 32 | (c0 & low);
}
