// round robin: draw d of the stream falls in class d mod C, and takes its members in turn.
//
//   in   table rows [C, 2] i64
//   out  batches first .. end of out
#include "fetch.h"

enum { ROWS };
enum { SIZE, FIRST, COLUMNS };

EXPORT int draw_round_robin(const Call *call, i64 first, i64 end) {
    const i64 *rows = call->tables[ROWS];
    for (i64 t = first; t < end; t++)
        for (i64 s = 0; s < call->size; s++) {
            i64 d = (call->g0 + t * call->stride) * call->size + s;
            const i64 *row = rows + d % call->rows[ROWS] * COLUMNS;
            u64 place = (u64)(row[FIRST] + d / call->rows[ROWS] % row[SIZE]);
            fetch(call, call->out + t * call->size + s, &place, 1);
        }
    return 0;
}
