// unique: see unique.h. Vector loops are those over e.
#include "unique.h"

// Columns of a table of blocks (plans/blocks.py).
enum { LENGTH, LENGTH_A, LENGTH_B, BLOCKS_OF, LAST, LAST_A, LAST_B, SHIFT, BLOCK_WORDS };

// From how far each lane has come in its pass to how far in a block of it; and of that block the
// size and grid, where it begins and its purpose.
static void find_blocks(Back *back, BlockRoom *room) {
    for (i64 e = 0; e < back->lanes; e++) {
        const i32 *row = back->blocks + (i64)back->lane_row[e] * BLOCK_WORDS;
        u64 n = back->lane.n[e];
        u32 i = back->lane_point[e], length = (u32)row[LENGTH], block = i / length;
        u32 begin = block * length;
        int column = block == (u32)row[BLOCKS_OF] - 1 ? LAST : LENGTH;
        u32 size = (u32)row[column];
        if (i - begin >= size) begin += size, block++;  // the second of the two behind the first
        room->purpose[e] = block << 8 | MEMBER;
        back->lane_point[e] = i - begin;
        room->block.n[e] = size;
        room->block.a[e] = (u16)row[column + 1], room->block.b[e] = (u16)row[column + 2];
        u64 moved = (back->lane_cycle[e] + 1) * (u64)(u32)row[SHIFT] + begin;
        room->begin[e] = (u32)(moved - moved / n * n);
    }
}

// By its block's order; and where the class has more blocks than one, by the class's.
void permute_in_blocks(Back *back) {
    BlockRoom *room = &back->block_room;
    i64 m = back->lanes;
    u32 *point = back->lane_point, *n = back->lane.n;
    find_blocks(back, room);
    make_keys(
        back->lane_cycle, back->lane_label, room->purpose, m, back->call->seed, room->block.k0,
        room->block.k1
    );
    permute_lanes(point, 1, m, &room->block, &back->room);
    int parted = 0;
    for (i64 e = 0; e < m; e++) {
        u32 place = point[e] + room->begin[e];
        parted |= room->block.n[e] != n[e];
        point[e] = room->place[e] = place >= n[e] ? place - n[e] : place;
    }
    if (!parted) return;
    for (i64 e = 0; e < m; e++) back->lane_cycle[e] = 0, room->purpose[e] = SCATTER;
    make_keys(
        back->lane_cycle, back->lane_label, room->purpose, m, back->call->seed, back->lane.k0,
        back->lane.k1
    );
    permute_lanes(point, 1, m, &back->lane, &back->room);
    for (i64 e = 0; e < m; e++) {
        const i32 *row = back->blocks + (i64)back->lane_row[e] * BLOCK_WORDS;
        if (row[BLOCKS_OF] == 1) point[e] = room->place[e];
    }
}
