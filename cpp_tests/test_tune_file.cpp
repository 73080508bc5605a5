// Tune files: what the parser takes, what it says of each kind of mistake, and who may load one.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "postlude/postlude.h"
#include "postlude/postlude.hpp"
#include "support/device.hpp"
#include "support/tuning.hpp"

namespace postlude {
namespace test {
namespace {

std::string error_of(const std::string& text) {
  try {
    TuneTable::parse(text, "a.tune");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no error";
}

TEST(TuneFile, AGoodOneIsTaken) {
  const std::string text = joined(tune_lines());
  const TuneTable table = TuneTable::parse(text, "a.tune");
  EXPECT_TRUE(table);
  EXPECT_EQ(table.name(), "a.tune");
  EXPECT_EQ(table.size(), 2u);
  EXPECT_EQ(TuneTable().size(), 0u);
  EXPECT_EQ(text.substr(0, table.header().size()), table.header());
  const std::vector<TuneProblem> problems = table.problems();
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_EQ(problems[0].dtype, DType::bf16);
  EXPECT_EQ(problems[0].epilogue, TuneEpilogue::plain);
  EXPECT_EQ(problems[0].m, 16);
  EXPECT_EQ(problems[0].n, 64);
  EXPECT_EQ(problems[0].k, 128);
  EXPECT_EQ(problems[1].epilogue, TuneEpilogue::gated);
  EXPECT_EQ(table.lines()[1], tune_lines()[8]);
  EXPECT_FALSE(TuneTable());
  EXPECT_TRUE(TuneTable().problems().empty());
}

TEST(TuneFile, KeysGoThereAndBack) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const TuneEpilogue epilogue :
         {TuneEpilogue::plain, TuneEpilogue::activation, TuneEpilogue::gated,
          TuneEpilogue::residual, TuneEpilogue::scaled}) {
      const std::string key = tune_key({dtype, epilogue, 7, 33, 1000000000});
      const TuneProblem back = parse_tune_key(key);
      EXPECT_EQ(tune_key(back), key);
      EXPECT_EQ(back.dtype, dtype);
      EXPECT_EQ(back.epilogue, epilogue);
    }
  }
  EXPECT_THROW(parse_tune_key(""), std::invalid_argument);
  EXPECT_THROW(parse_tune_key("dtype=bf16 m=1 n=2 k=3 epilogue=plain kernel=x"),
               std::invalid_argument);
}

TEST(TuneFile, MistakesAreNamedByFileAndLine) {
  const auto entry = [](const std::string& from, const std::string& to) {
    std::string line = tune_lines()[7];
    const std::size_t at = line.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return tune_text_with(8, line.replace(at, from.size(), to));
  };
  const std::string good = joined(tune_lines());
  const struct {
    std::string text;
    std::string says;
  } cases[] = {
      {"", "line 1: expected 'postlude tune file 1', got ''"},
      {"\n", "line 1: expected 'postlude tune file 1'"},
      {"postlude tune file 2\n", "line 1: expected 'postlude tune file 1', got 'postlude tune"},
      {"postlude tune file 1", "line 1: expected a newline at the end"},
      {"postlude tune file 1\n", "line 2: expected 'version ...', got the end of the file"},
      {tune_text_with(2, "version"), "line 2: expected 'version ...', got 'version'"},
      {tune_text_with(2, "version "), "line 2: expected 'version ...'"},
      {tune_text_with(3, "# gpu"), "line 3: expected 'gpu ...', got '# gpu'"},
      {tune_text_with(3, "gpu a\tb"), "line 3: expected 'gpu' and a text of ASCII, got 'gpu a?b'"},
      {tune_text_with(4, "gpu again"), "line 4: expected 'arch ...'"},
      {tune_text_with(5, "multiprocessors many"), "line 5: expected 'multiprocessors' and a num"},
      {tune_text_with(5, "multiprocessors -1"), "line 5: expected 'multiprocessors' and a numb"},
      {tune_text_with(5, "multiprocessors 9999999"), "line 5: expected 'multiprocessors' and a"},
      {tune_text_with(7, " "), "line 7: expected dtype=..., got ' '"},
      {good.substr(0, good.size() - 1), "line 9: expected a newline at the end"},
      {good.substr(0, good.size() - 20), "line 9: expected a newline at the end"},
      {entry("dtype=bf16", "dtype=i8"), "line 8: expected dtype= one of f32, bf16, f16, got 'i8'"},
      {entry("dtype=bf16", "dtype="), "line 8: expected dtype= one of"},
      {entry("m=16", "m=0"), "line 8: expected m= a number from 1 to 10^15, got '0'"},
      {entry("m=16", "m=016"), "line 8: expected m= a number"},
      {entry("m=16", "m=-16"), "line 8: expected m= a number"},
      {entry("m=16", "m=+16"), "line 8: expected m= a number"},
      {entry("m=16", "m=1e3"), "line 8: expected m= a number"},
      {entry("m=16", "m="), "line 8: expected m= a number from 1 to 10^15, got ''"},
      {entry("m=16", "m=99999999999999999999"), "line 8: expected m= a number"},
      {entry("n=64 k=128", "k=128 n=64"), "line 8: expected n=..., got 'k=128 n=64"},
      {entry(" m=16", "  m=16"), "line 8: expected m=..., got ' m=16"},
      {entry("epilogue=plain", "epilogue=gelu"), "line 8: expected epilogue= one of plain, acti"},
      {entry("kernel=test.tiled", "kernel=Test"), "line 8: expected kernel= a name, got 'Test'"},
      {entry("kernel=test.tiled", "kernel="), "line 8: expected kernel= a name, got ''"},
      {entry("tile=large", "tile=a/b"), "line 8: expected tile= a name, got 'a/b'"},
      {entry("tile=large", "tile=" + std::string(65, 'a')), "line 8: expected tile= a name"},
      {entry("us=41.2", "us=0"), "line 8: expected us= microseconds"},
      {entry("us=41.2", "us=0.00"), "line 8: expected us= microseconds"},
      {entry("us=41.2", "us=nan"), "line 8: expected us= microseconds"},
      {entry("us=41.2", "us=4.1.2"), "line 8: expected us= microseconds"},
      {entry("us=41.2", "us=-4"), "line 8: expected us= microseconds"},
      {entry("us=41.2", "us=1234567890123456"), "line 8: expected us= microseconds"},
      {entry(" shipped_us=43", ""), "line 8: expected shipped_us=..., got the end of the line"},
      {entry("shipped_us=43", "shipped_us=43 "), "line 8: expected no blank at the end, got one"},
      {entry("shipped_us=43", "shipped_us=43 x=1"), "line 8: expected the end of the line, got"},
      {entry("shipped_us=43", "shipped_us=43\r"), "line 8: expected shipped_us= microseconds"},
      {good + tune_lines()[7] + "\n",
       "line 10: expected one entry for a problem, got a second "
       "one for that of line 8"},
      {good + std::string("\0\n", 2), "line 10: expected dtype=..., got '?'"},
      {std::string((16 << 20) + 1, '\n'), "a.tune: expected at most 16777216 bytes, got 16777217"},
  };
  for (const auto& one : cases) {
    const std::string said = error_of(one.text);
    EXPECT_NE(said.find("[tune_file] a.tune"), std::string::npos) << said;
    EXPECT_NE(said.find(one.says), std::string::npos) << said << "\nnot: " << one.says;
    EXPECT_EQ(said.find('\n'), std::string::npos) << said;
  }
}

TEST(TuneFile, ReadNamesAFileThatIsNotThere) {
  for (const std::string path : {"/nowhere/a.tune", "/"}) {
    try {
      TuneTable::read(path);
      ADD_FAILURE() << path;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("[tune_file] " + path), std::string::npos)
          << error.what();
    }
  }
}

