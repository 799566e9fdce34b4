#!/usr/bin/env python3
"""Writes tests/golden/block_vectors.json: quantized blocks and the values they stand for.

Each block type is decoded here element by element from the table of block layouts (bit positions as
formulas in e, the element's number), in exact arithmetic with one rounding to fp32 at the end: an
independent second opinion on quant/block_codes.cc, which walks over the bytes instead. Standard
library only. Run from the root of the tree: tests/golden/make_block_vectors.py
"""
import json
import random
import struct
from fractions import Fraction

IQ4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]


def f16(block, offset):
    return Fraction(struct.unpack_from("<e", block, offset)[0])


def to_f32_bits(value):
    """The bits of the fp32 nearest to an exact value, ties to even."""
    bits = struct.unpack("<I", struct.pack("<f", float(value)))[0]

    def error(candidate):
        return abs(Fraction(struct.unpack("<f", struct.pack("<I", candidate))[0]) - value)

    near = [b for b in (bits - 1, bits, bits + 1) if 0 <= b < 1 << 32 and b & 0x7F800000 != 0x7F800000]
    return min(near, key=lambda b: (error(b), b & 1))


def nibble(block, offset, e):
    """Element e of 16 bytes: low nibbles hold 0..15, high ones 16..31."""
    byte = block[offset + e % 16]
    return byte & 15 if e < 16 else byte >> 4


def bit(block, offset, index):
    return block[offset + index // 8] >> (index % 8) & 1


def q8_0(b, e):
    return f16(b, 0) * struct.unpack_from("<b", b, 2 + e)[0]


def q4_0(b, e):
    return f16(b, 0) * (nibble(b, 2, e) - 8)


def q4_1(b, e):
    return f16(b, 0) * nibble(b, 4, e) + f16(b, 2)


def q5_0(b, e):
    return f16(b, 0) * (nibble(b, 6, e) + 16 * bit(b, 2, e) - 16)


def q5_1(b, e):
    return f16(b, 0) * (nibble(b, 8, e) + 16 * bit(b, 4, e)) + f16(b, 2)


def iq4_nl(b, e):
    return f16(b, 0) * IQ4[nibble(b, 2, e)]


def two_bits(b, offset, e):
    return b[offset + 32 * (e // 128) + e % 32] >> 2 * (e % 128 // 32) & 3


def q2_k(b, e):
    scales = b[e // 16]
    return f16(b, 80) * (scales & 15) * two_bits(b, 16, e) - f16(b, 82) * (scales >> 4)


def q3_k(b, e):
    g = e // 16
    low = b[96 + g % 8] & 15 if g < 8 else b[96 + g % 8] >> 4
    s = low | (b[96 + 8 + g % 4] >> 2 * (g // 4) & 3) << 4
    high = b[e % 32] >> (e // 32) & 1
    return f16(b, 108) * (s - 32) * (two_bits(b, 32, e) - 4 * (1 - high))


def k4_scales(b, offset, g):
    if g < 4:
        return b[offset + g] & 63, b[offset + g + 4] & 63
    scale = b[offset + g + 4] & 15 | (b[offset + g - 4] >> 6) << 4
    return scale, b[offset + g + 4] >> 4 | (b[offset + g] >> 6) << 4


def k4(b, e, qs, high):
    byte = b[qs + 32 * (e // 64) + e % 32]
    n = (byte & 15 if e % 64 < 32 else byte >> 4) + 16 * high
    scale, minimum = k4_scales(b, 4, e // 32)
    return f16(b, 0) * scale * n - f16(b, 2) * minimum


def q4_k(b, e):
    return k4(b, e, 16, 0)


def q5_k(b, e):
    return k4(b, e, 48, b[16 + e % 32] >> (e // 32) & 1)


def q6_k(b, e):
    h, l, k = e // 128, e % 32, e % 128 // 32
    byte = b[64 * h + l + 32 * (k % 2)]
    q = (byte & 15 if k < 2 else byte >> 4) | (b[128 + 32 * h + l] >> 2 * k & 3) << 4
    return f16(b, 208) * struct.unpack_from("<b", b, 192 + e // 16)[0] * (q - 32)


# name: decoder, elements, bytes, offsets of the fp16 fields
TYPES = {
    "q8_0": (q8_0, 32, 34, [0]),
    "q4_0": (q4_0, 32, 18, [0]),
    "q4_1": (q4_1, 32, 20, [0, 2]),
    "q5_0": (q5_0, 32, 22, [0]),
    "q5_1": (q5_1, 32, 24, [0, 2]),
    "iq4_nl": (iq4_nl, 32, 18, [0]),
    "q2_k": (q2_k, 256, 84, [80, 82]),
    "q3_k": (q3_k, 256, 110, [108]),
    "q4_k": (q4_k, 256, 144, [0, 2]),
    "q5_k": (q5_k, 256, 176, [0, 2]),
    "q6_k": (q6_k, 256, 210, [208]),
}


def blocks_of(size, fields, seed):
    """Every byte distinct (no type has 256 bytes), every bit set, and two random ones."""
    rng = random.Random(seed)
    for block in (bytearray((37 * i + 11) % 256 for i in range(size)), bytearray([255] * size),
                  bytearray(rng.randbytes(size)), bytearray(rng.randbytes(size))):
        for offset in fields:
            block[offset + 1] &= 0xBF  # finite: the top bit of the exponent is clear
        yield bytes(block)


def main():
    types = {}
    for name, (decode, elements, size, fields) in TYPES.items():
        types[name] = [{
            "block": block.hex(),
            "values": b"".join(struct.pack("<I", to_f32_bits(decode(block, e)))
                               for e in range(elements)).hex(),
        } for block in blocks_of(size, fields, name)]
    with open("tests/golden/block_vectors.json", "w", encoding="ascii") as out:
        json.dump({"made_by": "tests/golden/make_block_vectors.py",
                   "values": "little-endian fp32, exact values rounded once", "types": types},
                  out, indent=1)
        out.write("\n")


main()
