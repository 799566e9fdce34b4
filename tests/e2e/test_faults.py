"""Things around the server that break: the disk its log is on, and ports that are taken."""
import contextlib
import http.client
import resource
import socket
import urllib.error
import urllib.request

import pytest

from conftest import Server, run_cli

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def file_size_limit(num_bytes):
    """For processes started inside: no file may grow beyond this. SIGXFSZ is theirs to handle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def serves_and_stops(server):
    for _ in range(3):
        assert server.post("/v1/chat/completions", CHAT)[0] == 200
        assert server.post("/v1/chat/completions", {"messages": "wrong"})[0] == 400
    assert server.request("GET", "/livez")[0] == 200
    assert server.stop() == 0
    assert any("Stopped." in line for line in server.lines), "the console still has the log"


def test_log_on_a_full_disk_does_not_stop_the_server(model):
    with Server("--model", model, "--max-model-len", 512, "--log-level", "debug", "--log-file", "/dev/full") as server:
        serves_and_stops(server)


def test_log_at_the_file_size_limit_does_not_stop_the_server(model, tmp_path):
    log = tmp_path / "server.log"
    with file_size_limit(200):
        server = Server("--model", model, "--max-model-len", 512, "--log-level", "debug", "--log-file", log)
    with server:
        serves_and_stops(server)
    assert log.stat().st_size <= 200


def test_metrics_on_their_own_port_are_only_there(model):
    port = free_port()
    with Server("--model", model, "--max-model-len", 512, "--metrics-port", port) as server:
        assert any(f"metrics: http://127.0.0.1:{port}/metrics" in line for line in server.lines)
        assert server.request("GET", "/metrics")[0] == 404
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "\nvllm:num_requests_running{" in text and "\nprocess_resident_memory_bytes " in text
        assert "\ndeepseek_gpu_memory_percent 0." in text
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=30)
        assert refused.value.code == 404
        assert server.stop() == 0


def test_taken_metrics_port_is_named(model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_cli("serve", "--model", model, "--port", 0, "--metrics-port", port, timeout=60)
    assert done.returncode == 1
    assert f"address already in use: 127.0.0.1:{port}" in done.stderr and "--metrics-port" in done.stderr


def test_scrape_names_every_family(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for _ in range(2):  # keep-alive: the same connection
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200 and text.endswith("\n")
    for family in ("vllm:cache_config_info", "vllm:request_params_n", "vllm:prefix_cache_queries_total", "sparrow_build_info",
                   "sparrow_step_seconds", "process_start_time_seconds", "http_response_size_bytes", "deepseek_requests_total"):
        assert f"# TYPE {family} " in text, family
    connection.close()
