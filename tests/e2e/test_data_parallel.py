"""One server over several engines (--data-parallel-size): the same answers, sums that add up, and a good end."""
import os
import re
import signal
import threading
import time

import pytest

from conftest import Server, run_cli
from test_drain import SHORT, Stream, refused

SIZE = ("--max-model-len", 2048, "--max-num-seqs", 16)
PROMPTS = [f"Question {i}: what is {i} times {i + 7}, and why?" for i in range(24)]
COUNTERS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:request_success_total",
            "vllm:time_to_first_token_seconds_count", "vllm:e2e_request_latency_seconds_count")


@pytest.fixture(scope="module")
def pair(model):
    with Server("--model", model, *SIZE, "--threads", 2, "--data-parallel-size", 2) as running:
        yield running


def ask(server, prompt, **more):
    body = {"prompt": prompt, "max_tokens": 16, "temperature": 0, "ignore_eos": True, "return_token_ids": True, **more}
    status, _, answer = server.post("/v1/completions", body)
    assert status == 200, answer
    return answer


def ask_all(server, prompts):
    """All at once; answers in the order of the prompts."""
    answers = [None] * len(prompts)

    def run(index):
        answers[index] = ask(server, prompts[index])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(answers)
    return answers


def by_engine(server, name, label=""):
    """Values of a metric by its engine label, other labels added up; of the series with `label`, if one is given."""
    values = {}
    for line in server.request("GET", "/metrics")[2].splitlines():
        found = re.match(rf'{re.escape(name)}{{.*engine="(\d+)".*}} (\S+)$', line)
        if found and label in line:
            values[int(found.group(1))] = values.get(int(found.group(1)), 0) + float(found.group(2))
    return values


def test_answers_are_those_of_a_single_engine(model, pair):
    with Server("--model", model, *SIZE) as single:
        expected = ask_all(single, PROMPTS)
        assert by_engine(single, "vllm:generation_tokens_total").keys() == {0}
        assert "sparrow_engine_up" not in single.request("GET", "/metrics")[2]
    got = ask_all(pair, PROMPTS)
    for one, other in zip(expected, got):
        assert one["choices"][0]["text"] == other["choices"][0]["text"]
        assert one["choices"][0]["token_ids"] == other["choices"][0]["token_ids"]


def test_sums_over_the_engines_are_what_clients_saw(pair):
    before = {name: by_engine(pair, name) for name in COUNTERS}
    answers = ask_all(pair, [prompt + " Again." for prompt in PROMPTS])
    pair.wait_until_idle()
    after = {name: by_engine(pair, name) for name in COUNTERS}
    grown = {name: {i: after[name][i] - before[name][i] for i in (0, 1)} for name in COUNTERS}
    assert sum(grown["vllm:generation_tokens_total"].values()) == sum(a["usage"]["completion_tokens"] for a in answers)
    assert sum(grown["vllm:prompt_tokens_total"].values()) == sum(a["usage"]["prompt_tokens"] for a in answers)
    for name in COUNTERS[2:]:
        assert sum(grown[name].values()) == len(PROMPTS), name
    assert min(grown["vllm:request_success_total"].values()) >= len(PROMPTS) // 4, "both work"
    assert by_engine(pair, "sparrow_engine_up") == {0: 1, 1: 1}


