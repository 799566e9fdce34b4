"""`sparrow pull` against a hub on loopback: what arrives, what is refused, what survives a broken end."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from conftest import BINARY, clean_environment, run_cli
from fake_hub import COMMIT, ID, Hub, list_entry

TOKEN = "hf_secret"
WEIGHTS = "model.safetensors"
NEEDED = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS}


@pytest.fixture(scope="session", autouse=True)
def needs_pull():
    asked = subprocess.run([BINARY, "pull"], capture_output=True, text=True, timeout=60,
                           env={**clean_environment(), "HF_HUB_OFFLINE": "1", "HOME": "/nonexistent"})
    if "this build cannot download" in asked.stderr:
        pytest.skip("built without libcurl or OpenSSL (dev/setup.sh installs them)")


@pytest.fixture
def hub(model):
    with Hub(model) as running:
        yield running


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub"


def environment(hub, cache, **more):
    values = {k: v for k, v in clean_environment().items() if not k.lower().endswith("_proxy")}
    values.update(HF_ENDPOINT=hub.url, HF_HUB_CACHE=str(cache), HOME="/nonexistent", **more)
    return values


def start(hub, cache, *arguments, env=None, **more):
    return subprocess.Popen([BINARY, "pull", "--retry-wait", "0.02", *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=environment(hub, cache, **(env or {})), **more)


def pull(hub, cache, *arguments, env=None, **more):
    process = start(hub, cache, *arguments, env=env, **more)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def repository(cache):
    return cache / ("models--" + ID.replace("/", "--"))


def blob(hub, cache, name=WEIGHTS):
    entry = list_entry(name, hub.files[name])
    return repository(cache) / "blobs" / entry.get("lfs", entry)["oid"]


def incomplete(hub, cache):
    path = blob(hub, cache)
    return path.with_name(path.name + ".sparrow.incomplete")


def leave_incomplete(hub, cache, content):
    path = incomplete(hub, cache)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def assert_complete(hub, cache):
    snapshot = repository(cache) / "snapshots" / COMMIT
    assert (repository(cache) / "refs/main").read_text() == COMMIT
    names = NEEDED & set(hub.files)
    assert {p.name for p in snapshot.iterdir()} == names
    for name in names:
        assert (snapshot / name).is_symlink() and (snapshot / name).read_bytes() == hub.files[name]
        assert not pathlib.Path(os.readlink(snapshot / name)).is_absolute()
    assert not list((repository(cache) / "blobs").glob("*.incomplete"))


def assert_no_model(hub, cache):
    """Nothing that a search could take for a model."""
    assert not list(repository(cache).glob("snapshots/*/config.json"))
    assert not (repository(cache) / "refs/main").exists()
    assert not blob(hub, cache).exists()


def run_offline(cache, *arguments):
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          env={**clean_environment(), "HF_HUB_CACHE": str(cache), "HF_ENDPOINT": "http://127.0.0.1:1"})


def test_pulled_model_works_offline_by_its_id(hub, cache):
    done = pull(hub, cache)  # no id: R1
    assert done.returncode == 0, done.stderr
    assert_complete(hub, cache)
    assert done.stdout.strip() == str(repository(cache) / "snapshots" / COMMIT)
    assert f"sparrow serve --model {ID}" in done.stderr
    assert (cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    assert not any("README" in p for p, _ in hub.requests), "only what is needed"
    for wanted in (ID, ID.lower()):
        ids = run_offline(cache, "tokenize", "--model", wanted, "Hello 麻雀")
        assert ids.returncode == 0 and re.fullmatch(r"[\d ]+\n", ids.stdout), ids.stderr
    for arguments in (("--model", ID), ()):  # by id, and found by the default search
        answer = run_offline(cache, "run", *arguments, "--max-tokens", 4, "--temperature", 0, "Hi")
        assert answer.returncode == 0, answer.stderr


def test_second_pull_downloads_nothing_and_needs_no_write(hub, cache):
    assert pull(hub, cache).returncode == 0
    before = len(hub.file_requests())
    done = pull(hub, cache, "--json", "--quiet")
    assert done.returncode == 0 and done.stderr == ""
    summary = json.loads(done.stdout)
    assert summary["received_bytes"] == 0 and summary["id"] == ID and summary["commit"] == COMMIT
    assert summary["total_bytes"] == sum(len(hub.files[n]) for n in NEEDED & set(hub.files))
    assert {f["path"] for f in summary["files"]} == NEEDED & set(hub.files)
    assert len(hub.file_requests()) == before


@pytest.mark.parametrize("typed", [ID.lower(), ID.upper(), ID.split("/")[1], f"https://huggingface.co/{ID}"])
def test_id_in_any_spelling_lands_in_one_folder(hub, cache, typed):
    done = pull(hub, cache, typed)
    assert done.returncode == 0, done.stderr
    assert_complete(hub, cache)


def test_id_takes_the_spelling_of_the_hub(model, cache):
    with Hub(model, "Someone/Their-Model") as hub:
        done = pull(hub, cache, "someone/their-model")
        assert done.returncode == 0, done.stderr
        assert "someone/their-model is Someone/Their-Model there" in done.stderr
        assert (cache / "models--Someone--Their-Model/refs/main").exists()


def test_wrong_owner_is_answered_with_the_right_id(hub, cache):
    done = pull(hub, cache, "qwen/DeepSeek-R1-Distill-Qwen-1.5B")
    assert done.returncode == 1
    assert f"Did you mean {ID}?" in done.stderr
    assert not cache.exists(), "a refused id leaves nothing behind"


def test_unknown_id_gets_what_the_hub_finds(hub, cache):
    done = pull(hub, cache, "nobody/unheard-of")
    assert done.returncode == 1 and "no such model" in done.stderr and "Did you mean someone/else?" in done.stderr


@pytest.mark.parametrize("typed", ["../../etc", "a/../b", "gpt2", "a/b/c", ""])
def test_impossible_id_asks_nobody(hub, cache, typed):
    done = pull(hub, cache, typed)
    assert done.returncode == 1 and "OWNER/NAME" in done.stderr
    assert hub.requests == []


def test_unknown_revision(hub, cache):
    done = pull(hub, cache, "--revision", "v9")
    assert done.returncode == 1 and "has no revision 'v9'" in done.stderr
    assert pull(hub, cache, "--revision", "../x").returncode == 1


def test_revision_by_commit_writes_no_ref(hub, cache):
    assert pull(hub, cache, "--revision", COMMIT).returncode == 0
    assert not list((repository(cache) / "refs").iterdir())
    assert run_offline(cache, "tokenize", "--model", ID, "Hi").returncode == 0


def test_one_gguf_of_several(model, cache, tmp_path):
    folder = tmp_path / "gguf"
    folder.mkdir()
    made = run_cli("synth", "--config", "tiny", "--type", "q8_0", "--seed", 1, "--out", folder / "r1-Q8_0.gguf")
    assert made.returncode == 0, made.stderr
    (folder / "r1-Q4_0.gguf").write_bytes(b"another")
    with Hub(folder, "someone/r1-GGUF") as hub:
        asked = pull(hub, cache, "someone/r1-GGUF")
        assert asked.returncode == 1 and "--file" in asked.stderr and "r1-Q8_0.gguf (" in asked.stderr
        done = pull(hub, cache, "someone/r1-GGUF", "--file", "r1-Q8_0.gguf")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith("/r1-Q8_0.gguf")
        assert [p for p, _ in hub.file_requests()] == [f"/someone/r1-GGUF/resolve/{COMMIT}/r1-Q8_0.gguf"]
    assert run_offline(cache, "tokenize", "--model", "someone/r1-gguf", "Hi").returncode == 0
    assert run_offline(cache, "tokenize", "--model", "someone/r1-GGUF/r1-Q8_0.gguf", "Hi").returncode == 0


def test_model_we_cannot_run_costs_only_its_config(hub, cache):
    config = json.loads(hub.files["config.json"])
    hub.files["config.json"] = json.dumps({**config, "model_type": "llama", "architectures": ["LlamaForCausalLM"]}).encode()
    done = pull(hub, cache)
    assert done.returncode == 1 and "not a model Sparrow runs" in done.stderr and "llama" in done.stderr.lower()
    assert hub.file_requests(WEIGHTS) == []
    assert_no_model(hub, cache)


@pytest.mark.parametrize("offset", [1, 4096, 65536, -1, 0])
def test_resumes_where_an_earlier_run_stopped(hub, cache, offset):
    content = hub.files[WEIGHTS]
    leave_incomplete(hub, cache, content[:offset] if offset else content)
    done = pull(hub, cache, "--json")
    assert done.returncode == 0, done.stderr
    assert_complete(hub, cache)
    have = offset % len(content) or len(content)
    weights = next(f for f in json.loads(done.stdout)["files"] if f["path"] == WEIGHTS)
    assert weights["received_bytes"] == len(content) - have
    ranges = [h.get("Range") for _, h in hub.file_requests(WEIGHTS)]
    assert ranges == ([f"bytes={have}-"] if offset else []), "what is there is not asked for again"


def test_ignored_range_starts_again(hub, cache):
    hub.ignore_range = True
    leave_incomplete(hub, cache, hub.files[WEIGHTS][:1000])
    done = pull(hub, cache)
    assert done.returncode == 0, done.stderr
    assert_complete(hub, cache)


def test_too_long_leftover_starts_again(hub, cache):
    leave_incomplete(hub, cache, hub.files[WEIGHTS] + b"more")
    assert pull(hub, cache).returncode == 0
    assert_complete(hub, cache)


def test_damaged_leftover_is_noticed_and_replaced(hub, cache):
    leave_incomplete(hub, cache, b"\0" * 5000)  # as a power failure may leave it
    done = pull(hub, cache)
    assert done.returncode == 0, done.stderr
    assert_complete(hub, cache)
    assert [h.get("Range") for _, h in hub.file_requests(WEIGHTS)] == ["bytes=5000-", None]


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])  # sha256, git's sha1
def test_wrong_hash_is_refused_and_nothing_kept(hub, cache, name):
    content = hub.files[name]
    hub.served[name] = bytes([content[0] ^ 1]) + content[1:]
    done = pull(hub, cache)
    assert done.returncode == 1 and "hash" in done.stderr and name in done.stderr
    assert_no_model(hub, cache)
    assert not list((repository(cache) / "blobs").glob("*.incomplete"))
    hub.served.clear()
    assert pull(hub, cache).returncode == 0
    assert_complete(hub, cache)


@pytest.mark.parametrize("no_length", [False, True])
def test_more_bytes_than_listed_are_refused(hub, cache, no_length):
    hub.no_length = no_length
    hub.served[WEIGHTS] = hub.files[WEIGHTS] + b"x"
    done = pull(hub, cache)
    assert done.returncode == 1 and WEIGHTS in done.stderr and str(len(hub.files[WEIGHTS])) in done.stderr
    assert_no_model(hub, cache)


@pytest.mark.parametrize("no_length", [False, True])
def test_fewer_bytes_than_listed_are_refused(hub, cache, no_length):
    hub.no_length = no_length
    hub.served[WEIGHTS] = hub.files[WEIGHTS][:-1]
    done = pull(hub, cache)
    assert done.returncode == 1 and WEIGHTS in done.stderr
    assert_no_model(hub, cache)


def test_broken_connections_are_resumed_as_long_as_bytes_come(hub, cache):
    hub.cut_after = 70_000  # progress each time: more breaks than the 5 tries without any
    assert len(hub.files[WEIGHTS]) > 3 * hub.cut_after
    done = pull(hub, cache)
    assert done.returncode == 0, done.stderr
    assert_complete(hub, cache)
    requests = hub.file_requests(WEIGHTS)
    assert len(requests) == -(-len(hub.files[WEIGHTS]) // hub.cut_after)
    assert "trying again" in done.stderr


def test_no_progress_gives_up_and_keeps_what_came(hub, cache):
    hub.cut_after = 1000
    done = pull(hub, cache)
    assert done.returncode == 1 and "Tried 5 times" in done.stderr and "kept" in done.stderr
    assert "HF_ENDPOINT" in done.stderr and "https_proxy" in done.stderr
    assert_no_model(hub, cache)
    kept = max(p.stat().st_size for p in (repository(cache) / "blobs").glob("*.incomplete"))
    assert kept == 5000
    hub.cut_after = None
    assert pull(hub, cache).returncode == 0
    assert_complete(hub, cache)


def test_overload_is_waited_out(hub, cache):
    hub.status_for = [503, 429, 500]
    assert pull(hub, cache).returncode == 0
    assert_complete(hub, cache)


def test_overload_that_stays_is_an_error(hub, cache):
    hub.status_for = [429] * 100
    done = pull(hub, cache)
    assert done.returncode == 1 and "too many requests" in done.stderr


def test_gated_says_how_to_get_in(hub, cache):
    hub.token = TOKEN
    done = pull(hub, cache)
    assert done.returncode == 1 and "gated" in done.stderr and "HF_TOKEN" in done.stderr and f"{hub.url}/{ID}" in done.stderr
    assert "\x1b" not in done.stderr, "a server's words reach no terminal as they are"
    wrong = pull(hub, cache, env={"HF_TOKEN": "hf_other"})
    assert wrong.returncode == 1 and "sent and refused" in wrong.stderr and "hf_other" not in wrong.stderr
    assert pull(hub, cache, env={"HF_TOKEN": TOKEN}).returncode == 0
    assert_complete(hub, cache)


def test_token_from_the_login_file(hub, cache, tmp_path):
    hub.token = TOKEN
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert pull(hub, cache, env={"HF_HOME": str(tmp_path)}).returncode == 0


def test_redirect_to_another_origin_goes_without_the_token(hub, cache, model):
    hub.token = TOKEN
    with Hub(model) as cdn:
        hub.cdn = cdn.url
        done = pull(hub, cache, env={"HF_TOKEN": TOKEN})
        assert done.returncode == 0, done.stderr
        assert_complete(hub, cache)
        assert len(cdn.requests) == len(NEEDED & set(hub.files))
        assert all("Authorization" not in headers for _, headers in cdn.requests)
        assert all(headers["Authorization"] == f"Bearer {TOKEN}" for _, headers in hub.requests)


def test_relative_redirect_keeps_the_token(hub, cache):
    hub.token = TOKEN
    hub.redirect_to = lambda name: f"/cdn/{name}"
    assert pull(hub, cache, env={"HF_TOKEN": TOKEN}).returncode == 0
    assert all("Authorization" in headers for _, headers in hub.requests)


@pytest.mark.parametrize("target,says", [("file:///etc/passwd", "neither http nor https"), ("ftp://127.0.0.1/x", "neither http nor https"),
                                         ("", "redirect"), ("loop", "more than 5 redirects")])
def test_redirects_that_lead_nowhere(hub, cache, target, says):
    hub.redirect_to = lambda name: f"{hub.url}/{ID}/resolve/{COMMIT}/{name}" if target == "loop" else target
    done = pull(hub, cache)
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert_no_model(hub, cache)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 signed by itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                           "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                          capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder / "cert.pem", folder / "key.pem"


def test_https_needs_a_certificate_we_trust(model, cache, certificate):
    with Hub(model, tls=certificate) as hub:
        done = pull(hub, cache)
        assert done.returncode == 1 and "certificate" in done.stderr, done.stderr
        assert "trying again" not in done.stderr and hub.requests == [] and not cache.exists()
        done = pull(hub, cache, env={"SSL_CERT_FILE": str(certificate[0])})
        assert done.returncode == 0, done.stderr
        assert_complete(hub, cache)


def test_https_never_leads_to_http(model, hub, cache, certificate):
    with Hub(model, tls=certificate) as secure:
        secure.cdn = hub.url
        done = pull(secure, cache, env={"SSL_CERT_FILE": str(certificate[0])})
        assert done.returncode == 1 and "refusing a redirect from https" in done.stderr, done.stderr
        assert hub.requests == []


def test_file_list_in_pages(hub, cache):
    hub.pages = 3
    assert pull(hub, cache).returncode == 0
    assert_complete(hub, cache)


def test_hostile_file_lists(hub, cache):
    entries = hub.list()
    escape = {"type": "file", "path": "../../escape", "size": 3, "oid": "a" * 40}
    huge = {"type": "file", "path": "x" * 100, "size": 3, "oid": "a" * 40}
    for listing, says in (([*entries, escape], "leads out"), ([*entries, {**escape, "path": "/etc/x"}], "absolute"),
                          ([*entries, {**escape, "path": "a\x1b[2J"}], "control"), (entries + [huge] * 10_001, "10000 files"),
                          ({"a": 1}, "array"), ([{**huge, "path": "p" * 500}] * 20_000, "8 MiB")):
        hub.list = lambda listing=listing: listing
        hub.pages = 1
        done = pull(hub, cache)
        assert done.returncode == 1 and says in done.stderr and "\x1b" not in done.stderr, done.stderr
        assert not cache.exists()


def test_disk_too_small_is_said_before_the_first_byte(hub, cache):
    hub.entries = hub.list()
    next(e for e in hub.entries if e["path"] == WEIGHTS)["lfs"]["size"] = 2**45
    done = pull(hub, cache)
    assert done.returncode == 1 and "not enough disk space" in done.stderr and "35184.4" in done.stderr
    assert hub.file_requests() == []


def test_disk_full_keeps_what_came(hub, cache):
    limit = len(hub.files[WEIGHTS]) - 1000
    done = pull(hub, cache, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert done.returncode == 1 and "Free some space" in done.stderr, done.stderr
    assert_no_model(hub, cache)
    assert incomplete(hub, cache).stat().st_size == limit
    assert pull(hub, cache).returncode == 0
    assert_complete(hub, cache)


def test_read_only_cache(hub):
    """Complete: fine. Not complete: an error that names another folder. Root may write anywhere, so not as root."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sparrow-pull-"))
    try:
        folder.chmod(0o755)
        who = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
        if who and subprocess.run(["test", "-x", BINARY], **who, extra_groups=[]).returncode != 0:
            pytest.skip("the binary lies where another user cannot start it")
        cache = folder / "hub"
        cache.mkdir()
        cache.chmod(0o555)
        done = pull(hub, cache, **who)
        assert done.returncode == 1 and "--cache-dir" in done.stderr and str(cache) in done.stderr, done.stderr
        cache.chmod(0o755)
        assert pull(hub, cache).returncode == 0
        for path in [cache, *cache.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o555)
        done = pull(hub, cache, **who)
        assert done.returncode == 0, done.stderr
        for path in [cache, *cache.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Brake:
    """Lets a body go on only piece by piece, once it is `after` pieces long."""

    def __init__(self, after):
        self.after, self.sent, self.reached, self.go = after, 0, threading.Event(), threading.Event()

    def __call__(self, _):
        self.sent += 1
        if self.sent >= self.after:
            self.reached.set()
            self.go.wait(60)


def wait_for_bytes(path, seconds=30):
    """Until some of the file is on disk: what the client received, not what was sent."""
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.stat().st_size > 0):
        assert time.monotonic() < deadline, f"{path} stayed empty"
        time.sleep(0.01)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_in_the_middle_then_resumed(hub, cache, sign):
    hub.cdn = None
    hub.pace = Brake(after=len(hub.files) + 1)  # the small files are one piece each
    process = start(hub, cache)
    wait_for_bytes(incomplete(hub, cache))
    process.send_signal(sign)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (-9 if sign == signal.SIGKILL else 1)
    if sign != signal.SIGKILL:
        assert "goes on from there" in err
    assert_no_model(hub, cache)
    kept = incomplete(hub, cache).stat().st_size
    assert 0 < kept < len(hub.files[WEIGHTS])
    hub.pace.go.set()
    hub.pace = None
    done = pull(hub, cache, "--json")
    assert done.returncode == 0, done.stderr
    assert_complete(hub, cache)
    weights = next(f for f in json.loads(done.stdout)["files"] if f["path"] == WEIGHTS)
    assert weights["received_bytes"] == len(hub.files[WEIGHTS]) - kept


