// The tiles of a launch, on the calling thread or shared with a pool's. Those work on one launch at
// a time; between launches they look for work for a while, then sleep. A launch never
// waits for a thread that has not joined it: tiles go to whoever is awake.
//
// A child that was forked has none of the threads. Its runs go on alone, and stopping the pool
// waits for nobody.
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "runtime/core/internal.h"

namespace {

using weft::core::Job;

// How long threads look for work before they sleep: waking one takes longer than most of what comes
// between the launches of a run.
constexpr int64_t kSpinNanoseconds = 100'000;
// Pauses, of 40 to 140 cycles each, before the clock is looked at again.
constexpr int kPauses = 16;
constexpr int kProcessorWords = 128;

// How long a run that can be interrupted goes on without looking, where tiles are shorter; and how
// long its first piece takes by the plan's figures, which a kernel may be many times slower than.
constexpr int64_t kNanosecondsOfPiece = 25'000;
constexpr double kNanosecondsOfFirstPiece = 2'000;

// WeftPool::gate: whether the job may be joined, how many more threads may, and how many have
// joined and not left.
constexpr uint32_t kOpen = 1u << 31;
constexpr uint32_t kOnePlace = 1u << 15;
constexpr uint32_t kPlaces = 0xffffu << 15;
constexpr uint32_t kRunning = kOnePlace - 1;

void FutexWait(std::atomic<uint32_t>* word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void FutexWake(std::atomic<uint32_t>* word, int threads) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}
void Pause() { __builtin_ia32_pause(); }

// Whether `condition` came to hold while this thread was looking.
template <typename Condition>
bool SpinUntil(const Condition& condition) {
  int64_t end = 0;
  for (;;) {
    for (int i = 0; i < kPauses; ++i) {
      if (condition()) return true;
      Pause();
    }
    const int64_t now = weft::core::Now();
    if (end == 0) end = now + kSpinNanoseconds;
    if (now >= end) return false;
  }
}

struct Worker {
  WeftPool* pool;
  pthread_t thread;
  int number;      // 1 for the first; 0 is the calling thread
  uint32_t epoch;  // when it was started
};

}  // namespace

struct WeftPool {
  int threads = 1;  // at most, the calling one included
  // Threads that have started, the process that they are in, and whether the system refused one.
  // They belong to whoever holds `busy`.
  int workers = 0;
  pid_t process = 0;
  bool refused = false;
  // The job belongs to whoever set this from 0 to 1.
  alignas(64) std::atomic<uint32_t> busy{0};
  // Counts jobs; what sleeping workers wait for.
  alignas(64) std::atomic<uint32_t> epoch{0};
  std::atomic<uint32_t> sleepers{0};
  std::atomic<uint32_t> stop{0};
  alignas(64) std::atomic<uint32_t> gate{0};
  std::atomic<uint32_t> owner_sleeps{0};
  std::atomic<int> owner_processor{-1};
  alignas(64) std::atomic<int64_t> next_tile{0};
  // Why the job was interrupted.
  std::atomic<int> interrupted{WEFT_OK};
  // Written while the gate is closed and nobody runs; read by those who joined.
  alignas(64) Job job = {};
  int64_t largest_piece = 1;

  Worker* worker(int index) { return reinterpret_cast<Worker*>(this + 1) + index; }
};

