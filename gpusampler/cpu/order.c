// order: batches class by class.
//
//   in   out: places in members, in the order in which they were drawn; tables firsts [C] u64, the
//        first place of each class, ascending, and cells [cells + 1] u32 (plans/order_guide.py);
//        numbers: the shift from a place to its cell, the bits of a digit
//   out  batches first .. end of out: the members there, sorted by class; a class's stay in their
//        order
//
// A radix sort, digit by digit of the class from the lowest. Knows nothing of how they were drawn.
#include "bits.h"
#include "fetch.h"
#include "room.h"
#include <string.h>

enum { FIRSTS, CELLS };
enum { CELL_SHIFT, DIGIT };

typedef struct {
    u32 *classes, *next_classes, *ends;
    u64 *places, *next_places;
} Sorting;

// The last class whose first place is at most the place; of classes without members none.
static u32 class_at(const Call *call, u64 place) {
    const u64 *firsts = call->tables[FIRSTS];
    const u32 *cells = call->tables[CELLS];
    u64 cell = place >> call->numbers[CELL_SHIFT], last = (u64)call->rows[CELLS] - 2;
    cell = cell < last ? cell : last;
    u64 low = cells[cell], high = cells[cell + 1];
    while (low < high) {
        u64 middle = (low + high + 1) >> 1;
        if (firsts[middle] <= place)
            low = middle;
        else
            high = middle - 1;
    }
    return (u32)low;
}

static void sort_digit(Sorting *s, i64 size, i64 low, i64 digit) {
    i64 buckets = (i64)1 << digit;
    u32 mask = (u32)buckets - 1, *ends = s->ends;
    memset(ends, 0, (size_t)(buckets + 1) * sizeof(u32));
    for (i64 e = 0; e < size; e++) ends[(s->classes[e] >> low & mask) + 1]++;
    for (i64 k = 0; k < buckets; k++) ends[k + 1] += ends[k];
    for (i64 e = 0; e < size; e++) {
        u32 to = ends[s->classes[e] >> low & mask]++;
        s->next_classes[to] = s->classes[e], s->next_places[to] = s->places[e];
    }
    u32 *classes = s->classes;
    u64 *places = s->places;
    s->classes = s->next_classes, s->next_classes = classes;
    s->places = s->next_places, s->next_places = places;
}

EXPORT int sort_by_class(const Call *call, i64 first, i64 end) {
    i64 size = call->size, digit = call->numbers[DIGIT], class_bits = 0;
    Room room = {0};
    Sorting s;
    s.classes = take(&room, size * (i64)sizeof(u32));
    s.next_classes = take(&room, size * (i64)sizeof(u32));
    s.ends = take(&room, (((i64)1 << digit) + 1) * (i64)sizeof(u32));
    s.places = take(&room, size * (i64)sizeof(u64));
    s.next_places = take(&room, size * (i64)sizeof(u64));
    while ((call->rows[FIRSTS] - 1) >> class_bits) class_bits++;
    for (i64 t = first; t < end && !room.failed; t++) {
        i64 *out = call->out + t * size;
        for (i64 e = 0; e < size; e++) {
            s.places[e] = (u64)out[e];
            s.classes[e] = class_at(call, (u64)out[e]);
        }
        for (i64 low = 0; low < class_bits; low += digit) sort_digit(&s, size, low, digit);
        fetch(call, out, s.places, size);
    }
    return give_back(&room, 0);
}
