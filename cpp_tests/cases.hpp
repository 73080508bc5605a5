// Every shape that the suites run, in one place.
#pragma once

#include <cstdint>
#include <vector>

namespace postlude {
namespace test {

// M rows, N outputs, K inputs.
struct GemmShape {
  std::int64_t m, n, k;
};

// H hidden, I intermediate, N outputs.
struct MlpShape {
  std::int64_t m, h, i, n;
};

namespace cases {

// No multiple of a tile or of a vector, each size in each place; 300 is longer than a tile.
inline const std::vector<GemmShape> tails = {
    {1, 1, 1},    {1, 7, 33},   {1, 300, 127}, {7, 1, 65},    {7, 33, 1},    {7, 65, 300},
    {33, 33, 33}, {33, 127, 7}, {65, 1, 300},  {65, 300, 7},  {127, 65, 33}, {127, 7, 127},
    {2, 64, 64},  {16, 48, 32}, {300, 33, 65}, {33, 300, 300}};
// More than one tile in each dimension, and tails after them.
inline const std::vector<GemmShape> wide = {{70, 1000, 130}, {9, 3080, 40}, {200, 70, 2000}};
// The shapes for the tests that go through many options.
inline const std::vector<GemmShape> few = {{1, 65, 33}, {7, 33, 127}, {65, 300, 65}};
// One dimension, or more, of size 0.
inline const std::vector<GemmShape> empty = {{0, 7, 5}, {3, 0, 5},  {3, 7, 0},
                                             {0, 0, 0}, {1, 33, 0}, {0, 7, 0}};
// Sums so long that fp32 itself shows.
inline const std::vector<GemmShape> long_sums = {{3, 5, 4096}, {33, 17, 11008}, {1, 8, 32768}};

// QKV, output and MLP products of MiniLM, BERT-large, GPT-2, GPT-2 XL and Llama-3-8B; n counts
// outputs.
inline const std::vector<GemmShape> model_products = {
    {1, 1152, 384},  {1, 1536, 384},  {1, 384, 1536},   {1, 3072, 1024}, {1, 4096, 1024},
    {1, 2304, 768},  {1, 3072, 768},  {1, 768, 3072},   {1, 4800, 1600}, {1, 6400, 1600},
    {1, 6144, 4096}, {1, 4096, 4096}, {1, 14336, 4096}, {1, 4096, 14336}};
inline const std::vector<std::int64_t> model_rows = {1, 2, 7, 16, 37, 128, 333, 1024};

inline const std::vector<MlpShape> mlps = {
    {1, 33, 65, 33}, {7, 64, 127, 64}, {33, 65, 300, 65}, {130, 48, 96, 48}};

// Hidden sizes of norms; with few rows where they are large.
inline const std::vector<std::int64_t> hidden = {1,   2,   3,    7,    31,   64,   65,   127,
                                                 300, 768, 1023, 1600, 4096, 8192, 65536};
inline const std::vector<std::int64_t> rows = {1, 2, 7, 33, 65, 130};

}  // namespace cases
}  // namespace test
}  // namespace postlude
