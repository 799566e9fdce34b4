"""Wrong inputs, tried and answered: the right status, all four keys, and the server goes on."""
import json
import socket

import pytest

from conftest import Server, run_cli

GOOD = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
NOT_A_NUMBER = ["1", True, [], {}]


def error_of(answer):
    assert set(answer["error"]) >= {"message", "type", "param", "code"}, answer
    assert answer["error"]["code"] is None or isinstance(answer["error"]["code"], str)
    return answer["error"]


def chat_cases():
    yield "no messages", {}, "messages"
    yield "empty messages", {"messages": []}, "messages"
    yield "messages a string", {"messages": "Hi"}, "messages"
    yield "message without role", {"messages": [{"content": "Hi"}]}, None
    yield "unknown role", {"messages": [{"role": "wizard", "content": "Hi"}]}, None
    yield "image part", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, None
    for value in (0, -1, 2**63, 1.5, *NOT_A_NUMBER):
        yield f"max_tokens {value!r}", {**GOOD, "max_tokens": value}, "max_tokens"
    for value in (-0.1, 2.1, 1e308, *NOT_A_NUMBER):
        yield f"temperature {value!r}", {**GOOD, "temperature": value}, "temperature"
    for value in (0, -1, 1.01):
        yield f"top_p {value!r}", {**GOOD, "top_p": value}, "top_p"
    for value in (0, -1, 10**6, "2"):
        yield f"n {value!r}", {**GOOD, "n": value}, "n"
    yield "top_logprobs 21", {**GOOD, "logprobs": True, "top_logprobs": 21}, "top_logprobs"
    yield "logit_bias of no token", {**GOOD, "logit_bias": {"99999999": 1}}, "logit_bias"
    yield "logit_bias 101", {**GOOD, "logit_bias": {"1": 101}}, "logit_bias"
    yield "stop a number", {**GOOD, "stop": 3}, "stop"
    yield "seed a string", {**GOOD, "seed": "x"}, "seed"
    yield "stream a string", {**GOOD, "stream": "yes"}, "stream"
    yield "tools", {**GOOD, "tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"
    yield "response_format", {**GOOD, "response_format": {"type": "json_object"}}, "response_format"


@pytest.mark.parametrize("name,body,param", list(chat_cases()), ids=lambda v: v if isinstance(v, str) else "")
def test_chat_refuses(server, name, body, param):
    status, _, answer = server.post("/v1/chat/completions", body)
    assert status == 400, answer
    error = error_of(answer)
    if param:
        assert error["param"] == param
        assert param in error["message"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"messages": ', b'{"a": "\xff\xfe"}', b"\x00" * 100,
                                 b"[" * 100_000, b'{"a":' * 50_000], ids=lambda raw: repr(raw[:12]))
def test_broken_json_is_refused(server, raw):
    status, _, answer = server.request("POST", "/v1/chat/completions", raw=raw)
    assert status == 400
    error_of(answer)


def test_prompt_over_the_context(server):
    status, _, answer = server.post("/v1/chat/completions", {**GOOD, "messages": [{"role": "user", "content": "x y " * 5000}]})
    assert status == 400
    assert error_of(answer)["code"] == "context_length_exceeded"
    assert answer["error"]["message"].startswith("This model's maximum context length is 2048 tokens. However, you requested")


def test_body_of_100_mb_is_refused_early(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n")
        assert raw.recv(4096).split(b" ")[1] == b"413"


def test_unknown_paths_and_methods(server):
    for method, path, status in (("GET", "/nope", 404), ("GET", "/v1/chat/completions", 405), ("DELETE", "/v1/models", 405),
                                 ("POST", "/v1/embeddings", 404), ("GET", "/v1/models/none", 404)):
        got, _, answer = server.request(method, path)
        assert got == status, (path, got, answer)
        error_of(answer)


def test_unknown_field_runs_and_is_named(server):
    status, headers, _ = server.post("/v1/chat/completions", {**GOOD, "my_field": 1})
    assert status == 200
    assert headers["x-sparrow-ignored"] == "my_field"


def test_good_request_is_answered_after_all_of_this(server):
    assert server.post("/v1/chat/completions", GOOD)[0] == 200
    server.wait_until_idle()


@pytest.mark.parametrize("arguments,words", [
    (["--model", "/no/such/model"], "no such file"),
    (["--model", "nobody/nothing"], "Hugging Face cache"),
    (["--max-model-len", "0"], "--max-model-len"),
    (["--nonsense"], "unknown option"),
], ids=str)
def test_start_refuses_with_one_line(arguments, words):
    done = run_cli("serve", "--port", "0", *arguments, timeout=60)
    assert done.returncode in (1, 2)
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1 and words in errors[0], done.stderr


def test_port_in_use_is_said(server, model):
    done = run_cli("serve", "--model", model, "--port", server.port, timeout=60)
    assert done.returncode == 1
    assert "address already in use" in done.stderr.lower() and str(server.port) in done.stderr


def test_truncated_and_wrong_files_are_named(model, tmp_path):
    import shutil
    for name, change in {
        "truncated": lambda d: (d / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:5000]),
        "shape": lambda d: (d / "config.json").write_text(json.dumps({**json.loads((model / "config.json").read_text()), "intermediate_size": 96})),
        "no config": lambda d: (d / "config.json").unlink(),
        "no tokenizer": lambda d: (d / "tokenizer.json").write_text("{"),
        "architecture": lambda d: (d / "config.json").write_text(json.dumps({**json.loads((model / "config.json").read_text()), "architectures": ["LlamaForCausalLM"], "model_type": "llama"})),
    }.items():
        broken = tmp_path / name.replace(" ", "-")
        shutil.copytree(model, broken)
        change(broken)
        done = run_cli("serve", "--port", "0", "--model", broken, timeout=60)
        assert done.returncode == 1, (name, done.stderr)
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        assert len(errors) == 1 and str(broken) in errors[0], (name, done.stderr)


def test_api_key_guards_all_but_health(model):
    with Server("--model", model, "--api-key", "secret") as guarded:
        assert guarded.request("GET", "/health")[0] == 200
        assert guarded.request("GET", "/v1/models")[0] == 401
        assert guarded.request("GET", "/v1/models", headers={"Authorization": "Bearer wrong"})[0] == 401
        assert guarded.request("GET", "/v1/models", headers={"Authorization": "Bearer secret"})[0] == 200
        assert guarded.request("GET", "/v1/models", headers={"x-api-key": "secret"})[0] == 200
