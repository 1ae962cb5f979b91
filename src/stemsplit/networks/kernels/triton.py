# mypy: ignore-errors
"""Mamba-2 in both directions as Triton kernels: what lies between the two big matrix products, and the second of them.

The algebra is that of `ssd.py`; its `ssd_recurrence` is the truth these are tested against. Importing this file needs
Triton, so only `ssd_triton.py` imports it, and late.

`projected` (N, L, W) is the product of the normed rows with everything that reads them (`ssd_triton.pack`); columns:

    z x B C of the forward direction | z x B C of the backward one | base (D) | dt of both (2 H) | padding

Other arrays: conv_weight (2, taps, inner + 2S), conv_bias (2, inner + 2S), dt_bias, rate = −exp(A_log) and skip = D
(2, H), outward (2, inner, D): out_proj, the norm's weight and the block's projection in one matrix per direction. The
axis of 2 is (forward, backward). The backward direction reads its rows in place: masks and taps turn round, not data.

Sums, decays and states are float32 whatever the arrays are; products take operands of the arrays' type. The direction
is a number (`back`), not a constant: one code for both is half the code to compile.
"""

import triton
import triton.language as tl

VARYING = ("length", "count", "chunks")
"""Numbers that differ from call to call: a kernel is not compiled anew for those that 16 happens to divide."""


@triton.jit
def silu(v):
    return v / (1.0 + tl.exp(-v))


@triton.jit
def softplus(v):
    """log(1 + e^v). Small e^v go through the series: the sum 1 + e^v would round away what dt is made of."""
    u = tl.exp(tl.minimum(v, 20.0))
    series = u * (1.0 - u * (0.5 - u * (0.33333333 - u * (0.25 - u * (0.2 - u * 0.16666667)))))
    return tl.where(v > 20.0, v, tl.where(u < 0.03125, series, tl.log(1.0 + u)))


