"""How a server ends: by signal, by the admin endpoint, after so many requests."""
import http.client
import json
import signal
import socket
import threading
import time

import pytest

from conftest import Server

LONG = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4000, "temperature": 0, "ignore_eos": True}
SHORT = {**LONG, "max_tokens": 4}


class Stream:
    """A long streamed answer, read by a thread; the constructor returns when its first bytes are here."""

    def __init__(self, server, max_tokens=LONG["max_tokens"]):
        self.text = ""
        self._begun = threading.Event()
        self._connection = server.connect()
        self._connection.request("POST", "/v1/chat/completions", json.dumps({**LONG, "max_tokens": max_tokens, "stream": True}),
                                 {"Content-Type": "application/json"})
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        assert self._begun.wait(60)

    def _read(self):
        response = self._connection.getresponse()
        self.text = response.read(100).decode(errors="replace")
        self._begun.set()
        try:
            self.text += response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            pass

    def leave(self):
        self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(120)

    def whole(self):
        self._thread.join(120)
        assert not self._thread.is_alive()
        return "[DONE]" in self.text and '"finish_reason":"length"' in self.text


def refused(server):
    status, headers, body = server.post("/v1/chat/completions", SHORT)
    return (status, body["error"]["code"], "retry-after" in headers) == (503, "draining", True)


@pytest.mark.parametrize("how", ["sigterm", "admin", "admin twice"])
def test_drain_finishes_running_answers_and_refuses_new_ones(model, how):
    with Server("--model", model, "--max-model-len", 8192, "--shutdown-timeout", 100, "--admin-key", "root") as server:
        assert server.request("POST", "/admin/drain")[0] == 401
        streams = [Stream(server) for _ in range(3)]
        if how == "sigterm":
            server.process.send_signal(signal.SIGTERM)
            server.wait_for_line("Shutting down", 20)
        else:
            for _ in range(2 if "twice" in how else 1):
                status, _, body = server.request("POST", "/admin/drain", headers={"x-api-key": "root"})
                assert status == 202 and body["state"] == "draining"
        status, _, body = server.request("GET", "/readyz")
        assert (status, body["state"]) == (503, "draining")
        assert server.request("GET", "/livez")[0] == 200
        assert refused(server)
        assert all([stream.whole() for stream in streams])
        assert server.process.wait(timeout=30) == 0


def test_drain_needs_no_key_on_this_machine_only(model):
    with Server("--model", model) as server:
        assert server.request("GET", "/admin/status", headers={"X-Forwarded-For": "10.0.0.1"})[0] == 403
        assert server.request("POST", "/admin/drain", headers={"Origin": "https://evil.example"})[0] == 403
        status, headers, body = server.request("GET", "/admin/status")
        assert status == 200 and body["state"] == "ready"
        assert server.request("POST", "/admin/drain")[0] == 202
        assert server.process.wait(timeout=30) == 0


def test_admin_is_never_for_pages_whatever_cors_says(model):
    with Server("--model", model, "--cors", "*", "--admin-key", "root") as server:
        page = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
        assert "access-control-allow-origin" in server.request("OPTIONS", "/v1/models", headers=page)[1]
        for path in ("/admin/drain", "/admin/status", "/%61dmin/drain"):
            status, headers, _ = server.request("OPTIONS", path, headers=page)
            assert not [name for name in headers if name.startswith("access-control")], path
        status, headers, _ = server.request("GET", "/admin/status", headers={"Origin": "https://evil.example", "x-api-key": "root"})
        assert status == 403 and not [name for name in headers if name.startswith("access-control")]


def test_idle_server_ends_at_once(model):
    """The bound is for a loaded machine; on an idle one the end takes some 30 ms."""
    with Server("--model", model) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        assert server.request("GET", "/health")[0] == 200
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0
        print(f"ended after {(time.monotonic() - begin) * 1000:.0f} ms")
        for client in idle:
            client.close()


def test_second_signal_stops_at_once_and_tells_the_client(model):
    with Server("--model", model, "--max-model-len", 8192, "--shutdown-timeout", 1000) as server:
        stream = Stream(server)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_line("Shutting down", 20)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=30)
        assert not stream.whole()
        assert '"code":"draining"' in stream.text and stream.text.endswith("data: [DONE]\n\n")


def test_shutdown_timeout_ends_what_is_left(model):
    with Server("--model", model, "--max-model-len", 8192, "--shutdown-timeout", 0) as server:
        stream = Stream(server)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=30) == 0
        assert not stream.whole() and '"code":"draining"' in stream.text


def test_limit_max_requests_drains_and_ends_with_zero(model):
    with Server("--model", model, "--max-model-len", 8192, "--limit-max-requests", 3) as server:
        for _ in range(2):
            assert server.post("/v1/chat/completions", SHORT)[0] == 200
        assert server.request("GET", "/v1/models")[0] == 200
        last = Stream(server)
        assert refused(server)
        assert last.whole()
        assert server.wait(30) == 0
        assert any("--limit-max-requests" in line for line in server.lines)


def test_signal_while_threads_compute_is_never_lost(model):
    """Many threads, and SIGTERM in the middle of a step: the main thread must be the one to get it."""
    for _ in range(3):
        with Server("--model", model, "--threads", 4, "--max-model-len", 2048, "--shutdown-timeout", 100) as server:
            stream = Stream(server, 400)
            server.process.send_signal(signal.SIGTERM)
            assert stream.whole()
            assert server.process.wait(timeout=60) == 0
