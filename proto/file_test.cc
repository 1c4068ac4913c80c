#include "proto/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace weft {
namespace {

std::string Folder() {
  const std::string folder =
      testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

size_t NumFiles(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(WriteFileAtomically, ReplacesAndLeavesNothingBeside) {
  const std::string folder = Folder();
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "old").ok());
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", {"ne", "", "w"}).ok());
  EXPECT_EQ(Read(folder + "/a"), "new");
  EXPECT_EQ(NumFiles(folder), 1u);
}

// As long as names can be, of which the temporary file's has more.
TEST(WriteFileAtomically, WritesLongNames) {
  const std::string folder = Folder();
  const std::string path = folder + "/" + std::string(255, 'n');
  for (const char* text : {"old", "new"}) {
    const absl::Status status = WriteFileAtomically(path, text);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Read(path), text);
  }
  EXPECT_EQ(NumFiles(folder), 1u);
  EXPECT_FALSE(WriteFileAtomically(path + "n", "x").ok());
}

TEST(WriteFileAtomically, WritesThroughASymbolicLink) {
  const std::string folder = Folder();
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "old").ok());
  std::filesystem::create_symlink(folder + "/a", folder + "/link");
  ASSERT_TRUE(WriteFileAtomically(folder + "/link", "new").ok());
  EXPECT_TRUE(std::filesystem::is_symlink(folder + "/link"));
  EXPECT_EQ(Read(folder + "/a"), "new");
  // Also to what is not there yet, by links that lead to links.
  std::filesystem::create_directory(folder + "/real");
  std::filesystem::create_symlink("real/b", folder + "/first");
  std::filesystem::create_symlink("first", folder + "/second");
  ASSERT_TRUE(WriteFileAtomically(folder + "/second", "made").ok());
  EXPECT_TRUE(std::filesystem::is_symlink(folder + "/first"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder + "/second"));
  EXPECT_EQ(Read(folder + "/real/b"), "made");
  std::filesystem::create_symlink("round", folder + "/round");
  EXPECT_FALSE(WriteFileAtomically(folder + "/round", "x").ok());
}

TEST(WriteFileAtomically, GoesOnWhereADescriptorStands) {
  const std::string folder = Folder(), path = folder + "/log";
  ASSERT_TRUE(WriteFileAtomically(path, "before ").ok());
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND);
  ASSERT_GE(fd, 0);
  struct stat info;
  ASSERT_EQ(fstat(fd, &info), 0);
  const std::string number = std::to_string(fd);
  const std::string link = folder + "/link";
  std::filesystem::create_symlink("/dev/fd/" + number, link);
  std::filesystem::create_symlink("link", folder + "/second");
  for (const std::string& name :
       {"/dev/fd/" + number, "/proc/self/fd/" + number, "/proc/thread-self/fd/" + number,
        "/proc/" + std::to_string(getpid()) + "/fd/" + number, link, folder + "/second"}) {
    EXPECT_TRUE(WriteFileAtomically(name, "x").ok()) << name;
  }
  close(fd);
  EXPECT_EQ(Read(path), "before xxxxxx");
  struct stat after;
  ASSERT_EQ(stat(path.c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, info.st_ino);
  EXPECT_FALSE(WriteFileAtomically("/dev/fd/" + number, "x").ok());
}

TEST(WriteFileAtomically, KeepsPermissions) {
  const std::string folder = Folder();
  const auto mode = [](const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(stat(path.c_str(), &info), 0);
    return info.st_mode & 0777;
  };
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "old").ok());
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(mode(folder + "/a"), 0666 & ~mask);
  for (const mode_t kept : {0600, 0640, 0777}) {
    ASSERT_EQ(chmod((folder + "/a").c_str(), kept), 0);
    ASSERT_TRUE(WriteFileAtomically(folder + "/a", "new").ok());
    EXPECT_EQ(mode(folder + "/a"), kept);
  }
}

// As after a crash of a process with this process's number.
TEST(WriteFileAtomically, PassesByWhatACrashLeft) {
  const std::string folder = Folder();
  for (int i = 0; i < 2000; ++i) {
    std::ofstream(folder + "/a.tmp." + std::to_string(getpid()) + "." + std::to_string(i)) << "x";
  }
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "new").ok());
  EXPECT_EQ(Read(folder + "/a"), "new");
  EXPECT_EQ(NumFiles(folder), 2001u);
}

TEST(WriteFileAtomically, NamesThePathInErrors) {
  const std::string folder = Folder();
  absl::Status status = WriteFileAtomically(folder + "/none/a", "x");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(status.message()).find(folder + "/none/a"), std::string::npos);
  EXPECT_EQ(WriteFileAtomically(folder, "x").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(NumFiles(folder), 0u);
}

TEST(WriteFileAtomically, AFailureLeavesTheOldFile) {
  const std::string folder = Folder();
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "old").ok());
  EXPECT_EQ(WriteFileAtomically("/dev/full", "x").code(), absl::StatusCode::kResourceExhausted);
  std::filesystem::create_directories(folder + "/a.d");
  EXPECT_FALSE(WriteFileAtomically(folder + "/a.d", "x").ok());
  EXPECT_EQ(Read(folder + "/a"), "old");
  EXPECT_EQ(NumFiles(folder), 2u);
}

// The signal that ends a child which may not write more.
int last_signal = 0;

