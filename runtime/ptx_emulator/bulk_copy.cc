#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/ptx_emulator/async.h"
#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/lanes.h"
#include "runtime/ptx_emulator/racing_bytes.h"
#include "runtime/ptx_emulator/tensor_map.h"
#include "runtime/ptx_emulator/text.h"

// cp.async.bulk: plain pieces of memory, and boxes of tensors (TMA). What is loaded arrives when a
// wait on its mbarrier would otherwise fail; what is stored is read from shared memory as late as a
// wait for its group allows.
namespace weft::ptx {
namespace {

struct Detail {
  int64_t other_offset = 0;  // of the operand that is not instruction.offset's
  int64_t barrier_offset = 0;
  bool other_short = false;
  bool barrier_short = false;
  int rank = 0;         // 0: a plain piece
  bool im2col = false;  // the offsets of the pixel are the last sources
};

uint64_t At(Warp& warp, const Ref& ref, bool is_short, int64_t offset, int lane) {
  return (is_short ? warp.Lanes<uint32_t>(ref)[lane] : warp.Lanes<uint64_t>(ref)[lane]) +
         static_cast<uint64_t>(offset);
}

// A row of a box: where it lies in global memory, null where all of it is outside of the tensor,
// and at which byte of the box it begins.
struct Row {
  std::byte* data = nullptr;
  uint8_t* written = nullptr;
  uint32_t offset = 0;
  uint32_t before = 0;  // bytes outside of the tensor at the start
  uint32_t inside = 0;  // bytes inside, behind those
  std::shared_ptr<Allocation> holder = nullptr;
};

// Coordinates in a tensor. Those of windows may pass any image's.
using Place = std::array<int64_t, 5>;

// The row that begins there. Everything inside of the tensor has to be in an allocation.
Row RowAt(Warp& warp, int lane, const TensorMap& map, const Place& place, uint32_t offset,
          bool write) {
  Row row;
  row.offset = offset;
  uint64_t address = map.address;
  bool inside = true;
  for (int i = 1; i < map.rank; ++i) {
    inside &= place[i] >= 0 && static_cast<uint64_t>(place[i]) < map.sizes[i];
    address += static_cast<uint64_t>(place[i]) * map.stride_bytes[i];
  }
  const int64_t first = std::max<int64_t>(place[0], 0);
  const int64_t end = std::min<int64_t>(place[0] + map.box[0], static_cast<int64_t>(map.sizes[0]));
  if (!inside || first >= end) return row;
  row.before = static_cast<uint32_t>(first - place[0]) * map.element_bytes;
  row.inside = static_cast<uint32_t>(end - first) * map.element_bytes;
  const Block::GlobalBytes bytes = warp.block().Global(
      warp, lane, address + static_cast<uint64_t>(first) * map.element_bytes, row.inside, write);
  row.data = bytes.data;
  row.written = bytes.written;
  if (row.data != nullptr) row.holder = warp.block().Holder(warp);
  return row;
}

// The rows of the box at the coordinates.
std::vector<Row> RowsOf(Warp& warp, int lane, const TensorMap& map, const int32_t* coordinates,
                        bool write) {
  std::vector<Row> rows;
  uint32_t count = 1;
  for (int i = 1; i < map.rank; ++i) count *= map.box[i];
  const uint32_t row_bytes = map.box[0] * map.element_bytes;
  for (uint32_t r = 0; r < count; ++r) {
    Place place = {coordinates[0]};
    uint32_t rest = r;
    for (int i = 1; i < map.rank; ++i) {
      place[i] = coordinates[i] + int64_t{rest % map.box[i]};
      rest /= map.box[i];
    }
    rows.push_back(RowAt(warp, lane, map, place, r * row_bytes, write));
  }
  return rows;
}

// The rows that are a pixel of each of several windows: the coordinates are of the first window's
// corner, and the offsets lead from there to the pixel. Windows follow one another as far as their
// bounding box goes, whatever the offsets, then in the next line, and then in the next image.
// Nothing, where the first one is outside of the box: nothing says which are the next.
std::vector<Row> PixelsOf(Warp& warp, int lane, const TensorMap& map, const int32_t* coordinates,
                          const uint16_t* offsets) {
  const int images = map.rank - 1;
  Place window = {};
  for (int i = 0; i < map.rank; ++i) window[i] = coordinates[i];
  const auto end = [&](int i) {
    return static_cast<int64_t>(map.sizes[i]) + map.upper_corner[i - 1];
  };
  for (int i = 1; i < images; ++i) {
    const int32_t lower = map.lower_corner[i - 1];
    if (window[i] < lower || window[i] >= end(i)) {
      warp.Report(FindingKind::kMisuse, lane,
                  Cat("expected a window from ", lower, " to ", end(i) - 1, " along dimension ", i,
                      ", got one at ", window[i]));
      return {};
    }
    const int bits = kIm2colBits[map.rank - 3];
    if (offsets[i - 1] >> bits != 0) {
      warp.Report(FindingKind::kMisuse, lane,
                  Cat("expected offsets below ", 1 << bits, ", got ", offsets[i - 1]));
      return {};
    }
  }
  std::vector<Row> rows;
  for (uint32_t r = 0; r < map.box[1]; ++r) {
    Place pixel = window;
    for (int i = 1; i < images; ++i) pixel[i] += offsets[i - 1];
    rows.push_back(RowAt(warp, lane, map, pixel, r * map.box[0] * map.element_bytes, false));
    int i = 1;
    for (; i < images; ++i) {
      window[i] += map.element_strides[i - 1];
      if (window[i] < end(i)) break;
      window[i] = map.lower_corner[i - 1];
    }
    if (i == images) ++window[images];
  }
  return rows;
}

void CheckWritten(Warp& warp, int lane, const uint8_t* written, uint64_t bytes,
                  std::string_view what) {
  if (!NoneIsZero(written, bytes)) {
    warp.Report(FindingKind::kUninitializedMemory, lane,
                Cat("copies bytes of ", what, " that were never written"));
  }
}

bool ReadMap(Warp& warp, int lane, uint64_t address, TensorMap* map) {
  std::byte encoded[kTensorMapBytes];
  for (int i = 0; i < kTensorMapBytes; i += 16) {
    if (!warp.block().Load(warp, lane, Space::kGeneric, address + i, 16, encoded + i)) return false;
  }
  if (address % 64 != 0) {
    warp.Report(FindingKind::kMisuse, lane, "a tensor map has to be aligned to 64 bytes", address);
    return false;
  }
  const absl::Status status = DecodeTensorMap(encoded, map);
  if (!status.ok()) warp.Report(FindingKind::kMisuse, lane, std::string(status.message()), address);
  return status.ok();
}

struct Request {
  uint32_t shared = 0;
  uint32_t bytes = 0;
  uint32_t row_bytes = 0;
  uint32_t swizzle = 0;
  std::vector<Row> rows;

