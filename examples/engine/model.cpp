// Loads the encoder, and runs it.
#include "model.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "attention.hpp"

namespace engine {

using postlude::TensorView;

static postlude::NormParams norm_of(const TensorView& x, const postlude::Norm& norm) {
  return postlude::NormParams{x, norm, {}, {}, {}, {}};
}

Encoder::Encoder(const std::string& safetensors, postlude::Device device)
    : device_(device),
      capacity_(device == postlude::Device() ? 4 * max_tokens : max_tokens),
      stream_(device),
      context_(device, stream_.ref()),
      file_(safetensors) {
  const auto host_table = [this](const std::string& name, std::int64_t count) {
    const Memory memory = allocate(postlude::Device(), count * hidden);
    file_.read("embeddings." + name + "_embeddings.weight", {count, hidden}, memory.get());
    return memory;
  };
  words_ = host_table("word", vocabulary);
  places_ = host_table("position", positions);
  types_ = host_table("token_type", 2);
  embedding_norm_ = load_norm("embeddings.LayerNorm");
  for (std::int64_t i = 0; i < layers; ++i) {
    layers_.push_back(load_layer("encoder.layer." + std::to_string(i) + "."));
  }

  // All that calls need, so that none allocates. Fewer tokens may need more workspace: a product of
  // few rows is split into parts.
  input_ = allocate_host(device, capacity_ * hidden);
  output_ = allocate_host(device, capacity_ * hidden);
  for (Memory* memory : {&x_, &h_, &mixed_}) *memory = allocate(device, capacity_ * hidden);
  qkv_ = allocate(device, capacity_ * 3 * hidden);
  std::size_t bytes = 0;
  for (std::int64_t i = 1; i <= capacity_; ++i) bytes = std::max(bytes, workspace(i));
  context_.reserve(bytes);
}

// Tensors of one shape, one below the other, on the device.
TensorView Encoder::load(const std::vector<std::string>& names, const Sizes& shape) {
  const bool is_weight = shape.size() == 2;
  const std::int64_t each = shape[0] * (is_weight ? shape[1] : 1);
  const std::int64_t count = static_cast<std::int64_t>(names.size());
  const Memory host = allocate(postlude::Device(), count * each);
  float* to = host.get();
  for (const std::string& name : names) {
    file_.read(name, shape, to);
    to += each;
  }
  const Memory memory = allocate(device_, count * each);
  stream_.copy(memory.get(), host.get(), count * each);
  stream_.wait();
  (is_weight ? unpacked_ : kept_).push_back(memory);
  if (is_weight) return rows(memory, count * shape[0], shape[1]);
  return TensorView(memory.get(), postlude::DType::f32, {count * each}, device_);
}

postlude::Norm Encoder::load_norm(const std::string& name) {
  return postlude::Norm::layer(load({name + ".weight"}, {hidden}), load({name + ".bias"}, {hidden}),
                               eps);
}

// The ops bind their weights once, in a layout of the kernels' own.
Layer Encoder::load_layer(const std::string& name) {
  const std::string attention = name + "attention.self.", output = name + "attention.output.";
  std::vector<std::string> weights, biases;  // one product makes q, k and v
  for (const char* part : {"query", "key", "value"}) {
    weights.push_back(attention + part + ".weight");
    biases.push_back(attention + part + ".bias");
  }
  postlude::QkvParams qkv;
  qkv.weight = load(weights, {hidden, hidden});
  qkv.bias = load(biases, {hidden});

  postlude::LinearParams project;
  project.weight = load({output + "dense.weight"}, {hidden, hidden});
  project.epilogue.bias = load({output + "dense.bias"}, {hidden});

  postlude::MlpParams mlp;
  mlp.weight_in = load({name + "intermediate.dense.weight"}, {intermediate, hidden});
  mlp.bias_in = load({name + "intermediate.dense.bias"}, {intermediate});
  mlp.weight_out = load({name + "output.dense.weight"}, {hidden, intermediate});
  mlp.bias_out = load({name + "output.dense.bias"}, {hidden});
  mlp.activation = activation;

  constexpr auto pack = postlude::Binding::pack;
  const Layer layer{postlude::Qkv(qkv, pack, context_), postlude::Linear(project, pack, context_),
                    load_norm(output + "LayerNorm"), postlude::Mlp(mlp, pack, context_),
                    load_norm(name + "output.LayerNorm")};
  unpacked_.clear();
  return layer;
}

TensorView Encoder::rows(const Memory& memory, std::int64_t count, std::int64_t columns) const {
  return TensorView(memory.get(), postlude::DType::f32, {count, columns}, device_);
}

std::size_t Encoder::workspace(std::int64_t tokens) const {
  const Layer& layer = layers_[0];
  const TensorView x = rows(x_, tokens, hidden), qkv = rows(qkv_, tokens, 3 * hidden);
  return std::max({workspace_size(layer.qkv.with(x), qkv, context_),
                   workspace_size(layer.project.with(x, x), x, context_),
                   workspace_size(layer.mlp.with({x, {}, {}, {}, {}, {}}), x, context_),
                   workspace_size(norm_of(x, embedding_norm_), x, context_)});
}

// The sum of each token's embeddings: its piece's, its place's and its sentence's, the first.
void Encoder::embed(const std::vector<int>& sequence, float* to) const {
  for (std::size_t at = 0; at < sequence.size(); ++at) {
    if (sequence[at] < 0 || sequence[at] >= vocabulary) {
      throw std::runtime_error("piece " + std::to_string(sequence[at]) + " is not the model's");
    }
    const float* word = words_.get() + sequence[at] * hidden;
    const float* place = places_.get() + static_cast<std::int64_t>(at) * hidden;
    for (std::int64_t i = 0; i < hidden; ++i) *to++ = word[i] + types_.get()[i] + place[i];
  }
}

// From input_ to output_. Sequence i has the rows starts[i] to starts[i + 1].
void Encoder::forward(const Sizes& starts) {
  const std::int64_t tokens = starts.back();
  const TensorView x = rows(x_, tokens, hidden), h = rows(h_, tokens, hidden);

  stream_.copy(x_.get(), input_.get(), tokens * hidden);
  norm(norm_of(x, embedding_norm_), x, context_);  // over x itself, as those below
  for (const Layer& layer : layers_) {
    layer.qkv(x, {}, rows(qkv_, tokens, 3 * hidden), context_);
    for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
      attention(qkv_.get() + starts[i] * 3 * hidden,
                Heads{starts[i + 1] - starts[i], heads, hidden / heads},
                mixed_.get() + starts[i] * hidden, context_);
    }
    layer.project(rows(mixed_, tokens, hidden), x, h, context_);  // h = x + its product
    norm(norm_of(h, layer.attention_norm), h, context_);
    layer.mlp({h, {}, {}, {}, {}, {}}, x, context_);  // x = h + mlp(h)
    norm(norm_of(x, layer.output_norm), x, context_);
  }
  stream_.copy(output_.get(), x_.get(), tokens * hidden);
}

