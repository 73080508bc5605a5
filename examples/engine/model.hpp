// The encoder of all-MiniLM-L6-v2, a BERT: Postlude's ops for all but attention.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device.hpp"
#include "postlude/postlude.hpp"
#include "safetensors.hpp"

namespace engine {

// Other encoders of the kind differ in these alone.
constexpr std::int64_t layers = 6, hidden = 384, heads = 12, intermediate = 1536;
constexpr std::int64_t vocabulary = 30522, positions = 512;
constexpr std::int64_t max_tokens = 256;  // of a text, as sentence_bert_config.json says
constexpr float eps = 1e-12f;
constexpr auto activation = postlude::Activation::gelu_erf;

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
  Encoder(const std::string& safetensors, postlude::Device device);

  // The embeddings (sequences, hidden) of sequences of 1 to max_tokens pieces: the mean over each
  // one's tokens, made of length 1. On the CPU as many sequences as fit run together, without
  // padding; on a GPU one after the other, each as the CUDA graph of its length.
  std::vector<float> encode(const std::vector<std::vector<int>>& sequences);

 private:
  using Sizes = std::vector<std::int64_t>;

  postlude::TensorView load(const std::vector<std::string>& names, const Sizes& shape);
  postlude::Norm load_norm(const std::string& name);
  Layer load_layer(const std::string& name);
  postlude::TensorView rows(const Memory& memory, std::int64_t count, std::int64_t columns) const;
  std::size_t workspace(std::int64_t tokens) const;
  void embed(const std::vector<int>& sequence, float* to) const;
  void forward(const Sizes& starts);

  postlude::Device device_;
  std::int64_t capacity_;  // tokens that run together
  Stream stream_;
  postlude::Context context_;
  Safetensors file_;
  Memory words_, places_, types_;  // tables of embeddings, on the host
  std::vector<Memory> kept_, unpacked_;
  postlude::Norm embedding_norm_;
  std::vector<Layer> layers_;
  Memory input_, output_;       // (capacity, hidden) on the host
  Memory x_, h_, mixed_, qkv_;  // (capacity, hidden), qkv_ (capacity, 3 * hidden), on the device
};

}  // namespace engine
