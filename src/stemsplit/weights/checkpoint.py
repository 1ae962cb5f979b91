"""Files → validated config → network on meta → strict load; and back.

Our format is a folder: config.json says what to build and model.safetensors holds the numbers. Public checkpoints are
pickles: they are opened with `weights_only=True`, so that nothing in them is run, checked key by key, and converted
once into our format.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stemsplit.errors import CheckpointError, HashError, UsageError
from stemsplit.machine.disk import locked, sha256_of
from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig
from stemsplit.networks.melody_cnn import MelodyCNN, MelodyCNNConfig, folded
from stemsplit.weights.cache import make_folder, unwritable
from stemsplit.weights.card import CONFIG_NAME, WEIGHTS_NAME, read_config
from stemsplit.weights.catalog import CHECKPOINT_SUFFIXES, ModelFolder, converted_folder, locate, verify
from stemsplit.weights.layouts.ts_bsmamba2 import WRAPPERS, check_fit, from_published, is_published, published_config
from stemsplit.weights.tensors import safetensors_bytes

Network = BSMamba | MelodyCNN
Config = BSMambaConfig | MelodyCNNConfig

FORMAT = 1
ARCHITECTURES: dict[str, tuple[type[Any], type[Any]]] = {
    "ts-bsmamba2": (BSMambaConfig, BSMamba),
    "melody-cnn": (MelodyCNNConfig, MelodyCNN),
}
"""What config.json calls a network → its config and its class."""


def load_network(model: ModelFolder | Path | str) -> Network:
    """Return the network of a located model, a folder, a file, or a reference; float32, evaluation mode, on the CPU.

    A public checkpoint is converted into the cache first, once.
    Raises: CheckpointError, HashError, and what `catalog.locate` raises.
    """
    files = model if isinstance(model, ModelFolder) else locate(str(model))
    if files.needs_conversion:
        return load_folder(_converted(files))
    if files.sha256:
        verify(files)
    if files.path.is_dir():
        return load_folder(files.path)
    return _build(_config_of(files.path.parent), _read_safetensors(files.path), files.path)


def load_separator(model: ModelFolder | Path | str) -> BSMamba:
    """`load_network`, for one that separates. Raises: UsageError for one that does something else."""
    network = load_network(model)
    if isinstance(network, BSMamba):
        return network
    raise UsageError(f"{_reference(model)} reads melodies: separate needs a separator, such as ts-bsmamba2-mini")


def load_melody_network(model: ModelFolder | Path | str) -> MelodyCNN:
    """`load_network`, for one that reads melodies, in its form for inference (`folded`).

    Raises: UsageError for a network that does something else.
    """
    network = load_network(model)
    if isinstance(network, MelodyCNN):
        return folded(network)
    raise UsageError(f"{_reference(model)} is a separator: melody needs a melody network, such as melody-cnn")


def load_folder(folder: Path) -> Network:
    """Return the network in a folder of our format.

    Raises: CheckpointError, HashError (the weights are not those that config.json was written for).
    """
    weights = _weights_of(folder)
    path = folder / weights.get("file", WEIGHTS_NAME)
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: {folder} holds a config and no weights")
    if (pin := weights.get("sha256")) and sha256_of(path) != pin:
        raise HashError(f"{path} is not the file that {folder / CONFIG_NAME} was written for: its SHA-256 differs")
    return _build(_config_of(folder), _read_safetensors(path), path)


def save(network: Network, folder: Path, *, dtype: torch.dtype = torch.float32, **about: Any) -> Path:
    """Write a network to `folder` in our format, and return it.

    `about` goes into config.json beside the network (name, description, license, scores, …); a dict `weights` adds to
    what is said of the file. Fields of a config.json that is there already are kept unless named here.
    """
    make_folder(folder)
    state = {key: _stored(value, dtype) for key, value in network.state_dict().items()}
    target, partial = folder / WEIGHTS_NAME, folder / f".{WEIGHTS_NAME}.partial"
    try:
        partial.write_bytes(safetensors_bytes(state))
        old = read_config(folder / CONFIG_NAME) if (folder / CONFIG_NAME).is_file() else {}
        weights = {"file": WEIGHTS_NAME, "size": partial.stat().st_size, "sha256": sha256_of(partial)}
        weights |= {"dtype": str(dtype).removeprefix("torch."), **about.pop("weights", {})}
        described = {"format": FORMAT, "architecture": _architecture(network), **old, **about}
        described |= {"parameters": sum(value.numel() for value in network.parameters())}
        described |= {"network": network.config.as_json(), "weights": weights}
        partial.replace(target)
        _write_whole(folder / CONFIG_NAME, json.dumps(described, indent=2) + "\n")
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise unwritable(target, error) from error
    return folder


def convert(source: Path, target: Path, *, config: Path | None = None, origin: str | None = None) -> Path:
    """Write the model in `source`, a public checkpoint or a folder of ours, to `target` in our format; return it.

    `config` is the config.json that describes a checkpoint; without one, its tensors' shapes tell. The source's
    SHA-256 and `origin`, where it came from, go into the new config.
    Raises: CheckpointError naming what does not fit.
    """
    about: dict[str, Any] = dict(read_config(config)) if config else {}
    if source.is_dir():
        network, about = load_folder(source), read_config(source / CONFIG_NAME) | about
        digest = sha256_of(source / _weights_of(source).get("file", WEIGHTS_NAME))
    elif source.suffix.lower() in CHECKPOINT_SUFFIXES:
        network, digest = _read_public(source, about.get("network")), sha256_of(source)
    else:
        raise CheckpointError(f"{source} is neither a model folder nor one of {', '.join(CHECKPOINT_SUFFIXES)}")
    for written_anew in ("network", "parameters", "format", "architecture"):
        about.pop(written_anew, None)
    told = about.pop("weights", {})
    weights = {"source": origin or told.get("url") or told.get("source") or source.name, "source_sha256": digest}
    return save(network, target, weights=weights, **about)


def _converted(files: ModelFolder) -> Path:
    """The cache's folder for a public checkpoint, made now if it is not there; safe between processes."""
    folder = converted_folder(files)
    make_folder(folder.parent)
    with locked(folder.with_name(folder.name + ".lock")):
        if not (folder / CONFIG_NAME).is_file():  # written last
            convert(files.path, folder, config=files.config, origin=files.source)
    return folder


