// The ping-pong Hopper GEMM: a producer warp feeds tiles by TMA, two consumer warpgroups take
// turns: while one finishes its tile, the other's wgmma runs.
//
// A block computes tiles of 128 rows of x by Slots weight rows (slots, see epilogue.cuh), one after
// another; each tile belongs to one consumer warpgroup. Blocks of a cluster have neighbouring row
// tiles and one column tile: each loads a part of the weight tile for all. Products accumulate over
// k in steps of 16, in order, whatever the tile.
#pragma once

#include <cutlass/pipeline/sm90_pipeline.hpp>

#include "cuda/gemm/sm90_common.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm90 {

template <class T, int Slots, int Cluster>
struct PingPong {
  static constexpr int rows = 128;
  static constexpr int x_bytes = 2 * rows * sm90_tile_k;
  static constexpr int weight_bytes = 2 * Slots * sm90_tile_k;
  static constexpr int stage_bytes = x_bytes + weight_bytes;
  static constexpr int chunk = Slots % 64 == 0 ? 64 : 32;  // slots finished at a time
  static constexpr int chunks = Slots / chunk;
  static constexpr int pitch = sums_pitch(chunk);
  static constexpr bool roomy = Slots <= 128;  // enough registers for the fastest loops
  using Finish = ChunkShape<chunk, (roomy ? 4 : 2), 2, roomy>;
  static constexpr int consumer_registers = Slots > 160 ? 240 : 232;
  static constexpr int producer_registers = Slots > 160 ? 24 : 40;
  static constexpr int budget = max_shared - 8192 - 4 * rows * pitch;
  static constexpr int stages = budget / stage_bytes < 8 ? budget / stage_bytes : 8;
  static constexpr int part = Slots / Cluster;  // slots that one block of the cluster loads
  static_assert(Slots % chunk == 0 && part % 8 == 0 && stages >= 3, "whole parts and a pipeline");

  using Pipeline = cutlass::PipelineTmaAsync<stages>;
  using Turns = cutlass::OrderedSequenceBarrier<2, 2>;
  using Tile = Product<T, rows, Slots>;

  struct Storage {
    alignas(1024) char x[stages * x_bytes];
    alignas(1024) char weight[stages * weight_bytes];
    alignas(128) float sums[rows * pitch];
    alignas(16) float bias[chunk];
    float row_scale[2][rows];  // of each warpgroup's tile
    float row_mean[2][rows];
    typename Pipeline::SharedStorage pipeline;
    typename Turns::SharedStorage turns;
  };
  static constexpr int shared_bytes = sizeof(Storage) + 1024;
  static_assert(shared_bytes <= max_shared, "fits");
};

// The producer's one thread: loads every stage of every tile of the block.
template <class S, int Slots, int Cluster>
__device__ __forceinline__ void produce(const Sm90Args& a, typename S::Storage& storage,
                                        typename S::Pipeline& pipeline) {
  const auto rank = Cluster > 1 ? static_cast<int>(block_rank_in_cluster()) : 0;
  constexpr auto all_blocks = static_cast<std::uint16_t>(Cluster > 1 ? (1 << Cluster) - 1 : 0);
  auto state = cutlass::make_producer_start_state<typename S::Pipeline>();
  for (Walk walk; !walk.done(a); walk.next(a)) {
    int m, n;
    walk.tile(a, m, n);
    const int row = (m * Cluster + rank) * S::rows;
    const int slot = n * Slots + rank * S::part;
    for (int k = 0; k < a.k_tiles; ++k) {
      pipeline.producer_acquire(state);
      std::uint64_t* barrier = pipeline.producer_get_barrier(state);
      const int column = k * sm90_tile_k;
      const int stage = state.index();
      load_x(a, {barrier, storage.x + stage * S::x_bytes, 0}, column, row);
      char* to = storage.weight + stage * S::weight_bytes + rank * S::part * sm90_tile_k * 2;
      load_weight(a, {barrier, to, all_blocks}, column, slot);
      ++state;
    }
  }
  pipeline.producer_tail(state);
}

