"""Mixed traffic for a while, with disconnects, slow readers and nonsense; then the books are checked.

    sparrow serve --kv-cache-memory-bytes 64M &
    python dev/serving/soak.py --pid $(pidof sparrow) --minutes 20 --disturb

Nothing may be lost (each request that was not abandoned comes to its end), nothing may leak (no live
KV block, no running or waiting request, file descriptors back), the server counts at least the tokens
that the clients got, and memory stays within 2 % after the warm-up. Exit status 1 when one of these
does not hold. The warm-up has to fill the KV cache: its pages count as resident when first touched,
so make it small (--kv-cache-memory-bytes) or the warm-up long.

--disturb: every few seconds the server is stopped for two and continued, and sockets bring garbage,
half a request, or nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import statistics
import threading
import time
import urllib.parse

from client import ask, metric, post

QUESTIONS = (
    "468+57=?", "一个笼子里有鸡和兔子共35只，脚共94只，问各有多少？", "如果今天是星期三，100天后是星期几？",
    "Solve 3x + 4 = 19.", "What is 15 % of 240?", "你是谁？", "Write a Python function that reverses a string.",
    "How many hours are 540 minutes?",
)
BROKEN = ({"messages": []}, {"messages": "hi"}, {"messages": [{"role": "user", "content": "hi"}], "n": 10**9},
          {"messages": [{"role": "user", "content": "hi"}], "temperature": -1}, {"prompt": ""})


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.counts: dict[str, int] = {}
        self.failures: list[str] = []
        self.tokens = 0

    def add(self, kind: str, failure: str = "", tokens: int = 0) -> None:
        with self.lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.tokens += tokens
            if failure:
                self.failures.append(f"{kind}: {failure}")


def one_request(url: str, rng: random.Random, tally: Tally) -> None:
    dice = rng.random()
    body = {"messages": [{"role": "user", "content": rng.choice(QUESTIONS)}],
            "max_tokens": rng.choice((16, 64, 200)), "temperature": 0.6, "seed": rng.randrange(10**6)}
    if dice < 0.10:
        ask(url, body, leave_after=rng.randrange(1, 20))
        return tally.add("left")
    if dice < 0.13:
        reply = post(url, "/v1/chat/completions", rng.choice(BROKEN))
        return tally.add("broken", "" if "error" in reply else f"accepted {reply}")
    kind, slow = "chat", 0.0
    if dice < 0.18:
        kind, slow, body["max_tokens"] = "slow", 0.05, 64
    elif dice < 0.28:
        kind = "long"
        body["messages"][0]["content"] = "1+" * rng.randrange(100, 400) + "1=?"
    elif dice < 0.40:
        kind = "turns"
        body["messages"] += [{"role": "assistant", "content": "\\boxed{525}"}, {"role": "user", "content": "12*13=?"}]
    elif dice < 0.45:
        kind, body["n"] = "choices", 3
    answer = ask(url, body, read_slowly_s=slow)
    if answer.status in (429, 503):
        return tally.add("refused")
    tally.add(kind, "" if answer.whole else f"{answer.status} {answer.error} done={answer.done}",
              answer.usage.get("completion_tokens", 0))


def resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def wait_until_idle(url: str) -> dict[str, float]:
    """What is still held after at most 20 seconds; all zero is right."""
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
    for _ in range(100):
        held = {name: metric(url, name) for name in names}
        if not any(held.values()):
            break
        time.sleep(0.2)
    return held


def disturb(url: str, pid: int, rng: random.Random, end: float) -> int:
    """From outside: pauses of the whole process, and sockets that bring no request."""
    address = urllib.parse.urlsplit(url)
    kept: list[socket.socket] = []
    count = 0
    while time.monotonic() < end - 5:
        time.sleep(rng.uniform(1, 6))
        count += 1
        kind = rng.randrange(5)
        if kind == 0:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(2)
            os.kill(pid, signal.SIGCONT)
            continue
        try:
            connection = socket.create_connection((address.hostname, address.port), timeout=5)
            if kind == 1:
                connection.sendall(rng.randbytes(rng.randrange(1, 4000)))
            elif kind == 2:
                connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{\"mess")
            elif kind == 3:
                connection.sendall(b"GET /health HTTP/1.1\r\nHos")
            kept.append(connection)  # kind 4 says nothing
        except OSError:
            pass  # refused or closed at once: as good an answer
        while len(kept) > 20:
            kept.pop(rng.randrange(len(kept))).close()
    for connection in kept:
        connection.close()
    return count


def wrongs(report: dict) -> list[str]:
    change = report["resident_mb"]["change_percent"]
    checks = (
        (report["lost"] == 0, f"{report['lost']} requests were lost"),
        (not any(report["held_after"].values()), f"held at the end: {report['held_after']}"),
        (report["fds"][1] <= report["fds"][0] + 2, f"file descriptors went from {report['fds'][0]} to {report['fds'][1]}"),
        (report["server_tokens"] >= report["output_tokens"], "clients got more tokens than the server counted"),
        (abs(change) <= 2, f"resident memory changed by {change} %"),
    )
    return [text for holds, text in checks if not holds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--warm-up-minutes", type=float, default=3)
    parser.add_argument("--users", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--disturb", action="store_true")
    arguments = parser.parse_args()
    tally, end = Tally(), time.monotonic() + 60 * arguments.minutes
    warm = time.monotonic() + 60 * arguments.warm_up_minutes
    tokens_before = metric(arguments.url, "vllm:generation_tokens_total")
    disturbances: list[int] = []
    fds_before = len(os.listdir(f"/proc/{arguments.pid}/fd"))

    def user(index: int) -> None:
        rng = random.Random(arguments.seed * 1000 + index)
        while time.monotonic() < end:
            one_request(arguments.url, rng, tally)

    threads = [threading.Thread(target=user, args=(i,)) for i in range(arguments.users)]
    if arguments.disturb:
        threads.append(threading.Thread(target=lambda: disturbances.append(
            disturb(arguments.url, arguments.pid, random.Random(arguments.seed), end))))
    for thread in threads:
        thread.start()
    memory: list[float] = []
    while time.monotonic() < end:
        time.sleep(5)
        if time.monotonic() > warm:
            memory.append(resident_mb(arguments.pid))
    for thread in threads:
        thread.join()
    held = wait_until_idle(arguments.url)
    quarter = max(1, len(memory) // 4)
    first, last = statistics.median(memory[:quarter]), statistics.median(memory[-quarter:])
    report = {
        "minutes": arguments.minutes, "requests": tally.counts, "output_tokens": tally.tokens,
        "server_tokens": metric(arguments.url, "vllm:generation_tokens_total") - tokens_before,
        "disturbances": sum(disturbances), "lost": len(tally.failures), "examples": tally.failures[:3],
        "held_after": held, "fds": [fds_before, len(os.listdir(f"/proc/{arguments.pid}/fd"))],
        "resident_mb": {"first_quarter": round(first, 1), "last_quarter": round(last, 1),
                        "change_percent": round(100 * (last / first - 1), 2)},
    }
    report["wrong"] = wrongs(report)
    print(json.dumps(report))
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
