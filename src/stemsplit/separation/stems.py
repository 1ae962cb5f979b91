"""Which files to write from the stems of a model: all, some, one against the rest, or mixes of several.

An output is a row of weights on the model's stems, found by name and never by position. With an exact sum,
what the stems leave of the mixture (the residual) belongs to the stem `other` before anything is mixed:
every output that holds `other` holds the residual too, so `no_vocals` becomes the mixture minus the vocals.
In a model without `other` it belongs to `instrumental`, else to the last stem.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stemsplit.errors import TargetCollisionError, UnknownStemError, UsageError

RESIDUAL_STEMS = ("other", "instrumental")


@dataclass(frozen=True)
class Output:
    """A file to write: Σ weights[k] · stem k, plus (mixture − Σ all stems) if it takes the residual."""

    name: str
    weights: tuple[float, ...]
    residual: bool = False


def select(
    model_stems: Sequence[str],
    *,
    stems: str | Sequence[str] | None = None,
    two_stems: str | None = None,
    without: str | Sequence[str] | None = None,
    mix: Sequence[str] = (),
    exact_sum: bool = False,
) -> tuple[Output, ...]:
    """Return the outputs for a request, in the order asked for; all stems of the model if nothing is asked.

    Stems are found in any case.

    Args:
        model_stems: in the order of the network's output.
        stems: only these, as names or as "vocals,drums"; names of mixes too.
        two_stems: this stem, and all others together as "no_<stem>"; "no_<stem>" asks for the same two.
        without: the sum of all stems but these, as names or as "vocals,drums"; its name is "no vocals, drums".
        mix: outputs on top of those, each as "NAME=drums+bass".
        exact_sum: let the residual be part of an output; those before the mixes then add up to the mixture.

    Raises:
        UnknownStemError: a stem that the model does not have.
        TargetCollisionError: two outputs of one name, on any file system.
        UsageError: choices that exclude each other, or a mix that cannot be read.
    """
    if sum(choice is not None for choice in (stems, two_stems, without)) > 1:
        raise UsageError("--stems, --two-stems and --without exclude each other: use one, and --mix NAME=a+b for more")
    mixes = {output.name: output for output in (_mix(text, model_stems, exact_sum) for text in mix)}
    if len(mixes) < len(mix):
        raise TargetCollisionError("two mixes have the same name: rename or drop one")
    if two_stems is not None:
        chosen = _two(two_stems, model_stems, exact_sum)
    elif without is not None:
        chosen = [_without(_names(without, ","), model_stems, exact_sum)]
    else:
        names = _names(stems, ",") if stems is not None else list(model_stems)
        chosen = [
            mixes.pop(name)
            if name in mixes and not find_stem(name, model_stems)
            else _stem(name, model_stems, exact_sum)
            for name in names
        ]
    outputs = (*chosen, *mixes.values())
    if not outputs:
        raise UsageError(f"no stem was chosen: this model separates {', '.join(model_stems)}")
    _refuse_collisions(outputs)
    if exact_sum and not _is_partition(chosen):
        raise UsageError("--exact-sum needs the whole song: write all stems, or --two-stems instead of --stems")
    return outputs


def needs_mixture(outputs: Iterable[Output]) -> bool:
    """Whether `mix_outputs` needs the mixture next to the stems."""
    return any(output.residual for output in outputs)


def mix_outputs(outputs: Sequence[Output], stems: np.ndarray, mixture: np.ndarray | None = None) -> np.ndarray:
    """Model stems (K, channels, n) and their mixture (channels, n) → outputs (len(outputs), channels, n)."""
    weights = np.array([output.weights for output in outputs], np.float32)
    plain = np.array_equal(weights, np.eye(len(stems)))
    mixed = stems.copy() if plain else np.tensordot(weights, stems, axes=1)
    takers = [index for index, output in enumerate(outputs) if output.residual]
    if takers:
        if mixture is None:
            raise ValueError("an output takes the residual: the mixture is needed too")
        mixed[takers] += mixture - stems.sum(axis=0)
    return mixed


def fold_residual(outputs: Sequence[Output], blocks: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Let the outputs add up to the mixture, by changing only the one that takes the residual.

    For blocks as they are going to be written: resampled, scaled, rounded to the grid of the format. The
    changed output is the mixture minus the others, so it lies on that grid as well and the written files
    add up.

    Args:
        outputs: as selected with `exact_sum`; mixes after the stems stay as they are.
        blocks: (len(outputs), channels, n).
        mixture: (channels, n) on the same scale.

    Returns:
        A new array like `blocks`.

    Raises:
        ValueError: outputs that do not hold every stem and the residual once.
    """
    parts = _partition(outputs)
    if not parts:
        raise ValueError("these outputs do not hold the mixture: select them with exact_sum")
    taker = next(index for index in parts if outputs[index].residual)
    others = [index for index in parts if index != taker]
    folded: np.ndarray = blocks.copy()
    folded[taker] = mixture.astype(np.float64) - blocks[others].sum(axis=0, dtype=np.float64)
    return folded


