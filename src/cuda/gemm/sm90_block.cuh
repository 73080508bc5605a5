// The block Hopper GEMM: one tile a block, two warpgroups on it, k split over the blocks of a
// cluster where there are few tiles.
//
// A cluster is Cluster blocks that share an operand (column neighbours share x, row neighbours the
// weight; each loads a part of it for all) times args.split blocks that share k. Blocks with one
// part of k come first: rank = part * Cluster + neighbour. The sums of all parts are added in the
// order of the parts, read from the other blocks' shared memory, so the result is the same in every
// run.
#pragma once

#include <cooperative_groups.h>

#include "cuda/gemm/sm90_common.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm90 {

inline constexpr int consumer_threads = 2 * warpgroup;
inline constexpr int max_split = 8;

// A block's shapes. Its last warp is the producer.
template <class T, int Rows, int Slots, int Cluster, Sm90Share Share>
struct Block {
  static constexpr bool shares_x = Cluster > 1 && Share == Sm90Share::x;
  static constexpr bool shares_weight = Cluster > 1 && Share == Sm90Share::weight;
  static constexpr int x_bytes = 2 * Rows * sm90_tile_k;
  static constexpr int weight_bytes = 2 * Slots * sm90_tile_k;
  static constexpr int stage_bytes = x_bytes + weight_bytes;
  // What each warpgroup computes: half the rows, or of a tile of 64 rows half the slots.
  static constexpr bool by_rows = Rows > 64;
  static constexpr int group_rows = by_rows ? Rows / 2 : Rows;
  static constexpr int group_slots = by_rows ? Slots : Slots / 2;
  static constexpr int pitch = sums_pitch(Slots);
  using Finish = ChunkShape<Slots, 4, 8, true>;
  static constexpr int x_part = shares_x ? Rows / Cluster : Rows;
  static constexpr int weight_part = shares_weight ? Slots / Cluster : Slots;
  static constexpr bool two_a_multiprocessor = group_rows * group_slots <= 64 * 128;
  static_assert(weight_part % 8 == 0 && x_part % 8 == 0, "whole parts");

  using Tile = Product<T, group_rows, group_slots>;

  struct Header {
    cutlass::arch::ClusterTransactionBarrier full[sm90_max_stages];
    cutlass::arch::ClusterBarrier empty[sm90_max_stages];
    alignas(16) float bias[Slots];
    float row_scale[Rows];
    float row_mean[Rows];
  };
  static constexpr int header_bytes = sm90_header_bytes - 1024;
  static_assert(sizeof(Header) <= header_bytes, "fits");
};

// A place in the ring of stages.
struct Ring {
  int stage = 0;
  std::uint32_t phase = 0;