TEST(TuneFile, ACpuHasNothingToTune) {
  Context context(Device{DeviceType::cpu, 0});
  const TuneTable table = TuneTable::parse(joined(tune_lines()), "a.tune");
  try {
    context.set_tune_table(table);
    ADD_FAILURE() << "taken";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("a.tune: expected a Context of a GPU"),
              std::string::npos)
        << error.what();
  }
  EXPECT_FALSE(context.tune_table());
  context.set_tune_table(TuneTable());
  EXPECT_THROW(tune_header(context), Unsupported);
  EXPECT_TRUE(tune_tiles({DType::bf16, TuneEpilogue::plain, 16, 64, 128}, context).empty());
}

TEST(TuneFile, TheEnvironmentsIsForGpus) {
  ASSERT_EQ(setenv("POSTLUDE_TUNE_FILE", "/nowhere/a.tune", 1), 0);
  EXPECT_NO_THROW(Context(Device{DeviceType::cpu, 0}));
  for (const Device device : devices()) {
    if (device.type == DeviceType::cpu) continue;
    EXPECT_THROW(Context{device}, std::invalid_argument);
  }
  unsetenv("POSTLUDE_TUNE_FILE");
}

TEST(TuneFile, ThroughTheCInterface) {
  postlude_context* context = nullptr;
  ASSERT_EQ(postlude_context_create(POSTLUDE_CPU, 0, nullptr, &context), POSTLUDE_OK);
  EXPECT_EQ(postlude_context_load_tune_file(context, nullptr), POSTLUDE_OK);
  EXPECT_EQ(postlude_context_load_tune_file(context, "/nowhere/a.tune"), POSTLUDE_INVALID_ARGUMENT);
  EXPECT_NE(std::string(postlude_last_error()).find("[tune_file] /nowhere/a.tune"),
            std::string::npos)
      << postlude_last_error();
  EXPECT_EQ(postlude_context_load_tune_file(nullptr, nullptr), POSTLUDE_INVALID_ARGUMENT);
  postlude_context_info info;
  info.struct_size = sizeof info;
  EXPECT_EQ(postlude_context_get_info(context, &info), POSTLUDE_OK);
  EXPECT_EQ(info.tune_entries, 0u);
  postlude_context_destroy(context);
}

