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

using Texts = std::vector<std::string>;
using Tokens = std::vector<std::vector<int>>;

constexpr const char* usage =
    "postlude_engine [--cuda] MODEL tokens             the numbers of each text's pieces\n"
    "postlude_engine [--cuda] MODEL embed              the embedding of each text\n"
    "postlude_engine [--cuda] MODEL search FILE        the three best lines of FILE for each text\n"
    "postlude_engine [--cuda] MODEL time FILE          FILE's sentences a second\n"
    "MODEL is a folder with model.safetensors and vocab.txt. The texts are the lines of the\n"
    "standard input. Lines of FILE that are empty or begin with # do not count.\n";

Texts read_lines(std::istream& file) {
  Texts lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

Texts read_sentences(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  Texts lines = read_lines(file);
  const auto skipped = [](const std::string& line) { return line.empty() || line[0] == '#'; };
  lines.erase(std::remove_if(lines.begin(), lines.end(), skipped), lines.end());
  return lines;
}

Tokens tokenise(const engine::WordPiece& pieces, const Texts& texts) {
  Tokens result;
  for (const std::string& text : texts) result.push_back(pieces.encode(text, engine::max_tokens));
  return result;
}

void search(const std::vector<float>& known, const Texts& sentences, const float* query) {
  std::vector<std::pair<float, std::size_t>> scores;
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    const float* sentence = &known[i * engine::hidden];
    scores.emplace_back(std::inner_product(sentence, sentence + engine::hidden, query, 0.0f), i);
  }
  const auto hits =
      scores.begin() + std::min<std::ptrdiff_t>(3, std::distance(scores.begin(), scores.end()));
  std::partial_sort(scores.begin(), hits, scores.end(), std::greater<>());
  for (auto hit = scores.begin(); hit != hits; ++hit) {
    std::printf("  %.4f  %s\n", hit->first, sentences[hit->second].c_str());
  }
}

// Prints the median of five rounds, after one that does not count.
void time(const char* name, std::size_t sentences, const std::function<void()>& work) {
  std::vector<double> rounds;
  for (int round = 0; round <= 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    if (round > 0) rounds.push_back(spent.count());
  }
  std::sort(rounds.begin(), rounds.end());
  std::printf("%s %.0f sentences a second\n", name, static_cast<double>(sentences) / rounds[2]);
}

void time_all(const engine::WordPiece& pieces, engine::Encoder& encoder, const Texts& sentences) {
  const Tokens tokens = tokenise(pieces, sentences);
  const auto in_batches = [&](std::ptrdiff_t size) {
    for (auto at = tokens.begin(); at != tokens.end();) {
      const auto end = at + std::min(size, tokens.end() - at);
      encoder.encode(Tokens(at, end));
      at = end;
    }
  };
  time("tokens  ", tokens.size(), [&] { tokenise(pieces, sentences); });
  time("batch 32", tokens.size(), [&] { in_batches(32); });
  time("batch  1", tokens.size(), [&] { in_batches(1); });
}

int run(Texts arguments) {
  postlude::Device device;
  if (!arguments.empty() && arguments[0] == "--cuda") {
    device.type = postlude::DeviceType::cuda;
    arguments.erase(arguments.begin());
  }
  const std::string mode = arguments.size() > 1 ? arguments[1] : "";
  const bool with_file = mode == "search" || mode == "time";
  if (arguments.size() != (with_file ? 3 : 2) ||
      !(with_file || mode == "tokens" || mode == "embed")) {
    std::fputs(usage, stderr);
    return 2;
  }
  const engine::WordPiece pieces(arguments[0] + "/vocab.txt");
  engine::Encoder encoder(arguments[0] + "/model.safetensors", device);
  const Texts sentences = with_file ? read_sentences(arguments[2]) : Texts();
  if (mode == "time") {
    time_all(pieces, encoder, sentences);
    return 0;
  }
  const Texts texts = read_lines(std::cin);
  const Tokens tokens = tokenise(pieces, texts);
  const std::vector<float> known = encoder.encode(tokenise(pieces, sentences));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (mode == "tokens") {
      for (int id : tokens[i]) std::printf("%d ", id);
      std::puts("");
      continue;
    }
    const std::vector<float> embedding = encoder.encode({tokens[i]});
    if (mode == "embed") {
      for (float value : embedding) std::printf("%.9g ", value);
      std::puts("");
    } else {
      std::printf("\"%s\"\n", texts[i].c_str());
      search(known, sentences, embedding.data());
    }
  }
  return 0;
}

}  // namespace

int main(int count, char** values) {
  try {
    return run(Texts(values + 1, values + count));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