  // The pieces of shared memory that the request touches. A swizzle exchanges 16-byte columns
  // within lines of its size: lines that are full stay in place as a whole, and of a last one that
  // is not, the columns lie apart, also behind the request's number of bytes.
  template <typename Function>
  void ForPieces(const Function& function) const {
    const uint32_t lines = swizzle == 0 ? bytes : bytes / swizzle * swizzle;
    if (lines > 0) function(shared, static_cast<int>(lines));
    for (uint32_t at = lines; at < bytes; at += 16) function(Swizzle(shared + at, swizzle), 16);
  }
};

// What a request takes of the host's memory until it completes.
uint64_t HeldBytes(const Request& request) {
  return sizeof(Request) + request.rows.size() * sizeof(Row) + request.bytes;
}

// Puts one row into shared memory, swizzled, with zeros for what is outside of the tensor.
void PlaceRow(SharedMemory& shared, const Request& request, const Row& row) {
  std::vector<std::byte> bytes(request.row_bytes);
  if (row.data != nullptr) LoadRacing(bytes.data() + row.before, row.data, row.inside);
  for (uint32_t i = 0; i < request.row_bytes; i += 16) {
    std::memcpy(shared.data(Swizzle(request.shared + row.offset + i, request.swizzle), 16),
                bytes.data() + i, 16);
  }
}

// Whether the shared side of a request lies in a variable, aligned, with nothing under way on it.
bool CheckShared(Warp& warp, int lane, uint64_t address, const Detail& detail, bool write,
                 Request* request) {
  Block& block = warp.block();
  const uint64_t alignment = detail.rank == 0 ? 16 : 128;
  if (request->swizzle == 0 || request->bytes % request->swizzle == 0) {
    request->shared = static_cast<uint32_t>(address);
    return block.CheckShared(warp, lane, address, request->bytes, alignment, write);
  }
  if (!block.CheckShared(warp, lane, address, 16, alignment, write)) return false;
  request->shared = static_cast<uint32_t>(address);
  bool fits = true;
  request->ForPieces([&](uint32_t at, int bytes) {
    fits = fits && block.CheckShared(warp, lane, at, bytes, 16, write);
  });
  return fits;
}

// The global side of a request: the rows of a box, or one piece.
bool FillRequest(Warp& warp, const Instruction& instruction, const Detail& detail, int lane,
                 bool store, const Ref& global, const Ref* rest, Request* request) {
  const uint64_t address = At(warp, global, store ? instruction.short_address : detail.other_short,
                              store ? instruction.offset : detail.other_offset, lane);
  if (detail.rank == 0) {
    request->bytes = request->row_bytes = warp.Lanes<uint32_t>(rest[0])[lane];
    if (request->bytes == 0 || request->bytes % 16 != 0 || address % 16 != 0) {
      warp.Report(FindingKind::kMisaligned, lane,
                  Cat("a bulk copy of ", request->bytes,
                      " bytes: expected size and addresses to be multiples of 16"),
                  address);
      return false;
    }
    const Block::GlobalBytes bytes =
        warp.block().Global(warp, lane, address, request->bytes, store);
    if (bytes.data == nullptr) return false;
    request->rows.push_back(
        {bytes.data, bytes.written, 0, 0, request->bytes, warp.block().Holder(warp)});
    return true;
  }
  TensorMap map;
  if (!ReadMap(warp, lane, address, &map)) return false;
  if (map.rank != detail.rank || map.im2col != detail.im2col) {
    const auto mode = [](bool im2col) { return im2col ? " (im2col)" : ""; };
    warp.Report(FindingKind::kMisuse, lane,
                Cat("copies a box of ", detail.rank, " dimensions", mode(detail.im2col),
                    " of a tensor map of ", map.rank, mode(map.im2col)),
                address);
    return false;
  }
  int32_t coordinates[5] = {};
  for (int i = 0; i < detail.rank; ++i) coordinates[i] = warp.Lanes<int32_t>(rest[i])[lane];
  if (map.im2col) {
    uint16_t offsets[3] = {};
    for (int i = 0; i < detail.rank - 2; ++i) {
      offsets[i] = warp.Lanes<uint16_t>(rest[detail.rank + i])[lane];
    }
    request->rows = PixelsOf(warp, lane, map, coordinates, offsets);
    if (request->rows.empty()) return false;
  } else {
    request->rows = RowsOf(warp, lane, map, coordinates, store);
  }
  request->row_bytes = map.box[0] * map.element_bytes;
  request->bytes = request->row_bytes * static_cast<uint32_t>(request->rows.size());
  request->swizzle = map.swizzle_bytes;
  return true;
}

void RequireAllDefined(Warp& warp, const Instruction& instruction, uint32_t mask) {
  for (int i = 0; i < instruction.source_count; ++i)
    warp.RequireDefined(instruction.sources[i], mask, "an operand of a bulk copy");
}

// sources: destination in shared memory, source, mbarrier, then the size or the coordinates.
void LoadBulk(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const auto& detail = *reinterpret_cast<const Detail*>(instruction.detail);
  RequireAllDefined(warp, instruction, mask);
  Block& block = warp.block();
  for (int lane : LanesOf(mask)) {
    const uint64_t to =
        Block::Classify(Space::kShared, At(warp, instruction.sources[0], instruction.short_address,
                                           instruction.offset, lane))
            .second;
    const uint64_t barrier =
        Block::Classify(Space::kShared, At(warp, instruction.sources[2], detail.barrier_short,
                                           detail.barrier_offset, lane))
            .second;
    Request request;
    if (!FillRequest(warp, instruction, detail, lane, false, instruction.sources[1],
                     instruction.sources + 3, &request))
      continue;
    if (!CheckShared(warp, lane, to, detail, true, &request)) continue;
    if (!block.CheckShared(warp, lane, barrier, 8, 8, false)) continue;
    const auto at = static_cast<uint32_t>(barrier);
    if (block.async().Find(warp, lane, at) == nullptr) continue;
    // The copy counts there itself, so that it has to see that the mbarrier was made.
    block.ReportRace(warp, lane, at,
                     block.shared().AsyncRead(block.order(), block.Accessor(warp, lane), at, 8));
    for (const Row& row : request.rows) {
      if (row.data != nullptr) CheckWritten(warp, lane, row.written, row.inside, "global memory");
    }
    const uint64_t held = HeldBytes(request);
    if (!block.async().Begin(warp, lane, held)) continue;
    request.ForPieces([&](uint32_t piece, int bytes) {
      SharedMemory& shared = block.shared();
      block.ReportRace(
          warp, lane, piece,
          shared.Write(block.order(), block.Accessor(warp, lane), piece, bytes, nullptr));
      shared.BeginAsync(piece, bytes, true);
    });
    const int line = block.Accessor(warp, lane).line;
    block.async().Enqueue(held, [&block, request = std::move(request), at, line] {
      SharedMemory& memory = block.shared();
      const SharedMemory::Arrival arrival = block.async().BeginArrival(at, true, line);
      for (const Row& row : request.rows) PlaceRow(memory, request, row);
      request.ForPieces([&](uint32_t piece, int bytes) {
        memory.EndAsync(piece, bytes, true);
        memory.SetWritten(piece, bytes, true);
        memory.Arrived(piece, bytes, arrival);
      });
      block.async().CompleteTransactions(at, request.bytes);
    });
  }
}

// sources: destination in global memory or tensor map, source in shared memory, then the size or
// the coordinates.
void StoreBulk(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const auto& detail = *reinterpret_cast<const Detail*>(instruction.detail);
  RequireAllDefined(warp, instruction, mask);
  Block& block = warp.block();
  for (int lane : LanesOf(mask)) {
    const uint64_t from =
        Block::Classify(Space::kShared, At(warp, instruction.sources[1], detail.other_short,
                                           detail.other_offset, lane))
            .second;
    auto request = std::make_shared<Request>();
    if (!FillRequest(warp, instruction, detail, lane, true, instruction.sources[0],
                     instruction.sources + 2, request.get()))
      continue;
    if (!CheckShared(warp, lane, from, detail, false, request.get())) continue;
    AsyncCopies::Bulk bulk;
    bulk.bytes = HeldBytes(*request);
    if (!block.async().Begin(warp, lane, bulk.bytes)) continue;
    request->ForPieces([&](uint32_t piece, int bytes) {
      SharedMemory& shared = block.shared();
      if (!shared.Written(piece, bytes)) {
        warp.Report(FindingKind::kUninitializedMemory, lane,
                    Cat("stores bytes that were never written, ", shared.Describe(piece)), piece);
      }
      block.ReportRace(warp, lane, piece,
                       shared.AsyncRead(block.order(), block.Accessor(warp, lane), piece, bytes));
      shared.BeginAsync(piece, bytes, false);
    });
    auto taken = std::make_shared<std::vector<std::byte>>(request->bytes);
    bulk.read_done = [&block, request, taken] {
      SharedMemory& memory = block.shared();
      request->ForPieces([&](uint32_t piece, int bytes) { memory.EndAsync(piece, bytes, false); });
      for (uint32_t i = 0; i < request->bytes; i += 16) {
        std::memcpy(taken->data() + i,
                    memory.data(Swizzle(request->shared + i, request->swizzle), 16), 16);
      }
    };
    bulk.done = [request, taken] {
      for (const Row& row : request->rows) {
        if (row.data == nullptr) continue;
        StoreRacing(row.data, taken->data() + row.offset + row.before, row.inside);
        FillRacing(row.written, 1, row.inside);
      }
    };
    block.async().IssueBulk(warp, lane, std::move(bulk));
  }
}

void Commit(Warp& warp, const Instruction&, uint32_t mask) {
  for (int lane : LanesOf(mask)) warp.block().async().CommitBulk(warp, lane);
}

void Wait(Warp& warp, const Instruction& instruction, uint32_t mask) {
  for (int lane : LanesOf(mask)) {
    warp.block().async().WaitBulk(warp, lane, static_cast<int>(instruction.detail & 0xffffffff),
                                  (instruction.detail >> 32) != 0);
  }
}

void Nothing(Warp&, const Instruction&, uint32_t) {}

// Adds an address; returns its offset and whether it has 32 bits.
std::pair<int64_t, bool> AddAddress(StatementDecoder& d, const Operand& operand) {
  Instruction& instruction = d.instruction();
  instruction.short_address = false;
  d.Address(operand);
  return {instruction.offset, instruction.short_address};
}

// Of the pixel in its window.
void AddOffsets(StatementDecoder& d, const Operand& offsets, int rank) {
  if (offsets.kind != Operand::Kind::kVector ||
      offsets.elements.size() != static_cast<size_t>(rank - 2)) {
    return d.Fail(Cat("expected {", rank - 2, " offsets}"));
  }
  for (const Operand& offset : offsets.elements) d.Source(offset, Type::kB16);
}

void AddCoordinates(StatementDecoder& d, const Operand& address, int rank) {
  if (address.elements.size() != 2 || address.elements[1].kind != Operand::Kind::kVector ||
      address.elements[1].elements.size() != static_cast<size_t>(rank)) {
    return d.Fail(Cat("expected [tensor map, {", rank, " coordinates}]"));
  }
  for (const Operand& coordinate : address.elements[1].elements) d.Source(coordinate, Type::kB32);
}

}  // namespace

void DecodeBulkCopy(StatementDecoder& d) {
  Instruction& instruction = d.instruction();
  if (d.Take("commit_group")) {
    d.ExpectOperands(0, 0);
    return d.Execute(&Commit);
  }
  if (d.Take("wait_group")) {
    const bool read = d.Take("read");
    d.ExpectOperands(1, 1);
    const int64_t groups = d.Immediate(0);
    if (groups < 0 || groups > 1 << 20) d.Fail("expected a number of groups");
    instruction.detail =
        static_cast<uint64_t>(groups & 0xffffffff) | (read ? uint64_t{1} << 32 : 0);
    return d.Execute(&Wait);
  }
  Detail detail;
  const bool prefetch = d.Take("prefetch");
  if (d.Take("tensor")) {
    constexpr std::string_view kRanks[] = {"1d", "2d", "3d", "4d", "5d"};
    for (int i = 0; i < 5; ++i) {
      if (d.Take(kRanks[i])) detail.rank = i + 1;
    }
    if (detail.rank == 0) d.Fail("expected .1d to .5d");
    detail.im2col = d.Take("im2col");
    if (detail.im2col && detail.rank < 3) d.Fail("expected .3d to .5d with .im2col");
    if (!detail.im2col) d.Take("tile");
  }
  size_t operands = d.operand_count();
  if (d.Take("L2::cache_hint")) --operands;
  if (prefetch) {
    d.Take("L2");
    d.Take("global");
    return d.Execute(&Nothing);
  }
  const std::string_view to = d.TakeNext(), from = d.TakeNext();
  const size_t size_operands = detail.rank == 0 ? 1 : 0;
  if ((to == "shared::cluster" || to == "shared::cta") && from == "global") {
    if (!d.Take("mbarrier::complete_tx::bytes")) d.Fail("expected .mbarrier::complete_tx::bytes");
    if (operands != 3 + size_operands + (detail.im2col ? 1 : 0)) {
      return d.Fail("expected destination, source and mbarrier, and with .im2col offsets");
    }
    const auto [shared_offset, shared_short] = AddAddress(d, d.operand(0));
    std::tie(detail.other_offset, detail.other_short) = AddAddress(d, d.operand(1));
    std::tie(detail.barrier_offset, detail.barrier_short) =
        AddAddress(d, d.operand(2 + size_operands));
    instruction.offset = shared_offset;
    instruction.short_address = shared_short;
    if (detail.rank == 0) {
      d.Source(2, Type::kU32);
    } else {
      AddCoordinates(d, d.operand(1), detail.rank);
      if (detail.im2col) AddOffsets(d, d.operand(3), detail.rank);
    }
    d.Execute(&LoadBulk);
  } else if (to == "global" && (from == "shared::cta" || from == "shared::cluster")) {
    if (!d.Take("bulk_group") || detail.im2col) d.Fail("expected .bulk_group, and no .im2col");
    if (operands != 2 + size_operands) return d.Fail("expected destination and source");
    const auto [global_offset, global_short] = AddAddress(d, d.operand(0));
    std::tie(detail.other_offset, detail.other_short) = AddAddress(d, d.operand(1));
    instruction.offset = global_offset;
    instruction.short_address = global_short;
    if (detail.rank == 0) {
      d.Source(2, Type::kU32);
    } else {
      AddCoordinates(d, d.operand(0), detail.rank);
    }
    d.Execute(&StoreBulk);
  } else {
    return d.Fail("expected .shared::cluster.global or .global.shared::cta");
  }
  instruction.detail = reinterpret_cast<uint64_t>(d.builder().KeepData(detail));
}

}  // namespace weft::ptx
