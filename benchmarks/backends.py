"""Every backend beside the straightforward version, HTDemucs and Open-Unmix: the network alone, on the CPU or a GPU,
and the command from file to files, with its memory.

    python benchmarks/backends.py                                    every backend that works here, three sizes
    python benchmarks/backends.py --models mini --repeats 5 --threads 1
    python benchmarks/backends.py --models sfc-ca-small sfc-ca-medium --backends torch --threads 1 --peers FOLDER
    python benchmarks/backends.py --files 30 120 600                 the command on songs of so many seconds, too
    python benchmarks/backends.py --peers FOLDER                     after pip install --no-deps --target FOLDER
                                                                     demucs openunmix julius einops

All weights are random, which costs the same. Every measurement is a process of its own; repeats take turns, so that a
machine that slows down slows all of them; figures are medians. Peers that cannot be imported are skipped with a line.

s/s      wall seconds per second of stereo audio, one chunk, without overlap; warm, unless one pass takes too long
CPU s/s  the same in seconds of processor time, which other programs disturb less
peak     of the process's memory, in GB, PyTorch itself included

Ours keep freed memory, as the command does (`stemsplit.machine.memory`); the straightforward version and the peers run
as their own scripts run them. The command runs on the models that are at hand, with its overlap and start-up; network
and command take turns in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from stemsplit.networks.backends.choose import bind

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

SFC_MODELS = ("sfc-ca-small", "sfc-ca-medium", "sfc-mamba-small", "sfc-mamba-medium")
MODELS = {
    "full": "ts-bsmamba2",
    "L": "l-ts-bsmamba2",
    "mini": "ts-bsmamba2-mini",
    **{name: name for name in SFC_MODELS},
}
OURS = ("native", "triton", "mamba", "torch", "straightforward")
PEERS = ("HTDemucs", "Open-Unmix")
TOO_LONG = 20.0  # seconds of one pass: no second one to be warm
PEER_SECONDS = 7.8  # HTDemucs' own segment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["mini", "L", "full"])
    parser.add_argument("--backends", nargs="+", choices=OURS, default=list(OURS))
    parser.add_argument("--threads", type=int, default=_cores())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="of audio, instead of each model's own chunk")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", help="as of the command: auto, fp32, bf16, fp16")
    parser.add_argument("--peers", help="folder with the peers' packages")
    parser.add_argument("--files", nargs="*", type=float, default=[], help="seconds of songs for the command")
    parser.add_argument("--file-models", nargs="+", choices=MODELS, default=["mini"])
    parser.add_argument("--json", type=Path, help="write every single measurement there")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peers:
        sys.path.append(options.peers)
    if options.one:
        print(json.dumps(measure(*options.one, options)))
        return
    subjects = [(model, name) for model in options.models for name in options.backends]
    subjects += [("peer", name) for name in PEERS]
    subjects += [(f"{model} files", f"{seconds:g}") for model in options.file_models for seconds in options.files]
    print(f"{processor()}, {options.threads} threads, {options.device}, medians of {options.repeats}")
    rows = run_in_turns(subjects, options)
    if options.json:
        options.json.write_text(json.dumps([[*key, value] for key, value in rows.items()]), encoding="utf-8")
    report(rows)


def run_in_turns(subjects: list[tuple[str, str]], options: argparse.Namespace) -> dict[tuple[str, str], list[dict]]:
    """Measure every subject once per round; what cannot run says why and is left out of the next rounds."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {subject: [] for subject in subjects}
    arguments = ["--threads", str(options.threads), "--device", options.device, "--precision", options.precision]
    arguments += ["--seconds", str(options.seconds)] if options.seconds else []
    arguments += ["--peers", options.peers] if options.peers else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    for _ in range(options.repeats):
        for subject in [key for key in subjects if key in rows]:
            if subject[0].endswith(" files"):
                found = from_file_to_files(
                    MODELS[subject[0].removesuffix(" files")], float(subject[1]), options.threads
                )
            else:
                command = [sys.executable, __file__, "--one", *subject, *arguments]
                done = subprocess.run(command, env=environment, capture_output=True, text=True)
                found = json.loads(done.stdout) if done.returncode == 0 else {"missing": _last_line(done)}
            if "missing" in found:
                print(f"skipped {' '.join(subject)}: {found['missing']}", flush=True)
                del rows[subject]
            else:
                rows[subject].append(found)
    return rows


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"it ended with code {done.returncode}"


def from_file_to_files(model: str, seconds: float, threads: int) -> dict[str, Any]:
    """The command on a song of so many seconds: as `measure`; "peak" is that of the command."""
    from speed import run_command, write_song

    with tempfile.TemporaryDirectory() as folder:
        song = write_song(Path(folder) / "song.wav", seconds / 60)
        try:
            run = run_command(song, model, Path(folder), threads=threads)
        except RuntimeError as error:  # no such model here
            return {"missing": str(error)}
    return {"wall": run.wall / seconds, "cpu": run.cpu / seconds, "seconds": seconds, "peak": run.peak_gb}


