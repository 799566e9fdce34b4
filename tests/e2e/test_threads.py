"""Threads and CPUs as the command line and other programs' variables ask for them."""
import os
import pathlib
import re

import pytest

from conftest import Server, run_cli

LOADED = r"Loaded model .* on CPU \(\S+, (\d+) threads\)"


@pytest.fixture(autouse=True)
def nothing_inherited(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OV_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"):
        monkeypatch.delenv(name, raising=False)


def started(model, *arguments, **environment):
    """A server, and the number of compute threads its log names."""
    server = Server("--model", model, "--max-model-len", 2048, *arguments, environment=environment)
    return server, int(re.search(LOADED, "\n".join(server.lines)).group(1))


def affinities(server):
    """The CPUs that each thread may use, as the kernel writes them."""
    lists = []
    for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
        lists.append(re.search(r"Cpus_allowed_list:\s*(\S+)", (task / "status").read_text()).group(1))
    return lists


def test_omp_num_threads_counts_unless_the_flag_says_otherwise(model):
    for wanted in (1, 3):
        server, threads = started(model, OMP_NUM_THREADS=str(wanted))
        with server:
            assert threads == wanted
    server, threads = started(model, "--threads", 2, OMP_NUM_THREADS="1")
    with server:
        assert threads == 2
    server, threads = started(model, OMP_NUM_THREADS="many")
    with server:
        assert 1 <= threads <= len(os.sched_getaffinity(0)), "what is no number does not count"


@pytest.mark.parametrize("name, flag", [("OV_NUM_THREADS", "--threads N"), ("OMP_PROC_BIND", "--cpu-list"), ("OMP_PLACES", "--cpu-list"),
                                        ("GOMP_CPU_AFFINITY", "--cpu-list")])
def test_variables_without_effect_are_answered_by_one_line_with_our_flag(model, name, flag):
    server, _ = started(model, **{name: "1"})
    with server:
        lines = [line for line in server.lines if name in line]
        assert len(lines) == 1 and "has no effect" in lines[0] and flag in lines[0], lines


def test_without_such_variables_no_line_names_them(model):
    server, _ = started(model)
    with server:
        assert not any("has no effect" in line for line in server.lines)


@pytest.mark.parametrize("arguments, parts", [
    (("--cpu-list", "8000"), ("--cpu-list 8000", "may not use CPU 8000", "it may use")),
    (("--cpu-list", "fast"), ("--cpu-list", '"fast" is not a CPU number or range', "example: 0-3,8")),
    (("--cpu-list", "3-1"), ("--cpu-list", '"3-1"')),
    (("--cpu-list", "0", "--threads", "2"), ("--threads 2", "the 1 CPUs of --cpu-list 0")),
    (("--numa", "maybe"), ("--numa", "auto, off", "'maybe'")),
])
def test_wrong_lists_are_refused_with_what_is_allowed(model, arguments, parts):
    if "0" in arguments and 0 not in os.sched_getaffinity(0):
        pytest.skip("CPU 0 is not ours")
    done = run_cli("serve", "--model", model, "--port", "0", *arguments, timeout=60)
    assert done.returncode in (1, 2), "2 is an option that is not understood"
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and all(part in errors[0] for part in parts), done.stderr


def test_a_cpu_list_keeps_the_compute_thread_there(model):
    cpu = max(os.sched_getaffinity(0))
    server, threads = started(model, "--cpu-list", cpu)
    with server:
        assert threads == 1, "as many threads as CPUs listed"
        assert any(f"Compute threads stay on CPUs {cpu}" in line for line in server.lines)
        status, _, answer = server.post("/v1/completions", {"prompt": "Hi", "max_tokens": 2})
        assert status == 200, answer
        assert str(cpu) in affinities(server)


def test_numa_off_starts_and_answers(model):
    server, threads = started(model, "--numa", "off")
    with server:
        assert threads >= 1
        assert not any("stay on CPUs" in line for line in server.lines)
        assert server.post("/v1/completions", {"prompt": "Hi", "max_tokens": 2})[0] == 200
