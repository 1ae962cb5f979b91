"""The block in plain PyTorch, arranged for a CPU's caches: works everywhere, needs nothing else.

Sequences go through in tiles small enough to stay in cache, both directions side by side; every intermediate lives in
a buffer that tiles, blocks and calls share. Within chunks of Q steps the sequence map is a masked matrix, shared by
the two directions where they can (the decay above the diagonal is the backward one's, below it the forward one's);
longer sequences carry states between chunks (`ssd.ssd_chunked` is the readable version, with the same letters).

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

from stemsplit.networks.kernels.products import fast_products
from stemsplit.networks.layers.bimamba import ResidualBiMamba
from stemsplit.networks.layers.bindable import Bound
from stemsplit.networks.layers.norm import NORM_EPS, RMS_EPS

TILE_BYTES = 32_000_000
"""Of all intermediates of one tile. Larger ones leave the last cache; smaller ones fetch the weights too often."""

CHUNK_STEPS = 64
"""What chunks are near: the work inside a chunk grows with its length, that of the states with their count."""

SHORTEST_STEP = 1e-20
"""Least dt: keeps D/dt finite, adds nothing to any float32 or float64 that matters."""


class TorchBackend:
    """See `contract.Backend`. One instance owns the buffers that its blocks share, a set for each thread."""

    name = "torch"

    def __init__(self) -> None:
        self.own = _OfThread()

    def missing(self, device: torch.device) -> str | None:
        """It works wherever torch does."""
        return None

    def bind(self, layer: nn.Module) -> Bound | None:
        """Return the tiled pass of a bidirectional block on a CPU in full precision, its own pass elsewhere."""
        if not isinstance(layer, ResidualBiMamba):
            return None
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
    """A block's weights as its tiles read them. Columns of products lie side by side, forward first."""

    norm_weight: Tensor  # (D,)
    norm_bias: Tensor  # (D,)
    gates: Tensor  # (D, 2·I)
    mixed: Tensor  # (D, 2·(I + 2·S)): x, B, C
    steps: Tensor  # (D, 2·H)
    step_bias: Tensor  # (2·H, 1)
    rate: Tensor  # (2·H, 1): −exp(A_log)
    skip: Tensor  # (2, 1, H, 1): D of Mamba-2
    taps: Tensor  # (2·(I + 2·S), 1, 1, 2·taps − 1): backward taps mirrored, both centred
    tap_bias: Tensor  # (2·(I + 2·S),)
    outward: Tensor  # (2·I + D, D): norm weight, out_proj and proj in one; then proj of the normed rows themselves
    bias: Tensor  # (D,)
    heads: int
    state: int


def pack(block: ResidualBiMamba) -> Weights:
    """Arrange and fold the weights; folding in float64, so that it costs no precision."""
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
    """A causal and an anti-causal kernel (channels, 1, taps) as one that is zero on the side it must not see."""
    beyond = forward.shape[-1] - 1
    both = torch.cat([F.pad(forward, (0, beyond)), F.pad(backward.flip(-1), (beyond, 0))])
    return both.unsqueeze(2).contiguous(memory_format=torch.channels_last)


