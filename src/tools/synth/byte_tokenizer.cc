#include "tools/synth/byte_tokenizer.h"

#include "model/files/gguf_config.h"
#include "tokenizer/byte_alphabet.h"

namespace sparrow {

TokenizerSpec byte_tokenizer_spec() {
  TokenizerSpec spec;
  auto is_printable = [](int byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
  };
  for (const bool printable : {true, false}) {
    for (int byte = 0; byte < 256; ++byte) {
      if (is_printable(byte) != printable) continue;
      spec.pieces.push_back(piece_of_bytes(std::string(1, static_cast<char>(byte))));
    }
  }
  struct Added {
    const char* content;
    bool special;
  };
  constexpr Added kAdded[] = {{"<｜end▁of▁sentence｜>", true},
                              {"<｜User｜>", false},
                              {"<｜Assistant｜>", false},
                              {"<｜begin▁of▁sentence｜>", true},
                              {"<|EOT|>", false},
                              {"<think>", false},
                              {"</think>", false}};
  for (const Added& entry : kAdded) {
    AddedToken token;
    token.id = static_cast<TokenId>(spec.pieces.size() + spec.added_tokens.size());
    token.content = entry.content;
    token.special = entry.special;
    spec.added_tokens.push_back(std::move(token));
  }
  spec.split_pattern = kQwen2SplitPattern;
  spec.nfc = true;
  spec.eos_token_id = spec.added_tokens[0].id;
  spec.bos_token_id = spec.added_tokens[3].id;
  spec.add_bos = true;
  return spec;
}

std::string byte_tokenizer_chat_template() {
  return R"({%- set ns = namespace(system='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}{%- set ns.system = message['content'] -%}{%- endif -%}
{%- endfor -%}
{{- bos_token + ns.system -}}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{{- '<｜User｜>' + message['content'] -}}
{%- elif message['role'] == 'assistant' and message['content'] is not none -%}
{{- '<｜Assistant｜>' + message['content'].split('</think>')[-1] + eos_token -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<｜Assistant｜><think>\n' -}}
{%- endif -%})";
}

}  // namespace sparrow
