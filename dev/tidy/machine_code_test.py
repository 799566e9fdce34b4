#!/usr/bin/env python3
"""Each rule of machine_code.py must fail on a bad example, in the words of objdump."""
import unittest

import machine_code

NUMBERS = [3, 4]


def listing(lines, name="void run_tile<(sparrow::WeightFormat)3, 6>(Tile const&, long)"):
    """objdump text of one function: (bytes, instruction) from address 0x10 on, 16 bytes apart."""
    text = [f"0000000000000010 <{name}>:"]
    text += [f"  {16 + 16 * i:x}:\t{raw} \t{instruction}" for i, (raw, instruction) in enumerate(lines)]
    return machine_code.parse("\n".join(text))


EVEX, VEX = "62 f2 75 48 50 c2", "c4 e2 75 50 c2"
DOT_Z = (EVEX, "vpdpbusd %zmm2,%zmm1,%zmm0")
DOT_Y = (VEX, "{vex} vpdpbusd %ymm2,%ymm1,%ymm0")
BACK = ("75 e0", "jne    10 <run_tile+0x0>")


class MachineCode(unittest.TestCase):
    def bad(self, table, functions, words):
        self.assertTrue(any(words in p for p in machine_code.check_table(table, functions, NUMBERS)), words)

    def test_clean_loops_pass(self):
        self.assertEqual(machine_code.check_table("avx512", listing([DOT_Z, DOT_Z, BACK]), NUMBERS), [])
        self.assertEqual(machine_code.check_table("avxvnni", listing([DOT_Y, DOT_Y, BACK]), NUMBERS), [])
        self.assertEqual(machine_code.check_table("avx2", listing([("c5 f4 58 c2", "vaddps %ymm2,%ymm1,%ymm0")]), NUMBERS), [])

    def test_copies_and_stack_between_products(self):
        copy = ("62 f1 fd 48 6f c8", "vmovdqa64 %zmm0,%zmm1")
        spill = ("62 f1 fd 48 7f 44 24 01", "vmovdqa64 %zmm0,0x40(%rsp)")
        self.bad("avx512", listing([DOT_Z, copy, DOT_Z, BACK]), "register copy")
        self.bad("avx512", listing([DOT_Z, spill, DOT_Z, BACK]), "stack access")
        outside = listing([copy, spill, DOT_Z, DOT_Z, BACK])
        self.assertEqual(machine_code.check_table("avx512", outside, NUMBERS), [])
        rare = listing([DOT_Z] * 12 + [copy, DOT_Z, BACK])
        self.assertEqual(machine_code.check_table("avx512", rare, NUMBERS), [])

    def test_only_innermost_loops_of_hot_formats(self):
        spill = ("62 f1 fd 48 7f 44 24 01", "vmovdqa64 %zmm0,0x40(%rsp)")
        inner = ("75 e0", "jne    30 <run_tile+0x20>")
        nested = listing([DOT_Z, spill, DOT_Z, DOT_Z, inner, BACK])
        self.assertEqual(machine_code.check_table("avx512", nested, NUMBERS), [])
        other = listing([DOT_Z, spill, DOT_Z, BACK], "void run_tile<(sparrow::WeightFormat)9, 6>(Tile const&, long)")
        self.assertEqual(machine_code.check_table("avx512", other + listing([DOT_Z, BACK]), NUMBERS), [])

    def test_encodings(self):
        self.bad("avxvnni", listing([DOT_Y, (EVEX, "vpdpbusd %ymm2,%ymm1,%ymm0"), BACK]), "AVX-512 instruction")
        self.bad("avxvnni", listing([("c5 f4 58 c2", "vaddps %ymm2,%ymm1,%ymm0")]), "no vpdpbusd")
        self.bad("avx2", listing([DOT_Y]), "unexpected")
        self.bad("avx2", listing([(EVEX, "vpaddd %zmm2,%zmm1,%zmm0")]), "AVX-512 instruction")
        self.bad("avx512", listing([DOT_Z, DOT_Y, BACK]), "unexpected")

    def test_unknown_names_are_noticed(self):
        self.bad("avx512", listing([DOT_Z, BACK], "void other(Tile const&)"), "no hot loop")


if __name__ == "__main__":
    unittest.main()
