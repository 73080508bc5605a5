// The block Hopper GEMM: one tile a block, all its warpgroups on it, k split over the blocks of a
// cluster where there are few tiles. What a tile looks like is said by a shape of
// sm90_block_shapes.cuh.
//
// A cluster is S::cluster blocks that share x (column neighbours; each loads a part of it for all)
// times args.split blocks that share k. Blocks with one part of k come first: rank = part *
// S::cluster + neighbour. The sums of all parts are added in the order of the parts, read from the
// other blocks' shared memory, so the result is the same in every run.
#pragma once

#include <cooperative_groups.h>

#include "cuda/gemm/sm90_block_shapes.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm90 {

inline constexpr int multiplied_barrier = 7;  // of the consumers and the epilogue's warp

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

// What one block computes. k is counted in stages.
template <class S>
struct Place {
  int neighbour;  // among the blocks that share x
  int part;       // of k
  int m, n;
  int first_k;
  int k_tiles;

  __device__ static int split_at(const Sm90Args& a, int part) {
    return a.split == 1 ? a.k_tiles * part : a.k_tiles * part / a.split;
  }

  __device__ static Place of(const Sm90Args& a) {
    Place p;
    const auto rank = static_cast<int>(block_rank_in_cluster());
    p.neighbour = rank % S::cluster;
    p.part = rank / S::cluster;
    Walk().tile(a, p.m, p.n);
    p.n = p.n * S::cluster + p.neighbour;
    p.first_k = split_at(a, p.part);
    p.k_tiles = split_at(a, p.part + 1) - p.first_k;
    return p;
  }

  __device__ int row0() const { return m * S::rows; }
  __device__ int column0(const Sm90Args& a) const {
    return n * tile_columns(a.epilogue.gated, S::slots);
  }
};

// What the producer's one thread loads, and when.
template <class S>
struct Producer {
  const Sm90Args& a;
  const Place<S>& place;
  char* stages;
  typename S::Header& header;

  // x is not read where the block normalises it itself.
  __device__ bool reads_x() const { return !S::norms || a.norm_bytes == 0; }
  __device__ int first() const { return place.k_tiles < a.stages ? place.k_tiles : a.stages; }

  __device__ Target target(int stage, int offset, std::uint16_t blocks) const {
    return {reinterpret_cast<std::uint64_t*>(&header.full[stage]),
            stages + stage * S::stage_bytes + offset, blocks};
  }

  __device__ void load_x_at(int stage, int k) const {
    if (!reads_x()) return;
    const auto neighbours = static_cast<std::uint16_t>(
        S::cluster > 1 ? ((1 << S::cluster) - 1) << (place.part * S::cluster) : 0);
    const int part = S::cluster > 1 ? place.neighbour * S::x_part : 0;
#pragma unroll
    for (int line = 0; line < S::depth; ++line) {
      load_x(a, target(stage, line * S::x_bytes + part * sm90_tile_k * 2, neighbours),
             ((place.first_k + k) * S::depth + line) * sm90_tile_k, place.row0() + part);
    }
  }

  __device__ void load_weight_at(int stage, int k) const {
    header.full[stage].arrive_and_expect_tx(reads_x() ? S::stage_bytes
                                                      : S::depth * S::weight_bytes);
#pragma unroll
    for (int line = 0; line < S::depth; ++line) {
      load_weight(a, target(stage, S::depth * S::x_bytes + line * S::weight_bytes, 0),
                  ((place.first_k + k) * S::depth + line) * sm90_tile_k, place.n * S::slots);
    }
  }

  // Before the blocks of the cluster know of each other: the first stages' weights, where the
  // kernel ahead cannot have written them.
  __device__ void begin() const {
    if (!a.weight_ahead) return;
    for (int stage = 0; stage < first(); ++stage) load_weight_at(stage, stage);
  }

  __device__ void run() const {
    await_predecessor();
    for (int stage = 0; stage < first(); ++stage) {
      if (!a.weight_ahead) load_weight_at(stage, stage);
      load_x_at(stage, stage);
    }
    Ring ring;
    if (first() == a.stages) ring.phase = 1;
    ring.stage = first() == a.stages ? 0 : first();
    for (int k = first(); k < place.k_tiles; ++k) {
      header.empty[ring.stage].wait(ring.phase ^ 1);
      load_weight_at(ring.stage, k);
      load_x_at(ring.stage, k);
      ring.next(a.stages);
    }
    if constexpr (S::cluster > 1) {
      // Until the others have arrived at this block's barriers for the last time.
      for (int stage = 0; stage < first(); ++stage) {
        const int uses = (place.k_tiles - 1 - stage) / a.stages + 1;
        header.empty[stage].wait(static_cast<std::uint32_t>(uses - 1) & 1);
      }
    }
  }
};

