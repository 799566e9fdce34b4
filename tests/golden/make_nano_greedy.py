"""Greedy texts of the bundled model by PyTorch and transformers in float32, for tests/e2e/test_nano.py.

    python tests/golden/make_nano_greedy.py   # needs torch and transformers; writes nano_greedy.json

The 50 prompts are unseen test problems, both languages, all families in turn. A prompt whose two best
logits come closer than MARGIN anywhere on the way is replaced: rounding may then decide, in any
implementation.
"""
import json
import pathlib
import random
import sys

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "training"))

from corpus.mixture import FAMILIES, draw, prompt_of  # noqa: E402

NUM_PROMPTS = 50
MAX_TOKENS = 160  # the scalar path is slow
MARGIN = 1e-3


@torch.no_grad()
def greedy(model, prompt_ids, eos):
    """(new ids, smallest distance of the two best logits)"""
    ids, cache, margin, new = torch.tensor([prompt_ids]), None, float("inf"), []
    while len(new) < MAX_TOKENS:
        step = model(input_ids=ids, past_key_values=cache, use_cache=True)
        best = step.logits[0, -1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        new.append(best.indices[0].item())
        if new[-1] == eos:
            break
        ids, cache = best.indices[:1][None], step.past_key_values
    return new, margin


def main():
    folder = ROOT / "models/nano"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    eos = model.config.eos_token_id
    rng, cases, names = random.Random(20), [], list(FAMILIES)
    while len(cases) < NUM_PROMPTS:
        problem = draw(rng, "test", FAMILIES[names[len(cases) % len(names)]], ("zh", "en")[(len(cases) // len(names) + len(cases)) % 2])
        prompt_ids = tokenizer.encode(prompt_of(problem), add_special_tokens=False)
        new, margin = greedy(model, prompt_ids, eos)
        if margin < MARGIN or new[-1] != eos:
            continue
        cases.append({"prompt": prompt_of(problem), "text": tokenizer.decode(new[:-1])})
        print(len(cases), problem.family, f"margin {margin:.4f}", flush=True)
    result = {"made_by": f"tests/golden/make_nano_greedy.py, torch {torch.__version__}, "
                         f"transformers {transformers.__version__}, float32, greedy", "cases": cases}
    path = ROOT / "tests/golden/nano_greedy.json"
    path.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
