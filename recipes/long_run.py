r"""Train beside all other work, for days: sets up a folder of its own, and starts or resumes what is not running.

    python recipes/long_run.py --render recipes/long_songs.sh      # sets up ~/stemsplit-run, and starts
    ~/stemsplit-run/start                                          # whenever work begins, and after a restart
    ~/stemsplit-run/start pause                                    # while something is timed; `start` goes on
    ~/stemsplit-run/start decay --minutes 60                       # weights to ship, from the last save
    ~/stemsplit-run/start stop

The folder has `code/` (a clone of this checkout at its last commit, with an environment of its own, so that nothing
changes under the run), `songs/`, `runs/NAME/` and `start`. Training takes both cores at the lowest priority, saves
every few minutes and may be killed at any moment. --render names a script that makes songs. It is called again and
again with a growing number of songs (SONGS), until there are --gigabytes of them. Training begins after its first
round. What is set up already stays as it is.

decay trains a copy of the last save in runs/NAME-decay, at a higher priority, while the learning rate falls to zero.
The long run goes on as it was. What the decay leaves is the model in runs/NAME-decay/model.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]
RECIPE = "recipes/ts-bsmamba2-mini-long.toml"
_CALM = '{{ echo {0} > /proc/self/autogroup; }} 2> /dev/null; exec nice -n {0} ionice -c {1} "$@"'
"""Linux shares the cores among sessions first, then among the processes of each: the session has to be nice, too."""
IDLE = ("sh", "-c", _CALM.format(19, 3), "idle")
"""In front of what must not be noticed."""
SOON = ("sh", "-c", _CALM.format(10, 2), "soon")
"""In front of what comes before that."""
SONGS_A_ROUND = 16
"""So many songs of each kind are rendered before the room is measured again."""
SPARE_BYTES = 5e9
"""Nothing is rendered where the disk has less than this left."""
START = """#!/bin/sh
# Resumes what is not running, and says how far it is.
exec {python} {script} --folder "$(dirname "$(readlink -f "$0")")" "$@"
"""


class Job(NamedTuple):
    """A process in the background, which holds a lock while it lives."""

    name: str
    folder: Path
    """Has its lock, its process number and what it says."""

    def number(self) -> int | None:
        """Return the number of its process group, or None if it does not run."""
        path = self.folder / "lock"
        if not path.is_file():
            return None
        with path.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int((self.folder / "pid").read_text())
        return None

    def start(self, command: Sequence[str], where: Path, environment: Mapping[str, str]) -> None:
        """Run a command in a session of its own. The lock is inherited: it is free as soon as the process is gone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock, (self.folder / "said.txt").open("ab") as said:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = subprocess.Popen(
                command, cwd=where, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                pass_fds=(lock.fileno(),), start_new_session=True,
            )  # fmt: skip
            (self.folder / "pid").write_text(str(process.pid))

    def signal(self, which: signal.Signals) -> bool:
        """Send its processes a signal, and return whether there are any."""
        if (number := self.number()) is None:
            return False
        os.killpg(number, which)
        return True


class Place(NamedTuple):
    """The run's folder."""

    folder: Path

    @property
    def code(self) -> Path:
        """The clone."""
        return self.folder / "code"

    @property
    def python(self) -> Path:
        """The interpreter of the clone's environment."""
        return self.code / ".venv" / "bin" / "python"

    @property
    def songs(self) -> Path:
        """What is trained on."""
        return self.folder / "songs"

    def run(self, name: str) -> Job:
        """Return a training run."""
        return Job(name, self.folder / "runs" / name)

    @property
    def renderer(self) -> Job:
        """What makes songs."""
        return Job("rendering", self.folder / "rendering")

    @property
    def rounds(self) -> Path:
        """A file that says how often all kinds of songs were rendered."""
        return self.renderer.folder / "rounds"

    def training(self) -> list[str]:
        """Return the command that trains, without the run's folder."""
        recipe = str(self.code / self.settings["recipe"])
        return [str(self.python), "-m", "stemsplit.training", recipe, "--device", "cpu", "--minutes", "0"]

    @property
    def settings(self) -> dict[str, Any]:
        """What was chosen when the folder was set up."""
        found: dict[str, Any] = json.loads((self.folder / "settings.json").read_text(encoding="utf-8"))
        return found

    def environment(self) -> dict[str, str]:
        """Return the environment of what runs here: nothing of the caller's Python gets in."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        mine = {"PYTHON": str(self.python), "RECIPES": str(self.code / "recipes"), "PYTHONUNBUFFERED": "1"}
        return {**kept, **threads, **self.settings["environment"], **mine}

    def jobs(self) -> list[Job]:
        """Return everything that may be running."""
        return [self.renderer, *(Job(path.name, path) for path in sorted((self.folder / "runs").glob("*")))]


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked for; return 1 if a program that is needed fails."""
    options = _parse(arguments)
    place = Place(options.folder.expanduser().resolve())
    try:
        _ACTIONS[options.action](place, options)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"long_run: error: {error}", file=sys.stderr)
        return 1
    return 0


