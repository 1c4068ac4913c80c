// Writing files whole or not at all.
#ifndef WEFT_PROTO_CORE_ATOMIC_FILE_H_
#define WEFT_PROTO_CORE_ATOMIC_FILE_H_

#include <stddef.h>

namespace weft {

struct FilePiece {
  const char* bytes;
  size_t size;
};

// Writes the pieces one after the other to a new file, which then takes the place of what is at
// `path` (fsync, rename, fsync of the folder): there is always either what was there or the whole
// new file. A process that is ended while it writes leaves nothing beside: the new file has no name
// (O_TMPFILE) until all of it is written and synced. Then it is called PATH.tmp.PROCESS.NUMBER
// until it takes the other's place, once more synced (some file systems ignore the first time);
// where the file system has no files without names, from the start. A file that is replaced keeps
// its permissions. A symbolic link stays, and what it points to is replaced. A device, a pipe, and
// a descriptor of this process
// (/dev/stdout) are written to where they stand. Returns 0 or an errno. Threads may call it at the
// same time.
int ReplaceFile(const char* path, const FilePiece* pieces, size_t count);

// Whether both paths lead to the same file, by whatever links, or are the same text: a file that is
// not there yet has no other way to be known.
bool IsSameFile(const char* a, const char* b);

}  // namespace weft

#endif  // WEFT_PROTO_CORE_ATOMIC_FILE_H_