def test_turns_of_a_conversation_find_what_was_computed(pair):
    """Wherever the others go: what a turn repeats is in the cache of the engine it goes to."""
    text = "Tell me a long story about a sparrow and its seven brothers. " * 6
    ask(pair, text)
    for turn in range(6):
        ask(pair, f"Somebody else's question, number {turn}: " + "blue green red " * 8)
        text += f" And then, in the year {turn}, what did they say to each other?"
        usage = ask(pair, text)["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] >= usage["prompt_tokens"] // 2, (turn, usage)


def test_choices_of_one_request_are_together(pair):
    before = by_engine(pair, "vllm:prompt_tokens_total")
    answer = ask(pair, "Choose freely, this is new.", n=4, temperature=1, seed=3)
    assert len(answer["choices"]) == 4
    after = by_engine(pair, "vllm:prompt_tokens_total")
    assert sum(after[i] != before[i] for i in (0, 1)) == 1


def test_log_says_what_each_engine_takes(pair):
    lines = "\n".join(pair.lines)
    assert "Engine 0, of 2" in lines and "Engine 1, of 2" in lines
    assert re.search(r"2 engines take \S+ [MG]B of memory in all", lines)
    assert len(re.findall(r"Loaded model .* \(\S+, 1 threads\)", lines)) == 2, "two threads are divided"


def test_clients_that_leave_free_both_engines(model):
    with Server("--model", model, "--max-model-len", 8192, "--threads", 2, "-dp", 2) as server:
        streams = [Stream(server) for _ in range(6)]
        assert all(value > 0 for value in by_engine(server, "vllm:num_requests_running").values())
        for stream in streams:
            stream.leave()
        server.wait_until_idle()
        ended = by_engine(server, "vllm:request_success_total", 'finished_reason="abort"')
        assert sum(ended.values()) == 6 and min(ended.values()) > 0, ended


def test_drain_finishes_what_runs_on_every_engine(model):
    with Server("--model", model, "--max-model-len", 8192, "--shutdown-timeout", 100, "--threads", 2, "-dp", 2) as server:
        streams = [Stream(server, 1000) for _ in range(4)]
        assert all(value > 0 for value in by_engine(server, "vllm:num_requests_running").values())
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_line("Shutting down", 20)
        status, _, body = server.request("GET", "/readyz")
        assert (status, body["state"]) == (503, "draining")
        assert refused(server)
        assert all([stream.whole() for stream in streams])
        assert server.wait(30) == 0


def test_second_signal_ends_every_engine_at_once(model):
    with Server("--model", model, "--max-model-len", 8192, "--shutdown-timeout", 1000, "--threads", 2, "-dp", 2) as server:
        streams = [Stream(server) for _ in range(4)]
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_line("Shutting down", 20)
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        print(f"ended after {(time.monotonic() - begin) * 1000:.0f} ms")
        for stream in streams:
            assert not stream.whole() and '"code":"draining"' in stream.text


@pytest.mark.parametrize("arguments, parts", [
    (("--data-parallel-size", "0"), ("--data-parallel-size must be 1 to 64", "'0'")),
    (("--data-parallel-size", "1000"), ("--data-parallel-size must be 1 to 64", "'1000'")),
    (("-dp", "-1"), ("--data-parallel-size must be 1 to 64",)),
    (("-dp", "two"), ("--data-parallel-size", "'two'")),
    (("-dp", "3", "--threads", "2"), ("--data-parallel-size 3", "there are 2", "--threads")),
    (("-dp", "2", "--threads", "1"), ("--data-parallel-size 2", "there is 1")),
    (("-dp", "2", "--device", "cuda"), ("--device cuda",)),
])
def test_nonsense_is_refused_in_one_line(model, arguments, parts):
    if "cuda" in arguments and os.path.exists("/dev/nvidiactl"):
        pytest.skip("there is a GPU")
    done = run_cli("serve", "--model", model, "--port", "0", *arguments, timeout=60)
    assert done.returncode in (1, 2)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and all(part in errors[0] for part in parts), done.stderr


def test_memory_that_does_not_suffice_names_the_flag(model):
    """Half of what is free is less than this cache."""
    with open("/proc/meminfo") as info:
        free = int(re.search(r"MemAvailable:\s*(\d+)", info.read()).group(1)) * 1024
    done = run_cli("serve", "--model", model, "--port", "0", "--threads", 2, "-dp", 2, "--max-model-len", 2048,
                   "--kv-cache-memory-bytes", int(free * 0.6), timeout=120)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "--data-parallel-size 2, engine 0 with its share" in errors[0] and "available" in errors[0], done.stderr
