"""The authors' S4M state dict → ours: the same numbers under other names, with the true C.

Published keys, with i a scale:

    ln, bottleneck, decoder                        → norm, bottleneck, decoder
    mask_net.0|1                                   → mask_act, mask
    sm.concat_block.0|1                            → blend, blend_act
    sm.unet.proj_1x1.conv|norm|act, res_conv       → block.enter, enter_norm, enter_act, leave
    sm.unet.spp_dw.{i}                             → block.down.{i}
    sm.unet.loc_glo_fus|last_layer.{i}.…           → block.fusions|up.{i}: local, shift and gate
    sm.unet.s4.…, ff.…                             → block.s4, s4_norm, feed, feed_norm

They store C̃ = (I − dAᴸ)ᵀ C for the longest kernel L that was made so far, beside it; 0 stands for the true C.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from stemsplit.errors import CheckpointError
from stemsplit.networks.layers.s4 import S4
from stemsplit.networks.s4m import S4M, S4MConfig

U = "sm.unet."
KERNEL = f"{U}s4.layer.kernel.kernel."
LENGTH = f"{KERNEL}L"

_NAMES = (
    (r"norm\.(weight|bias)", r"ln.\1"),
    (r"mask_act\.", "mask_net.0."),
    (r"mask\.", "mask_net.1."),
    (r"blend_act\.", "sm.concat_block.1."),
    (r"blend\.", "sm.concat_block.0."),
    (r"block\.enter_(norm|act)\.", rf"{U}proj_1x1.\1."),
    (r"block\.enter\.", f"{U}proj_1x1.conv."),
    (r"block\.leave\.", f"{U}res_conv."),
    (r"block\.down\.(\d+)\.filter\.", rf"{U}spp_dw.\1.conv."),
    (r"block\.down\.(\d+)\.norm\.", rf"{U}spp_dw.\1.norm."),
    (r"block\.fusions\.", f"{U}loc_glo_fus."),
    (r"block\.up\.", f"{U}last_layer."),
    (r"block\.s4_norm\.", f"{U}s4.norm."),
    (r"block\.feed_norm\.", f"{U}ff.norm."),
    (r"block\.feed\.0\.", f"{U}ff.layer.ff.0.0."),
    (r"block\.feed\.2\.", f"{U}ff.layer.ff.2."),
    (r"block\.s4\.output\.", f"{U}s4.layer.output_linear.0."),
    (r"block\.s4\.D", f"{U}s4.layer.D"),
    (r"block\.s4\.log_rate", f"{KERNEL}inv_w_real"),
    (r"block\.s4\.frequency", f"{KERNEL}w_imag"),
    (r"block\.s4\.", KERNEL),
)
"""How our names begin, and how the authors' do."""
_PARTS = ((".local.", ".local_embedding."), (".shift.", ".global_embedding."), (".gate.", ".global_act."))


def matches(keys: Collection[str]) -> bool:
    """Return whether the keys look like the authors' network."""
    return LENGTH in keys


def config(state: Mapping[str, Tensor]) -> S4MConfig:
    """Read the configuration off the tensors' shapes; the window is taken to be 4 ms, and moved on by a quarter.

    Raises: CheckpointError naming the tensors that are needed and missing.
    """
    needed = ("encoder.weight", "bottleneck.weight", f"{U}proj_1x1.conv.weight", f"{KERNEL}C")
    if missing := [key for key in needed if key not in state]:
        raise CheckpointError(f"the weights do not fit the network: {len(missing)} missing ({', '.join(missing[:3])})")
    basis, _, kernel_size = state["encoder.weight"].shape
    speakers, rate = state["decoder.weight"].shape[1], 1000 * kernel_size // 4
    return S4MConfig(
        stems=tuple(f"speaker{number}" for number in range(1, speakers + 1)),
        sample_rate=rate,
        chunk_samples=8 * rate,
        kernel_size=kernel_size,
        stride=kernel_size // 4,
        basis=basis,
        dim=state["bottleneck.weight"].shape[0],
        hidden=state[f"{U}proj_1x1.conv.weight"].shape[0],
        scales=sum(bool(re.fullmatch(rf"{re.escape(U)}spp_dw\.\d+\.conv\.weight", key)) for key in state),
        d_state=2 * state[f"{KERNEL}C"].shape[2],
    )


def shapes(config: S4MConfig) -> dict[str, tuple[int, ...]]:
    """Return every published key of a network with its shape."""
    with torch.device("meta"):
        ours = S4M(config).state_dict()
    return {published(key): _published_shape(key, value) for key, value in ours.items()} | {LENGTH: ()}


def convert(state: Mapping[str, Tensor], config: S4MConfig) -> dict[str, Tensor]:
    """Return our state dict for a published one that has the keys and shapes of `shapes`; in its type."""
    with torch.device("meta"):
        network = S4M(config)
    ours = {key: state[published(key)].reshape(value.shape) for key, value in network.state_dict().items()}
    network.to_empty(device="cpu").load_state_dict(ours)
    if (length := int(state[LENGTH])) > 0:
        ours["block.s4.C"] = true_output(network.block.s4.double(), length).to(ours["block.s4.C"].dtype)
    return ours


@torch.no_grad()
def true_output(s4: S4, length: int) -> Tensor:
    """Return the C (2, H, N, 2) of which the layer's is C̃ = (I − dAᴸ)ᵀ C."""
    dA, _, stored = s4.discrete()
    rest = torch.eye(dA.shape[-1], dtype=dA.dtype) - torch.linalg.matrix_power(dA, length)
    # As a row of reals c, see layers.s4: c̃ = c (I − dAᴸ).
    true = torch.linalg.solve(rest, stored.transpose(0, 1), left=False).transpose(0, 1)
    found: Tensor = torch.stack(true.chunk(2, dim=-1), -1) * true.new_tensor([0.5, -0.5])
    return found


def published(key: str) -> str:
    """Return the authors' name of a tensor."""
    for start, theirs in _NAMES:
        renamed, count = re.subn(f"^{start}", theirs, key)
        if count:
            key = renamed
            break
    for ours, theirs in _PARTS:
        if ours in key:
            key = key.replace(ours, theirs).replace(".filter.", ".conv.")
    if key != "ln.weight" and _is_global_norm(key):
        key = key.replace(".weight", ".gamma").replace(".bias", ".beta")
    return key.replace("ln.weight", "ln.gamma").replace("ln.bias", "ln.beta")


def _is_global_norm(key: str) -> bool:
    return ".norm." in key and "s4.norm" not in key and "ff.norm" not in key


def _published_shape(key: str, value: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor there: linear maps are 1×1 convolutions, and one head of S4 has an axis."""
    shape = tuple(value.shape)
    if key.startswith("block.s4.") and key.rpartition(".")[2] in ("B", "P", "D"):
        return (1, *shape)
    linear = key.endswith(".weight") and value.dim() == 2
    return (*shape, 1) if linear else shape
