"""The answer cache with the built binary: answers generated beforehand, kept across kill -9, inspected from outside."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from conftest import BINARY, Server, clean_environment, run_cli

ANSWER = "x-sparrow-answer-cache"
ARITHMETIC = ["468+57=?", "12+30=?", "What is 468 plus 57?"]


def sqlite_is_missing():
    return "configured without SQLite" in run_cli("cache", "stats", "--answer-cache", "x").stderr


pytestmark = pytest.mark.skipif(sqlite_is_missing(), reason="this build has no SQLite")


def ask(server, question, **more):
    body = {"messages": [{"role": "user", "content": question}], **more}
    status, headers, reply = server.post("/v1/chat/completions", body, timeout=300)
    assert status == 200, reply
    return headers.get(ANSWER), reply


def wait_for_answers(path, count):
    deadline = time.monotonic() + 30
    while True:
        done = run_cli("cache", "stats", "--json", "--answer-cache", path)
        if done.returncode == 0 and json.loads(done.stdout)["answers"] >= count:
            return
        assert time.monotonic() < deadline, done.stdout + done.stderr


def test_greedy_answers_come_back_after_kill_9(model, tmp_path):
    path = tmp_path / "answers.db"
    arguments = ("--model", model, "--max-model-len", 512, "--answer-cache", path)
    with Server(*arguments) as server:
        state, first = ask(server, "Hello", temperature=0, max_tokens=20)
        assert state == "store"
        wait_for_answers(path, 1)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with Server(*arguments) as server:
        state, again = ask(server, "Hello", temperature=0, max_tokens=20)
        assert state == "hit"
        for key in ("choices", "usage", "model"):
            assert again[key] == first[key]
        chunks = server.stream("/v1/chat/completions", {
            "messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 20})
        text = "".join(c["choices"][0]["delta"].get("reasoning_content") or "" for c in chunks)
        assert text == first["choices"][0]["message"]["reasoning_content"]
        assert ask(server, "Hello", temperature=0, max_tokens=21)[0] == "store"
        assert ask(server, "Hello", temperature=0.5)[0] is None
        metrics = server.metrics()
        assert metrics["sparrow_answer_cache_hits_total"] == 2
        assert metrics["vllm:generation_tokens_total"] <= 21 + 512, "hits cost the engine nothing"
    with Server("--model", model, "--max-model-len", 512, "--answer-cache", path, "--kv-cache-dtype", "int8") as server:
        assert ask(server, "Hello", temperature=0, max_tokens=20)[0] == "store", "other arithmetic, other answers"


def test_warm_generates_beforehand_and_goes_on_where_it_stopped(tmp_path):
    path, questions = tmp_path / "answers.db", tmp_path / "faq.txt"
    questions.write_text("\n".join(ARITHMETIC[:2]) + "\n")
    options = ("--answer-cache", path, "--max-model-len", 1024)
    first = run_cli("cache", "warm", questions, *options, "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout) == {"questions": 2, "stored": 2, "present": 0, "failed": 0, "stopped": False}
    questions.write_text("\n".join(ARITHMETIC[:2]) + "\n" + json.dumps({"messages": [{"role": "user", "content": ARITHMETIC[2]}]}))
    again = run_cli("cache", "warm", questions, *options, "--json")
    assert json.loads(again.stdout) == {"questions": 3, "stored": 1, "present": 2, "failed": 0, "stopped": False}
    with Server("--answer-cache", path, "--max-model-len", 1024) as server:
        for question in ARITHMETIC + [" 468+57=？ "]:
            state, reply = ask(server, question)
            assert state == "hit", question
        assert "\\boxed{525}" in reply["choices"][0]["message"]["content"]
        assert server.metrics()["vllm:generation_tokens_total"] == 0
        assert ask(server, ARITHMETIC[0], temperature=0.7)[0] is None
        questions.write_text("99+1=?\n")
        beside = run_cli("cache", "warm", questions, *options)
        assert beside.returncode == 0, beside.stderr
        assert ask(server, "99+1=?")[0] == "hit", "the running server sees it at once"
    listed = run_cli("cache", "list", "--answer-cache", path)
    assert listed.stdout.count("question") == 5 and "468+57=?" in listed.stdout
    stats = json.loads(run_cli("cache", "stats", "--json", "--answer-cache", path).stdout)
    assert stats["answers"] == stats["listed"] == 4
    assert run_cli("cache", "clear", "--answer-cache", path).stdout == "4 answers removed\n"
    assert json.loads(run_cli("cache", "stats", "--json", "--answer-cache", path).stdout)["answers"] == 0


def test_warm_stopped_by_ctrl_c_keeps_what_is_stored(tmp_path):
    path, questions = tmp_path / "answers.db", tmp_path / "faq.txt"
    questions.write_text("".join(f"{i}+{i + 1}=?\n" for i in range(400)))
    arguments = [BINARY, "cache", "warm", questions, "--answer-cache", path, "--max-model-len", "1024", "--concurrency", "2"]
    process = subprocess.Popen([str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=clean_environment())
    wait_for_answers(path, 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "goes on from here" in err
    stored = int(out.split(" stored")[0].split()[-1])
    assert stored >= 2
    assert json.loads(run_cli("cache", "stats", "--json", "--answer-cache", path).stdout)["answers"] == stored


def test_wrong_uses_name_the_next_step(tmp_path):
    missing = tmp_path / "none.db"
    for arguments, part, code in [
            (["cache"], "needs one of", 2),
            (["cache", "fill"], "needs one of", 2),
            (["cache", "warm"], "one FILE", 2),
            (["cache", "list"], "--answer-cache PATH is needed", 2),
            (["cache", "list", "more", "--answer-cache", missing], "nothing more", 2),
            (["cache", "stats", "--answer-cache", missing], "no answer cache", 1),
            (["cache", "warm", tmp_path / "no.txt", "--answer-cache", missing], "no.txt", 1)]:
        done = run_cli(*arguments)
        assert done.returncode == code, done.stderr
        assert part in done.stderr, done.stderr
    assert not missing.exists()
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes")
    done = run_cli("cache", "clear", "--answer-cache", notes)
    assert done.returncode == 1 and "left alone" in done.stderr
    assert notes.read_text() == "my notes"


def test_a_cache_that_cannot_be_used_costs_only_the_cache(model, tmp_path):
    with Server("--model", model, "--max-model-len", 512, "--answer-cache", tmp_path / "missing/answers.db") as server:
        assert ask(server, "Hello", temperature=0, max_tokens=5)[0] == "miss"
        assert sum("Answer cache" in line for line in server.lines) == 1
    path = tmp_path / "answers.db"
    path.write_bytes(b"SQLite format 3\0" + os.urandom(20000))
    with Server("--model", model, "--max-model-len", 512, "--answer-cache", path) as server:
        assert ask(server, "Hello", temperature=0, max_tokens=5)[0] == "store"
        assert any("moved to" in line for line in server.lines)
    assert (tmp_path / "answers.db.damaged").exists()


def test_many_clients_at_once_get_the_same_answer(model, tmp_path):
    with Server("--model", model, "--max-model-len", 512, "--answer-cache", tmp_path / "a.db") as server:
        _, original = ask(server, "Hello", temperature=0, max_tokens=30)
        wait_for_answers(tmp_path / "a.db", 1)
        replies = []

        def client():
            for _ in range(20):
                replies.append(ask(server, "Hello", temperature=0, max_tokens=30))

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(replies) == 160
        for state, reply in replies:
            assert state == "hit"
            assert reply["choices"] == original["choices"] and reply["usage"] == original["usage"]
