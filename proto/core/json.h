// JSON from front to back without a document: for small fixed schemas from untrusted bytes.
#ifndef WEFT_PROTO_CORE_JSON_H_
#define WEFT_PROTO_CORE_JSON_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proto/core/format_error.h"

namespace weft {

// Each function reads one value at the current place. Where it returns false, error() says what was
// expected and at which byte, and the scanner must not be used any more.
class JsonScanner {
 public:
  // Strings are decoded into `memory`, which is as large as `text` and has to stay. Errors count
  // bytes from `before` the text, the start of the file say.
  JsonScanner(std::string_view text, char* memory, size_t before = 0)
      : text_(text), memory_(memory), before_(before) {}

  // Calls `bool member(std::string_view key)` at each value of an object, which must read that
  // value, and may return false to end this.
  template <typename Member>
  bool Object(const Member& member) {
    if (!Take('{')) return Expected("'{'");
    if (Take('}')) return true;
    do {
      std::string_view key;
      if (!String(&key)) return false;
      if (!Take(':')) return Expected("':'");
      if (!member(key)) return false;
    } while (Take(','));
    return Take('}') || Expected("',' or '}'");
  }
  // An array of whole numbers >= 0, at most `limit` of them.
  bool Sizes(int64_t* values, size_t limit, size_t* count);
  // A string, with escapes resolved to UTF-8.
  bool String(std::string_view* value);
  // Any value, nested at most 32 deep.
  bool Skip() { return SkipNested(0); }
  // White space; then nothing follows.
  bool End();
  // Bytes read so far.
  size_t position() const { return at_; }
  // None where a member, not the scanner, returned false.
  FormatError error() const;

 private:
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Take(char c);
  bool Expected(const char* what);
  bool Size(int64_t* value);
  bool Hex4(uint32_t* value);
  bool Escape();
  bool SkipNested(int depth);

  std::string_view text_;
  size_t at_ = 0;
  char* memory_;  // for what is decoded next: never further on than at_, since decoding shortens
  size_t before_;
  const char* expected_ = nullptr;
};

// One character of a string as it stands between the quotes of JSON; returns its bytes.
inline constexpr size_t kMaxJsonCharacter = 6;
size_t JsonCharacter(char c, char* bytes);

// Whether the bytes are well-formed UTF-8.
bool IsUtf8(std::string_view text);

}  // namespace weft

#endif  // WEFT_PROTO_CORE_JSON_H_
