// call: what every kind is given, and the exports of this library.
//
//   in   the tensors and numbers of one op call, checked before (given.py): nothing here checks again
//   out  out [n, B] int64, batches first .. end of it; no other byte
//
// Each draw_* gives 0, or what went wrong: NO_MEMORY, NO_ROW. It holds no state, so any number of
// threads may call it, each with batches of its own.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

enum { NO_MEMORY = 1, NO_ROW = 2 };
enum { MOST_TABLES = 12, MOST_NUMBERS = 16 };

typedef struct {
    i64 *out;             // [batches, size]
    i64 batches, size;
    const void *members;  // [reach] i32 | i64; none where width is 0: the dataset is sorted by class
    i64 reach, width;     // bytes of a member
    u64 seed;
    i64 g0, stride;       // batch t of out is g0 + t * stride
    i64 slot_a, slot_b;   // grid of [0, B), 0 x 0 where that is small; -1: slots are ranks
    const void *tables[MOST_TABLES];
    i64 rows[MOST_TABLES];
    i64 numbers[MOST_NUMBERS];
} Call;

// In a loop over e whose stores lie apart: one by one they take a tenth less time than in vectors.
#define ONE_BY_ONE(e) __asm__("" : "+r"(e))

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

// Batches first .. end; of draw_random flat slots.
EXPORT int draw_fixed(const Call *call, i64 first, i64 end);
EXPORT int draw_random(const Call *call, i64 first, i64 end);
EXPORT int draw_stratified(const Call *call, i64 first, i64 end);
EXPORT int draw_pk(const Call *call, i64 first, i64 end);
EXPORT int sort_by_class(const Call *call, i64 first, i64 end);
