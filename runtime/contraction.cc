#include "runtime/contraction.h"

namespace weft {
namespace {

// So that nothing below overflows. Windows are counted in 64 bits, and tensors in 128.
constexpr int64_t kMaxSize = int64_t{1} << 40;
constexpr int64_t kMaxWindowSize = INT32_MAX;
constexpr char kSizes[] = "sizes and strides from 0 to 2^40";
constexpr char kWindowSizes[] = "sizes from 0 to 2147483647";
constexpr char kWithinBuffers[] = "operands and a result within their buffers";

using Wide = __int128;
using C = LaunchContraction;

// Whether so many elements are in the buffer.
class Room {
 public:
  Room(const C& contraction, std::span<const int64_t> buffer_bytes)
      : element_bytes_(SizeOf(contraction.dtype)), buffer_bytes_(buffer_bytes) {}
  bool Has(uint32_t buffer, Wide elements) const {
    return buffer == C::kNone || elements * element_bytes_ <= buffer_bytes_[buffer];
  }
  bool HasResult(Wide elements) const {
    return Has(static_cast<uint32_t>(buffer_bytes_.size() - 1), elements);
  }

 private:
  const int element_bytes_;
  const std::span<const int64_t> buffer_bytes_;
};

const char* CheckProduct(const C& product, const ContractionSizes& sizes, const Room& room) {
  const auto begin = sizes.begin(), end_of_sizes = begin + C::kNumProductSizes;
  if (std::any_of(begin, end_of_sizes, [](int64_t size) { return size < 0; })) return kSizes;
  if (!HasSums(product, sizes)) return nullptr;  // nothing is read
  if (std::any_of(begin, end_of_sizes, [](int64_t size) { return size > kMaxSize; })) return kSizes;
  const auto end = [&](C::Size batch, C::Size own, C::Size own_size, C::Size depth) {
    return Wide{sizes[C::kBatches] - 1} * sizes[batch] + Wide{sizes[own_size] - 1} * sizes[own] +
           Wide{sizes[C::kDepth] - 1} * sizes[depth] + 1;
  };
  const Wide result = Wide{sizes[C::kBatches]} * sizes[C::kRows] * sizes[C::kColumns];
  const bool fit =
      room.Has(product.left, end(C::kLeftBatch, C::kLeftRow, C::kRows, C::kLeftDepth)) &&
      room.Has(product.right, end(C::kRightBatch, C::kRightColumn, C::kColumns, C::kRightDepth)) &&
      room.Has(product.addend, result) && room.Has(product.bias, sizes[C::kColumns]) &&
      room.HasResult(result);
  return fit ? nullptr : kWithinBuffers;
}

const char* CheckConvolution(const C& convolution, const ContractionSizes& n, const Room& room) {
  for (size_t i = 0; i < C::kNumConvolutionSizes; ++i) {
    if (n[i] < 0 || n[i] > kMaxWindowSize) return kWindowSizes;
  }
  for (const C::ConvolutionSize size :
       {C::kGroups, C::kStrideDown, C::kStrideAcross, C::kDilationDown, C::kDilationAcross}) {
    if (n[size] == 0) return "groups, strides and dilations of 1 or more";
  }
  if (convolution.addend != C::kNone || convolution.bias != C::kNone || convolution.scale != 1) {
    return "nothing added to it, and a scale of 1";
  }
  if (!HasSums(convolution, n)) return nullptr;
  if (n[C::kChannels] % n[C::kGroups] != 0 || n[C::kFilters] % n[C::kGroups] != 0) {
    return "channels and filters that its groups divide";
  }
  if (WindowsAlong(n[C::kHeight], n[C::kPaddingAbove], n[C::kPaddingBelow], n[C::kFilterHeight],
                   n[C::kDilationDown], n[C::kStrideDown]) != n[C::kOutHeight] ||
      WindowsAlong(n[C::kWidth], n[C::kPaddingLeft], n[C::kPaddingRight], n[C::kFilterWidth],
                   n[C::kDilationAcross], n[C::kStrideAcross]) != n[C::kOutWidth]) {
    return "as many windows as its result has lines and columns";
  }
  // Four sizes of 31 bits each.
  const auto elements = [&](int64_t a, int64_t b, int64_t c, int64_t d) {
    return Wide{a} * b * c * d;
  };
  const Wide images = elements(n[C::kImages], n[C::kHeight], n[C::kWidth], n[C::kChannels]);
  const Wide filters = elements(n[C::kFilterHeight], n[C::kFilterWidth],
                                n[C::kChannels] / n[C::kGroups], n[C::kFilters]);
  const Wide outs = elements(n[C::kImages], n[C::kOutHeight], n[C::kOutWidth], n[C::kFilters]);
  const bool forward = convolution.kind == C::kConvolution;
  const bool fit = room.Has(convolution.left, images) &&
                   room.Has(convolution.right, forward ? filters : outs) &&
                   room.HasResult(forward ? outs : filters);
  return fit ? nullptr : kWithinBuffers;
}

}  // namespace

int64_t WindowsAlong(int64_t size, int64_t padding_before, int64_t padding_after, int64_t window,
                     int64_t dilation, int64_t stride) {
  const int64_t room = size + padding_before + padding_after - (dilation * (window - 1) + 1);
  return room < 0 ? 0 : room / stride + 1;
}

bool HasSums(const C& contraction, const ContractionSizes& sizes) {
  // Of a convolution, all that count something come first.
  const size_t counts = contraction.kind == C::kProduct ? C::kDepth + 1 : C::kOutWidth + 1;
  return std::all_of(sizes.begin(), sizes.begin() + counts, [](int64_t size) { return size > 0; });
}

const char* CheckContractionSizes(const C& contraction, const ContractionSizes& sizes,
                                  std::span<const int64_t> buffer_bytes) {
  const Room room(contraction, buffer_bytes);
  return contraction.kind == C::kProduct ? CheckProduct(contraction, sizes, room)
                                         : CheckConvolution(contraction, sizes, room);
}

}  // namespace weft
