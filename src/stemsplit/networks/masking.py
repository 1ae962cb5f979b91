"""Complex masks on a mixture's spectrum: what the separators that only mask have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from stemsplit.networks.contract import Pair, Supervision
from stemsplit.networks.kernels.stft import window_of


def misfits_of_stems(stems: tuple[str, ...], rest: str | None) -> Iterator[str]:
    """Yield what is wrong with the rest of a config's stems; see `Config.misfits`."""
    if rest is not None and (rest != stems[-1] or len(stems) < 2):
        yield f"the rest {rest!r} must be the last of several stems, not of {', '.join(stems)}"


def spectra_of(waves: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """Return the STFT (…, F, 1 + samples // hop) of waveforms (…, samples), which are mirrored at the ends.

    They must be longer than n_fft // 2.
    """
    window = window_of(n_fft, waves, rounded=False)
    spectrum = torch.stft(waves.flatten(0, -2), n_fft, hop_length, window=window, return_complex=True)
    return spectrum.unflatten(0, waves.shape[:-1])


def widened(mixture: Tensor, channels: int) -> Tensor:
    """Return a mixture (B, C, …) with as many channels as a network takes. One channel is repeated.

    Raises:
        ValueError: the mixture has another number of channels.
    """
    if mixture.shape[1] == channels:
        return mixture
    if mixture.shape[1] != 1:
        raise ValueError(f"a mixture of {mixture.shape[1]} channels; the network takes {channels}, or one")
    return mixture.expand(-1, channels, *mixture.shape[2:])


def narrowed(stems: Tensor, channels: int) -> Tensor:
    """Return stems (B, S, C, …) with as many channels as the mixture had."""
    return stems if stems.shape[2] == channels else stems.mean(2, keepdim=True)


def with_rest(estimates: Tensor, mixture: Tensor, rest: str | None) -> Tensor:
    """Return estimates (B, S, …) of a mixture (B, …), followed by what they leave of it if a stem is the `rest`."""
    if rest is None:
        return estimates
    return torch.cat([estimates, (mixture - estimates.sum(1)).unsqueeze(1)], dim=1)


def at_least(mixture: Tensor, samples: int) -> Tensor:
    """Return a mixture (…, n) filled up with silence to so many samples."""
    missing = samples - mixture.shape[-1]
    return F.pad(mixture, (0, missing)) if missing > 0 else mixture


def compared_spectra(
    stems: Tensor,
    supervision: Supervision,
    frequencies: Tensor,
    transform: Callable[[Tensor], Tensor],
    masked: Callable[[Tensor], Tensor],
) -> Pair:
    """Compare the spectra of true stems (B, S, C, samples) with what a network makes of their sum.

    Args:
        stems: the true stems.
        supervision: see there; `gains` filter the true stems first.
        frequencies: (F,) in Hz.
        transform: waveforms (…, samples) → spectra (…, F, T).
        masked: the mixture's spectrum (B, C, F, T) → the stems' (B, S, C, F, T).
    """
    known = transform(stems)
    if supervision.gains is not None:
        known = known * supervision.gains(frequencies).to(known.device)[:, :, None, :, None]
    mixture = known.sum(1)
    estimate = supervision.folded(_as_rows(masked(mixture)))
    return Pair.of(1.0, estimate, _as_rows(known), _as_rows(mixture))


def _as_rows(spectra: Tensor) -> Tensor:
    return torch.view_as_real(spectra).flatten(-3)
