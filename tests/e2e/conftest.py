"""The built binary as users run it: a server on a free port with a small random model.

Nothing here sleeps and hopes: readiness is the log line people wait for, and every wait has a
deadline. SPARROW_BINARY names the program (default build/release/sparrow).
"""
import http.client
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SPARROW_BINARY", str(ROOT / "build/release/sparrow"))
DATA = pathlib.Path(os.environ.get("SPARROW_TEST_DATA", ROOT.parent / "shared/data"))
START_SECONDS = 60  # a loaded 2-core machine under sanitizers; a healthy start takes well below 1 s


def clean_environment():
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARROW_", "HF_"))}
    environment["HF_HUB_CACHE"] = "/nonexistent"
    return environment


class Server:
    """One running `sparrow serve`. Use as a context manager."""

    def __init__(self, *arguments, ready=r"running on (https?://[^ \"]+)", environment=None):
        self.lines = []
        self._queue = queue.Queue()
        self.process = subprocess.Popen([BINARY, "serve", "--port", "0", *map(str, arguments)], stderr=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env={**clean_environment(), **(environment or {})})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self.wait_for_line(ready, START_SECONDS).group(1)
        self.host, port = re.match(r"https?://\[?([^\]/]+?)\]?:(\d+)", self.url).groups()
        self.port = int(port)

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            self._queue.put(line)
        self._queue.put(None)

    def wait_for_line(self, pattern, seconds):
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line matching {pattern!r} in {seconds} s:\n" + "\n".join(self.lines))
            if line is None:
                raise AssertionError(f"the server ended ({self.process.wait()}):\n" + "\n".join(self.lines))
            match = re.search(pattern, line)
            if match:
                return match

    def connect(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, raw=None, timeout=60):
        """(status, headers, parsed JSON or text)"""
        connection = self.connect(timeout)
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        try:
            content = json.loads(content)
        except ValueError:
            content = content.decode(errors="replace")
        return response.status, dict((k.lower(), v) for k, v in response.getheaders()), content

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def stream(self, path, body):
        """All chunks of a stream, each parsed; the [DONE] mark must be last."""
        connection = self.connect()
        connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        text = response.read().decode()
        connection.close()
        events = [e for e in text.split("\n\n") if e and not e.startswith(":")]
        assert all(e.startswith("data: ") for e in events), events
        assert events[-1] == "data: [DONE]"
        return [json.loads(e[6:]) for e in events[:-1]]

    def metrics(self):
        values = {}
        for line in self.request("GET", "/metrics")[2].splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name.split("{")[0]] = values.get(name.split("{")[0], 0) + float(value)
        return values

    def wait_until_idle(self, seconds=30):
        """Until no request runs or waits and no KV block is held."""
        deadline = time.monotonic() + seconds
        while True:
            now = self.metrics()
            names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
            if all(now[name] == 0 for name in names):
                return now
            assert time.monotonic() < deadline, {name: now[name] for name in names}

    def stop(self, sign=signal.SIGTERM):
        self.process.send_signal(sign)
        return self.wait(60)

    def wait(self, seconds):
        """The exit code; every line it logged is in `lines` then."""
        code = self.process.wait(timeout=seconds)
        self._reader.join(timeout=seconds)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def run_cli(*arguments, text=None, timeout=300):
    return subprocess.run([BINARY, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=timeout,
                          env=clean_environment())


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A tiny model with random weights and R1's chat format, made by `sparrow synth`."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    done = run_cli("synth", "--config", "tiny", "--type", "bf16", "--seed", 7, "--out", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="session")
def server(model):
    with Server("--model", model, "--max-model-len", 2048, "--max-num-seqs", 16) as running:
        yield running


@pytest.fixture(scope="session")
def validate():
    """validate(schema name, object): against OpenAI's published document (its `nullable` rewritten)."""
    path = DATA / "openai-openapi/subset.openapi.json"
    if not path.exists():
        pytest.skip(f"{path} is missing")
    import jsonschema

    def nullable(node):
        if isinstance(node, list):
            return [nullable(item) for item in node]
        if not isinstance(node, dict):
            return node
        node = {key: nullable(value) for key, value in node.items()}
        if node.pop("nullable", False):
            return {"anyOf": [node, {"type": "null"}]}
        return node

    components = nullable(json.loads(path.read_text())["components"])
    validators = {}

    def check(name, value):
        if name not in validators:
            validators[name] = jsonschema.Draft202012Validator(
                {"$ref": f"#/components/schemas/{name}", "components": components})
        validators[name].validate(value)

    return check
