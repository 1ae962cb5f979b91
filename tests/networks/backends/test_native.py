"""The native kernels against the truth, and what happens where they cannot be used."""

from __future__ import annotations

import copy
import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stemsplit.errors import DeviceError
from stemsplit.machine.memory import give_back_file_pages
from stemsplit.networks.backends import choose as backends
from stemsplit.networks.backends import native, native_packing
from stemsplit.networks.backends.choose import bind
from stemsplit.networks.backends.native import NativeBackend
from stemsplit.networks.bsmamba import BSMamba, BSMambaConfig, bimamba_of
from stemsplit.networks.kernels import native_library
from stemsplit.networks.kernels.native import build
from stemsplit.networks.kernels.native_library import (
    INSTRUCTION_SETS,
    Library,
    LibraryError,
    has_bfloat16,
    load_library,
)
from stemsplit.networks.layers.bimamba import PreNormBiMamba, ResidualBiMamba
from stemsplit.weights.checkpoint import load_network, save

LIBRARY = load_library()
HERE: tuple[str, ...] = LIBRARY.instruction_sets() if isinstance(LIBRARY, Library) else ()
needs_library = pytest.mark.skipif(not HERE, reason=f"no native kernels: {LIBRARY}")
needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="no fast products in bfloat16 here")
each_set = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(name not in HERE, reason=f"no {name} here: {LIBRARY}"))
        for name in INSTRUCTION_SETS
    ],
)
LEAST_SNR = {"avx512bf16": 42.0, "amx": 42.0}  # dB of the update; 110 with fp32 products


def config(**settings: object) -> BSMambaConfig:
    small = {"n_fft": 128, "hop_length": 32, "bands": (2, 3, 10, 50), "blocks_mask": 1, "blocks_map": 1}
    widths = {"dim": 16, "d_state": 4, "expand": 2, "headdim": 8}
    return BSMambaConfig(**{**small, **widths, **settings})  # type: ignore[arg-type]


@torch.no_grad()
def block_of(seed: int = 0, **settings: object) -> ResidualBiMamba:
    """A block with nothing left at zero or one."""
    torch.manual_seed(seed)
    block = bimamba_of(config(**settings)).eval()
    for name, value in block.named_parameters():
        if value.dim() == 1 and not name.endswith(("A_log", "dt_bias")):
            value.add_(0.2 * torch.randn_like(value))
    return block


@torch.no_grad()
def normed_by_rows(seed: int = 0, *, dim: int = 16, **settings: int) -> PreNormBiMamba:
    """A block of BSMamba2, likewise."""
    torch.manual_seed(seed)
    widths = {"d_state": 4, "d_conv": 4, "expand": 2, "headdim": 8, **settings}
    block = PreNormBiMamba(dim, **widths).eval()
    for name, value in block.named_parameters():
        if value.dim() == 1 and not name.endswith(("A_log", "dt_bias")):
            value.add_(0.2 * torch.randn_like(value))
    return block


def snr(found: Tensor, rows: Tensor, block: ResidualBiMamba | PreNormBiMamba) -> float:
    """dB of what the block adds to its rows, against float64."""
    with torch.inference_mode():
        exact = copy.deepcopy(block).double()
        way = exact.forward_unfused if isinstance(exact, ResidualBiMamba) else exact.fused
        truth = way(rows.double())
    error = (found.double() - truth).square().sum()
    return float(10 * torch.log10((truth - rows.double()).square().sum() / error))


def run(block: ResidualBiMamba | PreNormBiMamba, rows: Tensor, name: str | None = None) -> Tensor:
    with torch.inference_mode():
        return NativeBackend(name).bind(block)(rows)


@each_set
@pytest.mark.parametrize("make", [block_of, normed_by_rows])
@pytest.mark.parametrize("length", [1, 2, 3, 27, 57, 61, 130, 601])
def test_each_instruction_set_meets_the_truth(
    name: str, make: Callable[[], ResidualBiMamba | PreNormBiMamba], length: int
) -> None:
    block, rows = make(), 2 * torch.randn(3, length, 16) + 0.5
    assert snr(run(block, rows, name), rows, block) > LEAST_SNR.get(name, 110)


