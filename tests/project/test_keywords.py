"""Keywords: what no kind takes is refused first, by the nearest name; what is taken is said."""

import inspect

import pytest
import torch

from gpusampler import SamplerFactory, factory

IDXS = [[0, 1, 2], [3, 4]]
CALLS = {
    "fixed": lambda **more: SamplerFactory().fixed(IDXS, 4, 2, **more),
    "random": lambda **more: SamplerFactory().random(IDXS, 4, 2, **more),
    **{
        f"get {kind}": lambda kind=kind, **more: SamplerFactory().get(IDXS, 4, 2, kind=kind, **more)
        for kind in factory.KINDS
    },
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("name", "repair"),
    [
        ("weigths", "'weights'"),
        ("wieghts", "'weights'"),
        ("share", "'share"),
        ("window_byte", "'window_bytes'"),
        ("devcie", "'device'"),
        ("seeds", "'seed'"),
        ("alhpa", "'alpha'"),
        ("batchsize", "'batch_size'"),
        ("temperature", "weighting='power' with alpha = 1 - 1 / temperature"),
        ("shuffle", "nothing: members and batches are shuffled"),
        ("schedule", "alpha=f, a function of the epoch"),
        ("labels", r"ClassIndex.from_labels\(labels\) as class_idxs"),
        ("world_size", r"shard=\(rank, world_size\)"),
        ("class_weights", "shares= .* or rates= "),
        ("qqq", "leave it out"),
    ],
)
def test_an_unknown_keyword_is_refused_first_by_the_nearest_name(call, name, repair):
    """weigths= was told that neither alpha nor weights was given; shuffle= named an inner class."""
    if call == "get pk" and name in ("weigths", "wieghts", "share"):
        repair = "leave it out|'shard'"
    pattern = f"unexpected keyword argument '{name}'; .*{repair}"
    with pytest.raises(TypeError, match=pattern) as caught:
        CALLS[call](**{name: 0.5})
    kind = call.split()[-1]
    assert f"kind='{kind}' takes " in str(caught.value)
    for option in ("device", "seed", "shard", "window_bytes"):
        assert option in str(caught.value).split(" takes ")[1]
    assert "BatchSampler" not in str(caught.value)


def test_an_option_of_another_kind_says_of_which():
    with pytest.raises(
        TypeError, match=r"'class_draw'; leave it out, or take kind 'random', which"
    ):
        CALLS["get fixed"](class_draw="counter", alpha=1)
    with pytest.raises(TypeError, match=r"'classes_per_batch'; .* or take kind 'pk'"):
        CALLS["random"](classes_per_batch=2, alpha=1)
    with pytest.raises(ValueError, match="takes all classes alike, and shares was given"):
        SamplerFactory().get(IDXS, 4, 2, kind="pk", shares=[1, 1])


def test_what_a_kind_takes_is_what_its_sampler_takes():
    for kind, made in factory.KINDS.items():
        names = [
            name for name, parameter in inspect.signature(made).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and name != "schedule"
        ]  # fmt: skip
        assert set(names) <= set(factory.OPTIONS[kind])
        mixing = {"weights", "shares", "rates", "beta", "threshold", "weighting"}
        assert mixing & set(factory.OPTIONS[kind]) == (set() if kind == "pk" else mixing)


@pytest.mark.parametrize("kind", ["fixed", "stratified", "random"])
def test_a_schedule_is_passed_as_alpha_and_its_bad_value_has_its_epoch(kind):
    sampler = SamplerFactory().get(IDXS, 4, 2, alpha=lambda epoch: 0.5, kind=kind, device="cpu")
    assert sampler.epoch == 0
    with pytest.raises(ValueError, match=r"alpha of epoch 0 must be in \[0, 1\], not 7;"):
        SamplerFactory().get(IDXS, 4, 2, alpha=lambda epoch: 7, kind=kind)
    with pytest.raises(TypeError, match=r"alpha of epoch 0 must be a number .* not None"):
        SamplerFactory().get(IDXS, 4, 2, alpha=lambda epoch: None, kind=kind)
    with pytest.raises(
        TypeError, match=r"alpha must be .*or a function of the epoch that gives one"
    ):
        SamplerFactory().get(IDXS, 4, 2, alpha="0.5", kind=kind)


@pytest.mark.parametrize("kind", ["fixed", "stratified", "random"])
def test_seed_none_is_torchs_initial_seed_and_draws_nothing(kind):
    def made(seed):
        return SamplerFactory().get(IDXS, 4, 5, 1.0, kind, seed=seed, device="cpu")

    before = torch.get_rng_state()
    try:
        streams = []
        for seed in (1, 2, 1):
            torch.manual_seed(seed)
            torch.rand(3)
            state = torch.get_rng_state()
            streams.append(made(None).build())
            assert torch.equal(torch.get_rng_state(), state)
            assert torch.equal(streams[-1], made(seed).build())
            assert torch.equal(made(0).build(), SamplerFactory().get(IDXS, 4, 5, 1.0, kind).build())
        assert torch.equal(streams[0], streams[2])
        assert not torch.equal(streams[0], streams[1])
    finally:
        torch.set_rng_state(before)
