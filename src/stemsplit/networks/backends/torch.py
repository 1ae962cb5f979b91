"""The bidirectional Mamba-2 block in plain PyTorch, arranged for the caches of a CPU. It works everywhere.

Sequences are computed in tiles that are small enough for the cache, both directions together. All intermediate results
are in buffers that are used again for other tiles, blocks and calls.

Inside a chunk of Q steps, the map from x to y is a masked matrix. Both directions share one matrix of decays, with
those of the forward direction on and below the diagonal, and those of the backward direction above it. From one chunk
to the next, states are passed on. `ssd.ssd_chunked` is the readable version, with the same symbols.

Shapes: N sequences of a tile, M chunks, Q steps, 2 directions (forward, backward), H heads, P channels per head,
I = H P inner width, S state size, D features, R = N M Q rows.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemsplit.networks.backends.gpu.layers import bind_by
from stemsplit.networks.kernels.gpu import reference
from stemsplit.networks.kernels.products import fast_products
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.bindable import Bound
from stemsplit.networks.layers.norm import NORM_EPS, RMS_EPS

TILE_BYTES = 32_000_000
"""The size of all intermediate results of a tile.

Larger tiles do not fit into the cache. Smaller ones read the weights too often.
"""

CHUNK_STEPS = 64
"""Chunks have about so many steps. Longer chunks have more work per step, and shorter ones pass on more states."""

SHORTEST_STEP = 1e-20
"""The smallest dt. It keeps D/dt finite, and is too small to change any result."""


class TorchBackend:
    """The backend that uses PyTorch alone. See `contract.Backend`.

    The blocks of an instance share its buffers. Every thread has its own set of them.
    """

    name = "torch"

    def __init__(self) -> None:
        self.own = _OfThread()

    def missing(self, device: torch.device) -> str | None:
        """Return None: this backend works on every device."""
        return None

    def bind(self, layer: nn.Module) -> Bound | None:
        """Return the tiled version of a bidirectional block if it is on a CPU in float32 or float64, else `fused`.

        The layers around the blocks compute themselves on a CPU. On a GPU they take bands of the same width together.
        """
        if not isinstance(layer, ResidualBiMamba):
            on_cpu = next(layer.parameters()).device.type == "cpu"
            return None if on_cpu else bind_by(reference, layer)
        block, kind = layer, layer.proj.weight
        if kind.device.type != "cpu" or kind.dtype not in (torch.float32, torch.float64):
            return block.fused
        weights = pack(block)

        def bound(rows: Tensor) -> Tensor:
            if torch.is_autocast_enabled("cpu"):
                return block.fused(rows)
            with fast_products():
                return run(weights, rows, self.own.buffers)

        return bound


@dataclass(frozen=True)
class Weights:
    """The weights of a block as `run_tile` needs them. Columns of both directions are side by side, forward first."""

    norm_weight: Tensor  # (D,)
    norm_bias: Tensor  # (D,)
    gates: Tensor  # (D, 2·I)
    mixed: Tensor  # (D, 2·(I + 2·S)): x, B, C
    steps: Tensor  # (D, 2·H)
    step_bias: Tensor  # (2·H, 1)
    rate: Tensor  # (2·H, 1): −exp(A_log)
    skip: Tensor  # (2, 1, H, 1): D of Mamba-2
    taps: Tensor  # (2·(I + 2·S), 1, 1, 2·taps − 1), see `_centred_taps`
    tap_bias: Tensor  # (2·(I + 2·S),)
    outward: Tensor  # (2·I + D, D): norm weight, out_proj and proj as one matrix; then proj for the normed rows
    bias: Tensor  # (D,)
    heads: int
    state: int


def pack(block: ResidualBiMamba) -> Weights:
    """Return the weights of a block, arranged, and multiplied where they can be. That is done in float64."""
    pair = (block.forward_mamba2, block.backward_mamba2)
    d, s, h = pair[0].d_inner, pair[0].d_state, pair[0].heads
    gates, mixed, steps = zip(*(mamba.in_proj.weight.split([d, d + 2 * s, h]) for mamba in pair), strict=True)
    outward = block.proj.weight.double().chunk(2, dim=1)
    folded = [
        out @ (mamba.out_proj.weight.double() * mamba.norm.weight) for out, mamba in zip(outward, pair, strict=True)
    ]
    with torch.inference_mode(False), torch.no_grad():
        return Weights(
            norm_weight=block.norm_weight.detach().clone(),
            norm_bias=block.norm_bias.detach().clone(),
            gates=torch.cat(gates).t().contiguous(),
            mixed=torch.cat(mixed).t().contiguous(),
            steps=torch.cat(steps).t().contiguous(),
            step_bias=torch.cat([mamba.dt_bias for mamba in pair]).unsqueeze(1),
            rate=-torch.cat([mamba.A_log for mamba in pair]).double().exp().to(block.proj.weight.dtype).unsqueeze(1),
            skip=torch.stack([mamba.D for mamba in pair]).view(2, 1, h, 1),
            taps=_centred_taps(*(mamba.conv1d.weight for mamba in pair)),
            tap_bias=torch.cat([_bias(mamba.conv1d) for mamba in pair]),
            outward=torch.cat([*folded, outward[0] + outward[1]], dim=1).t().to(block.proj.weight.dtype).contiguous(),
            bias=block.proj.bias.detach().clone(),
            heads=h,
            state=s,
        )


def _bias(convolution: torch.nn.Conv1d) -> Tensor:
    bias = convolution.bias
    return convolution.weight.new_zeros(convolution.weight.shape[0]) if bias is None else bias


def _centred_taps(forward: Tensor, backward: Tensor) -> Tensor:
    """Return a causal and an anti-causal kernel (channels, 1, taps) as one centred kernel.

    Each is mirrored if needed, and padded with zeros on the side of the steps that it must not read.
    """
    beyond = forward.shape[-1] - 1
    both = torch.cat([F.pad(forward, (0, beyond)), F.pad(backward.flip(-1), (beyond, 0))])
    return both.unsqueeze(2).contiguous(memory_format=torch.channels_last)


class Buffers:
    """Named arrays that are used again and again. They grow to the largest size that is asked for."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, torch.dtype], Tensor] = {}

    def __call__(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Return an array of the given shape. It holds whatever was last written to it."""
        size, key = math.prod(shape), (name, like.dtype)
        if (there := self._arrays.get(key)) is None or there.numel() < size:
            with torch.inference_mode(False):
                self._arrays[key] = there = torch.zeros(size, dtype=like.dtype)
        return there[:size].view(shape)

    def nbytes(self) -> int:
        """Return how much memory the arrays take, in bytes."""
        return sum(array.nbytes for array in self._arrays.values())


def run(weights: Weights, rows: Tensor, buffers: Buffers) -> Tensor:
    """Compute the block for rows (N, L, D), tile by tile."""
    if not rows.numel():
        return rows.clone()
    plan = plan_tiles(weights, *rows.shape[:2])
    out = torch.empty_like(rows, memory_format=torch.contiguous_format)
    for start in range(0, len(rows), plan.sequences):
        part = slice(start, start + plan.sequences)
        run_tile(weights, rows[part], out[part], plan, buffers)
    return out


class _OfThread(threading.local):
    """The buffers of one thread."""

    def __init__(self) -> None:
        self.buffers = Buffers()


@dataclass(frozen=True)
class Plan:
    """How sequences of the same length are divided."""

    sequences: int  # in a tile
    chunks: int  # in a sequence
    steps: int  # in a chunk; the last chunk may be padded


def plan_tiles(weights: Weights, sequences: int, length: int) -> Plan:
    """Return a plan with chunks of about `CHUNK_STEPS`, and with tiles of about equal size that fit into the cache."""
    chunks = max(1, round(length / CHUNK_STEPS))
    steps = -(-length // chunks)
    inner, state, heads = weights.gates.shape[1] // 2, weights.state, weights.heads
    width = 13 * inner + 8 * state + 3 * heads * steps + (chunks > 1) * (2 * inner + 2 * state * inner // steps)
    most = max(1, TILE_BYTES // (weights.bias.element_size() * width * chunks * steps))
    tiles = -(-sequences // most)
    return Plan(-(-sequences // tiles), chunks, steps)


def run_tile(weights: Weights, rows: Tensor, out: Tensor, plan: Plan, buffers: Buffers) -> None:
    """Compute the block for the sequences (N, L, D) of a tile, and write the result to `out`."""
    w, (n, length, features) = weights, rows.shape
    nm, q, h = n * plan.chunks, plan.steps, w.heads
    padded = plan.chunks * q
    r, inner, state = n * padded, w.gates.shape[1] // 2, w.state
    # Columns: the outputs of the two directions, then the normed rows, so that the last step is a single product.
    ends = buffers("ends", rows, r, 2 * inner + features)
    normed = ends[:, 2 * inner :]
    whole = normed.view(n, padded, features)
    torch.addcmul(w.norm_bias, F.layer_norm(rows, rows.shape[1:], eps=NORM_EPS), w.norm_weight, out=whole[:, :length])
    whole[:, length:] = 0
    gates = torch.mm(normed, w.gates, out=buffers("gates", rows, r, 2 * inner))
    F.silu(gates, inplace=True)
    mixed = convolve(w, torch.mm(normed, w.mixed, out=buffers("mixed", rows, r, w.mixed.shape[1])), n)
    mixed = mixed.reshape(nm, q, 2, inner + 2 * state)
    dt = step_sizes(w, normed, n, plan, length, buffers)
    y = mix_steps(w, mixed, dt, n, plan, buffers)  # (2, nm, H, Q, P)
    gated = ends[:, : 2 * inner]
    torch.mul(y.permute(1, 3, 0, 2, 4), gates.view(nm, q, 2, h, -1), out=gated.view(nm, q, 2, h, -1))
    halves = gated.view(r, 2, inner)
    rms = torch.linalg.vector_norm(halves, dim=-1, keepdim=True)
    halves.mul_(rms.square_().div_(inner).add_(RMS_EPS).rsqrt_())
    update = torch.mm(ends, w.outward, out=buffers("update", rows, r, features)).view(n, padded, features)
    torch.add(rows, update[:, :length], out=out).add_(w.bias)


def convolve(weights: Weights, mixed: Tensor, n: int) -> Tensor:
    """Return SiLU of the depthwise convolutions of both directions: rows (N·L, channels) → (N, 1, L, channels)."""
    channels = mixed.shape[1]
    image = mixed.view(n, 1, -1, channels).permute(0, 3, 1, 2)  # channels last: the rows are not copied
    reach = weights.taps.shape[-1] // 2
    found = F.conv2d(image, weights.taps, weights.tap_bias, padding=(0, reach), groups=channels)
    return F.silu(found, inplace=True).permute(0, 2, 3, 1)


def step_sizes(w: Weights, normed: Tensor, n: int, plan: Plan, length: int, buffers: Buffers) -> Tensor:
    """Return dt (N·M, 2·H, Q). In the padding it is `SHORTEST_STEP`."""
    raw = torch.mm(normed, w.steps).view(n * plan.chunks, plan.steps, -1).transpose(1, 2)
    dt = torch.add(raw, w.step_bias, out=buffers("dt", normed, *raw.shape))
    dt = F.softplus(dt).clamp_min_(SHORTEST_STEP)
    if padding := plan.chunks * plan.steps - length:
        dt.view(n, plan.chunks, -1, plan.steps)[:, -1, :, -padding:] = SHORTEST_STEP
    return dt


def mix_steps(w: Weights, mixed: Tensor, dt: Tensor, n: int, plan: Plan, buffers: Buffers) -> Tensor:
    """Return y of both directions, including D x: (2, N·M, H, Q, P).

    Args:
        w: the weights.
        mixed: x, B and C, (N·M, Q, 2, I + 2·S).
        dt: (N·M, 2·H, Q).
        n: sequences N.
        plan: how they are divided.
        buffers: of this thread.
    """
    nm, q, h, state = n * plan.chunks, plan.steps, w.heads, w.state
    x, b, c = mixed.split([mixed.shape[-1] - 2 * state, state, state], dim=-1)
    x = x.unflatten(-1, (h, -1)).permute(2, 0, 3, 1, 4)  # (2, nm, H, Q, P)
    log_decay = dt * w.rate
    clock = log_decay.cumsum(-1).view(nm, 2, h, q)
    ahead, before = clock[:, 0], clock[:, 1] - log_decay.view(nm, 2, h, q)[:, 1]
    steps = dt.view(nm, 2, h, q).transpose(0, 1)  # (2, nm, H, Q)
    flow = torch.mul(x, steps.unsqueeze(-1), out=buffers("flow", x, *x.shape))
    b = buffers("b", b, 2, nm, q, state).copy_(b.permute(2, 0, 1, 3))
    c = buffers("c", c, 2, nm, q, state).copy_(c.permute(2, 0, 1, 3))
    maps = buffers("maps", x, 2, nm, h, q, q)
    decays(ahead, before, maps, buffers)
    scores = torch.bmm(c.flatten(0, 1), b.flatten(0, 1).transpose(1, 2), out=buffers("scores", x, 2 * nm, q, q))
    scores = scores.view(2, nm, 1, q, q)
    scores[0].tril_()
    scores[1].triu_()
    torch.mul(buffers("decays", x, nm, h, q, q), scores, out=maps)
    # D x is added as D/dt on the diagonal, because the matrix is multiplied by x dt.
    maps.diagonal(dim1=-2, dim2=-1).addcdiv_(w.skip, steps)
    y = torch.bmm(maps.view(-1, q, q), flow.view(2 * nm * h, q, -1), out=buffers("y", x, 2 * nm * h, q, x.shape[-1]))
    y = y.view(x.shape)
    if plan.chunks > 1:
        add_states(y, flow, b, c, ahead, before, clock[..., -1], n, buffers)
    return y


def decays(ahead: Tensor, before: Tensor, spare: Tensor, buffers: Buffers) -> Tensor:
    """Return the decays between all steps, (N·M, H, Q, Q): forward on and below the diagonal, backward above it.

    The differences of the cumulative sums are ≤ 0 on the side of their own direction, and ≥ 0 on the other side. So the
    smaller one is the right one everywhere.

    Args:
        ahead: (N·M, H, Q), cumulative sums of the forward log decays, including those of the step itself.
        before: (N·M, H, Q), cumulative sums of the backward log decays, without those of the step itself.
        spare: (2, N·M, H, Q, Q), temporary memory.
        buffers: of this thread.
    """
    nm, h, q = ahead.shape
    span = torch.sub(ahead.unsqueeze(-1), ahead.unsqueeze(-2), out=buffers("decays", ahead, nm, h, q, q))
    torch.minimum(span, torch.sub(before.unsqueeze(-2), before.unsqueeze(-1), out=spare[0]), out=span)
    return span.exp_()


def add_states(
    y: Tensor,
    flow: Tensor,
    b: Tensor,
    c: Tensor,
    ahead: Tensor,
    before: Tensor,
    total: Tensor,
    n: int,
    buffers: Buffers,
) -> None:
    """Add to y what comes from earlier chunks through the state; in the backward direction, from later chunks.

    Args:
        y: (2, N·M, H, Q, P), changed in place.
        flow: x dt, (2, N·M, H, Q, P).
        b: (2, N·M, Q, S).
        c: (2, N·M, Q, S).
        ahead: (N·M, H, Q), see `decays`.
        before: (N·M, H, Q), see `decays`.
        total: (N·M, 2, H), the log decay over a whole chunk.
        n: sequences N.
        buffers: of this thread.
    """
    _, nm, h, q, p = flow.shape
    m, state = nm // n, b.shape[-1]
    inner = h * p
    last = total.transpose(0, 1).unsqueeze(-1)  # (2, nm, H, 1)
    leave = torch.stack([last[0] - ahead, before]).exp_().unsqueeze(-1)
    enter = torch.stack([ahead, last[1] - before]).exp_().unsqueeze(-1)
    leaving = buffers("leaving", y, 2, nm, q, h, p)
    torch.mul(flow.transpose(2, 3), leave.transpose(2, 3), out=leaving)
    states = buffers("states", y, 2, n, m, state, h, p)
    torch.bmm(b.flatten(0, 1).transpose(1, 2), leaving.view(2 * nm, q, inner), out=states.view(2 * nm, state, inner))
    passed = last.exp().view(2, n, m, 1, h, 1)
    for k in range(1, m - 1):
        states[0, :, k].addcmul_(states[0, :, k - 1], passed[0, :, k])
    for k in range(m - 2, 0, -1):
        states[1, :, k].addcmul_(states[1, :, k + 1], passed[1, :, k])
    c = c.view(2, n, m, q, state)
    states = states.view(2, n, m, state, inner)
    arriving = leaving.view(2, n, m, q, inner)
    for i in range(n):
        torch.bmm(c[0, i, 1:], states[0, i, :-1], out=arriving[0, i, 1:])
        torch.bmm(c[1, i, :-1], states[1, i, 1:], out=arriving[1, i, :-1])
    arriving[0, :, 0] = 0
    arriving[1, :, -1] = 0
    y.addcmul_(arriving.view(2, nm, q, h, p).transpose(2, 3), enter)
