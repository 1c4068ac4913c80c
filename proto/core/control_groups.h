// The control groups that this process is in, which say what a container may take. Both versions of
// them may be mounted at once. Freestanding, as all in this folder.
#ifndef WEFT_PROTO_CORE_CONTROL_GROUPS_H_
#define WEFT_PROTO_CORE_CONTROL_GROUPS_H_

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

namespace weft {

// The start of a file; "" where there is none.
template <size_t kSize>
struct FileStart {
  explicit FileStart(const char* path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    size_t size = 0;
    for (ssize_t got; size < kSize - 1 && (got = read(fd, text + size, kSize - 1 - size)) > 0;) {
      size += static_cast<size_t>(got);
    }
    text[size] = '\0';
    close(fd);
  }
  char text[kSize] = {};
};

// A path that is put together, on the stack. What does not fit makes it one that is not there.
struct StackPath {
  void Add(const char* piece, size_t length) {
    fits = fits && length < sizeof(text) - size;
    if (!fits) return;
    memcpy(text + size, piece, length);
    size += length;
    text[size] = '\0';
  }
  void Add(const char* piece) { Add(piece, strlen(piece)); }
  // To a length that it had.
  void CutTo(size_t length) {
    size = length;
    text[size] = '\0';
    fits = true;
  }
  const char* name() const { return fits ? text : ""; }
  char text[4096] = "";
  size_t size = 0;
  bool fits = true;
};

// A file of the group in `folder`, which is as before afterwards.
template <size_t kSize>
FileStart<kSize> ReadInGroup(StackPath* folder, const char* name) {
  const size_t size = folder->size;
  folder->Add(name);
  const FileStart<kSize> file(folder->name());
  folder->CutTo(size);
  return file;
}

// Calls visit(StackPath* folder, bool version2) for each group that limits `controller` ("cpu",
// "memory"): those that /proc/self/cgroup names, and those that these are in, up to where groups
// are mounted. A container's groups may have the names that they have outside of it: folders need
// not exist. `root` comes before every path ("" but in tests); visit leaves the path as it was.
template <typename Visit>
void ForEachControlGroup(const char* root, const char* controller, const Visit& visit) {
  StackPath folder;
  // From the group at `group` under the mount that `folder` names upward.
  const auto upward = [&](const char* group, size_t group_size, bool version2) {
    const size_t top = folder.size;
    // Longer than any path that can be opened.
    if (group_size < sizeof(folder.text) / 2) folder.Add(group, group_size);
    while (true) {
      while (folder.size > top && folder.text[folder.size - 1] == '/')
        folder.CutTo(folder.size - 1);
      visit(&folder, version2);
      if (folder.size <= top) return;
      size_t size = folder.size - 1;
      while (size > top && folder.text[size] != '/') --size;
      folder.CutTo(size);
    }
  };
  const auto mounted = [&](const char* mount, size_t mount_size, const char* group,
                           size_t group_size, bool version2) {
    folder.CutTo(0);
    folder.Add(root);
    folder.Add("/sys/fs/cgroup");
    folder.Add(mount, mount_size);
    upward(group, group_size, version2);
  };

  StackPath membership;
  membership.Add(root);
  membership.Add("/proc/self/cgroup");
  // Lines such as "0::/user.slice" (version 2) and "4:cpu,cpuacct:/docker/1f" (version 1), where a
  // folder has the list's name, and links may have those of its members.
  const FileStart<8192> file(membership.name());
  const size_t controller_size = strlen(controller);
  for (const char* line = file.text; *line != '\0';) {
    const char* end = line;
    while (*end != '\0' && *end != '\n') ++end;
    const char* list = line;
    while (list < end && *list != ':') ++list;
    if (list < end) ++list;
    const char* group = list;
    while (group < end && *group != ':') ++group;
    if (group < end) {
      const auto list_size = static_cast<size_t>(group - list);
      ++group;
      const auto group_size = static_cast<size_t>(end - group);
      if (list_size == 0) {
        mounted("", 0, group, group_size, true);
        mounted("/unified", strlen("/unified"), group, group_size, true);
      }
      for (const char* name = list; name + controller_size <= list + list_size; ++name) {
        const char* after = name + controller_size;
        if (memcmp(name, controller, controller_size) != 0 || (name > list && name[-1] != ',') ||
            (after < list + list_size && *after != ',')) {
          continue;
        }
        char mount[128] = "/";
        if (list_size + 2 > sizeof(mount)) continue;
        memcpy(mount + 1, list, list_size);
        mounted(mount, list_size + 1, group, group_size, false);
        if (list_size == controller_size) continue;
        memcpy(mount + 1, controller, controller_size);
        mounted(mount, controller_size + 1, group, group_size, false);
      }
    }
    line = *end == '\0' ? end : end + 1;
  }
}

}  // namespace weft

#endif  // WEFT_PROTO_CORE_CONTROL_GROUPS_H_
