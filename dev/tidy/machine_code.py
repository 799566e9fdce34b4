#!/usr/bin/env python3
"""What the compiler made of the kernels: machine_code.py --build DIR [--loops]

Disassembles the objects of each instruction set (objdump of binutils) and fails on
  encodings   an instruction that CPUs of the table lack: zmm, EVEX forms or vpdpbusd in avx2; zmm or
              EVEX forms in avxvnni, which must have vpdpbusd on ymm
  hot loops   between the first and the last vpdpbusd of an innermost loop of a product with Q8_0, Q4_0 or
              I8Row: a memory access on the stack, or copies of one vector register to another. g++ 12
              does both around the intrinsic of vpdpbusd, which halves the rate. One copy among
              twelve products or more passes; what one costs was not measured apart.
--loops lists every innermost loop with vpdpbusd, whatever its format.
"""
import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys

# Of each table: may use EVEX and zmm; the register of vpdpbusd in products, if they use it; the least
# tokens of a tile whose loops are held to the rule. With 16 registers the tile of four vectors of
# rows by two tokens spills; one or two tokens wait for memory anyway.
Table = collections.namedtuple("Table", "evex register least_tokens")
TABLES = {
    "avx2": Table(False, None, 0),
    "avxvnni": Table(False, "y", 3),
    "avx512": Table(True, "z", 1),
}
HOT_FORMATS = ("kQ8_0", "kQ4_0", "kI8Row")
PRODUCTS_PER_COPY = 12

Instruction = collections.namedtuple("Instruction", "address is_evex mnemonic operands")
Function = collections.namedtuple("Function", "name code")
Loop = collections.namedtuple("Loop", "function code")

FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
LINE = re.compile(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{2} )+) *\t(?:\{\w+\} )?(\S+) *(.*)$")
JUMP = re.compile(r"^([0-9a-f]+)(?: <.*>)?$")


def parse(text):
    """Functions of `objdump -d -C -w`, AT&T syntax, instruction bytes shown."""
    functions = []
    for line in text.splitlines():
        named = FUNCTION.match(line)
        if named:
            functions.append(Function(named.group(1), []))
            continue
        found = LINE.match(line)
        if found and functions:
            address, raw, mnemonic, operands = found.groups()
            # In 64-bit code the byte 62 begins EVEX and nothing else.
            functions[-1].code.append(Instruction(int(address, 16), raw.startswith("62 "), mnemonic, operands))
    return functions


def innermost_loops(function, mnemonic):
    """Ranges between a backward jump and its target that hold `mnemonic` and no smaller such range."""
    index = {instruction.address: i for i, instruction in enumerate(function.code)}
    ranges = []
    for end, instruction in enumerate(function.code):
        jump = JUMP.match(instruction.operands) if instruction.mnemonic.startswith("j") else None
        begin = index.get(int(jump.group(1), 16)) if jump else None
        if begin is None or begin > end:
            continue
        if any(i.mnemonic == mnemonic for i in function.code[begin:end]):
            ranges.append((begin, end))
    inner = [(b, e) for b, e in ranges if not any(b <= b2 and e2 <= e and (b, e) != (b2, e2) for b2, e2 in ranges)]
    return [Loop(function.name, function.code[begin:end + 1]) for begin, end in sorted(set(inner))]


def loop_problems(loop, mnemonic):
    places = [i for i, instruction in enumerate(loop.code) if instruction.mnemonic == mnemonic]
    copies, stack = [], []
    for instruction in loop.code[places[0]:places[-1] + 1]:
        text = f"{instruction.mnemonic} {instruction.operands}"
        if re.match(r"vmov\w+ +%[xyz]mm\d+,%[xyz]mm\d+$", text):
            copies.append(("register copy", text))
        elif re.search(r"\(%rsp[,)]", text) or (re.search(r"\(%rbp[,)]", text) and "mm" in text):
            stack.append(("stack access", text))
    return stack + (copies if len(copies) * PRODUCTS_PER_COPY > len(places) else [])


