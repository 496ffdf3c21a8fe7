"""CPU members: the members that classes give to a slab of batches, for every kind; numba.

Takes a list of what is asked of classes, each an entry: draws whose ordinals are a run, or those of
batches that lie apart, or listed. Fills drawn. Draws of one class and key are a span (spans);
where a class has few draws with one key, each is a lane of its own (lanes) and waits for those
of other classes. Where classes have blocks, all are lanes (unique). Knows nothing of slots or
trees, nor of which batch a draw is for.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, uint32, uint64

from gpusampler.cpu.bits import CHUNK, compiled, gather, inlined
from gpusampler.cpu.lanes import ROOM, ROW, make_lanes, member_keys, permute_each
from gpusampler.cpu.permute import whole_vectors
from gpusampler.cpu.spans import (
    BACK,
    BEYOND,
    LANES,
    SPANS,
    draw_spans,
    first_place,
    make_room,
    make_spans,
    walk_on,
)
from gpusampler.cpu.unique import permute_in_blocks
from gpusampler.plans.columns import GRID_A, GRID_B, SIZE

MOST_LANES = 1024  # of different classes, in one vector loop
FEW_DRAWS = 12  # with one key: below, lanes of different classes fill the vectors

# What an entry asks: of the class in a CLASS_ROW, of this LABEL, TODO draws from an ORDINAL on, or
# from that place of a list on; COUNT of them a batch; AS_LANES: with one key they are few.
CLASS_ROW, LABEL, ORDINAL, TODO, COUNT, AS_LANES = range(6)
ENTRIES = 1024  # asked at once: numba counts references to all arrays at every call
LISTED = 0  # the stride of ordinals that are listed


@compiled
def make_back(draws):
    """What `drawn` has come to, and room to work in: for `draws` of them."""
    state, spans = make_spans(draws)
    return state, spans, make_room(), make_lanes(MOST_LANES)


@inlined
def slot_room(back):
    """Room for permute(), where nothing waits any more: slots, halves and hashes."""
    points, _, _, _, _, halves, hashes = back[2][0]
    return points, halves, hashes


@inlined
def ask(asked, k, row, label, ordinal, todo, count, few):
    asked[k, CLASS_ROW], asked[k, LABEL], asked[k, ORDINAL] = row, label, ordinal
    asked[k, TODO], asked[k, COUNT], asked[k, AS_LANES] = todo, count, few


@compiled
def draw_asked(
    drawn, back, asked, entries, ordinals, stride, rows, blocks, members, identity, seed
):  # fmt: skip
    """Draw what this many entries ask for. stride: between the batches of an entry's draws; a run
    is of stride 1; LISTED: they are in `ordinals`, ascending. blocks: None, or the table of those
    of each row, and then all entries ask for lanes.

    Draws of spans fill drawn from its front, lanes from its back: in the order of entries.
    """
    state, spans, room, lanes = back
    few = uint64(0)
    for k in range(entries):
        few += asked[k, AS_LANES]
    if blocks is None and few < entries:
        _ask_spans(
            drawn, state, spans, room, asked, entries, ordinals, stride, rows, members, identity,
            seed,
        )  # fmt: skip
    if few:
        _ask_lanes(
            drawn, state, lanes, asked, entries, ordinals, stride, rows, blocks, members, identity,
            seed,
        )  # fmt: skip


@inlined
def _ask_spans(
    drawn, state, spans, room, asked, entries, ordinals, stride, rows, members, identity, seed
):  # fmt: skip
    (begins, tos, row, labels, cycles), points = spans, room[0][0]
    s, step = state[SPANS], uint64(stride)
    for k in range(entries):
        if asked[k, AS_LANES]:
            continue
        c, label, ordinal = int64(asked[k, CLASS_ROW]), asked[k, LABEL], asked[k, ORDINAL]
        todo, count, n = asked[k, TODO], asked[k, COUNT], uint64(uint32(rows[c, SIZE]))
        done = uint64(0)
        while done < todo:
            begin = begins[s]
            if stride == LISTED:
                at, end = ordinal + done, ordinal + todo
                cycle, m = _list_span(points, begin, n, ordinals, at, end)
            else:
                t = done // count
                j = done - t * count
                now = ordinal + t * step * count + j
                cycle = now // n
                i = now - cycle * n
                left = min(draws_left(n, count, step, i, j), todo - done)
                m = int64(min(left, uint64(CHUNK - begin)))
                place(points, begin, begin + whole_vectors(m), count, step, i, j)
            row[s], labels[s], cycles[s] = c, label, cycle
            begins[s + 1], tos[s + 1] = begin + whole_vectors(m), tos[s] + m
            s += 1
            if begins[s] == CHUNK:
                state[SPANS] = s
                draw_spans(drawn, state, spans, room, rows, members, identity, seed)
                s = 0
            done += uint64(m)
    state[SPANS] = s


@compiled
def _list_span(points, begin, n, ordinals, at, end):
    """Points of the listed ordinals from `at` on that are of one cycle, as many as there is room
    for. Gives the cycle, and how many."""
    cycle = ordinals[at] // n
    low = cycle * n
    if ordinals[end - uint64(1)] - low >= n:
        end = at + uint64(np.searchsorted(ordinals[at:end], low + n))
    m = int64(min(end - at, uint64(CHUNK - begin)))
    for e in range(m):
        points[begin + e] = uint32(ordinals[at + uint64(e)] - low)
    for e in range(m, whole_vectors(m)):
        points[begin + e] = uint32(0)
    return cycle, m


@compiled
def _ask_lanes(
    drawn, state, lanes, asked, entries, ordinals, stride, rows, blocks, members, identity, seed
):  # fmt: skip
    """In one loop, with a division a class and not a lane: many classes have one lane each."""
    words, halves, wide = lanes
    waiting, step = state[LANES], uint64(stride)
    for k in range(entries):
        if not asked[k, AS_LANES]:
            continue
        c, label, ordinal = int64(asked[k, CLASS_ROW]), asked[k, LABEL], asked[k, ORDINAL]
        todo, count, n = asked[k, TODO], asked[k, COUNT], uint64(uint32(rows[c, SIZE]))
        first, a, b = first_place(rows, c), rows[c, GRID_A], rows[c, GRID_B]
        j, on, cycles_on = uint64(0), uint64(1), uint64(0)
        now = ordinals[ordinal] if stride == LISTED else ordinal
        cycle = now // n
        i = now - cycle * n
        if stride > 1 and todo > count:  # from a batch's last draw to the next one's first
            on = (step - uint64(1)) * count + uint64(1)
            cycles_on = on // n
            on -= cycles_on * n
        for done in range(todo):
            if waiting == MOST_LANES:
                state[LANES] = waiting
                _draw_lanes(drawn, state, lanes, blocks, members, identity, seed)
                waiting = 0
            words[0, waiting], words[1, waiting], words[2, waiting] = i, n, label
            halves[0, waiting], halves[1, waiting] = a, b
            wide[0, waiting], wide[1, waiting] = cycle, first
            if blocks is not None:
                words[ROW, waiting] = c
            waiting += 1
            j += uint64(1)
            if stride == LISTED:
                if done + uint64(1) < todo:
                    i += ordinals[ordinal + done + uint64(1)] - ordinals[ordinal + done]
            elif j == count:
                j = uint64(0)
                i += on
                cycle += cycles_on
            else:
                i += uint64(1)
            if i >= n:
                passed = i // n if stride == LISTED else uint64(1)
                i -= passed * n
                cycle += passed
    state[LANES] = waiting


@inlined
def finish(drawn, back, rows, blocks, members, identity, seed):
    """Draw what waits still."""
    state, spans, room, lanes = back
    if blocks is None:
        if state[SPANS]:
            draw_spans(drawn, state, spans, room, rows, members, identity, seed)
        if state[BEYOND]:
            words, sides, wide = room[1]
            walk_on(drawn, state, words, sides, wide, members, identity)
    if state[LANES]:
        _draw_lanes(drawn, state, lanes, blocks, members, identity, seed)


@inlined
def few_apart(n, todo, count, stride):
    """Whether draws with one key are few: those of a batch, or of all batches in one cycle."""
    apart = n if stride == 1 else n // stride
    return max(count, min(apart, todo)) < FEW_DRAWS


@compiled
def _draw_lanes(drawn, state, lanes, blocks, members, identity, seed):
    """Draw the lanes that wait, to drawn's back: the first is the last in drawn."""
    words, halves, wide = lanes
    m = state[LANES]
    i, n, places, cycles = words[0, :m], words[1, :m], wide[1, :m], wide[0, :m]
    if blocks is None:
        key0, key1 = words[3, :m], words[4, :m]
        member_keys(cycles, words[2, :m], key0, key1, seed)
        permute_each(i, n, halves[0, :m], halves[1, :m], key0, key1, words[ROOM:], halves[2:])
    else:
        permute_in_blocks(m, lanes, blocks, seed)
    for e in range(m):
        cycles[m - 1 - e] = places[e] + uint64(i[e])
    state[BACK] -= m
    gather(drawn[state[BACK] : state[BACK] + m], cycles, members, identity)
    state[LANES] = 0


