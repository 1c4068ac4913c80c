// A process that is killed while it saves a checkpoint leaves the one before, or the new one,
// whole: killed before and after each system call of the save, and at any other moment.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <random>
#include <string>

#include "absl/time/clock.h"
#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"

namespace {

// While it is not negative: how many moments of system calls are left before this process is
// killed.
int moments_left = -1;
// While it is not null: gets a letter for each call.
std::string* calls = nullptr;

// Writes are made short, so that there are several.
constexpr size_t kLongestWrite = 16;

void Moment() {
  if (moments_left >= 0 && moments_left-- == 0) kill(getpid(), SIGKILL);
}

template <typename... Arguments>
long Call(char letter, long number, Arguments... arguments) {
  Moment();
  const long result = syscall(number, arguments...);
  if (calls != nullptr) *calls += letter;
  Moment();
  return result;
}

}  // namespace

// In place of libc's, for all code that is linked into this program.
extern "C" {
int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(list, int) : 0;
  va_end(list);
  return static_cast<int>(Call('o', SYS_openat, AT_FDCWD, path, flags, mode));
}
ssize_t write(int fd, const void* bytes, size_t size) {
  return Call('w', SYS_write, fd, bytes, std::min(size, kLongestWrite));
}
int fsync(int fd) { return static_cast<int>(Call('s', SYS_fsync, fd)); }
int linkat(int from_folder, const char* from, int folder, const char* to, int flags) noexcept {
  return static_cast<int>(Call('l', SYS_linkat, from_folder, from, folder, to, flags));
}
int rename(const char* from, const char* to) noexcept {
  return static_cast<int>(Call('r', SYS_rename, from, to));
}
}  // extern "C"

namespace weft {
namespace {

class CheckpointCrash : public testing::Test {
 protected:
  CheckpointCrash() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  static std::unique_ptr<Session> Make() {
    SessionOptions options;
    options.threads = 1;
    auto session = Session::FromPackage(plan_testing::MakeTestPackage().Bytes(), options);
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }
  static absl::Status Set(Session& session, float value) {
    return session.SetVariables({{"w", HostTensor::Of<float>({4}, {value, value, value, value})}});
  }
  // What the file holds: one value, in all elements.
  float Saved() const {
    const auto session = Make();
    auto metadata = session->RestoreCheckpoint(path_);
    EXPECT_TRUE(metadata.ok()) << metadata.status();
    auto w = session->GetVariable("w");
    if (!w.ok()) return -1;
    const auto values = w->values<float>();
    for (const float value : values) EXPECT_EQ(value, values[0]);
    return values[0];
  }
  int64_t NumFiles() const {
    return std::distance(std::filesystem::directory_iterator(folder_), {});
  }
  const std::string folder_ = testing::TempDir() + "/crash";
  const std::string path_ = folder_ + "/checkpoint.safetensors";
};

TEST_F(CheckpointCrash, AtEachSystemCall) {
  const auto session = Make();
  ASSERT_TRUE(Set(*session, 1).ok());
  ASSERT_TRUE(session->SaveCheckpoint(path_).ok());
  std::string order;
  calls = &order;
  ASSERT_TRUE(session->SaveCheckpoint(path_).ok());
  calls = nullptr;
  // New file, its bytes, which are on the disk before it gets its name; then the folder. Where the
  // file system has none without a name, one with a name is opened.
  EXPECT_THAT(order, testing::AnyOf(testing::MatchesRegex("owww+slsros"),
                                    testing::MatchesRegex("oowww+sros")));
  const bool nameless = order.find('l') != std::string::npos;
  ASSERT_TRUE(Set(*session, 2).ok());
  bool replaced = false, ended = false;
  int64_t left = 0;
  for (int moments = 0; !ended && moments < 1000; ++moments) {
    SCOPED_TRACE(moments);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      moments_left = moments;
      const bool saved = session->SaveCheckpoint(path_).ok();
      moments_left = -1;
      _exit(saved ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ended = WIFEXITED(status);
    if (ended) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
    } else {
      EXPECT_EQ(WTERMSIG(status), SIGKILL);
    }
    const float saved = Saved();
    EXPECT_TRUE(saved == 2 || (saved == 1 && !replaced)) << saved;
    replaced = saved == 2;
    left += NumFiles() - 1;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path() != path_) std::filesystem::remove(entry.path());
    }
  }
  // Once it has a name, before and after it is synced, and before it takes the other's place.
  if (nameless) EXPECT_EQ(left, 4);
  EXPECT_TRUE(ended);
  EXPECT_TRUE(replaced);
}

TEST_F(CheckpointCrash, AtAnyMoment) {
  const auto session = Make();
  ASSERT_TRUE(Set(*session, 0).ok());
  ASSERT_TRUE(session->SaveCheckpoint(path_).ok());
  std::mt19937 random(7);
  float last = 0;
  int advanced = 0;
  // On a slow machine the child gets more time, until something is saved.
  for (int round = 0; round < 60 || advanced == 0; ++round) {
    const int longest = 60'000 << std::min(round / 60, 10);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (float value = last + 1;; ++value) {
        if (!Set(*session, value).ok() || !session->SaveCheckpoint(path_).ok()) _exit(1);
      }
    }
    absl::SleepFor(absl::Microseconds(static_cast<int>(random() % longest)));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    const float saved = Saved();
    ASSERT_GE(saved, last);
    advanced += saved > last;
    last = saved;
  }
}

}  // namespace
}  // namespace weft
