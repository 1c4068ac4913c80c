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

// Whole hooks of libFuzzer, for inputs that are messages or containers of one. MutateInput changes
// one section of a container: `message_section` as a message, others in their bytes; what is no
// container is treated as a message. CrossInputs puts a field of the second message in place of one
// of the same number and kind in the first.
size_t MutateInput(uint8_t* data, size_t size, size_t max_size, std::string_view message_section,
                   unsigned seed);
size_t CrossInputs(const uint8_t* data1, size_t size1, const uint8_t* data2, size_t size2,
                   uint8_t* out, size_t max_out, unsigned seed);

// What other hooks return, given what they want to write.
size_t Store(std::string_view input, uint8_t* data, size_t max_size);

}  // namespace weft::fuzz

#endif  // WEFT_TESTS_FUZZ_MUTATE_H_
