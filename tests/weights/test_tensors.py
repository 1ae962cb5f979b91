"""Our safetensors files against the library's."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from stemsplit.weights.tensors import TYPES, safetensors_bytes


def test_the_bytes_are_the_librarys() -> None:
    generator = torch.Generator().manual_seed(0)
    state = {
        f"{n}.β.{dtype}": (100 * torch.rand(3, n, generator=generator)).to(dtype) for dtype in TYPES for n in (1, 5)
    }
    state |= {"count": torch.tensor(7), "empty": torch.zeros(0, 4), 'a "quoted" \\ name': torch.ones(2)}
    state["turned"] = torch.rand(4, 3, generator=generator).T  # the library refuses what is not contiguous
    expected = safetensors.torch.save({key: value.contiguous() for key, value in state.items()})
    assert safetensors_bytes(state) == expected
    loaded = safetensors.torch.load(safetensors_bytes(state))
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_no_tensors_are_a_file_too() -> None:
    assert safetensors.torch.load(safetensors_bytes({})) == {}


def test_a_type_that_the_format_has_no_name_for_is_refused() -> None:
    with pytest.raises(ValueError, match="complex64"):
        safetensors_bytes({"x": torch.zeros(2, dtype=torch.complex64)})