@each_set
@pytest.mark.parametrize(
    "lie", [lambda x: x.transpose(1, 2), lambda x: x.transpose(0, 2), lambda x: x[:, ::2], lambda x: x[..., :1, :]]
)
def test_tokens_may_lie_anyhow(name: str, lie: Callable[[Tensor], Tensor]) -> None:
    block, tokens = block_of(), lie(torch.randn(2, 4, 5, 16))
    found = run(block, tokens, name)
    assert found.stride() == torch.empty_like(tokens).stride()
    assert torch.equal(found, run(block, tokens.contiguous(), name))
    wide = torch.randn(*tokens.shape[:-1], 2 * 16)[..., ::2]  # features that are not contiguous
    assert torch.equal(run(block, wide, name), run(block, wide.contiguous(), name))


@each_set
def test_random_shapes_meet_the_truth(name: str) -> None:
    dice = random.Random(5)
    for seed in range(8):
        channels, heads = dice.randint(1, 40), dice.randint(1, 4)
        dim = channels * heads
        widths = {"dim": dim, "expand": 1, "headdim": channels, "head_expand": 4, "d_state": dice.randint(1, 40)}
        block = block_of(seed, **widths, d_conv=dice.randint(1, 6))
        rows = torch.randn(dice.randint(1, 3), dice.randint(1, 150), dim)
        assert snr(run(block, rows, name), rows, block) > LEAST_SNR.get(name, 110), widths


@each_set
def test_products_longer_and_wider_than_a_tile(name: str) -> None:
    """Of 40 and 72 inner values, 300 steps: whole tiles, a rest, and more than one sum."""
    for make in (block_of, normed_by_rows):
        block = make(dim=40, expand=2, headdim=20, d_state=72)
        rows = torch.randn(2, 300, 40)
        assert snr(run(block, rows, name), rows, block) > LEAST_SNR.get(name, 110)


@needs_library
def test_bfloat16_is_chosen_only_where_it_is_faster() -> None:
    assert isinstance(LIBRARY, Library)
    chosen = LIBRARY.bfloat16_set()
    assert chosen in (None, "avx512bf16", "amx")
    assert chosen is None or chosen in HERE
    if "amx" in HERE:
        assert chosen == "amx"
    elif "avx512bf16" in HERE:
        intel = "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
        assert (chosen is None) == intel


@each_set
def test_long_sequences_carry_their_state(name: str) -> None:
    block = block_of(d_state=8)
    with torch.no_grad():  # slow decays: what is said at the start is still heard at the end
        for mamba in (block.forward_mamba2, block.backward_mamba2):
            mamba.A_log.fill_(-6.0)
    rows = torch.randn(1, 1500, 16)
    assert snr(run(block, rows, name), rows, block) > LEAST_SNR.get(name, 110)


@each_set
def test_fast_decays_neither_overflow_nor_linger(name: str) -> None:
    block = block_of()
    with torch.no_grad():
        for mamba in (block.forward_mamba2, block.backward_mamba2):
            mamba.A_log.fill_(5.0)
            mamba.dt_bias.fill_(2.0)
    rows = torch.randn(2, 90, 16)
    assert snr(run(block, rows, name), rows, block) > LEAST_SNR.get(name, 110)


@each_set
def test_a_large_mean_does_not_drown_the_sequence(name: str) -> None:
    block, rows = block_of(), torch.randn(2, 50, 16) + 300
    # The rows' own rounding is what is left: it is 50 dB above where it would be without the mean.
    assert snr(run(block, rows, name), rows, block) > min(85, LEAST_SNR.get(name, 110))


@each_set
def test_any_number_of_threads_gives_the_same_bits(name: str) -> None:
    block, rows = block_of(), torch.randn(5, 40, 16)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            found.append(run(block, rows, name))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, found[0]) for one in found)


@each_set
def test_rows_may_lie_anywhere(name: str) -> None:
    block, rows = block_of(), torch.randn(3, 21, 16)
    expected = run(block, rows, name)
    shifted = torch.empty(rows.numel() + 1)[1:].view_as(rows).copy_(rows)
    strided = torch.empty(21, 3, 16).transpose(0, 1).copy_(rows)
    assert shifted.data_ptr() % 8 == 4 or not strided.is_contiguous()
    assert torch.equal(run(block, shifted, name), expected)
    assert torch.equal(run(block, strided, name), expected)


