// The Hopper GEMM: a producer warp feeds tiles by TMA, two consumer warpgroups take turns
// (ping-pong): while one finishes its tile, the other's wgmma runs.
//
// A block computes tiles of 128 rows of x by Slots weight rows (slots, see epilogue.cuh), one after
// another; each tile belongs to one consumer warpgroup. Blocks of a cluster have neighbouring row
// tiles and one column tile: each loads a part of the weight tile for all. Products accumulate over
// k in steps of 16, in order, whatever the tile.
#pragma once

#include <cutlass/arch/barrier.h>
#include <cutlass/arch/reg_reconfig.h>
#include <cutlass/bfloat16.h>
#include <cutlass/half.h>
#include <cstdint>
#include <cute/arch/cluster_sm90.hpp>
#include <cute/arch/copy_sm90_tma.hpp>
#include <cute/atom/mma_traits_sm90_gmma.hpp>
#include <cute/tensor.hpp>
#include <cutlass/pipeline/sm90_pipeline.hpp>

#include "cuda/epilogue/epilogue.cuh"
#include "cuda/gemm/sm90.hpp"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm90 {

using namespace cute;

inline constexpr int threads = 384;
inline constexpr int warpgroup = 128;

template <class T, int Slots, int Cluster>
struct Shape90 {
  static constexpr int x_bytes = 2 * sm90_rows * sm90_tile_k;
  static constexpr int weight_bytes = 2 * Slots * sm90_tile_k;
  static constexpr int stage_bytes = x_bytes + weight_bytes;
  // Floats between the rows of finished products: 8 over a multiple of 32 spreads the stores over
  // all banks.
  static constexpr int pitch = Slots + 8;
  static constexpr int epilogue_bytes = 4 * sm90_rows * pitch;
  static constexpr int budget = 227 * 1024 - 1024 - epilogue_bytes - 1024;
  static constexpr int stages = budget / stage_bytes < 8 ? budget / stage_bytes : 8;
  static constexpr int part = Slots / Cluster;  // slots that one block of the cluster loads
  static_assert(Slots % 32 == 0 && part % 16 == 0 && stages >= 3, "whole groups and a pipeline");

  using Pipeline = cutlass::PipelineTmaAsync<stages>;
  using Turns = cutlass::OrderedSequenceBarrier<2, 2>;
  using Mma = decltype(make_tiled_mma(
      GMMA::ss_op_selector<T, T, float, cute::Shape<Int<64>, Int<Slots>, Int<sm90_tile_k>>,
                           GMMA::Major::K, GMMA::Major::K>()));
  using XLayout =
      decltype(tile_to_shape(GMMA::Layout_K_SW128_Atom<T>{},
                             cute::Shape<Int<sm90_rows>, Int<sm90_tile_k>, Int<stages>>{}));
  using WeightLayout = decltype(tile_to_shape(
      GMMA::Layout_K_SW128_Atom<T>{}, cute::Shape<Int<Slots>, Int<sm90_tile_k>, Int<stages>>{}));

  struct Storage {
    alignas(1024) char x[stages * x_bytes];
    alignas(1024) char weight[stages * weight_bytes];
    alignas(128) float sums[sm90_rows * pitch];
    typename Pipeline::SharedStorage pipeline;
    typename Turns::SharedStorage turns;
  };
  static constexpr int shared_bytes = sizeof(Storage) + 1024;
};

// The tiles of one cluster, one after another.
struct Walk {
  std::int64_t index;
  std::int64_t step;
  std::int64_t count;

  __device__ Walk(const Sm90Args& a, int cluster)
      : index(blockIdx.x / cluster), step(gridDim.x / cluster), count(a.tiles_m * a.tiles_n) {}

  __device__ bool done() const { return index >= count; }
  __device__ void next(int tiles = 1) { index += tiles * step; }

