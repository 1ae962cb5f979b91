"""`python -m stemsplit.training RECIPE.toml`: `stemsplit train` with PyTorch, numpy and safetensors alone.

Events go to stdout as JSON lines. The last line names what the run left. Exit codes are those of `stemsplit`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stemsplit.errors import StemsplitError
from stemsplit.machine.cores import usable_cores
from stemsplit.machine.device import choose_device
from stemsplit.machine.signals import CTRL_C, Terminated, interruptible
from stemsplit.machine.streams import READER_GONE, ReaderGone, one_line, owned
from stemsplit.training.examples.shards import unpack_all
from stemsplit.training.loop import run_recipe
from stemsplit.training.pace import Pace
from stemsplit.training.recipe import decay_of, load_recipe
from stemsplit.training.task import Event


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one recipe and return the exit code."""
    with owned(), interruptible():
        return _run(_parser().parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    minutes, decay_minutes = options.minutes or None, options.decay_minutes
    try:
        recipe = load_recipe(options.recipe)
        if options.shards is not None:
            unpack_all(options.shards, options.shards / "unpacked", threads=usable_cores())
        if options.out is not None:
            recipe = replace(recipe, output=options.out)
        if options.run is not None:
            recipe = decay_of(recipe, options.run, decay_minutes or options.minutes)
            minutes, decay_minutes = None, 0.0  # the recipe has it in steps
        pace = Pace(minutes, decay_minutes, options.loaders, options.compile)
        last = _Last()
        left = run_recipe(recipe, device=choose_device(options.device), pace=pace, on_event=last.tell)
        last.tell({"left": str(left), "step": last.step, "steps": recipe.schedule.steps})
    except StemsplitError as error:
        sys.stderr.write(f"stemsplit.training: error: {one_line(str(error))}\n")
        return error.exit_code
    except ReaderGone:
        return READER_GONE
    except (KeyboardInterrupt, Terminated) as end:
        sys.stderr.write("stemsplit.training: interrupted: stopped; the same command goes on from the last step\n")
        return end.code if isinstance(end, Terminated) else CTRL_C
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stemsplit.training", description="Train a network.")
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to train on what")
    parser.add_argument(
        "--shards", type=Path, metavar="DIR", help="first unpack DIR/NAME-000.zip … to DIR/unpacked/NAME"
    )
    parser.add_argument(
        "--minutes", type=float, default=25.0, help="stop after this many; the next call goes on (25; 0: never)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (auto)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder, instead of the recipe's")
    parser.add_argument(
        "--decay-minutes", type=float, default=0.0, help="let the learning rate fall to zero over the last M minutes"
    )
    parser.add_argument(
        "--from", dest="run", type=Path, metavar="DIR",
        help="go on from that run in the folder --out, with M minutes of decay alone, which may be stopped and resumed",
    )  # fmt: skip
    parser.add_argument("--loaders", type=int, help="threads that draw examples ahead (on a GPU, up to 8)")
    parser.add_argument("--compile", action="store_true", help="let torch.compile have the network")
    return parser


class _Last:
    """Prints events, and remembers the step of the last one."""

    step = 0

    def tell(self, event: Event) -> None:
        """Print one event as a line of JSON."""
        self.step = event.get("step", self.step)
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
