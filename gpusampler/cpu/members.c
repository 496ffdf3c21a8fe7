// members: see members.h. Vector loops are those over e.
#include "members.h"
#include "fetch.h"
#include "unique.h"

Back *make_back(Room *room, i64 draws, const Call *call, const i32 *rows, const i32 *blocks) {
    Back *back = take(room, sizeof(Back));
    void *drawn = take(room, draws * (call->width == 4 ? 4 : 8));
    if (room->failed) return 0;
    back->call = call, back->drawn = drawn, back->rows = rows, back->blocks = blocks;
    back->spans = back->points = back->lanes = 0;
    return back;
}

// ------------------------------------------------------------------------------------- lanes

static void draw_lanes(Back *back) {
    i64 m = back->lanes;
    Lanes *lane = &back->lane;
    if (back->blocks) {
        permute_in_blocks(back);
    } else {
        u64 seed = back->call->seed;
        make_keys(back->lane_cycle, back->lane_label, 0, m, seed, lane->k0, lane->k1);
        permute_lanes(back->lane_point, 1, m, lane, &back->room);
    }
    for (i64 e = 0; e < m; e++) back->lane_first[e] += back->lane_point[e];
    fetch_apart(back->call, back->drawn, back->lane_to, back->lane_first, m);
    back->lanes = 0;
}

static inline void add_lane(
    Back *back, i64 at, u32 label, u64 cycle, u64 first, u32 point, i64 to
) {
    const i32 *row = back->rows + at * ROW_WORDS;
    i64 e = back->lanes;
    back->lane_row[e] = (u32)at;
    back->lane_point[e] = point, back->lane_label[e] = label, back->lane_to[e] = (u32)to;
    back->lane_cycle[e] = cycle, back->lane_first[e] = first;
    back->lane.n[e] = (u32)row[SIZE];
    back->lane.a[e] = (u16)row[GRID_A], back->lane.b[e] = (u16)row[GRID_B];
    if (++back->lanes == MOST_LANES) draw_lanes(back);
}

// A division a class and not a lane: many classes have one lane each.
static void lanes_of_run(Back *back, const Run *run) {
    const i32 *row = back->rows + run->row * ROW_WORDS;
    u64 n = (u32)row[SIZE], first = first_place(row), on = 1, cycles_on = 0;
    u64 cycle = run->ordinal / n, i = run->ordinal - cycle * n;
    if (run->stride > 1 && run->todo > run->count) {  // from a batch's last draw to the next's first
        on = (u64)(run->stride - 1) * (u64)run->count + 1;
        cycles_on = on / n;
        on -= cycles_on * n;
    }
    for (i64 done = 0, j = 0; done < run->todo; done++) {
        add_lane(back, run->row, (u32)run->label, cycle, first, (u32)i, run->to + done);
        if (++j == run->count)
            j = 0, i += on, cycle += cycles_on;
        else
            i++;
        if (i >= n) i -= n, cycle++;
    }
}

static void listed_lanes(Back *back, const Run *run) {
    const i32 *row = back->rows + run->row * ROW_WORDS;
    u64 n = (u32)row[SIZE], first = first_place(row);
    u64 cycle = run->listed[0] / n, begin = cycle * n;
    for (i64 d = 0; d < run->todo; d++) {
        u64 i = run->listed[d] - begin;
        if (i >= n) {
            u64 passed = i / n;
            i -= passed * n, begin += passed * n, cycle += passed;
        }
        add_lane(back, run->row, (u32)run->label, cycle, first, (u32)i, run->to + d);
    }
}

// ------------------------------------------------------------------------------------- spans

// places: back from the grid to [0, a * b). A point beyond [0, n) is noted, and until it has been
// sent on its place is the class's last.
static void join_span(Back *back, i64 s, Permutation p) {
    i64 begin = back->span[s].begin, end = begin + whole_vectors(back->span[s].draws);
    const u16 *left = back->halves.left, *right = back->halves.right;
    u64 first = first_place(back->rows + back->span[s].row * ROW_WORDS), *places = back->places;
    u32 last = p.n - 1;
    u8 *beyond = back->beyond;
    for (i64 at = begin; at < end; at += WHOLE) {
        u8 any = 0;
        for (i64 e = at; e < at + WHOLE; e++) {
            u32 i = (u32)left[e] * p.b + right[e];
            beyond[e] = i > last;
            any |= beyond[e];
            places[e] = first + (i > last ? last : i);
        }
        back->any[at / WHOLE] = any;
    }
}

// What is beyond its class waits as lanes, to be sent on.
static void send_on(Back *back, i64 s, Permutation p) {
    i64 begin = back->span[s].begin, end = begin + back->span[s].draws;
    const u16 *left = back->halves.left, *right = back->halves.right;
    u64 first = first_place(back->rows + back->span[s].row * ROW_WORDS);
    for (i64 at = begin; at < end; at += WHOLE)
        for (i64 e = at; back->any[at / WHOLE] && e < least(at + WHOLE, end); e++)
            if (back->beyond[e]) {
                u32 i = (u32)left[e] * p.b + right[e];
                add_lane(
                    back, back->span[s].row, back->span_label[s], back->span_cycle[s], first, i,
                    back->span[s].to + e - begin
                );
            }
}

static void rank_span(Back *back, i64 s, Permutation p) {
    i64 begin = back->span[s].begin, end = begin + back->span[s].draws;
    u64 first = first_place(back->rows + back->span[s].row * ROW_WORDS);
    permute_ranked(back->point + begin, end - begin, p, back->halves.hashes);
    for (i64 e = begin; e < end; e++) back->places[e] = first + back->point[e];
}

