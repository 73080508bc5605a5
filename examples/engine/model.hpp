// The encoder of all-MiniLM-L6-v2, a BERT: Postlude's ops for all but attention.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "device.hpp"
#include "postlude/postlude.hpp"
#include "safetensors.hpp"

namespace engine {

// Other encoders of the kind differ in these alone.
constexpr std::int64_t layers = 6, hidden = 384, heads = hidden / head_size, intermediate = 1536;
constexpr std::int64_t vocabulary = 30522, positions = 512;
constexpr std::int64_t max_tokens = 256;  // of a text, as sentence_bert_config.json says
constexpr float eps = 1e-12f;

// h = norm(x + project(attention(qkv(x)))), then x = norm(h + mlp(h)).
struct Layer {
  postlude::Qkv qkv;
  postlude::Linear project;
  postlude::Norm attention_norm;
  postlude::Mlp mlp;
  postlude::Norm output_norm;
};

class Encoder {
 public:
  // Throws std::runtime_error where the file is not this model's.
  Encoder(const std::string& safetensors, std::unique_ptr<Device> device)
      : device_(std::move(device)),
        capacity_(device_->place() == postlude::Device() ? 4 * max_tokens : max_tokens),
        context_(device_->place(), device_->stream()),
        file_(safetensors) {
    words_ = read({"embeddings.word_embeddings"}, ".weight", {vocabulary, hidden});
    places_ = read({"embeddings.position_embeddings"}, ".weight", {positions, hidden});
    types_ = read({"embeddings.token_type_embeddings"}, ".weight", {2, hidden});
    embedding_norm_ = load_norm("embeddings.LayerNorm");
    for (std::int64_t i = 0; i < layers; ++i) {
      layers_.push_back(load_layer("encoder.layer." + std::to_string(i) + "."));
    }
    // All that calls need, so that none allocates. Fewer tokens may need more workspace: a product
    // of few rows is split into parts.
    for (Memory* memory : {&x_, &h_, &mixed_}) *memory = device_->allocate(capacity_ * hidden);
    qkv_ = device_->allocate(capacity_ * 3 * hidden);
    std::size_t bytes = 0;
    for (std::int64_t i = 1; i <= capacity_; ++i) bytes = std::max(bytes, workspace(i));
    context_.reserve(bytes);
  }

