"""SFC against the authors' outputs, and against what the paper says of it."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seeded_sfc import is_constant, noisy_audio, seeded
from seeded_state import seeded_audio
from torch import Tensor

from stemsplit.networks.contract import Supervision
from stemsplit.networks.layers.codecs.attention import initial_bias
from stemsplit.networks.layers.codecs.frames import spans
from stemsplit.networks.layers.codecs.mamba import Interleaving
from stemsplit.networks.layers.codecs.musical import Band, musical_bands
from stemsplit.networks.sfc import CONFIGS, SFC, SFCConfig
from stemsplit.separation.stream import separate_array
from stemsplit.training.loop import run_recipe
from stemsplit.training.recipe import load_recipe
from stemsplit.weights.checkpoint import load_network
from stemsplit.weights.layouts import sfc as layout

DATA = Path(__file__).parents[1] / "data"
CODECS = {"bs": "split", "ca": "attention", "mamba": "mamba"}
GOLDEN = (
    "bs_small_2", "ca_small_2", "mamba_small_2", "ca_medium_1", "mamba_medium_1", "ca_small_dnr_1",
    "ca_small_adaptive_1", "mamba_small_learnable_1",
)  # fmt: skip
TINY = SFCConfig(
    n_fft=128, hop_length=32, sample_rate=8000, bands=8, inner=8, dim=8, heads=2, groups=2, codec_heads=2, blocks=1,
    hidden=6, kernel=4, dropout=0.0, chunk_samples=320,
)  # fmt: skip
KINDS = [("split", False), ("attention", False), ("attention", True), ("mamba", False), ("mamba", True)]


def tiny(codec: Any = "attention", adaptive: bool = False, **settings: Any) -> SFC:
    torch.manual_seed(0)
    return SFC(replace(TINY, codec=codec, adaptive=adaptive, **settings)).eval()


def relative(found: Tensor, expected: Any) -> float:
    expected = torch.as_tensor(expected).double()
    return float((found.double() - expected).norm() / expected.norm())


@cache
def stored(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with np.load(DATA / f"sfc_{name}.npz") as file:
        arrays = dict(file)
    return arrays, ast.literal_eval(str(arrays.pop("meta")))


@cache
def published(name: str) -> tuple[SFC, Tensor]:
    """The network under the seeded weights, and its mixture."""
    _, meta = stored(name)
    base = CONFIGS[f"sfc-{meta['kind']}-{meta['size']}"]
    if meta["stems"] == 3:
        base = CONFIGS["sfc-ca-small-dnr"]
    config = replace(base, blocks=meta["blocks"], adaptive=meta["query"] == "adaptive")
    constants = layout._shares(config) if meta["kind"] == "bs" else {}
    state = {
        key: constants[key].float() if key in constants else torch.ones(shape) if is_constant(key)
        else torch.from_numpy(seeded(key, shape, meta["seed"]))
        for key, shape in layout.shapes(config).items()
    }  # fmt: skip
    assert layout.config(state) == config
    network = SFC(config).eval()
    network.load_state_dict(layout.convert(state, config))
    audio = noisy_audio if meta["kind"] == "bs" else seeded_audio
    return network, torch.from_numpy(audio(meta["seconds"], meta["channels"], seed=meta["seed"]))[None]


@pytest.mark.parametrize("name", GOLDEN)
@torch.inference_mode()
def test_the_authors_outputs_are_met(name: str) -> None:
    network, mixture = published(name)
    arrays, meta = stored(name)
    seen: dict[str, Any] = {}
    for place, module in (("z", network.encoder), ("h", network.blocks[-1]), ("mask", network.decoder)):
        module.register_forward_hook(lambda *call, place=place: seen.update({place: call[2], f"{place} of": call[1]}))
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-4)):
        stems = network.to(dtype).separated(mixture.to(dtype))
        (rows,), (tokens, side) = seen["z of"], seen["z"]
        found = {
            "final": stems[0, ..., :: meta["every"]],
            "scale": network.analyse(mixture.to(dtype))[1].flatten()[0],
            "z": tokens[0, meta["frames"]].transpose(1, 2),
            "h": seen["h"][0, meta["frames"]].transpose(1, 2),
            "mask": seen["mask"][0, meta["mask_frame"], :: meta["every"]].t(),
        }
        if "side" in arrays:
            features = side
            if side is None:
                features = network.encoder.input_conv(torch.nn.functional.pad(rows, (0, 0, 0, 0, 1, 1)))
            found["side"] = features[0, meta["side_frame"], :: meta["every"]]
        for key, value in found.items():
            if key in arrays:
                assert relative(value.reshape(arrays[key].shape), arrays[key]) < tolerance, (key, dtype)


def test_bands_places_and_bias_are_the_authors() -> None:
    arrays, meta = stored("ca_small_2")
    bands = musical_bands(64, 44100, 2048)
    assert np.array_equal(np.array(bands), arrays["bands"])
    assert sum(band.width for band in bands) == 2142
    assert relative(initial_bias(bands)[meta["P_rows"]], arrays["P_init_rows"]) < 1e-6
    order = Interleaving(bands)
    assert order.places == stored("mamba_small_2")[0]["query_positions"].tolist()
    assert sorted(order.places + order.bins) == list(range(1025 + 64))


def test_the_bias_falls_with_the_distance_from_a_band() -> None:
    found = initial_bias([Band(8, 12), Band(12, 20)])[0, 5:16]
    torch.testing.assert_close(found, torch.tensor([-3, -2, -1, -2 / 3, -1 / 3, 0, -1 / 3, -1, -2, -3, -4]))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("sfc-bs-small", 34_652_848), ("sfc-bs-medium", 55_487_664), ("sfc-ca-small", 5_821_392),
        ("sfc-ca-medium", 16_013_328), ("sfc-mamba-small", 5_144_558), ("sfc-mamba-medium", 15_201_422),
    ],
)  # fmt: skip
def test_published_parameter_counts(name: str, parameters: int) -> None:
    with torch.device("meta"):
        network = SFC(CONFIGS[name])
    assert sum(value.numel() for value in network.parameters()) == parameters


@torch.inference_mode()
def test_whole_hops_spare_the_end_of_a_chunk_what_it_suffers_as_published() -> None:
    """Masks that differ a little from bin to bin: at the end the published transform divides by almost nothing."""
    network = tiny("split").double()
    mixture = torch.randn(1, 2, 32 * 20 + 31, dtype=torch.float64)
    loud = float(network.separated(mixture)[..., -8:].abs().max())
    calm = float(network(mixture)[..., -8:].abs().max())
    usual = float(network(mixture).abs().max())
    assert loud > 10 * usual
    assert calm <= usual
    whole = mixture[..., : 32 * 20]
    assert torch.equal(network(whole), network.separated(whole))


@pytest.mark.parametrize(("codec", "adaptive"), KINDS)
@torch.inference_mode()
def test_any_length_any_batch_and_one_channel(codec: str, adaptive: bool) -> None:
    network = tiny(codec, adaptive).double()
    for samples in (1, 31, 64, 65, 500):
        mixtures = torch.randn(2, 2, samples, dtype=torch.float64)
        found = network(mixtures)
        assert found.shape == (2, 4, 2, samples)
        torch.testing.assert_close(found[1:], network(mixtures[1:]))
    mono = torch.randn(1, 1, 300, dtype=torch.float64)
    torch.testing.assert_close(network(mono), network(mono.expand(1, 2, -1)).mean(2, keepdim=True))
    with pytest.raises(ValueError, match="3 channels"):
        network(torch.randn(1, 3, 300, dtype=torch.float64))


@torch.inference_mode()
def test_louder_in_is_louder_out_and_silence_stays() -> None:
    network, mixture = tiny().double(), torch.randn(1, 2, 900, dtype=torch.float64)
    torch.testing.assert_close(network(1e-3 * mixture), 1e-3 * network(mixture))
    assert not network(torch.zeros(1, 2, 900, dtype=torch.float64)).any()


@pytest.mark.parametrize(("codec", "adaptive"), KINDS)
def test_frames_at_once_change_nothing(codec: str, adaptive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network, mixture = tiny(codec, adaptive).double(), torch.randn(1, 2, 640, dtype=torch.float64)
    expected = network(mixture).detach()  # all together, for gradients
    for module in ("attention", "mamba"):
        monkeypatch.setattr(f"stemsplit.networks.layers.codecs.{module}.FRAMES_AT_ONCE", 7)
    monkeypatch.setattr("stemsplit.networks.layers.locoformer.ROWS_AT_ONCE", 50)
    with torch.inference_mode():
        assert len(list(spans(20, 7))) == 3
        torch.testing.assert_close(network(mixture), expected)


@pytest.mark.parametrize(("codec", "adaptive"), KINDS)
def test_every_parameter_learns_from_every_pair(codec: str, adaptive: bool) -> None:
    network, stems = tiny(codec, adaptive), torch.randn(2, 4, 2, 400)
    gains = lambda frequencies: torch.ones(2, 4, len(frequencies))  # noqa: E731
    for spectra in (False, True):
        network.zero_grad()
        (pair,) = network.training_pairs(stems, Supervision(spectra=spectra, gains=gains if spectra else None))
        assert pair.weight == 1
        pair.error.sum().backward()
        idle = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
        assert idle == []


def test_pairs_of_waveforms_and_of_spectra_agree() -> None:
    """A whole number of frames hold each sample's energy 1.5 times, windowed: the ratios are what a loss sees."""
    network, stems = tiny(), torch.randn(1, 4, 2, 6400)
    with torch.no_grad():
        waves, spectra = (network.training_pairs(stems, Supervision(spectra=value))[0] for value in (False, True))
    for pair in (waves, spectra):
        pair.mixture.unsqueeze_(1)
    torch.testing.assert_close(waves.error / waves.reference, spectra.error / spectra.reference, rtol=0.05, atol=0)
    torch.testing.assert_close(waves.reference / waves.mixture, spectra.reference / spectra.mixture, rtol=0.05, atol=0)