def _read_public(path: Path, network: dict[str, Any] | None) -> Network:
    state = _read_pickle(path)
    if not is_published(state):
        if not network:
            raise CheckpointError(
                f"{path} holds no TS-BSMamba2: keys like {', '.join(list(state)[:3])} are unknown here"
            )
        return _build(BSMambaConfig.from_dict(network), state, path)
    try:
        config = _validated(BSMambaConfig, network, path) if network else published_config(state)
        return _build(config, from_published(state, config), path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that torch.save wrote; anything but tensors in it is refused, not run."""
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
    import safetensors.torch  # here: to train, PyTorch and numpy are enough

    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error


def _build(config: Config, state: dict[str, Tensor], path: Path) -> Network:
    """Build on the meta device, where nothing is allocated or drawn, then put the tensors in."""
    kinds = dict(ARCHITECTURES.values())
    with torch.device("meta"):
        network: Network = kinds[type(config)](config)
    try:
        check_fit(state, {key: tuple(value.shape) for key, value in network.state_dict().items()})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    network.load_state_dict(
        {key: _stored(value, torch.float32) for key, value in state.items()}, strict=True, assign=True
    )
    return network.eval().requires_grad_(False)


def _reference(model: ModelFolder | Path | str) -> str:
    return model.reference if isinstance(model, ModelFolder) else str(model)


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in `dtype`; counts stay counts."""
    return value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()


def _architecture(network: Network) -> str:
    return next(name for name, (_, kind) in ARCHITECTURES.items() if isinstance(network, kind))


def _config_of(folder: Path) -> Config:
    config, path = read_config(folder / CONFIG_NAME), folder / CONFIG_NAME
    if config.get("format", FORMAT) != FORMAT:
        raise CheckpointError(f"{path} has format {config['format']}, this version reads {FORMAT}: update stemsplit")
    if (name := config.get("architecture")) not in ARCHITECTURES:
        raise CheckpointError(f"{path}: the architecture {name} is unknown to this version")
    return _validated(ARCHITECTURES[name][0], config.get("network", {}), path)


def _validated(kind: type[Any], network: dict[str, Any], path: Path) -> Any:
    try:
        return kind.from_dict(network)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _weights_of(folder: Path) -> dict[str, Any]:
    weights: dict[str, Any] = read_config(folder / CONFIG_NAME).get("weights", {})
    return weights


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
