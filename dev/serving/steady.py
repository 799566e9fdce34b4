"""What a full batch generates per second, beside what `sparrow bench` reaches with the same batch.

    python dev/serving/steady.py --url http://127.0.0.1:8000 --users 12 --prompt-tokens 16 --output-tokens 192
    sparrow bench --model M --batch 12 --prompt-tokens 16 --gen-tokens 192

All requests are sent at once. While they run, the client only stores bytes and the time they came
(one selector, no threads, nothing parsed): it shares the cores with the server. `steady` counts the
tokens between the first token of the last request and the last token of the first: every step then
has one row of each request, as in the decode row of bench. With --pid (of the server, on this
machine) it says what each thread of it computed and waited for, in ms per step.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import selectors
import socket
import statistics
import time
import urllib.parse
import urllib.request

from client import percentile

READ_BYTES = 1 << 18


class Stream:
    def __init__(self, parts, body: dict):
        self.pieces: list[tuple[float, bytes]] = []
        self.socket = socket.create_connection((parts.hostname, parts.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = json.dumps(body).encode()
        self.request = (f"POST /v1/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
                        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n").encode() + data

    def tokens(self) -> list[tuple[float, int]]:
        """(time, tokens so far) of every piece that has some, from the usage in its last event."""
        counts = []
        for when, piece in self.pieces:
            found = re.findall(rb'"completion_tokens":(\d+)', piece)
            if found:
                counts.append((when, int(found[-1])))
        return counts


def bodies(arguments, rng: random.Random) -> list[dict]:
    return [{"prompt": [rng.randrange(1000, arguments.vocab) for _ in range(arguments.prompt_tokens)],
             "max_tokens": arguments.output_tokens, "ignore_eos": True, "stream": True,
             "temperature": arguments.temperature,
             "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
            for _ in range(arguments.users)]


def collect(streams: list[Stream]) -> None:
    selector = selectors.DefaultSelector()
    for stream in streams:
        stream.socket.sendall(stream.request)
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    left = len(streams)
    while left:
        for key, _ in selector.select():
            piece = key.fileobj.recv(READ_BYTES)
            if piece:
                key.data.pieces.append((time.monotonic(), piece))
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                left -= 1


def count_at(counts: list[tuple[float, int]], when: float) -> int:
    return max((tokens for t, tokens in counts if t <= when), default=0)


def executor_time(url: str) -> tuple[float, int]:
    """(seconds, steps) of the executor since the server started."""
    text = urllib.request.urlopen(url + "/metrics").read().decode()
    values = [re.search(rf"^sparrow_step_seconds_{name}{{.*}} (\S+)$", text, re.M)[1] for name in ("sum", "count")]
    return float(values[0]), int(float(values[1]))


def thread_times(pid: int | None) -> dict[str, tuple[float, float]]:
    """Seconds computed and seconds waited for a CPU, by thread."""
    times = {}
    for task in os.listdir(f"/proc/{pid}/task") if pid else []:
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            ran, waited, _ = file.read().split()
        times[task] = (int(ran) * 1e-9, int(waited) * 1e-9)
    return times


def run(arguments, rng: random.Random) -> dict:
    parts = urllib.parse.urlsplit(arguments.url)
    streams = [Stream(parts, body) for body in bodies(arguments, rng)]
    executor_before, threads_before = executor_time(arguments.url), thread_times(arguments.pid)
    own_before = time.process_time()
    begin = time.monotonic()
    collect(streams)
    seconds = time.monotonic() - begin
    own = time.process_time() - own_before
    executor_after, threads_after = executor_time(arguments.url), thread_times(arguments.pid)
    steps = executor_after[1] - executor_before[1]
    counts = [stream.tokens() for stream in streams]
    if not all(counts) or min(c[-1][1] for c in counts) != arguments.output_tokens:
        raise SystemExit(f"an answer is not whole: {streams[0].pieces[-1][1][-300:]!r}")
    first = max(c[0][0] for c in counts)
    # The last event of an answer repeats its number of tokens.
    last = min(next(t for t, tokens in c if tokens == arguments.output_tokens) for c in counts)
    steady = sum(count_at(c, last) - count_at(c, first) for c in counts) / (last - first)
    gaps = [b[0] - a[0] for c in counts for a, b in zip(c, c[1:]) if b[1] > a[1]]
    result = {
        "steady_tokens_per_s": round(steady, 2),
        "whole_tokens_per_s": round(sum(c[-1][1] for c in counts) / seconds, 2),
        "steady_share": round((last - first) / seconds, 3), "steps": steps,
        "ms_per_step": {"all": round(1e3 * seconds / steps, 2),
                        "executor": round(1e3 * (executor_after[0] - executor_before[0]) / steps, 2),
                        "client": round(1e3 * own / steps, 2)},
        "gap_ms": {p: round(1e3 * percentile(gaps, p / 100), 1) for p in (50, 95, 100)},
    }
    for task, (ran, waited) in sorted(threads_after.items(), key=lambda item: int(item[0])):
        before = threads_before.get(task, (0.0, 0.0))
        if ran - before[0] > 1e-5 * steps:
            result["ms_per_step"][f"thread {task}"] = [round(1e3 * (ran - before[0]) / steps, 3),
                                                       round(1e3 * (waited - before[1]) / steps, 3)]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--users", type=int, default=12)
    parser.add_argument("--prompt-tokens", type=int, default=16)
    parser.add_argument("--output-tokens", type=int, default=192)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--vocab", type=int, default=100_000, help="random prompts below this id")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="other prompts: the prefix cache holds those of before")
    parser.add_argument("--pid", type=int, help="the server's, for the times of its threads")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    results = [run(arguments, rng) for _ in range(arguments.repeat)]
    for result in results:
        print(json.dumps(result), flush=True)
    if len(results) > 1:
        rates = [r["steady_tokens_per_s"] for r in results]
        print(json.dumps({"median": statistics.median(rates), "min": min(rates), "max": max(rates)}))


if __name__ == "__main__":
    main()
