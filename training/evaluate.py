"""Asks a running server unseen test problems and prints a table of pass@1 for each family.

    ../build/release/sparrow serve --model ../models/nano --port 8000 &
    python evaluate.py --url http://127.0.0.1:8000 --problems 100 --json result.json

Standard library only. Each problem is asked once with thinking (temperature 0.6, top_p 0.95) and once
without (--skip-no-thinking leaves that out). The thinking of correct answers is read back: every equation in it
is checked by code. "steps true" is the share of correct answers whose equations all hold.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corpus.mixture import FAMILIES, draw
from corpus.problem import LANGUAGES, Problem
from corpus.step_check import check_steps


def unseen(family: str, count: int, seed: int) -> list[Problem]:
    """`count` test problems: of different parameters as far as there are so many, then other wordings."""
    rng = random.Random(f"{seed}/{family}")
    drawn = [draw(rng, "test", FAMILIES[family], LANGUAGES[attempt % 2]) for attempt in range(20 * count)]
    by_key: dict[tuple, Problem] = {}
    by_question: dict[str, Problem] = {}
    for problem in drawn:  # in the order drawn, so that common kinds stay common
        by_key.setdefault(problem.key, problem)
        by_question.setdefault(problem.question, problem)
    first = list(by_key.values())
    questions = {problem.question for problem in first}
    return (first + [p for q, p in by_question.items() if q not in questions])[:count]


def ask(url: str, problem: Problem, thinking: bool, arguments: argparse.Namespace, seed: int) -> dict:
    """{"thinking", "answer", "finish", "tokens"} of one reply."""
    messages = [{"role": "system", "content": problem.system}] if problem.system else []
    body = {
        "messages": [*messages, {"role": "user", "content": problem.question}],
        "temperature": arguments.temperature, "top_p": 0.95, "max_tokens": arguments.max_tokens,
        "seed": seed, "chat_template_kwargs": {"enable_thinking": thinking},
    }
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as response:
        reply = json.load(response)
    message = reply["choices"][0]["message"]
    return {"thinking": message.get("reasoning_content") or "", "answer": message.get("content") or "",
            "finish": reply["choices"][0]["finish_reason"],
            "tokens": reply["usage"]["completion_tokens"]}


def served_model(url: str) -> str:
    with urllib.request.urlopen(f"{url}/v1/models", timeout=60) as response:
        return json.load(response)["data"][0]["id"]


def evaluate_family(name: str, arguments: argparse.Namespace, thinking: bool, pool) -> dict:
    problems = unseen(name, arguments.problems, arguments.seed)
    replies = list(pool.map(lambda item: ask(arguments.url, item[1], thinking, arguments, item[0]),
                            enumerate(problems)))
    row = {"problems": len(problems), "distinct": len({problem.key for problem in problems}), "correct": 0, "true_steps": 0, "with_steps": 0, "cut": 0,
           "tokens": sum(reply["tokens"] for reply in replies), "equations": 0, "false_equations": 0}
    for problem, reply in zip(problems, replies):
        row["cut"] += reply["finish"] == "length"
        if not FAMILIES[name].grade(problem, reply["answer"]):
            if arguments.show_errors:
                print(f"--- {name}: {problem.question}\n{reply['thinking']}\n=> {reply['answer']}\n"
                      f"expected {problem.expected}", file=sys.stderr)
            continue
        row["correct"] += 1
        right, wrong = check_steps(reply["thinking"])
        row["equations"] += len(right) + len(wrong)
        row["false_equations"] += len(wrong)
        # Where the corpus calculates, an answer without any equation has no true steps.
        if right or wrong or check_steps(problem.thinking)[0]:
            row["with_steps"] += 1
            row["true_steps"] += bool(right) and not wrong
    return row


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def print_table(result: dict) -> None:
    print(f"{'family':18} {'problems':>8} {'distinct':>8} {'pass@1':>8} {'no thinking':>12} {'steps true':>11} "
          f"{'tokens':>7} {'cut':>4}")
    for name, row in result["families"].items():
        thinking, plain = row["thinking"], row.get("no_thinking")
        print(f"{name:18} {thinking['problems']:8} {thinking['distinct']:8} {share(thinking['correct'], thinking['problems']):>8} "
              f"{share(plain['correct'], plain['problems']) if plain else '-':>12} "
              f"{share(thinking['true_steps'], thinking['with_steps']):>11} "
              f"{thinking['tokens'] / thinking['problems']:7.0f} {thinking['cut']:4}")
    print("all:", ", ".join(f"{key} {value}" for key, value in result["summary"].items()))


def summarize(families: dict) -> dict:
    def total(mode: str, field: str) -> int:
        return sum(row[mode][field] for row in families.values() if mode in row)

    rates = [row["thinking"]["correct"] / row["thinking"]["problems"] for row in families.values()]
    return {
        "pass_at_1": share(total("thinking", "correct"), total("thinking", "problems")),
        "families_at_80_percent": sum(rate >= 0.8 for rate in rates),
        "worst_family": share(round(1000 * min(rates)), 1000),
        "pass_at_1_without_thinking": share(total("no_thinking", "correct"), total("no_thinking", "problems")),
        "correct_answers_with_all_steps_true": share(total("thinking", "true_steps"), total("thinking", "with_steps")),
        "false_equations": f"{total('thinking', 'false_equations')} of {total('thinking', 'equations')}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--problems", type=int, default=100, help="of each family")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--max-tokens", type=int, default=700)
    parser.add_argument("--users", type=int, default=16, help="requests at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip-no-thinking", action="store_true", help="leave out the run with thinking switched off")
    parser.add_argument("--show-errors", action="store_true", help="print wrong answers to stderr")
    parser.add_argument("--json", type=Path, help="write the result to this file too")
    arguments = parser.parse_args()
    result: dict = {"model": served_model(arguments.url), "families": {}, "date": time.strftime("%Y-%m-%d"), "temperature": arguments.temperature,
                    "problems_per_family": arguments.problems, "seed": arguments.seed}
    with ThreadPoolExecutor(arguments.users) as pool:
        for name in arguments.families:
            row = {"thinking": evaluate_family(name, arguments, True, pool)}
            if not arguments.skip_no_thinking:
                row["no_thinking"] = evaluate_family(name, arguments, False, pool)
            result["families"][name] = row
            print(f"{name}: {row['thinking']['correct']}/{row['thinking']['problems']}", file=sys.stderr)
            result["summary"] = summarize(result["families"])
            if arguments.json:  # after every family: an error later loses nothing
                arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n",
                                          encoding="utf-8")
    print_table(result)


if __name__ == "__main__":
    main()
