"""Our template text renders what the published R1 template renders (goldens from shared test data)."""

import json
import os
from pathlib import Path

import pytest

from template import CHAT_TEMPLATE

jinja2 = pytest.importorskip("jinja2")
ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SPARROW_TEST_DATA", ROOT / ".." / "shared" / "data"))
PUBLISHED = DATA / "deepseek-r1-distill-qwen-1.5b" / "chat_template.jinja"

CALL = {"type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Beijing"}'}}
USER = {"role": "user", "content": "hi"}
CONVERSATIONS = [
    [USER],
    [{"role": "system", "content": "Be brief."}, USER],
    [{"role": "system", "content": "a"}, USER, {"role": "system", "content": "b"}],
    [USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello!"}, USER],
    [USER, {"role": "assistant", "content": "plain"}, USER, {"role": "assistant", "content": "x"}],
    [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
    [USER, {"role": "assistant", "content": None, "tool_calls": [CALL, CALL, CALL]}],
    [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]},
     {"role": "tool", "content": "sunny"}],
    [USER, {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
     {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"},
     {"role": "assistant", "content": "done"}, USER],
    [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "content": "1"},
     {"role": "assistant", "content": "ok"}, USER,
     {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "content": "2"}],
]


def render(template, messages, prompt):
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    values = {"messages": messages, "bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}
    if prompt is not None:
        values["add_generation_prompt"] = prompt
    return environment.from_string(template).render(values)


@pytest.mark.parametrize("prompt", [True, False, None])
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=json.dumps)
def test_renders_like_the_published_template(messages, prompt):
    if not PUBLISHED.exists():
        pytest.skip(f"no {PUBLISHED}: set SPARROW_TEST_DATA")
    published = PUBLISHED.read_text(encoding="utf-8").removesuffix("\n")
    assert render(CHAT_TEMPLATE, messages, prompt) == render(published, messages, prompt)


def test_the_generation_prompt_opens_the_thinking():
    text = render(CHAT_TEMPLATE, [USER], True)
    assert text == "<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜><think>\n"
