"""Open-loop load: requests come whether or not earlier ones are done. Goodput against offered load.

    python dev/serving/overload.py --url http://127.0.0.1:8000 --rates 1 2 4 20 --deadline-ms 10000

Every client says how long it will wait (x-request-timeout-ms); goodput counts the answers that came
whole inside that time. Refused clients should hear so at once.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time

from client import Answer, ask, percentile


def run(arguments, rate: float) -> dict:
    rng = random.Random(f"{arguments.seed}/{rate}")  # no prompt twice: nothing is in the prefix cache
    answers: list[Answer] = []
    lock = threading.Lock()

    def client(prompt: list[int]) -> None:
        answer = ask(arguments.url, {"prompt": prompt, "max_tokens": arguments.output_tokens, "ignore_eos": True},
                     headers={"x-request-timeout-ms": str(arguments.deadline_ms)})
        with lock:
            answers.append(answer)

    threads, begin = [], time.monotonic()
    next_at = begin
    while next_at < begin + arguments.seconds:
        time.sleep(max(0.0, next_at - time.monotonic()))
        prompt = [rng.randrange(100, arguments.vocab) for _ in range(arguments.prompt_tokens)]
        threads.append(threading.Thread(target=client, args=(prompt,)))
        threads[-1].start()
        next_at += rng.expovariate(rate)
    for thread in threads:
        thread.join()
    deadline_s = arguments.deadline_ms / 1000
    good = [a for a in answers if a.whole and a.total_s <= deadline_s]
    refused = [a for a in answers if a.status in (429, 503)]
    cut = [a for a in answers if a.status == 200 and not a.whole]
    return {
        "offered_per_s": rate, "requests": len(answers), "good": len(good),
        "goodput_per_s": round(len(good) / arguments.seconds, 3), "late": len([a for a in answers if a.whole]) - len(good),
        "refused": len(refused), "cut": len(cut), "other": sorted({a.status for a in answers} - {200, 429, 503}),
        "refused_after_ms": {p: round(1000 * percentile([a.total_s for a in refused], p / 100), 1) for p in (50, 95, 100)},
        "retry_after": sorted({a.headers.get("retry-after", "none") for a in refused})[:8],
        "first_token_s": {p: round(percentile([a.first_token_s for a in good], p / 100), 2) for p in (50, 95)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--rates", type=float, nargs="+", default=[1, 10], help="requests per second")
    parser.add_argument("--seconds", type=float, default=60, help="for which requests keep coming, each rate")
    parser.add_argument("--deadline-ms", type=int, default=10_000)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--output-tokens", type=int, default=48)
    parser.add_argument("--vocab", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for rate in arguments.rates:
        print(json.dumps(run(arguments, rate)), flush=True)


if __name__ == "__main__":
    main()
