// Loads an encoder, and runs it.
#include "model.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <stdexcept>

#include "attention.hpp"
#include "json.hpp"

namespace engine {
namespace {

using postlude::TensorView;

Json read_json(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return parse_json(std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace

Encoder::Encoder(const std::string& folder, postlude::Device device)
    : device_(device),
      stream_(device),
      context_(device, stream_.ref()),
      file_(folder + "/model.safetensors") {
  const Json config = read_json(folder + "/config.json");
  hidden_ = config["hidden_size"].integer();
  heads_ = config["num_attention_heads"].integer();
  intermediate_ = config["intermediate_size"].integer();
  limit_ = config["max_position_embeddings"].integer();
  eps_ = static_cast<float>(config["layer_norm_eps"].expect('0').number);
  activation_ = postlude::parse_activation(config["hidden_act"].expect('"').text);
  vocabulary_ = config["vocab_size"].integer();
  if (config["model_type"].text != "bert" || heads_ == 0 || hidden_ % heads_ != 0) {
    throw std::runtime_error(folder + ": expected a BERT model");
  }

  const postlude::Device host;
  const std::string embeddings = "embeddings.";
  words_ = allocate(host, vocabulary_ * hidden_);
  positions_ = allocate(host, limit_ * hidden_);
  types_ = allocate(host, 2 * hidden_);
  file_.read(embeddings + "word_embeddings.weight", {vocabulary_, hidden_}, words_.get());
  file_.read(embeddings + "position_embeddings.weight", {limit_, hidden_}, positions_.get());
  file_.read(embeddings + "token_type_embeddings.weight", {2, hidden_}, types_.get());
  embedding_norm_ = load_norm(embeddings + "LayerNorm");
  for (std::int64_t i = 0; i < config["num_hidden_layers"].integer(); ++i) {
    layers_.push_back(load_layer("encoder.layer." + std::to_string(i) + "."));
  }

  const std::string sentences = folder + "/sentence_bert_config.json";
  if (std::filesystem::exists(sentences)) {
    limit_ = std::min(limit_, read_json(sentences)["max_seq_length"].integer());
  }
  if (limit_ < 2) throw std::runtime_error(folder + ": expected room for two tokens");
  allocate_activations();
}

// Tensors of one shape, one below the other, on the device.
TensorView Encoder::load(const std::vector<std::string>& names, const Shape& shape) {
  std::int64_t each = 1;
  for (std::int64_t size : shape) each *= size;
  const std::int64_t count = static_cast<std::int64_t>(names.size()), all = count * each;
  const Memory host = allocate(postlude::Device(), all);
  for (std::int64_t i = 0; i < count; ++i) file_.read(names[i], shape, host.get() + i * each);
  const Memory memory = allocate(device_, all);
  stream_.copy(memory.get(), host.get(), all);
  stream_.wait();
  weights_.push_back(memory);
  const Shape whole = shape.size() == 1 ? Shape{all} : Shape{count * shape[0], shape[1]};
  return TensorView(memory.get(), postlude::DType::f32, static_cast<int>(whole.size()),
                    whole.data(), nullptr, device_);
}

postlude::Norm Encoder::load_norm(const std::string& name) {
  return postlude::Norm::layer(load({name + ".weight"}, {hidden_}),
                               load({name + ".bias"}, {hidden_}), eps_);
}

// The ops bind their weights once, in the layout that the device reads fastest.
Layer Encoder::load_layer(const std::string& name) {
  const std::string attention = name + "attention.self.", project = name + "attention.output.";
  const Shape square = {hidden_, hidden_};
  const auto pack = postlude::Binding::pack;
  // One product makes q, k and v: their weights are merged.
  std::vector<std::string> weights, biases;
  for (const char* part : {"query", "key", "value"}) {
    weights.push_back(attention + part + ".weight");
    biases.push_back(attention + part + ".bias");
  }
  postlude::QkvParams qkv;
  qkv.weight = load(weights, square);
  qkv.bias = load(biases, {hidden_});

  postlude::LinearParams linear;
  linear.weight = load({project + "dense.weight"}, square);
  linear.epilogue.bias = load({project + "dense.bias"}, {hidden_});

  postlude::MlpParams mlp;
  mlp.weight_in = load({name + "intermediate.dense.weight"}, {intermediate_, hidden_});
  mlp.bias_in = load({name + "intermediate.dense.bias"}, {intermediate_});
  mlp.weight_out = load({name + "output.dense.weight"}, {hidden_, intermediate_});
  mlp.bias_out = load({name + "output.dense.bias"}, {hidden_});
  mlp.activation = activation_;

  return Layer{postlude::Qkv(qkv, pack, context_), postlude::Linear(linear, pack, context_),
               load_norm(project + "LayerNorm"), postlude::Mlp(mlp, pack, context_),
               load_norm(name + "output.LayerNorm")};
}

// Everything that a call needs: nothing is allocated later.
void Encoder::allocate_activations() {
  const postlude::Device host;
  capacity_ = device_ == host ? std::max<std::int64_t>(limit_, 1024) : limit_;
  input_ = allocate(host, capacity_ * hidden_);
  output_ = allocate(host, capacity_ * hidden_);
  x_ = allocate(device_, capacity_ * hidden_);
  h_ = allocate(device_, capacity_ * hidden_);
  mixed_ = allocate(device_, capacity_ * hidden_);
  projected_ = allocate(device_, capacity_ * 3 * hidden_);
  // Fewer rows may need more workspace: a product of few rows is split into parts.
  std::size_t bytes = 0;
  for (std::int64_t tokens = 1; tokens <= capacity_ && !layers_.empty(); ++tokens) {
    const Layer& layer = layers_[0];
    const TensorView x = view(x_, tokens, hidden_), h = view(h_, tokens, hidden_);
    const TensorView qkv = view(projected_, tokens, 3 * hidden_);
    const postlude::MlpActivations activations{h, {}, {}, {}, {}, {}};
    bytes = std::max(
        {bytes, workspace_size(layer.qkv.with(x), qkv, context_),
         workspace_size(layer.project.with(h, x), x, context_),
         workspace_size(layer.mlp.with(activations), x, context_),
         workspace_size(postlude::NormParams{x, embedding_norm_, {}, {}, {}, {}}, x, context_)});
  }
  context_.reserve(bytes);
}

TensorView Encoder::view(const Memory& memory, std::int64_t tokens, std::int64_t columns) const {
  return TensorView(memory.get(), postlude::DType::f32, {tokens, columns}, device_);
}

// The sum of each token's embeddings: of its piece, of its place and of its sentence, the first.
void Encoder::embed(const std::vector<int>& sequence, float* rows) const {
  for (std::size_t at = 0; at < sequence.size(); ++at) {
    if (sequence[at] < 0 || sequence[at] >= vocabulary_) {
      throw std::runtime_error("expected pieces of the model's vocabulary");
    }
    const float* word = words_.get() + sequence[at] * hidden_;
    const float* position = positions_.get() + static_cast<std::int64_t>(at) * hidden_;
    for (std::int64_t i = 0; i < hidden_; ++i) *rows++ = word[i] + types_.get()[i] + position[i];
  }
}

// From input_ to output_: sequence i has the rows starts[i] to starts[i + 1].
void Encoder::forward(const std::vector<std::int64_t>& starts) {
  const std::int64_t tokens = starts.back();
  const TensorView x = view(x_, tokens, hidden_), h = view(h_, tokens, hidden_);
  const TensorView mixed = view(mixed_, tokens, hidden_);
  const auto normalise = [this](const TensorView& rows, const postlude::Norm& norm) {
    postlude::norm(postlude::NormParams{rows, norm, {}, {}, {}, {}}, rows, context_);
  };

  stream_.copy(x_.get(), input_.get(), tokens * hidden_);
  normalise(x, embedding_norm_);
  for (const Layer& layer : layers_) {
    layer.qkv(x, {}, view(projected_, tokens, 3 * hidden_), context_);
    for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
      const Heads heads{starts[i + 1] - starts[i], heads_, hidden_ / heads_};
      attention(projected_.get() + starts[i] * 3 * hidden_, heads,
                mixed_.get() + starts[i] * hidden_, context_);
    }
    layer.project(mixed, x, h, context_);  // h = x + mixed weight^T + bias
    normalise(h, layer.attention_norm);
    layer.mlp(postlude::MlpActivations{h, {}, {}, {}, {}, {}}, x, context_);  // x = h + mlp(h)
    normalise(x, layer.output_norm);
  }
  stream_.copy(output_.get(), x_.get(), tokens * hidden_);
}

std::vector<float> Encoder::encode(const std::vector<std::vector<int>>& sequences) {
  std::vector<float> result(sequences.size() * static_cast<std::size_t>(hidden_));
  float* out = result.data();
  for (std::size_t next = 0; next < sequences.size();) {
    std::vector<std::int64_t> starts = {0};
    for (; next < sequences.size(); ++next) {
      const auto length = static_cast<std::int64_t>(sequences[next].size());
      if (length < 1 || length > limit_) {
        throw std::runtime_error("expected 1 to " + std::to_string(limit_) + " pieces, got " +
                                 std::to_string(length));
      }
      const bool alone = device_.type == postlude::DeviceType::cuda;
      if (starts.size() > 1 && (alone || starts.back() + length > capacity_)) break;
      embed(sequences[next], input_.get() + starts.back() * hidden_);
      starts.push_back(starts.back() + length);
    }
    stream_.run(starts.back(), [&] { forward(starts); });

    for (std::size_t i = 0; i + 1 < starts.size(); ++i, out += hidden_) {
      for (std::int64_t row = starts[i]; row < starts[i + 1]; ++row) {
        for (std::int64_t j = 0; j < hidden_; ++j) out[j] += output_.get()[row * hidden_ + j];
      }
      double square = 0.0;  // the mean's length goes with the sum's
      for (std::int64_t j = 0; j < hidden_; ++j) square += out[j] * out[j];
      const auto scale = static_cast<float>(1.0 / std::max(std::sqrt(square), 1e-12));
      for (std::int64_t j = 0; j < hidden_; ++j) out[j] *= scale;
    }
  }
  return result;
}

}  // namespace engine