// A consumer warpgroup's share: every second tile of the block, in turns with the other.
template <class T, class S, int Slots, int Cluster>
__device__ __forceinline__ void consume(const Sm90Args& a, typename S::Storage& storage,
                                        typename S::Pipeline& pipeline, typename S::Turns& turns,
                                        int group, int thread) {
  using Tile = typename S::Tile;
  typename Tile::Mma mma;
  using Type = typename Tile::Type;
  auto x = make_tensor(make_smem_ptr(reinterpret_cast<Type*>(storage.x)),
                       typename Tile::template Layout<S::rows, S::stages>{});
  auto weight = make_tensor(make_smem_ptr(reinterpret_cast<Type*>(storage.weight)),
                            typename Tile::template Layout<Slots, S::stages>{});
  auto part = mma.get_thread_slice(thread);
  auto x_fragments = part.make_fragment_A(part.partition_A(x));
  auto weight_fragments = part.make_fragment_B(part.partition_B(weight));
  auto sums = Tile::sums();

  typename S::Pipeline::PipelineState state;
  Walk walk;
  const auto k_tiles = static_cast<std::uint32_t>(a.k_tiles);
  const int rank = Cluster > 1 ? static_cast<int>(block_rank_in_cluster()) : 0;
  if (group == 1) {
    walk.next(a);
    state.advance(k_tiles);
  }
  for (; !walk.done(a); walk.next(a, 2)) {
    int row0, column0;
    walk.tile(a, row0, column0);
    row0 = (row0 * Cluster + rank) * S::rows;
    column0 *= tile_columns(a.epilogue.gated, Slots);
    prefetch_residual(a.epilogue, row0, column0, Slots, thread);
    stage_row_scales(a, row0, S::rows, storage.row_scale[group], storage.row_mean[group], thread);
    turns.wait();
    auto released = state;
    mma.accumulate_ = GMMA::ScaleOut::Zero;
    for (std::uint32_t k = 0; k < k_tiles; ++k) {
      pipeline.consumer_wait(state);
      warpgroup_fence_operand(sums);
      warpgroup_arrive();
#pragma unroll
      for (int step = 0; step < sm90_tile_k / 16; ++step) {
        cute::gemm(mma, x_fragments(_, _, step, state.index()),
                   weight_fragments(_, _, step, state.index()), sums);
        mma.accumulate_ = GMMA::ScaleOut::One;
      }
      warpgroup_commit_batch();
      if (k > 0) {
        warpgroup_wait<1>();
        pipeline.consumer_release(released);
        ++released;
      }
      ++state;
    }
    turns.arrive();
    warpgroup_wait<0>();
    warpgroup_fence_operand(sums);
    pipeline.consumer_release(released);
    state.advance(k_tiles);

    turns.wait();
    Chunk rows;
    rows.row0 = row0;
    const int left = static_cast<int>(a.epilogue.m) - row0;
    rows.rows = left < S::rows ? left : S::rows;
    rows.thread = thread;
    rows.threads = warpgroup;
    rows.bias = storage.bias;
    rows.row_scale = storage.row_scale[group];
    rows.row_mean = storage.row_mean[group];
    const auto finish = [&](int chunk) {
      rows.column0 = column0 + chunk * tile_columns(a.epilogue.gated, S::chunk);
      if (thread < S::chunk) {
        storage.bias[thread] = place_bias<S::chunk>(a.epilogue, rows.column0, thread);
      }
      cutlass::arch::NamedBarrier::sync(warpgroup, 1 + group);
      finish_chunk<T, typename S::Finish>(a.epilogue, a.loop, rows,
                                          [&](int row, int place, auto& values) {
                                            load_run(storage.sums + row * S::pitch + place, values);
                                          });
      cutlass::arch::NamedBarrier::sync(warpgroup, 1 + group);
    };
#pragma unroll 1
    for (int chunk = 0; chunk < S::chunks; ++chunk) {
      for_each(make_int_sequence<S::chunks>{}, [&](auto c) {
        constexpr int first = decltype(c)::value * S::chunk;
        if (chunk == c) {
          store_sums<first, S::chunk, 0, S::chunk, S::pitch>(a.epilogue, sums, storage.sums,
                                                             thread);
        }
      });
      finish(chunk);
    }
    turns.arrive();
  }
}

template <class T, int Slots, int Cluster>
__global__ void __launch_bounds__(threads, 1) sm90_pingpong(const __grid_constant__ Sm90Args a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using S = PingPong<T, Slots, Cluster>;
  auto& storage = *reinterpret_cast<typename S::Storage*>(aligned_shared());
  const int group = static_cast<int>(threadIdx.x) / warpgroup - 1;  // -1: the producer
  const int thread = static_cast<int>(threadIdx.x) % warpgroup;

  typename S::Pipeline::Params params;
  params.transaction_bytes = S::stage_bytes;
  params.role =
      group < 0 ? S::Pipeline::ThreadCategory::Producer : S::Pipeline::ThreadCategory::Consumer;
  params.is_leader = thread == 0;
  params.num_consumers = warpgroup;
  typename S::Pipeline pipeline(storage.pipeline, params, cute::Shape<Int<Cluster>, _1, _1>{});
  typename S::Turns::Params turn_params;
  turn_params.group_id = group < 0 ? 0 : static_cast<std::uint32_t>(group);
  turn_params.group_size = warpgroup;
  typename S::Turns turns(storage.turns, turn_params);
  if (threadIdx.x == 0) prefetch_maps(a);
  if constexpr (Cluster > 1) {
    cluster_arrive_relaxed();
    cluster_wait();
  } else {
    __syncthreads();
  }
  release_successor();
  await_predecessor();

  if (group < 0) {
    cutlass::arch::warpgroup_reg_dealloc<S::producer_registers>();
    if (thread == 0) produce<S, Slots, Cluster>(a, storage, pipeline);
  } else {
    cutlass::arch::warpgroup_reg_alloc<S::consumer_registers>();
    consume<T, S, Slots, Cluster>(a, storage, pipeline, turns, group, thread);
  }
#endif
}

}  // namespace sm90

template <int Slots, int Cluster>
void Sm90PingPong<Slots, Cluster>::launch(const Sm90Args& args, const Sm90Launch& how) {
  LaunchShape shape;
  shape.blocks = how.blocks;
  shape.threads = sm90::threads;
  shape.stream = how.stream;
  shape.programmatic = how.programmatic;
  shape.cluster = Cluster;
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    shape.shared_bytes = sm90::PingPong<T, Slots, Cluster>::shared_bytes;
    cuda::launch("cuda.sm90", sm90::sm90_pingpong<T, Slots, Cluster>, shape, args);
  };
  if (how.dtype == DType::f16) {
    run(__half{});
  } else {
    run(__nv_bfloat16{});
  }
}

template <int Slots, int Cluster>
void Sm90PingPong<Slots, Cluster>::load() {
  load_kernel(sm90::sm90_pingpong<__half, Slots, Cluster>,
              sm90::PingPong<__half, Slots, Cluster>::shared_bytes);
  load_kernel(sm90::sm90_pingpong<__nv_bfloat16, Slots, Cluster>,
              sm90::PingPong<__nv_bfloat16, Slots, Cluster>::shared_bytes);
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
