#pragma once
// The text a chat gets instead of an answer when the server is too busy to compute one, in the
// language of the question: Chinese where it has Chinese characters, else English. Stateless.

#include <string>
#include <string_view>

namespace sparrow::api {

std::string friendly_message(std::string_view question);

}  // namespace sparrow::api