def start(place: Place, options: argparse.Namespace) -> None:
    """Set up what is missing, start what is not running, let go on what is paused, and say how far it is."""
    set_up(place, options)
    if place.settings["render"]:
        script = str(place.code / "recipes" / "long_run.py")
        command = [str(place.python), script, "render", "--folder", str(place.folder)]
        _start_or_go_on(place, place.renderer, [*IDLE, *command])
    if place.rounds.is_file() or not place.settings["render"]:
        _train(place)
    say(place, options)


def _train(place: Place) -> None:
    run = place.run(place.settings["name"])
    _start_or_go_on(place, run, [*IDLE, *place.training(), "--out", str(run.folder)])


def _start_or_go_on(place: Place, job: Job, command: Sequence[str]) -> None:
    if not job.signal(signal.SIGCONT):
        job.start(command, place.folder, place.environment())


def say(place: Place, options: argparse.Namespace) -> None:
    """Print a line about every run, and one about the songs."""
    for job in place.jobs():
        state = _last_word(job) if (number := job.number()) is None else _state_of(number)
        print(f"{job.name}: {state}; {_songs_so_far(place) if job.name == 'rendering' else how_far(job.folder)}")


def _last_word(job: Job) -> str:
    """Return what a process that is gone said at last, if that was an error."""
    path = job.folder / "said.txt"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-1:] if path.is_file() else []
    return "not running" + "".join(f" ({line})" for line in lines if "rror" in line)


def _state_of(number: int) -> str:
    """Return what the system says of a process."""
    stat = Path(f"/proc/{number}/stat")
    stopped = stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] == "T"
    return "paused" if stopped else f"running as {number}"