// The members at the points of each span in its cycle's permutation: step by step over all spans,
// as the lanes of one wait for their last step and the next span's do not.
static void draw_spans(Back *back) {
    i64 filled = back->spans;
    back->spans = back->points = 0;
    make_keys(
        back->span_cycle, back->span_label, 0, filled, back->call->seed,
        back->span_k0, back->span_k1
    );
    Permutation perms[MOST_SPANS];
    for (i64 s = 0; s < filled; s++) {
        const i32 *row = back->rows + back->span[s].row * ROW_WORDS;
        perms[s] = of_row(row, (Key){back->span_k0[s], back->span_k1[s]});
    }
    for (i64 s = 0, end; s < filled; s = end) {
        for (end = s; end < filled && back->span[end].row == back->span[s].row;) end++;
        i64 to = back->span[end - 1].begin + whole_vectors(back->span[end - 1].draws);
        if (perms[s].n >= RANK_BELOW)
            split(back->point, back->span[s].begin, to, perms[s].n, perms[s].b, &back->halves);
    }
    for (u32 t = 0; t < ROUNDS; t++)
        for (i64 s = 0; s < filled; s++)
            if (perms[s].n >= RANK_BELOW) {
                i64 begin = back->span[s].begin;
                i64 end = begin + whole_vectors(back->span[s].draws);
                two_rounds(&back->halves, begin, end, perms[s], t);
            }
    for (i64 s = 0; s < filled; s++) {
        if (perms[s].n >= RANK_BELOW)
            join_span(back, s, perms[s]);
        else
            rank_span(back, s, perms[s]);
    }
    for (i64 s = 0; s < filled; s++) {
        const u64 *places = back->places + back->span[s].begin;
        fetch_drawn(back->call, back->drawn, back->span[s].to, places, back->span[s].draws);
    }
    for (i64 s = 0; s < filled; s++)
        if (perms[s].n >= RANK_BELOW) send_on(back, s, perms[s]);
}

// How many draws are left in the cycle from ordinal i there on, which is draw j of a batch: those
// of whole batches, and what the cycle's end leaves of one. Of this batch only, where it has more
// than a chunk.
static u64 draws_left(u64 n, u64 count, u64 stride, u64 i, u64 j) {
    if (count > CHUNK) return (u64)least((i64)(n - i), (i64)(count - j));
    u64 period = stride * count, rest = n + j - i, whole = rest / period;
    return whole * count + (u64)least((i64)(rest - whole * period), (i64)count) - j;
}

// points[e]: the ordinal in its cycle of the draw e after that one; beyond the cycle of no meaning.
static void place(u32 *points, i64 m, u64 count, u64 stride, u64 i, u64 j) {
    if (stride == 1 || count > CHUNK) {
        for (i64 e = 0; e < m; e++) points[e] = (u32)i + (u32)e;
        return;
    }
    // exact: draw e and a half is 1 / 2 count from a whole batch, or more, and off by less than
    // 2^-9 of that
    float each = 1.0f / (float)count;
    u32 skipped = (u32)((stride - 1) * count);
    for (i64 e = 0; e < m; e++) {
        u32 batch = (u32)(i32)(((float)(i32)((u32)j + (u32)e) + 0.5f) * each);
        points[e] = (u32)i + (u32)e + batch * skipped;
    }
}

static void add_span(Back *back, const Run *run, u64 cycle, i64 done, i64 m) {
    i64 s = back->spans++, begin = back->points;
    for (i64 e = m; e < whole_vectors(m) && run->listed; e++) back->point[begin + e] = 0;
    back->span[s].begin = begin, back->span[s].to = run->to + done;
    back->span[s].row = run->row, back->span[s].draws = m;
    back->span_cycle[s] = cycle, back->span_label[s] = (u32)run->label;
    back->points += whole_vectors(m);
    if (back->points == CHUNK) draw_spans(back);
}

static void spans_of_run(Back *back, const Run *run) {
    u64 n = (u32)back->rows[run->row * ROW_WORDS + SIZE];
    u64 count = (u64)run->count, stride = (u64)run->stride;
    for (i64 done = 0, m; done < run->todo; done += m) {
        u64 t = (u64)done / count, j = (u64)done - t * count;
        u64 now = run->ordinal + t * stride * count + j, cycle = now / n, i = now - cycle * n;
        i64 left = least((i64)draws_left(n, count, stride, i, j), run->todo - done);
        m = least(left, CHUNK - back->points);
        place(back->point + back->points, whole_vectors(m), count, stride, i, j);
        add_span(back, run, cycle, done, m);
    }
}

// The ordinals from `at` on that are of one cycle, as many as there is room for.
static void listed_spans(Back *back, const Run *run) {
    u64 n = (u32)back->rows[run->row * ROW_WORDS + SIZE];
    for (i64 done = 0, m; done < run->todo; done += m) {
        u64 cycle = run->listed[done] / n, begin = cycle * n;
        u32 *point = back->point + back->points;
        i64 room = least(run->todo - done, CHUNK - back->points);
        for (m = 0; m < room && run->listed[done + m] - begin < n; m++)
            point[m] = (u32)(run->listed[done + m] - begin);
        add_span(back, run, cycle, done, m);
    }
}

void draw_run(Back *back, const Run *run, int few) {
    if (few || back->blocks) {
        if (run->listed)
            listed_lanes(back, run);
        else
            lanes_of_run(back, run);
    } else if (run->listed) {
        listed_spans(back, run);
    } else {
        spans_of_run(back, run);
    }
}

void finish(Back *back) {
    if (back->spans) draw_spans(back);
    if (back->lanes) draw_lanes(back);
}