namespace {

// Takes pieces of the job's tiles from `next` until none are left, or until the job is interrupted:
// then it leaves none to others. Kernels may be called with any number of tiles at once; where the
// job can be interrupted, pieces start small and grow until one takes a good while.
int Drain(const Job& job, void* scratch, int64_t largest_piece, std::atomic<int64_t>* next) {
  const bool looks = job.interrupt.possible();
  int64_t piece = largest_piece;
  if (looks) {
    // In floating point, which cannot overflow. What tells nothing of its time starts with a tile.
    const double tile_nanoseconds =
        static_cast<double>(job.nanoseconds) / static_cast<double>(job.tiles);
    const double tiles = tile_nanoseconds > 0 ? kNanosecondsOfFirstPiece / tile_nanoseconds : 1;
    if (tiles < static_cast<double>(piece)) piece = tiles > 1 ? static_cast<int64_t>(tiles) : 1;
  }
  int64_t before = looks ? weft::core::Now() : 0;
  for (;;) {
    const int64_t begin = next->fetch_add(piece, std::memory_order_relaxed);
    if (begin >= job.tiles) return WEFT_OK;
    const int64_t end = job.tiles - begin < piece ? job.tiles : begin + piece;
    job.kernel(job.buffers, job.sizes, begin, end, scratch);
    if (!looks || end == job.tiles) continue;
    if (const int result = weft::core::Interrupted(job.interrupt); result != WEFT_OK) {
      next->store(job.tiles, std::memory_order_relaxed);
      return result;
    }
    const int64_t now = weft::core::Now();
    if (now - before < kNanosecondsOfPiece && piece <= largest_piece / 2) piece *= 2;
    before = now;
  }
}

void DrainPool(WeftPool* pool, int number) {
  const int result = Drain(pool->job, pool->job.scratch + number * pool->job.scratch_stride,
                           pool->largest_piece, &pool->next_tile);
  if (result != WEFT_OK) pool->interrupted.store(result, std::memory_order_relaxed);
}

bool Join(WeftPool* pool) {
  uint32_t gate = pool->gate.load(std::memory_order_acquire);
  while ((gate & kOpen) != 0 && (gate & kPlaces) != 0) {
    if (pool->gate.compare_exchange_weak(gate, gate - kOnePlace + 1, std::memory_order_acq_rel,
                                         std::memory_order_acquire)) {
      return true;
    }
  }
  return false;
}

void Leave(WeftPool* pool) {
  const uint32_t gate = pool->gate.fetch_sub(1, std::memory_order_seq_cst) - 1;
  if ((gate & (kOpen | kRunning)) == 0 && pool->owner_sleeps.load(std::memory_order_seq_cst) != 0) {
    FutexWake(&pool->gate, 1);
  }
}

// Bits of processors.
struct Processors {
  uint64_t words[kProcessorWords] = {};

