"""The table of architectures: what config.json calls a network → its config, its class and what it is for.

A new architecture is a file in this folder and a row here; one with public checkpoints has a file of layouts, too. What
a row names is imported when it is asked for, so that a song is separated without loading every network there is.
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
    """One row. Places are "module:name", as `pkgutil.resolve_name` reads them."""

    name: str
    task: Task
    config_place: str
    network_place: str
    layouts: tuple[str, ...] = ()
    """Modules of `weights.layouts`, one per layout of public checkpoints of this architecture."""
    inference_place: str | None = None
    """A function that returns a network in its form for inference, where it has one of its own."""

    @property
    def config(self) -> type[Config]:
        """The config's class."""
        found: type[Config] = resolve_name(self.config_place)
        return found

    @property
    def network(self) -> type[nn.Module]:
        """The network's class, which is built of a config alone."""
        found: type[nn.Module] = resolve_name(self.network_place)
        return found

    def for_inference(self, network: Any) -> Any:
        """Return the network as it is computed: not to be trained or saved."""
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
            "melody-cnn",
            "melody",
            "stemsplit.networks.melody_cnn:MelodyCNNConfig",
            "stemsplit.networks.melody_cnn:MelodyCNN",
            inference_place="stemsplit.networks.melody_cnn:folded",
        ),
    )
}


def architecture_of(network: nn.Module) -> Architecture:
    """Return the row of a network. Raises: KeyError if no architecture has its class."""
    place = f"{type(network).__module__}:{type(network).__qualname__}"
    for row in ARCHITECTURES.values():
        if row.network_place == place:
            return row
    raise KeyError(f"no architecture is built as {place}: see networks/registry.py")
