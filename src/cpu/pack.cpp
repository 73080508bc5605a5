// Packing and unpacking of weights: see pack.hpp.
#include "cpu/pack.hpp"

#include <cstring>
#include <vector>

#include "cpu/matmul_cache.hpp"
#include "cpu/packed_weight.hpp"
#include "cpu/threads.hpp"

namespace postlude {
namespace detail {
namespace {

using dnnl::memory;

// Calls visit(first weight row, columns) for each panel of the weight.
template <class Visit>
void for_each_panel(const PackedWeight& weight, const Visit& visit) {
  for (std::int64_t first = 0; first < weight.n; first += weight.half_columns) {
    for (std::int64_t c = 0; c < weight.half_columns; c += weight.columns) {
      visit(first + c, std::min(weight.columns, weight.half_columns - c));
    }
  }
}

// Where oneDNN's blocked layout keeps element (k, n) of a panel, in elements: the two dimensions
// contribute separately, so that two tables are enough. Moving bits by them is exact, where
// oneDNN's own reorder goes through fp32 arithmetic (which quiets NaNs and may flush subnormals).
struct PanelLayout {
  std::vector<std::int64_t> k_offset;
  std::vector<std::int64_t> n_offset;

  explicit PanelLayout(const memory::desc& desc) {
    const memory::dims sizes = desc.get_dims();
    const memory::dims strides = desc.get_strides();
    const memory::dims blocks = desc.get_inner_blks();
    const memory::dims block_dims = desc.get_inner_idxs();
    const auto offsets = [&](int dim) {
      std::vector<std::int64_t> table(
          static_cast<std::size_t>(sizes[static_cast<std::size_t>(dim)]));
      for (std::size_t i = 0; i < table.size(); ++i) {
        std::int64_t position = static_cast<std::int64_t>(i);
        std::int64_t block_stride = 1;
        for (std::size_t b = blocks.size(); b-- > 0;) {
          if (block_dims[b] == dim) {
            table[i] += position % blocks[b] * block_stride;
            position /= blocks[b];
          }
          block_stride *= blocks[b];
        }
        table[i] += position * strides[static_cast<std::size_t>(dim)];
      }
      return table;
    };
    k_offset = offsets(0);
    n_offset = offsets(1);
  }
};

// Bytes from one block of 64 columns to the next where the layout is PackedWeight::block_bytes';
// else 0.
std::size_t block_bytes(const PanelLayout& layout, DType dtype) {
  constexpr std::size_t block = 64;
  if (layout.n_offset.size() % block != 0) return 0;
  for (std::size_t k = 0; k < layout.k_offset.size(); ++k) {
    if (layout.k_offset[k] != static_cast<std::int64_t>(k * block)) return 0;
  }
  const std::int64_t step = layout.n_offset.size() > block
                                ? layout.n_offset[block]
                                : static_cast<std::int64_t>(layout.k_offset.size() * block);
  for (std::size_t n = 0; n < layout.n_offset.size(); ++n) {
    if (layout.n_offset[n] !=
        static_cast<std::int64_t>(n / block) * step + static_cast<std::int64_t>(n % block))
      return 0;
  }
  return static_cast<std::size_t>(step) * size_of(dtype);
}

// Calls move(plain element, panel element) for every element of a panel, rows [row, ...) of the
// plain matrix.
template <class Element, class Move>
void for_each_element(const TensorView& plain, std::int64_t row, const PanelLayout& layout,
                      const void* panel, const Move& move) {
  const std::int64_t stride_n = plain.size(0) <= 1 ? 0 : plain.stride(0);
  const std::int64_t stride_k = plain.size(1) <= 1 ? 0 : plain.stride(1);
  const auto columns = static_cast<std::int64_t>(layout.n_offset.size());
  auto* first = static_cast<Element*>(plain.data()) + row * stride_n;
  auto* target = static_cast<Element*>(const_cast<void*>(panel));
  const double microseconds =
      static_cast<double>(columns) * static_cast<double>(layout.k_offset.size()) / 500.0;
  for_each_item(columns, microseconds, [&](std::int64_t n) {
    Element* source = first + n * stride_n;
    Element* base = target + layout.n_offset[static_cast<std::size_t>(n)];
    for (std::size_t k = 0; k < layout.k_offset.size(); ++k) {
      move(source[static_cast<std::int64_t>(k) * stride_k], base[layout.k_offset[k]]);
    }
  });
}

// The same for the unsigned type of the dtype's size.
template <class Move>
void for_each_bits(const TensorView& plain, std::int64_t row, const PanelLayout& layout,
                   const void* panel, const Move& move) {
  if (size_of(plain.dtype()) == 4) {
    for_each_element<std::uint32_t>(plain, row, layout, panel, move);
  } else {
    for_each_element<std::uint16_t>(plain, row, layout, panel, move);
  }
}

std::shared_ptr<const WeightState> plain_copy(const TensorView& weight, ContextState& context) {
  auto state = std::make_shared<WeightState>();
  state->n = weight.size(0);
  state->k = weight.size(1);
  state->device = context.device;
  state->bytes = static_cast<std::size_t>(weight.numel()) * size_of(weight.dtype());
  state->storage = {context.backend->allocate(state->bytes, context.device)};
  state->operand.data = state->storage[0].get();
  state->operand.dtype = weight.dtype();
  state->operand.stride_n = std::max<std::int64_t>(state->k, 1);
  state->operand.stride_k = 1;
  context.backend->copy_matrix(
      weight,
      TensorView(state->storage[0].get(), weight.dtype(), {state->n, state->k}, context.device),
      context);
  return state;
}

}  // namespace

std::shared_ptr<const WeightState> pack_panels(const TensorView& weight, const PackOptions& options,
                                               ContextState& context) {
  const dnnl::engine& engine = cpu_state(context).engine();
  auto state = std::make_shared<PackedWeight>();
  state->n = weight.size(0);
  state->k = weight.size(1);
  state->device = context.device;
  state->gated = options.gated;
  state->half_columns = options.gated ? state->n / 2 : state->n;
  if (weight.numel() == 0) return plain_copy(weight, context);
  state->columns =
      std::min(panel_columns(state->half_columns, state->k, weight.dtype()), state->half_columns);
  const memory::desc full = packed_panel_desc(engine, weight.dtype(), state->columns, state->k);
  const std::int64_t tail_columns = state->half_columns % state->columns;
  memory::desc tail;
  if (tail_columns > 0) tail = packed_panel_desc(engine, weight.dtype(), tail_columns, state->k);
  if (full.is_zero() || (tail_columns > 0 && tail.is_zero())) return plain_copy(weight, context);

  state->panel_bytes = align_up(full.get_size());
  state->half_bytes =
      static_cast<std::size_t>(state->half_columns / state->columns) * state->panel_bytes +
      (tail_columns > 0 ? align_up(tail.get_size()) : 0);
  state->bytes = state->half_bytes * (options.gated ? 2 : 1);
  state->storage = {context.backend->allocate(state->bytes, context.device)};
  state->operand.packed = state.get();
  state->operand.dtype = weight.dtype();
  std::memset(state->storage[0].get(), 0, state->bytes);
  const PanelLayout full_layout(full);
  const PanelLayout tail_layout(tail_columns > 0 ? tail : full);
  if (tail_columns == 0) state->block_bytes = block_bytes(full_layout, weight.dtype());
  for_each_panel(*state, [&](std::int64_t row, std::int64_t columns) {
    const PanelLayout& layout = columns == state->columns ? full_layout : tail_layout;
    for_each_bits(weight, row, layout, state->panel(row),
                  [](auto& plain, auto& packed) { packed = plain; });
  });
  return state;
}

void unpack_panels(const WeightState& weight, const TensorView& out, ContextState& context) {
  const auto& packed = static_cast<const PackedWeight&>(weight);
  const dnnl::engine& engine = cpu_state(context).engine();
  for_each_panel(packed, [&](std::int64_t row, std::int64_t columns) {
    const PanelLayout layout(packed_panel_desc(engine, weight.operand.dtype, columns, weight.k));
    for_each_bits(out, row, layout, packed.panel(row),
                  [](auto& plain, auto& bits) { plain = bits; });
  });
}

}  // namespace detail
}  // namespace postlude
