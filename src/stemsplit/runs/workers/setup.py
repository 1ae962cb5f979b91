"""What a worker is told once: the model and the options, from which it makes the same work as the command would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from stemsplit.errors import HashError
from stemsplit.melody.reader import Reader, make_reader
from stemsplit.networks.registry import Task
from stemsplit.options import MelodyOptions, SeparateOptions
from stemsplit.runs.jobs import Work
from stemsplit.runs.separate import work_for
from stemsplit.runs.transcribe import Transcribing, separator_options
from stemsplit.separation.separator import Separator, make_separator, shareable_parameters
from stemsplit.weights.model import Model, load_model

PROCESS_BYTES = 300 << 20
"""A process with PyTorch in it that has done nothing yet."""
COPIES_OF_WEIGHTS = 2
"""As they are read, and as a backend packs them."""
COPIES_OF_CHUNK = 250
"""What a network keeps of a chunk while it computes, as a multiple of the chunk: HTDemucs takes so much."""


@dataclass(frozen=True)
class Asked:
    """A model as it was asked for, and what it was found to be: workers refuse another one."""

    reference: str
    shown: str
    sha256: str

    @classmethod
    def of(cls, reference: str, model: Model[Any]) -> Asked:
        """Return what workers are told of a model."""
        return cls(reference, model.reference, model.sha256)

    def load(self, task: Task) -> Model[Any]:
        """Load it. Raises: HashError if it is another model by now; ModelError and its kinds."""
        model = load_model(self.reference, task)
        if model.sha256 != self.sha256:
            raise HashError(f"{self.reference} is another model here than where the run was started: give the same one")
        return replace(model, reference=self.shown)

    def absolute(self) -> Asked:
        """Return it for a process with another current folder."""
        return replace(self, reference=str(Path(self.reference).absolute())) if Path(self.reference).exists() else self


class Setup(Protocol):
    """What a worker is told once; it travels as a pickle."""

    @property
    def options(self) -> SeparateOptions | MelodyOptions:
        """What was asked for."""

    def work(self, on_detail: Callable[[str], object]) -> Work:
        """Load what is needed. Raises: ModelError and its kinds."""

    def absolute(self) -> Setup:
        """Return it for a worker whose current folder is another one."""


@dataclass(frozen=True)
class SeparateSetup:
    """For `separate`."""

    model: Asked
    options: SeparateOptions

    def work(self, on_detail: Callable[[str], object]) -> Work:
        """Load the separator."""
        return work_for(make_separator(self.model.load("separate"), self.options), self.options, on_detail)

    def absolute(self) -> SeparateSetup:
        """See `Setup`."""
        options = replace(self.options, output=self.options.output.absolute())
        return SeparateSetup(self.model.absolute(), options)


@dataclass(frozen=True)
class MelodySetup:
    """For `melody`; without a separator where the inputs are voices."""

    model: Asked
    separator: Asked | None
    options: MelodyOptions

    def work(self, on_detail: Callable[[str], object]) -> Work:
        """Load the reader, and its separator."""
        model, separator = self.model.load("melody"), None
        if self.separator is not None:
            separator = make_separator(self.separator.load("separate"), separator_options(self.options))
        return Transcribing(make_reader(model, separator, self.options), self.options, on_detail)

    def absolute(self) -> MelodySetup:
        """See `Setup`."""
        separated = self.options.separated
        options = replace(
            self.options,
            output=self.options.output.absolute(),
            separated=None if separated is None else separated.absolute(),
        )
        return MelodySetup(
            self.model.absolute(), None if self.separator is None else self.separator.absolute(), options
        )


def worker_bytes(made: Separator | Reader) -> int:
    """Return about how much memory a worker takes, on the generous side."""
    separator = made.separator if isinstance(made, Reader) else made
    if separator is None:
        return PROCESS_BYTES
    network, chunking = separator.model.network, separator.chunking
    weights = 4 * (shareable_parameters(network) or _parameters(network))
    chunk = 4 * network.config.channels * chunking.chunk_samples * chunking.batch_size * separator.side_by_side
    return PROCESS_BYTES + COPIES_OF_WEIGHTS * weights + COPIES_OF_CHUNK * chunk


def _parameters(network: Any) -> int:
    return sum(value.numel() for value in network.parameters()) if hasattr(network, "parameters") else 0