def _two(name: str, model_stems: Sequence[str], exact_sum: bool) -> list[Output]:
    """Return a stem and its complement; `name` may be that of either."""
    wanted = name if find_stem(name, model_stems) else name.removeprefix("no_")
    stem = _stem(wanted, model_stems, exact_sum)
    return [stem, replace(_without([stem.name], model_stems, exact_sum), name=f"no_{stem.name}")]


def _without(names: Sequence[str], model_stems: Sequence[str], exact_sum: bool) -> Output:
    """Return the sum of all other stems; of a model that has no others, that is the residual itself."""
    left_out = [_stem(name, model_stems, exact_sum).name for name in names]
    rest = [name for name in model_stems if name not in left_out]
    if not rest and len(model_stems) > 1:
        raise UsageError(f"without {', '.join(left_out)} nothing is left: this model separates no more")
    output = _output(f"no {', '.join(left_out)}", rest, model_stems, exact_sum)
    return output if rest else replace(output, residual=True)


def _stem(name: str, model_stems: Sequence[str], exact_sum: bool) -> Output:
    return _output(find_stem(name, model_stems) or name, [name], model_stems, exact_sum)


def find_stem(name: str, model_stems: Sequence[str]) -> str | None:
    """Return the model's stem of this name, in whatever case."""
    return next((stem for stem in model_stems if stem.casefold() == name.casefold()), None)


def _mix(text: str, model_stems: Sequence[str], exact_sum: bool) -> Output:
    name, _, parts = (part.strip() for part in text.partition("="))
    names = _names(parts, "+")
    if not name or not all(names) or set(name) & set("/\\\0") or name in {".", ".."}:
        raise UsageError(f"cannot read the mix {text!r}: write it as NAME={'+'.join(model_stems[:2])}")
    if len({part.casefold() for part in names}) < len(names):
        raise UsageError(f"the mix {text!r} names a stem twice: every stem has the weight 1")
    return _output(name, names, model_stems, exact_sum)


def _output(name: str, parts: Sequence[str], model_stems: Sequence[str], exact_sum: bool) -> Output:
    for part in parts:
        if not part:
            raise UsageError(f"the name of a stem is empty: this model separates {', '.join(model_stems)}")
        if find_stem(part, model_stems) is None:
            separates = ", ".join(model_stems)
            raise UnknownStemError(f"this model has no stem {part!r}: it separates {separates}", part)
    held = {find_stem(part, model_stems) for part in parts}
    weights = tuple(float(stem in held) for stem in model_stems)
    return Output(name, weights, exact_sum and _residual_stem(model_stems) in held)


def _residual_stem(model_stems: Sequence[str]) -> str | None:
    """Who takes what is left; not the only stem of a model, which would become the mixture."""
    if len(model_stems) == 1:
        return None
    return next((stem for stem in RESIDUAL_STEMS if stem in model_stems), model_stems[-1])


def _names(text: str | Sequence[str], separator: str) -> list[str]:
    return [name.strip() for name in (text.split(separator) if isinstance(text, str) else text)]


def _partition(outputs: Sequence[Output]) -> range:
    """Return the leading outputs that hold every stem, and the residual, exactly once; empty if there are none."""
    for count in range(1, len(outputs) + 1):
        if _is_partition(outputs[:count]):
            return range(count)
    return range(0)


def _is_partition(outputs: Sequence[Output]) -> bool:
    held = np.array([(*output.weights, output.residual) for output in outputs]).sum(axis=0)
    return bool((held == 1).all())


def _refuse_collisions(outputs: Iterable[Output]) -> None:
    seen: set[str] = set()
    for output in outputs:
        if output.name.casefold() in seen:
            raise TargetCollisionError(f"two outputs would be called {output.name!r}: rename or drop one")
        seen.add(output.name.casefold())
