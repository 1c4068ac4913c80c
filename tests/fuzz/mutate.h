// Changes of structured inputs: of protobuf messages field by field, whatever their type is, and of
// containers (proto/container.h) section by section, with checksums put right. So most inputs get
// past the first checks of a reader.
#ifndef WEFT_TESTS_FUZZ_MUTATE_H_
#define WEFT_TESTS_FUZZ_MUTATE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// libFuzzer's, or replay.cc's: changes `size` bytes in place, at most to `max_size`; returns the
// new size.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace weft::fuzz {

// A few bytes changed.
std::string MutateBytes(std::string_view bytes);

// A message in wire form with one to three of its fields changed, removed, repeated, or replaced by
// others of its fields; or, now and then, MutateBytes.
std::string MutateMessage(std::string_view message, unsigned seed);

// A field of `other` in place of one of the same number and kind in `message`.
std::string CrossMessages(std::string_view message, std::string_view other, unsigned seed);

// A container in which one section is changed: `message_section` as a message, others in their
// bytes. What is no container is treated as a message.
std::string MutateContainer(std::string_view file, std::string_view message_section, unsigned seed);

// What LLVMFuzzerCustomMutator returns, given what it wants to write.
size_t Store(std::string_view input, uint8_t* data, size_t max_size);

}  // namespace weft::fuzz

#endif  // WEFT_TESTS_FUZZ_MUTATE_H_