def measure(model: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One subject in this process: {"wall", "cpu": per second of audio, "seconds", "peak"} or {"missing": why}."""
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    try:
        if model == "peer":
            network, seconds = PEER_NETWORKS[name](), options.seconds or PEER_SECONDS
            network.to(device).eval()
        else:
            network, seconds = our_network(MODELS[model], name, device, options)
    except Exception as error:  # a peer may fail to be imported in any way
        return {"missing": f"{type(error).__name__}: {error}".splitlines()[0]}
    mixture = 0.1 * torch.randn(1, 2, round(seconds * 44100), device=device)
    with torch.inference_mode(), autocast(network, name, device, options.precision):
        wall, cpu = timed(network, mixture)
        if wall < TOO_LONG:
            wall, cpu = timed(network, mixture)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"wall": wall / seconds, "cpu": cpu / seconds, "seconds": seconds, "peak": peak}


def timed(network: Callable[[Any], Any], mixture: Any) -> tuple[float, float]:
    """Wall and processor seconds of one pass, the device's work included."""
    import torch

    wall, cpu = time.perf_counter(), time.process_time()
    network(mixture)
    if mixture.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def sfc_network(model: str, backend: str, options: argparse.Namespace) -> tuple[Any, float]:
    """An SFC network with random weights, of which a backend computes Mamba at most, and the seconds of its chunk."""
    import torch

    from stemsplit.machine.memory import keep_freed_memory
    from stemsplit.networks.backends.choose import choose
    from stemsplit.networks.sfc import CONFIGS, SFC

    config = CONFIGS[model]
    if backend not in ("torch", "native" if config.codec == "mamba" else "torch"):
        raise ValueError("only PyTorch computes this network")
    keep_freed_memory()
    network = SFC(config).to(options.device).eval()
    bind(network, choose(torch.device(options.device), backend))
    return network, options.seconds or config.chunk_samples / config.sample_rate


def our_network(model: str, backend: str, device: Any, options: argparse.Namespace) -> tuple[Any, float]:
    """A network with random weights, bound to a backend, and the seconds of its chunk."""
    if model in SFC_MODELS:
        return sfc_network(model, backend, options)
    from straightforward import Straightforward

    from stemsplit.errors import StemsplitError
    from stemsplit.machine.memory import keep_freed_memory
    from stemsplit.networks.backends.choose import choose
    from stemsplit.networks.bsmamba import CONFIGS, BSMamba, BSMambaConfig

    if model in CONFIGS:
        config = CONFIGS[model]
    else:
        stored = json.loads((ROOT / "models" / model / "config.json").read_text(encoding="utf-8"))
        config = BSMambaConfig.from_dict(stored["network"])
    if backend == "straightforward":
        chosen: Any = Straightforward()
    else:
        keep_freed_memory()
        chosen = choose(device, backend)
    network = BSMamba(config).to(device).eval()
    bind(network, chosen)
    if device.type == "cpu" and backend == "torch" and options.precision == "bf16":
        raise StemsplitError("the tiles of this backend are float32")
    return network, options.seconds or config.chunk_samples / config.sample_rate


def autocast(network: Any, name: str, device: Any, precision: str) -> Any:
    """The context that the command would run a backend in, or the peer's own script the peer."""
    from contextlib import nullcontext

    import torch

    from stemsplit.machine.device import choose_precision
    from stemsplit.networks.backends.choose import precision_for

    if name in PEERS:
        return nullcontext()
    choose = choose_precision if device.type == "cpu" and name != "native" else partial(precision_for, network)
    dtype = choose(precision, device)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def htdemucs() -> Any:
    """pip's demucs with the settings of its released model: 41,984,456 parameters."""
    from demucs.htdemucs import HTDemucs

    return HTDemucs(["drums", "bass", "other", "vocals"], bottom_channels=512, segment=7.8, dconv_mode=3)


def open_unmix() -> Any:
    """pip's openunmix as its umxhq: four targets, bandwidth 16 kHz, one step of the Wiener filter."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        sys.modules["torchaudio"] = ModuleType("torchaudio")  # it reads files with it, which is not measured
    from openunmix.model import OpenUnmix, Separator

    names = ("vocals", "drums", "bass", "other")
    models = {name: OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487) for name in names}
    return Separator(models, niter=1)


PEER_NETWORKS: dict[str, Callable[[], Any]] = {"HTDemucs": htdemucs, "Open-Unmix": open_unmix}


def report(rows: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """Print medians, and ratios: to the straightforward version of the same model, and to HTDemucs, by CPU time."""
    median = {
        key: {name: statistics.median(row[name] for row in found) for name in found[0]} for key, found in rows.items()
    }
    heading = f"{'':24}{'audio s':>8}{'s/s':>9}{'CPU s/s':>9}{'peak GB':>9}{'speed-up':>10}{'/ HTDemucs':>12}"
    print(f"\n{heading}\n{'-' * len(heading)}")
    for (model, name), row in median.items():
        slow, peer = median.get((model, "straightforward")), median.get(("peer", "HTDemucs"))
        gain = f"{slow['cpu'] / row['cpu']:.1f}x" if slow else ""
        against = f"{row['cpu'] / peer['cpu']:.2f}" if peer else ""
        label = name if model == "peer" else model if model.endswith(" files") else f"{model} {name}"
        print(
            f"{label:24}{row['seconds']:8.1f}{row['wall']:9.3f}{row['cpu']:9.3f}{row['peak']:9.2f}{gain:>10}{against:>12}"
        )


def processor() -> str:
    """The CPU by name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
