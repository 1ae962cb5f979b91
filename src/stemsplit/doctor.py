"""What works on this machine and why: nothing here is assumed, everything is tried."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stemsplit import __version__
from stemsplit.audio import FORMATS, StemWriter, blocks, choose_depth, output_rate, probe
from stemsplit.errors import StemsplitError
from stemsplit.files.config import CONFIG_VARIABLE, config_path
from stemsplit.files.config import read_config as read_defaults
from stemsplit.machine.device import (
    BACKEND_VARIABLE,
    available_devices,
    choose_device,
    choose_precision,
    chunks_side_by_side,
    precision_name,
    wanted_backend,
)
from stemsplit.machine.memory import keep_freed_memory
from stemsplit.networks.backends import choose as backends
from stemsplit.networks.contract import SeparatorNetwork
from stemsplit.networks.registry import ARCHITECTURES
from stemsplit.separation.separator import shareable_parameters
from stemsplit.separation.stream import chunking_for, separate_array, separate_blocks
from stemsplit.weights.cache import cache_dir
from stemsplit.weights.card import CONFIG_NAME, read_config
from stemsplit.weights.catalog import DEFAULT_MODEL, card, model_names
from stemsplit.weights.model import load_model

PACKAGES = ("torch", "numpy", "safetensors", "soundfile", "soxr", "av", "mutagen", "mido",
            "huggingface-hub", "typer", "rich")  # fmt: skip
EXTRAS = {
    "matplotlib": ("plot", "melody --plot"),
    "mir_eval": ("eval", "evaluate --melody"),
    "fastapi": ("serve", "serve"),
}
"""Package → what pip calls the extra that it is in, and the command that needs it."""

FFMPEG_DECODERS = {"m4a, mp4": "aac", "ALAC": "alac", "webm": "opus", "wma": "wmav2", "MP3": "mp3float", "AC-3": "ac3"}
SONG_SECONDS = 240.0
MEASURE_SECONDS = 5.0  # stop measuring soon after this
READINGS = 5
BUSY = 0.5
"""A machine is busy if so many programs per processor want one."""


@dataclass(frozen=True)
class Finding:
    """One line: `state` is "ok", "info", "missing" (a choice that is not there) or "broken"."""

    section: str
    name: str
    value: str
    state: str = "info"
    data: Any = None

    def as_json(self) -> dict[str, Any]:
        """As JSON values; `data` is the number behind `value`, where there is one."""
        return asdict(self)


def examine(model: str = DEFAULT_MODEL, device: str = "auto") -> Iterator[Finding]:
    """All findings, the slow ones last."""
    yield from versions()
    yield from formats()
    yield from decoders()
    yield from devices()
    yield from resources()
    yield from models()
    yield from speed(model, device)


def versions() -> Iterator[Finding]:
    """Report this program, Python, and the packages that it stands on."""
    section = "Versions"
    yield Finding(section, "stemsplit", __version__)
    yield Finding(section, "Python", f"{platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        try:
            yield Finding(section, name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(section, name, f"not installed: pip install {name}", "broken")
    for name, (extra, command) in EXTRAS.items():
        try:
            yield Finding(section, name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(section, name, f"for {command}: pip install 'stemsplit-mamba[{extra}]'", "missing")


def formats() -> Iterator[Finding]:
    """Every format that can be written, written and read back."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4800)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="stemsplit-doctor-") as folder:
        for name in FORMATS:
            try:
                frames = _there_and_back(Path(folder) / f"noise.{FORMATS[name].suffix}", name, noise)
            except StemsplitError as error:
                yield Finding("Writing and reading", name, str(error), "broken")
                continue
            exact = frames == noise.shape[1]
            text = "written and read back" + ("" if exact else f", {frames} of {noise.shape[1]} samples")
            yield Finding("Writing and reading", name, text, "ok" if exact else "broken")


def _there_and_back(path: Path, name: str, noise: np.ndarray) -> int:
    with StemWriter(path, output_rate(name, 48000), 2, name, choose_depth(name)) as writer:
        writer.write(noise)
    return sum(block.shape[1] for block in blocks(probe(path)))


