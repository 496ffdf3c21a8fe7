// The rows that kind random finds for given bits.
#include "random.c"

EXPORT void probe_rows(
    u64 *found, const u64 *bits, i64 m, const u64 *cuts, const i32 *guide, i64 rows, i64 shift,
    i64 steps
) {
    Room room = {0};
    RandomRoom *mine = take(&room, sizeof(RandomRoom));
    Call call = {
        .tables = {[CUTS] = cuts, [GUIDE] = guide}, .rows = {[ROWS] = rows},
        .numbers = {[GUIDE_SHIFT] = shift, [STEPS] = steps},
    };
    for (i64 e = 0; e < m; e++) mine->class_bits[e] = bits[e];
    find_rows(&call, m, mine);
    for (i64 e = 0; e < m; e++) found[e] = mine->places[e];
    give_back(&room, 0);
}
