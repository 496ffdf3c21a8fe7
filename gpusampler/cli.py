"""Command line: `gpusampler COMMAND [options]`.

Takes the words after the program's name. Gives an exit status.
A command is one function that adds its parser and one that runs it; heavy imports
(torch, matplotlib, rich) wait until a command runs, so that --help is quick.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

BESIDE = ("torch", "numpy", "triton")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="gpusampler", description="Class-balanced batches of dataset indices for PyTorch."
    )
    parser.add_argument("--version", action="version", version=versions())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_demo(commands)
    add_warmup(commands)
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)


def versions() -> str:
    """Of gpusampler and what it runs on, as a report of a fault needs them."""
    from gpusampler import __version__

    found = [f"gpusampler {__version__}", f"Python {platform.python_version()}"]
    for name in BESIDE:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return f"{', '.join(found)}, {platform.system()} {platform.machine()}"


def add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="train on real records at alpha 0, 0.5 and 1, and compare",
        description="Train a small classifier on the FARS accident records at alpha 0, 0.5 and 1; "
        'print the recall of each class and write one PNG. Needs pip install "gpusampler[demo]".',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("demo.png"), help="the PNG to write")
    parser.add_argument("--epochs", type=_positive, default=6, help="epochs at each alpha")
    parser.add_argument("--batches", type=_positive, default=300, help="batches in an epoch")
    parser.add_argument("--batch-size", type=_positive, default=256, help="rows in a batch")
    parser.add_argument("--seed", type=int, default=0, help="of split, first weights and batches")
    parser.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> int:
    import torch

    from gpusampler import demo

    settings = demo.Settings(
        epochs=arguments.epochs,
        n_batches=arguments.batches,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # the steps are small: threads gain little, and stall on a busy machine
    try:
        demo.run(arguments.out, settings)
    except demo.MissingExtraError as error:
        print(f"gpusampler demo: {error}", file=sys.stderr)
        return 1
    finally:
        torch.set_num_threads(threads)
    return 0


def add_warmup(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "warmup",
        help="compile what builds batches on a CPU, for processes to come",
        description="Compile what builds batches on a CPU, so that no first batch has to wait for "
        "it: when an image is built, say. GPUSAMPLER_CACHE_DIR names a folder to keep it in.",
    )
    parser.add_argument(
        "kinds", nargs="*", metavar="KIND", help="fixed, random, stratified, pk; none: all"
    )
    parser.set_defaults(run=run_warmup)


def run_warmup(arguments: argparse.Namespace) -> int:
    from gpusampler import warmup

    try:
        folder = warmup(arguments.kinds or None)
    except RuntimeError as error:
        print(f"gpusampler warmup: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"gpusampler warmup: {error}", file=sys.stderr)
        return 2
    if folder is None:
        print("gpusampler warmup: nothing is kept, so nothing is gained", file=sys.stderr)
        return 1
    print(f"compiled, and kept in {folder}")
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
