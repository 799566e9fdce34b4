#!/usr/bin/env python3
"""Writes tests/golden/hf_{awq,gptq,compressed_tensors}_vectors.json: quantized matrices of Hugging
Face checkpoints as they lie in the file, and the values they stand for.

Integers, zero points and scales are drawn, packed here from the formats' definitions, one formula
for each tensor, and the value of an element is (q - z) * s: an independent second opinion on
model/files/quantized_matrix.cc, which goes the other way. One matrix is model.layers.0.mlp.down_proj
of [rows, cols]. Needs NumPy. Run from the root of the tree: tests/golden/make_hf_quantized_vectors.py

  awq          qweight[k, c] holds outputs 8c + (0 2 4 6 1 3 5 7)[i] in nibble i; qzeros likewise
  gptq         qweight[r, n] holds inputs (32/bits)r + i; qzeros[g, c] outputs (32/bits)c + i, less one
               in checkpoint_format "gptq" and as they are in "gptq_v2"; g_idx is the group of an input
  compressed   weight_packed[n, c] holds inputs (32/bits)c + i plus 2^(bits-1); weight_zero_point is
               packed so along the outputs; int-quantized: weight is int8

Confirmed once with the Python package compressed-tensors 0.20.0 (torch 2.13.0): its compressors turn
the values into these bytes and these bytes into the values (in the scales' type), but for
w4a16_g32_actorder, whose order that version no longer knows: there its unpacked integers agree.
"""
import base64
import json

import numpy as np

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def f16(values):
    return values.astype(np.float16).astype(np.float32)


def bf16(values):
    return (values.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)


def stored(array, dtype):
    """dtype, shape and base64 of little-endian bytes as a safetensors file has them."""
    if dtype == "BF16":
        data = (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype("<u2")
    else:
        data = array.astype({"F16": "<f2", "F32": "<f4", "I8": "i1", "I32": "<i4", "I64": "<i8"}[dtype])
    return {"dtype": dtype, "shape": list(array.shape), "data": base64.b64encode(data.tobytes()).decode()}


def words(parts, bits):
    """Unsigned integers, parts[i] in bits i * bits and up, as int32."""
    out = np.zeros(parts[0].shape, np.uint32)
    for i, part in enumerate(parts):
        assert part.min() >= 0 and part.max() < 1 << bits
        out |= part.astype(np.uint32) << np.uint32(bits * i)
    return out.view(np.int32)


def along_rows(values, bits):
    """[a, b] -> [a / per, b]: a word holds `per` values of one column."""
    per = 32 // bits
    return words([values[i::per] for i in range(per)], bits)


def along_columns(values, bits):
    return along_rows(values.T, bits).T


class Matrix:
    """q [rows, cols] in [low, high], zero and scale [rows, groups], group [cols]; values in fp32."""

    def __init__(self, seed, rows, cols, group_size, low, high, zero, act_order=False, signed_scales=False, scale=f16):
        rng = np.random.default_rng(seed)
        size = cols if group_size < 0 else group_size
        groups = cols // size
        self.q = rng.integers(low, high + 1, (rows, cols))
        self.q[0, :2] = low, high
        self.zero = np.full((rows, groups), zero) if zero is not None else rng.integers(low, high + 1, (rows, groups))
        if zero is None:
            self.zero[0, 0], self.zero[1, 0] = low, high
        self.scale = scale(rng.uniform(0.001, 0.1, (rows, groups)))
        if signed_scales:
            self.scale *= rng.choice([-1, 1], (rows, groups))
        self.group = np.arange(cols) // size
        if act_order:
            self.group = np.argsort(rng.permutation(cols)) // size
        exact = (self.q - self.zero[:, self.group]) * self.scale[:, self.group].astype(np.float64)
        self.values = exact.astype(np.float32)  # 9 bits by 11 or 8 bits: nothing is lost
        assert (self.values == exact).all()


def case(name, config, matrix, tensors):
    rows, cols = matrix.q.shape
    return {"name": name, "rows": rows, "cols": cols, "quantization_config": config, "tensors": tensors,
            "values": stored(matrix.values, "F32")["data"]}


def awq(name, seed, rows, cols, group_size):
    m = Matrix(seed, rows, cols, group_size, 0, 15, None)

    def interleaved(values):  # [x, rows] -> [x, rows / 8]
        return words([values[:, AWQ_ORDER[i]::8] for i in range(8)], 4)

    return case(name, {"quant_method": "awq", "bits": 4, "group_size": group_size, "zero_point": True, "version": "gemm"}, m,
                {"qweight": stored(interleaved(m.q.T), "I32"), "qzeros": stored(interleaved(m.zero.T), "I32"),
                 "scales": stored(m.scale.T, "F16")})


def gptq(name, seed, rows, cols, group_size, bits=4, sym=False, desc_act=False, version="gptq", g_idx=False):
    high = (1 << bits) - 1
    m = Matrix(seed, rows, cols, group_size, 0, high, 1 << (bits - 1) if sym else None, act_order=desc_act)
    zeros = (m.zero - 1) & high if version == "gptq" else m.zero
    tensors = {"qweight": stored(along_rows(m.q.T, bits), "I32"), "qzeros": stored(along_columns(zeros.T, bits), "I32"),
               "scales": stored(m.scale.T, "F16")}
    if g_idx or desc_act:
        tensors["g_idx"] = stored(m.group, "I32")
    return case(name, {"quant_method": "gptq", "bits": bits, "group_size": group_size, "desc_act": desc_act, "sym": sym,
                       "checkpoint_format": version}, m, tensors)


def compressed(name, seed, rows, cols, group_size, bits=4, symmetric=True, packed=True, actorder=None):
    high = (1 << (bits - 1)) - 1
    dtype = "F32" if seed % 2 else "BF16"
    m = Matrix(seed, rows, cols, group_size, -high - 1, high, 0 if symmetric else None, signed_scales=True, scale=bf16,
               act_order=actorder == "group")
    tensors = {"weight_scale": stored(m.scale, dtype)}
    if packed:
        tensors["weight_packed"] = stored(along_columns(m.q + high + 1, bits), "I32")
        tensors["weight_shape"] = stored(np.array([rows, cols]), "I64")
    else:
        tensors["weight"] = stored(m.q, "I8")
    if not symmetric:
        tensors["weight_zero_point"] = stored(along_rows(m.zero + high + 1, bits), "I32")
    if actorder == "group":
        tensors["weight_g_idx"] = stored(m.group, "I32")
    per_token = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "channel" if group_size < 0 else "group",
               "group_size": None if group_size < 0 else group_size, "actorder": actorder, "dynamic": False}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None if packed else per_token, "output_activations": None}
    return case(name, {"quant_method": "compressed-tensors", "format": "pack-quantized" if packed else "int-quantized",
                       "quantization_status": "compressed", "ignore": ["lm_head"], "kv_cache_scheme": None,
                       "config_groups": {"group_0": group}}, m, tensors)


