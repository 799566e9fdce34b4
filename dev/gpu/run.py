#!/usr/bin/env python3
"""`dev/gpu_check.sh run`: tests, sanitizers and benchmarks of build/gpu -> OUT/gpu_check.json and a table.

Every step has a time limit and all share one budget; a step that fails, or finds no time left, is recorded
and the rest goes on. Exit status 1 when a test failed, a sanitizer found something, or no test ran.
"""
import argparse
import dataclasses
import datetime
import functools
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import bundle
import report

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHORT_TESTS = {"SPARROW_TEST_SHORT": "1"}  # tests that honour it take fewer sizes

# What is synthesised, biggest claim first: when time runs out, the last rows are missing.
MODELS = [("bf16", "bf16"), ("q8_0", "q8_0"), ("q4_0", "q4_0")]
# name, model, arguments of `sparrow bench` beside --model, --device cuda and --json
BENCH_CASES = [
    ("bf16-batches", "bf16", "--prompt-tokens 512 --gen-tokens 128 --batch 1,8,32,64,128,256 --repeat 3 --max-num-batched-tokens 2K"),
    ("bf16-own-kernels", "bf16", "--prompt-tokens 512 --gen-tokens 64 --batch 32,256 --repeat 2 --max-num-batched-tokens 2K --gpu-product-library off"),
    ("bf16-plain-decode", "bf16", "--prompt-tokens 512 --gen-tokens 128 --batch 1,8 --repeat 3 --max-num-batched-tokens 2K --gpu-leave-out merge,cut,norm,rope,overlap"),
    ("q8_0-one", "q8_0", "--prompt-tokens 512 --gen-tokens 128 --batch 1,8 --repeat 5 --max-num-batched-tokens 2K"),
    ("q4_0-one", "q4_0", "--prompt-tokens 512 --gen-tokens 128 --batch 1,8 --repeat 5 --max-num-batched-tokens 2K"),
    ("bf16-first-token", "bf16", "--prompt-tokens 512,4K --gen-tokens 16 --batch 1 --max-num-batched-tokens 4K --repeat 5"),
    ("bf16-nano-vllm", "bf16", "--workload nano-vllm --max-num-seqs 256 --max-num-batched-tokens 4K"),
    ("bf16-users", "bf16", "--workload users --target-s 3.5 --card a40 --max-num-batched-tokens 2048 --max-step-ms 30"),
    ("bf16-depths", "bf16", "--batch 1 --depth 0,4K,16K --gen-tokens 64 --repeat 3 --max-num-batched-tokens 2K"),
]
# tool of compute-sanitizer, which test programs, GoogleTest filter
SANITIZER_CASES = [
    ("memcheck", r"^kernels_cuda_", "*/cuda"),
    ("racecheck", r"^kernels_cuda_", "*/cuda"),
]
TOKENIZER = ROOT / ".gpu_deps/tokenizer"
GRACE_S = 5
NO_TORCH = "no torch with CUDA and transformers for python3"
LIMITS_S = {"test": 150, "sanitizer": 45, "synth": 60, "bench": 60, "peer": 100, "probe": 40, "tool": 20}


@dataclasses.dataclass
class Done:
    status: str
    out: str
    error: str


