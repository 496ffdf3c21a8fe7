// rotations: see rotations.h. Vector loops are those over v.
#include "rotations.h"
#include "fetch.h"

// Points of a run: at most DEEPEST, and the last run of a visit nearly as long as others.
static i64 depth(i64 most_taken) {
    i64 runs = most(1, (most_taken + DEEPEST - 1) / DEEPEST);
    return most(1, (most_taken + runs - 1) / runs);
}

// The keys of every cycle and turn that was asked for, handed to the runs.
static void hand_out_keys(Runs *runs, u64 seed) {
    make_keys(runs->x, runs->y, runs->purpose, runs->asked, seed, runs->key0, runs->key1);
    for (i64 v = 0; v < runs->count; v++) {
        u32 sigma = runs->sigma_at[v], rho = runs->rho_at[v];
        runs->sigma.k0[v] = runs->key0[sigma], runs->sigma.k1[v] = runs->key1[sigma];
        runs->rho.k0[v] = runs->key0[rho], runs->rho.k1[v] = runs->key1[rho];
    }
}

// points: the places of all runs before rho; items: what is there.
static void permute_runs(Runs *runs) {
    i64 count = runs->count;
    for (i64 m = 0; m < runs->deep; m++)  // a run that has no point m repeats its last
        for (i64 v = 0; v < count; v++) {
            u32 last = runs->length[v] - 1;
            runs->points[m * count + v] = runs->start[v] + ((u32)m < last ? (u32)m : last);
        }
    permute_lanes(runs->points, runs->deep, count, &runs->sigma, &runs->lanes);
    for (i64 m = 0; m < runs->deep; m++)
        for (i64 v = 0; v < count; v++) {
            u32 n = runs->rho.n[v], u = runs->points[m * count + v] + runs->base[v];
            u = u >= n ? u - n : u;
            runs->points[m * count + v] = runs->items[m * count + v] = u;
        }
    permute_lanes(runs->items, runs->deep, count, &runs->rho, &runs->lanes);
}

// Each row, and its visits before: the cycles, less those that left it out.
static void put_classes(const Rotations *rotations, const Runs *runs) {
    i64 count = runs->count;
    for (i64 m = 0; m < runs->deep; m++)
        for (i64 v = 0; v < count; v++)
            if ((u32)m < runs->length[v]) {
                u64 to = runs->to[v] + (u64)m;
                rotations->class_row[to] = runs->items[m * count + v];
                rotations->class_visit[to] =
                    runs->of[v] - (runs->points[m * count + v] < runs->lag[v]);
            }
}

static void put_members(const Rotations *rotations, Runs *runs) {
    i64 count = runs->count, found = 0;
    for (i64 m = 0; m < runs->deep; m++)
        for (i64 v = 0; v < count; v++) {
            runs->places[found] = runs->of[v] + runs->items[m * count + v];
            runs->places_to[found] = (u32)(runs->to[v] + (u64)m);
            found += (u32)m < runs->length[v];
        }
    fetch_apart(rotations->call, rotations->drawn, runs->places_to, runs->places, found);
}

static void flush(const Rotations *rotations, Runs *runs) {
    if (runs->count == 0) return;
    hand_out_keys(runs, rotations->call->seed);
    permute_runs(runs);
    if (rotations->class_row)
        put_classes(rotations, runs);
    else
        put_members(rotations, runs);
    runs->count = runs->asked = 0;
}

static u32 ask_key(Runs *runs, u64 x, u32 label, u64 purpose) {
    i64 j = runs->asked++;
    runs->x[j] = x, runs->y[j] = label, runs->purpose[j] = (u32)purpose;
    return (u32)j;
}

// Where a row stands: its cycle and place there, its turn, and how far leaving out has come: each
// item was left out in `rounds` cycles, and those at places below lag in one more.
typedef struct {
    u64 visit, cycle, i, turn, rounds, lag;
    int new_cycle, new_turn;
    u32 sigma_at, rho_at;
} Stand;

