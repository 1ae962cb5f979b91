"""Options of `separate` and `melody` for many songs: a part of them, several processes, a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stemsplit.cli.layout.screen import Screen
from stemsplit.errors import UsageError

if TYPE_CHECKING:
    from stemsplit.melody.reader import Reader
    from stemsplit.runs.jobs import Job
    from stemsplit.runs.workers.scheduler import Crew
    from stemsplit.runs.workers.setup import Setup
    from stemsplit.runs.workers.shard import Shard
    from stemsplit.separation.separator import Separator

MANY_PANEL = "Many songs"
STREAM = Path("-")
Engine = Literal["local", "ray"]
CrewMaker = Callable[[int], "Crew"]
"""Makes the workers for so many jobs."""

ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Only part I of N of the songs, from 1, for machines that share the work.",
        show_default="all songs",
        rich_help_panel=MANY_PANEL,
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="So many songs at once, each in a process with its own network (with --engine ray: actors).",
        show_default="1; ray: as many as fit",
        rich_help_panel=MANY_PANEL,
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        case_sensitive=False,
        help="Where the networks are: on this machine, or on those of a Ray cluster that share the folders.",
        rich_help_panel=MANY_PANEL,
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        help="Of the cluster, as in 10.0.0.1:6379.",
        show_default="a running one, or a new one on this machine",
        rich_help_panel=MANY_PANEL,
    ),
]


@dataclass(frozen=True)
class Many:
    """What was asked for, see `many`."""

    shard: Shard | None = None
    jobs: int | None = None
    engine: Engine = "local"
    ray_address: str | None = None

    @property
    def has_crew(self) -> bool:
        """Whether other processes than this one do the work."""
        return self.engine == "ray" or (self.jobs or 1) > 1


def many(
    inputs: Sequence[Path], output: Path, shard: str | None, jobs: int | None, engine: Engine, ray_address: str | None
) -> Many:
    """Check what was asked for. Raises: UsageError."""
    asked = Many(None if shard is None else _shard(shard), jobs, engine, ray_address)
    if ray_address is not None and engine != "ray":
        raise UsageError("--ray-address is where a Ray cluster is: add --engine ray")
    if output == STREAM and (asked.shard is not None or asked.has_crew):
        raise UsageError("-o - takes one input: it excludes --shard, --jobs and --engine")
    if STREAM in inputs and asked.shard is not None:
        raise UsageError("standard input is one input, and has no parts: leave out --shard")
    if STREAM in inputs and engine == "ray":
        raise UsageError("standard input does not reach the machines of a cluster: leave out --engine ray")
    return asked


def _shard(text: str) -> Shard:
    from stemsplit.runs.workers.shard import parse_shard

    return parse_shard(text)


def part_of(jobs: Sequence[Job], asked: Many, screen: Screen) -> tuple[Job, ...]:
    """Return the jobs of the part that was asked for, and say how many they are."""
    if asked.shard is None:
        return tuple(jobs)
    chosen = asked.shard.of(jobs)
    screen.note(f"part {asked.shard}: {len(chosen)} of {len(jobs)} songs")
    return chosen


def crew_maker(setup: Setup, made: Separator | Reader, asked: Many, screen: Screen) -> CrewMaker:
    """Return what makes the workers. Raises: UsageError if there is no Ray."""
    from stemsplit.runs.workers.setup import worker_bytes

    needed = worker_bytes(made)
    if asked.engine == "ray":
        from stemsplit.runs.workers.ray import Actors

        def on_cluster(count: int) -> Crew:
            with screen.busy("connecting to Ray"):
                crew = Actors(setup, asked.ray_address, asked.jobs, most=count, worker_bytes=needed, warn=screen.warn)
            screen.detail(crew.described)
            return crew

        return on_cluster

    def of_this_machine(count: int) -> Crew:
        return _processes(setup, made, min(asked.jobs or 1, max(1, count)), needed, screen)

    return of_this_machine


def _processes(setup: Setup, made: Separator | Reader, count: int, needed: int, screen: Screen) -> Crew:
    import torch

    from stemsplit.machine.cores import usable_cores
    from stemsplit.machine.memory import available_bytes
    from stemsplit.runs.workers.processes import Processes

    free = available_bytes()
    fitting = count if free is None else max(1, min(count, free // needed))
    if free is not None and fitting < count:
        screen.warn(
            f"--jobs {count} lowered to {fitting}: {free / 1e9:.1f} GB of memory are free, "
            f"and each process takes about {needed / 1e9:.1f} GB"
        )
    threads = min(torch.get_num_threads(), usable_cores())
    gpus = torch.cuda.device_count() if made.device.type == "cuda" and _is_any_gpu(setup) else 0
    share = f", {gpus} GPUs among them" if gpus else f" with {max(1, threads // fitting)} threads each"
    screen.detail(f"{fitting} processes{share}, about {needed / 1e9:.1f} GB each")
    return Processes(setup, fitting, threads=threads, gpus=gpus)


def _is_any_gpu(setup: Setup) -> bool:
    """Return whether no GPU was chosen by its number."""
    return setup.options.device in ("auto", "cuda")
