"""TS-BSMamba2: a two-stage band-split Mamba-2 network (Bai et al. 2024, arXiv 2409.06245).

waveform → STFT → band tokens → 8 blocks → mask ─┬→ masked spectrum ────────────────┐
                  band tokens ────────── fusion ─┴→ 4 blocks → map (added) ──────────┴→ + → iSTFT → stems

One block: Mamba-2 over time, Mamba-2 over bands, exchange between audio channels, each residual. Tokens keep one
layout throughout, (B, C, K, T, D): batch, audio channel, band, frame, feature. A `joint` network has one token where
the paper's has one per audio channel: a band holds its bins in all channels, C is 1, and nothing is exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.contract import Config, Pair, Supervision
from stemsplit.networks.expander import expand
from stemsplit.networks.kernels.products import fast_products, tanh_
from stemsplit.networks.kernels.stft import inverse_stft, window_of
from stemsplit.networks.layers.bands import BandHeads, BandSplit
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.tac import TransformAverageConcatenate

QUIETEST = 1e-8
"""Spectra with a lower RMS are not brought up: they are silence but for rounding."""

VOCALS, OTHER = "vocals", "other"

BANDS_57 = (2,) * 20 + (4,) * 10 + (11,) * 8 + (23,) * 8 + (46,) * 8 + (92,) * 2 + (121,)
"""The paper's bands at 44.1 kHz and n_fft 2048: 50, 100, 250, 500 Hz, 1 and 2 kHz wide, and the rest."""


@dataclass(frozen=True)
class BSMambaConfig(Config):
    """What a checkpoint needs to be built and run. The defaults are the published full model.

    `chunk_samples` and `overlap` (a fraction of the chunk) are how its scores were measured. `normalize` divides the
    spectrum by its RMS and multiplies the output again (arXiv 2602.08671): gain-equivariant, and silent for silence.
    `joint` makes one token of a band's bins in all `channels`: half the work for stereo. Fewer channels are repeated.
    `expander_db` turns vocals down, into other, where they lie below it relative to the mixture: see `expander`.
    """

    stems: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    sample_rate: int = 44100
    channels: int = 2
    chunk_samples: int = 132300
    overlap: float = 0.5
    n_fft: int = 2048
    hop_length: int = 512
    bands: tuple[int, ...] = BANDS_57
    dim: int = 128
    blocks_mask: int = 8
    blocks_map: int = 4
    d_state: int = 128
    d_conv: int = 4
    expand: int = 4
    headdim: int = 64
    head_expand: int = 4
    normalize: bool = False
    joint: bool = False
    expander_db: float | None = None

    thread_safe: ClassVar[bool] = True
    aligned: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if sum(self.bands) != self.n_fft // 2 + 1:
            raise ValueError(f"the bands hold {sum(self.bands)} bins, n_fft {self.n_fft} has {self.n_fft // 2 + 1}")
        if not self.stems or len(set(self.stems)) != len(self.stems):
            raise ValueError(f"stem names must be distinct and at least one: {self.stems}")
        for name in ("sample_rate", "channels", "chunk_samples", "hop_length", "dim", "d_state", "d_conv", "headdim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap {self.overlap} is not in [0, 1)")
        if self.expander_db is not None and not {VOCALS, OTHER} <= {*self.stems}:
            raise ValueError(f"expander_db needs {VOCALS} and {OTHER}, not {', '.join(self.stems)}")
        if self.expand * self.dim % self.headdim:
            raise ValueError(f"headdim {self.headdim} does not divide expand · dim = {self.expand * self.dim}")
        if self.head_expand * self.dim % BandHeads.GROUPS:
            raise ValueError(f"head_expand · dim = {self.head_expand * self.dim} is no multiple of {BandHeads.GROUPS}")

    @property
    def shortest_samples(self) -> int:
        """Samples of the shortest chunk: one window of the transform."""
        return self.n_fft


CONFIGS = {
    "ts-bsmamba2": BSMambaConfig(),
    "l-ts-bsmamba2": BSMambaConfig(blocks_mask=4, blocks_map=2),
}
"""The published variants: 35,517,480 and 27,708,648 parameters."""


