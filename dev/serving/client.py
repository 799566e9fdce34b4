"""A streaming chat client that notes when every token came. Standard library only."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from dataclasses import dataclass, field


@dataclass
class Answer:
    status: int = 0
    error: str = ""
    sent_at: float = 0.0
    ended_at: float = 0.0
    token_times: list[float] = field(default_factory=list)
    text: str = ""
    finish: str = ""
    usage: dict = field(default_factory=dict)
    headers: dict = field(default_factory=dict)
    done: bool = False  # [DONE] was seen

    @property
    def whole(self) -> bool:
        return self.status == 200 and self.done and not self.error and bool(self.finish)

    @property
    def first_token_s(self) -> float:
        return self.token_times[0] - self.sent_at

    @property
    def total_s(self) -> float:
        return self.ended_at - self.sent_at

    @property
    def gaps_s(self) -> list[float]:
        return [b - a for a, b in zip(self.token_times, self.token_times[1:])]


def ask(url: str, body: dict, headers: dict | None = None, leave_after: int = 0,
        timeout_s: float = 600, read_slowly_s: float = 0) -> Answer:
    """One streamed request. With leave_after the client hangs up behind that many chunks."""
    parts = urllib.parse.urlsplit(url)
    answer = Answer(sent_at=time.monotonic())
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    try:
        connection.request("POST", path, json.dumps(body),
                           {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        answer.status = response.status
        answer.headers = {k.lower(): v for k, v in response.getheaders()}
        if response.status != 200:
            answer.error = response.read().decode()[:300]
        else:
            _read_events(response, answer, leave_after, read_slowly_s)
    except (OSError, http.client.HTTPException) as failure:
        answer.error = f"{type(failure).__name__}: {failure}"
    finally:
        connection.close()
    answer.ended_at = time.monotonic()
    return answer


def _read_events(response, answer: Answer, leave_after: int, read_slowly_s: float) -> None:
    for line in response:
        if not line.startswith(b"data: "):
            continue
        if read_slowly_s:
            time.sleep(read_slowly_s)
        data = line[6:].strip()
        if data == b"[DONE]":
            answer.done = True
            return
        event = json.loads(data)
        if "error" in event:
            answer.error = event["error"]["message"]
            continue
        if event.get("usage"):
            answer.usage = event["usage"]
        for choice in event["choices"]:
            delta = choice.get("delta") or {}
            piece = choice.get("text") or delta.get("content") or delta.get("reasoning_content") or ""
            answer.text += piece
            if piece:
                answer.token_times.append(time.monotonic())
            answer.finish = choice.get("finish_reason") or answer.finish
        if leave_after and len(answer.token_times) >= leave_after:
            return


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else float("nan")


def metric(url: str, name: str) -> float:
    """Sum of a metric's series at /metrics."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", "/metrics")
    total = 0.0
    for line in connection.getresponse().read().decode().splitlines():
        if line.startswith((name + "{", name + " ")):
            total += float(line.rsplit(" ", 1)[1])
    connection.close()
    return total
