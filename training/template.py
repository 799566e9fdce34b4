"""The chat template of the bundled model: own text, the rules of DeepSeek-R1-Distill-Qwen.

BOS, the last system message, then the turns. Of an assistant's text only what follows the last
</think> is kept. Tool calls are rendered where the content is null, tool outputs in a group that the
next turn closes. A generation prompt ends in "<think>" and a line break, and is left out after a tool
output. tests/test_template.py holds it against the published template.
"""

CHAT_TEMPLATE = """\
{%- set state = namespace(system='', called=false, in_tools=false, first_output=true) -%}
{%- for message in messages if message['role'] == 'system' -%}
{%- set state.system = message['content'] -%}
{%- endfor -%}
{{- bos_token + state.system -}}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{%- set state.in_tools = false -%}
{{- '<｜User｜>' + message['content'] -}}
{%- elif message['role'] == 'assistant' and message['content'] is none -%}
{%- set state.in_tools = false -%}
{%- for call in message['tool_calls'] -%}
{%- if state.called -%}
{{- '\\n' -}}
{%- else -%}
{{- '<｜Assistant｜><｜tool▁calls▁begin｜>' -}}
{%- endif -%}
{{- '<｜tool▁call▁begin｜>' + call['type'] + '<｜tool▁sep｜>' + call['function']['name'] -}}
{{- '\\n```json\\n' + call['function']['arguments'] + '\\n```<｜tool▁call▁end｜>' -}}
{%- if state.called -%}
{{- '<｜tool▁calls▁end｜>' + eos_token -}}
{%- endif -%}
{%- set state.called = true -%}
{%- endfor -%}
{%- elif message['role'] == 'assistant' -%}
{%- if state.in_tools -%}
{{- '<｜tool▁outputs▁end｜>' + message['content'] + eos_token -}}
{%- set state.in_tools = false -%}
{%- else -%}
{{- '<｜Assistant｜>' + message['content'].split('</think>')[-1] + eos_token -}}
{%- endif -%}
{%- elif message['role'] == 'tool' -%}
{%- set state.in_tools = true -%}
{%- if state.first_output -%}
{{- '<｜tool▁outputs▁begin｜>' -}}
{%- set state.first_output = false -%}
{%- else -%}
{{- '\\n' -}}
{%- endif -%}
{{- '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' -}}
{%- endif -%}
{%- endfor -%}
{%- if state.in_tools -%}
{{- '<｜tool▁outputs▁end｜>' -}}
{%- elif add_generation_prompt is defined and add_generation_prompt -%}
{{- '<｜Assistant｜><think>\\n' -}}
{%- endif -%}
"""
