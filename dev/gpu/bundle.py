#!/usr/bin/env python3
"""What the engine cut needs beyond a compiler and CMake, in one folder: bundle.py FOLDER

Collects from this machine's Debian packages (dev/setup.sh test installs them) what a machine without
network and without our packages lacks: headers of fmt, spdlog, PCRE2, utf8proc and the part of Boost that
our includes of Boost.JSON reach, GoogleTest's sources, and two static archives. Archives made against an
older C library link with newer ones. manifest.json names versions and the state of the tree they were
collected for. cmake/SparrowBundledDependencies.cmake reads the folder.
"""
import argparse
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_BYTES = 20_000_000  # it travels beside the tree, within a limit for both
PACKAGES = ["libboost1.81-dev", "libfmt-dev", "libspdlog-dev", "libpcre2-dev", "libutf8proc-dev", "googletest"]
HEADER_FOLDERS = ["fmt", "spdlog"]
HEADERS = ["pcre2.h", "utf8proc.h"]
ARCHIVES = ["libpcre2-8.a", "libutf8proc.a"]
BOOST_INCLUDE = re.compile(r"#\s*include\s*<(boost/json[^>]*)>")


def include_folders(root=ROOT):
    """As SparrowDependencies.cmake looks: unpacked packages first."""
    return [folder for folder in (root / ".deps/prefix/usr/include", pathlib.Path("/usr/include")) if folder.is_dir()]


def find(name, folders):
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise SystemExit(f"bundle: {name} not found in {', '.join(map(str, folders))}; run dev/setup.sh test")


def named_boost_headers(root=ROOT):
    named = set()
    for path in (root / "src").rglob("*"):
        if path.suffix in (".h", ".cc", ".cu", ".cuh"):
            named.update(BOOST_INCLUDE.findall(path.read_text(errors="replace")))
    return sorted(named)


def boost_headers(compiler, root=ROOT):
    """Relative paths of the headers that ours reach, and all of boost/config: other compilers take other files of it."""
    folder = find("boost/version.hpp", include_folders(root)).parents[1]
    text = "".join(f"#include <{name}>\n" for name in named_boost_headers(root))
    run = subprocess.run([compiler, "-std=c++20", "-x", "c++", "-M", f"-I{folder}", "-"],
                         input=text, capture_output=True, text=True, check=True)
    reached = {pathlib.Path(word).resolve() for word in run.stdout.replace("\\\n", " ").split() if "/boost/" in word}
    reached.update(path.resolve() for path in (folder / "boost/config").rglob("*.hpp"))
    reached.add((folder / "boost/version.hpp").resolve())
    return folder, sorted(path.relative_to(folder.resolve()) for path in reached)


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def archive(name, compiler, root=ROOT):
    for path in (root / ".deps/prefix/usr/lib").glob(f"*/{name}"):
        return path
    path = pathlib.Path(subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip())
    if not path.is_absolute():  # the compiler gives the bare name back when it knows none
        raise SystemExit(f"bundle: {name} not found; run dev/setup.sh test")
    return path


def package_version(name):
    run = subprocess.run(["dpkg-query", "-W", "-f=${Version}", name], capture_output=True, text=True)
    return run.stdout.strip() or "unknown"


def source_digest(root=ROOT):
    """SHA-256 over names and contents of what is built: it tells whether a copy is the commit it says it is."""
    digest = hashlib.sha256()
    paths = [root / "CMakeLists.txt"]
    for folder in ("src", "cmake", "tests"):
        paths += [path for path in (root / folder).rglob("*")
                  if path.suffix in (".h", ".cc", ".cu", ".cuh", ".cmake") or path.name == "CMakeLists.txt"]
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def git_commit(root=ROOT):
    """The commit, with "-changed" behind it when tracked files differ; empty where git or the history is missing."""
    if not (root / ".git").exists() or shutil.which("git") is None:  # a copy may lie inside a repository of others
        return ""
    run = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
    if run.returncode != 0:
        return ""
    status = subprocess.run(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True)
    return run.stdout.strip() + ("-changed" if status.stdout.strip() else "")


def collect(target, compiler, root=ROOT):
    shutil.rmtree(target, ignore_errors=True)
    folders = include_folders(root)
    for name in HEADER_FOLDERS:
        shutil.copytree(find(name, folders), target / "include" / name)
    for name in HEADERS:
        copy(find(name, folders), target / "include" / name)
    boost, headers = boost_headers(compiler, root)
    for name in headers:
        copy(boost / name, target / "include" / name)
    googletest = find("googletest/src/gtest-all.cc", [pathlib.Path("/usr/src/googletest")]).parents[1]
    for name in ("src", "include"):
        shutil.copytree(googletest / name, target / "googletest" / name)
    for name in ARCHIVES:
        copy(archive(name, compiler, root), target / "lib" / name)
    files = [path for path in target.rglob("*") if path.is_file()]
    manifest = {
        "commit": git_commit(root),
        "source_sha256": source_digest(root),
        "packages": {name: package_version(name) for name in PACKAGES},
        "architecture": subprocess.run([compiler, "-dumpmachine"], capture_output=True, text=True, check=True).stdout.strip(),
        "num_files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }
    (target / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    if manifest["bytes"] > MAX_BYTES:
        raise SystemExit(f"bundle: {manifest['bytes']} bytes, the limit is {MAX_BYTES}")
    return manifest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--compiler", default="g++")
    args = parser.parse_args()
    manifest = collect(args.folder, args.compiler)
    print(f"bundle: {manifest['num_files']} files, {manifest['bytes'] / 1e6:.1f} MB in {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