  // Row and column tile: `raster` row tiles go through the columns together, so that what they read
  // stays in L2.
  __device__ void tile(const Sm90Args& a, std::int64_t& m, std::int64_t& n) const {
    const std::int64_t group_tiles = a.raster * a.tiles_n;
    const std::int64_t group = index / group_tiles;
    const std::int64_t first = group * a.raster;
    const std::int64_t rows = a.tiles_m - first < a.raster ? a.tiles_m - first : a.raster;
    const std::int64_t inside = index - group * group_tiles;
    m = first + inside % rows;
    n = inside / rows;
  }
};

// The producer's one thread: loads every stage of every tile of the block.
template <class S, int Slots, int Cluster>
__device__ __forceinline__ void produce(const Sm90Args& a, typename S::Storage& storage,
                                        typename S::Pipeline& pipeline) {
  const auto rank = static_cast<int>(block_rank_in_cluster());
  constexpr auto all_blocks = static_cast<std::uint16_t>((1 << Cluster) - 1);
  constexpr auto keep = static_cast<std::uint64_t>(TMA::CacheHintSm90::EVICT_NORMAL);
  auto state = cutlass::make_producer_start_state<typename S::Pipeline>();
  for (Walk walk(a, Cluster); !walk.done(); walk.next()) {
    std::int64_t m, n;
    walk.tile(a, m, n);
    const auto row = static_cast<int>((m * Cluster + rank) * sm90_rows);
    const auto slot = static_cast<int>(n * Slots + rank * S::part);
    for (std::int64_t k = 0; k < a.k_tiles; ++k) {
      pipeline.producer_acquire(state);
      std::uint64_t* barrier = pipeline.producer_get_barrier(state);
      const auto column = static_cast<int>(k * sm90_tile_k);
      const int stage = state.index();
      SM90_TMA_LOAD_2D::copy(&a.x, barrier, keep, storage.x + stage * S::x_bytes, column, row);
      char* to = storage.weight + stage * S::weight_bytes + rank * S::part * sm90_tile_k * 2;
      if constexpr (Cluster > 1) {
        if (a.epilogue.gated) {
          SM90_TMA_LOAD_MULTICAST_4D::copy(&a.weight, barrier, all_blocks, keep, to, column, 0, 0,
                                           slot / 16);
        } else {
          SM90_TMA_LOAD_MULTICAST_2D::copy(&a.weight, barrier, all_blocks, keep, to, column, slot);
        }
      } else {
        if (a.epilogue.gated) {
          SM90_TMA_LOAD_4D::copy(&a.weight, barrier, keep, to, column, 0, 0, slot / 16);
        } else {
          SM90_TMA_LOAD_2D::copy(&a.weight, barrier, keep, to, column, slot);
        }
      }
      ++state;
    }
  }
  pipeline.producer_tail(state);
}

// Writes a warpgroup's accumulators to shared memory. The code after it loops over what lies there:
// unrolled over the registers it would be so long that fetching it cost more than running it.
template <class S, int Slots, class Sums>
__device__ __forceinline__ void store_sums(const Sums& sums, float* to, int thread) {
  to += (thread / 32 * 16 + thread % 32 / 4) * S::pitch + thread % 4 * 2;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int block = 0; block < Slots / 8; ++block) {
      float2 pair;
      pair.x = sums(make_coord(0, i % 2, block), i / 2, 0);
      pair.y = sums(make_coord(1, i % 2, block), i / 2, 0);
      *reinterpret_cast<float2*>(to + (i / 2 * 64 + i % 2 * 8) * S::pitch + block * 8) = pair;
    }
  }
}

