#include "compiler/aot/support/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/aot/support/model.h"

namespace weft::aot {
namespace {

constexpr const char* kTypeNames[] = {"",    "BOOL", "I8",   "U8",  "I32",
                                      "I64", "F16",  "BF16", "F32", "F64"};
constexpr size_t kMaxHeaderBytes = 100'000'000;
constexpr int kMaxDepth = 16;
constexpr size_t kCrcDigits = 8;

struct CrcTable {
  uint32_t entry[256];
  constexpr CrcTable() : entry() {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0xedb88320u : 0);
      entry[i] = value;
    }
  }
};
constexpr CrcTable kCrcTable;

// Walks over JSON text. After a failure every function returns false.
class Scanner {
 public:
  Scanner(const char* begin, const char* end) : at_(begin), end_(end) {}

  const char* at() const { return at_; }
  bool AtEnd() {
    Space();
    return at_ == end_;
  }
  bool Take(char c) {
    Space();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  // The text of a string, decoded to UTF-8, with a NUL; false where it passes `capacity` bytes.
  bool String(char* text, size_t capacity) {
    if (!Take('"')) return false;
    size_t size = 0;
    for (;;) {
      if (at_ == end_ || static_cast<unsigned char>(*at_) < 0x20) return false;
      char c = *at_++;
      if (c == '"') break;
      char encoded[4];
      int count = 1;
      encoded[0] = c;
      if (c == '\\') count = Escape(encoded);
      if (count == 0 || size + static_cast<size_t>(count) > capacity) return false;
      memcpy(text + size, encoded, static_cast<size_t>(count));
      size += static_cast<size_t>(count);
    }
    text[size] = '\0';
    return strlen(text) == size;
  }
  bool Number(int64_t* value) {
    Space();
    const char* start = at_;
    *value = 0;
    for (; at_ != end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
      if (__builtin_mul_overflow(*value, 10, value) ||
          __builtin_add_overflow(*value, *at_ - '0', value)) {
        return false;
      }
    }
    return at_ != start;
  }
  bool Numbers(int64_t* values, int capacity, int* count) {
    *count = 0;
    if (!Take('[')) return false;
    if (Take(']')) return true;
    do {
      if (*count == capacity || !Number(&values[(*count)++])) return false;
    } while (Take(','));
    return Take(']');
  }
  // Passes over any value.
  bool Skip(int depth = 0) {
    Space();
    if (at_ == end_ || depth > kMaxDepth) return false;
    const char open = *at_;
    if (open == '"') return SkipString();
    if (open == '{' || open == '[') {
      const char close = open == '{' ? '}' : ']';
      ++at_;
      if (Take(close)) return true;
      do {
        if (open == '{' && (!SkipString() || !Take(':'))) return false;
        if (!Skip(depth + 1)) return false;
      } while (Take(','));
      return Take(close);
    }
    const char* start = at_;
    while (at_ != end_ && strchr(",]} \t\r\n", *at_) == nullptr) ++at_;
    return at_ != start;
  }

 private:
  void Space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
  }
  bool SkipString() {
    if (!Take('"')) return false;
    while (at_ != end_ && *at_ != '"') {
      if (*at_ == '\\' && at_ + 1 != end_) ++at_;
      ++at_;
    }
    if (at_ == end_) return false;
    ++at_;
    return true;
  }
  // What follows a backslash, as UTF-8; returns the number of bytes, 0 on an error.
  int Escape(char* encoded) {
    if (at_ == end_) return 0;
    const char c = *at_++;
    constexpr char kFrom[] = "\"\\/bfnrt", kTo[] = "\"\\/\b\f\n\r\t";
    for (int i = 0; kFrom[i] != '\0'; ++i) {
      if (c == kFrom[i]) {
        encoded[0] = kTo[i];
        return 1;
      }
    }
    uint32_t code = 0;
    if (c != 'u' || !Hex(&code)) return 0;
    if (code >= 0xd800 && code < 0xdc00) {
      uint32_t low = 0;
      if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return 0;
      at_ += 2;
      if (!Hex(&low) || low < 0xdc00 || low > 0xdfff) return 0;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
      return 0;
    }
    const int count = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    constexpr unsigned char kLead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = count - 1; i > 0; --i, code >>= 6) {
      encoded[i] = static_cast<char>(0x80 | (code & 0x3f));
    }
    encoded[0] = static_cast<char>(kLead[count] | code);
    return count;
  }
  bool Hex(uint32_t* code) {
    for (int i = 0; i < 4; ++i, ++at_) {
      if (at_ == end_) return false;
      const char c = *at_;
      uint32_t digit;
      if (c >= '0' && c <= '9') {
        digit = static_cast<uint32_t>(c - '0');
      } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
        digit = static_cast<uint32_t>((c | 32) - 'a' + 10);
      } else {
        return false;
      }
      *code = *code << 4 | digit;
    }
    return true;
  }

  const char* at_;
  const char* end_;
};

