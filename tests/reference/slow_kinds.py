"""Slow reference: the stratified and pk plans, and the weightings that are not linear.

Takes class sizes or weights, lists of members, a seed and a batch number.
Gives integer weights, draws by rank and whole batches of dataset indices.
Plain Python, exact, each batch from its number alone: what the fast paths must equal bit for bit.
Knows nothing of tensors, devices, ranks or the package under test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from math import floor, gcd
from typing import NamedTuple

from reference import slow_reference as slow
from reference.slow_reference import Members

# low byte of the purpose word; these carry their segment above it, as SLOT, MEMBER and PICK do not
CLASS_ORDER, TREE, RHO, SIGMA, MEMBER_RHO, MEMBER_SIGMA = 3, 4, 5, 6, 9, 10

Mix = tuple[int, Sequence[int]]  # first epoch, weights
Plan = tuple[tuple[int, ...], int, int, int]  # weights, batch size, seed, segment


def quotas(weights: Sequence[int], batch_size: int) -> tuple[list[int], list[int]]:
    """Whole part and numerator (over the sum of the weights) of each class's share of a batch.

    >>> quotas([3, 2, 1], 4)
    ([2, 1, 0], [0, 2, 4])
    """
    total = sum(weights)
    return [batch_size * w // total for w in weights], [batch_size * w % total for w in weights]


class Node(NamedTuple):
    """The leaves [low, high), parted at v, which is also its number.

    A batch gives the classes below a node what is due to them, rounded down or up. Without carry,
    a node rounded up has one child rounded up, a node rounded down none; with carry, which is where
    the children's rounded-down parts are one short of the node's, both children or one. A batch
    that leaves the choice of the one is a tick of the node.
    """

    low: int
    v: int
    high: int
    carry: bool
    whole: bool  # what is due to it is a whole number, and it has exactly that in every batch
    left: Fraction  # in so many of its ticks the left child is up; with carry, down


def _nodes(below: Sequence[int], total: int, part: Callable[[int, int], int]) -> list[Node]:
    """The nodes of a tree, each after its parent; below[i] is the rest of the leaves before i."""

    def due(low: int, high: int) -> int:  # over total; the whole part is dropped
        return (below[high] - below[low]) % total

    nodes, ranges = [], [(0, len(below) - 1)]
    for low, high in ranges:
        if high - low < 2:
            continue
        v, node = part(low, high), due(low, high)
        carry = due(low, v) + due(v, high) >= total
        if carry:
            left = Fraction(total - due(low, v), total - node)
        else:
            left = Fraction(due(low, v), node) if node else Fraction(0)
        nodes.append(Node(low, v, high, carry, node == 0, left))
        ranges += [(low, v), (v, high)]
    return nodes


def _most_even(below: Sequence[int], total: int) -> Callable[[int, int], int]:
    """Parts a node so that its children share its ticks as evenly as may be, in 64-bit fractions.

    Of equals the nearest to the middle, then the lower. A node of many leaves looks at 64 places.
    """
    cuts = [2**64 * rest // total % 2**64 for rest in below]

    def unevenness(low: int, v: int, high: int) -> float:
        a, b = (cuts[v] - cuts[low]) % 2**64, (cuts[high] - cuts[v]) % 2**64
        node = (cuts[high] - cuts[low]) % 2**64
        ticks = 2**64 - node if a + b >= 2**64 else node
        # each rounded to a double before the division, which Python does not do by itself
        return float(abs(a - b)) / float(ticks) if ticks else 0.0

    def part(low: int, high: int) -> int:
        places: Sequence[int] = range(low + 1, high)
        if len(places) > 64:
            places = [low + 1 + i * (high - low - 2) // 63 for i in range(64)]
        return min(places, key=lambda v: (unevenness(low, v, high), abs(2 * v - low - high), v))

    return part


def _complete(low: int, high: int) -> int:
    """Parts leaves as a complete binary tree does whose last level is filled from the right."""
    leaves, level = high - low, 1
    while 2 * level <= leaves:
        level *= 2
    return high - level // 2 - min(leaves - level, level // 2)


def _added(left: Fraction) -> Fraction:
    """What a node adds to how far its children may be from their due: half a tick, or by a coin
    9/16; next to nothing where a child has all ticks but 2^-45 of them, and nothing where all."""
    q = floor(2**63 * left)
    lesser = min(q, 2**63 - q)
    return Fraction(0) if lesser == 0 else Fraction(1, 8) if lesser < 2**18 else Fraction(9, 16)


def _bound(nodes: Sequence[Node]) -> int:
    """How far a leaf may be from its due, in 65536ths: what the choice of a shape goes by."""
    off = {(0, len(nodes) + 1): 0}
    for low, v, high, _, whole, left in nodes:
        q, parent = floor(2**63 * left) >> 31, off.pop((low, high))
        if whole:
            parent = 0
        added = int(65536 * _added(left))
        off[low, v] = -(-parent * q >> 32) + added
        off[v, high] = -(-parent * (2**32 - q) >> 32) + added
    return max(off.values())


@lru_cache(maxsize=2**8)
def _tree(weights: tuple[int, ...], batch_size: int) -> tuple[list[int], list[Node]]:
    """The classes that have extras, as the leaves of a tree, and its nodes.

    Complete, unless a class may then be more than two draws from its due and
    parting evenly by ticks is better; that is not tried with very many leaves.

    >>> classes, nodes = _tree((1, 1, 4), 2)
    >>> classes, [node[:3] for node in nodes]
    ([0, 1, 2], [(0, 1, 3), (1, 2, 3)])
    """
    total, (_, rest) = sum(weights), quotas(weights, batch_size)
    classes = sorted((c for c, part in enumerate(rest) if part), key=lambda c: (rest[c], c))
    below = list(accumulate((rest[c] for c in classes), initial=0))
    complete = _nodes(below, total, _complete)
    if _bound(complete) <= 2 * 65536 or len(classes) > 65536:
        return classes, complete
    return classes, min(complete, _nodes(below, total, _most_even(below, total)), key=_bound)


def _round(weights: Sequence[int], batch_size: int) -> tuple[int, int] | None:
    """Batches after which the classes change leaves, and the draws each then has had; None: never.

    They change where the classes that have extras are all alike and have nothing else.

    >>> _round([1, 1, 1], 2), _round([1, 1, 2], 2), _round([1, 1], 3)
    ((258, 172), (256, 128), None)
    """
    base, rest = quotas(weights, batch_size)
    alike = {(b, part) for b, part in zip(base, rest, strict=True) if part}
    if len(alike) != 1 or alike.pop()[0] > 0:
        return None
    leaves, extras = sum(part > 0 for part in rest), sum(rest) // sum(weights)
    period = leaves // gcd(leaves, extras)  # all have had as many
    batches = period * -(-256 // period)
    return batches, batches * extras // leaves


def _bit(v: int, p: int, key: slow.Key) -> int:
    """The coin of node v for its ticks 2p and 2p + 1."""

    def f(x: int) -> int:
        x = x * 0x7FEB352D & slow.U32
        return (x ^ x >> 15) * 0x846CA68B & slow.U32

    k0, k1 = key
    high, low = divmod(p, 2**32)
    x = (f(low ^ k0) ^ k1) + v * 0x9E3779B9 + high * 0xBB67AE85 & slow.U32
    x = f(x ^ x >> 16)
    return (x ^ x >> 16) >> 31


def _left(v: int, t: int, q: int, key: slow.Key) -> int:
    """How many of the first t ticks of node v are its left child's.

    The whole number nearest to its share, q / 2^63, of them. But for an odd t it is kept to what
    the even ones beside it leave open, and a coin chooses where a half is within 1/16.

    >>> [_left(1, t, 2**64 // 3, (0, 0)) for t in range(7)]
    [0, 1, 1, 2, 3, 3, 4]
    """
    p, odd = divmod(t, 2)
    low, high = (p * q + 2**61) >> 62, ((p + 1) * q + 2**61) >> 62
    if not odd:
        return low
    if high - low != 1:
        return (low + high) // 2
    y = p * q + 2**61 + (q >> 1)
    if 16 <= y % 2**62 >> 54 < 240:
        return y >> 62
    return low + _bit(v, p, key)


@lru_cache(maxsize=2**4)
def _leaves(plan: Plan, r: int) -> list[tuple[int, int]]:
    """Of each leaf: its extras in the first r batches, and in batch r."""
    weights, batch_size, seed, segment = plan
    classes, nodes = _tree(weights, batch_size)
    key = slow.key(seed, TREE | segment << 8, 0)
    state = {(0, len(classes)): (0, 0)}  # batches so far that rounded it up, and whether r does
    for low, v, high, carry, _, share in nodes:
        ones, up = state.pop((low, high))
        t, tick = (r - ones, 1 - up) if carry else (ones, up)
        q = floor(2**63 * share)
        left = _left(v, t, q, key)
        took = _left(v, t + 1, q, key) - left if tick else 0
        for child, n, last in (((low, v), left, took), ((v, high), t - left, tick - took)):
            state[child] = (r - n, 1 - last) if carry else (n, last)
    return [state[i, i + 1] for i in range(len(classes))]


@lru_cache(maxsize=2**4)
def _reordered(plan: Plan, k: int) -> list[int]:
    """The class of each leaf in round k."""
    weights, batch_size, seed, segment = plan
    classes, _ = _tree(weights, batch_size)
    n, key = len(classes), slow.key(seed, CLASS_ORDER | segment << 8, k)
    return [classes[slow.perm(i, n, key)] for i in range(n)]


def _extras(plan: Plan, r: int) -> list[tuple[int, int, int]]:
    """Of each leaf: its class, the class's extras in the first r batches, and in batch r.

    Where there are rounds, each begins the tree anew, with its classes in another order.
    """
    weights, batch_size, _, _ = plan
    classes, _ = _tree(weights, batch_size)
    earlier, rounds = 0, _round(weights, batch_size)
    if rounds:
        batches, draws = rounds
        k, r = divmod(r, batches)
        earlier, classes = k * draws, _reordered(plan, k)
    leaves = zip(classes, _leaves(plan, r), strict=True)
    return [(c, earlier + ones, up) for c, (ones, up) in leaves]


def stratified_before(
    weights: Sequence[int], batch_size: int, seed: int, r: int, segment: int = 0
) -> list[int]:
    """Draws of each class in the first r batches of a segment.

    >>> stratified_before([3, 2, 1], 4, 0, 1000)
    [2000, 1333, 667]
    """
    base, _ = quotas(weights, batch_size)
    draws = [r * whole for whole in base]
    for c, ones, _ in _extras((tuple(weights), batch_size, seed, segment), r):
        draws[c] += ones
    return draws


def stratified_draws(
    weights: Sequence[int], batch_size: int, seed: int, r: int, segment: int = 0
) -> list[tuple[int, int]]:
    """Class, and its ordinal in the segment, by rank of batch r: base draws, then extras by leaf.

    >>> stratified_draws([3, 2, 1], 4, 0, 1000)
    [(0, 2000), (0, 2001), (1, 1333), (1, 1334)]
    """
    base, _ = quotas(weights, batch_size)
    before = stratified_before(weights, batch_size, seed, r, segment)
    extras = _extras((tuple(weights), batch_size, seed, segment), r)
    draws = [(c, before[c] + i) for c, whole in enumerate(base) for i in range(whole)]
    return draws + [(c, before[c] + base[c]) for c, _, up in extras if up]


def count_bound(weights: Sequence[int], batch_size: int) -> list[Fraction]:
    """How far the draws of each class may be from its due, after any number of batches.

    But for the 63 bits of a share: after r batches they lose less than r / 2^63 at each level.
    Where there are rounds, a class may come to any leaf.

    >>> [str(bound) for bound in count_bound([3, 2, 1], 4)]
    ['0', '9/16', '9/16']
    """
    classes, nodes = _tree(tuple(weights), batch_size)
    off = {(0, len(classes)): Fraction(0)}
    for low, v, high, _, whole, left in nodes:
        parent = off.pop((low, high))
        if whole:
            parent = Fraction(0)
        off[low, v] = left * parent + _added(left)
        off[v, high] = (1 - left) * parent + _added(left)
    by_leaf = [off[i, i + 1] for i in range(len(classes))]
    if _round(weights, batch_size):
        by_leaf = [max(by_leaf)] * len(classes)
    bounds = [Fraction(0)] * len(weights)
    for c, bound in zip(classes, by_leaf, strict=True):
        bounds[c] = bound
    return bounds


def _unique_blocks(
    weights: Sequence[int], batch_size: int, members_by_class: Members
) -> list[slow.Blocks | None]:
    """The blocks of each class, as unique=True has them; None where it is not drawn."""
    found: list[slow.Blocks | None] = []
    for members, base, rest in zip(members_by_class, *quotas(weights, batch_size), strict=True):
        n = len(members)
        if rest:
            found.append(slow.unique_blocks(n, (base, base + 1)))
        else:
            found.append(slow.unique_blocks(n, (base,), gcd(n, base)) if base else None)
    return found


def _unique_start(start: int, n: int, base: int, more: bool) -> int:
    """Where a class of n goes on that has `base` draws in each batch from now on: at the next place
    where a batch may begin, if the blocks of its pass are as long as they are for such batches
    only."""
    if n == 0 or base == 0 or more:
        return start
    unit = gcd(n, base)
    if slow.unique_blocks(n, (base,), unit) == slow.unique_blocks(n, (base,)):
        return start
    return -(-start // unit) * unit


def stratified_batch(
    members_by_class: Members,
    weights: Sequence[int],
    batch_size: int,
    seed: int,
    g: int,
    start: Sequence[int] | None = None,
    first: int = 0,
    segment: int = 0,
    unique: bool = False,
    order: str = "shuffle",
) -> list[int]:
    """Batch g by slot: each class has its quota rounded down or up, evenly over the batches.

    first is the global number of the segment's first batch, and start[c] the number of draws of
    class c before it. A class goes through all its members, in a fresh order each time.
    """
    blocks: list[slow.Blocks | None] = [None] * len(members_by_class)
    if unique:
        blocks = _unique_blocks(weights, batch_size, members_by_class)
    ranked = []
    for c, q in stratified_draws(weights, batch_size, seed, g - first, segment):
        members = members_by_class[c]
        q += start[c] if start else 0
        ranked.append((c, members[slow.place_of(q, len(members), blocks[c], seed, c)]))
    return slow.arranged(ranked, seed, g, order)


def segmented_batch(
    kind: str,
    members_by_class: Members,
    mixes: Sequence[Mix],
    batch_size: int,
    n_batches: int,
    seed: int,
    epoch: int,
    b: int,
    unique: bool = False,
    order: str = "shuffle",
) -> list[int]:
    """Batch b of an epoch by slot, where the weights change at the first epoch of each mix.

    kind is "fixed" or "stratified". No class loses its place among its members at a change, but for
    unique ones as _unique_start() says.
    """
    if kind == "fixed":  # whole quotas: stratified has these counts in every batch
        mixes = [(begin, slow.fixed_counts(weights, batch_size)) for begin, weights in mixes]
    segment = max(s for s, (begin, _) in enumerate(mixes) if begin <= epoch)
    start = [0] * len(members_by_class)
    for s, ((begin, weights), (end, _)) in enumerate(pairwise(mixes[: segment + 1])):
        draws = stratified_before(weights, batch_size, seed, (end - begin) * n_batches, s)
        start = [n + more for n, more in zip(start, draws, strict=True)]
        if unique:
            following = zip(*quotas(mixes[s + 1][1], batch_size), strict=True)
            asked = zip(start, map(len, members_by_class), following, strict=True)
            start = [_unique_start(n, size, base, rest > 0) for n, size, (base, rest) in asked]
    begin, weights = mixes[segment]
    g, first = epoch * n_batches + b, begin * n_batches
    return stratified_batch(
        members_by_class, weights, batch_size, seed, g, start, first, segment, unique, order
    )


def rotating_leave_out(
    n: int, take: int, visit: int, seed: int, words: tuple[int, int], tag: int = 0
) -> list[tuple[int, int]]:
    """The items of a visit, `take` different ones of n, each with its number of earlier visits.

    A cycle is n // take visits and has no item twice. The n % take items it leaves out are the next
    ones of the order rho, the others come in the order sigma. rho is renewed each turn: after the
    fewest cycles that leave all items out equally often. words are the purposes of rho and sigma.

    >>> [rotating_leave_out(3, 2, visit, seed=0, words=(RHO, SIGMA)) for visit in range(3)]
    [[(2, 0), (1, 0)], [(0, 0), (1, 1)], [(0, 1), (2, 1)]]
    """
    rho, sigma = words
    out = n % take
    cycle, i = divmod(visit, n // take)
    turn, k = divmod(cycle, n // gcd(n, out))
    items = []
    for x in range(i * take, (i + 1) * take):
        place = ((k + 1) * out + slow.perm(x, n - out, slow.key(seed, sigma, cycle, tag))) % n
        left_out = turn * (out // gcd(n, out)) + len(range(place, k * out, n))
        items.append((slow.perm(place, n, slow.key(seed, rho, turn, tag)), cycle - left_out))
    return items


def pk_visits(
    members_by_class: Members, classes_per_batch: int, seed: int, r: int, segment: int = 0
) -> list[tuple[int, int]]:
    """The classes of a segment's batch r, each with its number of earlier visits; none is empty."""
    kept = [c for c, members in enumerate(members_by_class) if len(members)]
    words = RHO | segment << 8, SIGMA | segment << 8
    visits = rotating_leave_out(len(kept), classes_per_batch, r, seed, words)
    return [(kept[i], earlier) for i, earlier in visits]


def pk_batch(
    members_by_class: Members,
    classes_per_batch: int,
    members_per_class: int,
    seed: int,
    g: int,
    first: int = 0,
    segment: int = 0,
    order: str = "shuffle",
) -> list[int]:
    """Batch g by slot: so many classes, and so many members of each.

    A class with too few members gives all of them, as often as they fit, and rotates the rest.
    first is the global number of the segment's first batch; visits count from there.
    """
    ranked: list[tuple[int, int]] = []
    words = MEMBER_RHO | segment << 8, MEMBER_SIGMA | segment << 8
    for c, earlier in pk_visits(members_by_class, classes_per_batch, seed, g - first, segment):
        members = members_by_class[c]
        copies, few = divmod(members_per_class, len(members))
        if copies:
            ranked += [(c, index) for index in list(members) * copies]
        if few:
            visit = rotating_leave_out(len(members), few, earlier, seed, words, c)
            ranked += [(c, members[i]) for i, _ in visit]
    return slow.arranged(ranked, seed, g, order)


def _weights(formula: Callable[[int], Decimal], sizes: Sequence[int]) -> list[int]:
    """Weights in the ratio of the formula's values at each size; 0 for an empty class.

    A value is rounded to 30 digits from twice as many, so that all 30 are right: a difference may
    lose half of them, and a square root that is a whole number must come out whole.
    """
    with localcontext(Context(prec=60)):
        values = [formula(n) if n else Decimal(0) for n in sizes]
    return slow.given_weights([Context(prec=30).plus(x) for x in values])


def power_weights(sizes: Sequence[int], alpha: float) -> list[int]:
    """n^(1 - alpha): natural at alpha 0, square-root sampling at 0.5, uniform at 1.

    >>> [w / 2**60 for w in power_weights([9, 0, 4], 0.5)]
    [3.0, 0.0, 2.0]
    """
    return _weights(lambda n: Decimal(n) ** (1 - Decimal(repr(float(alpha)))), sizes)


def effective_number_weights(sizes: Sequence[int], beta: float) -> list[int]:
    """n over its effective number (1 - beta^n) / (1 - beta) (Cui et al. 2019).

    >>> [w / 2**61 for w in effective_number_weights([1, 2], 0.5)]
    [1.0, 1.3333333333333333]
    """
    b = Decimal(repr(float(beta)))
    return _weights(lambda n: n * (1 - b) / (1 - b**n), sizes)


def repeat_factor_weights(sizes: Sequence[int], threshold: float, num_samples: int) -> list[int]:
    """n times max(1, sqrt(threshold / f)), f = n / num_samples (Gupta et al. 2019, LVIS).

    >>> [w / 2**53 for w in repeat_factor_weights([400, 100], 0.8, 500)]
    [400.0, 200.0]
    """
    t = Decimal(repr(float(threshold)))
    return _weights(lambda n: n * max(Decimal(1), (t * num_samples / n).sqrt()), sizes)
