#!/usr/bin/env python3
"""Structure checks of the source tree: tidy.py CHECK [--root DIR] [...]

Each message is file:line, the rule, and what to do. Exit status 1 when anything is wrong.
  layers    every include against docs/layers.txt and the table of third-party headers
  sizes     lines per file and function, columns, files per folder
  headers   each public header compiles alone, starts with #pragma once and a comment
  banned    words that have a better replacement here
  dead      every source file is named in a CMake list
  format    clang-format leaves every file as it is
  isa       objects of one instruction set export nothing but the kernel table
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

FILE_LINES, TEST_LINES, FUNCTION_LINES, COLUMNS, FOLDER_FILES = 600, 800, 70, 100, 40

# Third-party headers and the only places (path prefixes under src/) that may name them.
THIRD_PARTY = {
    r"boost/(asio|beast)": ["http/"],
    r"boost/json": ["base/json", "api/", "tokenizer/", "model/", "constrain/", "tools/", "cmd/"],
    r"pcre2|utf8proc": ["tokenizer/"],
    r"spdlog/": ["base/log"],
    r"curl/": ["tools/pull/http_client.cc"],
    r"openssl/": ["tools/pull/digest.cc", "http/", "api/auth", "base/"],
    r"sqlite3": ["store/"],
    r"cuda|cublas|nccl|nvml": ["kernels/cuda", "tensor/device_buffer", "model/cuda/"],
    r"(imm|xmm|emm|arm_neon|x86)intrin\.h|arm_neon": ["kernels/"],
}

# pattern, allowed path prefixes under src/, what to do instead
BANNED = [
    (r"\busing namespace\b", [], "name what you use"),
    (r"\bstd::regex\b", [], "PCRE2 in tokenizer/, or plain string code: std::regex is neither bounded nor fast"),
    (r"\b(printf|puts)\s*\(|std::(cout|cerr)", ["cmd/", "base/check.cc"], "libraries do not print: return a Status or use base/log.h"),
    (r"\bfprintf\s*\(", ["cmd/", "base/check.cc"], "libraries do not print: return a Status or use base/log.h"),
    (r"\bsleep_for\b|\busleep\s*\(", ["base/", "cmd/"], "wait on a condition with a deadline"),
    (r"\bgetenv\s*\(", ["base/"], "base/env.h"),
    (r"\bstd::endl\b", [], r"'\n'"),
    (r"\basio::detached\b", [], "co_spawn with a handler that logs the exception"),
    (r"\bTODO\b(?!\(#\d+\))", [], "open an issue and write TODO(#number)"),
    (r"\bassert\s*\(", [], "CHECK or DCHECK (base/check.h)"),
    (r"\bstd::exit\s*\(|\babort\s*\(", ["cmd/", "base/check.cc"], "return a Status"),
]


def source_files(root, suffixes=(".h", ".cc", ".cuh", ".cu")):
    src = root / "src"
    return sorted(p for p in src.rglob("*") if p.suffix in suffixes and p.is_file())


def rel(root, path):
    return path.relative_to(root / "src").as_posix()


def read_layers(root):
    layers = {}
    for line in (root / "docs/layers.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            name, allowed = line.split(":")
            layers[name.strip()] = allowed.split()
    return layers


def is_test(name):
    return bool(re.search(r"(_test|_bench|test_support)\.(cc|h)$", name)) or "/fuzz_" in name or "/test_support/" in name


def check_layers(root, _):
    layers = read_layers(root)
    problems = []
    seen = set()
    for name, allowed in layers.items():
        for other in allowed:
            if other not in seen:
                problems.append(f"docs/layers.txt: {name} may not use {other}: it does not stand above it (one way down)")
        seen.add(name)
    for path in source_files(root):
        name = rel(root, path)
        folder = name.split("/")[0]
        if folder not in layers:
            problems.append(f"src/{name}:1: layers: folder {folder} is not in docs/layers.txt; add its line")
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^">]+)', line)
            if not match:
                continue
            quote, target = match.groups()
            target_folder = target.split("/")[0]
            if quote == '"' and target_folder in layers and target_folder != folder:
                if target_folder not in layers[folder] and not is_test(name):
                    problems.append(f"src/{name}:{number}: layers: {folder} may not include {target}; it may use: {' '.join(layers[folder])}")
            if quote == '"' and target_folder not in layers and not target.startswith("tests/"):
                problems.append(f"src/{name}:{number}: layers: include by path from src/: {target}")
            for pattern, places in THIRD_PARTY.items():
                if quote == "<" and re.match(pattern, target) and not any(name.startswith(p) for p in places) and not is_test(name):
                    problems.append(f"src/{name}:{number}: layers: <{target}> may be named only in {', '.join(places)}")
    return problems


def function_lengths(lines):
    """(first line, length) of bodies that open in column 0 or inside a namespace or class."""
    stack = []
    for number, line in enumerate(lines, 1):
        code = re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])*\'|//.*', '""', line)
        for char in code:
            if char == "{":
                head = " ".join(lines[max(0, number - 4):number])
                kind = "other" if re.search(r"\b(namespace|class|struct|enum|union)\b[^;(]*\{\s*$", head.split(";")[-1].split("}")[-1]) else "body"
                outer = all(entry[0] == "other" for entry in stack)
                if re.search(r"=\s*$", code.split("{")[0]) and code.count("{") == 1:
                    kind = "other"  # a table, not a function
                stack.append((kind, number, outer))
            elif char == "}" and stack:
                kind, begin, outer = stack.pop()
                if kind == "body" and outer:
                    yield begin, number - begin + 1


def check_sizes(root, _):
    problems = []
    exempt = {}
    exempt_file = root / "dev/tidy/size_exemptions.txt"
    if exempt_file.exists():
        for line in exempt_file.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                path, reason = line.split(None, 1)
                exempt[path] = reason
    counts = {}
    for path in source_files(root):
        name = "src/" + rel(root, path)
        lines = path.read_text(errors="replace").splitlines()
        limit = TEST_LINES if is_test(name) else FILE_LINES
        if not is_test(name):
            counts[path.parent] = counts.get(path.parent, 0) + 1
        if name in exempt:
            continue
        if len(lines) > limit:
            problems.append(f"{name}:{len(lines)}: sizes: {len(lines)} lines, the limit is {limit}; make a file for the second noun")
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS and "http" not in line and 'R"' not in line:
                problems.append(f"{name}:{number}: sizes: {len(line)} columns, the limit is {COLUMNS}; run make format")
        if not is_test(name):
            for begin, length in function_lengths(lines):
                if length > FUNCTION_LINES and path.suffix in (".cc", ".cu", ".cuh"):
                    problems.append(f"{name}:{begin}: sizes: a body of {length} lines, the limit is {FUNCTION_LINES}; move branches up and loops down")
    for folder, count in counts.items():
        if count > FOLDER_FILES:
            problems.append(f"{folder.relative_to(root)}:1: sizes: {count} files, the limit is {FOLDER_FILES}; make a new room")
    return problems


def check_banned(root, _):
    problems = []
    for path in source_files(root):
        name = rel(root, path)
        if is_test(name):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            code = line.split("//")[0] if "TODO" not in line else line
            for pattern, places, instead in BANNED:
                if re.search(pattern, code) and not any(name.startswith(p) for p in places):
                    problems.append(f"src/{name}:{number}: banned: {re.search(pattern, code).group(0)}: {instead}")
    return problems


def check_dead(root, _):
    named = ""
    for path in list((root / "src").rglob("CMakeLists.txt")) + list((root / "tests").rglob("CMakeLists.txt")) + list((root / "dev").rglob("CMakeLists.txt")):
        named += path.read_text()
    problems = []
    for path in source_files(root, (".cc", ".cu")):
        if not re.search(r"(^|[\s/(])" + re.escape(path.name) + r"\b", named):
            problems.append(f"src/{rel(root, path)}:1: dead: not in any CMakeLists.txt; add it or remove it")
    return problems


def check_headers(root, args):
    problems = []
    headers = [p for p in source_files(root, (".h",)) if not rel(root, p).startswith(("kernels/avx", "kernels/neon"))]
    for path in headers:
        lines = path.read_text(errors="replace").splitlines()
        if not lines or lines[0].strip() != "#pragma once":
            problems.append(f"src/{rel(root, path)}:1: headers: the first line is #pragma once")
        elif len(lines) < 2 or not lines[1].startswith("//"):
            problems.append(f"src/{rel(root, path)}:2: headers: say what it is, threads, owner, errors, source")
    flags = ["-std=c++20", "-fsyntax-only", "-x", "c++", "-w", f"-I{root}/src", "-DFMT_HEADER_ONLY"]
    for extra in (root / ".deps/prefix/usr/include",):
        if extra.exists():
            flags += ["-isystem", str(extra)]

    def compile_one(path):
        name = rel(root, path)
        text = f'#include "{name}"\n#include "{name}"\n'
        run = subprocess.run([args.compiler, *flags, "-"], input=text, capture_output=True, text=True)
        return name, run.returncode, run.stderr.strip().splitlines()[:3]

    cache = pathlib.Path(args.cache) if args.cache else None
    stamp = {}
    if cache:
        # The whole include tree decides: any changed header invalidates the result.
        import hashlib
        digest = hashlib.sha256()
        for path in headers:
            digest.update(path.read_bytes())
        stamp = digest.hexdigest()
        if cache.exists() and cache.read_text() == stamp:
            return problems
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for name, code, errors in pool.map(compile_one, headers):
            if code != 0:
                problems.append(f"src/{name}:1: headers: does not compile alone; include what it uses: {' | '.join(errors)}")
    if cache and not problems:
        cache.write_text(stamp)
    return problems


def check_format(root, args):
    tool = shutil.which("clang-format-14")
    if not tool:
        print("format: SKIPPED: clang-format-14 not found (dev/setup.sh test installs it)")
        return []
    files = [str(p) for p in source_files(root)]
    run = subprocess.run([tool, "--dry-run", "-Werror", *files], capture_output=True, text=True, cwd=root)
    first = {}
    for line in run.stderr.splitlines():
        match = re.match(r"(.*?):(\d+):\d+: error", line)
        if match and match.group(1) not in first:
            first[match.group(1)] = match.group(2)
    return [f"{pathlib.Path(name).relative_to(root)}:{line}: format: run make format" for name, line in first.items()]


def check_isa(root, args):
    problems = []
    objects = [p for p in pathlib.Path(args.build).rglob("*.o") if re.search(r"sparrow_kernels_(avx2|avxvnni|avx512|neon)", str(p))]
    for path in objects:
        run = subprocess.run(["nm", "-C", str(path)], capture_output=True, text=True)
        for line in run.stdout.splitlines():
            match = re.match(r"[0-9a-f]* *([WVu]) (.*)", line)
            if match:
                problems.append(f"{path.name}:1: isa: weak symbol {match.group(2)}: an inline function compiled with these instructions may be linked into the whole program")
    if not objects:
        print("isa: SKIPPED: no objects of an instruction set found")
    return problems


CHECKS = {name[6:]: function for name, function in list(globals().items()) if name.startswith("check_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=sorted(CHECKS))
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2], type=pathlib.Path)
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--cache", default="", help="file that remembers the last good state (headers)")
    parser.add_argument("--build", default="", help="build folder (isa)")
    args = parser.parse_args()
    problems = CHECKS[args.check](args.root.resolve(), args)
    for problem in problems:
        print(problem)
    print(f"{args.check}: {len(problems)} problem(s)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