// A consumer warpgroup: its part of the tile's sums, in registers.
template <class S, class Sums>
__device__ __forceinline__ void multiply(const Sm90Args& a, const Place<S>& place, char* stages,
                                         typename S::Header& header, int group, int thread,
                                         Sums& sums) {
  using Product = typename S::Product;
  using Type = typename Product::Type;
  typename Product::Mma mma;
  const auto slice = mma.get_thread_slice(thread);
  const auto operand = [](char* at, auto layout) {
    return make_tensor(make_smem_ptr(reinterpret_cast<Type*>(at)), layout);
  };
  // The second operand, where the block has made it itself.
  char* const panel = S::norms && a.norm_bytes > 0 ? stages - a.norm_bytes : nullptr;
  const int lane = thread % 32;
  const auto release = [&](int stage) {
    if (S::cluster == 1) {
      if (lane == 0) header.empty[stage].arrive();
    } else if (lane < S::cluster) {
      header.empty[stage].arrive(static_cast<std::uint32_t>(place.part * S::cluster + lane));
    }
  };
  Ring ring;
  int released = 0;
  mma.accumulate_ = GMMA::ScaleOut::Zero;
  for (int k = 0; k < place.k_tiles; ++k) {
    char* const stage = stages + ring.stage * S::stage_bytes;
    char* const b = S::norms && panel != nullptr ? panel + k * S::depth * S::b_line
                                                 : stage + S::b_offset(group);
    header.full[ring.stage].wait(ring.phase);
    warpgroup_fence_operand(sums);
    warpgroup_arrive();
#pragma unroll
    for (int line = 0; line < S::depth; ++line) {
      const auto a_line = operand(stage + S::a_offset(group) + line * S::a_line,
                                  typename Product::template Layout<Product::rows, 1>{});
      const auto b_line =
          operand(b + line * S::b_line, typename Product::template Layout<Product::slots, 1>{});
      const auto a_fragments = slice.make_fragment_A(slice.partition_A(a_line));
      const auto b_fragments = slice.make_fragment_B(slice.partition_B(b_line));
#pragma unroll
      for (int step = 0; step < sm90_tile_k / 16; ++step) {
        cute::gemm(mma, a_fragments(_, _, step, 0), b_fragments(_, _, step, 0), sums);
        mma.accumulate_ = GMMA::ScaleOut::One;
      }
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
  if constexpr (S::cluster > 1) {
    release(released);
    __syncwarp();
  }
}

// Adds up the parts of k for `rows` rows of the tile from `first` on: in this block's own tile,
// whose rows no other block reads. In the order of the parts. Reading another block's memory takes
// long, so that a thread has several runs under way, of several parts.
template <class S>
__device__ __forceinline__ void add_parts(const Sm90Args& a, const Place<S>& place, float* tile,
                                          int first, int rows, int thread) {
  const auto cluster = cooperative_groups::this_cluster();
  const auto tile_of = [&](int part) {
    const int rank = part * S::cluster + place.neighbour;
    return cluster.map_shared_rank(tile, static_cast<unsigned>(rank));
  };
  constexpr int runs = S::slots / 4;
  constexpr int batch = 4;
  const int count = rows * runs;
#pragma unroll 1
  for (int begin = thread; begin < count; begin += batch * S::consumers) {
    int at[batch];
    float4 sum[batch];
    const auto each = [&](auto&& function) {
#pragma unroll
      for (int u = 0; u < batch; ++u) {
        if (begin + u * S::consumers < count) function(u);
      }
    };
    const auto run = [&](float* from, int u) -> float4& {
      return *reinterpret_cast<float4*>(from + at[u]);
    };
#pragma unroll
    for (int u = 0; u < batch; ++u) {
      const int i = begin + u * S::consumers;
      at[u] = (first + i / runs) * S::pitch + i % runs * 4;
    }
    each([&](int u) { sum[u] = run(tile_of(0), u); });
#pragma unroll 2
    for (int part = 1; part < a.split; ++part) {
      float4 other[batch];
      each([&](int u) { other[u] = run(tile_of(part), u); });
      each([&](int u) {
        sum[u].x += other[u].x;
        sum[u].y += other[u].y;
        sum[u].z += other[u].z;
        sum[u].w += other[u].w;
      });
    }
    each([&](int u) { run(tile, u) = sum[u]; });
  }
  __syncwarp();
  cutlass::arch::NamedBarrier::sync(S::consumers, 1);
}

// Finishes this block's share of the tile: all of it, or where k is split an equal part of the
// rows.
template <class S>
__device__ __forceinline__ void finish(const Sm90Args& a, const Place<S>& place, float* tile,
                                       const typename S::Header& header, int thread) {
  const EpilogueArgs& e = a.epilogue;
  const std::int64_t left = e.m - place.row0();
  const int rows = static_cast<int>(left < S::rows ? left : S::rows);
  int first = 0, end = rows;
  if (a.split > 1) {
    first = rows * place.part / a.split;
    end = rows * (place.part + 1) / a.split;
    add_parts<S>(a, place, tile, first, end - first, thread);
    cluster_arrive();  // this block reads no other's sums any more
  }
  Chunk chunk;
  chunk.row0 = place.row0() + first;
  chunk.column0 = place.column0(a);
  chunk.rows = end - first;
  chunk.thread = thread;
  chunk.threads = S::consumers;
  chunk.bias = header.bias;
  chunk.row_scale = header.row_scale + first;
  chunk.row_mean = header.row_mean + first;
  const float* const from = tile + first * S::pitch;
  finish_chunk<typename S::T, typename S::Finish>(
      e, a.loop, chunk,
      [&](int row, int at, auto& values) { load_run(from + row * S::pitch + at, values); });
}

// What the epilogue needs beside the sums: the work of one warp, while the others multiply.
template <class S>
__device__ __forceinline__ void stage_epilogue(const Sm90Args& a, const Place<S>& place,
                                               typename S::Header& header, int thread) {
  const int column0 = place.column0(a);
  for (int i = thread; i < S::slots; i += 32) {
    header.bias[i] = place_bias<S::slots>(a.epilogue, column0, i);
  }
  for (int row = thread; row < S::rows; row += 32) {
    if (place.part == 0) prefetch_residual(a.epilogue, place.row0(), column0, S::slots, row);
    stage_row_scales(a, place.row0(), S::rows, header.row_scale, header.row_mean, row);
  }
}

// Fills the panel ahead of the stages.
template <class S>
__device__ __forceinline__ void stage_norm(const Sm90Args& a, const Place<S>& place, char* stages,
                                           typename S::Header& header, int thread) {
  const Panel<S::x_bytes> panel{stages - a.norm_bytes, place.first_k * S::depth,
                                place.k_tiles * S::depth};
  const bool stores = place.n == 0 && place.part == 0;
  normalise_rows<typename S::T, S::consumers>(a.norm, panel, stores, header.norm, thread);
}

template <class S>
__global__ void __launch_bounds__(S::threads, S::at_once)
    sm90_block(const __grid_constant__ Sm90Args a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  char* const shared = aligned_shared();
  auto& header = *reinterpret_cast<typename S::Header*>(shared);
  char* const stages = shared + S::header_bytes + (S::norms ? a.norm_bytes : 0);
  const auto place = Place<S>::of(a);
  // Blocks that share x use each other's barriers. Where only k is split, the others' memory is
  // first looked at after the products, when all blocks meet: one that starts late need not wait
  // for the others before it begins.
  const auto meet = [&] {
    if constexpr (S::cluster > 1) {
      cluster_arrive();
      cluster_wait();
    } else {
      __syncthreads();
    }
  };
  const Producer<S> producer{a, place, stages, header};
  if (threadIdx.x == S::consumers) {
    release_successor();
    prefetch_maps(a);
    for (int stage = 0; stage < a.stages; ++stage) {
      header.full[stage].init(1);
      header.empty[stage].init(S::cluster * S::consumers / 32);
    }
    cutlass::arch::fence_barrier_init();
    cutlass::arch::fence_view_async_shared();
    producer.begin();
  }
  __syncwarp();

  float* const tile = reinterpret_cast<float*>(stages);
  if (threadIdx.x >= S::consumers) {
    if constexpr (S::lends) cutlass::arch::warpgroup_reg_dealloc<24>();
    meet();
    if (threadIdx.x == S::consumers) producer.run();
    if (threadIdx.x / 32 == S::consumers / 32 + 1) {
      await_predecessor();
      stage_epilogue<S>(a, place, header, static_cast<int>(threadIdx.x) % 32);
      __syncwarp();
      cutlass::arch::NamedBarrier::arrive(S::consumers + 32, multiplied_barrier);
    }
    __syncwarp();
    if (a.split > 1) {
      cluster_arrive();
      cluster_wait();
      cluster_arrive();
    }
  } else {
    if constexpr (S::lends) cutlass::arch::warpgroup_reg_alloc<240>();
    const int consumer = static_cast<int>(threadIdx.x);
    const int group = consumer / warpgroup;
    const int thread = consumer % warpgroup;
    if (S::norms && a.norm_bytes > 0) {
      if (threadIdx.x < 32) prefetch_vectors(a.norm, threadIdx.x, 32);
    } else {
      meet();
    }
    await_predecessor();
    if constexpr (S::norms) {
      if (a.norm_bytes > 0) {
        stage_norm<S>(a, place, stages, header, consumer);
        meet();
      }
    }
    auto sums = S::Product::sums();
    multiply<S>(a, place, stages, header, group, thread, sums);
    // All warpgroups are done with the stages, in whose memory the sums go now.
    cutlass::arch::NamedBarrier::sync(S::consumers + 32, multiplied_barrier);
    S::store(a.epilogue, sums, tile, group, thread);
    if (a.split > 1) {
      cluster_arrive();
      cluster_wait();
    } else {
      cutlass::arch::NamedBarrier::sync(S::consumers, 1);
    }
    finish<S>(a, place, tile, header, consumer);
    __syncwarp();
  }
  // Nobody leaves while others read its sums.
  if (a.split > 1) cluster_wait();
#endif
}

template <class S>
void launch_block(const Sm90Args& args, const Sm90Launch& how, int shared_bytes) {
  LaunchShape shape;
  shape.blocks = how.blocks;
  shape.threads = S::threads;
  shape.stream = how.stream;
  shape.programmatic = how.programmatic;
  shape.cluster = static_cast<unsigned>(S::cluster * args.split);
  shape.shared_bytes = static_cast<std::size_t>(shared_bytes);
  cuda::launch("cuda.sm90", sm90_block<S>, shape, args);
}

}  // namespace sm90

template <int Rows, int Slots, int Cluster, bool Swap>
void Sm90Block<Rows, Slots, Cluster, Swap>::launch(const Sm90Args& args, const Sm90Launch& how) {
  const int bytes = shared_bytes(args.stages, args.norm_bytes);
  if (how.dtype == DType::f16) {
    sm90::launch_block<sm90::Shape<__half, Rows, Slots, Cluster, Swap>>(args, how, bytes);
  } else {
    sm90::launch_block<sm90::Shape<__nv_bfloat16, Rows, Slots, Cluster, Swap>>(args, how, bytes);
  }
}

template <int Rows, int Slots, int Cluster, bool Swap>
int Sm90Block<Rows, Slots, Cluster, Swap>::clusters_at_once(int size) {
  using S = sm90::Shape<__nv_bfloat16, Rows, Slots, Cluster, Swap>;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(size));
  config.blockDim = dim3(S::threads);
  config.dynamicSmemBytes = sm90::max_shared;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(size), 1, 1};
  config.attrs = &cluster;
  config.numAttrs = 1;
  int count = 0;
  check(cudaOccupancyMaxActiveClusters(&count, sm90::sm90_block<S>, &config),
        "cudaOccupancyMaxActiveClusters");
  return count;
}

template <int Rows, int Slots, int Cluster, bool Swap>
void Sm90Block<Rows, Slots, Cluster, Swap>::load() {
  constexpr std::size_t most = sm90::max_shared;
  load_kernel(sm90::sm90_block<sm90::Shape<__half, Rows, Slots, Cluster, Swap>>, most);
  load_kernel(sm90::sm90_block<sm90::Shape<__nv_bfloat16, Rows, Slots, Cluster, Swap>>, most);
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