// A child process that writes `bytes` to `path`, with `limit` as the largest file that it may
// write, and returns 0 where the write went well. Where there is a `last`, that signal ends it at
// the limit, in the middle of the write. Its wait status.
int WriteInChild(const std::string& path, const std::string& bytes, size_t limit, int last = 0) {
  const pid_t child = fork();
  if (child == 0) {
    last_signal = last;
    signal(SIGXFSZ, last == 0 ? SIG_IGN : [](int) { kill(getpid(), last_signal); });
    const rlimit no_core = {0, 0}, size = {limit, limit};
    setrlimit(RLIMIT_CORE, &no_core);
    setrlimit(RLIMIT_FSIZE, &size);
    _exit(WriteFileAtomically(path, bytes).ok() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(WriteFileAtomically, AFullDiskLeavesTheOldFileAndNothingElse) {
  const std::string folder = Folder();
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "old").ok());
  for (const size_t limit : {0, 1, 4096, 99'999}) {
    const int status = WriteInChild(folder + "/a", std::string(100'000, 'n'), limit);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
    EXPECT_EQ(Read(folder + "/a"), "old");
    EXPECT_EQ(NumFiles(folder), 1u);
  }
  EXPECT_EQ(WriteInChild(folder + "/a", std::string(100'000, 'n'), 100'000), 0);
  EXPECT_EQ(Read(folder + "/a"), std::string(100'000, 'n'));
}

// A process that ends in the middle of a write leaves the old file, and nothing else where the file
// system has files without names; what it leaves elsewhere does not keep others from writing.
TEST(WriteFileAtomically, ADeathInTheMiddleLeavesTheOldFile) {
  const std::string folder = Folder();
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "old").ok());
  const int nameless = open(folder.c_str(), O_WRONLY | O_TMPFILE, 0600);
  for (const int signal : {SIGINT, SIGTERM, SIGKILL}) {
    const int status = WriteInChild(folder + "/a", std::string(100'000, 'n'), 4096, signal);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_EQ(Read(folder + "/a"), "old");
    if (nameless >= 0) EXPECT_EQ(NumFiles(folder), 1u);
  }
  close(nameless);
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "new").ok());
  EXPECT_EQ(Read(folder + "/a"), "new");
}

TEST(SameFile, SeesThroughLinksAndOtherPaths) {
  const std::string folder = Folder(), a = folder + "/a", b = folder + "/b";
  ASSERT_TRUE(WriteFileAtomically(a, "x").ok());
  ASSERT_TRUE(WriteFileAtomically(b, "x").ok());
  std::filesystem::create_symlink(a, folder + "/soft");
  std::filesystem::create_hard_link(a, folder + "/hard");
  for (const char* other :
       {"/a", "/soft", "/hard", "/./a", "/../SeesThroughLinksAndOtherPaths/a"}) {
    EXPECT_TRUE(SameFile(a, folder + other)) << other;
    EXPECT_FALSE(SameFile(b, folder + other)) << other;
  }
  EXPECT_TRUE(SameFile("none", "none"));
  EXPECT_FALSE(SameFile(a, folder + "/none"));
  EXPECT_FALSE(SameFile(a, ""));
}

TEST(Bytes, MapsFiles) {
  const std::string folder = Folder();
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "content").ok());
  ASSERT_TRUE(WriteFileAtomically(folder + "/empty", "").ok());
  auto bytes = Bytes::Map(folder + "/a");
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ((*bytes)->view(), "content");
  EXPECT_GE((*bytes)->fd(), 0);
  // A replaced file stays as it was for those who mapped it.
  ASSERT_TRUE(WriteFileAtomically(folder + "/a", "CONTENT").ok());
  EXPECT_EQ((*bytes)->view(), "content");
  auto empty = Bytes::Map(folder + "/empty");
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ((*empty)->view(), "");
}

// What is small is read, and so stays as it was whatever is done to the file.
TEST(Bytes, LoadsSmallFilesIntoMemory) {
  const std::string path = Folder() + "/a";
  ASSERT_TRUE(WriteFileAtomically(path, "content").ok());
  auto bytes = Bytes::Load(path);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  std::ofstream(path) << "CO";
  EXPECT_EQ((*bytes)->view(), "content");
  EXPECT_EQ((*bytes)->fd(), -1);
  EXPECT_EQ((*bytes)->path(), path);
  EXPECT_EQ(reinterpret_cast<uintptr_t>((*bytes)->view().data()) % 64, 0u);
  for (const size_t size : {size_t{0}, Bytes::kMostRead, Bytes::kMostRead + 1}) {
    std::filesystem::resize_file(path, size);
    bytes = Bytes::Load(path);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_EQ((*bytes)->view().size(), size);
    EXPECT_EQ((*bytes)->fd() >= 0, size > Bytes::kMostRead) << size;
  }
  EXPECT_EQ(Bytes::Load(path + "b").status().code(), absl::StatusCode::kNotFound);
}

TEST(Bytes, RefusesWhatIsNoFile) {
  const std::string folder = Folder();
  EXPECT_EQ(Bytes::Map(folder + "/none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Bytes::Map(folder).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Bytes::Map("/dev/null").status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(mkfifo((folder + "/pipe").c_str(), 0600), 0);
  EXPECT_EQ(Bytes::Map(folder + "/pipe").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Bytes, InMemoryAreAligned) {
  auto bytes = Bytes::Of("xyz");
  EXPECT_EQ(bytes->view(), "xyz");
  EXPECT_EQ(bytes->fd(), -1);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes->view().data()) % 64, 0u);
  EXPECT_EQ(Bytes::Of("")->view(), "");
}

}  // namespace
}  // namespace weft