class Buffers:
    """Named arrays that grow to the largest size asked for and are handed out again and again."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, torch.dtype], Tensor] = {}

    def __call__(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """An array of that shape with anything in it (at first zeros)."""
        size, key = math.prod(shape), (name, like.dtype)
        if (there := self._arrays.get(key)) is None or there.numel() < size:
            with torch.inference_mode(False):
                self._arrays[key] = there = torch.zeros(size, dtype=like.dtype)
        return there[:size].view(shape)

    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(array.nbytes for array in self._arrays.values())


def run(weights: Weights, rows: Tensor, buffers: Buffers) -> Tensor:
    """The block on rows (N, L, D), tile by tile."""
    if not rows.numel():
        return rows.clone()
    plan = plan_tiles(weights, *rows.shape[:2])
    out = torch.empty_like(rows, memory_format=torch.contiguous_format)
    for start in range(0, len(rows), plan.sequences):
        part = slice(start, start + plan.sequences)
        run_tile(weights, rows[part], out[part], plan, buffers)
    return out


class _OfThread(threading.local):
    """What no two threads may share."""

    def __init__(self) -> None:
        self.buffers = Buffers()


@dataclass(frozen=True)
class Plan:
    """How sequences of one length are cut."""

    sequences: int  # of one tile
    chunks: int
    steps: int  # of one chunk; the last may be padded


def plan_tiles(weights: Weights, sequences: int, length: int) -> Plan:
    """Chunks of about `CHUNK_STEPS`, and tiles of as many sequences as stay in cache, all of about one size."""
    chunks = max(1, round(length / CHUNK_STEPS))
    steps = -(-length // chunks)
    inner, state, heads = weights.gates.shape[1] // 2, weights.state, weights.heads
    width = 13 * inner + 8 * state + 3 * heads * steps + (chunks > 1) * (2 * inner + 2 * state * inner // steps)
    most = max(1, TILE_BYTES // (weights.bias.element_size() * width * chunks * steps))
    tiles = -(-sequences // most)
    return Plan(-(-sequences // tiles), chunks, steps)


def run_tile(weights: Weights, rows: Tensor, out: Tensor, plan: Plan, buffers: Buffers) -> None:
    """The block on a few sequences (N, L, D), into `out`."""
    w, (n, length, features) = weights, rows.shape
    nm, q, h = n * plan.chunks, plan.steps, w.heads
    padded = plan.chunks * q
    r, inner, state = n * padded, w.gates.shape[1] // 2, w.state
    # Columns: the two directions' outputs, then the normed rows, so that one product ends the block.
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
    """Both directions' depthwise convolutions of rows (N·L, channels), and SiLU."""
    channels = mixed.shape[1]
    image = mixed.view(n, 1, -1, channels).permute(0, 3, 1, 2)  # channels last: rows as they lie
    reach = weights.taps.shape[-1] // 2
    found = F.conv2d(image, weights.taps, weights.tap_bias, padding=(0, reach), groups=channels)
    return F.silu(found, inplace=True).permute(0, 2, 3, 1)


def step_sizes(w: Weights, normed: Tensor, n: int, plan: Plan, length: int, buffers: Buffers) -> Tensor:
    """Return dt (N·M, 2·H, Q); next to nothing in the padding."""
    raw = torch.mm(normed, w.steps).view(n * plan.chunks, plan.steps, -1).transpose(1, 2)
    dt = torch.add(raw, w.step_bias, out=buffers("dt", normed, *raw.shape))
    dt = F.softplus(dt).clamp_min_(SHORTEST_STEP)
    if padding := plan.chunks * plan.steps - length:
        dt.view(n, plan.chunks, -1, plan.steps)[:, -1, :, -padding:] = SHORTEST_STEP
    return dt


def mix_steps(w: Weights, mixed: Tensor, dt: Tensor, n: int, plan: Plan, buffers: Buffers) -> Tensor:
    """The two state-space maps, with D x, of x, B, C (N·M, Q, 2, I + 2·S): (2, N·M, H, Q, P)."""
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
    # D x rides along as D/dt on the diagonal.
    maps.diagonal(dim1=-2, dim2=-1).addcdiv_(w.skip, steps)
    y = torch.bmm(maps.view(-1, q, q), flow.view(2 * nm * h, q, -1), out=buffers("y", x, 2 * nm * h, q, x.shape[-1]))
    y = y.view(x.shape)
    if plan.chunks > 1:
        add_states(y, flow, b, c, ahead, before, clock[..., -1], n, buffers)
    return y


def decays(ahead: Tensor, before: Tensor, spare: Tensor, buffers: Buffers) -> Tensor:
    """exp of the log decay between two steps (N·M, H, Q, Q): forward on and below the diagonal, backward above it.

    `ahead` sums the forward log decays up to and with a step, `before` the backward ones without it. On its own side
    a difference is ≤ 0, on the other side ≥ 0: the smaller one is right everywhere.
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
    """Add to y (2, N·M, H, Q, P) what comes from the chunks before, for the backward direction after, each chunk.

    flow (2, N·M, H, Q, P): x dt; b, c (2, N·M, Q, S); ahead, before (N·M, H, Q): see `decays`; total (N·M, 2, H).
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
