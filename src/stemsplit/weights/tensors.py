"""Tensors → the bytes of a safetensors file, so that a machine with nothing but PyTorch can write a model.

The format (github.com/huggingface/safetensors): the length of the header as 8 bytes, little-endian; the header, JSON
that gives each tensor's type, shape and place, padded with spaces to a multiple of 8; the tensors' bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

# In the library's own order, in which wide types come first and every tensor is aligned.
TYPES = {
    torch.int64: "I64", torch.float64: "F64", torch.float32: "F32", torch.int32: "I32", torch.bfloat16: "BF16",
    torch.float16: "F16", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def safetensors_bytes(state: Mapping[str, Tensor]) -> bytes:
    """What `safetensors.torch.save` gives for tensors of these types.

    Raises: ValueError for a type that is not in `TYPES`.
    """
    if strange := {str(value.dtype) for value in state.values()} - {str(known) for known in TYPES}:
        raise ValueError(f"tensors of type {', '.join(sorted(strange))} cannot be written")
    ranks = {dtype: rank for rank, dtype in enumerate(TYPES)}
    names = sorted(state, key=lambda name: (ranks[state[name].dtype], name))
    header, parts, end = {}, [], 0
    for name in names:
        part = state[name].detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        shape = list(state[name].shape)
        header[name] = {"dtype": TYPES[state[name].dtype], "shape": shape, "data_offsets": [end, end + len(part)]}
        end += len(part)
        parts.append(part)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])