// Reads what follows a tensor's name. Returns null, or what is wrong.
const char* ReadEntry(Scanner* scanner, const char* data, size_t data_size,
                      SafetensorsEntry* entry) {
  int64_t offsets[2] = {0, 0};
  int num_offsets = 0;
  bool has_dtype = false, has_shape = false;
  entry->dtype = 0;
  if (!scanner->Take('{')) return "the header is malformed";
  do {
    char key[32], type[16];
    if (!scanner->String(key, sizeof(key) - 1) || !scanner->Take(':')) {
      return "the header is malformed";
    }
    bool good;
    if (strcmp(key, "dtype") == 0) {
      has_dtype = good = scanner->String(type, sizeof(type) - 1);
      for (int32_t i = 1; good && i < 10; ++i) {
        if (strcmp(type, kTypeNames[i]) == 0) entry->dtype = i;
      }
    } else if (strcmp(key, "shape") == 0) {
      has_shape = good = scanner->Numbers(entry->shape, kMaxRank, &entry->rank);
    } else if (strcmp(key, "data_offsets") == 0) {
      good = scanner->Numbers(offsets, 2, &num_offsets) && num_offsets == 2;
    } else {
      good = scanner->Skip();
    }
    if (!good) return "the header is malformed";
  } while (scanner->Take(','));
  if (!scanner->Take('}') || !has_dtype || !has_shape || num_offsets != 2) {
    return "the header is malformed";
  }
  if (offsets[0] > offsets[1] || static_cast<uint64_t>(offsets[1]) > data_size) {
    return "a tensor lies outside the file";
  }
  entry->data = data + offsets[0];
  entry->bytes = offsets[1] - offsets[0];
  if (entry->dtype == 0) return "a tensor's element type is none of Weft's";
  int64_t expected = weft_dtype_bytes(entry->dtype);
  // Without elements the other dimensions may be anything.
  for (int i = 0; i < entry->rank; ++i) expected = entry->shape[i] == 0 ? 0 : expected;
  for (int i = 0; i < entry->rank; ++i) {
    if (__builtin_mul_overflow(expected, entry->shape[i], &expected)) expected = -1;
  }
  if (expected != entry->bytes) return "a tensor's size is not that of its shape";
  constexpr int32_t kBool = 1;
  for (int64_t i = 0; entry->dtype == kBool && i < entry->bytes; ++i) {
    if (static_cast<unsigned char>(entry->data[i]) > 1) return "it has a bool that is not 0 or 1";
  }
  return nullptr;
}

// Reads the metadata, and verifies the checksum that it may hold. `file` is all bytes.
const char* ReadMetadata(Scanner* scanner, const char* file, size_t size) {
  if (!scanner->Take('{')) return "the header is malformed";
  if (scanner->Take('}')) return nullptr;
  do {
    char key[32];
    Scanner ahead = *scanner;
    if (!ahead.String(key, sizeof(key) - 1) || strcmp(key, "weft.crc32") != 0) {
      if (!scanner->Skip() || !scanner->Take(':') || !scanner->Skip()) {
        return "the header is malformed";
      }
      continue;
    }
    char digits[kCrcDigits + 1];
    *scanner = ahead;
    if (!scanner->Take(':') || !scanner->String(digits, kCrcDigits)) {
      return "the header is malformed";
    }
    const char* place = scanner->at() - 1 - kCrcDigits;  // before the closing quote
    uint32_t crc = Crc32(file, static_cast<size_t>(place - file), 0);
    crc = Crc32("00000000", kCrcDigits, crc);
    crc = Crc32(place + kCrcDigits, static_cast<size_t>(file + size - place) - kCrcDigits, crc);
    char expected[kCrcDigits + 1];
    snprintf(expected, sizeof(expected), "%08x", crc);
    if (memcmp(expected, place, kCrcDigits) != 0) {
      return "the checksum does not match: the file is damaged";
    }
  } while (scanner->Take(','));
  return scanner->Take('}') ? nullptr : "the header is malformed";
}

}  // namespace