  __device__ void next(int stages) {
    if (++stage == stages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

// What one block computes.
template <class S>
struct Place {
  int neighbour;  // among the blocks that share an operand
  int part;       // of k
  int m, n;
  int first_k;
  int k_tiles;

  __device__ static int split_at(const Sm90Args& a, int part) {
    return a.split == 1 ? a.k_tiles * part : a.k_tiles * part / a.split;
  }

  template <int Cluster>
  __device__ static Place of(const Sm90Args& a) {
    Place p;
    const auto rank = static_cast<int>(block_rank_in_cluster());
    p.neighbour = rank % Cluster;
    p.part = rank / Cluster;
    Walk().tile(a, p.m, p.n);
    if (S::shares_x) {
      p.n = p.n * Cluster + p.neighbour;
    } else {
      p.m = p.m * Cluster + p.neighbour;
    }
    p.first_k = split_at(a, p.part);
    p.k_tiles = split_at(a, p.part + 1) - p.first_k;
    return p;
  }
};

// The producer's one thread.
template <class S, int Rows, int Slots, int Cluster>
__device__ __forceinline__ void produce(const Sm90Args& a, const Place<S>& place, char* stages,
                                        typename S::Header& header) {
  const auto neighbours =
      static_cast<std::uint16_t>(Cluster > 1 ? ((1 << Cluster) - 1) << (place.part * Cluster) : 0);
  const int row = place.m * Rows + (S::shares_x ? place.neighbour * S::x_part : 0);
  const int slot = place.n * Slots + (S::shares_weight ? place.neighbour * S::weight_part : 0);
  const auto load_x_at = [&](int stage, int k) {
    char* to = stages + stage * S::stage_bytes;
    if (S::shares_x) to += place.neighbour * S::x_part * sm90_tile_k * 2;
    const Target target{reinterpret_cast<std::uint64_t*>(&header.full[stage]), to,
                        S::shares_x ? neighbours : std::uint16_t{0}};
    load_x(a, target, (place.first_k + k) * sm90_tile_k, row);
  };
  const auto load_weight_at = [&](int stage, int k) {
    char* to = stages + stage * S::stage_bytes + S::x_bytes;
    if (S::shares_weight) to += place.neighbour * S::weight_part * sm90_tile_k * 2;
    const Target target{reinterpret_cast<std::uint64_t*>(&header.full[stage]), to,
                        S::shares_weight ? neighbours : std::uint16_t{0}};
    load_weight(a, target, (place.first_k + k) * sm90_tile_k, slot);
  };

  // The first stages' weights do not wait for the kernel ahead, where it cannot have written them.
  const int first = place.k_tiles < a.stages ? place.k_tiles : a.stages;
  if (!a.weight_ahead) await_predecessor();
  for (int stage = 0; stage < first; ++stage) {
    header.full[stage].arrive_and_expect_tx(S::stage_bytes);
    load_weight_at(stage, stage);
    if (!a.weight_ahead) load_x_at(stage, stage);
  }
  if (a.weight_ahead) {
    await_predecessor();
    for (int stage = 0; stage < first; ++stage) load_x_at(stage, stage);
  }
  release_successor();

  Ring ring;
  if (first == a.stages) ring.phase = 1;
  ring.stage = first == a.stages ? 0 : first;
  for (int k = first; k < place.k_tiles; ++k) {
    header.empty[ring.stage].wait(ring.phase ^ 1);
    header.full[ring.stage].arrive_and_expect_tx(S::stage_bytes);
    load_weight_at(ring.stage, k);
    load_x_at(ring.stage, k);
    ring.next(a.stages);
  }
}

// A consumer warpgroup: its part of the tile's sums, in registers.
template <class S, int Rows, int Slots, int Cluster, class Sums>
__device__ __forceinline__ void multiply(const Sm90Args& a, const Place<S>& place, char* stages,
                                         typename S::Header& header, int group, int thread,
                                         Sums& sums) {
  using Tile = typename S::Tile;
  using Type = typename Tile::Type;
  typename Tile::Mma mma;
  const auto part = mma.get_thread_slice(thread);
  const int x_offset = S::by_rows ? group * S::group_rows * sm90_tile_k * 2 : 0;
  const int weight_offset =
      S::x_bytes + (S::by_rows ? 0 : group * S::group_slots * sm90_tile_k * 2);
  const int lane = thread % 32;
  const auto release = [&](int stage) {
    if (lane < Cluster) {
      header.empty[stage].arrive(static_cast<std::uint32_t>(place.part * Cluster + lane));
    }
  };
  Ring ring;
  int released = 0;
  mma.accumulate_ = GMMA::ScaleOut::Zero;
  for (int k = 0; k < place.k_tiles; ++k) {
    char* stage = stages + ring.stage * S::stage_bytes;
    const auto x = make_tensor(make_smem_ptr(reinterpret_cast<Type*>(stage + x_offset)),
                               typename Tile::template Layout<S::group_rows, 1>{});
    const auto weight = make_tensor(make_smem_ptr(reinterpret_cast<Type*>(stage + weight_offset)),
                                    typename Tile::template Layout<S::group_slots, 1>{});
    const auto x_fragments = part.make_fragment_A(part.partition_A(x));
    const auto weight_fragments = part.make_fragment_B(part.partition_B(weight));
    header.full[ring.stage].wait(ring.phase);
    warpgroup_fence_operand(sums);
    warpgroup_arrive();
#pragma unroll
    for (int step = 0; step < sm90_tile_k / 16; ++step) {
      cute::gemm(mma, x_fragments(_, _, step, 0), weight_fragments(_, _, step, 0), sums);
      mma.accumulate_ = GMMA::ScaleOut::One;
    }
    warpgroup_commit_batch();
    if (k > 0) {
      warpgroup_wait<1>();
      release(released);
    }
    released = ring.stage;
    ring.next(a.stages);
  }
  warpgroup_wait<0>();
  warpgroup_fence_operand(sums);
  if (place.k_tiles == 0) {
    CUTE_UNROLL
    for (int i = 0; i < size(sums); ++i) sums(i) = 0.0f;
  }
}

// Adds up the parts of k for `rows` rows of the tile from `first` on: in this block's own tile,
// whose rows no other block reads. In the order of the parts.
template <class S, int Slots, int Cluster>
__device__ __forceinline__ void add_parts(const Sm90Args& a, const Place<S>& place, float* tile,
                                          int first, int rows, int thread) {
  const auto cluster = cooperative_groups::this_cluster();
  constexpr int runs = Slots / 4;
#pragma unroll 2
  for (int i = thread; i < rows * runs; i += consumer_threads) {
    float4* const own = reinterpret_cast<float4*>(tile + (first + i / runs) * S::pitch) + i % runs;
    float4 parts[max_split];
#pragma unroll
    for (int part = 0; part < max_split; ++part) {
      if (part < a.split) {
        const int rank = part * Cluster + place.neighbour;
        parts[part] = *cluster.map_shared_rank(own, static_cast<unsigned>(rank));
      }
    }
    float4 sum = parts[0];
#pragma unroll
    for (int part = 1; part < max_split; ++part) {
      if (part < a.split) {
        sum.x += parts[part].x;
        sum.y += parts[part].y;
        sum.z += parts[part].z;
        sum.w += parts[part].w;
      }
    }
    *own = sum;
  }
  cutlass::arch::NamedBarrier::sync(consumer_threads, 1);
}

// Finishes this block's share of the tile: all of it, or where k is split an equal part of the
// rows.
template <class T, class S, int Rows, int Slots, int Cluster>
__device__ __forceinline__ void finish(const Sm90Args& a, const Place<S>& place, float* tile,
                                       const typename S::Header& header, int thread) {
  const EpilogueArgs& e = a.epilogue;
  const std::int64_t left = e.m - place.m * Rows;
  const int rows = static_cast<int>(left < Rows ? left : Rows);
  int first = 0, end = rows;
  if (a.split > 1) {
    first = rows * place.part / a.split;
    end = rows * (place.part + 1) / a.split;
    add_parts<S, Slots, Cluster>(a, place, tile, first, end - first, thread);
  }
  Chunk chunk;
  chunk.row0 = place.m * Rows + first;
  chunk.column0 = place.n * tile_columns(e.gated, Slots);
  chunk.rows = end - first;
  chunk.thread = thread;
  chunk.threads = consumer_threads;
  chunk.bias = header.bias;
  chunk.row_scale = header.row_scale + first;
  chunk.row_mean = header.row_mean + first;
  const float* const from = tile + first * S::pitch;
  finish_chunk<T, typename S::Finish>(e, a.loop, chunk, [&](int row, int at, auto& values) {
    load_run(from + row * S::pitch + at, values);
  });
}

template <class T, int Rows, int Slots, int Cluster, Sm90Share Share>
__global__ void __launch_bounds__(consumer_threads + 32,
                                  Block<T, Rows, Slots, Cluster, Share>::two_a_multiprocessor ? 2
                                                                                              : 1)
    sm90_block(const __grid_constant__ Sm90Args a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using S = Block<T, Rows, Slots, Cluster, Share>;
  char* const shared = aligned_shared();
  auto& header = *reinterpret_cast<typename S::Header*>(shared);
  char* const stages = shared + S::header_bytes;
  const int group = static_cast<int>(threadIdx.x) / warpgroup;  // 2: the producer
  const int thread = static_cast<int>(threadIdx.x) % warpgroup;
  const auto place = Place<S>::template of<Cluster>(a);
  const bool clustered = Cluster * a.split > 1;
  const auto meet = [&] {
    if (clustered) {
      cluster_arrive();
      cluster_wait();
    } else {
      __syncthreads();
    }
  };
  if (threadIdx.x == consumer_threads) prefetch_maps(a);
  if (threadIdx.x < a.stages) {
    header.full[threadIdx.x].init(1);
    header.empty[threadIdx.x].init(Cluster * consumer_threads / 32);
    cutlass::arch::fence_barrier_init();
  }
  meet();

  float* const tile = reinterpret_cast<float*>(stages);
  if (group == 2) {
    if (thread == 0) produce<S, Rows, Slots, Cluster>(a, place, stages, header);
    __syncwarp();
    if (clustered && a.split > 1) meet();
  } else {
    const int consumer = group * warpgroup + thread;
    const int column0 = place.n * tile_columns(a.epilogue.gated, Slots);
    await_predecessor();
    if (consumer < Slots) {
      header.bias[consumer] = place_bias<Slots>(a.epilogue, column0, consumer);
    }
    if (consumer < Rows && place.part == 0) {
      prefetch_residual(a.epilogue, place.m * Rows, column0, Slots, consumer);
    }
    stage_row_scales(a, place.m * Rows, Rows, header.row_scale, header.row_mean, consumer);
    auto sums = S::Tile::sums();
    multiply<S, Rows, Slots, Cluster>(a, place, stages, header, group, thread, sums);
    // Both warpgroups are done with the stages, in whose memory the sums go now.
    cutlass::arch::NamedBarrier::sync(consumer_threads, 1);
    float* const to = tile + (S::by_rows ? group * S::group_rows * S::pitch : 0);
    if (S::by_rows) {
      store_sums<0, Slots, 0, S::group_slots, S::pitch>(a.epilogue, sums, to, thread);
    } else if (group == 0) {
      store_sums<0, Slots, 0, S::group_slots, S::pitch>(a.epilogue, sums, to, thread);
    } else {
      store_sums<0, Slots, S::group_slots, S::group_slots, S::pitch>(a.epilogue, sums, to, thread);
    }
    if (a.split > 1) {
      meet();
    } else {
      cutlass::arch::NamedBarrier::sync(consumer_threads, 1);
    }
    finish<T, S, Rows, Slots, Cluster>(a, place, tile, header, consumer);
  }
  // Nobody leaves while others read its sums or arrive at its header.
  if (clustered) meet();
#endif
}

}  // namespace sm90

template <int Rows, int Slots, int Cluster, Sm90Share Share>
void Sm90Block<Rows, Slots, Cluster, Share>::launch(const Sm90Args& args, const Sm90Launch& how) {
  LaunchShape shape;
  shape.blocks = how.blocks;
  shape.threads = sm90::consumer_threads + 32;
  shape.stream = how.stream;
  shape.programmatic = how.programmatic;
  shape.cluster = static_cast<unsigned>(Cluster * args.split);
  shape.shared_bytes = static_cast<std::size_t>(shared_bytes(args.stages));
  if (how.dtype == DType::f16) {
    cuda::launch("cuda.sm90", sm90::sm90_block<__half, Rows, Slots, Cluster, Share>, shape, args);
  } else {
    cuda::launch("cuda.sm90", sm90::sm90_block<__nv_bfloat16, Rows, Slots, Cluster, Share>, shape,
                 args);
  }
}

template <int Rows, int Slots, int Cluster, Sm90Share Share>
int Sm90Block<Rows, Slots, Cluster, Share>::clusters_at_once(int size) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(size));
  config.blockDim = dim3(sm90::consumer_threads + 32);
  config.dynamicSmemBytes = sm90::max_shared;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(size), 1, 1};
  config.attrs = &cluster;
  config.numAttrs = 1;
  int count = 0;
  check(cudaOccupancyMaxActiveClusters(
            &count, sm90::sm90_block<__nv_bfloat16, Rows, Slots, Cluster, Share>, &config),
        "cudaOccupancyMaxActiveClusters");
  return count;
}

template <int Rows, int Slots, int Cluster, Sm90Share Share>
void Sm90Block<Rows, Slots, Cluster, Share>::load() {
  constexpr std::size_t most = sm90::max_shared;
  load_kernel(sm90::sm90_block<__half, Rows, Slots, Cluster, Share>, most);
  load_kernel(sm90::sm90_block<__nv_bfloat16, Rows, Slots, Cluster, Share>, most);
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