def test_two_pulls_at_once_download_once(hub, cache):
    hub.pace = Brake(after=len(hub.files) + 1)
    first = start(hub, cache)
    wait_for_bytes(incomplete(hub, cache))
    second = start(hub, cache)
    line = second.stderr.readline()
    assert "another process downloads it" in line, line
    hub.pace.go.set()
    for process in (first, second):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert len(hub.file_requests(WEIGHTS)) == 1
    assert_complete(hub, cache)


def test_four_pulls_at_once_agree(hub, cache):
    processes = [start(hub, cache) for _ in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert_complete(hub, cache)
    assert len(hub.file_requests()) == len(NEEDED & set(hub.files))


def test_check_says_whether_a_newer_revision_is_there(hub, cache):
    assert "not in the cache" in pull(hub, cache, "--check").stdout
    assert not cache.exists()
    pull(hub, cache)
    assert "up to date" in pull(hub, cache, "--check").stdout
    hub.commit = "b" * 40
    said = pull(hub, cache, "--check")
    assert said.returncode == 0 and "a newer revision is there" in said.stdout and "sparrow pull" in said.stdout
    as_json = json.loads(pull(hub, cache, "--check", "--json").stdout)
    assert as_json == {"id": ID, "commit": "b" * 40, "cached_commit": COMMIT, "up_to_date": False}
    assert pull(hub, cache).returncode == 0
    assert (repository(cache) / "refs/main").read_text() == "b" * 40
    assert len(hub.file_requests()) == len(NEEDED & set(hub.files)), "files that did not change are not sent again"


def test_no_network(hub, cache):
    pull(hub, cache)
    hub.url = "http://127.0.0.1:1"
    done = pull(hub, cache)
    assert done.returncode == 1
    for word in ("127.0.0.1:1", "HF_ENDPOINT", "https_proxy", "works without the network"):
        assert word in done.stderr, done.stderr


def test_offline_by_environment_asks_nobody(hub, cache):
    done = pull(hub, cache, env={"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 1 and "HF_HUB_OFFLINE" in done.stderr and hub.requests == []


def test_cache_dir_option(hub, cache, tmp_path):
    done = pull(hub, cache, "--cache-dir", tmp_path / "elsewhere", "--quiet")
    assert done.returncode == 0, done.stderr
    path = pathlib.Path(done.stdout.strip())
    assert path.is_relative_to(tmp_path / "elsewhere") and not cache.exists()
    assert run_offline(cache, "tokenize", "--model", path, "Hi").returncode == 0
