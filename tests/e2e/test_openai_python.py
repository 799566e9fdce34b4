"""The official Python client, unchanged, against the built server."""
import openai
import pytest


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def name(client):
    return client.models.list().data[0].id


def ask(text):
    return [{"role": "user", "content": text}]


def test_models_list_and_retrieve(client, name):
    assert client.models.retrieve(name).id == name


def test_chat(client, name):
    answer = client.chat.completions.create(model=name, messages=ask("Hello"), max_tokens=16, temperature=0)
    assert answer.object == "chat.completion"
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens <= 16


def test_streamed_text_equals_whole_text(client, name):
    settings = dict(model=name, messages=ask("你好，麻雀"), max_tokens=48, temperature=0.8, seed=5)
    whole = client.chat.completions.create(**settings).choices[0].message
    reasoning, content, last = "", "", None
    for chunk in client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            content += choice.delta.content or ""
        last = chunk
    assert (reasoning, content) == (getattr(whole, "reasoning_content", None) or "", whole.content or "")
    assert last.usage.completion_tokens > 0 and last.choices == []


def test_stream_helper_accumulates(client, name):
    with client.chat.completions.stream(model=name, messages=ask("Hi"), max_tokens=12) as stream:
        for _ in stream:
            pass
        final = stream.current_completion_snapshot  # get_final_completion() raises on "length" by design
    assert final.choices[0].message.role == "assistant"
    assert final.choices[0].finish_reason in ("length", "stop")


def test_n_choices_are_independent_and_seeded(client, name):
    settings = dict(model=name, messages=ask("Hi"), max_tokens=12, n=3, temperature=1.0, seed=11)
    first = client.chat.completions.create(**settings)
    again = client.chat.completions.create(**settings)
    texts = [c.message.reasoning_content for c in first.choices]
    assert [c.index for c in first.choices] == [0, 1, 2]
    assert texts == [c.message.reasoning_content for c in again.choices]
    assert len(set(texts)) > 1


def test_logprobs(client, name):
    answer = client.chat.completions.create(model=name, messages=ask("Hi"), max_tokens=4, logprobs=True, top_logprobs=3, temperature=0)
    entries = answer.choices[0].logprobs.content
    assert len(entries) == answer.usage.completion_tokens
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob <= 0
        assert entry.logprob == pytest.approx(max(t.logprob for t in entry.top_logprobs))  # greedy


def test_completions_and_stop(client, name):
    settings = dict(model=name, prompt="Once", max_tokens=40, temperature=0)
    whole = client.completions.create(**settings).choices[0]
    assert whole.finish_reason in ("length", "stop")
    middle = whole.text[len(whole.text) // 2:][:2]
    if middle:
        cut = client.completions.create(**settings, stop=[middle]).choices[0]
        assert cut.text == whole.text[:whole.text.index(middle)]
        assert cut.finish_reason == "stop"
    streamed = "".join(c.choices[0].text for c in client.completions.create(**settings, stream=True) if c.choices)
    assert streamed == whole.text


def test_errors_have_the_clients_classes(client, name):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=ask("Hi"))
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=name, messages=ask("Hi"), max_tokens=10**6)
    assert caught.value.code == "context_length_exceeded"
    assert "This model's maximum context length is" in str(caught.value)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=name, messages=ask("Hi"), temperature=9)
    assert caught.value.param == "temperature"


class ChatClient:
    """The kind of class people write first (use case: a service behind one host)."""

    def __init__(self, base_url, model="sparrow"):
        self.client = openai.OpenAI(base_url=base_url, api_key="none")
        self.model = model

    def chat_completion(self, messages, stream=False, temperature=0.7, max_tokens=32):
        return self.client.chat.completions.create(model=self.model, messages=messages, stream=stream,
                                                   temperature=temperature, max_tokens=max_tokens)

    def stream_chat(self, messages):
        text = ""
        for chunk in self.chat_completion(messages, stream=True):
            if chunk.choices and chunk.choices[0].delta.content is not None:
                text += chunk.choices[0].delta.content
        return text

    def simple_chat(self, user_message, system_message=None):
        messages = [{"role": "system", "content": system_message}] if system_message else []
        answer = self.chat_completion(messages + [{"role": "user", "content": user_message}])
        return answer.choices[0].message.content


@pytest.mark.parametrize("spelling", [str.lower, str.upper, lambda name: name])
def test_first_client_class_with_its_prompts(server, name, spelling):
    chat = ChatClient(server.url + "/v1", spelling(name.split("/")[-1]))
    for prompt in ("一个笼子里有鸡和兔子共35只，脚共94只，问各有多少？", "如果今天是星期三，100天后是星期几？", "求解方程 x² - 5x + 6 = 0"):
        answer = chat.simple_chat(prompt)
        assert answer is None or isinstance(answer, str)
    assert isinstance(chat.simple_chat("请用中文介绍一下人工智能的发展历史", "你是一个有帮助的AI助手"), (str, type(None)))
    assert isinstance(chat.stream_chat([{"role": "system", "content": "你是一个诗人"},
                                        {"role": "user", "content": "写两首关于秋天的五言绝句"}]), str)
