// The encoder of BERT and its kin: Postlude's ops for all but attention.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device.hpp"
#include "postlude/postlude.hpp"
#include "safetensors.hpp"

namespace engine {

// A layer computes h = norm(x + project(attention(qkv(x)))), then x = norm(h + mlp(h)).
struct Layer {
  postlude::Qkv qkv;
  postlude::Linear project;
  postlude::Norm attention_norm;
  postlude::Mlp mlp;
  postlude::Norm output_norm;
};

class Encoder {
 public:
  // Reads config.json, sentence_bert_config.json and model.safetensors from a folder. Throws
  // std::runtime_error where they are no model that this program can run.
  Encoder(const std::string& folder, postlude::Device device);

  std::int64_t width() const { return hidden_; }      // of an embedding
  std::int64_t max_tokens() const { return limit_; }  // of a sequence
  // The embeddings (sequences, width) of sequences of pieces, of unit length: the mean over each
  // one's tokens. On the CPU as many sequences as fit run together, without padding; on a GPU one
  // after the other, each as one CUDA graph.
  std::vector<float> encode(const std::vector<std::vector<int>>& sequences);

 private:
  using Shape = std::vector<std::int64_t>;

  postlude::TensorView load(const std::vector<std::string>& names, const Shape& shape);
  postlude::Norm load_norm(const std::string& name);
  Layer load_layer(const std::string& name);
  void allocate_activations();
  void embed(const std::vector<int>& sequence, float* rows) const;
  void forward(const std::vector<std::int64_t>& starts);
  postlude::TensorView view(const Memory& memory, std::int64_t tokens, std::int64_t columns) const;

  postlude::Device device_;
  Stream stream_;
  postlude::Context context_;
  Safetensors file_;
  std::int64_t hidden_ = 0, heads_ = 0, intermediate_ = 0, limit_ = 0, capacity_ = 0;
  float eps_ = 0.0f;
  postlude::Activation activation_ = postlude::Activation::none;

  Memory words_, positions_, types_;  // tables of embeddings, on the host
  std::int64_t vocabulary_ = 0;
  std::vector<Memory> weights_;  // all that the layers refer to
  postlude::Norm embedding_norm_;
  std::vector<Layer> layers_;

  Memory input_, output_;             // on the host (capacity, hidden)
  Memory x_, h_, mixed_, projected_;  // on the device; projected_ is q, k and v
};

}  // namespace engine