  // The embeddings (sequences, hidden) of sequences of 1 to max_tokens pieces: the mean over each
  // one's tokens, made of length 1. On the CPU several run together, without padding; on a GPU one
  // after the other, each as the CUDA graph of its length.
  std::vector<float> encode(const std::vector<std::vector<int>>& sequences) {
    std::vector<float> result, rows;
    Sizes starts = {0};
    for (std::size_t next = 0; next < sequences.size();) {
      embed(sequences[next], rows);
      starts.push_back(starts.back() + static_cast<std::int64_t>(sequences[next].size()));
      if (++next < sequences.size() && starts.back() + max_tokens <= capacity_) continue;
      device_->copy(x_.get(), rows.data(), starts.back() * hidden);
      device_->run(starts.back(), [&] { forward(starts); });
      device_->copy(rows.data(), x_.get(), starts.back() * hidden);
      for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
        std::vector<float> sum(hidden);  // made of length 1 it is the mean made of length 1
        for (std::int64_t at = starts[i] * hidden; at < starts[i + 1] * hidden; ++at) {
          sum[static_cast<std::size_t>(at % hidden)] += rows[static_cast<std::size_t>(at)];
        }
        const float squares = std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0f);
        for (float value : sum) result.push_back(value / std::sqrt(squares));
      }
      rows.clear();
      starts = {0};
    }
    return result;
  }

 private:
  using Sizes = std::vector<std::int64_t>;
  using Names = std::vector<std::string>;
  using View = postlude::TensorView;

  // Tensors of one shape, one below the other, in the host's memory.
  std::vector<float> read(const Names& names, const std::string& kind, const Sizes& shape) {
    const auto each = static_cast<std::size_t>(shape[0] * (shape.size() > 1 ? shape[1] : 1));
    std::vector<float> values(names.size() * each);
    for (std::size_t i = 0; i < names.size(); ++i)
      file_.read(names[i] + kind, shape, &values[i * each]);
    return values;
  }

  // The same in the device's, which the owner keeps.
  View load(std::vector<Memory>& owner, const Names& names, const std::string& kind, Sizes shape) {
    const std::vector<float> values = read(names, kind, shape);
    const auto count = static_cast<std::int64_t>(values.size());
    owner.push_back(device_->allocate(count));
    device_->copy(owner.back().get(), values.data(), count);
    shape[0] *= static_cast<std::int64_t>(names.size());
    return View(owner.back().get(), postlude::DType::f32, static_cast<int>(shape.size()),
                shape.data(), nullptr, device_->place());
  }

  postlude::Norm load_norm(const std::string& name) {
    return postlude::Norm::layer(load(kept_, {name}, ".weight", {hidden}),
                                 load(kept_, {name}, ".bias", {hidden}), eps);
  }

  // The ops bind their weights once, in a layout of the kernels' own; the plain ones are not kept.
  Layer load_layer(const std::string& name) {
    std::vector<Memory> plain;
    const auto dense = [&](const Names& names, std::int64_t out, std::int64_t in) {
      return std::pair(load(plain, names, ".weight", {out, in}),
                       load(kept_, names, ".bias", {out}));
    };
    const std::string self = name + "attention.self.";
    postlude::QkvParams qkv;  // one product makes q, k and v
    std::tie(qkv.weight, qkv.bias) =
        dense({self + "query", self + "key", self + "value"}, hidden, hidden);
    postlude::LinearParams project;
    std::tie(project.weight, project.epilogue.bias) =
        dense({name + "attention.output.dense"}, hidden, hidden);
    postlude::MlpParams mlp;
    std::tie(mlp.weight_in, mlp.bias_in) =
        dense({name + "intermediate.dense"}, intermediate, hidden);
    std::tie(mlp.weight_out, mlp.bias_out) = dense({name + "output.dense"}, hidden, intermediate);
    mlp.activation = postlude::Activation::gelu_erf;
    constexpr auto pack = postlude::Binding::pack;
    return Layer{postlude::Qkv(qkv, pack, context_), postlude::Linear(project, pack, context_),
                 load_norm(name + "attention.output.LayerNorm"), postlude::Mlp(mlp, pack, context_),
                 load_norm(name + "output.LayerNorm")};
  }

  View rows(const Memory& memory, std::int64_t count, std::int64_t columns) const {
    return View(memory.get(), postlude::DType::f32, {count, columns}, device_->place());
  }

  static postlude::NormParams norm_of(const View& x, const postlude::Norm& norm) {
    return postlude::NormParams{x, norm, {}, {}, {}, {}};
  }

  std::size_t workspace(std::int64_t tokens) const {
    const Layer& layer = layers_[0];
    const View x = rows(x_, tokens, hidden), qkv = rows(qkv_, tokens, 3 * hidden);
    return std::max({workspace_size(layer.qkv.with(x), qkv, context_),
                     workspace_size(layer.project.with(x, x), x, context_),
                     workspace_size(layer.mlp.with({x, {}, {}, {}, {}, {}}), x, context_),
                     workspace_size(norm_of(x, embedding_norm_), x, context_)});
  }

  // Adds a row a token, the sum of its embeddings: its piece's, its place's and its sentence's.
  void embed(const std::vector<int>& sequence, std::vector<float>& rows) const {
    for (std::size_t at = 0; at < sequence.size(); ++at) {
      if (sequence[at] < 0 || sequence[at] >= vocabulary) {
        throw std::runtime_error("piece " + std::to_string(sequence[at]) + " is not the model's");
      }
      const float* word = &words_[static_cast<std::size_t>(sequence[at] * hidden)];
      const float* place = &places_[at * hidden];
      for (std::size_t i = 0; i < hidden; ++i) rows.push_back(word[i] + types_[i] + place[i]);
    }
  }

  // Over x_ itself. Sequence i has the rows starts[i] to starts[i + 1].
  void forward(const Sizes& starts) {
    const std::int64_t tokens = starts.back();
    const View x = rows(x_, tokens, hidden), h = rows(h_, tokens, hidden);
    norm(norm_of(x, embedding_norm_), x, context_);
    for (const Layer& layer : layers_) {
      layer.qkv(x, {}, rows(qkv_, tokens, 3 * hidden), context_);
      for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
        device_->attention(qkv_.get() + starts[i] * 3 * hidden, starts[i + 1] - starts[i], heads,
                           mixed_.get() + starts[i] * hidden);
      }
      layer.project(rows(mixed_, tokens, hidden), x, h, context_);  // h = x + its product
      norm(norm_of(h, layer.attention_norm), h, context_);
      layer.mlp({h, {}, {}, {}, {}, {}}, x, context_);  // x = h + mlp(h)
      norm(norm_of(x, layer.output_norm), x, context_);
    }
  }

  std::unique_ptr<Device> device_;
  std::int64_t capacity_;  // tokens that run together
  postlude::Context context_;
  Safetensors file_;
  std::vector<float> words_, places_, types_;  // tables of embeddings
  std::vector<Memory> kept_;                   // what ops and norms refer to
  postlude::Norm embedding_norm_;
  std::vector<Layer> layers_;
  Memory x_, h_, mixed_, qkv_;  // (capacity, hidden), qkv_ (capacity, 3 * hidden)
};

}  // namespace engine