def format_numbers(header):
    """WeightFormat as the enum of kernels.h counts it: demangled names show numbers."""
    body = re.search(r"enum class WeightFormat[^{]*\{([^}]*)\}", header.read_text()).group(1)
    return {name.strip(): number for number, name in enumerate(body.split(",")) if name.strip()}


def tile_of(name):
    """(format number, tokens) of a function made for one tile, else (None, 0). A function for all
    tiles of a format counts as one token: those that are not functions of their own are inlined."""
    tile = re.search(r"\brun_tile<\(sparrow::WeightFormat\)(\d+), (\d+)>", name)
    if tile:
        return int(tile.group(1)), int(tile.group(2))
    whole = re.search(r"\b(?:gemm_format|run_columns)<\(sparrow::WeightFormat\)(\d+)", name)
    return (int(whole.group(1)), 1) if whole else (None, 0)


def check_table(name, functions, hot_numbers):
    table = TABLES[name]
    problems = []
    products, hot_loops = 0, 0
    for function in functions:
        for instruction in function.code:
            text = f"{instruction.mnemonic} {instruction.operands}"
            if not table.evex and (instruction.is_evex or "%zmm" in instruction.operands):
                problems.append(f"{name}: {function.name}: AVX-512 instruction: {text}")
            if instruction.mnemonic == "vpdpbusd":
                products += 1
                if set(re.findall(r"%([xyz])mm", text)) != {table.register}:
                    problems.append(f"{name}: {function.name}: unexpected: {text}")
        format_number, tokens = tile_of(function.name)
        if format_number in hot_numbers and tokens >= table.least_tokens:
            for loop in innermost_loops(function, "vpdpbusd"):
                hot_loops += 1
                for kind, text in loop_problems(loop, "vpdpbusd"):
                    problems.append(f"{name}: {function.name}: {kind} in a hot loop: {text}")
    if table.register and products == 0:
        problems.append(f"{name}: no vpdpbusd found")
    if table.register and hot_loops == 0:
        problems.append(f"{name}: no hot loop found: have the tiles got other names?")
    print(f"machine code of {name}: {len(functions)} functions, {products} vpdpbusd, {hot_loops} hot loops")
    return problems


def list_loops(name, functions):
    for function in functions:
        for loop in innermost_loops(function, "vpdpbusd"):
            count = sum(i.mnemonic == "vpdpbusd" for i in loop.code)
            kinds = collections.Counter(kind for kind, _ in loop_problems(loop, "vpdpbusd"))
            found = ", ".join(f"{number} x {kind}" for kind, number in kinds.items()) or "clean"
            short = re.sub(r"void |sparrow::|\(anonymous namespace\)::|\(.*?\) const&.*", "", function.name)
            print(f"{name} {short}: {count} vpdpbusd in {len(loop.code)} instructions: {found}")


def disassemble(path):
    return subprocess.run(["objdump", "-d", "-C", "-w", str(path)], capture_output=True, text=True, check=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2], type=pathlib.Path)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--loops", action="store_true")
    args = parser.parse_args()
    if not shutil.which("objdump"):
        print("machine code: SKIPPED: objdump not found (dev/setup.sh test installs binutils)")
        return 0
    numbers = format_numbers(args.root / "src/kernels/kernels.h")
    hot_numbers = [numbers[name] for name in HOT_FORMATS]
    problems, seen = [], 0
    for name in TABLES:
        for path in args.build.glob(f"**/sparrow_kernels_{name}.dir/**/*.o"):
            seen += 1
            functions = parse(disassemble(path))
            if args.loops:
                list_loops(name, functions)
            problems += check_table(name, functions, hot_numbers)
    if seen == 0:
        print("machine code: SKIPPED: no x86 kernels in this build")
    for problem in problems:
        print(problem)
    print(f"machine code: {len(problems)} problem(s)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
