"""The table of architectures: the name in config.json → the config's class, the network's class, and its task.

A new architecture needs a file in this folder and a row here. If it has public checkpoints, it also needs a file in
`weights.layouts`. Modules are named as text and imported when they are needed, so that a run does not load networks
that it does not use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Literal

from torch import nn

from stemsplit.networks.contract import Config

Task = Literal["separate", "melody"]


@dataclass(frozen=True)
class Architecture:
    """One row. A place is a "module:name" for `pkgutil.resolve_name`."""

    name: str
    task: Task
    config_place: str
    network_place: str
    layouts: tuple[str, ...] = ()
    """The modules of `weights.layouts` that read public checkpoints of this architecture."""
    inference_place: str | None = None
    """A function that makes a network faster for inference, if there is one."""

    @property
    def config(self) -> type[Config]:
        """The class of the config."""
        found: type[Config] = resolve_name(self.config_place)
        return found

    @property
    def network(self) -> type[nn.Module]:
        """The class of the network. Its only argument is the config."""
        found: type[nn.Module] = resolve_name(self.network_place)
        return found

    def for_inference(self, network: Any) -> Any:
        """Return the network in the form in which it is computed. That form cannot be trained or saved."""
        return resolve_name(self.inference_place)(network) if self.inference_place else network


ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture(
            "ts-bsmamba2",
            "separate",
            "stemsplit.networks.bsmamba:BSMambaConfig",
            "stemsplit.networks.bsmamba:BSMamba",
            layouts=("stemsplit.weights.layouts.ts_bsmamba2",),
        ),
        Architecture(
            "s4m",
            "separate",
            "stemsplit.networks.s4m:S4MConfig",
            "stemsplit.networks.s4m:S4M",
            layouts=("stemsplit.weights.layouts.s4m",),
        ),
        Architecture(
            "melody-cnn",
            "melody",
            "stemsplit.networks.melody_cnn:MelodyCNNConfig",
            "stemsplit.networks.melody_cnn:MelodyCNN",
            inference_place="stemsplit.networks.melody_cnn:folded",
        ),
        Architecture(
            "sfc",
            "separate",
            "stemsplit.networks.sfc:SFCConfig",
            "stemsplit.networks.sfc:SFC",
            layouts=("stemsplit.weights.layouts.sfc",),
        ),
        Architecture(
            "bsmamba2",
            "separate",
            "stemsplit.networks.bsmamba2:BSMamba2Config",
            "stemsplit.networks.bsmamba2:BSMamba2",
            layouts=("stemsplit.weights.layouts.bsmamba2",),
        ),
        Architecture(
            "htdemucs",
            "separate",
            "stemsplit.networks.htdemucs:HTDemucsConfig",
            "stemsplit.networks.htdemucs:HTDemucs",
            layouts=("stemsplit.weights.layouts.htdemucs",),
        ),
        Architecture(
            "roformer",
            "separate",
            "stemsplit.networks.roformer:RoFormerConfig",
            "stemsplit.networks.roformer:RoFormer",
            layouts=("stemsplit.weights.layouts.roformer",),
        ),
    )
}


def architecture_of(network: nn.Module) -> Architecture:
    """Return the row of a network. Raises: KeyError if there is none for its class."""
    place = f"{type(network).__module__}:{type(network).__qualname__}"
    for row in ARCHITECTURES.values():
        if row.network_place == place:
            return row
    raise KeyError(f"no architecture is built as {place}: see networks/registry.py")
