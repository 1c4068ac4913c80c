#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <vector>

#include "proto/container.h"

namespace weft::fuzz {
namespace {

constexpr int kMaxDepth = 16;
constexpr uint32_t kMaxFieldNumber = 64;  // higher than any of ours: other bytes seldom look alike

using Random = std::minstd_rand;

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint32_t number = 0;
  WireType type = kVarint;
  uint64_t value = 0;         // of a varint or fixed field
  std::string bytes;          // of kBytes that are no message
  std::vector<Field> fields;  // of kBytes that are one
  bool is_message = false;
};
using Message = std::vector<Field>;

bool TakeVarint(std::string_view* bytes, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64 && !bytes->empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes->front());
    bytes->remove_prefix(1);
    *value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

void AppendVarint(uint64_t value, std::string* bytes) {
  for (; value >= 0x80; value >>= 7) bytes->push_back(static_cast<char>(value | 0x80));
  bytes->push_back(static_cast<char>(value));
}

// Without a schema: bytes that read as fields are taken for a message.
std::optional<Message> Parse(std::string_view bytes, int depth = 0) {
  if (depth > kMaxDepth) return std::nullopt;
  Message message;
  while (!bytes.empty()) {
    uint64_t tag = 0;
    if (!TakeVarint(&bytes, &tag) || tag >> 3 == 0 || tag >> 3 > kMaxFieldNumber)
      return std::nullopt;
    Field field;
    field.number = static_cast<uint32_t>(tag >> 3);
    field.type = static_cast<WireType>(tag & 7);
    const size_t fixed = field.type == kFixed64 ? 8 : field.type == kFixed32 ? 4 : 0;
    if (fixed > 0) {
      if (bytes.size() < fixed) return std::nullopt;
      memcpy(&field.value, bytes.data(), fixed);
      bytes.remove_prefix(fixed);
    } else if (field.type == kVarint) {
      if (!TakeVarint(&bytes, &field.value)) return std::nullopt;
    } else if (field.type == kBytes) {
      uint64_t size = 0;
      if (!TakeVarint(&bytes, &size) || size > bytes.size()) return std::nullopt;
      const std::string_view payload = bytes.substr(0, size);
      bytes.remove_prefix(size);
      std::optional<Message> inner;
      if (!payload.empty()) inner = Parse(payload, depth + 1);
      field.is_message = inner.has_value();
      if (inner.has_value()) {
        field.fields = *std::move(inner);
      } else {
        field.bytes = payload;
      }
    } else {
      return std::nullopt;
    }
    message.push_back(std::move(field));
  }
  return message;
}

std::string Serialize(const Message& message) {
  std::string bytes;
  for (const Field& field : message) {
    AppendVarint(uint64_t{field.number} << 3 | field.type, &bytes);
    if (field.type == kVarint) {
      AppendVarint(field.value, &bytes);
    } else if (field.type == kBytes) {
      const std::string payload = field.is_message ? Serialize(field.fields) : field.bytes;
      AppendVarint(payload.size(), &bytes);
      bytes += payload;
    } else {
      bytes.append(reinterpret_cast<const char*>(&field.value), field.type == kFixed64 ? 8 : 4);
    }
  }
  return bytes;
}

// A field and the message that it is in.
struct Place {
  Message* message;
  size_t index;
  Field& field() const { return (*message)[index]; }
};

void CollectPlaces(Message& message, std::vector<Place>* places) {
  for (size_t i = 0; i < message.size(); ++i) {
    places->push_back({&message, i});
    CollectPlaces(message[i].fields, places);
  }
}

uint64_t OtherNumber(uint64_t value, Random& random) {
  switch (random() % 8) {
    case 0:
      return value + 1;
    case 1:
      return value - 1;
    case 2:
      return ~uint64_t{0} >> (random() % 64);
    case 3:
      return uint64_t{1} << (random() % 64);
    case 4:
      return value * 2;
    default:
      return random() % 16;
  }
}

// The numbers of a packed field, of which one is changed, added or removed.
std::string MutatePacked(std::string_view bytes, Random& random) {
  std::vector<uint64_t> numbers;
  for (uint64_t number; !bytes.empty() && TakeVarint(&bytes, &number);) numbers.push_back(number);
  const size_t at = numbers.empty() ? 0 : random() % numbers.size();
  switch (random() % 4) {
    case 0:
      numbers.insert(numbers.begin() + static_cast<int64_t>(at), OtherNumber(1, random));
      break;
    case 1:
      if (!numbers.empty()) numbers.erase(numbers.begin() + static_cast<int64_t>(at));
      break;
    default:
      if (!numbers.empty()) numbers[at] = OtherNumber(numbers[at], random);
  }
  std::string packed;
  for (const uint64_t number : numbers) AppendVarint(number, &packed);
  return packed;
}

// Another field of the same kind, or the same field where there is none.
const Field& Similar(const std::vector<Place>& places, const Field& field, Random& random) {
  const bool same_number = random() % 4 != 0;
  for (size_t i = 0, at = random() % places.size(); i < places.size(); ++i) {
    const Field& other = places[(at + i) % places.size()].field();
    if (&other != &field && other.type == field.type && other.is_message == field.is_message &&
        (!same_number || other.number == field.number)) {
      return other;
    }
  }
  return field;
}

void MutateField(const Place& place, const std::vector<Place>& places, Random& random) {
  Message& message = *place.message;
  Field& field = place.field();
  const auto here = message.begin() + static_cast<int64_t>(place.index);
  switch (random() % 8) {
    case 0:
      message.erase(here);
      return;
    case 1: {
      Field copy = field;
      message.insert(here, std::move(copy));
      return;
    }
    case 2: {
      std::swap(field, message[random() % message.size()]);
      return;
    }
    case 3:
    case 4: {
      // By value: the other may lie inside of this one.
      Field other = Similar(places, field, random);
      other.number = field.number;
      field = std::move(other);
      return;
    }
    case 5: {
      Field other = places[random() % places.size()].field();
      message.insert(here, std::move(other));
      return;
    }
    default:
      break;
  }
  if (field.type != kBytes) {
    field.value = OtherNumber(field.value, random);
  } else if (random() % 2 == 0) {
    field.bytes = MutatePacked(field.is_message ? Serialize(field.fields) : field.bytes, random);
    field.is_message = false;
  } else if (!field.is_message) {
    field.bytes = MutateBytes(field.bytes);
  }
}

}  // namespace