def decoders() -> Iterator[Finding]:
    """Report what FFmpeg's decoders, which come with PyAV, add to libsndfile's."""
    import av

    version = ".".join(str(part) for part in av.library_versions["libavcodec"])
    for name, codec in FFMPEG_DECODERS.items():
        there = codec in av.codecs_available
        text = f"{codec} of libavcodec {version}" if there else f"this PyAV has no {codec}: pip install -U av"
        yield Finding("Reading with FFmpeg", name, text, "ok" if there else "broken")


def devices() -> Iterator[Finding]:
    """Report what torch can compute on, and why not on more."""
    section = "Devices"
    here = available_devices()
    for name in here:
        yield Finding(section, name, _device_text(name), "ok")
    if not any(name.startswith("cuda") for name in here):
        yield Finding(section, "cuda", _why_no_cuda(), "missing")
    if "mps" not in here and sys.platform == "darwin":
        yield Finding(section, "mps", "this PyTorch or this macOS has no Metal support", "missing")
    yield from mamba2(here)


def mamba2(here: tuple[str, ...]) -> Iterator[Finding]:
    """Which backend computes the Mamba-2 blocks on each device, and what is wrong with the others."""
    section = "Devices"
    for device in here:
        try:
            chosen = backends.choose(device).name
        except StemsplitError as error:
            yield Finding(section, f"Mamba-2 on {device}", str(error), "broken")
            continue
        why = "the fastest that works" if wanted_backend() == "auto" else f"set by {BACKEND_VARIABLE}"
        yield Finding(section, f"Mamba-2 on {device}", f"backend {chosen}, {why}", "ok", chosen)
    for name in backends.BACKENDS:
        reasons = {device: backends.why_not(name, torch.device(device)) for device in here}
        works = [device for device, reason in reasons.items() if reason is None]
        text = f"works on {', '.join(works)}" if works else f"{reasons[here[0]]}; not needed"
        yield Finding(section, f"backend {name}", text, "ok" if works else "missing")


def _device_text(name: str) -> str:
    if name.startswith("cuda"):
        about = torch.cuda.get_device_properties(torch.device(name))
        precision = _precision(name)
        return f"{about.name}, {about.total_memory / 2**30:.0f} GiB, compute {about.major}.{about.minor}, {precision}"
    if name == "cpu":
        processor = platform.processor() or platform.machine()
        return f"{processor}, {torch.backends.cpu.get_cpu_capability()}, {_precision(name)}"
    return f"Metal, {_precision(name)}"


def _precision(name: str) -> str:
    if name == "cpu":
        return "bf16" if backends.cpu_has_bfloat16() else "fp32"
    return precision_name(choose_precision("auto", torch.device(name)))


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return "this PyTorch was built without CUDA; https://pytorch.org/get-started has builds with it"
    return f"PyTorch was built for CUDA {torch.version.cuda}, but finds no driver or no GPU: try nvidia-smi"


