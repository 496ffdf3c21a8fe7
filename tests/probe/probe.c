// What the tests look at of the C code beside its exports; and counts of theirs, too slow in Python.
#include "permute.c"
#include "lanes.c"
#include "members.c"
#include "unique.c"
#include <string.h>

EXPORT void probe_philox(const u32 *counter, const u32 *key, u32 *words) {
    u64 seed = (u64)key[1] << 32 | key[0], second;
    u64 first = philox(counter[0], counter[1], counter[2], counter[3], seed, &second);
    words[0] = (u32)first, words[1] = (u32)(first >> 32);
    words[2] = (u32)second, words[3] = (u32)(second >> 32);
}

// keys[t]: of (seed; x + t, y, purpose).
EXPORT void probe_keys(u32 *keys, i64 count, u64 seed, u64 purpose, u64 x, u64 y) {
    for (i64 t = 0; t < count; t++) {
        Key key = key_of(seed, purpose, x + (u64)t, y);
        keys[2 * t] = key.k0, keys[2 * t + 1] = key.k1;
    }
}

static Permutation permutation(i64 n, const u32 *sides, const u32 *key) {
    return (Permutation){(u32)n, sides[0], sides[1], {key[0], key[1]}};
}

EXPORT void probe_permute(u32 *out, i64 first, i64 m, i64 n, const u32 *sides, const u32 *key) {
    Room room = {0};
    permute_run(out, (u32)first, m, permutation(n, sides, key), take(&room, sizeof(Halves)));
    give_back(&room, 0);
}

// out[t, e] = perm(points[e], n, keys[t]).
EXPORT void probe_orders(
    u32 *out, i64 keys, const u32 *points, i64 count, i64 n, const u32 *sides, const u32 *key
) {
    Room room = {0};
    Halves *halves = take(&room, sizeof(Halves));
    u32 run[CHUNK];
    int whole = n <= least(CHUNK, 16 * count);  // cheaper then than point by point
    for (i64 t = 0; t < keys; t++) {
        Permutation p = permutation(n, sides, key + 2 * t);
        if (whole) permute_run(run, 0, n, p, halves);
        for (i64 e = 0; e < count; e++) {
            if (!whole) permute_run(run, points[e], 1, p, halves);
            out[t * count + e] = run[whole ? points[e] : 0];
        }
    }
    give_back(&room, 0);
}

EXPORT void probe_split(const u32 *points, i64 m, i64 n, i64 b, u16 *left, u16 *right) {
    Room room = {0};
    Halves *halves = take(&room, sizeof(Halves));
    split(points, 0, m, (u32)n, (u32)b, halves);
    for (i64 e = 0; e < m; e++) left[e] = halves->left[e], right[e] = halves->right[e];
    give_back(&room, 0);
}

EXPORT void probe_split_run(i64 first, i64 m, i64 b, u16 *left, u16 *right) {
    Room room = {0};
    Halves *halves = take(&room, sizeof(Halves));
    split_run((u32)first, m, (u32)b, halves);
    for (i64 e = 0; e < m; e++) left[e] = halves->left[e], right[e] = halves->right[e];
    give_back(&room, 0);
}

EXPORT void probe_place(u32 *points, i64 m, u64 count, u64 stride, u64 i, u64 j) {
    place(points, m, count, stride, i, j);
}

EXPORT u64 probe_draws_left(u64 n, u64 count, u64 stride, u64 i, u64 j) {
    return draws_left(n, count, stride, i, j);
}

// Runs, seven numbers each: row, to, todo, count, stride, label, ordinal; or the listed ones.
EXPORT void probe_draws(
    const Call *call, const i32 *rows, const i32 *blocks, const i64 *runs, i64 count,
    const u64 *listed, int few, i64 draws, void *out
) {
    Room room = {0};
    Back *back = make_back(&room, draws, call, rows, blocks);
    for (i64 k = 0; back && k < count; k++) {
        const i64 *r = runs + 7 * k;
        Run run = {r[0], r[1], r[2], r[3], r[4], (u64)r[5], (u64)r[6], listed};
        draw_run(back, &run, few);
    }
    if (back) {
        finish(back);
        memcpy(out, back->drawn, (size_t)(draws * (call->width == 4 ? 4 : 8)));
    }
    give_back(&room, 0);
}

// One more in each table for each row, its columns there read as a number in the base.
EXPORT void tally(
    i64 *tables, i64 n_tables, i64 cells, const u32 *block, i64 rows, i64 width, const i64 *columns,
    i64 n_columns, i64 base
) {
    for (i64 t = 0; t < rows; t++)
        for (i64 c = 0; c < n_tables; c++) {
            i64 at = 0;
            for (i64 e = 0; e < n_columns; e++)
                at = at * base + block[t * width + columns[c * n_columns + e]];
            tables[c * cells + at]++;
        }
}

// Row by row, the Kendall distance: how many pairs of positions are in another order.
EXPORT void disagreements(i64 *out, const u32 *one, const u32 *other, i64 rows, i64 width) {
    for (i64 t = 0; t < rows; t++, one += width, other += width) {
        out[t] = 0;
        for (i64 i = 0; i < width; i++)
            for (i64 j = 0; j < i; j++)
                out[t] += (one[i] < one[j]) != (other[i] < other[j]);
    }
}