// By the C interface, and by the environment; a moved Context keeps its table.
TEST(TuneFile, AGpuTakesItsOwn) {
  for (const Device device : devices()) {
    if (device.type == DeviceType::cpu) continue;
    Context context(device);
    const std::string path = ::testing::TempDir() + "postlude_test.tune";
    std::string text = tune_header(context);
    const TuneProblem problem{DType::bf16, TuneEpilogue::residual, 33, 256, 512};
    const std::vector<std::string> tiles = tune_tiles(problem, context);
    if (!tiles.empty()) text += tune_key(problem) + " " + tiles[0] + " us=1.5 shipped_us=2.5\n";
    std::ofstream(path) << text;
    const std::size_t entries = tiles.empty() ? 0 : 1;

    postlude_context* c = nullptr;
    ASSERT_EQ(postlude_context_create(POSTLUDE_CUDA, device.index, nullptr, &c), POSTLUDE_OK);
    EXPECT_EQ(postlude_context_load_tune_file(c, path.c_str()), POSTLUDE_OK)
        << postlude_last_error();
    postlude_context_info info;
    info.struct_size = sizeof info;
    EXPECT_EQ(postlude_context_get_info(c, &info), POSTLUDE_OK);
    EXPECT_EQ(info.tune_entries, entries);
    postlude_context_destroy(c);

    ASSERT_EQ(setenv("POSTLUDE_TUNE_FILE", path.c_str(), 1), 0);
    Context first(device);
    unsetenv("POSTLUDE_TUNE_FILE");
    const Context moved = std::move(first);
    EXPECT_EQ(moved.tune_table().name(), path);
    EXPECT_FALSE(Context(device).tune_table());
    std::remove(path.c_str());
  }
}

// Each tile that the GPU has for a problem is named by explain, and computes.
TEST(TuneFile, EveryTileOfAGpuIsTaken) {
  for (const Device device : devices()) {
    if (device.type == DeviceType::cpu) continue;
    Context context(device);
    context.set_tune_table(TuneTable());
    const TuneProblem problem{DType::bf16, TuneEpilogue::plain, 33, 256, 512};
    for (const std::string& tile : tune_tiles(problem, context)) {
      const std::string line = tune_key(problem) + " " + tile + " us=1.5 shipped_us=2.5\n";
      context.set_tune_table(TuneTable::parse(tune_header(context) + line, "a.tune"));
      const auto view = [&](std::int64_t rows, std::int64_t columns) {
        return nowhere(device, problem.dtype, {rows, columns});
      };
      LinearParams params;
      params.x = view(problem.m, problem.k);
      params.weight = view(problem.n, problem.k);
      const std::string text = explain(params, view(problem.m, problem.n), context);
      EXPECT_NE(text.find("tuned by a.tune, line 6: 1.5 us instead of 2.5"), std::string::npos)
          << text;
    }
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