static void find_stand(Stand *stand, u64 visit, const i64 *rotation) {
    u64 n = (u64)rotation[N_ITEMS], per_cycle = (u64)rotation[PER_CYCLE];
    u64 cycle = visit / per_cycle, lost = cycle * (u64)rotation[LEAVE];
    stand->visit = visit, stand->cycle = cycle, stand->i = visit - cycle * per_cycle;
    stand->turn = cycle / (u64)rotation[PERIOD], stand->rounds = lost / n;
    stand->lag = lost - stand->rounds * n;
    stand->new_cycle = stand->new_turn = 1;
}

static void next_stand(Stand *stand, const i64 *rotation) {
    stand->visit++;
    if (++stand->i < (u64)rotation[PER_CYCLE]) return;
    stand->i = 0, stand->cycle++, stand->lag += (u64)rotation[LEAVE], stand->new_cycle = 1;
    if (stand->lag >= (u64)rotation[N_ITEMS]) stand->rounds++, stand->lag -= (u64)rotation[N_ITEMS];
    if (stand->lag == 0) stand->turn++, stand->new_turn = 1;
}

static void add_runs(
    const Rotations *all, Runs *runs, Stand *stand, const i64 *row, const i64 *rotation, u64 v
) {
    i64 take = rotation[TAKE];
    u64 n = (u64)rotation[N_ITEMS], leave = (u64)rotation[LEAVE], base = stand->lag + leave;
    u32 label = (u32)row[PK_CLASS];
    base = base >= n ? base - n : base;
    u64 of = all->class_row ? stand->cycle - stand->rounds : (u64)row[PK_FIRST];
    u64 to = (v + 1) * (u64)all->width - (u64)take;
    for (i64 done = 0; done < take; done += runs->deep) {
        i64 r = runs->count;
        if (stand->new_cycle || r == 0)
            stand->sigma_at = ask_key(runs, stand->cycle, label, all->sigma);
        if (stand->new_turn || r == 0) stand->rho_at = ask_key(runs, stand->turn, label, all->rho);
        stand->new_cycle = stand->new_turn = 0;
        runs->start[r] = (u32)(stand->i * (u64)take + (u64)done);
        runs->length[r] = (u32)least(runs->deep, take - done);
        runs->base[r] = (u32)base, runs->lag[r] = (u32)stand->lag;
        runs->sigma.n[r] = (u32)(n - leave), runs->rho.n[r] = (u32)n;
        runs->sigma.a[r] = (u16)most(rotation[SIGMA_A], 1);
        runs->sigma.b[r] = (u16)most(rotation[SIGMA_B], 1);
        runs->rho.a[r] = (u16)most(rotation[RHO_A], 1);
        runs->rho.b[r] = (u16)most(rotation[RHO_B], 1);
        runs->to[r] = to + (u64)done, runs->of[r] = of;
        runs->sigma_at[r] = stand->sigma_at, runs->rho_at[r] = stand->rho_at;
        if (++runs->count == LANES / runs->deep) flush(all, runs);
    }
}

void rotate(const Rotations *all, int ranked, Runs *runs) {
    const i64 *row = 0, *rotation = 0;
    i64 last = -1;
    int skip = 1;
    Stand stand = {0};
    runs->count = runs->asked = 0, runs->deep = depth(all->most_taken);
    for (i64 e = 0; e < all->visits; e++) {
        u64 v = all->order ? all->order[e] : (u64)e, visit = all->visit_of[v];
        i64 at = all->row_of ? all->row_of[v] : 0;
        int same = at == last;
        if (!same) {
            last = at, row = all->rows + at * PK_ROW;
            rotation = all->rotations + row[ROTATION] * ROTATION_WORDS;
            skip = rotation[TAKE] == 0 || (rotation[N_ITEMS] < RANK_BELOW) != ranked;
        }
        if (skip) continue;
        if (same && visit == stand.visit + 1)
            next_stand(&stand, rotation);
        else
            find_stand(&stand, visit, rotation);
        add_runs(all, runs, &stand, row, rotation, v);
    }
    flush(all, runs);
}
