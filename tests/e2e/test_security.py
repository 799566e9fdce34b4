"""Keys, who may call by which spelling of a path, and what the log may hold."""
import hashlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import time

import pytest

from conftest import Server, run_cli

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "temperature": 0}
SHORT = ("--max-model-len", 2048, "--max-num-seqs", 8)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
    return True


def make_key(*arguments):
    done = run_cli("key", *arguments)
    assert done.returncode == 0, done.stderr
    key, line = done.stdout.splitlines()
    return key, line


def write_keys(path, *lines):
    temporary = path.with_suffix(".new")
    temporary.write_text("\n".join(lines) + "\n")
    temporary.chmod(0o600)
    temporary.replace(path)


# ---- keys ----

def test_key_command_shows_key_once_and_its_line():
    key, line = make_key("--name", "alice", "--rpm", 60, "--tpm", "100K", "--concurrent", 4, "--admin")
    assert line == f"alice sha256:{hashlib.sha256(key.encode()).hexdigest()} rpm=60 tpm=102400 concurrent=4 admin"
    assert key != make_key()[0] and len(key) >= 40
    wrong = run_cli("key", "--name", "al ice")
    assert wrong.returncode == 1 and "--name" in wrong.stderr


def test_keys_rotate_without_restart(model, tmp_path):
    keys = tmp_path / "keys.txt"
    old, old_line = make_key("--name", "alice")
    new, new_line = make_key("--name", "alice")
    write_keys(keys, "# ours", old_line)
    with Server("--model", model, *SHORT, "--api-key-file", keys, "--admin-key", "root") as server:
        status = lambda key: server.request("GET", "/v1/models", headers=bearer(key))[0]
        assert (status(old), status(new)) == (200, 401)

        write_keys(keys, old_line, new_line)
        assert until(lambda: status(new) == 200), "a changed file counts by itself"
        assert status(old) == 200

        write_keys(keys, new_line)
        server.process.send_signal(signal.SIGHUP)
        assert until(lambda: status(old) == 401) and status(new) == 200

        write_keys(keys, new_line, "broken line")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_line(re.escape(f"{keys}:2: ") + ".*keys stay", 20)
        assert (status(old), status(new)) == (401, 200)
        answer = server.request("POST", "/admin/reload-keys", headers=bearer("root"))
        assert answer[0] == 400 and str(tmp_path) not in json.dumps(answer[2])

        write_keys(keys, old_line)
        answer = server.request("POST", "/admin/reload-keys", headers=bearer("root"))
        assert answer[0] == 200 and answer[2]["keys"] == 2
        assert (status(old), status(new)) == (200, 401)
        assert server.stop() == 0


