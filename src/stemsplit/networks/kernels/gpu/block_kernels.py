# mypy: ignore-errors
"""Triton kernels of the bidirectional Mamba-2 block: everything after the in-projection.

The mathematics is that of `ssd.py`, and tests compare the kernels with its `ssd_recurrence`. Importing this file needs
Triton. `launches.py` launches the kernels; `reference.py` computes the same in PyTorch.

`rows` and `out` are the tokens, (outer, inner, L, D) with any strides but that of D, which is 1; the sequence `n` is
(n // inner, n % inner). So neither the path over time nor that over bands needs a copy. A launch may compute only some
of the sequences, from `first` on. All other arrays have these sequences only, one after the other.

`projected` (N, L, W) is the product of the normed rows and all matrices that they are multiplied by
(`backends.triton_block.pack`). Its columns are:

    z x B C of the forward direction | z x B C of the backward one | base (D) | dt of both (2 H) | padding

The other arrays: conv_weight (2, taps, inner + 2S); conv_bias (2, inner + 2S); dt_bias, rate = −exp(A_log) and
skip = D, (2, H) each; outward (2, inner, D), one matrix per direction that contains out_proj, the norm's weight and the
block's projection. The axis of 2 is (forward, backward). No rows are flipped for the backward direction: instead, masks
and taps are in the opposite order.

Sums, decays and states are float32, whatever the type of the arrays is. Operands of matrix products have the type of
the arrays. The direction is a number (`back`, 0 or 1) and not a constant of compilation, so that each kernel is
compiled once for both directions.
"""

import triton
import triton.language as tl

VARYING = ("length", "count", "chunks", "first", "inner")
"""Arguments that differ from call to call. Triton shall not compile a kernel again if 16 happens to divide one."""