std::vector<float> Encoder::encode(const std::vector<std::vector<int>>& sequences) {
  std::vector<float> result(sequences.size() * static_cast<std::size_t>(hidden));
  const std::size_t most = device_ == postlude::Device() ? sequences.size() : 1;
  float* out = result.data();
  for (auto next = sequences.begin(); next != sequences.end();) {
    Sizes starts = {0};
    for (; next != sequences.end() && starts.size() <= most; ++next) {
      const auto end = starts.back() + static_cast<std::int64_t>(next->size());
      if (next->empty() || next->size() > max_tokens) {
        throw std::runtime_error("expected texts of 1 to " + std::to_string(max_tokens) +
                                 " pieces");
      }
      if (end > capacity_) break;
      embed(*next, input_.get() + starts.back() * hidden);
      starts.push_back(end);
    }
    stream_.run(starts.back(), [&] { forward(starts); });

    for (std::size_t i = 0; i + 1 < starts.size(); ++i, out += hidden) {
      double squares = 0.0;  // the mean made of length 1 is the sum made of length 1
      for (std::int64_t j = 0; j < hidden; ++j) {
        for (auto row = starts[i]; row < starts[i + 1]; ++row) {
          out[j] += output_.get()[row * hidden + j];
        }
        squares += out[j] * out[j];
      }
      for (std::int64_t j = 0; j < hidden; ++j) out[j] /= static_cast<float>(std::sqrt(squares));
    }
  }
  return result;
}

}  // namespace engine
