// even_tree: which classes have one draw more in which batches (plans/even_tree.py).
//
//   in   shares [L] and links [L, 3] of a StratifiedPlan, and n batches r0, r0 + stride, ... of it
//   out  leaf by leaf from left to right: the batches in which its class has an extra, and how many
//        it had before
//
// A node shares its ticks out: of the first t ticks the left child has the nearest whole number to
// t * share, a key bit deciding near halves. A node is visited once for all batches. Of batches in a
// row its ticks are in a row as well, and their shares a sum that goes on; a node with less than one
// extra a batch has a list of those in which it has one, another a flag for each batch. Batches
// apart have a list at every node. Knows nothing of members, ordinals or slots.
#pragma once
#include "bits.h"
#include "room.h"

typedef struct {
    const i64 *shares;
    const i32 *links;
    Key key;
    i64 n, r0, stride;
    // for nodes on the way down to a leaf and right of it, side by side, [places * (n + 2)]
    u8 *flags;     // of batches: whether the node has one more
    u32 *lists;    // those in which it has
    u64 *befores;  // its extras before
    i64 *counts;   // the lengths of lists, by place
    u8 *took;
    i64 *stack, waiting;  // nodes that wait: node, place and whether it is needed, whole extras
} Tree;

typedef struct {
    i64 leaf, begin, count;  // -1: there is none; where its list begins, and how long it is
} Leaf;

// At the root, which has one more in no batch.
void begin_tree(Tree *tree, Room *room, i64 root, i64 height, i64 extra);

// Go on to the next leaf whose class is drawn in one of the batches. Batches in a row: its list is
// of those in which it has an extra, its first `before` is what it had before r0. Batches apart: the
// list is of all in which it is drawn, each with its own.
Leaf next_leaf(Tree *tree);
