#!/usr/bin/env python3
"""The engine cut needs nothing but what its bundle brings: cut.py --work DIR [--compiler g++] [--cmake cmake]

Collects the bundle and configures the cut against it (builds nothing), then follows the includes of every
source that CMake lists: each header must be ours and below the server, of the compiler, the C library or
CUDA, or lie in the bundle. Exit status 1 when anything is wrong.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

import bundle

ROOT = bundle.ROOT
SERVER = ("src/http/", "src/store/", "src/api/", "src/tools/pull/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.MULTILINE)
# Headers that every machine with a compiler has: C++ has no dot, the rest is POSIX, Linux and intrinsics.
PLATFORM = re.compile(
    r"[a-z_0-9]+|(sys|asm|linux)/[a-z_]+\.h|(cpuid|dlfcn|fcntl|limits|math|poll|pthread|sched|signal|stddef|stdint|stdio|stdlib|string|time|ucontext|unistd)\.h"
    r"|[a-z]*intrin\.h|arm_neon\.h")
CUDA = re.compile(r"(cuda[a-z0-9_]*|cooperative_groups|mma|nvml)(/[a-z_]+)*\.h(pp)?")
LEAST_SOURCES = 100


def resolve(name, includer, root):
    for folder in (includer.parent, root / "src", root):
        if (folder / name).is_file():
            return (folder / name).resolve()
    return None


def problems(sources, bundle_folder, root=ROOT):
    found, seen, waiting = [], set(), [path.resolve() for path in sources]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        if name.startswith(SERVER):
            found.append(f"{name}: cut: the server's folders are no part of the engine cut")
            continue
        for quote, target in INCLUDE.findall(path.read_text(errors="replace")):
            if quote == '"':
                header = resolve(target, path, root)
                if header is None:
                    found.append(f'{name}: cut: "{target}" is not in the tree')
                else:
                    waiting.append(header)
            elif not PLATFORM.fullmatch(target) and not CUDA.fullmatch(target) and not any(
                    (bundle_folder / folder / target).is_file() for folder in ("include", "googletest/include")):
                found.append(f"{name}: cut: <{target}> is not in the bundle; add it to dev/gpu/bundle.py, or do without")
    return sorted(found)


def configure(work, bundle_folder, cmake, compiler):
    """Sources (those that CMake makes too: twins of kernels include the kernels), and the folders of headers they are compiled with."""
    shutil.rmtree(work, ignore_errors=True)
    subprocess.run([cmake, "-S", ROOT, "-B", work, f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_BUILD_TYPE=Release",
                    "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DSPARROW_BUILD_TESTS=ON", "-DSPARROW_CUT=engine", "-DSPARROW_CUDA=OFF",
                    f"-DSPARROW_DEPS_DIR={bundle_folder}"], check=True, stdout=subprocess.DEVNULL)
    commands = json.loads((work / "compile_commands.json").read_text())
    sources = {pathlib.Path(command["file"]).resolve() for command in commands}
    ours = [path for path in sources if path.is_file() and not path.is_relative_to(bundle_folder)]
    used = {word for command in commands for word in re.findall(r"-(?:isystem|I) ?(\S+)", command["command"])}
    return sorted(ours), used


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the bundle and the configured cut")
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--cmake", default="cmake")
    args = parser.parse_args()
    work = args.work.resolve()
    bundle.collect(work / "bundle", args.compiler)
    sources, folders = configure(work / "build", work / "bundle", args.cmake, args.compiler)
    found = problems(sources, work / "bundle")
    if len(sources) < LEAST_SOURCES:
        found.append(f"cut: only {len(sources)} sources configured")
    strange = [folder for folder in folders if not any(pathlib.Path(folder).resolve().is_relative_to(home) for home in (ROOT, work))]
    found += [f"cut: compiled with headers of {folder}, which other machines lack" for folder in strange if "cuda" not in folder]
    for problem in found:
        print(problem)
    print(f"cut: {len(sources)} sources, {len(found)} problem(s)")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
