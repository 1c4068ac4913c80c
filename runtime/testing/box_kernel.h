// A kernel for GPUs that takes a tensor map, in PTX, and its map.
#ifndef WEFT_RUNTIME_TESTING_BOX_KERNEL_H_
#define WEFT_RUNTIME_TESTING_BOX_KERNEL_H_

#include <cstdint>

#include "runtime/tensor_map.h"

namespace weft::plan_testing {

// Block i of 16 threads copies row i of a matrix of 16 columns of f32, which the map is of, to the
// second buffer.
inline constexpr char kBoxKernel[] = R"(.version 8.0
.target sm_90
.address_size 64
.visible .entry boxes(.param .align 64 .b8 map[128], .param .u64 from, .param .u64 to)
{
  .reg .pred %p;
  .reg .b32 %r<8>;
  .reg .f32 %f;
  .reg .b64 %rd<6>;
  .shared .align 128 .b8 box[64];
  .shared .align 8 .b8 full[8];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %tid.x;
  mov.u32 %r3, box;
  mov.u32 %r4, full;
  mov.u32 %r5, 0;
  mov.b64 %rd1, map;
  cvta.param.u64 %rd1, %rd1;
  setp.ne.u32 %p, %r2, 0;
  @%p bra START;
  mbarrier.init.shared.b64 [%r4], 1;
  fence.proxy.async;
  mbarrier.arrive.expect_tx.shared.b64 %rd2, [%r4], 64;
  cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r3], [%rd1, {%r5, %r1}], [%r4];
START:
  bar.sync 0;
WAIT:
  mbarrier.try_wait.parity.shared.b64 %p, [%r4], 0;
  @!%p bra WAIT;
  shl.b32 %r6, %r2, 2;
  add.u32 %r7, %r3, %r6;
  ld.shared.f32 %f, [%r7];
  ld.param.u64 %rd3, [to];
  mul.wide.u32 %rd4, %r1, 64;
  add.u64 %rd3, %rd3, %rd4;
  cvt.u64.u32 %rd5, %r6;
  add.u64 %rd3, %rd3, %rd5;
  st.global.f32 [%rd3], %f;
  ret;
}
)";
inline constexpr uint32_t kBoxThreads = 16;
inline constexpr KernelMap kBoxMap = {
    .buffer = 0, .element_bytes = 4, .swizzle_bytes = 0, .rank = 2, .box = {16, 1}};

}  // namespace weft::plan_testing

#endif  // WEFT_RUNTIME_TESTING_BOX_KERNEL_H_
