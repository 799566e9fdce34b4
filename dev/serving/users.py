"""N users at once: first token, gaps between tokens, answers, total speed.

    python dev/serving/users.py --url http://127.0.0.1:8000 --users 12 --requests 48
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time

from client import Answer, ask, percentile


def prompt_of(rng: random.Random, num_tokens: int, vocab: int) -> list[int]:
    return [rng.randrange(1000, vocab) for _ in range(num_tokens)]


def run(arguments, users: int, requests: int) -> list[Answer]:
    rng = random.Random(arguments.seed + users)
    todo = [prompt_of(rng, arguments.prompt_tokens, arguments.vocab) for _ in range(requests)]
    answers: list[Answer] = []
    lock = threading.Lock()

    def user() -> None:
        while True:
            with lock:
                if not todo:
                    return
                prompt = todo.pop()
            answer = ask(arguments.url, {"prompt": prompt, "max_tokens": arguments.output_tokens,
                                         "ignore_eos": True, "temperature": 0.6})
            with lock:
                answers.append(answer)

    threads = [threading.Thread(target=user) for _ in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def steady_speed(answers: list[Answer]) -> float:
    """Tokens per second while everybody is generating; nan where that never was."""
    begin = max(a.token_times[0] for a in answers)
    end = min(a.token_times[-1] for a in answers)
    count = sum(begin < t <= end for a in answers for t in a.token_times)
    return count / (end - begin) if end > begin else float("nan")


def report(users: int, answers: list[Answer], seconds: float) -> dict:
    whole = [a for a in answers if a.whole]
    tokens = sum(a.usage.get("completion_tokens", 0) for a in whole)
    gaps = [g for a in whole for g in a.gaps_s]
    return {
        "users": users, "requests": len(answers), "whole": len(whole), "seconds": round(seconds, 2),
        "output_tokens_per_s": round(tokens / seconds, 2),
        "steady_tokens_per_s": round(steady_speed(whole), 2) if whole else None,
        "first_token_s": {p: round(percentile([a.first_token_s for a in whole], p / 100), 3)
                          for p in (50, 95)},
        "gap_s": {p: round(percentile(gaps, p / 100), 4) for p in (50, 95, 100)},
        "answer_s": {p: round(percentile([a.total_s for a in whole], p / 100), 2) for p in (50, 95)},
        "errors": sorted({a.error for a in answers if a.error})[:3],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--users", type=int, nargs="+", default=[12])
    parser.add_argument("--requests", type=int, default=48, help="in all, for each number of users")
    parser.add_argument("--prompt-tokens", type=int, default=85)
    parser.add_argument("--output-tokens", type=int, default=48)
    parser.add_argument("--vocab", type=int, default=100_000, help="random prompts below this id")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for users in arguments.users:
        begin = time.monotonic()
        answers = run(arguments, users, arguments.requests)
        print(json.dumps(report(users, answers, time.monotonic() - begin)), flush=True)


if __name__ == "__main__":
    main()
