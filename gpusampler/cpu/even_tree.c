// even_tree: see even_tree.h.
#include "even_tree.h"
#include "permute.h"
#include <string.h>

// Columns and bits of links, and how shares are rounded (plans/even_tree.py).
enum { SPLIT, LEFT, RIGHT, LINKS };
enum { CARRY = 1, NEED_LEFT = 2, NEED_RIGHT = 4, LEFT_SHIFT = 4 };
enum { PAIR_BITS = 62, TIE_BITS = 8, TIE = 16 };
#define HALF (1ull << (PAIR_BITS - 1))

typedef struct {
    i64 v, at, below;  // a node, its place in the room and that of its left child
    i64 split, whole;  // whole: its extras in every batch
    u64 share;
} Node;

static u64 high_half(u64 x, u64 y) { return (u64)((unsigned __int128)x * y >> 64); }

static u64 whole_of(u64 high, u64 low) { return high << (64 - PAIR_BITS) | low >> PAIR_BITS; }

// How many of the ticks up to the first of a pair are the left child's.
static inline u64 middle_of(
    const Tree *tree, Node node, u64 high, u64 low, u64 before, u64 after, u64 pair
) {
    u64 half = low + (node.share >> 1), apart = after - before;
    u64 found = apart == 1 ? whole_of(high + (half < low), half) : before + (apart >> 1);
    u64 fraction = (half >> (PAIR_BITS - TIE_BITS)) - ((1 << TIE_BITS) - TIE);
    if ((fraction & ((1 << TIE_BITS) - 1)) < 2 * TIE && apart == 1) {
        u32 x = mix((u32)pair ^ tree->key.k0) ^ tree->key.k1;
        x += (u32)node.v * WEYL_0 + (u32)(pair >> 32) * WEYL_1;
        found = before + (lowbias32(x) >> 31);
    }
    return found;
}

// took[i]: whether tick `ticks` + i of a node is its left child's, for i in [0, m); took has room
// for one more. Gives how many of the ticks before were.
static u64 take_ticks(const Tree *tree, Node node, u64 ticks, i64 m) {
    u64 pair = ticks >> 1, low = pair * node.share + HALF;
    u64 high = high_half(pair, node.share) + (low < HALF);
    u64 before = whole_of(high, low), earlier = before;
    u8 *took = tree->took;
    for (i64 i = -(i64)(ticks & 1); i < m; i += 2, pair++) {
        u64 after_low = low + node.share, after_high = high + (after_low < node.share);
        u64 after = whole_of(after_high, after_low);
        u64 middle = middle_of(tree, node, high, low, before, after, pair);
        if (i < 0)
            earlier = middle;
        else
            took[i] = (u8)(middle - before);
        took[i + 1] = (u8)(after - middle);
        low = after_low, high = after_high, before = after;
    }
    return earlier;
}

void begin_tree(Tree *tree, Room *room, i64 root, i64 height, i64 extra) {
    i64 places = 2 * height + 2, size = places * (tree->n + 2);
    tree->flags = take(room, size);
    tree->lists = take(room, size * (i64)sizeof(u32));
    tree->befores = take(room, size * (i64)sizeof(u64));
    tree->counts = take(room, places * (i64)sizeof(i64));
    tree->took = take(room, tree->n + 2);
    tree->stack = take(room, 3 * places * (i64)sizeof(i64));
    tree->waiting = root != 0;
    if (room->failed) return;
    memset(tree->flags, 0, (size_t)tree->n);  // of the root: others are written first
    memset(tree->counts, 0, (size_t)places * sizeof(i64));
    for (i64 t = 0; t < tree->n; t++) tree->lists[t] = (u32)t, tree->befores[t] = 0;
    tree->counts[0] = tree->stride == 1 ? 0 : tree->n;
    tree->stack[0] = root, tree->stack[1] = 0, tree->stack[2] = extra;
}

// From the flags of a node to its children's, or their lists, and the lengths of these.
static void share_out(Tree *tree, Node node, u8 carry) {
    i64 wide = tree->n + 2, left = node.below * wide, right = left + wide;
    i64 left_whole = node.split >> LEFT_SHIFT;
    int left_wide = left_whole > 0, right_wide = node.whole > left_whole + carry;
    const u8 *mine = tree->flags + node.at * wide;
    u8 *left_flags = tree->flags + left, *right_flags = tree->flags + right;
    u32 *to_left = tree->lists + left, *to_right = tree->lists + right;
    const u8 *took = tree->took;
    for (i64 t = 0, tick = 0; t < tree->n; t++) {
        u8 ticks = mine[t] ^ carry, taken = took[tick] & ticks;
        tick += ticks;
        u8 left_one = taken ^ carry, right_one = (ticks ^ taken) ^ carry;
        if (left_wide) left_flags[t] = left_one;
        if (right_wide) right_flags[t] = right_one;
        *to_left = *to_right = (u32)t;
        to_left += left_one, to_right += right_one;
    }
    tree->counts[node.below] = to_left - (tree->lists + left);
    tree->counts[node.below + 1] = to_right - (tree->lists + right);
}

