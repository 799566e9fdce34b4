"""HTTPS: Python's own client against --ssl-certfile, and what does not speak TLS."""
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from conftest import Server, run_cli

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 24, "temperature": 0}


def make_certificate(folder, name):
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is missing: no certificate to test with")
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    key.chmod(0o600)
    return certificate, key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture(scope="module")
def https_server(model, certificate):
    with Server("--model", model, "--max-model-len", 2048, "--ssl-certfile", certificate[0], "--ssl-keyfile", certificate[1],
                "--max-connections", 64, "--max-body-bytes", "4M") as server:
        assert server.url.startswith("https://")
        yield server


def context_for(certificate):
    return ssl.create_default_context(cafile=str(certificate[0]))


def connect(server, certificate):
    return http.client.HTTPSConnection("localhost", server.port, timeout=60, context=context_for(certificate))


def wait_closed(client):
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass


def test_answers_are_those_of_plain_http(model, https_server, certificate):
    connection = connect(https_server, certificate)
    bodies = []
    for _ in range(3):  # one connection
        connection.request("POST", "/v1/chat/completions", json.dumps(CHAT), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200
        bodies.append(json.loads(response.read())["choices"])
    connection.close()
    with Server("--model", model, "--max-model-len", 2048) as plain:
        assert plain.post("/v1/chat/completions", CHAT)[2]["choices"] == bodies[0] == bodies[2]


def test_streams_and_large_bodies_pass_whole(https_server, certificate):
    def stream(results, index):
        connection = connect(https_server, certificate)
        body = {**CHAT, "stream": True, "max_tokens": 200, "ignore_eos": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        results[index] = connection.getresponse().read().decode()
        connection.close()

    results = [None] * 8
    threads = [threading.Thread(target=stream, args=(results, i)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(text and text.endswith("data: [DONE]\n\n") for text in results)
    # Larger than every buffer on the way, in and out.
    connection = connect(https_server, certificate)
    text = "word " * 200_000
    connection.request("POST", "/tokenize", json.dumps({"prompt": text, "return_token_strs": True}), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert "".join(answer["token_strs"]).endswith(text)


def test_pipelined_and_kept_connections(https_server, certificate):
    raw = socket.create_connection(("localhost", https_server.port), timeout=60)
    with context_for(certificate).wrap_socket(raw, server_hostname="localhost") as client:
        client.sendall(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 50:
            more = client.recv(65536)
            assert more
            received += more


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions(https_server, certificate, version):
    context = context_for(certificate)
    context.minimum_version = context.maximum_version = version
    connection = http.client.HTTPSConnection("localhost", https_server.port, timeout=60, context=context)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    assert connection.sock.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(https_server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    except (ValueError, ssl.SSLError):
        pytest.skip("this Python cannot speak TLS 1.1")
    with socket.create_connection(("localhost", https_server.port), timeout=60) as raw:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(raw)


def test_plain_http_is_told_to_use_https(https_server):
    status, _, body = https_server.request("GET", "/v1/models")
    assert status == 400 and "https://" in body["error"]["message"]


def test_rubbish_and_silence_end_and_harm_nobody(model, certificate):
    with Server("--model", model, "--ssl-certfile", certificate[0], "--ssl-keyfile", certificate[1]) as server:
        silent = socket.create_connection(("localhost", server.port), timeout=60)  # no byte of a handshake
        half = socket.create_connection(("localhost", server.port), timeout=60)
        half.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        for rubbish in (b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"a" * 5000, b"SSH-2.0-x\r\n", bytes(range(256))):
            with socket.create_connection(("localhost", server.port), timeout=60) as client:
                client.sendall(rubbish)
                wait_closed(client)
        connection = connect(server, certificate)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        # The deadline of a request's head (10 s) is the handshake's too.
        for waiting in (silent, half):
            wait_closed(waiting)
        assert server.stop() == 0


def test_key_in_the_certificates_file(model, certificate, tmp_path):
    both = tmp_path / "both.pem"
    both.write_text(certificate[1].read_text() + certificate[0].read_text())
    with Server("--model", model, "--ssl-certfile", both) as server:
        assert any("chmod 600" in line for line in server.lines)
        connection = connect(server, certificate)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200


def test_wrong_files_are_named(model, certificate, tmp_path):
    other = make_certificate(tmp_path, "other")
    locked = tmp_path / "locked.key"
    subprocess.run(["openssl", "pkey", "-in", str(certificate[1]), "-aes256", "-passout", "pass:x", "-out", str(locked)],
                   check=True, capture_output=True)
    cases = [
        ((tmp_path / "none.pem", certificate[1]), ["--ssl-certfile", "none.pem", "No such file"]),
        ((certificate[0], tmp_path / "none.key"), ["--ssl-keyfile", "none.key", "No such file"]),
        ((certificate[0], other[1]), ["--ssl-keyfile", "other.key", "not the key of the certificate", "server.pem"]),
        ((certificate[0], locked), ["--ssl-keyfile", "locked.key", "password"]),
        ((certificate[1], certificate[1]), ["--ssl-certfile", "server.key", "PEM"]),
    ]
    for (cert, key), words in cases:
        done = run_cli("serve", "--model", model, "--port", 0, "--ssl-certfile", cert, "--ssl-keyfile", key, timeout=60)
        assert done.returncode == 1
        assert all(word in done.stderr for word in words), (words, done.stderr)
    done = run_cli("serve", "--model", model, "--port", 0, "--ssl-keyfile", certificate[1], timeout=60)
    assert done.returncode == 1 and "--ssl-certfile" in done.stderr


def served_certificate(server):
    """DER of the certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain:
        with context.wrap_socket(plain) as client:
            return client.getpeercert(binary_form=True)


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_renewed_certificate_is_served_without_a_restart(model, tmp_path):
    old, key = make_certificate(tmp_path, "served")
    new, new_key = make_certificate(tmp_path, "renewed")
    der = {path: ssl.PEM_cert_to_DER_cert(path.read_text()) for path in (old, new)}
    log = tmp_path / "log.txt"
    with Server("--model", model, "--max-model-len", 2048, "--ssl-certfile", old, "--ssl-keyfile", key, "--log-file", log) as server:
        assert served_certificate(server) == der[old]
        kept = connect(server, (old, key))
        kept.request("GET", "/health")
        assert kept.getresponse().read() is not None
        first = der[old]
        # A broken file keeps the old certificate, and says so once.
        old.write_text("-----BEGIN CERTIFICATE-----\nbroken")
        assert wait_for(lambda: "the certificate stays as it was" in log.read_text())
        assert served_certificate(server) == first
        # Replaced one after the other, as renewing tools do.
        new_key.replace(key)
        new.replace(old)
        assert wait_for(lambda: served_certificate(server) == der[new])
        assert log.read_text().count("the certificate stays as it was") <= 2  # and once for half a pair
        kept.request("GET", "/health")  # a running connection goes on
        assert kept.getresponse().status == 200
