// room: what one call works in, taken piece by piece and given back at once.
//
//   in   sizes in bytes
//   out  pieces that begin with a cache line; after one could not be had, `failed` is set
#pragma once
#include "call.h"
#include <stdlib.h>

enum { MOST_PIECES = 16, LINE = 64 };

typedef struct {
    void *pieces[MOST_PIECES];
    int taken, failed;
} Room;

static inline void *take(Room *room, i64 bytes) {
    u8 *piece = malloc((size_t)bytes + LINE);
    room->failed |= !piece;
    room->pieces[room->taken++] = piece;
    return piece ? piece + (LINE - (uintptr_t)piece % LINE) : 0;
}

// Gives what the call gives.
static inline int give_back(Room *room, int result) {
    while (room->taken) free(room->pieces[--room->taken]);
    return room->failed ? NO_MEMORY : result;
}