@triton.jit
def convolved(
    mixed, steps, length, stride, channels, wanted, weight, bias, back, MIXED: tl.constexpr, TAPS: tl.constexpr
):
    """SiLU of the causal (`back` 1: anti-causal) depthwise convolution: float32 (steps, channels), 0 from `length` on.

    mixed: where channel 0 of step 0 lies; weight (TAPS, MIXED) and bias (MIXED) of this direction.
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
    """exp of the log decay from step s (column) to step t (row), 0 where s comes later than t in this direction.

    a: log decays (Q), clock: their cumulative sum, order: 0 … Q − 1. As in `ssd.decay_matrix`, masked before exp.
    """
    edge = tl.where(back == 1, clock - a, -clock)
    span = edge[None, :] - edge[:, None]
    keep = (order[:, None] - order[None, :]) * (1 - 2 * back) >= 0
    return tl.exp(tl.where(keep, span, float("-inf")))


@triton.jit
def step_sizes(column, steps, length, stride, offset):
    """dt = softplus(projected + bias) of one head, float32; 0 from `length` on: such steps decay and add nothing."""
    inside = steps < length
    dt = tl.load(column + steps * stride, mask=inside, other=0.0).to(tl.float32)
    return tl.where(inside, softplus(dt + offset), 0.0)


@triton.jit(do_not_specialize=VARYING)
def short_kernel(
    rows, projected, out, conv_weight, conv_bias, dt_bias, rate, skip, outward, length, stride,
    D: tl.constexpr, INNER: tl.constexpr, STATE: tl.constexpr, HEADS: tl.constexpr, HEADDIM: tl.constexpr,
    TAPS: tl.constexpr, STEPS: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_P: tl.constexpr,
    PRECISION: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Sequences of at most STEPS steps, one per program, both directions: out (N, L, D) = rows + the block's update.

    C Bᵀ is made once per direction, a head's share goes through the folded out-projection at once, and the norm's
    division, one number per row, comes last: nothing but `out` is written. Grid (N).
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
    first = projected + sequence * length * stride
    base = first + 2 * (INNER + MIXED)
    total = tl.load(base + steps[:, None] * stride + features[None, :], mask=inside, other=0.0).to(tl.float32)
    for back in range(2):
        z = first + back * (INNER + MIXED)
        weight = conv_weight + back * TAPS * MIXED
        bias = conv_bias + back * MIXED
        at = INNER  # of the channels of B
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
    place = sequence * length * D + steps[:, None] * D + features[None, :]
    total += tl.load(rows + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=VARYING)
def share_kernel(
    projected, conv_weight, conv_bias, b_out, c_out, products_out, count, chunks, length, stride,
    INNER: tl.constexpr, STATE: tl.constexpr, TAPS: tl.constexpr, STEPS: tl.constexpr, BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """What a chunk's heads share: B and C (2, N, M, Q, BLOCK_S) after convolution and SiLU, and C Bᵀ (2, N, M, Q, Q).

    Zero beyond the length, so that the scan reads them without masks. Grid (N · M, 2).
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
    """Walk through a sequence chunk by chunk with the state of one head at hand, in float32; any length.

    Writes y · silu(z) to gated (N, L, 2, inner) and each head's sum of its squares to squares (N, L, 2, H), which the
    norm needs. Grid (N · H, 2): the heads of a sequence run side by side and share B and C through the cache.
    """
    MIXED: tl.constexpr = INNER + 2 * STATE
    kind = projected.dtype.element_ty
    program, back = tl.program_id(0), tl.program_id(1)
    sequence = (program // HEADS).to(tl.int64)
    head = program % HEADS
    one = back * HEADS + head
    at = head * HEADDIM
    first = projected + sequence * length * stride
    z = first + back * (INNER + MIXED) + at
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
        dt = step_sizes(first + 2 * (INNER + MIXED) + D + one, steps, length, stride, tl.load(dt_bias + one))
        a = dt * tl.load(rate + one)
        clock, whole = tl.cumsum(a, 0), tl.sum(a, 0)
        since = tl.where(back == 1, clock - a, whole - clock)  # from a step to where the state leaves the chunk
        until = tl.where(back == 1, whole - clock + a, clock)  # from where it entered to a step
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
    D: tl.constexpr, INNER: tl.constexpr, STATE: tl.constexpr, HEADS: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_H: tl.constexpr, PRECISION: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """out (count, D) = rows + base + Σ over directions of (gated @ outward) / rms(gated); count = N · L rows.

    Grid (⌈count / ROWS⌉).
    """
    places = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    features = tl.arange(0, BLOCK_D)
    heads = tl.arange(0, BLOCK_H)
    near = places < count
    inside = near[:, None] & (features < D)[None, :]
    base = projected + 4 * (INNER + STATE) + places[:, None] * stride + features[None, :]
    total = tl.load(base, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(rows + places[:, None] * D + features[None, :], mask=inside, other=0.0).to(tl.float32)
    for back in range(2):
        update = tl.zeros([ROWS, BLOCK_D], tl.float32)
        for start in range(0, INNER, BLOCK_K):
            inner = start + tl.arange(0, BLOCK_K)
            left = gated + places[:, None] * (2 * INNER) + back * INNER + inner[None, :]
            y = tl.load(left, mask=near[:, None] & (inner < INNER)[None, :], other=0.0)
            right = outward + (back * INNER + inner[:, None]) * D + features[None, :]
            folded = tl.load(right, mask=(inner < INNER)[:, None] & (features < D)[None, :], other=0.0)
            update = tl.dot(y, folded, update, input_precision=PRECISION)
        parts = squares + places[:, None] * (2 * HEADS) + back * HEADS + heads[None, :]
        power = tl.sum(tl.load(parts, mask=near[:, None] & (heads < HEADS)[None, :], other=0.0), 1)
        total += update * (1.0 / tl.sqrt(power / INNER + EPS))[:, None]
    tl.store(out + places[:, None] * D + features[None, :], total.to(out.dtype.element_ty), mask=inside)