def test_key_file_mistakes_stop_the_start_with_the_line(model, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text("alice key:sk-secret\nbob sk-other\n")
    done = run_cli("serve", "--model", model, "--port", 0, "--api-key-file", keys, timeout=60)
    assert done.returncode == 1
    assert f"{keys}:2: " in done.stderr and "sk-" not in done.stderr
    done = run_cli("serve", "--model", model, "--port", 0, "--api-key-file", tmp_path / "none", timeout=60)
    assert done.returncode == 1 and "none" in done.stderr
    for option in ("--api-key", "--admin-key"):
        done = run_cli("serve", "--model", model, "--port", 0, option, "", timeout=60)
        assert done.returncode == 1 and f"{option} is empty" in done.stderr


def test_key_file_warnings(model, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text("alice key:sk-secret\n")
    keys.chmod(0o644)
    with Server("--model", model, *SHORT, "--api-key-file", keys) as server:
        log = "\n".join(server.lines)
        assert "chmod 600" in log and f"{keys}:1: " in log and "sk-secret" not in log
        assert server.request("GET", "/v1/models", headers={"x-api-key": "sk-secret"})[0] == 200


def test_key_from_the_environment(model):
    with Server("--model", model, *SHORT, environment={"SPARROW_API_KEY": "sk-env"}) as server:
        assert server.request("GET", "/v1/models")[0] == 401
        assert server.request("GET", "/v1/models", headers=bearer("sk-env"))[0] == 200


def test_public_bind_without_a_key_warns_in_two_lines(model, tmp_path):
    with Server("--model", model, *SHORT, "--host", "0.0.0.0") as server:
        warnings = [line for line in server.lines if re.search(r"\bW\b", line)]
        assert len([w for w in warnings if "WITHOUT A KEY" in w or "--api-key" in w]) == 2
        assert server.request("POST", "/admin/drain")[0] == 403, "not from a public bind"
    with Server("--model", model, *SHORT, "--host", "0.0.0.0", "--api-key", "k", "--workers", 3) as server:
        log = "\n".join(server.lines)
        assert "WITHOUT A KEY" not in log
        assert len([line for line in server.lines if "--workers" in line]) == 1


# ---- class 9: one string is routed and authorised ----

SPELLINGS = [
    "{0}", "http://localhost{0}", "https://evil.example{0}", "HTTP://x{0}", "/{0}", "//{0}", "/.{0}", "/x/..{0}", "{0}/", "{0}/.",
    "{0};x=1", "/;{0}", "{0}?api_key=1", "{0}#health", "/health/..{0}", "/health/%2e%2e{0}", "/health%2f..{0}", "/health;{0}",
    "/health?{0}", "/health#{0}", "/docs/..{0}", "/index.html/..{0}", "/%2e{0}", "/%2f{0}", "/%2F{0}", "%2fv1%2fmodels", "/\\{0}",
    "{0}%20", "{0}%00", "{0}%0d%0a", "{0}%", "/%25%32%65{0}", "*", "localhost:80{0}",
]
EXTRA_HEADERS = [
    {}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-Host": "localhost", "X-Forwarded-Proto": "https"}, {"X-Original-URL": "/health"},
    {"X-Rewrite-URL": "/health"}, {"X-HTTP-Method-Override": "OPTIONS"}, {"Forwarded": "for=127.0.0.1"}, {"X-Real-IP": "127.0.0.1"},
]
HOSTS = ["localhost", "127.0.0.1:1", "evil.example", "localhost@evil.example", ""]


def target_variants(path):
    for spelling in SPELLINGS:
        yield spelling.format(path)
    yield path.upper()
    yield path.title()
    yield "/" + "".join(f"%{ord(c):02x}" for c in path[1:])
    yield path.replace("1", "%31").replace("d", "%64")


def raw_status(port, method, target, host, headers):
    """Status of one request sent as exactly these bytes; 0: the server closed without an answer."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode())
        answer = b""
        while b"\r\n" not in answer:
            more = client.recv(65536)
            if not more:
                break
            answer += more
    return int(answer.split(b" ")[1]) if answer else 0


def test_no_spelling_gets_in_without_a_valid_key(model, tmp_path):
    keys = tmp_path / "keys.txt"
    good, good_line = make_key("--name", "good")
    revoked, revoked_line = make_key("--name", "revoked", "--admin")
    _, root_line = make_key("--name", "root", "--admin")
    write_keys(keys, good_line, revoked_line, root_line)
    with Server("--model", model, *SHORT, "--api-key-file", keys) as server:
        assert raw_status(server.port, "GET", "/v1/models", "localhost", bearer(revoked)) == 200
        write_keys(keys, good_line, root_line)
        assert until(lambda: raw_status(server.port, "GET", "/v1/models", "localhost", bearer(revoked)) == 401)
        credentials = [{}]
        for key in ("wrong", good[:-1], revoked, "", "EMPTY", revoked + " "):
            credentials += [bearer(key), {"x-api-key": key}]
        credentials += [{"Authorization": f"Basic {good}"}, {"Authorization": good}, {"api-key": good}, {"Cookie": f"key={good}"}]
        routes = [("GET", "/v1/models"), ("POST", "/v1/completions"), ("GET", "/metrics"), ("POST", "/admin/drain")]
        count = 0
        for (method, path), credential in itertools.product(routes, credentials):
            # Every spelling with every credential; hosts and proxy headers with the plain spelling.
            rows = [(t, "localhost", {}) for t in target_variants(path)]
            rows += [(path, host, extra) for host, extra in itertools.product(HOSTS, EXTRA_HEADERS)]
            if credential not in ({}, bearer(revoked)):
                rows = rows[::7]
            for target, host, extra in rows:
                if target.startswith(("/health?", "/health#")) and method == "GET":
                    continue  # health itself, which is open
                status = raw_status(server.port, method, target, host, {**extra, **credential})
                assert not 200 <= status < 300, (method, target, host, extra, credential, status)
                count += 1
        assert count > 600
        for headers in (bearer(good), {"x-api-key": good}, {"Authorization": "bearer " + good}, {**bearer("EMPTY"), "x-api-key": good}):
            assert raw_status(server.port, "GET", "/v1/models", "localhost", headers) == 200
            assert raw_status(server.port, "GET", "/admin/status", "localhost", headers) == 403
        assert server.request("GET", "/readyz")[0] == 200, "nothing was drained"


# ---- logs ----

def log_lines(server, pattern, count=1):
    until(lambda: len([line for line in server.lines if re.search(pattern, line)]) >= count)
    return [line for line in server.lines if re.search(pattern, line)]


def test_one_text_line_for_a_request(model):
    with Server("--model", model, *SHORT, "--api-key", "sk-quiet") as server:
        headers = {**bearer("sk-quiet"), "X-Request-Id": "trace-7"}
        status, answer_headers, answer = server.post("/v1/chat/completions", CHAT, headers=headers)
        assert status == 200 and answer_headers["x-request-id"] == "trace-7"
        lines = log_lines(server, "request_id=trace-7")
        assert len(lines) == 1
        fields = dict(re.findall(r" (\w+)=(\S+)", lines[0]))
        assert "POST /v1/chat/completions 200" in lines[0]
        usage = answer["usage"]
        assert int(fields["prompt_tokens"]) == usage["prompt_tokens"]
        assert int(fields["output_tokens"]) == usage["completion_tokens"]
        assert int(fields["thinking_tokens"]) == usage["completion_tokens_details"]["reasoning_tokens"]
        assert int(fields["cached_tokens"]) == usage["prompt_tokens_details"]["cached_tokens"]
        digest = hashlib.sha256(b"sk-quiet").hexdigest()
        assert fields["tenant"] == "key-" + digest[:8]
        assert 0 <= float(fields["queue_ms"]) <= float(fields["first_token_ms"]) <= float(fields["total_ms"])
        assert fields["finish"] in ("max_tokens", "stop_token")
        assert server.request("GET", "/v1/models", headers={"X-Request-Id": "trace-8"})[0] == 401
        refused = log_lines(server, "request_id=trace-8")[0]
        assert "GET /v1/models 401" in refused and "tenant" not in refused
        server.request("GET", "/health", headers={"X-Request-Id": "trace-9"})
        server.request("GET", "/v1/models", headers={**bearer("sk-quiet"), "X-Request-Id": "trace-10"})
        log_lines(server, "trace-10")
        assert not any("trace-9" in line for line in server.lines), "health checks are no news"


def test_json_lines_parse_and_say_the_same(model, tmp_path):
    log = tmp_path / "log.jsonl"
    with Server("--model", model, *SHORT, "--log-format", "json", "--log-file", log) as server:
        _, headers, answer = server.post("/v1/chat/completions", {**CHAT, "stream": False})
        assert server.stop() == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    line = next(line for line in lines if line.get("request_id") == headers["x-request-id"])
    assert line["message"] == "POST /v1/chat/completions 200" and line["level"] == "info"
    assert line["output_tokens"] == answer["usage"]["completion_tokens"]
    assert isinstance(line["total_ms"], float) and line["finish"] in ("max_tokens", "stop_token")


def test_a_client_that_leaves_has_its_line(model):
    with Server("--model", model, "--max-model-len", 4096) as server:
        connection = server.connect()
        body = {**CHAT, "max_tokens": 4000, "ignore_eos": True, "stream": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(body),
                           {"Content-Type": "application/json", "X-Request-Id": "leaver"})
        response = connection.getresponse()
        response.read(100)
        response.close()
        connection.close()
        line = log_lines(server, "request_id=leaver")[0]
        assert " 499 " in line and "finish=client_left" in line


SECRET = "XYZZY-prompt-4711"
SECRET_KEY = "sk-PLUGH-4712"
WRONG_KEY = "sk-XYZZY-wrong"


def provoke(server):
    """Requests that hold secrets, and that end well, badly and halfway."""
    chat = {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 8, "temperature": 0}
    good = bearer(SECRET_KEY)
    assert server.post("/v1/chat/completions", chat, headers=good)[0] == 200
    assert server.post("/v1/chat/completions", {**chat, "stream": True}, headers={"x-api-key": SECRET_KEY})[0] == 200
    assert server.post("/v1/completions", {"prompt": SECRET, "max_tokens": 2}, headers=good)[0] == 200
    assert server.post("/tokenize", {"prompt": SECRET}, headers=good)[0] == 200
    assert server.post("/v1/chat/completions", chat, headers=bearer(WRONG_KEY))[0] == 401
    bad = [
        {**chat, "model": SECRET}, {**chat, "temperature": SECRET}, {**chat, SECRET: 1}, {**chat, "stop": [SECRET] * 99},
        {"messages": [{"role": SECRET, "content": SECRET}]}, {**chat, "max_tokens": 10**9}, {**chat, "chat_template": SECRET},
    ]
    for body in bad:
        server.post("/v1/chat/completions", body, headers=good)
    for raw in (b'{"messages":"' + SECRET.encode(), b"\xff" + SECRET.encode(), SECRET.encode()):
        assert server.request("POST", "/v1/chat/completions", raw=raw, headers=good)[0] == 400
    assert server.request("GET", f"/v1/{SECRET}?key={SECRET_KEY}", headers=good)[0] == 404
    assert server.request("GET", f"/v1/models/{SECRET}", headers=good)[0] == 404
    server.request("GET", "/v1/models", headers={**good, "X-Request-Id": f"{SECRET} {SECRET_KEY}"})
    raw_status(server.port, "GET", f"/{SECRET}%zz", "localhost", good)
    raw_status(server.port, "GET", "/v1/models", SECRET, good)
    raw_status(server.port, "GET", "/v1/models", "localhost", {**good, "Transfer-Encoding": SECRET})
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET_KEY}\r\n"
                       f"Content-Length: 500\r\n\r\n{{\"messages\":\"{SECRET}".encode())
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/v1/chat/completions", json.dumps({**chat, "stream": True, "max_tokens": 1500, "ignore_eos": True}),
                       {"Content-Type": "application/json", **good, "X-Request-Id": "last-one"})
    response = connection.getresponse()
    response.read(64)
    response.close()
    connection.close()
    log_lines(server, "last-one")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_prompt_answer_or_key_in_a_debug_log(model, tmp_path, log_format):
    log = tmp_path / "debug.log"
    keys = tmp_path / "keys.txt"
    keys.write_text(f"alice key:{SECRET_KEY}\n")
    with Server("--model", model, "--max-model-len", 2048, "--log-level", "debug", "--log-format", log_format, "--log-file", log,
                "--api-key-file", keys, "--admin-key", "sk-root-4713") as server:
        provoke(server)
        assert server.request("GET", "/admin/status", headers=bearer("sk-root-4713"))[0] == 200
        assert server.stop() == 0
        until(lambda: any("Stopped" in line for line in server.lines))
        text = log.read_text() + "\n".join(server.lines)
    assert len(text.splitlines()) > 40, "the log was on"
    for secret in (SECRET, SECRET_KEY, WRONG_KEY, "sk-root-4713"):
        assert secret not in text, [line for line in text.splitlines() if secret in line]


def test_log_prompts_is_a_choice_with_a_warning(model, tmp_path):
    with Server("--model", model, *SHORT, "--log-prompts") as server:
        assert any(re.search(r"\bW\b.*--log-prompts", line) for line in server.lines)
        body = {"messages": [{"role": "user", "content": "two\nlines " + SECRET}], "max_tokens": 2}
        _, headers, _ = server.post("/v1/chat/completions", body)
        line = log_lines(server, SECRET)[0]
        assert "request_id=" + headers["x-request-id"] in line
