"""A conversation of several turns: how many prompt tokens the prefix cache saves, beside the limit.

    python dev/serving/turns.py --url http://127.0.0.1:8000 [--no-thinking]

With the R1 template old thinking is dropped, so the last answer is computed once more in each turn;
without thinking answers stay as they were generated (decisions: ten turns of q and a tokens cost
10q + 9a of 55q + 45a, or 10q).
"""

from __future__ import annotations

import argparse
import json
import random

from client import ask

WORDS = ("apple river stone winter garden number table window answer people water light "
         "music paper forest animal doctor market bridge summer").split()


def question(rng: random.Random, num_tokens: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(num_tokens))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--question-tokens", type=int, default=50)
    parser.add_argument("--answer-tokens", type=int, default=200)
    parser.add_argument("--no-thinking", action="store_true")
    parser.add_argument("--block-tokens", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    messages, prompt_tokens, cached_tokens, previous, reusable = [], 0, 0, 0, 0
    for turn in range(arguments.turns):
        messages.append({"role": "user", "content": question(rng, arguments.question_tokens)})
        body = {"messages": messages, "max_tokens": arguments.answer_tokens, "ignore_eos": True,
                "temperature": 0.6, "seed": turn}
        if arguments.no_thinking:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        answer = ask(arguments.url, body)
        if not answer.whole:
            raise SystemExit(f"turn {turn + 1}: {answer.status} {answer.error}")
        usage = answer.usage
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        prompt_tokens += usage["prompt_tokens"]
        cached_tokens += cached
        print(f"turn {turn + 1}: prompt {usage['prompt_tokens']}, cached {cached}")
        # What stays the same is everything before the previous turn's assistant mark and its tail.
        previous_end = previous - (0 if arguments.no_thinking else 2)
        if arguments.no_thinking and turn > 0:
            previous_end = previous + arguments.answer_tokens - 1
        reusable += max(0, previous_end) // arguments.block_tokens * arguments.block_tokens
        previous = usage["prompt_tokens"]
        messages.append({"role": "assistant", "content": answer.text})
    q, a, n = arguments.question_tokens, arguments.answer_tokens, arguments.turns
    whole = n * (n + 1) / 2 * q + n * (n - 1) / 2 * a
    needed = n * q if arguments.no_thinking else n * q + (n - 1) * a
    print(json.dumps({"prompt_tokens": prompt_tokens, "cached_tokens": cached_tokens,
                      "saved_percent": round(100 * cached_tokens / prompt_tokens, 1),
                      "limit_percent": round(100 * (1 - needed / whole), 1),
                      "reusable_tokens": reusable,
                      "reused_percent": round(100 * cached_tokens / max(reusable, 1), 1)}))


if __name__ == "__main__":
    main()
