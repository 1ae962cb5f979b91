# mypy: ignore-errors
"""Triton kernels of all that is around the blocks: GroupNorm, band split, heads, exchange between channels.

As in `block_kernels.py`, sums are float32, and operands of matrix products have the type of the arrays. Importing this
file needs Triton. `weights.py` states the shapes of the weights, and `reference.py` computes the same in PyTorch.
"""

import triton
import triton.language as tl

from stemsplit.networks.kernels.gpu.block_kernels import place_of

VARYING = ("length", "first", "inner", "frames", "groups", "channels")
"""Arguments that differ from call to call. Triton shall not compile a kernel again if 16 happens to divide one."""


@triton.jit
def tanh(v):
    """Return tanh v. The exponential cannot overflow."""
    small = tl.exp(-2.0 * tl.abs(v))
    size = (1.0 - small) / (1.0 + small)
    return tl.where(v < 0, -size, size)


@triton.jit
def linear(x, weight, columns, known, outputs, wanted, stride, PRECISION: tl.constexpr):
    """Return x (rows, columns) times the transpose of a weight (outputs, columns), float32 (rows, outputs)."""
    at = weight + outputs[None, :] * stride + columns[:, None]
    values = tl.load(at, mask=known[:, None] & wanted[None, :], other=0.0)
    return tl.dot(x, values, input_precision=PRECISION)


