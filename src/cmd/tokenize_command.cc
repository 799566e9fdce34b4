// sparrow tokenize: text to ids and back, with the model's own tokenizer.

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>

#include "base/json.h"
#include "cmd/command.h"
#include "model/model_files.h"
#include "model/model_locator.h"

namespace sparrow {
namespace {

constexpr OptionSpec kOptions[] = {
    {.name = "model",
     .type = OptionType::kString,
     .default_text = "",
     .help = "Model directory, .gguf file or hub id whose tokenizer is used",
     .aliases = "-m|--tokenizer"},
    {.name = "bos",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "Put the beginning-of-sequence token first, as completions do"},
    {.name = "decode",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "The input is token ids (separated by spaces or commas); print their text"},
    {.name = "json",
     .type = OptionType::kFlag,
     .default_text = "false",
     .help = "Print one JSON object: tokens, count, pieces"},
};

constexpr const char* kExamples =
    "  sparrow tokenize --model DIR \"Who are you?\"\n"
    "  sparrow tokenize --model DIR --json < prompt.txt\n"
    "  sparrow tokenize --model DIR --decode \"15191 525 498 30\"\n";

Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::string& wanted) {
  ModelLocation location;
  if (wanted.empty()) {
    ASSIGN_OR_RETURN(location, locate_default_model());
  } else {
    ASSIGN_OR_RETURN(location, locate_model(wanted));
  }
  if (location.path.ends_with(".gguf")) {
    ASSIGN_OR_RETURN(ModelFiles model, open_model(location.path));
    if (!model.has_tokenizer) return not_found(location.path + ": the file has no tokenizer");
    return Tokenizer::create(std::move(model.tokenizer));
  }
  ASSIGN_OR_RETURN(TokenizerSpec spec, read_hf_tokenizer(location.path));
  return Tokenizer::create(std::move(spec));
}

Result<std::vector<TokenId>> parse_ids(const std::string& text) {
  std::vector<TokenId> ids;
  size_t at = 0;
  while ((at = text.find_first_of("0123456789", at)) != std::string::npos) {
    const size_t end = std::min(text.find_first_not_of("0123456789", at), text.size());
    if (end - at > 9) return invalid_argument("token id too large: " + text.substr(at, 12));
    ids.push_back(static_cast<TokenId>(std::stol(text.substr(at, end - at))));
    at = end;
  }
  return ids;
}

void print_json(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string out = "{\"tokens\":[";
  for (size_t i = 0; i < ids.size(); ++i) out += fmt::format("{}{}", i == 0 ? "" : ",", ids[i]);
  out += fmt::format("],\"count\":{},\"pieces\":[", ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, tokenizer.token_bytes(ids[i]));
  }
  std::printf("%s]}\n", out.c_str());
}

}  // namespace

const CommandSpec& tokenize_spec() {
  static const CommandSpec kSpec{.name = "tokenize",
                                 .summary = "Turn text into token ids, or back",
                                 .positional = "[TEXT]",
                                 .options = kOptions,
                                 .examples = kExamples};
  return kSpec;
}

int run_tokenize(const OptionValues& values) {
  const auto tokenizer = load_tokenizer(values.text("model"));
  if (!tokenizer.ok()) return fail(tokenizer.status());
  std::string text;
  if (values.positional().empty()) {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    text = fmt::format("{}", fmt::join(values.positional(), " "));
  }
  if (values.flag("decode")) {
    const auto ids = parse_ids(text);
    if (!ids.ok()) return fail(ids.status());
    std::printf("%s\n", (*tokenizer)->decode(*ids).c_str());
    return 0;
  }
  const std::vector<TokenId> ids = (*tokenizer)->encode(text, {.add_bos = values.flag("bos")});
  if (values.flag("json")) {
    print_json(**tokenizer, ids);
  } else {
    std::printf("%s\n", fmt::format("{}", fmt::join(ids, " ")).c_str());
  }
  return 0;
}

}  // namespace sparrow
