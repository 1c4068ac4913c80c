// Writes seeds for the fuzz target of PTX text into the folder that it is given.
#include <fstream>
#include <string>

namespace {

constexpr char kHeader[] = ".version 8.0\n.target sm_90a\n.address_size 64\n";

constexpr char kDeclarations[] = R"(
.global .align 4 .b8 table[8] = {1, 2, 3, 4};
.extern .shared .align 16 .b8 dynamic[];
.func (.param .b32 result) twice(.param .b32 x) {
  .reg .b32 %r<3>;
  ld.param.b32 %r1, [x]; add.s32 %r2, %r1, %r1; st.param.b32 [result], %r2; ret;
}
.visible .entry k(.param .u64 out, .param .align 8 .b8 array[16]) .maxntid 64 {
  .reg .pred %p<3>; .reg .b16 %h<3>; .reg .b32 %r<9>; .reg .f32 %f<4>; .reg .b64 %rd<6>;
  .shared .align 16 .b8 tile[256];
  .local .align 4 .b8 depot[16];
  .loc 1 2 3
  mov.u32 %r1, %tid.x; mov.u32 %r2, tile; shl.b32 %r3, %r1, 2; add.u32 %r2, %r2, %r3;
  st.shared.b32 [%r2], %r1; bar.sync 0; ld.shared.v2.b32 {%r4, %r5}, [tile+8];
  { .param .b32 x; .param .b32 result; st.param.b32 [x], %r4; call.uni (result), twice, (x); ld.param.b32 %r6, [result]; }
  setp.lt.s32 %p1, %r1, 5; @%p1 bra LESS;
  cvt.rn.f32.s32 %f1, %r6; fma.rn.f32 %f2, %f1, 0f3F800000, %f1; shfl.sync.bfly.b32 %r7, %r1, 1, 31, -1;
LESS:
  T: .branchtargets A, B;
  and.b32 %r8, %r1, 1; brx.idx %r8, T;
A: atom.shared.add.u32 %r7, [tile], 1;
B: mov.b64 %rd1, depot; st.local.b32 [%rd1+4], %r1; ld.param.u64 %rd2, [out]; st.global.b32 [%rd2], %r6;
  ret;
}
)";

constexpr char kAsynchronous[] = R"(
.visible .entry k(.param .u64 in) {
  .reg .pred %p; .reg .b32 %r<30>; .reg .b64 %rd<6>; .shared .align 128 .b8 tile[2048]; .shared .align 8 .b8 full[8];
  ld.param.u64 %rd1, [in]; mbarrier.init.shared.b64 [full], 1; fence.proxy.async;
  cp.async.cg.shared.global [tile], [%rd1], 16, 0; cp.async.commit_group; cp.async.wait_group 0;
  ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r1, %r2, %r3, %r4}, [tile];
  mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r5, %r6, %r7, %r8}, {%r1, %r2, %r3, %r4}, {%r1, %r2}, {%r5, %r6, %r7, %r8};
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%rd1], 64, [full];
  W: mbarrier.try_wait.parity.shared.b64 %p, [full], 0; @!%p bra W;
  wgmma.fence.sync.aligned;
  wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r5, %r6, %r7, %r8}, %rd2, %rd3, %p, 1, 1, 0, 0;
  wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;
  ret;
}
)";

// Boxes by tensor maps that the kernels hold themselves (Encoded of tensor_map.cc): rank 2,
// elements of 2 bytes, 64 x 8 of a tensor of 64 x 10, swizzled; and rank 1, of a tensor of one row.
constexpr char kTensorMaps[] = R"(
.global .align 128 .b8 tensor[1280];
.const .align 64 .b64 map[16] = {5782988412433944148, tensor, 128, 0, 0, 0, 38654705727, 0, 2252074691592192, 144678138029277184, 128};
.const .align 64 .b64 row[16] = {5782988412433944148, tensor, 0, 0, 0, 0, 15, 0, 68719476736, 72339069014638592, 128};
.visible .entry k(.param .u64 out) {
  .reg .pred %p; .reg .b32 %r<6>; .reg .b64 %rd<4>; .shared .align 1024 .b8 tile[1024]; .shared .align 8 .b8 full[8];
  mov.u32 %r1, %tid.x; setp.ne.u32 %p, %r1, 0; @%p ret;
  mov.u64 %rd1, map; cvta.const.u64 %rd1, %rd1; mov.u32 %r2, tile; mov.u32 %r3, full;
  mbarrier.init.shared.b64 [%r3], 1; fence.proxy.async; mbarrier.arrive.expect_tx.shared.b64 _, [%r3], 1024;
  cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1, {0, 4}], [%r3];
  W: mbarrier.try_wait.parity.shared.b64 %p, [%r3], 0; @!%p bra W;
  cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {0, -3}], [%r2];
  cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; ret;
}
.visible .entry l() {
  .reg .b32 %r<3>; .reg .b64 %rd<3>; .shared .align 8 .b8 full[8]; .shared .align 16 .b8 pad[720]; .shared .align 128 .b8 buf[128];
  mov.u64 %rd1, row; cvta.const.u64 %rd1, %rd1; mov.u32 %r1, full; mov.u32 %r2, buf; mbarrier.init.shared.b64 [%r1], 1; fence.mbarrier_init.release.cluster;
  cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1, {5000}], [%r1];
  L: cp.async.bulk.commit_group; bra L;
}
)";

// What becomes much in a short text: calls in calls, branches of one table, local memory.
constexpr char kMuch[] = R"(
.func h() {}
.func g() { .reg .b64 %r; mov.b64 %r, 1; call h; call h; call h; call h; call h; call h; call h; call h; }
.func f() { call g; call g; call g; call g; call g; call g; call g; call g; }
.func e() { call f; call f; call f; call f; call f; call f; call f; call f; }
.func d() { call e; call e; call e; call e; call e; call e; call e; call e; }
.entry k() {
  .local .align 4 .b8 depot[65536]; .reg .b32 %r; mov.u32 %r, %tid.x;
  T: .branchtargets A, B, A, B, C, C;
  brx.idx %r, T; brx.idx %r, T; A: brx.idx %r, T; B: call d; C: st.local.b32 [depot], %r; ret;
}
.entry l() { call d; call d; ret; }
)";

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  std::ofstream(folder + "/threads.ptx") << kHeader << kDeclarations;
  std::ofstream(folder + "/asynchronous.ptx") << kHeader << kAsynchronous;
  std::ofstream(folder + "/tensor_maps.ptx") << kHeader << kTensorMaps;
  std::ofstream(folder + "/much.ptx") << kHeader << kMuch;
  return 0;
}
