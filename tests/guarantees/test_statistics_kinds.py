"""What is random in fixed, stratified and pk batches is uniform, and independent where it is due.

Which classes a stratified batch has is a plan, nearly the same for all seeds, and tested elsewhere.
Random are its slots, its members, and by a coin which batch of two has one side's extra, where
each side is due one. Where all classes are alike and have no base draws it is random as well which
class has which place in the plan, anew every round; so batches of one seed are compared across
rounds, as those of kind pk are across cycles.
"""

from functools import cache
from itertools import combinations, product

import numpy as np
import pytest
import torch
from power import check_fair
from scipy import stats

from gpusampler import ClassIndex, SamplerFactory, StratifiedBatchSampler
from gpusampler.ops import given, windows

ROUND = 256  # batches, of the mixes below in which all are alike
BATCHES = (0, 1, 500, 1023, 1024, 10**6, 1 << 40)
HALF = 1000
SEEDS = [*range(HALF), *(s << 32 for s in range(1, HALF + 1))]  # neighbours, in either word
FEW_SEEDS = 0, 1, 1 << 32, 2 << 32
MIXES = {  # sizes, batch size, alpha
    "10 classes": ([20 * 10 // rank for rank in range(1, 11)], 16, 0.5),
    "100 classes": ([20 * 100 // rank for rank in range(1, 101)], 32, 0.5),
    "24 alike": ([3] * 24, 9, 1.0),
    "64 alike": ([3] * 64, 20, 1.0),
}
CLASSES = {"10 of 40": ([50] * 40, 10, 4), "7 of 23": ([50] * 23, 7, 1)}  # sizes, P, K
ALIKE = [("stratified", "24 alike"), ("stratified", "64 alike"), *(("pk", x) for x in CLASSES)]


def made(kind, case, seed):
    sizes, a, b = case
    index = ClassIndex.from_labels(np.repeat(np.arange(len(sizes)), sizes), device="cpu")
    of = {"classes_per_batch": a, "members_per_class": b} if kind == "pk" else {"alpha": b}
    size = None if kind == "pk" else a
    return SamplerFactory().get(index, size, 1, kind=kind, device="cpu", seed=seed, **of)


def make(kind, name, seed):
    return made(kind, (MIXES | CLASSES)[name], seed)


def sizes_of(name):
    return (MIXES | CLASSES)[name][0]


def labels_of(name, indices):
    sizes = sizes_of(name)
    return np.repeat(np.arange(len(sizes)), sizes)[indices]


@cache
def one_a_seed(kind, name):
    """[batch of BATCHES, seed of SEEDS, slot], of the op that samplers call: a seed is all that
    differs, and making 2,000 samplers would take longer than all that is drawn."""
    sampler, host = make(kind, name, 0), torch.device("cpu")
    plan = sampler.segment_of(sampler._first)._plan
    tables, numbers = given.tables_on(host, kind, plan, 0, 0)
    out = torch.empty(len(BATCHES), len(SEEDS), sampler.batch_size, dtype=torch.int64)
    for (row, g), (column, seed) in product(enumerate(BATCHES), enumerate(SEEDS)):
        windows.draw(kind, out[row, column : column + 1], None, tables, numbers, seed, g, 1)
    return out.numpy().astype(np.int32)


@pytest.mark.parametrize(("kind", "name"), [("fixed", "10 classes"), *ALIKE])
def test_the_op_draws_what_samplers_of_these_seeds_draw(kind, name):
    for column in (0, 1, HALF, 2 * HALF - 1):
        sampler = make(kind, name, SEEDS[column])
        for row, g in enumerate(BATCHES):
            assert sampler.batch(g).tolist() == one_a_seed(kind, name)[row, column].tolist()


@cache
def long_run(kind, name, n):
    """[batch, slot] of one seed."""
    return make(kind, name, 5).batches(0, n).numpy()


def counts_of(labels, classes):
    """[batch, class]"""
    cells = labels + np.arange(len(labels))[:, None] * classes
    return np.bincount(cells.ravel(), minlength=len(labels) * classes).reshape(-1, classes)


def present(name, batches):
    """[batch, class] bool"""
    return counts_of(labels_of(name, batches), len(sizes_of(name))) > 0


def least_tail(observed, n, p):
    """The smallest of the two-sided tails of binomial counts."""
    below, above = stats.binom.cdf(observed, n, p), stats.binom.sf(observed - 1, n, p)
    return 2 * np.minimum(below, above).min()


def t_of(independent, mean=0.0):
    """How many standard errors the mean of independent values is off."""
    x = np.asarray(independent, float) - mean
    return x.mean(axis=0) / (x.std(axis=0, ddof=1) / np.sqrt(len(x)))


def check_uncorrelated(rows, limit):
    """rows [R, n]: each pair's correlation has a deviation of 1 / sqrt(n - 1)."""
    table = np.corrcoef(rows)
    assert abs(table[np.triu_indices(len(rows), 1)]).max() * np.sqrt(rows.shape[1] - 1) < limit


# ------------------------------------------------------------------------------ classes, members


@pytest.mark.parametrize(("kind", "name"), ALIKE)
def test_each_class_is_there_alike_over_seeds(kind, name):
    for batches in one_a_seed(kind, name):
        there = present(name, batches)
        # 1 in 10**7, by Bonferroni: a class is there in so many of independent batches, binomially
        assert least_tail(there.sum(axis=0), len(SEEDS), there.mean()) > 1e-8 / there.shape[1]


@pytest.mark.parametrize(
    ("kind", "name"), [("fixed", "10 classes"), ("stratified", "10 classes"), ("pk", "10 of 40")]
)
def test_a_draw_of_a_class_is_any_of_its_members_alike(kind, name):
    sizes = sizes_of(name)
    for batches in one_a_seed(kind, name):
        labels = labels_of(name, batches)
        mine = labels == (labels[:, :1] if kind == "pk" else 3)  # class 3 has draws in each batch
        picked = batches[np.arange(len(SEEDS)), mine.argmax(axis=1)]
        place = picked - (np.cumsum(sizes) - sizes)[labels_of(name, picked)]
        observed = np.bincount(place, minlength=50)
        assert len(observed) == 50 and mine.any(axis=1).all()
        check_fair(observed, len(SEEDS) / 50, alarm=1e-8, bias=0.3)


# ------------------------------------------------------------------------------ slots
KINDS = [("fixed", "10 classes"), ("stratified", "10 classes"), ("pk", "10 of 40")]
LARGE = "stratified", "100 classes"  # most of which have no base draws


def off_slots(counts, hits):
    """Chi-squared of [batch, slot] hits: counts of each batch are put in its slots at random."""
    n_slots = hits.shape[1]
    share = counts / n_slots
    # slots of one batch draw without replacement: the variance has a factor B / (B - 1)
    variance = (share * (1 - share)).sum() * n_slots / (n_slots - 1)
    return ((hits.sum(axis=0) - share.sum()) ** 2).sum() / variance


@pytest.mark.parametrize(("kind", "name"), dict.fromkeys([*KINDS, LARGE, *ALIKE]))
def test_the_slot_tells_nothing_of_the_class_with_its_extra_or_without(kind, name):
    """Over batches and over seeds. A class is looked at by how many draws it has in a batch."""
    over_seeds = [] if (kind, name) == LARGE else one_a_seed(kind, name)[[2, 4]]
    for batches in [long_run(kind, name, 20_480), *over_seeds]:
        labels, classes = labels_of(name, batches), len(sizes_of(name))
        counts = counts_of(labels, classes)
        chosen = [(c, counts[:, c] == m) for c in range(classes) for m in set(counts[:, c]) - {0}]
        # 1 in 10**6, by Bonferroni
        most = stats.chi2.isf(1e-6 / len(chosen) / 3, batches.shape[1] - 1)
        for c, of_class in chosen:
            if of_class.sum() >= 200:
                assert off_slots(counts[of_class, c], labels[of_class] == c) < most


def mates(name, batches):
    """[batch, pair of slots] bool: they hold the same class; and the share due of each batch."""
    labels = labels_of(name, batches)
    a, b = np.array(list(combinations(range(batches.shape[1]), 2))).T
    same = labels[:, a] == labels[:, b]
    return same, same.mean(axis=1)


@pytest.mark.parametrize(("kind", "name"), [*KINDS, LARGE])
def test_no_two_slots_hold_the_same_class_more_often_than_others(kind, name):
    same, share = mates(name, long_run(kind, name, 20_480))
    z = (same.sum(axis=0) - share.sum()) / np.sqrt((share * (1 - share)).sum())
    assert abs(z).max() < 6.6  # 1 in 10**10 a pair, of 780 at most


def check_orders(name, batches, apart):
    pairs = batches.reshape(-1, 2, apart, batches.shape[1]).swapaxes(0, 1)
    (same, share), (also, share_also) = (
        mates(name, each.reshape(-1, batches.shape[1])) for each in pairs
    )
    assert abs(t_of((same & also).mean(axis=1) - share * share_also)) < 5.8  # 1 in 10**8


@pytest.mark.parametrize("apart", [1, ROUND])
@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_the_orders_of_two_batches_are_unrelated(kind, name, apart):
    check_orders(name, long_run(kind, name, 20_480), apart)


@pytest.mark.parametrize("apart", [1, HALF])
@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_the_orders_of_two_seeds_are_unrelated(kind, name, apart):
    check_orders(name, one_a_seed(kind, name)[2], apart)


# ------------------------------------------------------------------------------ seeds, rounds
UNRELATED = {  # seeds apart, one's batch, the other's
    "neighbouring seeds": (1, 0, 0),
    "seeds of other words": (HALF, 2, 2),
    "a seed's second batch, the next one's first": (1, 1, 0),
    "first batches of two rounds": (0, 0, 4),
    "neighbouring batches of two rounds": (0, 3, 4),
    "far rounds": (0, 5, 6),
    "a seed's fifth round, the next one's first": (1, 4, 0),
}


@pytest.mark.parametrize("pair", UNRELATED)
@pytest.mark.parametrize(("kind", "name"), ALIKE)
def test_classes_of_two_seeds_or_rounds_are_unrelated(kind, name, pair):
    apart, one, other = UNRELATED[pair]
    if name == "7 of 23" and pair == "neighbouring batches of two rounds":
        one = 2  # a cycle is of 3 batches, and 1023 and 1024 are of one
    drawn = one_a_seed(kind, name)
    first = np.arange(2 * HALF)
    if apart:
        first = np.flatnonzero(first[: 2 * HALF - apart] // apart % 2 == 0)
    ahead, also = present(name, drawn[one][first]), present(name, drawn[other][first + apart])
    rate = ahead.sum(axis=1) * also.sum(axis=1) / ahead.shape[1]
    assert abs(t_of((ahead & also).sum(axis=1) - rate)) < 5.8  # 1 in 10**8


def extras(classes, batch_size, seed, segment, n):
    """[n, class] bool: has an extra, in the first batches of a segment with all classes alike."""
    alike, others = [1] * classes, [2] + [1] * (classes - 1)
    mixes = [others if (segment - number) % 2 else alike for number in range(segment + 1)]
    sampler = StratifiedBatchSampler(
        mixes[0], [[c] for c in range(classes)], batch_size, 1, device="cpu", seed=seed
    )
    for epoch in range(1, segment + 1):
        sampler.set_epoch(epoch)
        sampler.set_weights(mixes[epoch])
    return counts_of(sampler.batches(segment, n).numpy(), classes) > batch_size // classes


def test_coins_of_two_pairs_nodes_segments_and_seeds_are_fair_and_unrelated():
    """Of 64 classes with one draw each and one extra in all, each half has one of each two batches,
    and of its own each half of it: a coin says which is first."""
    rows = []
    for seed, segment in product(FEW_SEEDS, (0, 1, 2)):
        had = extras(64, 65, seed, segment, 4096)  # with base draws there are no rounds
        for depth in (0, 1, 2):
            for sides in had.reshape(4096, 1 << depth, 2, -1).any(axis=3).swapaxes(0, 1):
                pairs = sides[sides.any(axis=1)].reshape(-1, 2, 2)
                assert (pairs.sum(axis=1) == 1).all()
                rows.append(pairs[:512, 0, 0])
    rows = np.array(rows, float)
    assert abs(rows.mean() - 0.5) * 2 * np.sqrt(rows.size) < 5.4  # 1 in 10**7
    # 31,626 pairs: 1 in 10**5
    check_uncorrelated(np.concatenate([np.roll(rows, by, axis=1) for by in (0, 1, 256)]), 6.5)


# ------------------------------------------------------------------------------ pairs of classes


@pytest.mark.parametrize(("kind", "name"), ALIKE)
def test_no_two_classes_alike_are_kept_apart_or_together_over_seeds(kind, name):
    for batches in one_a_seed(kind, name):
        there = present(name, batches).astype(int)
        n, taken = there.shape[1], there[0].sum()
        due = taken * (taken - 1) / (n * (n - 1))
        a, b = np.triu_indices(n, 1)
        # 1 in 10**7, by Bonferroni
        assert least_tail((there.T @ there)[a, b], len(SEEDS), due) > 1e-8 / len(a)


@pytest.mark.parametrize("name", ["24 alike", "64 alike"])
def test_no_two_classes_alike_are_kept_apart_or_together_over_rounds(name):
    n, taken = len(sizes_of(name)), MIXES[name][1]
    there = present(name, long_run("stratified", name, 400 * ROUND)).astype(np.float32)
    there = there.reshape(-1, ROUND, n)
    met = there.swapaxes(1, 2) @ there  # how often two were in one batch of a round
    mean = ROUND * taken * (taken - 1) / (n * (n - 1))
    a, b = np.triu_indices(n, 1)
    # 2016 pairs: 1 in 10**5 by the tails of simulated orders, longer than the normal ones
    assert abs(t_of(met[:, a, b], mean)).max() < 6.8
    for apart in range(1, n - 1):  # neighbours by number
        of_distance = np.diagonal(met, apart, 1, 2).sum(axis=1)
        assert abs(t_of(of_distance, (n - apart) * mean)) < 6.0  # 62: 1 in 10**6


# ------------------------------------------------------------------------------ orders


def check_orders_unrelated(orders):
    """orders [R, n], permutations of n = 101 things: not in step, nor in places, nor in turn."""
    places = np.argsort(orders, axis=1)
    after = np.take_along_axis(np.roll(orders, -1, axis=1), places, axis=1)
    pairs = np.triu_indices(len(orders), 1)
    for rows in (orders, places):
        check_uncorrelated(rows, 6.6)  # of 10**5 pairs: 1 in 10**5
    for rows in (orders, after):
        alike = np.array([(rows == row).sum(axis=1) for row in rows])[pairs]
        assert alike.max() < 16  # of 1 on average, Poisson: of 10**5 pairs, 1 in 10**8


def test_orders_of_alike_classes_are_unrelated_in_two_rounds_segments_and_seeds():
    """Told from the same plan with a base draw for each class: its classes do not change places."""
    orders, batches = [], 303  # a round
    for seed, segment in product(FEW_SEEDS, (0, 1, 2)):
        leaves = extras(101, 126, seed, segment, batches)
        leaf = {column.tobytes(): i for i, column in enumerate(leaves.T)}
        for one in extras(101, 25, seed, segment, 10 * batches).reshape(-1, batches, 101):
            orders.append([leaf[column.tobytes()] for column in one.T])
    assert (np.sort(orders, axis=1) == np.arange(101)).all()
    check_orders_unrelated(np.array(orders))


@pytest.mark.parametrize(("kind", "batch_size"), [("fixed", 20), ("stratified", 7)])
def test_orders_of_members_are_unrelated_in_two_cycles_classes_and_seeds(kind, batch_size):
    """A class has one draw in a batch at most, so that the slots do not hide the order."""
    orders, cycles = [], 5
    for seed in FEW_SEEDS:
        sampler = made(kind, ([101] * 20, batch_size, 1.0), seed)
        drawn = sampler.batches(0, cycles * 101 * 20 // batch_size + 20).numpy().ravel()
        for c in range(20):
            mine = drawn[drawn // 101 == c][: cycles * 101] % 101
            orders += list(mine.reshape(cycles, 101))
    assert (np.sort(orders, axis=1) == np.arange(101)).all()
    check_orders_unrelated(np.array(orders))


def rotation(visits):
    """What is left out, [turn, 101], and the half of a cycle that the others are in, [turn, 101,
    100], of visits of 50 of 101: [turn, 101, 2, 50].

    The others are told by how far they follow, in the order of leaving, on what is left out.
    """
    turns, things = len(visits), 101
    half = np.full((turns, things, things), -1)
    for h in (0, 1):
        np.put_along_axis(half, visits[:, :, h], h, axis=2)
    out = (half < 0).argmax(axis=2)
    assert ((half < 0).sum(axis=2) == 1).all()
    follow = (np.arange(things)[:, None] + np.arange(1, things)) % things
    halves = np.take_along_axis(half, out[:, follow.ravel()].reshape(turns, things, -1), axis=2)
    return out, halves


@pytest.mark.parametrize("of", ["classes", "members"])
def test_rotations_of_pk_are_unrelated_in_two_turns_cycles_classes_and_seeds(of):
    turns, out, halves = 3, [], []
    for seed in FEW_SEEDS:
        case = ([1] * 101, 50, 1) if of == "classes" else ([101] * 4, 4, 50)
        drawn = made("pk", case, seed).batches(0, turns * 202).numpy()
        if of == "members":  # each class has a visit in each batch
            drawn = np.sort(drawn, axis=1).reshape(-1, 4, 50).swapaxes(0, 1) % 101
        for visits in drawn.reshape(-1, turns, 101, 2, 50):
            found = rotation(visits)
            out += list(found[0])
            halves += list(found[1][:, ::5].reshape(-1, 100))
    assert (np.sort(out, axis=1) == np.arange(101)).all()
    check_orders_unrelated(np.array(out))
    # halves of 50 and 50; 5 * 10**5 pairs: 1 in 10**5
    check_uncorrelated(np.array(halves), 6.8)
