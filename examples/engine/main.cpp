// The program: embeddings of texts, a search among sentences, and how long both take.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "model.hpp"
#include "wordpiece.hpp"

namespace {

using Texts = std::vector<std::string>;

constexpr const char* usage =
    "postlude_engine FILE tensors                     what a safetensors file holds\n"
    "postlude_engine [--cuda] MODEL tokens [TEXT...]  the numbers of each text's pieces\n"
    "postlude_engine [--cuda] MODEL embed [TEXT...]   the embedding of each text, one a line\n"
    "postlude_engine [--cuda] MODEL search FILE QUERY...  the three best lines for each query\n"
    "postlude_engine [--cuda] MODEL time FILE         sentences a second, in batches of 32 and 1\n"
    "MODEL: a folder with config.json, model.safetensors and vocab.txt. Without TEXT, the lines\n"
    "of the standard input. Lines of FILE that are empty or begin with # do not count.\n";

struct Engine {
  engine::WordPiece pieces;
  engine::Encoder encoder;

  std::vector<std::vector<int>> tokens(const Texts& texts) const {
    std::vector<std::vector<int>> result;
    for (const std::string& text : texts) {
      result.push_back(pieces.encode(text, static_cast<std::size_t>(encoder.max_tokens())));
    }
    return result;
  }
};

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

template <class T>
void print_rows(const std::vector<T>& values, std::size_t width, const char* format) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::printf(format, values[i]);
    std::putchar((i + 1) % width == 0 ? '\n' : ' ');
  }
}

void search(Engine& engine, const Texts& sentences, const Texts& queries) {
  const auto width = static_cast<std::size_t>(engine.encoder.width());
  const std::vector<float> known = engine.encoder.encode(engine.tokens(sentences));
  const std::vector<float> asked = engine.encoder.encode(engine.tokens(queries));
  for (std::size_t i = 0; i < queries.size(); ++i) {
    std::printf("\"%s\"\n", queries[i].c_str());
    std::vector<std::pair<float, std::size_t>> scores;
    for (std::size_t j = 0; j < sentences.size(); ++j) {
      const float* sentence = &known[j * width];
      scores.emplace_back(std::inner_product(sentence, sentence + width, &asked[i * width], 0.0f),
                          j);
    }
    const std::size_t hits = std::min<std::size_t>(3, scores.size());
    std::partial_sort(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(hits),
                      scores.end(), std::greater<>());
    for (std::size_t j = 0; j < hits; ++j) {
      std::printf("  %.4f  %s\n", scores[j].first, sentences[scores[j].second].c_str());
    }
  }
}

template <class Work>
double seconds(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The median of five rounds, after one that does not count.
void time(Engine& engine, const Texts& sentences) {
  const auto tokens = engine.tokens(sentences);
  std::printf("tokens: %.0f sentences a second\n",
              static_cast<double>(sentences.size()) / seconds([&] { engine.tokens(sentences); }));
  for (std::size_t size : {32, 1}) {
    std::vector<double> rounds;
    for (int round = 0; round <= 5; ++round) {
      const double spent = seconds([&] {
        for (std::size_t i = 0; i < tokens.size(); i += size) {
          const auto last = std::min(i + size, tokens.size());
          engine.encoder.encode({tokens.begin() + i, tokens.begin() + last});
        }
      });
      if (round > 0) rounds.push_back(spent);
    }
    std::nth_element(rounds.begin(), rounds.begin() + 2, rounds.end());
    std::printf("batch %2zu: %.0f sentences a second\n", size,
                static_cast<double>(sentences.size()) / rounds[2]);
  }
}

int run(Texts arguments) {
  postlude::Device device;
  if (!arguments.empty() && arguments[0] == "--cuda") {
    device.type = postlude::DeviceType::cuda;
    arguments.erase(arguments.begin());
  }
  const std::string mode = arguments.size() > 1 ? arguments[1] : "";
  const Texts rest(arguments.begin() + std::min<std::ptrdiff_t>(2, arguments.size()),
                   arguments.end());
  if (mode == "tensors" && rest.empty()) {
    const engine::Safetensors file(arguments[0]);
    for (const auto& [name, tensor] : file.tensors()) {
      std::printf("%s %s %s\n", name.c_str(), tensor.dtype.c_str(),
                  engine::to_string(tensor.shape).c_str());
    }
    return 0;
  }
  const bool texts = mode == "tokens" || mode == "embed";
  if (!texts && !(mode == "search" && rest.size() > 1) && !(mode == "time" && rest.size() == 1)) {
    std::fputs(usage, stderr);
    return 2;
  }
  Engine engine{engine::WordPiece(arguments[0] + "/vocab.txt"),
                engine::Encoder(arguments[0], device)};
  if (mode == "time") {
    time(engine, read_sentences(rest[0]));
  } else if (mode == "search") {
    search(engine, read_sentences(rest[0]), Texts(rest.begin() + 1, rest.end()));
  } else {
    const auto tokens = engine.tokens(rest.empty() ? read_lines(std::cin) : rest);
    if (mode == "embed") {
      const auto width = static_cast<std::size_t>(engine.encoder.width());
      print_rows(engine.encoder.encode(tokens), width, "%.9g");
    } else {
      for (const auto& ids : tokens) print_rows(ids, ids.size(), "%d");
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