  cpu_set_t* set() { return reinterpret_cast<cpu_set_t*>(words); }
  // Those that this thread may use.
  bool Read() { return sched_getaffinity(0, sizeof(words), set()) == 0; }
  bool Write() { return sched_setaffinity(0, sizeof(words), set()) == 0; }
};

// A system may wake a thread on the very processor that the owner keeps busy, where it helps nobody
// (guests of a hypervisor do, since a processor that idles looks as if it were taken away). It then
// goes to any other that it may use. Which those are is for others to say (the program, taskset),
// so they are as before right away; what others say within these few microseconds is lost.
void LeaveOwnersProcessor(const WeftPool* pool) {
  const int processor = sched_getcpu();
  if (processor < 0 || processor != pool->owner_processor.load(std::memory_order_relaxed)) return;
  if (processor >= 64 * kProcessorWords) return;
  Processors allowed;
  if (!allowed.Read()) return;
  Processors others = allowed;
  others.words[processor / 64] &= ~(uint64_t{1} << (processor % 64));
  // Moves this thread before it returns; refused where none is left.
  if (others.Write()) allowed.Write();
}

// Returns the new epoch.
uint32_t WaitForEpochAfter(WeftPool* pool, uint32_t seen) {
  uint32_t epoch = seen;
  const auto changed = [&] {
    epoch = pool->epoch.load(std::memory_order_acquire);
    return epoch != seen;
  };
  LeaveOwnersProcessor(pool);
  if (SpinUntil(changed)) return epoch;
  for (;;) {
    // In this order, and the owner in the reverse one: either it sees a sleeper, or the kernel sees
    // the new epoch.
    pool->sleepers.fetch_add(1, std::memory_order_seq_cst);
    FutexWait(&pool->epoch, seen);
    pool->sleepers.fetch_sub(1, std::memory_order_seq_cst);
    if (changed()) return epoch;
  }
}

void* WorkerMain(void* argument) {
  Worker* worker = static_cast<Worker*>(argument);
  WeftPool* pool = worker->pool;
  uint32_t seen = worker->epoch;
  for (;;) {
    seen = WaitForEpochAfter(pool, seen);
    if (pool->stop.load(std::memory_order_acquire) != 0) return nullptr;
    LeaveOwnersProcessor(pool);
    if (Join(pool)) {
      DrainPool(pool, worker->number);
      Leave(pool);
    }
  }
}

// Starts threads until there are so many, as far as the system lets.
void StartWorkers(WeftPool* pool, int workers) {
  if (pool->refused) return;
  if (pool->workers == 0) pool->process = getpid();
  if (pool->process != getpid()) return;
  // Signals are for the threads of the program, not for these; but for those that a kernel raises
  // itself, which would end the process if they could not reach its handlers.
  sigset_t others, before;
  sigfillset(&others);
  constexpr int kOwn[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
  for (const int own : kOwn) sigdelset(&others, own);
  pthread_sigmask(SIG_SETMASK, &others, &before);
  while (pool->workers < workers) {
    Worker* worker = pool->worker(pool->workers);
    *worker = {pool, {}, pool->workers + 1, pool->epoch.load(std::memory_order_relaxed)};
    pool->refused = pthread_create(&worker->thread, nullptr, WorkerMain, worker) != 0;
    if (pool->refused) break;
    ++pool->workers;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void NextEpoch(WeftPool* pool, int wake) {
  pool->epoch.fetch_add(1, std::memory_order_seq_cst);
  if (pool->sleepers.load(std::memory_order_seq_cst) != 0) FutexWake(&pool->epoch, wake);
}

// After closing the gate: until all who joined have left.
void WaitForOthers(WeftPool* pool) {
  if (SpinUntil([&] { return (pool->gate.load(std::memory_order_acquire) & kRunning) == 0; })) {
    return;
  }
  pool->owner_sleeps.store(1, std::memory_order_seq_cst);
  for (;;) {
    const uint32_t gate = pool->gate.load(std::memory_order_seq_cst);
    if ((gate & kRunning) == 0) break;
    FutexWait(&pool->gate, gate);
  }
  pool->owner_sleeps.store(0, std::memory_order_relaxed);
}

}  // namespace

namespace weft::core {

WEFT_CORE_WEAK int RunAlone(const Job& job) {
  if (!job.interrupt.possible() || job.tiles == 1) {
    job.kernel(job.buffers, job.sizes, 0, job.tiles, job.scratch);
    return WEFT_OK;
  }
  std::atomic<int64_t> next{0};
  return Drain(job, job.scratch, job.tiles, &next);
}

WEFT_CORE_WEAK int RunOnPool(WeftPool* pool, const Job& job, int helpers) {
  uint32_t idle = 0;
  if (!pool->busy.compare_exchange_strong(idle, 1, std::memory_order_acquire,
                                          std::memory_order_relaxed)) {
    return RunAlone(job);
  }
  if (helpers > pool->workers) StartWorkers(pool, helpers);
  if (helpers > pool->workers) helpers = pool->workers;
  pool->job = job;
  // Several pieces for each thread, since they start late and run at different speeds.
  const int64_t piece = job.tiles / (4 * (int64_t{helpers} + 1));
  pool->largest_piece = piece > 1 ? piece : 1;
  pool->interrupted.store(WEFT_OK, std::memory_order_relaxed);
  pool->owner_processor.store(sched_getcpu(), std::memory_order_relaxed);
  pool->next_tile.store(0, std::memory_order_relaxed);
  pool->gate.store(kOpen | static_cast<uint32_t>(helpers) * kOnePlace, std::memory_order_release);
  NextEpoch(pool, helpers);
  DrainPool(pool, 0);
  pool->gate.fetch_and(kRunning, std::memory_order_acq_rel);
  WaitForOthers(pool);
  const int result = pool->interrupted.load(std::memory_order_relaxed);
  pool->busy.store(0, std::memory_order_release);
  return result;
}

}  // namespace weft::core

WEFT_CORE_DEFINITION size_t weft_pool_bytes(int threads) {
  if (threads > WEFT_MAX_THREADS) threads = WEFT_MAX_THREADS;
  const int64_t workers = threads > 1 ? threads - 1 : 0;
  return static_cast<size_t>(
      weft::core::AlignUp(static_cast<int64_t>(sizeof(WeftPool) + sizeof(Worker) * workers)));
}

WEFT_CORE_DEFINITION WeftPool* weft_pool_start(void* memory, int threads) {
  WeftPool* pool = ::new (memory) WeftPool;
  if (threads > WEFT_MAX_THREADS) threads = WEFT_MAX_THREADS;
  if (threads > 1) pool->threads = threads;
  return pool;
}

WEFT_CORE_DEFINITION int weft_pool_threads(const WeftPool* pool) { return pool->threads; }

WEFT_CORE_DEFINITION void weft_pool_stop(WeftPool* pool) {
  if (pool->workers == 0 || pool->process != getpid()) return;
  pool->stop.store(1, std::memory_order_release);
  NextEpoch(pool, INT_MAX);
  for (int i = 0; i < pool->workers; ++i) pthread_join(pool->worker(i)->thread, nullptr);
}