@each_set
def test_sequences_do_not_touch_each_other(name: str) -> None:
    block, rows = block_of(), torch.randn(3, 40, 16)
    expected = run(block, rows, name)
    rows[1, 7, 3] = torch.nan
    found = run(block, rows, name)
    assert torch.isnan(found[1]).any()
    assert torch.equal(found[[0, 2]], expected[[0, 2]])


@needs_library
@pytest.mark.parametrize("shape", [(0, 5, 16), (3, 0, 16)])
def test_nothing_gives_nothing(shape: tuple[int, ...]) -> None:
    assert run(block_of(), torch.empty(shape)).shape == shape


@needs_library
def test_silence_is_finite() -> None:
    assert torch.isfinite(run(block_of(), torch.zeros(2, 33, 16))).all()


@needs_library
def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens of 12 features, the block has 16"):
        run(block_of(), torch.randn(1, 4, 12))


@needs_library
def test_other_types_come_back_as_they_came() -> None:
    block, rows = block_of(), torch.randn(2, 9, 16)
    assert run(block, rows.bfloat16()).dtype == torch.bfloat16
    wide = run(block.double(), rows.double())
    assert wide.dtype == torch.float64
    with torch.inference_mode():
        torch.testing.assert_close(wide, block.forward_unfused(rows.double()))


@needs_bfloat16
def test_autocast_chooses_bfloat16_products_and_leaving_it_float32() -> None:
    block, rows = block_of(), torch.randn(2, 45, 16)
    with torch.inference_mode():
        bound = NativeBackend().bind(block)
        exact = bound(rows)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fast = bound(rows)
        assert torch.equal(bound(rows), exact)
    assert fast.dtype == torch.float32
    assert 42 < snr(fast, rows, block) < 70
    assert snr(exact, rows, block) > 110


@needs_library
def test_a_network_gives_the_same_with_it() -> None:
    if set(native.WIDE).isdisjoint(HERE):
        pytest.skip("this processor is not one that the kernels are used on")
    torch.manual_seed(0)
    network = BSMamba(config()).eval()
    mixture = torch.randn(1, 2, 3000)
    backend = backends.choose("cpu", "native")
    assert backend.name == "native"
    with torch.inference_mode():
        expected = network(mixture)
        bind(network, backend)
        found = network(mixture)
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


# Where they cannot be used.


def test_they_are_for_the_cpu() -> None:
    assert NativeBackend().missing(torch.device("cuda")) == "it is for the CPU"


def test_an_absent_library_is_named_with_what_builds_it(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"not built: `python -m stemsplit\.networks\.kernels\.native\.build`"):
        Library(tmp_path / "none.so")


def test_without_a_library_binding_is_refused_and_auto_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "load_library", lambda: LibraryError("not built"))
    monkeypatch.delenv("STEMSPLIT_BACKEND", raising=False)
    assert backends.choose("cpu").name == "torch"
    with pytest.raises(DeviceError, match="not built"):
        NativeBackend().bind(block_of())
    with pytest.raises(DeviceError, match="not built"):
        backends.choose("cpu", "native")


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "libstemsplit_native.so"
    path.write_bytes(b"not a library")
    with pytest.raises(LibraryError, match="cannot be loaded"):
        Library(path)


def test_somebody_elses_library_is_refused() -> None:
    spec = importlib.util.find_spec("_ctypes_test") or importlib.util.find_spec("_ctypes")
    if spec is None or not (spec.origin or "").endswith(".so"):
        pytest.skip("no other shared library at hand")
    with pytest.raises(LibraryError, match="cannot be loaded"):
        Library(Path(str(spec.origin)))


@needs_library
def test_a_library_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_library, "source_hash", lambda: "0" * 16)
    with pytest.raises(LibraryError, match="built from other sources"):
        Library()


@needs_library
def test_a_library_of_another_interface_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    built = native_library.ABI
    monkeypatch.setattr(native_library, "ABI", 99)
    with pytest.raises(LibraryError, match=f"has interface {built}, not 99"):
        Library()


