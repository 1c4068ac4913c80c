// Reads JSON from front to back without building a document: for small fixed schemas from untrusted
// bytes, where programs must stay small. Allocates nothing but the strings it returns.
#ifndef WEFT_PROTO_JSON_SCANNER_H_
#define WEFT_PROTO_JSON_SCANNER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft {

// Each function reads one value at the current place; the error (InvalidArgument) says what was
// expected and at which byte. After an error the scanner must not be used.
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : text_(text) {}

  // Calls `member` at each value of an object, which must read that value.
  absl::Status Object(const std::function<absl::Status(const std::string& key)>& member);
  // An array of whole numbers >= 0, at most `limit` of them.
  absl::StatusOr<std::vector<int64_t>> Sizes(size_t limit);
  // A string, with escapes resolved to UTF-8.
  absl::StatusOr<std::string> String();
  // Any value, nested at most 32 deep.
  absl::Status Skip();
  // Nothing but white space follows.
  absl::Status End();
  // Bytes read so far.
  size_t position() const { return at_; }

 private:
  void SkipSpace();
  bool Take(char c);
  absl::Status Expected(std::string_view what) const;
  absl::StatusOr<int64_t> Size();
  absl::StatusOr<uint32_t> Hex4();
  absl::Status SkipNested(int depth);

  std::string_view text_;
  size_t at_ = 0;
};

// `text` as a JSON string, in quotes.
std::string JsonQuote(std::string_view text);

// Whether the bytes are well-formed UTF-8.
bool IsUtf8(std::string_view text);

}  // namespace weft

#endif  // WEFT_PROTO_JSON_SCANNER_H_