// From a list to the children's.
static void part(Tree *tree, Node node, i64 m) {
    i64 wide = tree->n + 2, left = node.below * wide;
    const u32 *mine = tree->lists + node.at * wide;
    u32 *to_left = tree->lists + left, *to_right = to_left + wide;
    for (i64 e = 0; e < m; e++) {
        *to_left = *to_right = mine[e];
        to_left += tree->took[e], to_right += 1 - tree->took[e];
    }
    tree->counts[node.below] = to_left - (tree->lists + left);
    tree->counts[node.below + 1] = m - tree->counts[node.below];
}

// A node, of batches in a row: its first `before` is of r0.
static void visit(Tree *tree, Node node) {
    i64 wide = tree->n + 2, m = tree->counts[node.at], m_ticks = m;
    u64 carry = node.split & CARRY, before = tree->befores[node.at * wide], ticks = before;
    u64 r0 = (u64)tree->r0;
    if (carry) ticks = r0 - before, m_ticks = tree->n - m;
    u64 taken = take_ticks(tree, node, ticks, m_ticks), other = ticks - taken;
    if (node.whole)
        share_out(tree, node, (u8)carry);
    else
        part(tree, node, m);
    tree->befores[node.below * wide] = carry ? r0 - taken : taken;
    tree->befores[(node.below + 1) * wide] = carry ? r0 - other : other;
}

// A node, of batches that lie apart: each with the extras before it.
static void visit_apart(Tree *tree, Node node) {
    i64 wide = tree->n + 2, mine = node.at * wide;
    i64 left = node.below * wide, right = left + wide, to_left = left, to_right = right;
    u64 carry = node.split & CARRY;
    i64 left_whole = node.split >> LEFT_SHIFT;
    int all_left = left_whole > 0 || node.split & NEED_LEFT;
    int all_right = node.whole > left_whole + (i64)carry || node.split & NEED_RIGHT;
    for (i64 e = mine; e < mine + tree->counts[node.at]; e++) {
        u32 t = tree->lists[e];
        u64 before = tree->befores[e], r = (u64)(tree->r0 + t * tree->stride);
        u64 ticks = carry ? r - before : before, tick = tree->flags[e] ^ carry;
        u64 taken = take_ticks(tree, node, ticks, (i64)tick), other = ticks - taken;
        u64 took = tick ? tree->took[0] : 0;
        u64 left_one = took ^ carry, right_one = (tick - took) ^ carry;
        tree->lists[to_left] = t, tree->flags[to_left] = (u8)left_one;
        tree->befores[to_left] = carry ? r - taken : taken;
        to_left += all_left | (left_one != 0);
        tree->lists[to_right] = t, tree->flags[to_right] = (u8)right_one;
        tree->befores[to_right] = carry ? r - other : other;
        to_right += all_right | (right_one != 0);
    }
    tree->counts[node.below] = to_left - left;
    tree->counts[node.below + 1] = to_right - right;
}

static void wait_for(Tree *tree, i64 v, i64 place, i64 needed, i64 whole) {
    i64 *top = tree->stack + 3 * tree->waiting++;
    top[0] = v, top[1] = place << 1 | needed, top[2] = whole;
}

Leaf next_leaf(Tree *tree) {
    while (tree->waiting) {
        const i64 *top = tree->stack + 3 * --tree->waiting;
        Node node = {.v = top[0], .at = top[1] >> 1, .whole = top[2]};
        if (tree->counts[node.at] == 0 && node.whole == 0 && !(top[1] & 1)) continue;
        if (node.v < 0) return (Leaf){-1 - node.v, node.at * (tree->n + 2), tree->counts[node.at]};
        const i32 *links = tree->links + node.v * LINKS;
        node.below = (node.at | 1) + 1, node.split = links[SPLIT];
        node.share = (u64)tree->shares[node.v];
        if (tree->stride == 1)
            visit(tree, node);
        else
            visit_apart(tree, node);
        i64 left = node.split >> LEFT_SHIFT, rest = node.whole - left - (node.split & CARRY);
        wait_for(tree, links[RIGHT], node.below + 1, (node.split & NEED_RIGHT) != 0, rest);
        wait_for(tree, links[LEFT], node.below, (node.split & NEED_LEFT) != 0, left);
    }
    return (Leaf){-1, 0, 0};
}
