"""The commands, as typed: run, tokenize, synth, bench, serve with another server's flags, stopping."""
import json
import re
import signal
import threading
import time

import pytest

from conftest import BINARY, ROOT, Server, run_cli


def test_help_has_examples_and_every_command():
    done = run_cli("--help")
    assert done.returncode == 0
    for command in ("serve", "run", "tokenize", "bench", "synth", "quantize"):
        assert command in done.stdout
        one = run_cli(command, "--help")
        assert one.returncode == 0 and "Examples" in one.stdout


def test_options_document_is_the_table():
    assert (ROOT / "docs/options.md").read_text() == run_cli("help", "--markdown").stdout, \
        "run: build/release/sparrow help --markdown > docs/options.md"


def test_run_answers_once(model):
    first = run_cli("run", "--model", model, "--max-tokens", 16, "--seed", 3, "Hello")
    again = run_cli("run", "--model", model, "--max-tokens", 16, "--seed", 3, "Hello")
    assert first.returncode == 0, first.stderr
    assert first.stdout and first.stdout == again.stdout


def test_run_chats_over_a_pipe(model):
    done = run_cli("run", "--model", model, "--max-tokens", 8, text="Hello\nAnd again\n")
    assert done.returncode == 0, done.stderr


def test_tokenize_there_and_back(model):
    ids = run_cli("tokenize", "--model", model, "Hello 麻雀").stdout.strip()
    assert re.fullmatch(r"\d+( \d+)*", ids)
    assert run_cli("tokenize", "--model", model, "--decode", ids).stdout == "Hello 麻雀\n"
    as_json = json.loads(run_cli("tokenize", "--model", model, "--json", "Hello 麻雀").stdout)
    assert as_json["tokens"] == [int(i) for i in ids.split()] and as_json["count"] == len(as_json["tokens"])


@pytest.mark.parametrize("kind", ["f32", "bf16", "f16", "q8_0", "q4_0"])
def test_synth_gguf_of_every_type_serves(tmp_path, kind):
    path = tmp_path / f"tiny-{kind}.gguf"
    done = run_cli("synth", "--config", "tiny", "--type", kind, "--seed", 1, "--out", path)
    assert done.returncode == 0, done.stderr
    again = tmp_path / "again.gguf"
    run_cli("synth", "--config", "tiny", "--type", kind, "--seed", 1, "--out", again)
    assert path.read_bytes() == again.read_bytes(), "reproducible by seed"
    answer = run_cli("run", "--model", path, "--max-tokens", 4, "--temperature", 0, "Hi")
    assert answer.returncode == 0, answer.stderr


def test_bench_json_has_the_promised_keys(model):
    done = run_cli("bench", "--model", model, "--prompt-tokens", 32, "--gen-tokens", 8, "--batch", "1,4", "--threads", 2,
                   "--repeat", 3, "--probe-mb", 64, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {(r["test"], r["batch"]) for r in rows} == {("prefill", 1), ("prefill", 4), ("decode", 1), ("decode", 4)}
    for row in rows:
        assert 0 < row["tokens_per_s_min"] <= row["tokens_per_s"] <= row["tokens_per_s_max"]
        assert row["share_of_limit"] > 0


def test_flags_of_another_server_start_unchanged(model):
    with Server("--model", model, "--host", "0.0.0.0", "--tensor-parallel-size", 1, "--dtype", "auto", "--max-model-len", 4096,
                "--gpu-memory-utilization", 0.8, "--enforce-eager", "--enable-prefix-caching", "--trust-remote-code",
                "--reasoning-parser", "deepseek_r1") as server:
        log = "\n".join(server.lines)
        assert "Application startup complete." in log
        assert "Press CTRL+C to quit" in log
        assert "key" in log, "a public bind without a key is a loud warning"
        assert server.request("GET", "/health")[0] == 200


def test_awq_on_plain_weights_is_refused_with_the_reason(model):
    done = run_cli("serve", "--model", model, "--port", "0", "--quantization", "awq", timeout=60)
    assert done.returncode != 0
    assert "quantization_config" in done.stderr and "sparrow quantize" in done.stderr


def test_log_file_holds_the_start_lines(model, tmp_path):
    log = tmp_path / "sparrow.log"
    with Server("--model", model, "--log-file", log) as server:
        assert "running on" in log.read_text()
        server.stop()


def test_sigterm_finishes_running_answers_and_refuses_new_ones(model):
    with Server("--model", model, "--max-model-len", 4096, "--shutdown-timeout", 60) as server:
        result = {}
        started = threading.Event()

        def long_answer():
            connection = server.connect()
            connection.request("POST", "/v1/chat/completions", json.dumps(
                {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3000, "temperature": 0, "ignore_eos": True, "stream": True}),
                {"Content-Type": "application/json"})
            response = connection.getresponse()
            result["text"] = response.read(200).decode(errors="replace")
            started.set()
            result["text"] += response.read().decode(errors="replace")

        thread = threading.Thread(target=long_answer)
        thread.start()
        assert started.wait(30)
        server.process.send_signal(signal.SIGTERM)
        thread.join(60)
        assert "[DONE]" in result["text"] and '"finish_reason":"length"' in result["text"]
        assert server.process.wait(timeout=30) == 0


def test_sigint_twice_stops_at_once(model):
    with Server("--model", model, "--max-model-len", 4096) as server:
        connection = server.connect()
        connection.request("POST", "/v1/chat/completions", json.dumps(
            {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4000, "ignore_eos": True, "stream": True}),
            {"Content-Type": "application/json"})
        connection.getresponse().read(100)
        server.process.send_signal(signal.SIGINT)
        server.wait_for_line(r"(?i)draining|shutting down|stopping", 20)
        begin = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        server.process.wait(timeout=20)
        assert time.monotonic() - begin < 20
