"""Files → validated config → network on meta → strict load; and back.

Our format is a folder: config.json says what to build and model.safetensors holds the numbers. Public checkpoints are
pickles: they are opened with `weights_only=True`, so that nothing in them is run, checked key by key, and converted
once into our format.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from stemsplit.errors import CheckpointError
from stemsplit.machine.disk import locked, sha256_of, write_whole, written_aside
from stemsplit.networks.contract import Config
from stemsplit.networks.registry import ARCHITECTURES, Architecture, architecture_of
from stemsplit.weights.cache import make_folder
from stemsplit.weights.card import CONFIG_NAME, WEIGHTS_NAME, read_config
from stemsplit.weights.catalog import ModelFiles, converted_folder, locate
from stemsplit.weights.trainer_folder import read_settings

FORMAT = 1
WRAPPERS = ("state", "state_dict", "model_state_dict")
"""Keys under which trainers put the state dict."""


def load_network(model: ModelFiles | Path | str) -> nn.Module:
    """Return the network of a located model or of a reference: float32, in evaluation mode, on the CPU.

    A public checkpoint is converted into the cache first, once.
    Raises: CheckpointError, HashError, and what `catalog.locate` raises.
    """
    files = model if isinstance(model, ModelFiles) else locate(model)
    if files.needs_conversion:
        files = _converted(files)
    return _build_described(files, _read_safetensors(files.weights))


def save(network: nn.Module, folder: Path, *, dtype: torch.dtype = torch.float32, **about: Any) -> Path:
    """Write a network to `folder` in our format, and return it.

    `about` goes into config.json beside the network (name, description, license, scores, …); a dict `weights` adds to
    what is said of the file. Fields of a config.json that is there already are kept unless named here.
    Raises: OutputError.
    """
    row, target, config = architecture_of(network), folder / WEIGHTS_NAME, network.config
    assert isinstance(config, Config)
    old = read_config(folder / CONFIG_NAME) if (folder / CONFIG_NAME).is_file() else {}
    state = {key: _stored(value, dtype) for key, value in network.state_dict().items()}
    with written_aside(target) as partial, _as_os_error():
        safetensors.torch.save_file(state, partial)
        weights = {"file": WEIGHTS_NAME, "size": partial.stat().st_size, "sha256": sha256_of(partial)}
    weights |= {"dtype": str(dtype).removeprefix("torch."), **about.pop("weights", {})}
    described = {"format": FORMAT, "architecture": row.name, **old, **about}
    described |= {"parameters": sum(value.numel() for value in network.parameters())}
    described |= {"network": config.as_json(), "weights": weights}
    write_whole(folder / CONFIG_NAME, json.dumps(described, indent=2) + "\n")
    return folder


def convert(model: ModelFiles | Path | str, target: Path, *, raw: bool = False) -> Path:
    """Write a model, a public checkpoint or one in our format, to the folder `target` in our format; return it.

    Of a checkpoint that holds the running average of the weights too, that is taken, unless `raw` is set. Where it came
    from and the source's SHA-256 go into the new config.
    Raises: CheckpointError naming what does not fit; OutputError.
    """
    files = model if isinstance(model, ModelFiles) else locate(model)
    network = _read_public(files, raw=raw) if files.needs_conversion else load_network(files)
    about = dict(files.config or {})
    for written_anew in ("network", "parameters", "format", "architecture"):
        about.pop(written_anew, None)
    told = about.pop("weights", {})
    origin = files.source or told.get("url") or told.get("source") or files.weights.name
    return save(network, target, weights={"source": origin, "source_sha256": files.sha256}, **about)


def _converted(files: ModelFiles) -> ModelFiles:
    """Return the cache's copy of a public checkpoint, made now if it is not there; safe between processes."""
    folder = converted_folder(files)
    make_folder(folder.parent)
    with locked(folder.with_name(folder.name + ".lock")):
        if not (folder / CONFIG_NAME).is_file():  # written last
            convert(files, folder)
    return locate(folder)


