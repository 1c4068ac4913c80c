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

// For inputs that are messages or containers of one. MutateInput changes one section of a
// container: `message_section` as a message, others in their bytes; what is no container is treated
// as a message. CrossMessages puts a field of the second message in place of one of the same number
// and kind in the first.
std::string MutateInput(std::string_view input, std::string_view message_section, unsigned seed);
std::string CrossMessages(std::string_view message, std::string_view other, unsigned seed);

// A target of such inputs links `message_hooks`, libFuzzer's hooks made of the two, and defines
// which section of a container is a message.
extern const std::string_view kMessageSection;

// The package that an input stands for: a container itself, and a message as the manifest of one
// that is otherwise whole.
std::string AsPackage(std::string_view input);

// What hooks return, given what they want to write.
size_t Store(std::string_view input, uint8_t* data, size_t max_size);

}  // namespace weft::fuzz

#endif  // WEFT_TESTS_FUZZ_MUTATE_H_