@needs_library
def test_an_unknown_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Library, "instruction_sets", lambda self: ("portable",))
    assert NativeBackend().missing(torch.device("cpu")) == "this processor has neither AVX-512 nor AVX2"
    assert NativeBackend("portable").missing(torch.device("cpu")) is None
    assert "no avx2" in str(NativeBackend("avx2").missing(torch.device("cpu")))
    with pytest.raises(DeviceError, match="neither AVX-512 nor AVX2"):
        NativeBackend().bind(block_of())


# How they are built.


def test_the_sources_hash_does_not_depend_on_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_bytes(b"int a;\n")
    plain = build.source_hash(tmp_path)
    (tmp_path / "a.cpp").write_bytes(b"int a;\r\n")
    assert build.source_hash(tmp_path) == plain
    (tmp_path / "b.h").write_bytes(b"int b;\n")
    assert build.source_hash(tmp_path) != plain


def test_no_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(build.BuildError, match=r"no C\+\+ compiler: none of"):
        build.build(tmp_path / "out.so")
    monkeypatch.setenv("CXX", "nowhere-c++ -m64")
    with pytest.raises(build.BuildError, match="nowhere-c"):
        build.build(tmp_path / "out.so")


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for the compiler")
def test_a_failing_compiler_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken-c++"
    broken.write_text("#!/bin/sh\necho 'x.cpp:1: error: it is Monday' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    target = tmp_path / "out.so"
    with pytest.raises(build.BuildError, match="error: it is Monday"):
        build.build(target)
    assert not target.exists()


def _compiler() -> list[str]:
    try:
        return build.find_compiler()
    except build.BuildError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_compiler_that_knows_no_vectors_builds_the_portable_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = " ".join(_compiler())
    plain = tmp_path / "plain-c++"
    plain.write_text(
        f'#!/bin/sh\ncase "$*" in *-mfma*) echo "error: what is -mfma" >&2; exit 1;; esac\nexec {real} "$@"\n'
    )
    plain.chmod(0o755)
    monkeypatch.setenv("CXX", str(plain))
    assert Library(build.build(tmp_path / "out.so", ("-O0",))).instruction_sets() == ("portable",)


@pytest.mark.slow
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    compiler = _compiler()
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
    objects = build.compile_units(compiler, tmp_path, flags)
    for name in ("native_driver", "native_layers_driver", "native_training_driver", "native_compare_driver"):
        source, driver = Path(__file__).parent / f"{name}.cpp", tmp_path / name
        command = [*compiler, "-std=c++17", *flags, f"-I{build.HERE}", str(source), *map(str, objects), "-pthread"]
        subprocess.run([*command, "-o", str(driver)], check=True, capture_output=True)
        done = subprocess.run([str(driver)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "0 failures" in done.stdout


@pytest.mark.slow
@needs_bfloat16
def test_the_shipped_network_in_both_precisions() -> None:
    network = _shipped()
    torch.manual_seed(1)
    mixture = 0.1 * torch.randn(1, 2, 44100).cumsum(-1).sin()  # noise, lower sounds louder
    with torch.inference_mode():
        truth = copy.deepcopy(network).double()(mixture.double())
        bind(network, NativeBackend())
        exact = network(mixture)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fast = network(mixture)
    assert _db(exact, truth) > 100
    assert _db(fast, truth) > 48


def _shipped() -> BSMamba:
    return load_network("ts-bsmamba2-mini")


def _db(found: Tensor, truth: Tensor) -> float:
    return float(10 * torch.log10(truth.square().sum() / (found.double() - truth).square().sum()))


@needs_bfloat16
def test_weights_of_a_file_are_given_back_and_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What overflows in bfloat16 is computed in fp32, whose weights are packed only then."""
    given: list[int] = []

    def give_back(address: int, size: int) -> int:
        given.append(give_back_file_pages(address, size))
        return given[-1]

    monkeypatch.setattr(native_packing, "give_back_file_pages", give_back)
    torch.manual_seed(0)
    network = BSMamba(config(dim=64, d_state=32, expand=4, headdim=32)).eval()
    loaded = load_network(save(network, tmp_path / "model"))
    for one in (network, loaded):
        bind(one, NativeBackend())
    mixture = torch.randn(1, 2, 2000)
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            loaded(mixture)
        if sys.platform.startswith("linux"):
            assert sum(given) > 0.5 * sum(weight.nbytes for weight in loaded.parameters())
        assert torch.equal(loaded(mixture), network(mixture))
