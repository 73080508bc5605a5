// The program: embeddings of texts, a search among sentences, and how long they take.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "model.hpp"
#include "wordpiece.hpp"

namespace {

using engine::hidden, engine::max_tokens;
using Texts = std::vector<std::string>;
using Tokens = std::vector<std::vector<int>>;

constexpr const char* usage =
    "postlude_engine [--cuda] MODEL tokens             the numbers of each text's pieces\n"
    "postlude_engine [--cuda] MODEL embed              the embedding of each text\n"
    "postlude_engine [--cuda] MODEL search FILE        the three best lines of FILE for each text\n"
    "postlude_engine [--cuda] MODEL time FILE          FILE's sentences a second\n"
    "MODEL is a folder with model.safetensors and vocab.txt. The texts are the lines of the\n"
    "standard input. Lines of FILE that are empty or begin with # do not count.\n";

Texts read_sentences(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  Texts sentences;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') sentences.push_back(line);
  }
  return sentences;
}

void search(const std::vector<float>& known, const Texts& sentences, const float* query) {
  std::vector<std::pair<float, std::size_t>> scores;
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    const float* sentence = &known[i * hidden];
    scores.emplace_back(std::inner_product(sentence, sentence + hidden, query, 0.0f), i);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  for (std::size_t hit = 0; hit < std::min<std::size_t>(3, scores.size()); ++hit) {
    std::printf("  %.4f  %s\n", scores[hit].first, sentences[scores[hit].second].c_str());
  }
}

// Prints the median of five rounds, after one that does not count.
void time(engine::Encoder& encoder, const Tokens& tokens, std::ptrdiff_t batch) {
  std::vector<double> rounds;
  for (int round = 0; round <= 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (auto at = tokens.begin(); at != tokens.end();) {
      const auto begin = at;
      at += std::min(batch, tokens.end() - at);
      encoder.encode(Tokens(begin, at));
    }
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    if (round > 0) rounds.push_back(static_cast<double>(tokens.size()) / spent.count());
  }
  std::sort(rounds.begin(), rounds.end());
  std::printf("batch %2td %.0f sentences a second\n", batch, rounds[2]);
}

}  // namespace

int main(int count, char** values) try {
  Texts arguments(values + 1, values + count);
  const bool cuda = !arguments.empty() && arguments[0] == "--cuda";
  if (cuda) arguments.erase(arguments.begin());
  const std::string mode = arguments.size() > 1 ? arguments[1] : "";
  const bool with_file = mode == "search" || mode == "time";
  if (arguments.size() != (with_file ? 3 : 2) ||
      !(with_file || mode == "tokens" || mode == "embed")) {
    std::fputs(usage, stderr);
    return 2;
  }
  const engine::WordPiece pieces(arguments[0] + "/vocab.txt");
  engine::Encoder encoder(arguments[0] + "/model.safetensors",
                          cuda ? engine::open_cuda() : std::make_unique<engine::Device>());
  Texts sentences;
  Tokens tokens;
  if (with_file) sentences = read_sentences(arguments[2]);
  for (const std::string& text : sentences) tokens.push_back(pieces.encode(text, max_tokens));
  if (mode == "time") {
    for (std::ptrdiff_t batch : {32, 1}) time(encoder, tokens, batch);
    return 0;
  }
  const std::vector<float> known = encoder.encode(tokens);
  for (std::string text; std::getline(std::cin, text);) {
    const std::vector<int> ids = pieces.encode(text, max_tokens);
    if (mode == "tokens") {
      for (int id : ids) std::printf("%d ", id);
      std::puts("");
      continue;
    }
    const std::vector<float> embedding = encoder.encode({ids});
    if (mode == "search") {
      std::printf("\"%s\"\n", text.c_str());
      search(known, sentences, embedding.data());
    } else {
      for (float value : embedding) std::printf("%.9g ", value);
      std::puts("");
    }
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
