"""Every answer and chunk against OpenAI's published schema, and the rules of the golden stream."""
import json

import pytest

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 24, "temperature": 0.9, "seed": 1}
VARIANTS = [
    {}, {"n": 3}, {"stream_options": {"include_usage": True}}, {"logprobs": True, "top_logprobs": 2},
    {"stop": ["e", "a"]}, {"max_tokens": 1}, {"temperature": 0}, {"reasoning_effort": "none"},
    {"top_k": 5, "min_p": 0.01, "repetition_penalty": 1.1, "presence_penalty": 0.2, "frequency_penalty": 0.1},
    {"logit_bias": {"65": -100, "66": 5}}, {"ignore_eos": True, "max_tokens": 40},
]


@pytest.mark.parametrize("extra", VARIANTS, ids=lambda v: "+".join(v) or "plain")
def test_chat_answers_validate(server, validate, extra):
    status, headers, answer = server.post("/v1/chat/completions", {**CHAT, **{k: v for k, v in extra.items() if k != "stream_options"}})
    assert status == 200, answer
    assert "application/json" in headers["content-type"]
    validate("CreateChatCompletionResponse", answer)
    for choice in answer["choices"]:
        assert choice["message"]["role"] == "assistant" and "content" in choice["message"]
        assert "refusal" in choice["message"] and "logprobs" in choice


@pytest.mark.parametrize("extra", VARIANTS, ids=lambda v: "+".join(v) or "plain")
def test_chat_streams_follow_the_golden_stream(server, validate, extra):
    chunks = server.stream("/v1/chat/completions", {**CHAT, **extra})
    for chunk in chunks:
        validate("CreateChatCompletionStreamResponse", chunk)
        assert (chunk["id"], chunk["created"], chunk["model"]) == (chunks[0]["id"], chunks[0]["created"], chunks[0]["model"])
    assert chunks[0]["choices"][0]["index"] == 0
    roles, finishes = {}, {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            index = choice["index"]
            assert index not in finishes, "nothing follows a finish_reason"
            if "role" in choice["delta"]:
                assert index not in roles, "role exactly once"
                roles[index] = choice["delta"]["role"]
            if choice["delta"].get("reasoning_content") is not None:
                assert choice["delta"]["reasoning"] == choice["delta"]["reasoning_content"]
            if choice["finish_reason"]:
                finishes[index] = choice["finish_reason"]
    count = extra.get("n", 1)
    assert sorted(roles) == sorted(finishes) == list(range(count))
    with_usage = [c for c in chunks if c.get("usage")]
    if "stream_options" in extra:
        assert with_usage == [chunks[-1]] and chunks[-1]["choices"] == []
        usage = chunks[-1]["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert "cached_tokens" in usage["prompt_tokens_details"]
        assert "reasoning_tokens" in usage["completion_tokens_details"]
    else:
        assert with_usage == []


@pytest.mark.parametrize("prompt", ["Once", ["a", "b"], [72, 73], [[72], [73, 74]]], ids=str)
def test_completions_validate(server, validate, prompt):
    body = {"prompt": prompt, "max_tokens": 6, "temperature": 0, "logprobs": 2}
    status, _, answer = server.post("/v1/completions", body)
    assert status == 200, answer
    validate("CreateCompletionResponse", answer)
    for chunk in server.stream("/v1/completions", body):
        assert chunk["object"] == "text_completion"


def test_models_validate(server, validate):
    answer = server.request("GET", "/v1/models")[2]
    validate("ListModelsResponse", answer)
    assert answer["data"][0]["max_model_len"] == 2048
    validate("Model", server.request("GET", "/v1/models/" + answer["data"][0]["id"].split("/")[-1])[2])


def test_sse_headers(server):
    connection = server.connect()
    connection.request("POST", "/v1/chat/completions", json.dumps({**CHAT, "stream": True}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    headers = {k.lower(): v for k, v in response.getheaders()}
    response.read()
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-request-id"]


def test_health_version_metrics(server):
    for path in ("/health", "/ping", "/livez", "/readyz"):
        assert server.request("GET", path)[0] == 200, path
    assert server.request("GET", "/version")[2]["version"]
    metrics = server.metrics()
    assert metrics["vllm:num_requests_running"] == 0


def test_tokenize_both_shapes(server):
    text = server.post("/tokenize", {"prompt": "Hello", "add_special_tokens": True})[2]
    assert text["count"] == len(text["tokens"]) and text["max_model_len"] == 2048
    plain = server.post("/tokenize", {"prompt": "Hello", "add_special_tokens": False})[2]
    assert text["tokens"][1:] == plain["tokens"]
    back = server.post("/detokenize", {"tokens": plain["tokens"]})[2]
    assert back["prompt"] == "Hello"
    chat = server.post("/tokenize", {"messages": CHAT["messages"], "add_generation_prompt": True})[2]
    bos = text["tokens"][0]
    assert chat["tokens"][0] == bos and chat["tokens"].count(bos) == 1, "exactly one BOS"
