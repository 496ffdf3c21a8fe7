"""Factory: from class indices and alpha to a sampler, as the original library's callers do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from gpusampler import checks
from gpusampler.index.class_index import ClassIndex
from gpusampler.plans import mixes
from gpusampler.plans.class_numbers import by_name
from gpusampler.plans.uneven import warn_uneven
from gpusampler.samplers import keywords
from gpusampler.samplers.fixed import WeightedFixedBatchSampler
from gpusampler.samplers.options import Alpha, Options, PassOptions, PKOptions, RandomOptions
from gpusampler.samplers.pk import PKBatchSampler
from gpusampler.samplers.random import WeightedRandomBatchSampler
from gpusampler.samplers.stratified import StratifiedBatchSampler
from gpusampler.stream.sampler import StreamBatchSampler

if TYPE_CHECKING:
    from typing_extensions import Unpack

KINDS = {
    "fixed": WeightedFixedBatchSampler,
    "random": WeightedRandomBatchSampler,
    "stratified": StratifiedBatchSampler,
    "pk": PKBatchSampler,
}
PK = ("classes_per_batch", "members_per_class", "drop_empty")
OPTIONS = {
    kind: list(dict.fromkeys([*(PK if kind == "pk" else keywords.MIXING), *keywords.of(made)]))
    for kind, made in KINDS.items()
}
POSITIONAL = ("class_idxs", "batch_size", "n_batches", "alpha", "kind")


class SamplerFactory:
    """Makes samplers whose batches lie between the true class mix and a uniform one.

    verbose  1: print what was made, as sampler.describe() tells it.
    """

    def __init__(self, verbose: int = 0):
        self.verbose = (
            int(verbose)
            if isinstance(verbose, bool)
            else checks.integer("verbose", verbose, 0, 1 << 31)
        )

    # A kind that is known as the code is read takes its own keywords; any other str, those of all.
    @overload
    def get(
        self, class_idxs: Any, batch_size: int, n_batches: int, alpha: Alpha = None,
        kind: Literal["fixed"] = "fixed", **options: Unpack[PassOptions],
    ) -> WeightedFixedBatchSampler: ...  # fmt: skip
    @overload
    def get(
        self, class_idxs: Any, batch_size: int, n_batches: int, alpha: Alpha,
        kind: Literal["random"], **options: Unpack[RandomOptions],
    ) -> WeightedRandomBatchSampler: ...  # fmt: skip
    @overload
    def get(
        self, class_idxs: Any, batch_size: int, n_batches: int, alpha: None = None, *,
        kind: Literal["random"], **options: Unpack[RandomOptions],
    ) -> WeightedRandomBatchSampler: ...  # fmt: skip
    @overload
    def get(
        self, class_idxs: Any, batch_size: int, n_batches: int, alpha: Alpha,
        kind: Literal["stratified"], **options: Unpack[PassOptions],
    ) -> StratifiedBatchSampler: ...  # fmt: skip
    @overload
    def get(
        self, class_idxs: Any, batch_size: int, n_batches: int, alpha: None = None, *,
        kind: Literal["stratified"], **options: Unpack[PassOptions],
    ) -> StratifiedBatchSampler: ...  # fmt: skip
    @overload
    def get(
        self, class_idxs: Any, batch_size: int | None, n_batches: int, alpha: None,
        kind: Literal["pk"], *, classes_per_batch: int, members_per_class: int,
        **options: Unpack[PKOptions],
    ) -> PKBatchSampler: ...  # fmt: skip
    @overload
    def get(
        self, class_idxs: Any, batch_size: int | None, n_batches: int, alpha: None = None, *,
        kind: Literal["pk"], classes_per_batch: int, members_per_class: int,
        **options: Unpack[PKOptions],
    ) -> PKBatchSampler: ...  # fmt: skip
    @overload
    def get(
        self, class_idxs: Any, batch_size: int, n_batches: int, alpha: Alpha = None,
        kind: str = "fixed", **options: Unpack[Options],
    ) -> StreamBatchSampler: ...  # fmt: skip
    def get(
        self, class_idxs: Any, batch_size: int | None, n_batches: int, alpha: Alpha = None,
        kind: str = "fixed", **options: Any,
    ) -> StreamBatchSampler:  # fmt: skip
        """A batch sampler for `DataLoader(dataset, batch_sampler=...)`.

        class_idxs    one sequence of dataset indices a class (lists, arrays, tensors, ranges), or
                      a ClassIndex. Not changed.
        batch_size    B, indices in a batch; of kind "pk" P * K, or None.
        n_batches     batches in an epoch.
        alpha         0: the true class mix; 1: every class alike; between, by the weighting. Or a
                      function of the epoch that gives it.
        kind          "fixed": the same class counts in every batch, each class going through all
                      its members before any repeats. "stratified": each class's quota rounded up
                      or down, so that small classes have their share over time. "random": drawn
                      with replacement. "pk": P classes, K members of each.
        weighting     "linear": a straight line from sizes to 1; "power": size^(1 - alpha);
                      "effective_number", with beta, and "repeat_factor", with threshold, in place
                      of alpha: see gpusampler.plans.weights.
        shares        [C] the class mix itself, in place of alpha: what part of the draws each class
                      has, in any unit; or a dict of that by class name. weights: another name.
        rates         [C] the same by how often one member of each class is drawn, in any unit: its
                      share is rate x size.
        classes_per_batch, members_per_class   P and K of kind "pk", which takes no mix.
        order         "shuffle": a batch's slots in a keyed order; "class": class by class,
                      ascending, those of a class in the order in which they are drawn. A batch of
                      kind "pk" is then x.view(P, K, ...).
        unique        True, of kinds "fixed" and "stratified": no batch has a member of a class
                      twice, if the class has as many as the batch has draws of it. "pk" is so.
        class_draw    of kind "random": "multinomial" | "counter", see WeightedRandomBatchSampler.
        unbroken      True: an iteration goes on where the last one stopped, for loops that cut
                      epochs short; set_epoch() then sets nothing.
        drop_empty    True: classes without members are left out; False: they are refused.
        device        where batches are built; None: CUDA if there is one, else the CPU.
        seed          any integer, modulo 2^64; the same seed gives the same batches. None:
                      torch.initial_seed(), as torch.manual_seed() sets it (alike on all ranks, else
                      they differ); nothing is drawn. To resume such a run pass state["seed"].
        shard         "auto", (rank, world_size), a ProcessGroup or DeviceMesh of one dimension:
                      only this rank's batches, see StreamBatchSampler.shard.
        window_bytes  the most that on_device() holds of an epoch at once, default 256 MiB.
        Raises        ValueError, TypeError: each names the rule, the value and the repair.

        >>> sampler = SamplerFactory().get([[0, 1, 2, 3], [4]], 4, 10, alpha=1, device="cpu")
        >>> sampler.class_counts.tolist()
        [20.0, 20.0]
        """
        checks.choice("kind", kind, tuple(KINDS))
        if kind == "pk":
            return self._make_pk(class_idxs, batch_size, n_batches, alpha, **options)
        return self._make(kind, class_idxs, batch_size, n_batches, alpha, **options)

    def fixed(
        self, class_idxs: Any, batch_size: int, n_batches: int, alpha: Alpha = None,
        **options: Unpack[PassOptions],
    ) -> WeightedFixedBatchSampler:  # fmt: skip
        """The sampler of get(kind="fixed"). Warns UnevenShareWarning where counts in every batch
        give a class over 10 % more or less than its share, and StarvedClassWarning where they give
        one nothing."""
        return self._make("fixed", class_idxs, batch_size, n_batches, alpha, **options)

    def random(
        self, class_idxs: Any, batch_size: int, n_batches: int, alpha: Alpha = None,
        **options: Unpack[RandomOptions],
    ) -> WeightedRandomBatchSampler:  # fmt: skip
        """The sampler of get(kind="random")."""
        return self._make("random", class_idxs, batch_size, n_batches, alpha, **options)

    def stratified(
        self, class_idxs: Any, batch_size: int, n_batches: int, alpha: Alpha = None,
        **options: Unpack[PassOptions],
    ) -> StratifiedBatchSampler:  # fmt: skip
        """The sampler of get(kind="stratified")."""
        return self._make("stratified", class_idxs, batch_size, n_batches, alpha, **options)

    def pk(
        self, class_idxs: Any, classes_per_batch: int, members_per_class: int, n_batches: int,
        **options: Unpack[PKOptions],
    ) -> PKBatchSampler:  # fmt: skip
        """The sampler of get(kind="pk"): P, then K, and no batch size, which is P * K."""
        sizes = {"classes_per_batch": classes_per_batch, "members_per_class": members_per_class}
        given: dict[str, Any] = {**sizes, **options}
        size, alpha = given.pop("batch_size", None), given.pop("alpha", None)  # refused by its word
        return self._make_pk(class_idxs, size, n_batches, alpha, **given)

    def _make(
        self, kind: str, class_idxs: Any, batch_size: int | None, n_batches: int, alpha: Any, /,
        **options: Any,
    ) -> Any:  # fmt: skip
        keywords.check(kind, options, OPTIONS, POSITIONAL)
        size = checks.batch_size(batch_size)
        index = ClassIndex.from_class_idxs(class_idxs)
        schedule = alpha if callable(alpha) else None
        first = checks.alpha(alpha(0), epoch=0) if callable(alpha) else alpha
        asked = {name: options.pop(name) for name in keywords.MIXING if name in options}
        for name in ("shares", "weights", "rates"):
            asked[name] = by_name(name, asked.get(name), index.names)
        mix = mixes.mix(index.host_sizes, alpha=first, num_samples=index.num_samples, **asked)
        options |= {name: asked[name] for name in ("weighting", "drop_empty") if name in asked}
        options["schedule"] = schedule
        if kind == "stratified":
            return self._told(StratifiedBatchSampler(mix, index, size, n_batches, **options))
        if kind == "random":
            return self._told(WeightedRandomBatchSampler(mix, index, size, n_batches, **options))
        sampler = WeightedFixedBatchSampler(mix, index, n_batches, batch_size=size, **options)
        warn_uneven(mix, sampler.counts_of(sampler._first), index.names)
        return self._told(sampler)

    def _make_pk(
        self, class_idxs: Any, batch_size: int | None, n_batches: int, alpha: Any, /,
        **options: Any,
    ) -> Any:  # fmt: skip
        unmixed = [name for name in options if name in PK or name not in keywords.MIXING]
        keywords.check("pk", unmixed, OPTIONS, POSITIONAL)
        mixing = [name for name in options if name not in unmixed]
        if alpha is not None or mixing:
            met = "alpha" if alpha is not None else mixing[0]
            raise ValueError(
                f"kind='pk' takes all classes alike, and {met} was given; leave it out, or take "
                f"another kind"
            )
        per_batch, per_class, _ = (options.pop(name, None) for name in PK)
        if per_batch is None or per_class is None:
            raise ValueError(
                "kind='pk' needs classes_per_batch and members_per_class, and one is missing; "
                "pass both"
            )
        sampler = PKBatchSampler(class_idxs, per_batch, per_class, n_batches, **options)
        if batch_size not in (None, sampler.batch_size):
            raise ValueError(
                f"batch_size must be classes_per_batch * members_per_class = "
                f"{sampler.batch_size}, not {batch_size}; pass that, or None"
            )
        return self._told(sampler)

    def _told(self, sampler: Any) -> Any:
        if self.verbose:
            print(sampler.describe())
        return sampler