class Steps:
    """Runs commands, one after another, each in a process group of its own that ends with its limit."""

    def __init__(self, budget_s, log):
        self.entries = []
        self._end = time.monotonic() + budget_s
        self._log = log

    def skip(self, name, reason):
        self.entries.append(report.step(name, "skipped", reason=reason))

    def run(self, name, limit_s, command, env=None):
        limit_s = min(limit_s, self._end - time.monotonic())
        if limit_s < 1:
            self.skip(name, "no time left")
            return Done("skipped", "", "")
        print(f"gpu_check: {name} (at most {limit_s:.0f} s)", flush=True)
        begin = time.monotonic()
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                                       cwd=ROOT, env={**os.environ, **(env or {})}, start_new_session=True)
        except OSError as error:
            self.entries.append(report.step(name, "failed", reason=str(error), command=command))
            return Done("failed", "", str(error))
        try:
            out, error = process.communicate(timeout=limit_s)
            status = "ok" if process.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            out, error = self._end_group(process)
            status = "timeout"
        lines = error.strip().splitlines() or out.strip().splitlines()
        reason = "" if status == "ok" else f"more than {limit_s:.0f} s" if status == "timeout" else (lines or [""])[-1][:300]
        self.entries.append(report.step(name, status, time.monotonic() - begin, round(limit_s), reason, command, process.returncode))
        self._log.write(f"=== {name}: {status}\n$ {shlex.join(command)}\n{out}\n{error}\n")
        return Done(status, out, error)

    def _end_group(self, process):
        """Asks first: `sparrow bench` prints the rows it has. Then what the process said, as far as it can be had."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process.pid, number)
            try:
                return process.communicate(timeout=GRACE_S)
            except subprocess.TimeoutExpired:
                pass
        return "", ""  # a child in a group of its own holds the pipe


def first_line(command):
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=LIMITS_S["tool"])
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = run.stdout.strip().splitlines()
    return lines[0] if run.returncode == 0 and lines else None


def query_gpus():
    """(GPUs, why there are none)"""
    command = ["nvidia-smi", f"--query-gpu={','.join(report.GPU_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=LIMITS_S["tool"])
    except FileNotFoundError:
        return [], "no nvidia-smi on this machine"
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"nvidia-smi: {error}"
    if run.returncode != 0:
        return [], f"nvidia-smi: {(run.stdout + run.stderr).strip()[:200]}"
    gpus = report.parse_gpus(run.stdout)
    return gpus, "" if gpus else f"nvidia-smi lists none: {run.stdout.strip()[:200]}"


def cache_entries(build):
    entries = {}
    for line in (build / "CMakeCache.txt").read_text(errors="replace").splitlines():
        match = re.match(r"([A-Za-z0-9_]+):[A-Z]+=(.*)", line)
        if match:
            entries[match.group(1)] = match.group(2)
    return entries


def commit_of_tree():
    """(commit, where from, sources differ from it): a copy that travelled has no .git."""
    digest = bundle.source_digest(ROOT)
    commit = bundle.git_commit(ROOT)
    if commit:
        return commit, "git", digest, commit.endswith("-changed")
    if os.environ.get("SPARROW_COMMIT"):
        return os.environ["SPARROW_COMMIT"], "SPARROW_COMMIT", digest, None
    manifest = ROOT / ".gpu_deps/manifest.json"
    if manifest.exists():
        told = json.loads(manifest.read_text())
        return told["commit"], ".gpu_deps", digest, told["source_sha256"] != digest
    return "", "unknown", digest, None


def cpu_name():
    try:
        match = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    except OSError:
        match = None
    return match.group(1) if match else platform.processor()


def describe_machine(build, gpus, device_reason):
    entries = cache_entries(build)
    commit, commit_from, digest, changed = commit_of_tree()
    nvcc = entries.get("CMAKE_CUDA_COMPILER") or shutil.which("nvcc")
    seconds = build / "build_seconds"
    keys = ("CMAKE_BUILD_TYPE", "SPARROW_CUT", "SPARROW_CUDA", "SPARROW_CUDA_ARCHITECTURES", "CMAKE_GENERATOR")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit, "commit_from": commit_from, "sources_differ_from_commit": changed, "source_sha256": digest,
        "device": gpus[0] if gpus else None, "device_reason": device_reason, "num_devices": len(gpus), "device_after": None,
        "machine": {
            "cpu": cpu_name(), "num_cpus": len(os.sched_getaffinity(0)),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            "system": f"{platform.system()} {platform.release()}",
            "nvcc": release_of_nvcc(nvcc), "compiler": first_line([entries.get("CMAKE_CXX_COMPILER", "c++"), "--version"]),
            "cmake": first_line(["cmake", "--version"]), "python": platform.python_version(),
        },
        "build": {key: entries.get(key) for key in keys}
                 | {"bundled_dependencies": bool(entries.get("SPARROW_DEPS_DIR")),
                    "seconds": int(seconds.read_text()) if seconds.exists() else None},
    }


def release_of_nvcc(nvcc):
    if not nvcc:
        return None
    try:
        text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=LIMITS_S["tool"]).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"release [^\n]*", text)
    return match.group(0) if match else None


def run_tests(steps, args):
    reports = args.build / "gpu_check_tests"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    junit = args.out / "ctest.xml"
    junit.unlink(missing_ok=True)
    steps.run("tests", LIMITS_S["test"],
              ["ctest", "--test-dir", str(args.build), "-L", f"^({args.label})$", "--no-tests=error", "--output-on-failure",
               "-j", str(min(4, os.cpu_count() or 1)), "--output-junit", str(junit)],
              env={"GTEST_OUTPUT": f"xml:{reports}/"})
    programs = report.parse_ctest_junit(junit.read_text(errors="replace")) if junit.exists() else []
    cases = []
    for path in sorted(reports.glob("*.xml")):
        try:
            cases += report.parse_googletest_xml(path.read_text(errors="replace"), path.stem)
        except report.ElementTree.ParseError:
            pass  # it died while writing: ctest has it as failed
    return report.assemble_tests(args.label, programs, cases)


def listed_tests(args):
    """name -> command of the tests with the label."""
    run = subprocess.run(["ctest", "--test-dir", str(args.build), "-L", f"^({args.label})$", "--show-only=json-v1"],
                         capture_output=True, text=True, timeout=LIMITS_S["tool"])
    if run.returncode != 0:
        return {}
    return {test["name"]: test["command"] for test in json.loads(run.stdout)["tests"] if test.get("command")}


def run_sanitizers(steps, args, nvcc_folder, device_reason):
    tool = shutil.which("compute-sanitizer", path=f"{os.environ.get('PATH', '')}:{nvcc_folder}")
    reason = device_reason or ("" if tool else "no compute-sanitizer on this machine")
    found = []
    tests = {} if reason else listed_tests(args)
    for check, programs, test_filter in SANITIZER_CASES:
        wanted = {name: command for name, command in tests.items() if re.search(programs, name)}
        if not wanted:
            steps.skip(f"sanitizer {check}", reason or f"no test with label {args.label} is named {programs}")
        for name, command in wanted.items():
            done = steps.run(f"sanitizer {check} {name}", LIMITS_S["sanitizer"],
                             [tool, "--tool", check, "--error-exitcode", "99", *command, f"--gtest_filter={test_filter}"], env=SHORT_TESTS)
            if done.status != "skipped":
                found.append({"tool": check, "program": name, "status": done.status, "errors": report.parse_sanitizer(done.out + done.error)})
    return found


def run_benchmarks(steps, args, device_reason):
    sparrow = args.build / "sparrow"
    models = args.build / "models"
    # Workloads go through the engine, which wants the model's tokenizer; brought along, never committed.
    tokenizer = ["--tokenizer", str(TOKENIZER)] if TOKENIZER.exists() else []
    rows, made = [], {}
    for name, model, arguments in BENCH_CASES:
        if device_reason:
            steps.skip(f"bench {name}", device_reason)
            continue
        path = models / f"{args.shapes}-{model}.gguf"
        if model not in made:
            models.mkdir(parents=True, exist_ok=True)
            kind = dict(MODELS)[model]
            made[model] = path.exists() or steps.run(
                f"synth {model}", LIMITS_S["synth"],
                [str(sparrow), "synth", "--config", args.shapes, "--type", kind, *tokenizer, "--out", str(path)]).status == "ok"
        if not made[model]:
            steps.skip(f"bench {name}", f"no weights of {model}")
            continue
        done = steps.run(f"bench {name}", LIMITS_S["bench"],
                         [str(sparrow), "bench", "--model", str(path), "--device", args.device, "--json", *arguments.split()])
        if done.status in ("ok", "timeout"):
            try:
                rows.append({"case": name, "model": model, "rows": report.parse_bench(done.out)})
            except ValueError as error:
                if done.status == "ok":
                    steps.entries[-1].update(status="failed", reason=f"no rows: {error}")
    return rows


def run_peers(steps, device_reason):
    name = "peer transformers"
    if device_reason:
        steps.skip(name, device_reason)
        return []
    if not has_torch_with_cuda():
        steps.skip(name, NO_TORCH)
        return []
    done = steps.run(name, LIMITS_S["peer"], ["python3", str(ROOT / "dev/peers/torch_bench.py"), "--device", "cuda"])
    return report.parse_json_lines(done.out)


def run_probe(steps, device_reason):
    """Copy bandwidth and bf16 products of the device, by PyTorch: what the shares of the other figures are of."""
    unknown = {"copy_gb_per_s": None, "bf16_tflops": None}
    if device_reason or not has_torch_with_cuda():
        steps.skip("probe", device_reason or NO_TORCH)
        return unknown
    done = steps.run("probe", LIMITS_S["probe"], ["python3", str(ROOT / "dev/peers/torch_probe.py")])
    rows = report.parse_json_lines(done.out)
    return {key: rows[0].get(key) for key in unknown} if rows else unknown


@functools.cache
def has_torch_with_cuda():
    probe = "import torch, transformers, sys; sys.exit(not torch.cuda.is_available())"
    try:
        return subprocess.run(["python3", "-c", probe], capture_output=True, timeout=LIMITS_S["probe"]).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def product_library_folder():
    """Where cuBLASLt lies that came with Python's packages; a toolkit's is found without help."""
    found = [library for folder in sys.path for library in pathlib.Path(folder).glob("nvidia/*/lib/libcublasLt.so.1[23]")]
    return str(max(found, key=lambda library: library.name).parent) if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/gpu")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/gpu/out")
    parser.add_argument("--label", default="gpu", help="ctest label of the tests to run")
    parser.add_argument("--shapes", default="r1-distill-qwen-1.5b", help="--config of sparrow synth")
    parser.add_argument("--budget-s", type=float, default=450, help="of all steps together")
    args = parser.parse_args()
    args.device = "cuda"
    args.build, args.out = args.build.resolve(), args.out.resolve()
    if not (args.build / "CMakeCache.txt").exists():
        raise SystemExit(f"gpu_check: {args.build} is not built; run dev/gpu_check.sh build")
    args.out.mkdir(parents=True, exist_ok=True)
    gpus, device_reason = query_gpus()
    if device_reason:
        device_reason = f"no GPU ({device_reason})"
        print(f"gpu_check: {device_reason}: tests run on the host's twin, the rest is skipped", flush=True)
    machine = describe_machine(args.build, gpus, device_reason)
    folder = product_library_folder()
    machine["machine"]["product_library"] = "with Python's packages" if folder else None
    if folder:  # for sparrow and the tests; PyTorch finds its own
        os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, [os.environ.get("LD_LIBRARY_PATH"), folder]))
    with open(args.out / "gpu_check.log", "w", encoding="utf-8") as log:
        steps = Steps(args.budget_s, log)
        tests = run_tests(steps, args)
        probe = run_probe(steps, device_reason)
        bench = run_benchmarks(steps, args, device_reason)
        peers = run_peers(steps, device_reason)
        sanitizers = run_sanitizers(steps, args, nvcc_folder(args.build), device_reason)
    if gpus:
        after, _ = query_gpus()
        machine["device_after"] = after[0] if after else None
    result = report.assemble(machine, steps.entries, tests, sanitizers, bench, peers, probe)
    (args.out / "gpu_check.json").write_text(json.dumps(result, indent=1) + "\n")
    print(report.table(result))
    print(f"gpu_check: {args.out / 'gpu_check.json'}")
    return 0 if result["passed"] else 1


def nvcc_folder(build):
    nvcc = cache_entries(build).get("CMAKE_CUDA_COMPILER") or shutil.which("nvcc") or ""
    return str(pathlib.Path(nvcc).resolve().parent) if nvcc else ""


if __name__ == "__main__":
    sys.exit(main())
