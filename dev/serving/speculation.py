#!/usr/bin/env python3
"""Asks a running server the same questions with speculation and without, in turn, and compares time and text.

    build/release/sparrow serve --model models/nano --port 8000 &
    python3 dev/serving/speculation.py --url http://127.0.0.1:8000 --questions questions.jsonl --pairs 5

A question is a JSON object a line: {"group": "talk", "messages": [...]}. One request at a time; the first pair of each
question warms up (prefix cache) and is not counted. A row a group: median, least and most of time without over time with,
and the tokens a step gave. Texts that differ end it with an error. Standard library only.
"""
import argparse
import json
import statistics
import sys
import time
import urllib.request


def ask(url: str, question: dict, speculative: bool, arguments: argparse.Namespace) -> tuple[float, str, int]:
    """Seconds, text and tokens of one answer."""
    body = {"messages": question["messages"], "temperature": arguments.temperature, "top_p": 0.95, "seed": 1,
            "max_tokens": arguments.max_tokens, "speculative": speculative}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    begin = time.perf_counter()
    with urllib.request.urlopen(request, timeout=600) as response:
        reply = json.load(response)
    seconds = time.perf_counter() - begin
    message = reply["choices"][0]["message"]
    text = (message.get("reasoning_content") or "") + "</think>" + (message.get("content") or "")
    return seconds, text, reply["usage"]["completion_tokens"]


def counters(url: str) -> tuple[float, float]:
    """Tokens guessed and accepted since the server started."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as response:
        lines = response.read().decode().splitlines()
    total = {"draft_tokens": 0.0, "accepted_tokens": 0.0}
    for line in lines:
        for name in total:
            if line.startswith(f"vllm:spec_decode_num_{name}_total"):
                total[name] += float(line.rsplit(" ", 1)[1])
    return total["draft_tokens"], total["accepted_tokens"]


def measure(url: str, questions: list[dict], arguments: argparse.Namespace) -> tuple[list[float], int]:
    """Ratio of each pair over all questions of a group, and the tokens of one round."""
    ratios, tokens = [], 0
    for pair in range(arguments.pairs + 1):
        seconds = {True: 0.0, False: 0.0}
        tokens = 0
        for number, question in enumerate(questions):
            texts = {}
            for speculative in ((True, False) if (pair + number) % 2 else (False, True)):
                took, texts[speculative], count = ask(url, question, speculative, arguments)
                seconds[speculative] += took
            if texts[True] != texts[False]:
                sys.exit(f"the text changed with speculation: {question}")
            tokens += count
        if pair > 0:
            ratios.append(seconds[False] / seconds[True])
    return ratios, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--questions", required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--max-tokens", type=int, default=400)
    arguments = parser.parse_args()
    groups: dict[str, list[dict]] = {}
    with open(arguments.questions, encoding="utf-8") as lines:
        for line in lines:
            question = json.loads(line)
            groups.setdefault(question.get("group", "all"), []).append(question)
    print(f"temperature {arguments.temperature}\n{'group':20} {'tokens':>7} {'right/guessed':>14} {'x faster':>9} {'min':>7} {'max':>7}")
    for name, questions in groups.items():
        before = counters(arguments.url)
        ratios, tokens = measure(arguments.url, questions, arguments)
        guessed, right = (after - start for after, start in zip(counters(arguments.url), before))
        share = f"{right / guessed:.2f}" if guessed else "-"
        print(f"{name:20} {tokens:7} {share + f' of {guessed:.0f}':>14} {statistics.median(ratios):9.3f} "
              f"{min(ratios):7.3f} {max(ratios):7.3f}", flush=True)


if __name__ == "__main__":
    main()