def how_far(run: Path) -> str:
    """Return one line: the step, the hours, and the development figures at first and at last."""
    log = run / "log.jsonl"
    events = [_event(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    steps = [event for event in events if "loss" in event]
    devs = [event for event in events if "dev" in event]
    now = "step {step}, {hours:.1f} h of audio, {audio_per_second:.1f} s of it a second"
    parts = [now.format(**steps[-1]) if steps else "no step yet"]
    for word, event in (("at first", devs[0]), ("now", devs[-1])) if devs else ():
        figures = ", ".join(f"{name} {value:.2f}" for name, value in event["dev"].items() if "/" not in name)
        parts.append(f"{word} (step {event['step']}) {figures}")
    return "; ".join(parts)


def _event(line: str) -> dict[str, Any]:
    """Return an event, or nothing of a line that a killed process left unfinished."""
    try:
        found: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return found


def _songs_so_far(place: Place) -> str:
    kinds = sorted({path.parents[1] for path in place.songs.rglob("*.json")})
    counts = [f"{kind.relative_to(place.songs)} {sum(1 for _ in kind.glob('*/*.json'))}" for kind in kinds]
    return f"{_bytes_of(place.songs) / 1e9:.1f} GB of songs: {', '.join(counts) or 'none'}"


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def render(place: Place, options: argparse.Namespace) -> None:
    """Call the script that renders, with more songs each time, until there is no room; in the background, see `start`.

    Raises:
        CalledProcessError: The script failed.
    """
    limit = 1e9 * place.settings["gigabytes"]
    done = int(place.rounds.read_text()) if place.rounds.is_file() else 0
    while _bytes_of(place.songs) < limit and shutil.disk_usage(place.folder).free > SPARE_BYTES:
        environment = {**place.environment(), "SONGS": str(SONGS_A_ROUND * (done + 1)), "ROUND": str(done + 1)}
        subprocess.run(["sh", str(place.folder / "render.sh")], cwd=place.folder, env=environment, check=True)
        done += 1
        place.rounds.write_text(str(done))
        _train(place)


def set_up(place: Place, options: argparse.Namespace) -> None:
    """Make the folder, unless it is there: its clone, its environment, its script `start`.

    Raises:
        CalledProcessError: git or pip failed. The next call goes on.
    """
    if (place.folder / "start").is_file():
        return
    place.songs.mkdir(parents=True, exist_ok=True)
    if not place.code.is_dir():
        partial = place.folder / ".code"
        shutil.rmtree(partial, ignore_errors=True)
        _call("git", "clone", "--quiet", "--no-hardlinks", str(CHECKOUT), str(partial))
        partial.rename(place.code)
    if not place.python.is_file():
        _call(sys.executable, "-m", "venv", str(place.code / ".venv"))
    pip = [str(place.python), "-m", "pip", "install", "--quiet"]
    torch = _tested_torch(place.code)
    if options.torch_index:
        _call(*pip, torch, "--index-url", options.torch_index)
    _call(*pip, f"{place.code}[train,plot]", torch)
    if options.render:
        shutil.copyfile(options.render, place.folder / "render.sh")
    chosen = {
        "name": options.name, "recipe": options.recipe, "render": bool(options.render), "gigabytes": options.gigabytes,
        "environment": dict(one.split("=", 1) for one in options.set),
    }  # fmt: skip
    (place.folder / "settings.json").write_text(json.dumps(chosen, indent=1) + "\n", encoding="utf-8")
    script = place.folder / ".start"
    words = {"python": place.python, "script": place.code / "recipes" / "long_run.py"}
    script.write_text(START.format(**{name: shlex.quote(str(path)) for name, path in words.items()}))
    script.chmod(0o755)
    script.rename(place.folder / "start")


def _tested_torch(code: Path) -> str:
    """Return the requirement of PyTorch that constraints.txt has: the newest may come with gigabytes of CUDA."""
    lines = (code / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in lines if line.startswith("torch==")), "torch")


def _call(*command: str) -> None:
    subprocess.run(command, check=True)


def pause(place: Place, options: argparse.Namespace) -> None:
    """Stop everything where it is; `start` lets it go on."""
    for job in place.jobs():
        job.signal(signal.SIGSTOP)
    say(place, options)


def stop(place: Place, options: argparse.Namespace) -> None:
    """End everything. At most what came after the last save is lost, and `start` resumes."""
    for job in place.jobs():
        if job.signal(signal.SIGTERM):
            job.signal(signal.SIGCONT)  # a paused process hears nothing before
    say(place, options)


def decay(place: Place, options: argparse.Namespace) -> None:
    """Train a copy of the last save to its end, in the background; called again, it resumes."""
    name = place.settings["name"]
    source, target = place.run(name), place.run(options.to or f"{name}-decay")
    more = ["--from", str(source.folder), "--decay-minutes", str(options.minutes), "--out", str(target.folder)]
    _start_or_go_on(place, target, [*SOON, *place.training(), *more])
    say(place, options)


_ACTIONS = {"start": start, "status": say, "pause": pause, "stop": stop, "decay": decay, "render": render}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", choices=tuple(_ACTIONS), default="start", help="what to do (start)")
    parser.add_argument("--folder", type=Path, default=Path("~/stemsplit-run"), help="(~/stemsplit-run)")
    parser.add_argument("--name", default="long", help="the run's name (long)")
    parser.add_argument("--recipe", default=RECIPE, help=f"path in the checkout ({RECIPE})")
    parser.add_argument("--render", type=Path, metavar="FILE", help="script that makes songs; without it none are made")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="environment of that script")
    parser.add_argument("--gigabytes", type=float, default=30.0, help="room for songs (30)")
    parser.add_argument("--torch-index", metavar="URL", help="where pip gets PyTorch, for one without CUDA")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of a decay (60)")
    parser.add_argument("--to", metavar="NAME", help="name of the run that decays (NAME-decay)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
