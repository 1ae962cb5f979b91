"""Files → validated config → network on meta → strict load; and back.

Our format is a folder: config.json says what to build and model.safetensors holds the numbers. Public checkpoints are
pickles: they are opened with `weights_only=True`, so that nothing in them is run, checked key by key, and converted
once into our format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from stemsplit.errors import CheckpointError
from stemsplit.machine.disk import locked, sha256_of, write_whole, written_aside
from stemsplit.networks.contract import Config
from stemsplit.networks.registry import ARCHITECTURES, Architecture, architecture_of
from stemsplit.networks.rules import shown
from stemsplit.weights.cache import make_folder
from stemsplit.weights.card import CONFIG_NAME, WEIGHTS_NAME, read_config
from stemsplit.weights.catalog import ModelFiles, converted_folder, locate
from stemsplit.weights.tensors import Package, Spec, check_fit, open_safetensors, read_package
from stemsplit.weights.trainer_folder import read_settings

FORMAT = 1
_MISFITS = (TypeError, ValueError, ArithmeticError, LookupError)
"""What settings or shapes that no network has can raise, beside what the rules say."""


def load_network(model: ModelFiles | Path | str) -> nn.Module:
    """Return the network of a located model or of a reference: float32, in evaluation mode, on the CPU.

    A public checkpoint is converted into the cache first, once.
    Raises: CheckpointError, HashError, and what `catalog.locate` raises.
    """
    files = model if isinstance(model, ModelFiles) else locate(model)
    if files.needs_conversion:
        files = _converted(files)
    with _naming(files.weights):
        row, config = _described(files)
        with open_safetensors(files.weights) as file:
            return _built(row, config, file.specs, file.read)


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
    """Return the network of public files: of a public layout, or of our own keys where a config describes it."""
    packages = [read_package(path) for path in (files.weights, *files.more)]
    state = packages[0].state
    described = bool(_network(files))
    with _naming(files.weights):
        for row in [_architecture(files)] if described else ARCHITECTURES.values():
            for layout in map(import_module, row.layouts):
                if layout.matches(state.keys()):
                    return _converted_state(files, row, layout, packages, raw=raw)
        if described:
            return _built(*_described(files), _specs(state), lambda: state)
    keys = ", ".join(shown(key).strip("'") for key in [*state][:3])
    raise CheckpointError(f"{files.weights} is of no layout that is known here: it has keys like {keys}")


def _converted_state(
    files: ModelFiles, row: Architecture, layout: Any, packages: list[Package], *, raw: bool
) -> nn.Module:
    """Return the network of public state dicts of a layout: of the mean of all, unless the layout joins them."""
    states = [package.state for package in packages]
    if hasattr(layout, "joined"):
        states = [layout.joined(states)]
    if hasattr(layout, "chosen"):
        states = [layout.chosen(state, raw=raw) for state in states]
    config = _public_config(files, layout, states[0], [package.made for package in packages])
    _check_count(config, len(states[0]))
    needed = layout.shapes(config)
    for state in states:
        found = _specs(state)
        whole = {key for key, spec in found.items() if spec.kind == "whole"}  # whole numbers are converted, too
        check_fit(found, {key: Spec(shape, "whole" if key in whole else "float") for key, shape in needed.items()})
    ours = layout.convert(mean_of(states), config)
    return _built(row, config, _specs(ours), lambda: ours)


def _public_config(
    files: ModelFiles, layout: Any, state: Mapping[str, Tensor], made: list[Mapping[str, Any]]
) -> Config:
    """Return the config that the files, the trainer's settings or our config.json tell, or else the shapes."""
    try:
        if hasattr(layout, "described") and all(made):
            bag = read_settings(files.settings) if files.settings else {"weights": _network(files).get("bag")}
            found: Config = layout.described(made, bag)
        elif files.settings is not None and hasattr(layout, "configured"):
            found = layout.configured(read_settings(files.settings))
        elif _network(files):
            found = _config_of(files)
        else:
            found = layout.config(state)
    except _MISFITS as error:
        raise CheckpointError(f"the weights do not fit the network: {error}") from error
    return found


def mean_of(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of state dicts of the same keys and shapes."""
    if len(states) == 1:
        return states[0]
    return {
        key: torch.stack([state[key].double() for state in states]).mean(0).to(value.dtype)
        for key, value in states[0].items()
    }


def _specs(state: Mapping[str, Tensor]) -> dict[str, Spec]:
    return {key: Spec.of(value) for key, value in state.items()}


def _check_count(config: Config, found: int) -> None:
    """Refuse a config of many more layers than the weights have tensors for: to build them takes time.

    Raises: CheckpointError.
    """
    if config.least_tensors() > 2 * found:
        least = config.least_tensors()
        raise CheckpointError(f"the weights do not fit the network: they are {found} tensors, it has {least} or more")


def _built(
    row: Architecture, config: Config, specs: Mapping[str, Spec], read: Callable[[], Mapping[str, Tensor]]
) -> nn.Module:
    """Build a network on the meta device, where nothing is allocated or drawn, then put the tensors in that fit.

    Raises: CheckpointError.
    """
    _check_count(config, len(specs))
    try:
        with torch.device("meta"):
            network = row.network(config)
    except (*_MISFITS, RuntimeError) as error:
        raise CheckpointError(f"its config.json describes no network: {str(error).partition(chr(10))[0]}") from error
    check_fit(specs, _specs(network.state_dict()))
    return _filled(network, read())


def _filled(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Put tensors that fit into a network. Raises: CheckpointError if they hold NaN or infinity."""
    stored = {key: _stored(value, torch.float32) for key, value in state.items()}
    for key, value in stored.items():
        # the sum is cheap; it can be infinite where no value is
        if value.is_floating_point() and not (torch.isfinite(value.sum()) or torch.isfinite(value).all()):
            raise CheckpointError(f"the weights hold NaN or infinity, in {key}: train or fetch them again")
    network.load_state_dict(stored, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _architecture(files: ModelFiles) -> Architecture:
    config = files.config or {}
    if config.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"{files.path}: its config has format {config['format']}, this version reads {FORMAT}: update stemsplit"
        )
    if (name := config.get("architecture")) not in ARCHITECTURES:
        raise CheckpointError(f"{files.path}: the architecture {name} is unknown to this version")
    return ARCHITECTURES[name]


def _described(files: ModelFiles) -> tuple[Architecture, Config]:
    return _architecture(files), _config_of(files)


def _network(files: ModelFiles) -> Mapping[str, Any]:
    """Return what config.json says of the network."""
    found: Mapping[str, Any] = (files.config or {}).get("network", {})
    return found


def _config_of(files: ModelFiles) -> Config:
    try:
        return _architecture(files).config.from_dict(_network(files))
    except _MISFITS as error:
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
