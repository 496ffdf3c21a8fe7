// counting_sort: how many places each label has, and the places by label, ascending in each.
//
//   in   labels [N] of any integer type, begin .. end of them
//   out  counts [classes], heads [classes], places
//
// Another thread may write the labels: each is read once a pass, and one that is no class, or has no
// room left, is counted and goes nowhere.
#include "call.h"

EXPORT void count_labels(
    const void *labels, i64 type, i64 begin, i64 end, i64 *counts, i64 classes, i64 *seen
);
EXPORT void place_labels(
    const void *labels, i64 type, i64 begin, i64 end, i64 *heads, i64 classes, void *places,
    i64 room, i64 width
);

// seen becomes the descents, the first and the last label, and how many labels were no class.
// A negative label is beyond all classes.
#define COUNT(T)                                                                                  \
    {                                                                                             \
        const volatile T *from = labels;                                                          \
        u64 last = (u64)from[begin];                                                              \
        seen[1] = (i64)last;                                                                      \
        for (i64 i = begin; i < end; i++) {                                                       \
            u64 label = (u64)from[i];                                                             \
            if (label < (u64)classes)                                                             \
                counts[label]++;                                                                  \
            else                                                                                  \
                wrong++;                                                                          \
            descents += label < last;                                                             \
            last = label;                                                                         \
        }                                                                                         \
        seen[2] = (i64)last;                                                                      \
        break;                                                                                    \
    }

// Each place goes to its label's head, which moves on.
#define PLACE(T)                                                                                  \
    {                                                                                             \
        const volatile T *from = labels;                                                          \
        for (i64 i = begin; i < end; i++) {                                                       \
            u64 label = (u64)from[i];                                                             \
            if (label >= (u64)classes || (u64)heads[label] >= (u64)room) continue;                \
            i64 at = heads[label]++;                                                              \
            if (width == 4)                                                                       \
                ((i32 *)places)[at] = (i32)i;                                                     \
            else                                                                                  \
                ((i64 *)places)[at] = i;                                                          \
        }                                                                                         \
        break;                                                                                    \
    }

// type: bytes of a label, negative where it has a sign.
#define BY_TYPE(LOOP)                                                                             \
    switch (type) {                                                                               \
        case 1: LOOP(u8)                                                                          \
        case 2: LOOP(u16)                                                                         \
        case 4: LOOP(u32)                                                                         \
        case -1: LOOP(int8_t)                                                                     \
        case -2: LOOP(int16_t)                                                                    \
        case -4: LOOP(i32)                                                                        \
        default: LOOP(i64)                                                                        \
    }

void count_labels(
    const void *labels, i64 type, i64 begin, i64 end, i64 *counts, i64 classes, i64 *seen
) {
    i64 descents = 0, wrong = 0;
    BY_TYPE(COUNT)
    seen[0] = descents, seen[3] = wrong;
}

void place_labels(
    const void *labels, i64 type, i64 begin, i64 end, i64 *heads, i64 classes, void *places,
    i64 room, i64 width
) {
    BY_TYPE(PLACE)
}
