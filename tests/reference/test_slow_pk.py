"""The slow reference of kind pk, against the guarantees of the design."""

import random
from collections import Counter

import pytest

from reference import slow_kinds as slow
from reference.slow_reference import (
    SLOT,
    key,
    perm,
)

CASES = range(12)


def members_of(sizes):
    """Dataset indices by class, each class from a thousand of its own."""
    return [[1000 * c + i for i in range(n)] for c, n in enumerate(sizes)]


def spread(counts):
    return max(counts) - min(counts)


@pytest.mark.parametrize("n", range(1, 13))
def test_rotating_leave_out_knows_its_earlier_visits_and_stays_within_one(n):
    for take in range(1, n + 1):
        visits = [0] * n
        for v in range(3 * n * (n // take)):
            items = slow.rotating_leave_out(n, take, v, 8, (5, 6), tag=n)
            assert len({i for i, _ in items}) == take
            for i, earlier in items:
                assert earlier == visits[i]
                visits[i] += 1
            assert spread(visits) <= (1 if (v + 1) % (n // take) == 0 else 2)
        assert n % take or spread(visits) == 0


def test_a_turn_leaves_every_item_out_equally_often_then_renews_its_order():
    n, take, turn = 10, 4, 5  # 2 left out of a cycle, 5 cycles a turn, 2 visits a cycle
    left_out = []
    for cycle in range(2 * turn):
        items = [slow.rotating_leave_out(n, take, 2 * cycle + i, 8, (5, 6), 3) for i in (0, 1)]
        left_out.append(set(range(n)) - {x for visit in items for x, _ in visit})
    for t in (0, 1):
        rho = [perm(i, n, key(8, 5, t, 3)) for i in range(n)]
        expected = [set(rho[2 * k : 2 * k + 2]) for k in range(turn)]
        assert left_out[t * turn : (t + 1) * turn] == expected
    assert left_out[:turn] != left_out[turn:]


@pytest.mark.parametrize("case", CASES)
def test_pk_batches_have_p_classes_of_k_members_each(case):
    rnd = random.Random(case)
    sizes = [rnd.choice([0, 1, 2, 5, 12]) for _ in range(rnd.choice([1, 3, 8]))] + [3]
    members, kept = members_of(sizes), sum(n > 0 for n in sizes)
    p, k = rnd.randint(1, kept), rnd.choice([1, 2, 4, 7])
    visits, seen, prefixes = Counter(), Counter(), [Counter()]
    for g in range(80):
        batch = slow.pk_batch(members, p, k, case, g)
        by_rank = [batch[perm(rank, p * k, key(case, SLOT, g))] for rank in range(p * k)]
        classes = [x // 1000 for x in by_rank[::k]]
        assert len(set(classes)) == p
        assert [x // 1000 for x in by_rank] == [c for c in classes for _ in range(k)]
        assert slow.pk_visits(members, p, case, g) == [(c, visits[c]) for c in classes]
        visits.update(classes)
        seen.update(batch)
        prefixes.append(seen.copy())
        for place, c in enumerate(classes):
            own = by_rank[place * k : place * k + k]
            copies, few = divmod(k, sizes[c])
            assert own[: copies * sizes[c]] == members[c] * copies
            assert len(set(own[copies * sizes[c] :])) == few
        if (g + 1) % (kept // p) == 0:
            assert spread([visits[c] for c, n in enumerate(sizes) if n]) <= 1
    for own in filter(None, members):
        for a in range(0, 81, 5):
            for b in range(a, 81, 3):
                assert spread([prefixes[b][x] - prefixes[a][x] for x in own]) <= 4


def test_pk_numbers_classes_without_the_empty_ones_and_tags_members_with_the_real_id():
    members = members_of([0, 6, 0, 6, 6])
    without = [own for own in members if own]
    for r in range(9):
        visits = slow.pk_visits(members, 2, 3, r)
        assert visits == [((1, 3, 4)[i], n) for i, n in slow.pk_visits(without, 2, 3, r)]
        expected = [
            members[c][i]
            for c, earlier in visits
            for i, _ in slow.rotating_leave_out(6, 4, earlier, 3, (9, 10), tag=c)
        ]
        batch = slow.pk_batch(members, 2, 4, 3, r)
        assert [batch[perm(rank, 8, key(3, SLOT, r))] for rank in range(8)] == expected


def test_pk_visits_count_from_the_first_batch_of_the_segment():
    members = members_of([6, 7, 8])
    at_zero, later = slow.pk_batch(members, 2, 4, 3, 5), slow.pk_batch(members, 2, 4, 3, 705, 700)
    assert sorted(later) == sorted(at_zero) and later != at_zero
    assert sorted(slow.pk_batch(members, 2, 4, 3, 705, 700, 1)) != sorted(at_zero)