const char* SafetensorsTypeName(int32_t dtype) { return kTypeNames[dtype]; }

uint32_t Crc32(const char* bytes, size_t size, uint32_t before) {
  uint32_t crc = ~before;
  for (size_t i = 0; i < size; ++i) {
    crc = (crc >> 8) ^ kCrcTable.entry[(crc ^ static_cast<unsigned char>(bytes[i])) & 0xff];
  }
  return ~crc;
}

namespace {

// Where tensors lie.
class Places {
 public:
  ~Places() { free(all_); }
  // False where there is no memory.
  bool Add(int64_t begin, int64_t end) {
    if (count_ == capacity_) {
      const size_t capacity = capacity_ * 2 + 64;
      void* grown = realloc(all_, capacity * sizeof(Place));
      if (grown == nullptr) return false;
      all_ = static_cast<Place*>(grown);
      capacity_ = capacity;
    }
    all_[count_++] = {begin, end};
    return true;
  }
  // Whether they lie one after the other from 0 to `size`, in whatever order they were added.
  bool Fill(uint64_t size) {
    if (count_ > 0) qsort(all_, count_, sizeof(Place), &Compare);
    int64_t end = 0;
    for (size_t i = 0; i < count_; ++i) {
      if (all_[i].begin != end) return false;
      end = all_[i].end;
    }
    return static_cast<uint64_t>(end) == size;
  }

 private:
  struct Place {
    int64_t begin, end;
  };
  static int Compare(const void* a, const void* b) {
    const Place &x = *static_cast<const Place*>(a), &y = *static_cast<const Place*>(b);
    if (x.begin != y.begin) return x.begin < y.begin ? -1 : 1;
    return x.end < y.end ? -1 : x.end > y.end;
  }

  Place* all_ = nullptr;
  size_t count_ = 0, capacity_ = 0;
};

}  // namespace

const char* WalkSafetensors(const char* bytes, size_t size,
                            const char* (*visit)(void* context, const SafetensorsEntry& entry),
                            void* context) {
  uint64_t header_size = 0;
  if (size < sizeof(header_size)) return "it is too short to be a safetensors file";
  memcpy(&header_size, bytes, sizeof(header_size));
  if (header_size > kMaxHeaderBytes || header_size > size - sizeof(header_size)) {
    return "it is not a safetensors file, or is cut off";
  }
  const char* header = bytes + sizeof(header_size);
  const char* data = header + header_size;
  const size_t data_size = size - sizeof(header_size) - header_size;
  Scanner scanner(header, data);
  Places places;
  if (!scanner.Take('{')) return "the header is malformed";
  if (!scanner.Take('}')) {
    do {
      SafetensorsEntry entry;
      if (!scanner.String(entry.name, kMaxNameBytes) || !scanner.Take(':')) {
        return "the header is malformed, or a name is too long";
      }
      const bool metadata = strcmp(entry.name, "__metadata__") == 0;
      const char* problem = metadata ? ReadMetadata(&scanner, bytes, size)
                                     : ReadEntry(&scanner, data, data_size, &entry);
      if (problem == nullptr && !metadata &&
          !places.Add(entry.data - data, entry.data - data + entry.bytes)) {
        problem = "there is no memory to read it";
      }
      if (problem == nullptr && !metadata) problem = visit(context, entry);
      if (problem != nullptr) return problem;
    } while (scanner.Take(','));
    if (!scanner.Take('}')) return "the header is malformed";
  }
  if (!scanner.AtEnd()) return "the header is malformed";
  return places.Fill(data_size) ? nullptr : "its tensors overlap, or leave gaps";
}

}  // namespace weft::aot