def _read_public(files: ModelFiles, *, raw: bool = False) -> nn.Module:
    """Return the network of pickles: of a public layout, or of our own keys where a config describes it."""
    states = [_read_pickle(path) for path in (files.weights, *files.more)]
    state = states[0]
    described = bool((files.config or {}).get("network"))
    for row in [_architecture(files)] if described else ARCHITECTURES.values():
        for layout in map(import_module, row.layouts):
            if layout.matches(state.keys()):
                with _naming(files.weights):
                    return _build(row, *_converted_state(files, layout, states, raw=raw, described=described))
    if described:
        return _build_described(files, state)
    raise CheckpointError(
        f"{files.weights} is of no layout that is known here: it has keys like {', '.join(list(state)[:3])}"
    )


def _converted_state(
    files: ModelFiles, layout: ModuleType, states: list[dict[str, Tensor]], *, raw: bool, described: bool
) -> tuple[Config, dict[str, Tensor]]:
    """Return the config, and the weights under our keys, of state dicts of a layout: the mean of all."""
    if hasattr(layout, "chosen"):
        states = [layout.chosen(state, raw=raw) for state in states]
    if files.settings is not None and hasattr(layout, "configured"):
        config = layout.configured(read_settings(files.settings))
    else:
        config = _config_of(files) if described else layout.config(states[0])
    for state in states:
        check_fit(state, layout.shapes(config))
    return config, layout.convert(mean_of(states), config)


def mean_of(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of state dicts of the same keys and shapes."""
    if len(states) == 1:
        return states[0]
    return {
        key: torch.stack([state[key].double() for state in states]).mean(0).to(value.dtype)
        for key, value in states[0].items()
    }


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file that torch.save wrote; anything but tensors in it is refused, not run."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, or is damaged; it was not opened: code in it could do anything"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or no checkpoint: {str(error).partition(chr(10))[0] or 'it is empty'}"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{path} holds no state dict, plain or under {', '.join(WRAPPERS)}")
    if strange := [str(key) for key, value in loaded.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path} holds more than tensors: {', '.join(strange[:5])}")
    return dict(loaded)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error


def _build_described(files: ModelFiles, state: Mapping[str, Tensor]) -> nn.Module:
    """Return the network that a model's config.json describes, with tensors under our keys."""
    with _naming(files.weights):
        return _build(_architecture(files), _config_of(files), state)


def _build(row: Architecture, config: Config, state: Mapping[str, Tensor]) -> nn.Module:
    """Build on the meta device, where nothing is allocated or drawn, then put the tensors in."""
    with torch.device("meta"):
        network = row.network(config)
    check_fit(state, {key: tuple(value.shape) for key, value in network.state_dict().items()})
    network.load_state_dict(
        {key: _stored(value, torch.float32) for key, value in state.items()}, strict=True, assign=True
    )
    return network.eval().requires_grad_(False)


def check_fit(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the keys and shapes of a state dict with those that are needed.

    Raises: CheckpointError naming missing, unknown and misshapen keys.
    """
    found = {
        "missing": [key for key in shapes if key not in state],
        "unknown": [key for key in state if key not in shapes],
        "misshapen": [
            f"{key} {tuple(state[key].shape)} instead of {shape}"
            for key, shape in shapes.items()
            if key in state and tuple(state[key].shape) != shape
        ],
    }
    problems = [
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for kind, keys in found.items()
        if keys
    ]
    if problems:
        raise CheckpointError(f"the weights do not fit the network: {'; '.join(problems)}")


def _architecture(files: ModelFiles) -> Architecture:
    config = files.config or {}
    if config.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"{files.path}: its config has format {config['format']}, this version reads {FORMAT}: update stemsplit"
        )
    if (name := config.get("architecture")) not in ARCHITECTURES:
        raise CheckpointError(f"{files.path}: the architecture {name} is unknown to this version")
    return ARCHITECTURES[name]


def _config_of(files: ModelFiles) -> Config:
    try:
        return _architecture(files).config.from_dict((files.config or {}).get("network", {}))
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"its config.json: {error}") from error


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return numbers in `dtype`; counts stay counts."""
    return value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what does not fit."""
    try:
        yield
    except CheckpointError as error:
        text = str(error)
        raise CheckpointError(text if str(path.parent) in text else f"{path}: {text}") from error


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Let what safetensors cannot write be told like any other file."""
    try:
        yield
    except safetensors.SafetensorError as error:
        raise OSError(str(error)) from error