FILES = {
    "awq": [
        awq("g32", 1, 16, 64, 32),
        awq("g128", 2, 8, 256, 128),
        awq("row", 3, 8, 96, -1),
    ],
    "gptq": [
        gptq("g32", 11, 16, 64, 32),
        gptq("g128_sym_with_list", 12, 8, 256, 128, sym=True, g_idx=True),
        gptq("g32_desc_act", 13, 8, 96, 32, desc_act=True),
        gptq("v2_g64", 14, 16, 128, 64, version="gptq_v2"),
        gptq("int8_g32_sym", 15, 8, 64, 32, bits=8, sym=True),
        gptq("int8_g128_sym", 16, 8, 256, 128, bits=8, sym=True),
        gptq("int8_row_sym", 17, 8, 96, -1, bits=8, sym=True),
        gptq("int8_g32_zeros", 18, 8, 64, 32, bits=8),
        gptq("int8_v2_g32_desc_act", 19, 8, 96, 32, bits=8, desc_act=True, version="gptq_v2"),
    ],
    "compressed_tensors": [
        compressed("w8a8_channel", 20, 8, 96, -1, bits=8, packed=False),
        compressed("w4a16_g32", 21, 16, 64, 32),
        compressed("w4a16_g128", 22, 8, 256, 128),
        compressed("w4a16_g32_asym", 23, 16, 64, 32, symmetric=False),
        compressed("w4a16_g128_asym", 24, 8, 256, 128, symmetric=False),
        compressed("w4a16_g32_actorder", 25, 8, 96, 32, actorder="group"),
        compressed("w8a16_channel", 26, 8, 64, -1, bits=8),
        compressed("w8a16_g32", 27, 8, 64, 32, bits=8),
    ],
}


def main():
    for name, cases in FILES.items():
        with open(f"tests/golden/hf_{name}_vectors.json", "w", encoding="ascii") as out:
            json.dump({"made_by": "tests/golden/make_hf_quantized_vectors.py", "cases": cases}, out, indent=1)
            out.write("\n")


main()