std::string MutateBytes(std::string_view bytes) {
  constexpr size_t kRoom = 64;
  std::string changed(bytes);
  changed.resize(bytes.size() + kRoom);
  const size_t size =
      LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(changed.data()), bytes.size(), changed.size());
  changed.resize(size);
  return changed;
}

std::string MutateMessage(std::string_view message, unsigned seed) {
  Random random(seed + 1);
  random.discard(2);  // the first draws of close seeds are close
  std::optional<Message> fields = Parse(message);
  if (!fields.has_value() || fields->empty() || random() % 16 == 0) return MutateBytes(message);
  for (int changes = 1 + static_cast<int>(random() % 3); changes > 0; --changes) {
    std::vector<Place> places;
    CollectPlaces(*fields, &places);
    if (places.empty()) break;
    MutateField(places[random() % places.size()], places, random);
  }
  return Serialize(*fields);
}

std::string CrossMessages(std::string_view message, std::string_view other, unsigned seed) {
  Random random(seed + 1);
  random.discard(2);
  std::optional<Message> fields = Parse(message), others = Parse(other);
  if (!fields.has_value() || !others.has_value() || fields->empty() || others->empty()) {
    return std::string(message);
  }
  std::vector<Place> places, other_places;
  CollectPlaces(*fields, &places);
  CollectPlaces(*others, &other_places);
  const Place& place = places[random() % places.size()];
  const Field& from = Similar(other_places, place.field(), random);
  if (random() % 2 == 0) {
    place.message->push_back(from);
  } else {
    place.field() = from;
  }
  return Serialize(*fields);
}

std::string MutateInput(std::string_view input, std::string_view message_section, unsigned seed) {
  Random random(seed + 1);
  random.discard(2);
  absl::StatusOr<Container> container = Container::Open(Bytes::Of(input));
  if (!container.ok()) return MutateMessage(input, seed);
  const std::vector<std::string> names = container->Names();
  if (names.empty() || random() % 16 == 0) return MutateBytes(input);
  std::string chosen = names[random() % names.size()];
  if (random() % 2 == 0 && container->Has(message_section)) chosen = message_section;
  std::string changed(*container->Section(chosen, /*verify=*/false));
  changed = chosen == message_section ? MutateMessage(changed, seed) : MutateBytes(changed);
  const bool left_out = random() % 32 == 0;
  std::vector<SectionToWrite> sections;
  for (const std::string& name : names) {
    if (left_out && name == chosen) continue;
    sections.push_back({name,
                        name == chosen ? changed : *container->Section(name, /*verify=*/false),
                        name.starts_with("code.") ? 12 : 6});
  }
  return WriteContainer(sections);
}

std::string AsPackage(std::string_view input) {
  if (input.starts_with("WEFTFILE")) return std::string(input);
  const std::string code(0xe00, '\xc3'), constants(80, '\0');
  return WriteContainer(
      {{"manifest", input, 6}, {"constants", constants, 6}, {"code.x86-64-v3", code, 12}});
}

size_t Store(std::string_view input, uint8_t* data, size_t max_size) {
  const size_t size = std::min(input.size(), max_size);
  if (size > 0) memcpy(data, input.data(), size);
  return size;
}

}  // namespace weft::fuzz