def resources() -> Iterator[Finding]:
    """Threads, memory, and the places that are written to."""
    section = "Resources"
    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    yield Finding(section, "threads", f"{threads} of {cores} processors (OMP_NUM_THREADS changes it)", data=threads)
    if memory := _memory():
        total, free = memory
        yield Finding(section, "memory", f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free", data=total)
    yield config()
    yield _writable("cache", cache_dir(), "STEMSPLIT_CACHE")
    yield _writable("temporary", Path(tempfile.gettempdir()), "TMPDIR")


def config() -> Finding:
    """Report which config file there is."""
    path = config_path()
    if path is None:
        return Finding("Resources", "config", f"none is read: {CONFIG_VARIABLE} is empty")
    try:
        if not read_defaults(path) and not path.exists():
            return Finding("Resources", "config", f"none; {path} would be read")
    except StemsplitError as error:
        return Finding("Resources", "config", str(error), "broken")
    return Finding("Resources", "config", f"{path} is in use", "ok")


def _memory() -> tuple[int, int] | None:
    """Bytes of memory, and of those that are free now; None where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return None
    page, total = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    free = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in names else 0
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        available = free * page
    return total * page, available


def _writable(name: str, folder: Path, variable: str) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("Resources", name, f"{folder} is not writable: set {variable} to another folder", "broken")
    return Finding("Resources", name, f"{folder}, {free / 1e9:.1f} GB free", "ok", free)


def models() -> Iterator[Finding]:
    """Report which models of the catalog are here."""
    for name in model_names():
        local = card(name).local
        text = {"shipped": "comes with stemsplit", "cached": "in the cache"}.get(local, local)
        yield Finding("Models", name, text, "ok" if local in ("shipped", "cached") else "missing")
    if DEFAULT_MODEL not in model_names():
        yield Finding("Models", DEFAULT_MODEL, "the default model is not here: install stemsplit again", "broken")


def speed(model: str = DEFAULT_MODEL, device: str = "auto") -> Iterator[Finding]:
    """Report how fast a model separates here, measured on noise, and how busy the machine was before that.

    It takes some seconds, and says how many. The model is not downloaded for it.
    """
    section = "Speed"
    busy, began = load(), time.perf_counter()
    try:
        chosen = choose_device(device)
        network = load_model(model, "separate", offline=True).network
        readings = sorted(real_time_factors(network, chosen))
    except StemsplitError as error:
        yield Finding(section, model, f"not measured: {error}", "missing")
        return
    times = statistics.median(readings)
    song = f"about {SONG_SECONDS / times:.0f} s for a song of {SONG_SECONDS / 60:.0f} minutes"
    took = f"{time.perf_counter() - began:.0f} s"
    spread = f" ({readings[0]:.3g} to {readings[-1]:.3g} in {len(readings)} readings, {took})"
    yield Finding(section, model, f"{times:.3g}× real time{spread} on {chosen}: {song}", "ok", times)
    if busy is not None:
        yield busy


def seconds_per_second(name: str, device: str = "auto") -> float:
    """Return roughly how many seconds a separator of the catalog computes for a second of stereo here.

    It is measured on a second of noise, with random weights: its own need not be here.
    Raises: UnknownModelError, ModelError, DeviceError and their kinds.
    """
    keep_freed_memory()
    chosen, config = choose_device(device), read_config(card(name).path / CONFIG_NAME)
    row = ARCHITECTURES[config["architecture"]]
    network = row.for_inference(row.network(row.config.from_dict(config["network"])).eval().requires_grad_(False))
    precision, rate = backends.precision_for(network, "auto", chosen), network.config.sample_rate
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, rate)).astype(np.float32)

    def lasted() -> float:
        started = time.perf_counter()
        separate_array(network, noise, device=chosen, precision=precision, on_warning=lambda text: None)
        return time.perf_counter() - started

    first = lasted()
    seconds = first if first > 1 and chosen.type == "cpu" else lasted()  # what is computed once is in the first
    return seconds / (1 - float(network.config.overlap))


def load() -> Finding | None:
    """Report how many programs wanted a processor in the last minute; None where the system does not say."""
    try:
        wanting = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None
    cores = os.cpu_count() or 1
    text = f"{wanting:.1f} programs wanted the {cores} processors in the last minute"
    if wanting < BUSY * cores:
        return Finding("Speed", "load", text, "ok", round(wanting, 2))
    return Finding("Speed", "load", f"{text}: it is faster when they rest", "info", round(wanting, 2))


def real_time_factors(network: SeparatorNetwork, device: torch.device) -> list[float]:
    """Return readings of the seconds of stereo audio that are separated in one second, after a warm-up.

    They are taken one after the other, with the network's own chunks, so that their spread tells how steady they are.
    """
    keep_freed_memory()
    config = network.config
    chunking = chunking_for(config)
    precision = backends.precision_for(network, "auto", device)
    side_by_side = chunks_side_by_side(device, shareable_parameters(network))

    def lasted(samples: int) -> float:
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, samples)).astype(np.float32)
        started = time.perf_counter()
        for _ in separate_blocks(
            network,
            [noise],
            channels=2,
            chunking=chunking,
            device=device,
            precision=precision,
            side_by_side=side_by_side,
        ):
            pass
        return time.perf_counter() - started

    step = chunking.step_samples
    one = lasted(chunking.chunk_samples)  # a single call of the network
    if one > MEASURE_SECONDS:
        return [step / config.sample_rate / one]
    samples = step * max(2, min(64, int(MEASURE_SECONDS / READINGS / max(one, 1e-3))))
    readings: list[float] = []
    began = time.perf_counter()
    while len(readings) < READINGS and (len(readings) < 2 or time.perf_counter() - began < MEASURE_SECONDS):
        readings.append(samples / config.sample_rate / lasted(samples))
    return readings
