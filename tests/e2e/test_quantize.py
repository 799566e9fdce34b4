"""`sparrow quantize` as typed: every type runs, reports, paths, and being killed while it writes."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BINARY, clean_environment, run_cli

# Rows of 256 and 512: every type has its own blocks.
CONFIG = {"model_type": "qwen2", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
          "tie_word_embeddings": False}
# Enough values that a conversion is caught in the middle.
LARGE = {**CONFIG, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 8, "vocab_size": 32000}


def synth(folder, config, name="source"):
    (folder / "config.json").write_text(json.dumps(config))
    done = run_cli("synth", "--config", folder / "config.json", "--type", "bf16", "--seed", 3, "--out", folder / name)
    assert done.returncode == 0, done.stderr
    return folder / name


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return synth(tmp_path_factory.mktemp("quantize"), CONFIG)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return synth(tmp_path_factory.mktemp("large"), LARGE)


@pytest.mark.parametrize("kind", ["f32", "bf16", "f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "w8", "w4"])
def test_every_type_opens_and_answers(source, tmp_path, kind):
    path = tmp_path / (kind if kind in ("w8", "w4") else f"{kind}.gguf")
    done = run_cli("quantize", source, path, "--type", kind)
    assert done.returncode == 0, done.stderr
    assert "bits per weight" in done.stdout
    answer = run_cli("run", "--model", path, "--max-tokens", 4, "--temperature", 0, "Hi")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout


def test_report_as_json_and_table(source, tmp_path):
    done = run_cli("quantize", source, tmp_path / "a.gguf", "--type", "q4_k_m", "--json", "--report", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert report["type"] == "q4_k_m" and 4.5 <= report["bits_per_weight"] < 7
    assert {t["to"] for t in report["tensors"]} == {"q4_k", "q6_k", "f32"}
    for tensor in report["tensors"]:
        assert 0 <= tensor["relative_rms_error"] < 0.1 and tensor["outliers"] == 0
    table = run_cli("quantize", source, tmp_path / "b.gguf", "--type", "q4_k_m", "-v", "--report", tmp_path / "report.txt")
    assert "model.layers.1.mlp.down_proj.weight" in table.stdout
    assert "model.layers.1.mlp.down_proj.weight" in (tmp_path / "report.txt").read_text()


def test_evaluate_says_how_far_the_result_is(source, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("The quick brown sparrow jumps over the lazy cat. " * 20)
    numbers = {}
    for kind in ("bf16", "q8_0", "q4_0"):
        done = run_cli("quantize", source, tmp_path / f"{kind}.gguf", "--type", kind, "--evaluate", text, "--evaluate-tokens", 300,
                       "--evaluate-window", 64, "--json")
        assert done.returncode == 0, done.stderr
        numbers[kind] = json.loads(done.stdout)["evaluation"]
        assert numbers[kind]["tokens"] == 300 and numbers[kind]["windows"] == 5
    assert numbers["bf16"]["mean_kl"] == 0 and numbers["bf16"]["top1_agreement"] == 1
    assert 0 < numbers["q8_0"]["mean_kl"] < numbers["q4_0"]["mean_kl"]
    shown = run_cli("quantize", source, tmp_path / "s.gguf", "--evaluate", text, "--evaluate-tokens", 100)
    assert "perplexity of the source" in shown.stdout and "KL divergence" in shown.stdout
    missing = run_cli("quantize", source, tmp_path / "m.gguf", "--evaluate", tmp_path / "nothing.txt")
    assert missing.returncode == 1 and "nothing.txt" in missing.stderr
    assert not (tmp_path / "m.gguf").exists(), "the text is read before an hour of work"


def test_fit_chooses_and_shows_the_table(source, tmp_path):
    table = json.loads(run_cli("quantize", source, "--fit", "1GiB", "--dry-run", "--json").stdout)
    memory = {row["type"]: row["memory_bytes"] for row in table["types"]}
    assert table["best"] == "bf16" and memory["q4_0"] < memory["q8_0"] < memory["bf16"] < memory["f32"]
    done = run_cli("quantize", source, tmp_path / "fit.gguf", "--fit", memory["q8_0"])
    assert done.returncode == 0, done.stderr
    assert "q8_0" in done.stdout and "best that fits" in done.stdout and "(q8_0," in done.stdout
    nothing = run_cli("quantize", source, tmp_path / "none.gguf", "--fit", "1MiB")
    assert nothing.returncode == 1 and "--max-model-len" in nothing.stderr
    both = run_cli("quantize", source, tmp_path / "none.gguf", "--fit", "1GiB", "--type", "q8_0")
    assert both.returncode == 1 and "--type" in both.stderr


def test_paths_are_guarded(source, tmp_path):
    path = tmp_path / "a.gguf"
    assert run_cli("quantize", source, path).returncode == 0
    for arguments, reason in [((source, path), "--force"), ((source, source), "the same"), ((path, path, "--force"), "the same"),
                              ((source, tmp_path / "no/b.gguf"), "does not exist"), ((source, tmp_path / "folder"), ".gguf"),
                              ((source, tmp_path / "w.gguf", "--type", "w4"), "directory"), ((source,), "SRC and DST"),
                              ((tmp_path / "nothing", tmp_path / "c.gguf"), "nothing"),
                              ((source, tmp_path / "w", "--group-size", 32), "w4")]:
        done = run_cli("quantize", *arguments)
        assert done.returncode == 1 and reason in done.stderr, (arguments, done.stderr)
    assert run_cli("quantize", source, path, "--type", "q4_0", "--force").returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gguf"]


@pytest.fixture(scope="module", params=["q4_k_m.gguf", "w4", "w8-calibrated"])
def kind(request, tmp_path_factory):
    """What becomes of the model: the name of the result, and the flags that ask for it."""
    if request.param != "w8-calibrated":
        return request.param, ("--type", request.param.removesuffix(".gguf"))
    text = tmp_path_factory.mktemp("calibration") / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. 12 + 34 = 46. " * 40)
    return request.param, ("--type", "w8", "--calibrate", str(text), "--calibrate-tokens", "256")


def staged_file(path):
    """Where the weights grow before they get their name; beside a directory that is replaced, until it is whole."""
    if path.suffix == ".gguf":
        return pathlib.Path(f"{path}.partial")
    return pathlib.Path(f"{path}.new.partial" if path.exists() else f"{path}.partial") / "model.safetensors.partial"


def start_and_wait_for(large, path, flags):
    """A conversion that is writing: its staged file holds data."""
    process = subprocess.Popen([BINARY, "quantize", str(large), str(path), "--threads", "1", *flags],
                               stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment())
    partial = staged_file(path)
    deadline = time.monotonic() + 240
    while not (partial.exists() and partial.stat().st_size > 1 << 20):
        assert process.poll() is None, "ended before it was caught: " + process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_kill_9_leaves_nothing_under_the_final_name(large, tmp_path, kind):
    name, flags = kind
    path = tmp_path / name
    process = start_and_wait_for(large, path, flags)
    process.kill()
    process.communicate()
    assert not path.exists() and staged_file(path).exists()
    # What was left is no obstacle.
    done = run_cli("quantize", large, path, "--type", "q8_0" if path.suffix else "w4")
    assert done.returncode == 0, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [name]
    if path.is_dir():
        assert not [p.name for p in path.iterdir() if "partial" in p.name]
    assert run_cli("run", "--model", path, "--max-tokens", 2, "Hi").returncode == 0


def contents(path):
    return {p.name: p.read_bytes() for p in path.iterdir()} if path.is_dir() else path.read_bytes()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_removes_the_staged_file_and_keeps_the_old(source, large, tmp_path, kind, sign):
    name, flags = kind
    path = tmp_path / name
    if path.suffix:
        path.write_text("precious")
    else:
        shutil.copytree(source, path)
    before = contents(path)
    process = start_and_wait_for(large, path, ["--force", *flags])
    process.send_signal(sign)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in errors
    assert [p.name for p in tmp_path.iterdir()] == [name] and contents(path) == before


def test_a_full_disk_is_an_error_with_its_name(large, tmp_path, kind):
    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    name, flags = kind
    done = subprocess.run([BINARY, "quantize", str(large), str(tmp_path / name), *flags], capture_output=True, text=True,
                          env=clean_environment(), preexec_fn=limited, timeout=300)
    assert done.returncode == 1
    assert re.search(re.escape(str(staged_file(tmp_path / name))) + r": cannot write: \w+", done.stderr), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_memory_stays_far_below_the_model(large, tmp_path, kind):
    name, flags = kind
    process = subprocess.Popen([BINARY, "quantize", str(large), str(tmp_path / name), *flags], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, env=clean_environment())
    _, status, usage = os.wait4(process.pid, 0)
    process.stderr.close()
    assert status == 0
    largest = 2 * 32000 * 1024  # bytes of the embedding
    assert usage.ru_maxrss * 1024 < 2 * largest + 200e6


def test_calibrate_says_what_it_did_and_what_it_cannot(source, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. 12 + 34 = 46. " * 40)
    for kind in ("w8", "w4"):
        path = tmp_path / f"calibrated-{kind}"
        done = run_cli("quantize", source, path, "--type", kind, "--calibrate", text, "--calibrate-tokens", 1024)
        assert done.returncode == 0, done.stderr
        assert "calibrated on 1024 tokens" in done.stdout and "inputs of down" in done.stdout and " MB " in done.stdout
        assert run_cli("run", "--model", path, "--max-tokens", 4, "--temperature", 0, "Hi").returncode == 0
    report = json.loads(run_cli("quantize", source, tmp_path / "json", "--type", "w4", "--calibrate", text, "--json").stdout)
    assert report["calibration"]["tokens"] > 1024
    assert [one["inputs"] for one in report["calibration"]["inputs"]] == ["q k v", "o", "gate up", "down"]
    refused = run_cli("quantize", source, tmp_path / "a.gguf", "--type", "q4_0", "--calibrate", text)
    assert refused.returncode != 0 and "--calibrate" in refused.stderr and "w4" in refused.stderr
    short = tmp_path / "short.txt"
    short.write_text("Too short.")
    refused = run_cli("quantize", source, tmp_path / "a", "--type", "w4", "--calibrate", short)
    assert refused.returncode != 0 and "expected 256 or more" in refused.stderr and str(short) in refused.stderr
    missing = run_cli("quantize", source, tmp_path / "a", "--type", "w4", "--calibrate", tmp_path / "nothing.txt")
    assert missing.returncode != 0 and "nothing.txt" in missing.stderr
    existing = run_cli("quantize", source, tmp_path / "json", "--type", "w4", "--calibrate", text)
    assert existing.returncode != 0 and "--force" in existing.stderr
