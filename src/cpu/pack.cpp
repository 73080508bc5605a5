// Packing and unpacking of weights: see pack.hpp.
#include "cpu/pack.hpp"

#include "cpu/matmul_cache.hpp"
#include "cpu/packed_weight.hpp"

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

// Rows [row, row + columns) of a plain matrix (N, K) as oneDNN's (k, n).
memory::desc plain_desc(const TensorView& view, std::int64_t columns) {
  const std::int64_t stride_k = view.size(1) <= 1 ? 1 : view.stride(1);
  const std::int64_t stride_n = view.size(0) <= 1 ? view.size(1) : view.stride(0);
  return memory::desc({view.size(1), columns}, to_dnnl(view.dtype()), memory::dims{stride_k, stride_n});
}

char* plain_row(const TensorView& view, std::int64_t row) {
  const std::int64_t stride = view.size(0) <= 1 ? 0 : view.stride(0);
  return static_cast<char*>(view.data()) + row * stride * static_cast<std::int64_t>(size_of(view.dtype()));
}

void reorder(const dnnl::engine& engine, const memory::desc& from_desc, const void* from,
             const memory::desc& to_desc, const void* to) {
  memory source(from_desc, engine, const_cast<void*>(from));
  memory target(to_desc, engine, const_cast<void*>(to));
  dnnl::stream stream(engine);
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
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
      weight, TensorView(state->storage[0].get(), weight.dtype(), {state->n, state->k}, context.device), context);
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
  state->layout = options.layout;
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
  state->half_bytes = static_cast<std::size_t>(state->half_columns / state->columns) * state->panel_bytes +
                      (tail_columns > 0 ? align_up(tail.get_size()) : 0);
  state->bytes = state->half_bytes * (options.gated ? 2 : 1);
  state->storage = {context.backend->allocate(state->bytes, context.device)};
  state->operand.packed = state.get();
  state->operand.dtype = weight.dtype();
  for_each_panel(*state, [&](std::int64_t row, std::int64_t columns) {
    reorder(engine, plain_desc(weight, columns), plain_row(weight, row), columns == state->columns ? full : tail,
            state->panel(row));
  });
  return state;
}

void unpack_panels(const WeightState& weight, const TensorView& out, ContextState& context) {
  const auto& packed = static_cast<const PackedWeight&>(weight);
  const dnnl::engine& engine = cpu_state(context).engine();
  for_each_panel(packed, [&](std::int64_t row, std::int64_t columns) {
    reorder(engine, packed_panel_desc(engine, weight.operand.dtype, columns, weight.k), packed.panel(row),
            plain_desc(out, columns), plain_row(out, row));
  });
}

}  // namespace detail
}  // namespace postlude
