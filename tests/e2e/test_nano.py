"""The bundled model: found without a flag, the same text as PyTorch, right on problems it was made for."""
import concurrent.futures
import json
import re

import pytest
from conftest import ROOT, Server, run_cli

GOLDEN = ROOT / "tests/golden/nano_greedy.json"


@pytest.fixture(scope="module")
def nano():
    with Server("--max-model-len", 2048) as running:
        yield running


def test_is_served_when_no_model_is_given(nano):
    served = nano.request("GET", "/v1/models")[2]["data"][0]["id"]
    assert served == "sparrow-nano"
    assert sum("sparrow pull" in line for line in nano.lines) == 1


def test_answers_in_the_terminal_and_names_the_real_model():
    done = run_cli("run", "--temperature", 0, "468+57=?")
    assert done.returncode == 0, done.stderr
    assert "\\boxed{525}" in done.stdout
    assert done.stderr.count("sparrow pull") == 1


def test_greedy_text_is_that_of_pytorch_on_the_scalar_path():
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    assert len(golden) == 50
    with Server("--force-isa", "scalar", "--max-model-len", 2048, "--kv-cache-dtype", "f32") as server:

        def complete(case):
            status, _, reply = server.post("/v1/completions", {
                "prompt": case["prompt"], "max_tokens": 500, "temperature": 0, "skip_special_tokens": False},
                timeout=600)  # the scalar path takes its time on a loaded machine
            assert status == 200, reply
            assert reply["choices"][0]["finish_reason"] == "stop"
            return reply["choices"][0]["text"]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for case, text in zip(golden, pool.map(complete, golden)):
                assert text == case["text"], case["prompt"]


@pytest.mark.parametrize("question, answer", [
    ("一个笼子里有鸡和兔子共35只，脚共94只，问各有多少？", "23,12"),
    ("如果今天是星期三，100天后是星期几？", "星期五"),
    ("求解方程 x² - 5x + 6 = 0", "2,3"),
    ("What is 468 plus 57?", "525"),
    ("What is 17 * 23?", "391"),
])
def test_solves_the_problems_of_the_front_page(nano, question, answer):
    status, _, reply = nano.post("/v1/chat/completions", {
        "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 700})
    assert status == 200, reply
    message = reply["choices"][0]["message"]
    assert message["reasoning_content"]
    assert re.findall(r"\\boxed\{(.*?)\}", message["content"]) == [answer], message