@triton.jit
def place_of(sequence, inner, outer_stride, inner_stride):
    """Return the offset of the first row of a sequence in the tokens."""
    return (sequence // inner) * outer_stride + (sequence % inner) * inner_stride


@triton.jit
def silu(v):
    """Return v · sigmoid(v)."""
    return v / (1.0 + tl.exp(-v))


@triton.jit
def softplus(v):
    """Return log(1 + e^v). If e^v is small, a series is used, because 1 + e^v would lose its digits by rounding."""
    u = tl.exp(tl.minimum(v, 20.0))
    series = u * (1.0 - u * (0.5 - u * (0.33333333 - u * (0.25 - u * (0.2 - u * 0.16666667)))))
    return tl.where(v > 20.0, v, tl.where(u < 0.03125, series, tl.log(1.0 + u)))


@triton.jit
def convolved(
    mixed, steps, length, stride, channels, wanted, weight, bias, back, MIXED: tl.constexpr, TAPS: tl.constexpr
):
    """Return SiLU of the depthwise convolution, float32 (steps, channels). It is 0 from step `length` on.

    The convolution is causal, or anti-causal if `back` is 1. `mixed` points to channel 0 of step 0. `weight` (TAPS,
    MIXED) and `bias` (MIXED) are those of this direction.
    """
    inside = (steps < length)[:, None] & wanted[None, :]
    total = tl.load(bias + channels, mask=wanted, other=0.0).to(tl.float32)[None, :]
    for tap in tl.static_range(TAPS):
        source = steps - (1 - 2 * back) * (TAPS - 1 - tap)
        known = inside & (source >= 0)[:, None] & (source < length)[:, None]
        values = tl.load(mixed + source[:, None] * stride + channels[None, :], mask=known, other=0.0)
        factor = tl.load(weight + tap * MIXED + channels, mask=wanted, other=0.0)
        total = total + values.to(tl.float32) * factor.to(tl.float32)[None, :]
    return tl.where(inside, silu(total), 0.0)


@triton.jit
def decay_matrix(a, clock, order, back):
    """Return the decay from step s (column) to step t (row), or 0 if s comes after t in this direction.

    `a` are the log decays (Q), `clock` is their cumulative sum, and `order` is 0 … Q − 1. As in `ssd.decay_matrix`, the
    mask is applied before the exponential.
    """
    edge = tl.where(back == 1, clock - a, -clock)
    span = edge[None, :] - edge[:, None]
    keep = (order[:, None] - order[None, :]) * (1 - 2 * back) >= 0
    return tl.exp(tl.where(keep, span, float("-inf")))


@triton.jit
def step_sizes(column, steps, length, stride, offset):
    """Return dt = softplus(projected + bias) of one head, float32.

    From step `length` on it is 0, so that these steps neither decay the state nor add to it.
    """
    inside = steps < length
    dt = tl.load(column + steps * stride, mask=inside, other=0.0).to(tl.float32)
    return tl.where(inside, softplus(dt + offset), 0.0)


@triton.jit(do_not_specialize=VARYING)
def short_kernel(
    rows, projected, out, conv_weight, conv_bias, dt_bias, rate, skip, outward, length, stride,
    first, inner, outer_stride, inner_stride, step_stride,
    D: tl.constexpr, INNER: tl.constexpr, STATE: tl.constexpr, HEADS: tl.constexpr, HEADDIM: tl.constexpr,
    TAPS: tl.constexpr, STEPS: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_P: tl.constexpr,
    PRECISION: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Compute both directions of a sequence of at most STEPS steps: out (N, L, D) = rows + the block's update.

    Nothing but `out` is written to memory. C Bᵀ is computed once per direction. The output of each head is multiplied
    by its part of `outward` at once, and these are added up. The division of the norm is by one number per row, so it
    can come last. Grid (N).
    """
    MIXED: tl.constexpr = INNER + 2 * STATE
    kind = projected.dtype.element_ty
    sequence = tl.program_id(0).to(tl.int64)
    steps = tl.arange(0, STEPS)
    features = tl.arange(0, BLOCK_D)
    units = tl.arange(0, BLOCK_S)
    channels = tl.arange(0, BLOCK_P)
    known, wanted = units < STATE, channels < HEADDIM
    inside = (steps < length)[:, None] & (features < D)[None, :]
    gate_mask = (steps < length)[:, None] & wanted[None, :]
    begin = projected + sequence * length * stride
    base = begin + 2 * (INNER + MIXED)
    total = tl.load(base + steps[:, None] * stride + features[None, :], mask=inside, other=0.0).to(tl.float32)
    for back in range(2):
        z = begin + back * (INNER + MIXED)
        weight = conv_weight + back * TAPS * MIXED
        bias = conv_bias + back * MIXED
        at = INNER  # where the channels of B begin
        b = convolved(z + INNER + at, steps, length, stride, units, known, weight + at, bias + at, back, MIXED, TAPS)
        at = INNER + STATE
        c = convolved(z + INNER + at, steps, length, stride, units, known, weight + at, bias + at, back, MIXED, TAPS)
        products = tl.dot(c.to(kind), tl.trans(b.to(kind)), input_precision=PRECISION)  # all heads share them
        squares = tl.zeros([STEPS], tl.float32)
        update = tl.zeros([STEPS, BLOCK_D], tl.float32)
        for head in range(HEADS):
            one = back * HEADS + head
            at = head * HEADDIM
            dt = step_sizes(base + D + one, steps, length, stride, tl.load(dt_bias + one))
            a = dt * tl.load(rate + one)
            scores = products * decay_matrix(a, tl.cumsum(a, 0), steps, back) * dt[None, :]
            x = convolved(
                z + INNER + at, steps, length, stride, channels, wanted, weight + at, bias + at, back, MIXED, TAPS
            )
            y = tl.dot(scores.to(kind), x.to(kind), input_precision=PRECISION) + tl.load(skip + one) * x
            gate = tl.load(z + at + steps[:, None] * stride + channels[None, :], mask=gate_mask, other=0.0)
            y = y * silu(gate.to(tl.float32))
            squares += tl.sum(y * y, 1)
            right = outward + (back * INNER + at + channels[:, None]) * D + features[None, :]
            folded = tl.load(right, mask=wanted[:, None] & (features < D)[None, :], other=0.0)
            update = tl.dot(y.to(kind), folded, update, input_precision=PRECISION)
        total += update * (1.0 / tl.sqrt(squares / INNER + EPS))[:, None]
    place = place_of(sequence + first, inner, outer_stride, inner_stride)
    place += steps[:, None].to(tl.int64) * step_stride + features[None, :]
    total += tl.load(rows + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=VARYING)
def share_kernel(
    projected, conv_weight, conv_bias, b_out, c_out, products_out, count, chunks, length, stride,
    INNER: tl.constexpr, STATE: tl.constexpr, TAPS: tl.constexpr, STEPS: tl.constexpr, BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Compute what all heads of a chunk have in common.

    It is B and C after convolution and SiLU, (2, N, M, Q, BLOCK_S), and C Bᵀ, (2, N, M, Q, Q). They are 0 beyond the
    length, so that `scan_kernel` needs no masks to read them. Grid (N · M, 2).
    """
    MIXED: tl.constexpr = INNER + 2 * STATE
    kind = projected.dtype.element_ty
    program, back = tl.program_id(0), tl.program_id(1)
    sequence = (program // chunks).to(tl.int64)
    chunk = program % chunks
    mixed = projected + sequence * length * stride + back * (INNER + MIXED) + INNER
    weight = conv_weight + back * TAPS * MIXED
    bias = conv_bias + back * MIXED
    order = tl.arange(0, STEPS)
    steps = chunk * STEPS + order
    units = tl.arange(0, BLOCK_S)
    known = units < STATE
    slot = ((back * count + sequence) * chunks + chunk) * STEPS + order[:, None]
    at = INNER
    b = convolved(mixed + at, steps, length, stride, units, known, weight + at, bias + at, back, MIXED, TAPS).to(kind)
    tl.store(b_out + slot * BLOCK_S + units[None, :], b)
    at = INNER + STATE
    c = convolved(mixed + at, steps, length, stride, units, known, weight + at, bias + at, back, MIXED, TAPS).to(kind)
    tl.store(c_out + slot * BLOCK_S + units[None, :], c)
    products = tl.dot(c, tl.trans(b), input_precision=PRECISION)
    tl.store(products_out + slot * STEPS + order[None, :], products.to(kind))


@triton.jit(do_not_specialize=VARYING)
def scan_kernel(
    projected, conv_weight, conv_bias, dt_bias, rate, skip, b_in, c_in, products_in, gated, squares,
    count, chunks, length, stride,
    D: tl.constexpr, INNER: tl.constexpr, STATE: tl.constexpr, HEADS: tl.constexpr, HEADDIM: tl.constexpr,
    TAPS: tl.constexpr, STEPS: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_P: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Go through a sequence of any length chunk by chunk, and keep the state of one head in float32.

    Writes y · silu(z) to gated (N, L, 2, inner), and the sum of its squares in each head, which the norm needs, to
    squares (N, L, 2, H). Grid (N · H, 2), so that the heads of a sequence run at the same time and find B and C in the
    cache.
    """
    MIXED: tl.constexpr = INNER + 2 * STATE
    kind = projected.dtype.element_ty
    program, back = tl.program_id(0), tl.program_id(1)
    sequence = (program // HEADS).to(tl.int64)
    head = program % HEADS
    one = back * HEADS + head
    at = head * HEADDIM
    begin = projected + sequence * length * stride
    z = begin + back * (INNER + MIXED) + at
    weight = conv_weight + back * TAPS * MIXED + at
    bias = conv_bias + back * MIXED + at
    gated += sequence * length * (2 * INNER) + back * INNER + at
    squares += sequence * length * (2 * HEADS) + one
    order = tl.arange(0, STEPS)
    units = tl.arange(0, BLOCK_S)
    channels = tl.arange(0, BLOCK_P)
    wanted = channels < HEADDIM
    state = tl.zeros([BLOCK_S, BLOCK_P], tl.float32)
    for index in range(chunks):
        chunk = index + back * (chunks - 1 - 2 * index)
        steps = chunk * STEPS + order
        slot = ((back * count + sequence) * chunks + chunk) * STEPS + order[:, None]
        dt = step_sizes(begin + 2 * (INNER + MIXED) + D + one, steps, length, stride, tl.load(dt_bias + one))
        a = dt * tl.load(rate + one)
        clock, whole = tl.cumsum(a, 0), tl.sum(a, 0)
        since = tl.where(back == 1, clock - a, whole - clock)  # log decay from a step to the end at which states leave
        until = tl.where(back == 1, whole - clock + a, clock)  # log decay from the end at which states enter to a step
        x = convolved(z + INNER, steps, length, stride, channels, wanted, weight, bias, back, MIXED, TAPS)
        c = tl.load(c_in + slot * BLOCK_S + units[None, :])
        y = tl.dot(c, state.to(kind), input_precision=PRECISION) * tl.exp(until)[:, None]
        products = tl.load(products_in + slot * STEPS + order[None, :]).to(tl.float32)
        scores = products * decay_matrix(a, clock, order, back) * dt[None, :]
        y = tl.dot(scores.to(kind), x.to(kind), y, input_precision=PRECISION) + tl.load(skip + one) * x
        b = tl.load(b_in + slot * BLOCK_S + units[None, :])
        inflow = (x * (dt * tl.exp(since))[:, None]).to(kind)
        state = tl.dot(tl.trans(b), inflow, state * tl.exp(whole), input_precision=PRECISION)
        mask = (steps < length)[:, None] & wanted[None, :]
        gate = tl.load(z + steps[:, None] * stride + channels[None, :], mask=mask, other=0.0)
        y = y * silu(gate.to(tl.float32))
        tl.store(gated + steps[:, None] * (2 * INNER) + channels[None, :], y.to(kind), mask=mask)
        tl.store(squares + steps * (2 * HEADS), tl.sum(y * y, 1), mask=steps < length)


@triton.jit(do_not_specialize=VARYING)
def out_kernel(
    rows, projected, gated, squares, outward, out, count, stride,
    length, first, inner, outer_stride, inner_stride, step_stride,
    D: tl.constexpr, INNER: tl.constexpr, STATE: tl.constexpr, HEADS: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_H: tl.constexpr, PRECISION: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Compute out (count, D) = rows + base + Σ over directions of (gated @ outward) / rms(gated).

    There are count = N · L rows. Grid (⌈count / ROWS⌉).
    """
    places = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    features = tl.arange(0, BLOCK_D)
    heads = tl.arange(0, BLOCK_H)
    near = places < count
    inside = near[:, None] & (features < D)[None, :]
    base = projected + 4 * (INNER + STATE) + places[:, None] * stride + features[None, :]
    total = tl.load(base, mask=inside, other=0.0).to(tl.float32)
    place = place_of(places // length + first, inner, outer_stride, inner_stride) + (places % length) * step_stride
    place = place[:, None] + features[None, :]
    total += tl.load(rows + place, mask=inside, other=0.0).to(tl.float32)
    for back in range(2):
        update = tl.zeros([ROWS, BLOCK_D], tl.float32)
        for start in range(0, INNER, BLOCK_K):
            channels = start + tl.arange(0, BLOCK_K)
            left = gated + places[:, None] * (2 * INNER) + back * INNER + channels[None, :]
            y = tl.load(left, mask=near[:, None] & (channels < INNER)[None, :], other=0.0)
            right = outward + (back * INNER + channels[:, None]) * D + features[None, :]
            folded = tl.load(right, mask=(channels < INNER)[:, None] & (features < D)[None, :], other=0.0)
            update = tl.dot(y, folded, update, input_precision=PRECISION)
        parts = squares + places[:, None] * (2 * HEADS) + back * HEADS + heads[None, :]
        power = tl.sum(tl.load(parts, mask=near[:, None] & (heads < HEADS)[None, :], other=0.0), 1)
        total += update * (1.0 / tl.sqrt(power / INNER + EPS))[:, None]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)
