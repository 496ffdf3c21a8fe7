"""What is random in fixed, stratified and pk batches is uniform, and independent where it is due.

Draws are independent of each other where they come from different seeds or blocks of 1024 batches.
Two batches of one block of kind stratified are not, by design: a class that had its extra seldom
has the next one at once. Nor are two of one cycle of kind pk, which has no class twice. So batches
of one seed are compared across blocks and cycles only.
"""

from fractions import Fraction
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from gpusampler import ClassIndex, SamplerFactory

BLOCK = 1024
BATCHES = (0, 1, 500, 1023, 1024, 10**6, 1 << 40)
HALF = 1000
SEEDS = [*range(HALF), *(s << 32 for s in range(1, HALF + 1))]  # neighbours, in either word
MIXES = {  # sizes, batch size, alpha
    "10 classes": ([20 * 10 // rank for rank in range(1, 11)], 16, 0.5),
    "100 classes": ([20 * 100 // rank for rank in range(1, 101)], 32, 0.5),
    "300 classes": ([20 * 300 // rank for rank in range(1, 301)], 32, 0.9),
    "16 alike": ([3] * 16, 21, 1.0),  # in a block 320 extras each
    "64 alike": ([3] * 64, 20, 1.0),  # 320 again
}
CLASSES = {"10 of 40": ([50] * 40, 10, 4), "7 of 23": ([50] * 23, 7, 1)}  # sizes, P, K


def make(kind, case, seed):
    sizes, a, b = case
    index = ClassIndex.from_labels(np.repeat(np.arange(len(sizes)), sizes), device="cpu")
    of = {"classes_per_batch": a, "members_per_class": b} if kind == "pk" else {"alpha": b}
    size = None if kind == "pk" else a
    return SamplerFactory().get(index, size, 1, kind=kind, device="cpu", seed=seed, **of)


def case_of(name):
    return (MIXES | CLASSES)[name]


def labels_of(name, indices):
    sizes = case_of(name)[0]
    return np.repeat(np.arange(len(sizes)), sizes)[indices]


@cache
def one_a_seed(kind, name):
    """[batch of BATCHES, seed of SEEDS, slot]"""
    samplers = (make(kind, case_of(name), seed) for seed in SEEDS)
    drawn = [[sampler.batch(g).numpy() for g in BATCHES] for sampler in samplers]
    return np.array(drawn, np.int32).swapaxes(0, 1)


@cache
def long_run(kind, name, n):
    """[batch, slot] of one seed."""
    return make(kind, case_of(name), 5).batches(0, n).numpy()


def quotas(name):
    """[C] whole draws a batch, and [C] the rest: how often a class has its extra."""
    sizes, batch_size, alpha = MIXES[name]
    a = Fraction(repr(alpha))
    due = [batch_size * (a / len(sizes) + (1 - a) * Fraction(n, sum(sizes))) for n in sizes]
    return np.array([int(d) for d in due]), np.array([float(d % 1) for d in due])


def counts_of(name, batches):
    """[batch, class]"""
    n, classes = len(batches), len(case_of(name)[0])
    cells = labels_of(name, batches) + np.arange(n)[:, None] * classes
    return np.bincount(cells.ravel(), minlength=n * classes).reshape(n, classes)


def present(kind, name, batches):
    """[batch, class] bool: the class has its extra (stratified), or is there (pk)."""
    counts = counts_of(name, batches)
    return counts > 0 if kind == "pk" else counts > quotas(name)[0]


def rates(kind, name):
    sizes, per_batch, _ = case_of(name)
    return np.full(len(sizes), per_batch / len(sizes)) if kind == "pk" else quotas(name)[1]


def least_tail(observed, n, p):
    """The smallest of the two-sided tails of binomial counts."""
    below, above = stats.binom.cdf(observed, n, p), stats.binom.sf(observed - 1, n, p)
    return 2 * np.minimum(below, above).min()


def t_of(independent, mean=0.0):
    """How many standard errors the mean of independent values is off."""
    x = np.asarray(independent, float) - mean
    return x.mean(axis=0) / (x.std(axis=0, ddof=1) / np.sqrt(len(x)))


# ------------------------------------------------------------------------------ mix, coverage
ALL = [("stratified", name) for name in MIXES] + [("pk", name) for name in CLASSES]


@pytest.mark.parametrize("at", range(len(BATCHES)), ids=map(str, BATCHES))
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_slot_of_a_batch_has_the_planned_mix_over_seeds(kind, name, at):
    sizes, batch_size, _ = case_of(name)
    share = np.full(len(sizes), 1 / len(sizes)) if kind == "pk" else sum(quotas(name)) / batch_size
    observed = np.bincount(labels_of(name, one_a_seed(kind, name)[at, :, 0]), minlength=len(sizes))
    due = share * len(SEEDS)
    chi2 = ((observed - due) ** 2 / due).sum()
    assert chi2 < stats.chi2.isf(1e-7, len(sizes) - 1)  # 1 in 10**6, as few as 6 are due in a cell


@pytest.mark.parametrize("at", range(len(BATCHES)), ids=map(str, BATCHES))
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_each_class_has_its_extra_as_often_as_its_rest_says(kind, name, at):
    there = present(kind, name, one_a_seed(kind, name)[at])
    # 1 in 10**7, by Bonferroni: a class is there in so many of independent batches, binomially
    assert least_tail(there.sum(axis=0), len(SEEDS), rates(kind, name)) > 1e-7 / there.shape[1]


@pytest.mark.parametrize("at", range(len(BATCHES)), ids=map(str, BATCHES))
@pytest.mark.parametrize(
    ("kind", "name"), [("fixed", "10 classes"), ("stratified", "10 classes"), ("pk", "10 of 40")]
)
def test_a_draw_of_a_class_is_any_of_its_members_alike(kind, name, at):
    batches = one_a_seed(kind, name)[at]
    labels = labels_of(name, batches)
    mine = labels == (labels[:, :1] if kind == "pk" else 3)  # class 3 has draws in each batch
    picked = batches[np.arange(len(SEEDS)), mine.argmax(axis=1)]
    sizes = case_of(name)[0]
    place = picked - (np.cumsum(sizes) - sizes)[labels_of(name, picked)]
    observed = np.bincount(place, minlength=50)
    assert len(observed) == 50 and mine.any(axis=1).all()
    chi2 = ((observed - len(SEEDS) / 50) ** 2 / (len(SEEDS) / 50)).sum()
    assert chi2 < 124.0  # 49 degrees of freedom: 1 in 10**8


# ------------------------------------------------------------------------------ slots
def off_slots(counts, hits):
    """Chi-squared of [batch, slot] hits: counts of each batch are put in its slots at random."""
    n_slots = hits.shape[1]
    share = counts / n_slots
    # slots of one batch draw without replacement: the variance has a factor B / (B - 1)
    variance = (share * (1 - share)).sum() * n_slots / (n_slots - 1)
    return ((hits.sum(axis=0) - share.sum()) ** 2).sum() / variance


def test_the_slot_tells_nothing_of_the_class_with_its_extra_or_without():
    batches = long_run("stratified", "10 classes", 20_000)
    labels, counts = labels_of("10 classes", batches), counts_of("10 classes", batches)
    had = present("stratified", "10 classes", batches)
    for c in range(10):
        for chosen in (had[:, c], ~had[:, c]):
            chi2 = (
                off_slots(counts[chosen, c], labels[chosen] == c) if counts[chosen, c].any() else 0
            )
            assert chi2 < 66.0  # 15 degrees of freedom: 1 in 10**7, 1 in 10**6 of the 20


KINDS = [
    ("fixed", "10 classes"),
    ("stratified", "10 classes"),
    ("stratified", "16 alike"),
    ("pk", "10 of 40"),
]


def mates(name, batches):
    """[batch, pair of slots] bool: they hold the same class; and the share due of each batch."""
    labels = labels_of(name, batches)
    a, b = np.array(list(combinations(range(batches.shape[1]), 2))).T
    same = labels[:, a] == labels[:, b]
    return same, same.mean(axis=1)


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_no_two_slots_hold_the_same_class_more_often_than_others(kind, name):
    same, share = mates(name, long_run(kind, name, 20_000))
    z = (same.sum(axis=0) - share.sum()) / np.sqrt((share * (1 - share)).sum())
    assert abs(z).max() < 6.6  # 1 in 10**10 a pair, of 780 at most


@pytest.mark.parametrize("apart", [1, BLOCK, 10 * BLOCK - 1])
@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_the_orders_of_two_batches_are_unrelated(kind, name, apart):
    same, share = mates(name, long_run(kind, name, 20_480))
    first = np.flatnonzero(np.arange(20_480 - apart) // apart % 2 == 0)
    second = first + apart
    both = (same[first] & same[second]).mean(axis=1)
    assert abs(t_of(both - share[first] * share[second])) < 5.8  # 1 in 10**8


@pytest.mark.parametrize("apart", [1, HALF])
@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_the_orders_of_two_seeds_are_unrelated(kind, name, apart):
    same, share = mates(name, one_a_seed(kind, name)[2])
    first = np.flatnonzero(np.arange(2 * HALF - apart) // apart % 2 == 0)
    second = first + apart
    both = (same[first] & same[second]).mean(axis=1)
    assert abs(t_of(both - share[first] * share[second])) < 5.8  # 1 in 10**8


# ------------------------------------------------------------------------------ seeds, batches
UNRELATED = {  # seeds apart, one's batch, the other's
    "neighbouring seeds": (1, 0, 0),
    "seeds of other words": (HALF, 2, 2),
    "a seed's second batch, the next one's first": (1, 1, 0),
    "neighbouring blocks": (0, 0, 4),
    "neighbouring batches of two blocks": (0, 3, 4),
    "far blocks": (0, 5, 6),
    "a seed's second block, the next one's first": (1, 4, 0),
}


@pytest.mark.parametrize("pair", UNRELATED)
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_classes_of_two_seeds_or_blocks_are_unrelated(kind, name, pair):
    apart, one, other = UNRELATED[pair]
    if name == "7 of 23" and pair == "neighbouring batches of two blocks":
        one = 2  # a cycle is of 3 batches, and 1023 and 1024 are of one
    drawn, rate = one_a_seed(kind, name), rates(kind, name)
    first = np.arange(2 * HALF)
    if apart:
        first = np.flatnonzero(first[: 2 * HALF - apart] // apart % 2 == 0)
    ahead = present(kind, name, drawn[one][first]) - rate
    also = present(kind, name, drawn[other][first + apart]) - rate
    assert abs(t_of((ahead * also).sum(axis=1))) < 5.8  # 1 in 10**8


def check_uncorrelated(rows, coins, limit):
    """rows [R, n]: each pair's correlation, with a deviation of 1 / sqrt(coins)."""
    table = np.corrcoef(rows)
    assert abs(table[np.triu_indices(len(rows), 1)]).max() * np.sqrt(coins) < limit


def test_the_points_of_two_blocks_and_two_seeds_are_unrelated():
    """Of two classes each has one half of the line, whichever: a point's first bit is seen."""
    runs = [make("stratified", ([1, 1], 1, 1.0), s).batches(0, 30 * BLOCK) for s in SEEDS[::200]]
    rows = np.array([run.numpy().reshape(30, BLOCK) for run in runs]).reshape(-1, BLOCK)
    # each second batch has the half that the one before had not; 44,850 pairs: 1 in 10**6
    check_uncorrelated(rows, BLOCK // 2, 6.8)


def test_the_blocks_that_have_a_rare_class_are_unrelated_in_two_seeds():
    case = ([1, 2047], 1, 0.0)  # half an extra a block
    runs = [make("stratified", case, seed).batches(0, 256 * BLOCK) for seed in SEEDS[::170]]
    had = np.array([(run.numpy() == 0).reshape(256, BLOCK).sum(axis=1) for run in runs])
    assert (had[:, ::2] + had[:, 1::2] == 1).all()  # by design
    check_uncorrelated(had[:, ::2], 128, 6.2)  # 66 pairs: 1 in 10**7


def meetings(name, batches):
    """[block, pair of classes]: in how many batches of a block both have their extra."""
    there = present("stratified", name, batches).reshape(-1, BLOCK, len(case_of(name)[0]))
    there = there.astype(np.float32)
    pairs = np.triu_indices(there.shape[2], 1)
    return np.array([(block.T @ block)[pairs] for block in there])


@pytest.mark.parametrize("name", ["16 alike", "64 alike"])
@pytest.mark.parametrize("of", ["blocks", "seeds"])
def test_the_company_a_class_keeps_is_unrelated_in_two_blocks_and_two_seeds(name, of):
    batches = long_run("stratified", name, 400 * BLOCK)
    if of == "seeds":
        samplers = (make("stratified", case_of(name), seed) for seed in SEEDS[HALF - 100 :][:200])
        batches = np.concatenate([sampler.batches(0, BLOCK).numpy() for sampler in samplers])
    met = meetings(name, batches)
    together = [np.corrcoef(met[i], met[i + 1])[0, 1] for i in range(0, len(met), 2)]
    # 100 values or more, skewed by 1: a simulation of a fair order gave 5.0 at 1 in 10**5
    assert abs(t_of(together)) < 7.0  # 1 in 10**7, by extrapolation


# ------------------------------------------------------------------------------ pairs of classes
@pytest.mark.parametrize("at", range(len(BATCHES)), ids=map(str, BATCHES))
@pytest.mark.parametrize(("kind", "name"), [x for x in ALL if "classes" not in x[1]])
def test_no_two_classes_alike_are_kept_apart_or_together_over_seeds(kind, name, at):
    """Where classes have as many extras in a block, their keyed order makes all pairs alike."""
    there = present(kind, name, one_a_seed(kind, name)[at]).astype(int)
    n, taken = there.shape[1], there[0].sum()
    due = taken * (taken - 1) / (n * (n - 1))
    a, b = np.triu_indices(n, 1)
    # 1 in 10**7, by Bonferroni
    assert least_tail((there.T @ there)[a, b], len(SEEDS), due) > 1e-7 / len(a)
    for apart in range(1, n):  # neighbours by number
        mean = (n - apart) * due
        met = (there[:, :-apart] & there[:, apart:]).sum(axis=1)
        assert apart == n - 1 or abs(t_of(met, mean)) < 6.0  # 1 in 10**8, of 62 at most


@pytest.mark.parametrize("name", ["16 alike", "64 alike"])
def test_no_two_classes_alike_are_kept_apart_or_together_in_the_long_run(name):
    met = meetings(name, long_run("stratified", name, 400 * BLOCK))
    n, taken = len(case_of(name)[0]), round(quotas(name)[1].sum())
    mean = BLOCK * taken * (taken - 1) / (n * (n - 1))
    # in a block two classes meet often or never, so blocks are the draws; 2016 pairs: 1 in 10**5
    assert abs(t_of(met, mean)).max() < 6.3


# ------------------------------------------------------------------------------ orders of members
def check_orders_unrelated(orders):
    """orders [R, n], permutations of n = 101 things: not in step, nor in places, nor in turn."""
    places = np.argsort(orders, axis=1)
    after = np.take_along_axis(np.roll(orders, -1, axis=1), places, axis=1)
    pairs = np.triu_indices(len(orders), 1)
    for rows in (orders, places):
        check_uncorrelated(rows, 100, 6.6)  # of 10**5 pairs: 1 in 10**5
    for rows in (orders, after):
        alike = np.array([(rows == row).sum(axis=1) for row in rows])[pairs]
        assert alike.max() < 16  # of 1 on average, Poisson: of 10**5 pairs, 1 in 10**8


@pytest.mark.parametrize(("kind", "batch_size"), [("fixed", 20), ("stratified", 7)])
def test_orders_of_members_are_unrelated_in_two_cycles_classes_and_seeds(kind, batch_size):
    """A class has one draw in a batch at most, so that the slots do not hide the order."""
    orders, cycles = [], 5
    for seed in (0, 1, 1 << 32, 2 << 32):
        sampler = make(kind, ([101] * 20, batch_size, 1.0), seed)
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
    for seed in (0, 1, 1 << 32, 2 << 32):
        case = ([1] * 101, 50, 1) if of == "classes" else ([101] * 4, 4, 50)
        drawn = make("pk", case, seed).batches(0, turns * 202).numpy()
        if of == "members":  # each class has a visit in each batch
            drawn = np.sort(drawn, axis=1).reshape(-1, 4, 50).swapaxes(0, 1) % 101
        for visits in drawn.reshape(-1, turns, 101, 2, 50):
            found = rotation(visits)
            out += list(found[0])
            halves += list(found[1][:, ::5].reshape(-1, 100))
    assert (np.sort(out, axis=1) == np.arange(101)).all()
    check_orders_unrelated(np.array(out))
    # halves of 50 and 50; 5 * 10**5 pairs: 1 in 10**5
    check_uncorrelated(np.array(halves), 99, 6.8)
