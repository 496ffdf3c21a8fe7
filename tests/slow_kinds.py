"""Slow reference: the stratified and pk plans, and the weightings that are not linear.

Takes class sizes or weights, lists of members, a seed and a batch number.
Gives integer weights, draws by rank and whole batches of dataset indices.
Plain Python, exact, each batch from its number alone: what the fast paths must equal bit for bit.
Knows nothing of tensors, devices, ranks or the package under test.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from itertools import accumulate, pairwise
from math import gcd

import slow_reference as slow
from slow_reference import Members

# low byte of the purpose word; these carry their segment above it, as SLOT, MEMBER and PICK do not
CLASS_ORDER, TREE, RHO, SIGMA, MEMBER_RHO, MEMBER_SIGMA = 3, 4, 5, 6, 9, 10

H = 2**10  # batches in a block of the stratified plan

Mix = tuple[int, Sequence[int]]  # first epoch, weights
Plan = tuple[tuple[int, ...], int, int, int]  # weights, batch size, seed, segment


class EvenPoints:
    """A keyed order u(0), u(1), ... of [0, 2^h): each aligned run of 2^k points has
    one in each of the 2^k equal parts of the range.

    >>> points = EvenPoints(seed=1, z=0, h=3)
    >>> [points.u(i) for i in range(8)]
    [1, 5, 7, 3, 6, 2, 0, 4]
    >>> points.count(5, 4)
    2
    """

    def __init__(self, seed: int, z: int, h: int, segment: int = 0) -> None:
        self.seed, self.z, self.h, self.word = seed, z & slow.U32, h, TREE | segment << 8

    def u(self, i: int) -> int:
        """The bits of i end for end, each xored with a key bit chosen by the bits above it in i."""
        u = 0
        for k in range(self.h):
            flip = slow.bits(self.seed, self.word, i >> k + 1 << 6 | k, self.z)[0] >> 31
            u |= (i >> k & 1 ^ flip) << self.h - 1 - k
        return u

    def count(self, i: int, y: int) -> int:
        """How many t < i have u(t) < y.

        For each set bit k of i there are 2^k such t that share the bits of i above k and have a 0
        at k. The low s = h - k bits of their u are those of u(i), but for the topmost, which is
        flipped; the k bits above take every value. So their u are all numbers that leave r mod 2^s.
        """
        if i == 2**self.h:
            return y
        u, below = self.u(i), 0
        for k in range(self.h):
            if i >> k & 1:
                step = 2 ** (self.h - k)
                r = (u ^ step // 2) % step
                below += len(range(r, y, step))
        return below


def quotas(weights: Sequence[int], batch_size: int) -> tuple[list[int], list[int]]:
    """Whole part and numerator (over the sum of the weights) of each class's share of a batch.

    >>> quotas([3, 2, 1], 4)
    ([2, 1, 0], [0, 2, 4])
    """
    total = sum(weights)
    return [batch_size * w // total for w in weights], [batch_size * w % total for w in weights]


def _extras_before(plan: Plan, j: int) -> list[int]:
    """Extras of each class before block j.

    Class c is the span [Y_c, Y_c+1) of a line with a unit of 2^32; block t has one extra at each
    point that lies its offset u(t) short of a whole unit.
    """
    weights, batch_size, seed, segment = plan
    _, rest = quotas(weights, batch_size)
    offsets = EvenPoints(seed, 0, 32, segment)
    gamma = []
    for f in accumulate(rest, initial=0):
        whole, part = divmod((H * f << 32) // sum(weights), 2**32)
        gamma.append(j * whole + j - offsets.count(j, 2**32 - part))
    return [after - before for before, after in pairwise(gamma)]


@lru_cache(maxsize=2**8)
def _block(plan: Plan, j: int) -> tuple[list[int], list[int], list[int], EvenPoints]:
    """What the batches of block j share: the extras of each class before it, the classes as they
    lie on its line, where each of them begins (then the line's end), and the points of the batches.
    """
    before, after = _extras_before(plan, j), _extras_before(plan, j + 1)
    weights, _, seed, segment = plan
    n = len(weights)
    order_key = slow.key(seed, CLASS_ORDER | segment << 8, j)
    order = [slow.perm(i, n, order_key) for i in range(n)]
    line = list(accumulate((after[c] - before[c] for c in order), initial=0))
    return before, order, line, EvenPoints(seed, j + 1, 10, segment)


def stratified_before(
    weights: Sequence[int], batch_size: int, seed: int, r: int, segment: int = 0
) -> list[int]:
    """Draws of each class in the first r batches of a segment, in closed form.

    >>> stratified_before([3, 2, 1], 4, 0, 3 * 1024)
    [6144, 4097, 2047]
    """
    base, _ = quotas(weights, batch_size)
    j, b = divmod(r, H)
    before, order, line, points = _block((tuple(weights), batch_size, seed, segment), j)
    # extras that the block's first b batches have on the line below each class, then on all of it
    below = [b * (y // H) + points.count(b, y % H) for y in line]
    draws = [r * whole + extras for whole, extras in zip(base, before, strict=True)]
    for c, (low, high) in zip(order, pairwise(below), strict=True):
        draws[c] += high - low
    return draws


def stratified_draws(
    weights: Sequence[int], batch_size: int, seed: int, r: int, segment: int = 0
) -> list[tuple[int, int]]:
    """Class, and its ordinal in the segment, by rank of batch r: base draws, then extras."""
    base, rest = quotas(weights, batch_size)
    j, b = divmod(r, H)
    _, order, line, points = _block((tuple(weights), batch_size, seed, segment), j)
    before = stratified_before(weights, batch_size, seed, r, segment)
    draws = [(c, before[c] + i) for c, whole in enumerate(base) for i in range(whole)]
    for k in range(sum(rest) // sum(weights)):
        c = order[bisect_right(line, points.u(b) + k * H) - 1]
        draws.append((c, before[c] + base[c]))
    return draws


def _by_slot(ranked: Sequence[int], seed: int, g: int) -> list[int]:
    batch = [-1] * len(ranked)
    for rank, index in enumerate(ranked):
        batch[slow.perm(rank, len(ranked), slow.key(seed, slow.SLOT, g))] = index
    return batch


def stratified_batch(
    members_by_class: Members,
    weights: Sequence[int],
    batch_size: int,
    seed: int,
    g: int,
    start: Sequence[int] | None = None,
    first: int = 0,
    segment: int = 0,
) -> list[int]:
    """Batch g by slot: each class has its quota rounded down or up, evenly over the batches.

    first is the global number of the segment's first batch, and start[c] the number of draws of
    class c before it. A class goes through all its members, in a fresh order each time.
    """
    ranked = []
    for c, q in stratified_draws(weights, batch_size, seed, g - first, segment):
        members = members_by_class[c]
        cycle, i = divmod((start[c] if start else 0) + q, len(members))
        ranked.append(members[slow.perm(i, len(members), slow.key(seed, slow.MEMBER, cycle, c))])
    return _by_slot(ranked, seed, g)


def segmented_batch(
    kind: str,
    members_by_class: Members,
    mixes: Sequence[Mix],
    batch_size: int,
    n_batches: int,
    seed: int,
    epoch: int,
    b: int,
) -> list[int]:
    """Batch b of an epoch by slot, where the weights change at the first epoch of each mix.

    kind is "fixed" or "stratified". No class loses its place among its members at a change.
    """
    if kind == "fixed":  # whole quotas: stratified has these counts in every batch
        mixes = [(begin, slow.fixed_counts(weights, batch_size)) for begin, weights in mixes]
    segment = max(s for s, (begin, _) in enumerate(mixes) if begin <= epoch)
    start = [0] * len(members_by_class)
    for s, ((begin, weights), (end, _)) in enumerate(pairwise(mixes[: segment + 1])):
        draws = stratified_before(weights, batch_size, seed, (end - begin) * n_batches, s)
        start = [n + more for n, more in zip(start, draws, strict=True)]
    begin, weights = mixes[segment]
    g, first = epoch * n_batches + b, begin * n_batches
    return stratified_batch(members_by_class, weights, batch_size, seed, g, start, first, segment)


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
) -> list[int]:
    """Batch g by slot: so many classes, and so many members of each.

    A class with too few members gives all of them, as often as they fit, and rotates the rest.
    first is the global number of the segment's first batch; visits count from there.
    """
    ranked: list[int] = []
    words = MEMBER_RHO | segment << 8, MEMBER_SIGMA | segment << 8
    for c, earlier in pk_visits(members_by_class, classes_per_batch, seed, g - first, segment):
        members = members_by_class[c]
        copies, few = divmod(members_per_class, len(members))
        if copies:
            ranked += list(members) * copies
        if few:
            visit = rotating_leave_out(len(members), few, earlier, seed, words, c)
            ranked += [members[i] for i, _ in visit]
    return _by_slot(ranked, seed, g)


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
