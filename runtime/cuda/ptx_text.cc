#include "runtime/cuda/ptx_text.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace weft::cuda {
namespace {

bool IsSpace(char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); }
bool IsOfWord(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' ||
         c == '.';
}

// Words, and single characters between them; neither comments nor spaces.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : text_(text) {}

  // Empty at the end.
  std::string_view Next() {
    SkipSpaceAndComments();
    const size_t start = at_;
    if (at_ == text_.size()) return "";
    if (text_[at_] == '"') {
      at_ = std::min(text_.find('"', at_ + 1), text_.size() - 1) + 1;
    } else if (IsOfWord(text_[at_])) {
      while (at_ < text_.size() && IsOfWord(text_[at_])) ++at_;
    } else {
      ++at_;
    }
    return text_.substr(start, at_ - start);
  }

 private:
  void SkipSpaceAndComments() {
    for (;;) {
      while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
      const std::string_view two = text_.substr(at_, 2);
      if (two != "//" && two != "/*") return;
      const std::string_view end = two == "//" ? "\n" : "*/";
      const size_t found = text_.find(end, at_ + 2);
      at_ = found == text_.npos ? text_.size() : found + end.size();
    }
  }

  const std::string_view text_;
  size_t at_ = 0;
};

// The product of "32" or "32, 1, 1", or 0 where there is none; also takes the token after it.
uint64_t ReadThreads(Tokens& tokens) {
  uint64_t threads = 1;
  for (int i = 0; i < 3; ++i) {
    const std::string_view word = tokens.Next();
    uint32_t size = 0;
    if (!absl::SimpleAtoi(absl::string_view(word.data(), word.size()), &size)) return 0;
    threads *= size;
    if (tokens.Next() != ",") break;
  }
  return threads;
}

}  // namespace

absl::StatusOr<PtxText> ReadPtxText(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    // From 0x80 on it is a name of a file or the like, in UTF-8.
    if (c >= 0x80 || absl::ascii_isprint(c) || absl::ascii_isspace(c)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("expected PTX, which is text, got a byte of ", int{c}, " at ", i));
  }
  PtxText text;
  Tokens tokens(bytes);
  std::string_view token = tokens.Next();
  if (token != ".version") {
    const std::string_view start = token.substr(0, 32);
    return absl::InvalidArgumentError(
        absl::StrCat("expected PTX, which begins with .version, got '",
                     absl::CEscape(absl::string_view(start.data(), start.size())), "'"));
  }
  text.version = std::string(tokens.Next().substr(0, 16));
  std::string_view kernel;
  for (token = tokens.Next(); !token.empty(); token = tokens.Next()) {
    if (token == ".entry") {
      kernel = tokens.Next();
    } else if (token == ".reqntid") {
      const uint64_t threads = ReadThreads(tokens);
      if (threads > 0) text.required_threads.emplace(kernel, threads);
    }
  }
  return text;
}

}  // namespace weft::cuda
