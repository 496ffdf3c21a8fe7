"""check_agreement(): all ranks, or parts of them, are compared, and every one is told the same."""

import pytest
from processes import launch

AGREED = "gave None"
SAME = "must hold the same sampler, but"
BY_DATA = "shard by the data-parallel rank, which peers have in common, as shard=mesh['dp']"
ALIKE = "give every rank the same labels, options, seed and state"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return launch("ranks_agreement.py", tmp_path_factory.mktemp("two ranks"), ranks=2)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return launch("ranks_agreement.py", tmp_path_factory.mktemp("four ranks"), ranks=4)


@pytest.fixture(params=["two", "four"])
def ranks(request):
    return request.getfixturevalue(request.param)


AGREE = ["default", "auto", "world", "flat mesh", "dimension", "whole, same"]


@pytest.mark.parametrize("how", [*AGREE, "one share, same"])
def test_ranks_that_hold_the_same_agree(ranks, how):
    assert {rank[how] for rank in ranks} == {AGREED}


@pytest.mark.parametrize("look", ["batch", "batches", "shard", "iterated"])
@pytest.mark.parametrize("kind", ["fixed", "stratified", "random"])
def test_a_rank_that_looked_ahead_under_a_schedule_agrees(ranks, kind, look):
    assert {rank[f"ahead, {kind}, {look}"] for rank in ranks} == {AGREED}


def test_shares_that_are_to_be_the_same_and_are_not_are_named(ranks):
    odd = "; ".join(f"rank {r} differs in share" for r in range(1, len(ranks)))
    told = f"all {len(ranks)} ranks {SAME} {odd}; {BY_DATA}"
    assert {rank["shares, same"] for rank in ranks} == {told}


def test_a_share_that_several_take_is_named_with_both_repairs(ranks):
    for rank in ranks:
        assert "several take that of rank 1; shard by this group's ranks" in rank["one share"]
        assert "peers, with share='same'" in rank["one share"]


def test_ranks_of_which_none_takes_a_share_are_told_both_repairs(ranks):
    for rank in ranks:
        assert f"each of {len(ranks)} ranks must take a share of its own, but all" in rank["whole"]
        assert "pass shard='auto'" in rank["whole"] and "check with share='same'" in rank["whole"]


def test_more_than_the_share_is_not_mended_by_sharding(ranks):
    for rank in ranks:
        assert rank["share and mix, same"].endswith(ALIKE)
        assert "rank 1 differs in class_mix, share" in rank["share and mix, same"]


REFUSED = {
    "word": "share must be 'distinct' or 'same', not 'both'; pass one of them",
    "mesh by name": "group must be 'auto', not 'dp'; pass one of them",
    "number": "group must be None, a ProcessGroup or a DeviceMesh of one dimension, not 2 (int); ",
    "outside": "group must be a process group that this process is in, and it is not; pass the",
    "sharded by a group outside": "shard must be a process group that this process is in, and",
    "mesh outside": "group must be a mesh that this process is in, and it is not; pass the group",
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_no_group_of_this_process_is_refused(ranks, how):
    for rank in ranks[1:]:
        assert rank[how].startswith(REFUSED[how])


def test_a_pair_is_no_group(ranks):
    for number, rank in enumerate(ranks):
        told = f"DeviceMesh of one dimension, not ({number}, {len(ranks)}) (tuple); pass the group"
        assert told in rank["pair"]


@pytest.mark.parametrize("how", ["peers", "data", "peers, group"])
def test_tensor_parallel_peers_take_the_same_share_and_data_parallel_ranks_their_own(four, how):
    assert {rank[how] for rank in four} == {AGREED}


def test_tensor_parallel_peers_that_take_different_shares_are_named(four):
    for rank in four:
        assert rank["peers that differ"] == (
            f"all 2 ranks {SAME} rank 1 differs in share; {BY_DATA}"
        )


def test_tensor_parallel_peers_are_not_data_parallel_ranks(four):
    for number, rank in enumerate(four):
        assert f"several take that of rank {number // 2}; shard by" in rank["peers as data"]


@pytest.mark.parametrize("how", ["whole mesh", "sharded by the whole mesh"])
def test_a_mesh_of_more_dimensions_is_refused_with_the_repair(four, how):
    for rank in four:
        assert "must be a mesh of one dimension, not of 2 (('dp', 'tp')); pass" in rank[how]
        assert rank[how].endswith("as mesh['dp']")
