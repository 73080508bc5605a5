"""The Triton kernels: a product with its epilogue, and a norm with the sum before it.

This is the one module that needs the package triton. Sums, statistics and epilogues are float32,
and every element is rounded once, when it is stored. No kernel uses an atomic operation, so that
the same tiles give the same bits every time.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _relu(z):
    return tl.where(z < 0, 0.0, z)  # keeps NaN


@triton.jit
def _times_sigmoid(z, t):
    # z / (1 + exp(-t)), which does not cancel in either tail.
    return z / (1.0 + tl.exp2(-1.4426950408889634 * t))


@triton.jit
def _gelu_erf(z):
    # z / 2 * erfc(-z / sqrt(2)); erfc(a) = exp(-a^2) t P(t) for a >= 0 with t = 1 / (1 + 0.45 a).
    # The polynomial is that of the CUDA backend, off by 3e-7 of the value at most.
    t = 1.0 / (1.0 + 0.318198052 * tl.abs(z))
    p = t * 0.06643298018 - 0.23837776230
    p = p * t + 0.20542662929
    p = p * t + 0.04357641662
    p = p * t + 0.18683812304
    p = p * t + 0.22864608887
    p = p * t + 0.25354269164
    p = p * t + 0.25391517931
    tail = p * t * tl.exp2(-0.721347520 * z * z)
    return 0.5 * z * tl.where(z < 0, tail, 2.0 - tail)


@triton.jit
def _activate(z, ACTIVATION: tl.constexpr):
    if ACTIVATION == "relu":
        z = _relu(z)
    elif ACTIVATION == "relu2":
        z = _relu(z) * _relu(z)
    elif ACTIVATION == "gelu_erf":
        z = _gelu_erf(z)
    elif ACTIVATION == "gelu_tanh":
        # (1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2 / pi) (z + 0.044715 z^3)
        z = _times_sigmoid(z, 1.5957691216057308 * z * (1.0 + 0.044715 * z * z))
    elif ACTIVATION == "quick_gelu":
        z = _times_sigmoid(z, 1.702 * z)
    elif ACTIVATION == "silu":
        z = _times_sigmoid(z, z)
    else:
        tl.static_assert(ACTIVATION == "none", "unknown activation")
    return z


@triton.jit
def _row_offsets(rows, inner, outer_stride, row_stride):
    # Where rows begin: row m is at (m / inner) * outer_stride + (m % inner) * row_stride.
    return (rows // inner).to(tl.int64) * outer_stride + (rows % inner).to(tl.int64) * row_stride


@triton.jit
def _accumulate(  # noqa: PLR0917, a kernel has no structs
    acc,
    acc_up,
    x_tile,
    gate_tile,
    up_tile,
    w_step,
    row_mask,
    column_mask,
    begin,
    end,
    GATED: tl.constexpr,
    EVEN_K: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    # Adds the products over begin <= k < end to acc, and to acc_up those of the other half; the
    # tiles hold the addresses at k = begin.
    ks = tl.arange(0, BLOCK_K)
    for k in range(begin, end, BLOCK_K):
        x_mask, w_mask = row_mask[:, None], column_mask[None, :]
        if not EVEN_K:
            x_mask = x_mask & (k + ks < end)[None, :]
            w_mask = w_mask & (k + ks < end)[:, None]
        x = tl.load(x_tile, mask=x_mask, other=0.0)
        w = tl.load(gate_tile, mask=w_mask, other=0.0)
        acc = tl.dot(x, w, acc, input_precision=PRECISION)
        if GATED:
            w_up = tl.load(up_tile, mask=w_mask, other=0.0)
            acc_up = tl.dot(x, w_up, acc_up, input_precision=PRECISION)
            up_tile += w_step
        x_tile += BLOCK_K
        gate_tile += w_step
    return acc, acc_up


@triton.jit(do_not_specialize=["m_size", "x_inner", "r_inner"])
def linear_kernel(  # noqa: PLR0917, a kernel has no structs
    x,
    weight,
    bias,
    residual,
    out,
    m_size,
    n_size,
    k_size,
    x_inner,
    x_outer_stride,
    x_row_stride,
    w_n_stride,
    w_k_stride,
    w_step,  # BLOCK_K * w_k_stride
    w_gate,  # where the gate's rows begin: in the weight,
    w_up,
    b_gate,  # and in the bias
    b_up,
    r_inner,
    r_outer_stride,
    r_row_stride,
    alpha,
    clamp,
    ACTIVATION: tl.constexpr,
    GATED: tl.constexpr,
    EVEN_K: tl.constexpr,
    CHUNK: tl.constexpr,  # sums of this many products are added up; 0: one sum over k
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    """out[m, n] = residual[m, n] + alpha * act(sum over k of x[m, k] weight[n, k] + bias[n]), or
    act(z_gate) * z_up. One program computes one tile; GROUP_M rows of tiles share weights in L2.
    """
    tiles_m, tiles_n = tl.cdiv(m_size, BLOCK_M), tl.cdiv(n_size, BLOCK_N)
    program = tl.program_id(0)
    group = program // (GROUP_M * tiles_n)
    group_rows = tl.minimum(tiles_m - group * GROUP_M, GROUP_M)
    within = program % (GROUP_M * tiles_n)
    rows = (group * GROUP_M + within % group_rows) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = within // group_rows * BLOCK_N + tl.arange(0, BLOCK_N)
    row_mask, column_mask = rows < m_size, columns < n_size

    ks = tl.arange(0, BLOCK_K)
    x_rows = _row_offsets(rows, x_inner, x_outer_stride, x_row_stride)
    w_columns = columns.to(tl.int64) * w_n_stride
    x_tile = x + x_rows[:, None] + ks[None, :]
    w_tile = weight + w_columns[None, :] + (ks.to(tl.int64) * w_k_stride)[:, None]
    gate_tile, up_tile = w_tile + w_gate, w_tile + w_up

    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    acc_up = tl.zeros((BLOCK_M, BLOCK_N if GATED else 1), dtype=tl.float32)
    if CHUNK == 0:
        acc, acc_up = _accumulate(
            acc,
            acc_up,
            x_tile,
            gate_tile,
            up_tile,
            w_step,
            row_mask,
            column_mask,
            0,
            k_size,
            GATED,
            EVEN_K,
            "ieee",
            BLOCK_K,
        )
    else:
        tl.static_assert(CHUNK % BLOCK_K == 0, "a chunk must hold whole blocks")
        for begin in range(0, k_size, CHUNK):
            part = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
            part_up = tl.zeros((BLOCK_M, BLOCK_N if GATED else 1), dtype=tl.float32)
            part, part_up = _accumulate(
                part,
                part_up,
                x_tile,
                gate_tile,
                up_tile,
                w_step,
                row_mask,
                column_mask,
                begin,
                tl.minimum(begin + CHUNK, k_size),
                GATED,
                EVEN_K,
                "ieee",
                BLOCK_K,
            )
            acc += part
            acc_up += part_up
            x_tile += CHUNK
            gate_tile += CHUNK // BLOCK_K * w_step
            up_tile += CHUNK // BLOCK_K * w_step

    z = acc
    if bias is not None:
        z += tl.load(bias + b_gate + columns, mask=column_mask, other=0.0).to(tl.float32)[None, :]
    if clamp is not None:
        z = tl.where(z > clamp, clamp, z)  # keeps NaN
    h = _activate(z, ACTIVATION)
    if GATED:
        up = acc_up
        if bias is not None:
            up += tl.load(bias + b_up + columns, mask=column_mask, other=0.0).to(tl.float32)[None]
        if clamp is not None:
            up = tl.where(up > clamp, clamp, tl.where(up < -clamp, -clamp, up))
        h = h * up
    h = alpha * h
    mask = row_mask[:, None] & column_mask[None, :]
    if residual is not None:
        r_rows = _row_offsets(rows, r_inner, r_outer_stride, r_row_stride)
        h += tl.load(residual + r_rows[:, None] + columns[None, :], mask=mask, other=0.0).to(
            tl.float32
        )
    out_rows = rows.to(tl.int64) * n_size
    tl.store(out + out_rows[:, None] + columns[None, :], h.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _sum_of_terms(x, residual, bias, columns, mask):
    # x (+ residual) (+ bias) of some columns of one row, in float32; 0 outside the mask.
    r = tl.load(x + columns, mask=mask, other=0.0).to(tl.float32)
    if residual is not None:
        r += tl.load(residual + columns, mask=mask, other=0.0).to(tl.float32)
    if bias is not None:
        r += tl.load(bias + columns, mask=mask, other=0.0).to(tl.float32)
    return r


@triton.jit
def _store_normed(  # noqa: PLR0917, a kernel has no structs
    r, mean, rest, scale, weight, weight_offset, shift, normed, summed, columns, mask
):
    # Writes the sum, where it is wanted, and (r - mean - rest) * scale * weight + shift.
    if summed is not None:
        tl.store(summed + columns, r.to(summed.dtype.element_ty), mask=mask)
    n = (r - mean - rest) * scale
    if weight is not None:
        n *= tl.load(weight + columns, mask=mask, other=0.0).to(tl.float32) + weight_offset
    elif weight_offset is not None:
        n *= 1.0 + weight_offset
    if shift is not None:
        n += tl.load(shift + columns, mask=mask, other=0.0).to(tl.float32)
    tl.store(normed + columns, n.to(normed.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["x_inner", "r_inner"])
def norm_kernel(  # noqa: PLR0917, a kernel has no structs
    x,
    residual,
    bias,
    weight,
    shift,
    normed,
    summed,
    size,
    x_inner,
    x_outer_stride,
    x_row_stride,
    r_inner,
    r_outer_stride,
    r_row_stride,
    eps,
    weight_offset,
    KIND: tl.constexpr,
    ONE_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """r = x (+ residual) (+ bias); normed = norm(r); summed = r. One program computes one row.

    What the rounded mean leaves, the mean of the differences from it, is taken off these as well,
    and the variance is summed from the results: a large mean cancels neither. KIND "none" only
    adds.
    """
    row = tl.program_id(0)
    x += _row_offsets(row, x_inner, x_outer_stride, x_row_stride)
    if residual is not None:
        residual += _row_offsets(row, r_inner, r_outer_stride, r_row_stride)
    normed += row.to(tl.int64) * size
    if summed is not None:
        summed += row.to(tl.int64) * size
    block = tl.arange(0, BLOCK)
    mean, rest, scale = 0.0, 0.0, 1.0
    if ONE_BLOCK:
        mask = block < size
        r = _sum_of_terms(x, residual, bias, block, mask)
        if KIND == "layer":
            mean = tl.sum(r) / size
            rest = tl.sum(tl.where(mask, r - mean, 0.0)) / size
            d = tl.where(mask, r - mean - rest, 0.0)
            scale = 1.0 / tl.sqrt_rn(tl.sum(d * d) / size + eps)
        elif KIND == "rms":
            scale = 1.0 / tl.sqrt_rn(tl.sum(r * r) / size + eps)
        _store_normed(
            r, mean, rest, scale, weight, weight_offset, shift, normed, summed, block, mask
        )
    else:
        if KIND == "layer":
            total = tl.zeros((BLOCK,), dtype=tl.float32)
            for begin in range(0, size, BLOCK):
                total += _sum_of_terms(x, residual, bias, begin + block, begin + block < size)
            mean = tl.sum(total) / size
            total = tl.zeros((BLOCK,), dtype=tl.float32)
            for begin in range(0, size, BLOCK):
                mask = begin + block < size
                r = _sum_of_terms(x, residual, bias, begin + block, mask)
                total += tl.where(mask, r - mean, 0.0)
            rest = tl.sum(total) / size
        if KIND != "none":
            squares = tl.zeros((BLOCK,), dtype=tl.float32)
            for begin in range(0, size, BLOCK):
                mask = begin + block < size
                r = _sum_of_terms(x, residual, bias, begin + block, mask)
                d = tl.where(mask, r - mean - rest, 0.0)
                squares += d * d
            scale = 1.0 / tl.sqrt_rn(tl.sum(squares) / size + eps)
        for begin in range(0, size, BLOCK):
            columns = begin + block
            mask = columns < size
            r = _sum_of_terms(x, residual, bias, columns, mask)
            _store_normed(
                r, mean, rest, scale, weight, weight_offset, shift, normed, summed, columns, mask
            )