@compiled
def draws_left(n, count, stride, i, j):
    """How many draws are left in the cycle from ordinal i there on, which is draw j of a batch:
    those of whole batches, and what the cycle's end leaves of one. Of this batch only, where it
    has more than a chunk."""
    if count > uint64(CHUNK):
        return min(n - i, count - j)
    period, rest = stride * count, n + j - i
    whole = rest // period
    return whole * count + min(rest - whole * period, count) - j


@compiled
def place(points, begin, end, count, stride, i, j):
    """points[begin + e]: the ordinal in its cycle of the draw e after that one; beyond the cycle
    of no meaning."""
    begin, end, i0 = uint64(begin), uint64(end), uint32(uint32(i) - uint32(begin))
    if stride == 1 or count > uint64(CHUNK):
        for e in range(begin, end):
            points[e] = uint32(i0 + uint32(e))
    else:
        # exact: draw e and a half is 1 / 2 count from a whole batch, or more, and off by less
        # than 2^-9 of that
        each, skipped = float32(1.0) / float32(count), uint32((stride - uint64(1)) * count)
        j0 = uint32(uint32(j) - uint32(begin))
        for e in range(begin, end):
            x = float32(int32(uint32(j0 + uint32(e)))) + float32(0.5)
            batch = uint32(int32(x * each))
            points[e] = uint32(uint32(i0 + uint32(e)) + uint32(batch * skipped))
