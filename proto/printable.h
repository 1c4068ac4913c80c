// Names and values from files, and messages that hold them, for a terminal.
#ifndef WEFT_PROTO_PRINTABLE_H_
#define WEFT_PROTO_PRINTABLE_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "proto/core/printable.h"

namespace weft {

// The text in one line that a terminal merely shows; see proto/core/printable.h. Of more than
// `most` bytes the middle is left out: a message begins with what is wrong and ends with where.
inline std::string Printable(std::string_view text, size_t most = std::string::npos) {
  std::string printable;
  const auto append = [&](std::string_view part) { printable.append(part); };
  if (text.size() <= most) {
    AppendPrintable(text, append);
    return printable;
  }
  const size_t end = most / 3;
  // Not within a character, which UTF-8's later bytes begin with the bits 10 in.
  const auto within = [&](size_t at) { return (static_cast<unsigned char>(text[at]) >> 6) == 2; };
  size_t cut = most - end, from = text.size() - end;
  while (cut > 0 && within(cut)) --cut;
  while (from < text.size() && within(from)) ++from;
  AppendPrintable(text.substr(0, cut), append);
  printable += " ... ";
  AppendPrintable(text.substr(from), append);
  return printable;
}

// The same of each line.
inline std::string PrintableLines(std::string_view text) {
  std::string printable;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    printable += Printable(text.substr(0, end));
    if (end < text.size()) printable += '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return printable;
}

}  // namespace weft

#endif  // WEFT_PROTO_PRINTABLE_H_