class Estimates(NamedTuple):
    """Both stages' waveforms, (B, S, C, samples) each. `masked` stems add up to the mixture, `two_stage` need not."""

    two_stage: Tensor
    masked: Tensor


class BSMamba(nn.Module):
    """The network: a mixture (B, C, samples) in, stems (B, S, C, samples) out, in the order of `config.stems`."""

    def __init__(self, config: BSMambaConfig) -> None:
        super().__init__()
        self.config = c = config
        group = c.channels if c.joint else 1
        self.split_mask = BandSplit(c.bands, c.dim, group)
        self.blocks_mask = nn.ModuleList(Block(c) for _ in range(c.blocks_mask))
        self.heads_mask = BandHeads(c.bands, c.dim, len(c.stems), c.head_expand, group)
        self.split_map = BandSplit(c.bands, c.dim, group)
        self.fusion = nn.Linear(2 * c.dim, c.dim)
        self.blocks_map = nn.ModuleList(Block(c) for _ in range(c.blocks_map))
        self.heads_map = BandHeads(c.bands, c.dim, len(c.stems), c.head_expand, group)

    def matrices(self) -> list[Tensor]:
        """The weights that map hidden features to hidden features, for an optimiser that treats matrices as such."""
        linear = [part for part in self.modules() if isinstance(part, nn.Linear)]
        heads = (self.heads_mask, self.heads_map)
        return [
            *(part.weight for part in linear),
            *(weight for part in heads for weight in (part.weight1, part.weight2)),
        ]

    def forward(self, mixture: Tensor) -> Tensor:
        """Return the two-stage estimate (B, S, C, samples) of a mixture (B, C, samples)."""
        spectrum, scale = self.analyse(mixture)
        with fast_products():
            masked, mapped = self.spectra(spectrum)
        return self.synthesise(self.finished(masked + mapped), scale, mixture.shape[-1])

    def finished(self, spectra: Tensor) -> Tensor:
        """Return the stems' spectra (B, S, C, F, T) as they are synthesised: after the expander, if there is one."""
        c = self.config
        if c.expander_db is None:
            return spectra
        stem, into = c.stems.index(VOCALS), c.stems.index(OTHER)
        return expand(spectra, stem, into, c.expander_db, c.sample_rate / c.hop_length)

    def estimates(self, mixture: Tensor) -> Estimates:
        """Return the two-stage estimate and stage 1 alone, as the network made them, for training and comparison."""
        spectrum, scale = self.analyse(mixture)
        masked, mapped = self.spectra(spectrum)
        length = mixture.shape[-1]
        return Estimates(self.synthesise(masked + mapped, scale, length), self.synthesise(masked, scale, length))

    def training_pairs(self, stems: Tensor, supervision: Supervision) -> list[Pair]:
        """Compare both stages' estimates with the true stems (B, S, C, samples), as waveforms or as spectra.

        Rows of spectra are the real numbers of all bins: their energies are those of waveforms but for a factor.
        """
        if supervision.spectra:
            estimates, reference, mixture = self._spectra_compared(stems, supervision)
        else:
            reference, mixture = stems, stems.sum(1)
            estimates = self.estimates(mixture)
        share = supervision.first_stage
        return [
            Pair(1 - share, estimates.two_stage, reference, mixture),
            Pair(share, estimates.masked, reference, mixture),
        ]

    def _spectra_compared(self, stems: Tensor, supervision: Supervision) -> tuple[Estimates, Tensor, Tensor]:
        """Return estimates and stems as rows (B, S, C, n), and the mixture's (B, C, n), all on the network's scale."""
        known = self.transform(stems)
        if supervision.gains is not None:
            bins = torch.arange(known.shape[-2], dtype=torch.float64)
            frequencies = bins * self.config.sample_rate / self.config.n_fft
            known = known * supervision.gains(frequencies)[:, :, None, :, None]
        spectrum, scale = self.scaled(known.sum(1))
        masked, mapped = self.spectra(spectrum)
        known = known if scale is None else known / scale.clamp_min(QUIETEST).unsqueeze(1)
        return Estimates(_as_rows(masked + mapped), _as_rows(masked)), _as_rows(known), _as_rows(spectrum)

    def spectra(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Return the masked stems and what stage 2 adds, (B, S, C, F, T) complex, of a mixture (B, C, F, T)."""
        if not self.config.joint:
            return self._spectra(spectrum)
        channels, wide = spectrum.shape[1], self.config.channels
        if channels not in (1, wide):
            raise ValueError(f"a mixture of {channels} channels; the network takes {wide}, or one")
        masked, mapped = self._spectra(spectrum.expand(-1, wide, -1, -1))
        return (masked, mapped) if channels == wide else (masked.mean(2, keepdim=True), mapped.mean(2, keepdim=True))

    def _spectra(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.split_mask.encode(spectrum)
        for block in self.blocks_mask:
            tokens = block(tokens)
        masks = sum_to_one(self.heads_mask.decode(tokens))
        tokens = tanh_(self.fusion(torch.cat([self.split_map.encode(spectrum), tokens], dim=-1)))
        for block in self.blocks_map:
            tokens = block(tokens)
        return masks * spectrum.unsqueeze(1), self.heads_map.decode(tokens)

    def analyse(self, mixture: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the STFT (B, C, F, T) of a mixture (B, C, samples), and what it was divided by, (B, 1, 1, 1)."""
        return self.scaled(self.transform(mixture))

    def scaled(self, spectrum: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the network reads of a mixture's STFT (B, C, F, T), and what it was divided by, (B, 1, 1, 1)."""
        if not self.config.normalize:
            return spectrum, None
        # Over all bins, not samples: what stage 2 adds is an absolute value, and should be of order 1.
        scale = torch.view_as_real(spectrum).square().mean(dim=(1, 2, 3, 4)).sqrt().view(-1, 1, 1, 1)
        return spectrum / scale.clamp_min(QUIETEST), scale

    def transform(self, waves: Tensor) -> Tensor:
        """Return the STFT (…, F, T) of waveforms (…, samples)."""
        # The reflecting border of the STFT needs more than half a window.
        short = self.config.n_fft // 2 + 1 - waves.shape[-1]
        padded = F.pad(waves, (0, max(short, 0))).flatten(0, -2)
        n_fft, hop_length = self.config.n_fft, self.config.hop_length
        spectrum = torch.stft(padded, n_fft, hop_length, window=window_of(n_fft, padded), return_complex=True)
        return spectrum.unflatten(0, waves.shape[:-1])

    def synthesise(self, spectra: Tensor, scale: Tensor | None, length: int) -> Tensor:
        """Return the waveforms (B, S, C, length) of spectra (B, S, C, F, T)."""
        padded = max(length, self.config.n_fft // 2 + 1)
        waves = inverse_stft(spectra, self.config.n_fft, self.config.hop_length, padded)[..., :length]
        return waves if scale is None else waves * scale


def _as_rows(spectra: Tensor) -> Tensor:
    return torch.view_as_real(spectra).flatten(-3)


def sum_to_one(masks: Tensor) -> Tensor:
    """Shift complex masks (B, S, …) so that they add up to 1 at every bin: the masked stems add up to the mixture."""
    excess = masks.sum(1, keepdim=True) - 1
    return masks - excess / masks.shape[1]


class Block(nn.Module):
    """The paper's BSNet block: over time, over bands, across audio channels."""

    def __init__(self, config: BSMambaConfig) -> None:
        super().__init__()
        self.time = bimamba_of(config)
        self.band = bimamba_of(config)
        self.channel = nn.Identity() if config.joint else TransformAverageConcatenate(config.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, C, K, T, D) → the same shape."""
        tokens = self.time(tokens)
        tokens = self.band(tokens.transpose(2, 3)).transpose(2, 3)
        return self.channel(tokens)


def bimamba_of(config: BSMambaConfig) -> ResidualBiMamba:
    """Return a bidirectional block of a config's widths."""
    c = config
    return ResidualBiMamba(c.dim, d_state=c.d_state, d_conv=c.d_conv, expand=c.expand, headdim=c.headdim)