// A consumer warpgroup's share: every second tile of the block, in turns with the other.
template <class S, int Slots, int Cluster>
__device__ __forceinline__ void consume(const Sm90Args& a, typename S::Storage& storage,
                                        typename S::Pipeline& pipeline, typename S::Turns& turns,
                                        int group, int thread) {
  typename S::Mma mma;
  using T = typename S::Mma::ValTypeA;
  auto x = make_tensor(make_smem_ptr(reinterpret_cast<T*>(storage.x)), typename S::XLayout{});
  auto weight =
      make_tensor(make_smem_ptr(reinterpret_cast<T*>(storage.weight)), typename S::WeightLayout{});
  auto part = mma.get_thread_slice(thread);
  auto x_fragments = part.make_fragment_A(part.partition_A(x));
  auto weight_fragments = part.make_fragment_B(part.partition_B(weight));
  auto sums = partition_fragment_C(mma, cute::Shape<Int<sm90_rows>, Int<Slots>>{});

  typename S::Pipeline::PipelineState state;
  Walk walk(a, Cluster);
  const auto k_tiles = static_cast<std::uint32_t>(a.k_tiles);
  if (group == 1) {
    walk.next();
    state.advance(k_tiles);
  }
  for (; !walk.done(); walk.next(2)) {
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
    store_sums<S, Slots>(sums, storage.sums, thread);
    cutlass::arch::NamedBarrier::sync(warpgroup, 1 + group);
    std::int64_t m, n;
    walk.tile(a, m, n);
    finish_tile<sm90_rows, Slots, S::pitch, warpgroup>(
        a.epilogue, storage.sums, (m * Cluster + block_rank_in_cluster()) * sm90_rows,
        n * tile_columns(a.epilogue.gated, Slots), thread);
    turns.arrive();
  }
}

template <class T, int Slots, int Cluster>
__global__ void __launch_bounds__(threads, 1) sm90_gemm(const __grid_constant__ Sm90Args a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using S = Shape90<T, Slots, Cluster>;
  char* shared = shared_memory();
  auto& storage = *reinterpret_cast<typename S::Storage*>(
      shared + (1024 - cast_smem_ptr_to_uint(shared) % 1024) % 1024);
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
  if constexpr (Cluster > 1) {
    cluster_arrive_relaxed();
    cluster_wait();
  } else {
    __syncthreads();
  }

  if (group < 0) {
    cutlass::arch::warpgroup_reg_dealloc<40>();
    if (thread == 0) {
      prefetch_tma_descriptor(reinterpret_cast<const TmaDescriptor*>(&a.x));
      prefetch_tma_descriptor(reinterpret_cast<const TmaDescriptor*>(&a.weight));
      produce<S, Slots, Cluster>(a, storage, pipeline);
    }
  } else {
    cutlass::arch::warpgroup_reg_alloc<232>();
    consume<S, Slots, Cluster>(a, storage, pipeline, turns, group, thread);
  }
#endif
}

}  // namespace sm90

template <int Slots, int Cluster>
void Sm90Tile<Slots, Cluster>::launch(DType dtype, const Sm90Args& args, unsigned blocks,
                                      cudaStream_t stream) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(sm90::threads);
  config.stream = stream;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {Cluster, 1, 1};
  config.attrs = &cluster;
  config.numAttrs = 1;
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    config.dynamicSmemBytes = sm90::Shape90<T, Slots, Cluster>::shared_bytes;
    check(cudaLaunchKernelEx(&config, sm90::sm90_gemm<T, Slots, Cluster>, args), "cuda.sm90");
  };
  if (dtype == DType::f16) {
    run(cutlass::half_t{});
  } else {
    run(cutlass::bfloat16_t{});
  }
}

template <int Slots, int Cluster>
void Sm90Tile<Slots, Cluster>::load() {
  load_kernel(sm90::sm90_gemm<cutlass::half_t, Slots, Cluster>,
              sm90::Shape90<cutlass::half_t, Slots, Cluster>::shared_bytes);
  load_kernel(sm90::sm90_gemm<cutlass::bfloat16_t, Slots, Cluster>,
              sm90::Shape90<cutlass::bfloat16_t, Slots, Cluster>::shared_bytes);
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
