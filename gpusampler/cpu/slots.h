// slots: where the draws of a batch go in it.
//
//   in   drawn, and where in it each rank's draw lies
//   out  a row of out: rank r of batch g in slot perm(r, B, key(SLOT, g)), or r where slots are ranks
#pragma once
#include "permute.h"

typedef struct {
    u32 slots[CHUNK];
    Halves halves;
} SlotRoom;

void scatter(const Call *call, i64 t, const void *drawn, const u32 *source, SlotRoom *room);
