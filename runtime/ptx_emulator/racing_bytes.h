// Bytes of global memory, which emulated threads may race on, as those of a GPU may. What they read
// then is the kernel's fault; here it is well defined, a word at a time.
#ifndef WEFT_RUNTIME_PTX_EMULATOR_RACING_BYTES_H_
#define WEFT_RUNTIME_PTX_EMULATOR_RACING_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace weft::ptx {

// Calls piece(Word(), offset) for pieces of the bytes at `address`, each aligned to its size.
template <typename Piece>
void ForAlignedPieces(const void* address, size_t bytes, const Piece& piece) {
  const auto first = reinterpret_cast<uintptr_t>(address);
  for (size_t at = 0; at < bytes;) {
    const size_t left = bytes - at;
    if ((first + at) % 8 == 0 && left >= 8) {
      piece(uint64_t{}, at);
      at += 8;
    } else if ((first + at) % 4 == 0 && left >= 4) {
      piece(uint32_t{}, at);
      at += 4;
    } else if ((first + at) % 2 == 0 && left >= 2) {
      piece(uint16_t{}, at);
      at += 2;
    } else {
      piece(uint8_t{}, at);
      at += 1;
    }
  }
}

// `from` may be written at the same time.
inline void LoadRacing(void* to, const void* from, size_t bytes) {
  ForAlignedPieces(from, bytes, [&](auto word, size_t at) {
    using Word = decltype(word);
    word = __atomic_load_n(reinterpret_cast<const Word*>(static_cast<const char*>(from) + at),
                           __ATOMIC_RELAXED);
    std::memcpy(static_cast<char*>(to) + at, &word, sizeof(word));
  });
}

// `to` may be read and written at the same time.
inline void StoreRacing(void* to, const void* from, size_t bytes) {
  ForAlignedPieces(to, bytes, [&](auto word, size_t at) {
    using Word = decltype(word);
    std::memcpy(&word, static_cast<const char*>(from) + at, sizeof(word));
    __atomic_store_n(reinterpret_cast<Word*>(static_cast<char*>(to) + at), word, __ATOMIC_RELAXED);
  });
}

inline void FillRacing(void* to, uint8_t value, size_t bytes) {
  ForAlignedPieces(to, bytes, [&](auto word, size_t at) {
    using Word = decltype(word);
    std::memset(&word, value, sizeof(word));
    __atomic_store_n(reinterpret_cast<Word*>(static_cast<char*>(to) + at), word, __ATOMIC_RELAXED);
  });
}

// Whether none of the bytes, which may be written at the same time, is 0.
inline bool NoneIsZero(const void* bytes, size_t size) {
  bool none = true;
  ForAlignedPieces(bytes, size, [&](auto word, size_t at) {
    using Word = decltype(word);
    word = __atomic_load_n(reinterpret_cast<const Word*>(static_cast<const char*>(bytes) + at),
                           __ATOMIC_RELAXED);
    none = none && std::memchr(&word, 0, sizeof(word)) == nullptr;
  });
  return none;
}

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_RACING_BYTES_H_
