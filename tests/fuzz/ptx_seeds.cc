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
  ld.param.u64 %rd1, [in]; mbarrier.init.shared.b64 [full], 1;
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

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  std::ofstream(folder + "/threads.ptx") << kHeader << kDeclarations;
  std::ofstream(folder + "/asynchronous.ptx") << kHeader << kAsynchronous;
  return 0;
}