@torch.inference_mode()
def test_the_rest_is_what_the_vocals_leave() -> None:
    network = tiny(stems=("vocals", "other"), rest="other").double()
    assert network.config.estimated == 1
    mixture = torch.randn(1, 2, 500, dtype=torch.float64)
    stems = network(mixture)
    assert stems.shape == (1, 2, 2, 500)
    torch.testing.assert_close(stems.sum(1), mixture)


@torch.inference_mode()
def test_bfloat16_autocast_is_close() -> None:
    for codec, adaptive in KINDS:
        network, mixture = tiny(codec, adaptive), torch.randn(1, 2, 2000)
        expected = network(mixture)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = network(mixture)
        assert found.dtype == torch.float32
        assert relative(found, expected) < 0.05


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"codec": "wavelet"}, "attention or mamba or split"),
        ({"stems": ("a", "a")}, "distinct"),
        ({"rest": "drums"}, "rest 'drums' must be the last"),
        ({"overlap": 1.0}, "overlap"),
        ({"heads": 3}, "3 heads or groups do not divide dim = 8"),
        ({"codec_heads": 3}, "codec_heads 3"),
        ({"chunk_samples": 0}, "chunk_samples"),
        ({"n_fft": 48}, "n_fft 48"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_config_that_makes_no_network_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SFCConfig.from_dict({**vars(TINY), **settings})


class AsPublished:
    """A network as the authors' code calls it: it is given no whole hops."""

    def __init__(self, network: SFC, **settings: Any) -> None:
        self.network, self.config = network, replace(network.config, **settings)

    def __call__(self, mixture: Tensor) -> Tensor:
        return self.network.separated(mixture.double())


def test_the_authors_chunks_are_met() -> None:
    """Of four chunks the first is silent and left out, and the last is filled up with silence."""
    arrays, meta = stored("chunks")
    network, _ = published.__wrapped__("ca_small_dnr_1")  # one that no test has computed with
    audio = seeded_audio(meta["audio_seconds"], 1, seed=meta["audio_seed"])
    audio[:, : meta["silent_first"]] = 0
    overlap = 1 - meta["shift"] / meta["segment"]
    stems = separate_array(AsPublished(network.double(), chunk_samples=meta["segment"], overlap=overlap), audio)
    assert relative(torch.from_numpy(stems[..., :: meta["every"]]), arrays["final"]) < 1e-6


def test_it_is_trained_from_a_recipe(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(2):
        (tmp_path / "songs" / str(number)).mkdir(parents=True)
        for stem in TINY.stems:
            np.save(tmp_path / "songs" / str(number) / f"{stem}.npy", rng.integers(-900, 900, (9000, 2)).astype("i2"))
    recipe = tmp_path / "sfc.toml"
    recipe.write_text(
        f'name = "x"\narchitecture = "sfc"\nloss = "spectrum"\nsongs = "{tmp_path.as_posix()}/songs"\ndev_songs = 1\n'
        f'output = "{tmp_path.as_posix()}/run"\n[mixing]\ncrop_seconds = 0.2\nin_song = 1.0\n[schedule]\nsteps = 2\n'
        "batch_size = 2\nwarmup_steps = 1\ndecay_steps = 1\n[network]\nn_fft = 128\nhop_length = 32\nbands = 8\n"
        "sample_rate = 8000\ninner = 8\ndim = 8\nheads = 2\ngroups = 2\ncodec_heads = 2\nblocks = 1\nhidden = 6\n"
    )
    network = load_network(run_recipe(load_recipe(recipe)))
    assert isinstance(network, SFC)
    assert network.config.hidden == 6
