"""Prompts that begin alike are computed once, and nobody can tell from the answers."""
import concurrent.futures

import pytest
from conftest import ROOT, Server

MODEL = ROOT / "models/nano"
CHAT = [{"role": "user", "content": "一个笼子里有鸡和兔子共35只，脚共94只，问各有多少？请逐步推理，并将最终答案放在\\boxed{}内。"}]


@pytest.fixture(scope="module")
def cached():
    with Server("--model", MODEL) as running:
        yield running


def ask(server, **fields):
    body = {"messages": CHAT, "max_tokens": 60, "temperature": 0.6, "seed": 7, "logprobs": True, **fields}
    status, _, reply = server.post("/v1/chat/completions", body, timeout=120)
    assert status == 200, reply
    return reply


def tokens_of(reply):
    return [[(t["token"], t["logprob"]) for t in choice["logprobs"]["content"]] for choice in reply["choices"]]


def num_cached(reply):
    return reply["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_bits_are_the_same_from_the_cache_and_without_one(cached):
    with Server("--model", MODEL, "--no-enable-prefix-caching") as plain:
        expected = ask(plain)
        assert num_cached(ask(plain)) == 0
    first, second = ask(cached), ask(cached)
    assert num_cached(first) == 0
    prompt = second["usage"]["prompt_tokens"]
    assert num_cached(second) == (prompt - 1) // 16 * 16 > 0
    assert tokens_of(first) == tokens_of(second) == tokens_of(expected)


def test_another_salt_shares_nothing(cached):
    ask(cached)
    assert num_cached(ask(cached, cache_salt="alice")) == 0
    assert num_cached(ask(cached, cache_salt="bob")) == 0
    assert num_cached(ask(cached, cache_salt="alice")) > 0


def test_the_same_prompt_at_once_gives_everybody_the_same(cached):
    fields = {"cache_salt": "at once"}
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        replies = [f.result() for f in [pool.submit(ask, cached, **fields) for _ in range(6)]]
    assert len({str(tokens_of(reply)) for reply in replies}) == 1
    assert sum(num_cached(reply) == 0 for reply in replies) == 1, "only one computed the prompt"


def test_choices_share_the_prompt(cached):
    reply = ask(cached, n=3, cache_salt="n")
    texts = {str(tokens) for tokens in tokens_of(reply)}
    assert len(texts) > 1, "three draws"
    assert num_cached(reply) == 0
    assert reply["usage"]["prompt_tokens"] < 100, "counted once"
