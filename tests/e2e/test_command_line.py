"""The commands, as typed: run, tokenize, synth, bench, serve with another server's flags, stopping."""
import json
import re
import shutil
import signal
import struct
import subprocess
import threading
import time

import pytest

from conftest import BINARY, ROOT, Server, run_cli


def test_help_has_examples_and_every_command():
    done = run_cli("--help")
    assert done.returncode == 0
    for command in ("serve", "run", "tokenize", "pull", "bench", "synth", "quantize", "cache"):
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


def test_bench_at_depth_and_with_guesses(model):
    done = run_cli("bench", "--model", model, "--prompt-tokens", 16, "--gen-tokens", 8, "--depth", "0,64", "--verify", "1,3",
                   "--kv-cache-dtype", "int8", "--threads", 2, "--repeat", 2, "--probe-mb", 64, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {(r["test"], r["depth"], r.get("guesses")) for r in rows} == {
        (test, depth, guesses) for depth in (0, 64)
        for test, guesses in (("prefill", None), ("decode", None), ("verify", 0), ("verify", 1), ("verify", 3))}
    for row in rows:
        assert row["kv_type"] == "int8" and row["batch"] == 1
        if row["test"] == "verify":
            assert 0 < row["step_ratio_min"] <= row["step_ratio"] <= row["step_ratio_max"]
    table = run_cli("bench", "--model", model, "--prompt-tokens", 16, "--gen-tokens", 8, "--depth", "64", "--verify", "1",
                    "--threads", 2, "--repeat", 1, "--probe-mb", 64).stdout
    assert "bf16 KV cache" in table and max(len(line) for line in table.splitlines()[1:]) <= 120


def test_bench_replays_texts(model, tmp_path):
    lines = [{"prompt": "one two three four five six seven eight. Again: ", "output": "one two three four five six seven eight."},
             {"input_tok_ids": [5, 6, 7], "output_tok_ids": [8, 9, 10, 11], "arrival_time_ns": 1}]
    texts = tmp_path / "texts.jsonl"
    texts.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    done = run_cli("bench", "--model", model, "--replay", texts, "--threads", 2, "--repeat", 2, "--probe-mb", 64, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["text"] for row in rows] == [0, 1, -1]
    assert rows[1]["tokens"] == 3 and rows[2]["tokens"] == rows[0]["tokens"] + 3
    for row in rows:
        assert row["test"] == "replay" and row["steps"] + row["right"] == pytest.approx(row["tokens"])
    texts.write_text('{"prompt": "a"}\n')
    broken = run_cli("bench", "--model", model, "--replay", texts, "--probe-mb", 64)
    assert broken.returncode != 0 and "line 1" in broken.stderr and "output" in broken.stderr


def test_bench_interrupted_prints_what_is_there(model):
    process = subprocess.Popen([BINARY, "bench", "--model", model, "--prompt-tokens", "16", "--gen-tokens", "64", "--batch", "1",
                                "--repeat", "1000", "--probe-mb", "64", "--threads", "2", "--depth", "0,16,32,48,64,80,96", "--json"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline().startswith("bench"), "progress of long work comes line by line"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped" in err
    json.loads(out)


def test_flags_of_another_server_start_unchanged(model):
    with Server("--model", model, "--host", "0.0.0.0", "--tensor-parallel-size", 1, "--dtype", "auto", "--max-model-len", 4096,
                "--gpu-memory-utilization", 0.8, "--enforce-eager", "--enable-prefix-caching", "--trust-remote-code",
                "--reasoning-parser", "deepseek_r1") as server:
        log = "\n".join(server.lines)
        assert "Application startup complete." in log
        assert "Press CTRL+C to quit" in log
        assert "key" in log, "a public bind without a key is a loud warning"
        assert server.request("GET", "/health")[0] == 200


@pytest.mark.parametrize("config, named", [
    ('{"method":"eagle","model":"x","num_speculative_tokens":2}', '"eagle"'),
    ('{"num_speculative_tokens":2}', "method is missing"),
    ('{"method":"ngram","num_speculative_tokens":400}', "from 0 to 32, got 400"),
    ('{"method":"ngram","num_speculative_tokens":"5"}', "num_speculative_tokens"),
    ('{"method":"ngram","prompt_lookup_max":0}', "prompt_lookup_max"),
    ('{"method":"ngram","prompt_lookup_max":2,"prompt_lookup_min":3}', "prompt_lookup_min 3 is above"),
    ('{"method":"ngram","quantization":"fp8"}', "'quantization'"),
    ('[5]', "JSON object"),
    ('{"method"', "--speculative-config"),
])
def test_speculation_that_is_not_ours_is_refused_by_name(model, config, named):
    for command in ("run", "serve"):
        done = run_cli(command, "--model", model, "--speculative-config", config, timeout=60)
        assert done.returncode == 1
        assert "--speculative-config" in done.stderr and named in done.stderr


def test_speculation_changes_no_answer(model):
    body = {"messages": [{"role": "user", "content": "one two three one two three one two"}], "max_tokens": 200, "ignore_eos": True,
            "return_token_ids": True, "logprobs": True}
    with Server("--model", model, "--max-model-len", 4096,
                "--speculative-config", '{"method":"ngram","num_speculative_tokens":5,"prompt_lookup_max":4}') as server:
        for settings in ({"temperature": 0}, {"temperature": 0.6, "seed": 3, "frequency_penalty": 0.5},
                         {"temperature": 0.6, "seed": 4, "logit_bias": {"97": 20, "98": 20}}):
            choices = []
            for speculative in (True, False):
                status, _, answer = server.post("/v1/chat/completions", {**body, **settings, "speculative": speculative})
                assert status == 200, answer
                choices.append(answer["choices"])
            assert choices[0] == choices[1]
        metrics = server.request("GET", "/metrics")[2]
        counts = {name: int(float(re.search(rf"^vllm:spec_decode_num_{name}_total{{.*}} (\S+)$", metrics, re.M).group(1)))
                  for name in ("drafts", "draft_tokens", "accepted_tokens")}
        assert 0 < counts["drafts"] <= counts["draft_tokens"]
        assert 0 < counts["accepted_tokens"] <= counts["draft_tokens"]


def test_awq_on_plain_weights_is_refused_with_the_reason(model):
    done = run_cli("serve", "--model", model, "--port", "0", "--quantization", "awq", timeout=60)
    assert done.returncode != 0
    assert "quantization_config" in done.stderr and "sparrow quantize" in done.stderr


def make_awq(source, target):
    """Rewrites a float32 directory as AWQ (gemm, groups of 32), from the format's description alone."""
    raw = (source / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header, data, out = json.loads(raw[8:8 + size]), raw[8 + size:], {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if not name.endswith("proj.weight"):
            out[name] = (entry["dtype"], entry["shape"], data[begin:end])
            continue
        rows, cols = entry["shape"]
        values = struct.unpack(f"<{rows * cols}f", data[begin:end])
        words, zeros, scales = [0] * (cols * rows // 8), [0] * (cols // 32 * rows // 8), [0.0] * (cols // 32 * rows)
        for row in range(rows):
            shift = 4 * (0, 4, 1, 5, 2, 6, 3, 7)[row % 8]
            for group in range(cols // 32):
                part = values[row * cols + group * 32:][:32]
                low, high = min(part), max(part)
                scale = struct.unpack("<e", struct.pack("<e", (high - low) / 15 or 1.0))[0]
                zero = min(15, max(0, round(-low / scale)))
                scales[group * rows + row] = scale
                zeros[group * (rows // 8) + row // 8] |= zero << shift
                for k, value in enumerate(part):
                    words[(group * 32 + k) * (rows // 8) + row // 8] |= min(15, max(0, round(value / scale) + zero)) << shift
        module = name.removesuffix(".weight")
        out[module + ".qweight"] = ("I32", [cols, rows // 8], struct.pack(f"<{len(words)}I", *words))
        out[module + ".qzeros"] = ("I32", [cols // 32, rows // 8], struct.pack(f"<{len(zeros)}I", *zeros))
        out[module + ".scales"] = ("F16", [cols // 32, rows], struct.pack(f"<{len(scales)}e", *scales))
    header, offset = {}, 0
    for name, (dtype, shape, content) in out.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(content)]}
        offset += len(content)
    text = json.dumps(header).encode()
    shutil.copytree(source, target)
    (target / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"".join(c for _, _, c in out.values()))
    config = json.loads((target / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
    (target / "config.json").write_text(json.dumps(config))


def test_awq_checkpoint_runs_and_the_flag_must_agree(tmp_path):
    done = run_cli("synth", "--config", "tiny", "--type", "f32", "--seed", 1, "--out", tmp_path / "plain")
    assert done.returncode == 0, done.stderr
    make_awq(tmp_path / "plain", tmp_path / "awq")
    arguments = ("run", "--model", tmp_path / "awq", "--max-tokens", 8, "--temperature", 0)
    answer = run_cli(*arguments, "Hi")
    assert answer.returncode == 0 and answer.stdout, answer.stderr
    for same in ("awq", "awq_marlin"):
        named = run_cli(*arguments, "--quantization", same, "Hi")
        assert named.returncode == 0 and named.stdout == answer.stdout, named.stderr
    refused = run_cli(*arguments, "--quantization", "gptq", "Hi")
    assert refused.returncode != 0
    assert "gptq" in refused.stderr and "safetensors AWQ int4 g32" in refused.stderr


def test_log_file_holds_the_start_lines(model, tmp_path):
    log = tmp_path / "sparrow.log"
    with Server("--model", model, "--log-file", log) as server:
        server.stop()
    assert "running on" in log.read_text()


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