@triton.jit(do_not_specialize=VARYING)
def norm_kernel(
    rows, normed, length, first, inner, outer_stride, inner_stride, step_stride,
    D: tl.constexpr, ROWS: tl.constexpr, BLOCK_D: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Write the sequences of tokens with mean 0 and variance 1 to normed (N, L, D). Grid (N)."""
    sequence = tl.program_id(0).to(tl.int64)
    features = tl.arange(0, BLOCK_D)
    order = tl.arange(0, ROWS)
    rows += place_of(sequence + first, inner, outer_stride, inner_stride)
    total = tl.zeros([ROWS, BLOCK_D], tl.float32)
    for start in range(0, length, ROWS):
        steps = start + order
        inside = (steps < length)[:, None] & (features < D)[None, :]
        place = steps[:, None].to(tl.int64) * step_stride + features[None, :]
        total += tl.load(rows + place, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(total) / (length * D)
    total = tl.zeros([ROWS, BLOCK_D], tl.float32)
    for start in range(0, length, ROWS):
        steps = start + order
        inside = (steps < length)[:, None] & (features < D)[None, :]
        place = steps[:, None].to(tl.int64) * step_stride + features[None, :]
        away = tl.where(inside, tl.load(rows + place, mask=inside, other=0.0).to(tl.float32) - mean, 0.0)
        total += away * away
    scale = 1.0 / tl.sqrt(tl.sum(total) / (length * D) + EPS)
    for start in range(0, length, ROWS):
        steps = start + order
        inside = (steps < length)[:, None] & (features < D)[None, :]
        place = steps[:, None].to(tl.int64) * step_stride + features[None, :]
        away = tl.load(rows + place, mask=inside, other=0.0).to(tl.float32) - mean
        target = normed + (sequence * length + steps)[:, None] * D + features[None, :]
        tl.store(target, (away * scale).to(normed.dtype.element_ty), mask=inside)


@triton.jit
def bins_of(spectrum, frames_here, frames, bins, wanted, frame_stride, bin_stride):
    """Return real or imaginary parts, (frames, bins) in float32, and which of them exist."""
    inside = (frames_here < frames)[:, None] & wanted[None, :]
    place = frames_here[:, None].to(tl.int64) * frame_stride + bins[None, :] * bin_stride
    return tl.load(spectrum + place, mask=inside, other=0.0).to(tl.float32), inside


@triton.jit(do_not_specialize=VARYING)
def split_kernel(
    spectrum, starts, weight, bias, tokens, frames, groups,
    batch_stride, channel_stride, frame_stride, bin_stride,
    D: tl.constexpr, BANDS: tl.constexpr, BINS: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Write the tokens (B, G, K, T, D) of some frames of one band and group of channels.

    The spectrum is read as real numbers (B, C, F, T, re | im) with strides. Every program computes mean and variance of
    all frames of its band, because the input is small. Grid (B · G, K, ⌈T / ROWS⌉).
    """
    kind = weight.dtype.element_ty
    row, band, tile = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    begin, end = tl.load(starts + band), tl.load(starts + band + 1)
    spectrum += (row // groups) * batch_stride + (row % groups) * GROUP * channel_stride
    order = tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK_N)
    features = tl.arange(0, BLOCK_D)
    count = 2 * GROUP * (end - begin) * frames
    total = tl.zeros([ROWS, BLOCK_N], tl.float32)
    for part in range(2 * GROUP):
        source = spectrum + (part // 2) * channel_stride + part % 2
        for first_bin in range(begin, end, BLOCK_N):
            bins = first_bin + columns
            for start in range(0, frames, ROWS):
                values, inside = bins_of(source, start + order, frames, bins, bins < end, frame_stride, bin_stride)
                total += values
    mean = tl.sum(total) / count
    total = tl.zeros([ROWS, BLOCK_N], tl.float32)
    for part in range(2 * GROUP):
        source = spectrum + (part // 2) * channel_stride + part % 2
        for first_bin in range(begin, end, BLOCK_N):
            bins = first_bin + columns
            for start in range(0, frames, ROWS):
                values, inside = bins_of(source, start + order, frames, bins, bins < end, frame_stride, bin_stride)
                away = tl.where(inside, values - mean, 0.0)
                total += away * away
    scale = 1.0 / tl.sqrt(tl.sum(total) / count + EPS)
    here = tile * ROWS + order
    update = tl.zeros([ROWS, BLOCK_D], tl.float32)
    for part in range(2 * GROUP):
        source = spectrum + (part // 2) * channel_stride + part % 2
        for first_bin in range(begin, end, BLOCK_N):
            bins = first_bin + columns
            values, inside = bins_of(source, here, frames, bins, bins < end, frame_stride, bin_stride)
            normed = tl.where(inside, (values - mean) * scale, 0.0).to(kind)
            known, wanted = bins < end, features < D
            update += linear(normed, weight + part * BINS, bins, known, features, wanted, 2 * GROUP * BINS, PRECISION)
    update += tl.load(bias + band * D + features, mask=features < D, other=0.0).to(tl.float32)[None, :]
    place = ((row * BANDS + band) * frames + here)[:, None] * D + features[None, :]
    tl.store(tokens + place, update, mask=(here < frames)[:, None] & (features < D)[None, :])


@triton.jit
def hidden(
    normed, weight1, bias1, weight2, bias2, band, part, features,
    D: tl.constexpr, INNER: tl.constexpr, PARTS: tl.constexpr, BLOCK_I: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return one of the four groups of the second hidden layer of a band, (rows, BLOCK_I)."""
    kind = normed.dtype
    units = tl.arange(0, BLOCK_I)
    known = units < INNER
    group = band * PARTS + part
    inside = features < D
    inner = linear(normed, weight1 + group * INNER * D, features, inside, units, known, D, PRECISION)
    inner = tanh(inner + tl.load(bias1 + group * INNER + units, mask=known, other=0.0).to(tl.float32)[None, :])
    inner = linear(inner.to(kind), weight2 + group * INNER * INNER, units, known, units, known, INNER, PRECISION)
    inner = tanh(inner + tl.load(bias2 + group * INNER + units, mask=known, other=0.0).to(tl.float32)[None, :])
    return tl.where(known[None, :], inner, 0.0).to(kind)


@triton.jit
def gated(
    value, gate, weight3, bias3, part, row, bins, wanted,
    ROWS3: tl.constexpr, BINS: tl.constexpr, INNER: tl.constexpr, BLOCK_I: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return value · sigmoid(gate) of some bins, float32 (rows, bins). `part` is 0 for real, 1 for imaginary parts."""
    units = tl.arange(0, BLOCK_I)
    known = units < INNER
    at = (part * ROWS3 + row) * BINS
    v = linear(value, weight3 + at.to(tl.int64) * INNER, units, known, bins, wanted, INNER, PRECISION)
    v += tl.load(bias3 + at + bins, mask=wanted, other=0.0).to(tl.float32)[None, :]
    at = ((part + 2) * ROWS3 + row) * BINS
    g = linear(gate, weight3 + at.to(tl.int64) * INNER, units, known, bins, wanted, INNER, PRECISION)
    g += tl.load(bias3 + at + bins, mask=wanted, other=0.0).to(tl.float32)[None, :]
    return v / (1.0 + tl.exp(-g))


@triton.jit(do_not_specialize=VARYING)
def heads_kernel(
    normed, starts, weight1, bias1, weight2, bias2, weight3, bias3, mixture, onto, out, frames, groups,
    D: tl.constexpr, BANDS: tl.constexpr, BINS: tl.constexpr, INNER: tl.constexpr, STEMS: tl.constexpr,
    GROUP: tl.constexpr, MASKED: tl.constexpr, ADDED: tl.constexpr, ROWS: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_I: tl.constexpr, BLOCK_N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the spectra (B, S, C, T, F, re | im) of some frames of one band and group of channels.

    normed is (B, G, K, T, D). If MASKED, the outputs are shifted so that the stems add up to 1, and multiplied by the
    mixture (B, C, T, F, re | im). If ADDED, they are added to `onto`, which has the shape of the result. The last map
    is computed twice for masks, once for the sum over the stems, because that costs less than keeping its output. Grid
    (B · G, K, ⌈T / ROWS⌉).
    """
    ROWS3: tl.constexpr = STEMS * GROUP
    row, band, tile = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    begin, end = tl.load(starts + band), tl.load(starts + band + 1)
    here = tile * ROWS + tl.arange(0, ROWS)
    features = tl.arange(0, BLOCK_D)
    columns = tl.arange(0, BLOCK_N)
    inside = (here < frames)[:, None] & (features < D)[None, :]
    place = ((row * BANDS + band) * frames + here)[:, None] * D + features[None, :]
    x = tl.load(normed + place, mask=inside, other=0.0)
    h0 = hidden(x, weight1, bias1, weight2, bias2, band, 0, features, D, INNER, 4, BLOCK_I, PRECISION)
    h1 = hidden(x, weight1, bias1, weight2, bias2, band, 1, features, D, INNER, 4, BLOCK_I, PRECISION)
    h2 = hidden(x, weight1, bias1, weight2, bias2, band, 2, features, D, INNER, 4, BLOCK_I, PRECISION)
    h3 = hidden(x, weight1, bias1, weight2, bias2, band, 3, features, D, INNER, 4, BLOCK_I, PRECISION)
    batch, width = row // groups, groups * GROUP  # width: channels of the spectra
    for first_bin in range(begin, end, BLOCK_N):
        bins = first_bin + columns
        wanted = bins < end
        mask = (here < frames)[:, None] & wanted[None, :]
        grid = (here[:, None].to(tl.int64) * BINS + bins[None, :]) * 2
        for one in range(GROUP):
            channel = (row % groups) * GROUP + one
            sum_real = tl.zeros([ROWS, BLOCK_N], tl.float32)
            sum_imag = tl.zeros([ROWS, BLOCK_N], tl.float32)
            if MASKED:
                for stem in range(STEMS):
                    at = stem * GROUP + one
                    sum_real += gated(
                        h0, h2, weight3, bias3, 0, at, bins, wanted, ROWS3, BINS, INNER, BLOCK_I, PRECISION
                    )
                    sum_imag += gated(
                        h1, h3, weight3, bias3, 1, at, bins, wanted, ROWS3, BINS, INNER, BLOCK_I, PRECISION
                    )
            for stem in range(STEMS):
                at = stem * GROUP + one
                real = gated(h0, h2, weight3, bias3, 0, at, bins, wanted, ROWS3, BINS, INNER, BLOCK_I, PRECISION)
                imag = gated(h1, h3, weight3, bias3, 1, at, bins, wanted, ROWS3, BINS, INNER, BLOCK_I, PRECISION)
                if MASKED:
                    real, imag = real - (sum_real - 1.0) / STEMS, imag - sum_imag / STEMS
                    source = mixture + (batch * width + channel) * frames * BINS * 2 + grid
                    a = tl.load(source, mask=mask, other=0.0)
                    b = tl.load(source + 1, mask=mask, other=0.0)
                    real, imag = real * a - imag * b, real * b + imag * a
                target = ((batch * STEMS + stem) * width + channel) * frames * BINS * 2 + grid
                if ADDED:
                    real += tl.load(onto + target, mask=mask, other=0.0)
                    imag += tl.load(onto + target + 1, mask=mask, other=0.0)
                tl.store(out + target, real, mask=mask)
                tl.store(out + target + 1, imag, mask=mask)


@triton.jit
def transformed(
    x, weight, bias, part, features, D: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    """Return a third of tanh(x · weightᵀ + bias), float32 (rows, BLOCK_D); it is 0 beyond D."""
    known = features < D
    y = linear(x, weight + part * D * D, features, known, features, known, D, PRECISION)
    return tanh(y + tl.load(bias + part * D + features, mask=known, other=0.0).to(tl.float32)[None, :])


@triton.jit
def chosen(part, v0, v1, v2):
    """Return one of three parts."""
    return tl.where(part == 0, v0, tl.where(part == 1, v1, v2))


@triton.jit(do_not_specialize=VARYING)
def exchange_kernel(
    tokens, normed, out, weight1, bias1, weight2, bias2, weight3, bias3, frames, channels,
    D: tl.constexpr, BANDS: tl.constexpr, ROWS: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write the updated tokens (B, C, K, T, D) of some frames of one band, in all channels.

    The hidden layers have 3 · D features, and are kept as three parts. Those of a channel are computed twice, once for
    the average over channels, because that costs less than keeping them. All is in loops over the parts, because the
    shared memory has room for one matrix of D · D weights only. Grid (B, K, ⌈T / ROWS⌉).
    """
    kind = normed.dtype.element_ty
    batch, band, tile = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    here = tile * ROWS + tl.arange(0, ROWS)
    features = tl.arange(0, BLOCK_D)
    known = features < D
    mask = (here < frames)[:, None] & known[None, :]
    place = ((batch * channels * BANDS + band) * frames + here)[:, None] * D + features[None, :]
    step = (BANDS * frames).to(tl.int64) * D  # from a channel to the next
    m0 = tl.zeros([ROWS, BLOCK_D], tl.float32)
    m1 = tl.zeros([ROWS, BLOCK_D], tl.float32)
    m2 = tl.zeros([ROWS, BLOCK_D], tl.float32)
    for channel in range(channels):
        x = tl.load(normed + channel * step + place, mask=mask, other=0.0)
        for part in range(3):
            own = transformed(x, weight1, bias1, part, features, D, PRECISION)
            m0 += tl.where(part == 0, own, 0.0)
            m1 += tl.where(part == 1, own, 0.0)
            m2 += tl.where(part == 2, own, 0.0)
    a0, a1, a2 = (m0 / channels).to(kind), (m1 / channels).to(kind), (m2 / channels).to(kind)
    base = tl.zeros([ROWS, BLOCK_D], tl.float32)
    base += tl.load(bias3 + features, mask=known, other=0.0).to(tl.float32)[None, :]
    for part in range(3):
        common = tl.zeros([ROWS, BLOCK_D], tl.float32)
        common += tl.load(bias2 + part * D + features, mask=known, other=0.0).to(tl.float32)[None, :]
        for other in range(3):
            source = weight2 + part * 3 * D * D + other * D
            common += linear(chosen(other, a0, a1, a2), source, features, known, features, known, 3 * D, PRECISION)
        common = tanh(common).to(kind)
        base += linear(common, weight3 + (3 + part) * D, features, known, features, known, 6 * D, PRECISION)
    for channel in range(channels):
        x = tl.load(normed + channel * step + place, mask=mask, other=0.0)
        total = base
        for part in range(3):
            own = transformed(x, weight1, bias1, part, features, D, PRECISION).to(kind)
            total += linear(own, weight3 + part * D, features, known, features, known, 6 * D, PRECISION)
        total = tanh(total) + tl.load(tokens + channel * step + place, mask=mask, other=0.0).to(tl.float32)
        tl.store(out + channel * step + place, total.to(out.dtype.element_ty), mask=mask)
