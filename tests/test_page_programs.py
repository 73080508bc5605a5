"""The C and C++ on the site's pages and in the README: each page's blocks as one program, built
against the installed library as the guide shows, and run."""

import math
import shutil

import pytest
import torch
from building import CMAKE, GUIDE, ROOT, command, compile_all, configure, install_for_tests
from conftest import REQUIRE_GPU
from markdown import blocks
from tune_support import HEADER

from postlude._interop import _C

# What calls a page's functions, on numbers whose results are plain to see.
GUIDE_CPP = """
int main() {
  const std::vector<float> x = {0, 20, 0, 0, -20, 0}, eye = {1, 0, 0, 1}, bias = {0, 0};
  std::vector<float> y(4), both = {1, 0, 0, 1, 1, 0, 0, 1}, stream = {30, 0}, zero = {0, 0};
  postlude::Context context;
  const TensorView out(y.data(), DType::f32, {2, 2}), weight(eye.data(), DType::f32, {2, 2});
  project(rows_of(x.data() + 1, 2, 2, 3), weight, TensorView(bias.data(), DType::f32, {2}), out,
          context);
  std::printf("y = %g %g %g %g\\n", y[0], y[1], y[2], y[3]);
  const Layer layer = {{}, weight, TensorView(both.data(), DType::f32, {4, 2}), weight};
  const TensorView row(stream.data(), DType::f32, {1, 2});
  const Block block(layer, 0.0f, context);
  block.attend(row, TensorView(y.data(), DType::f32, {1, 2}), context);
  std::printf("qkv = %.4f %g\\n", y[0], y[1]);
  block.feed_forward(row, TensorView(zero.data(), DType::f32, {1, 2}), context);
  std::printf("x = %.4f %g\\n", stream[0], stream[1]);
  std::fflush(stdout);  // attempt writes to stderr
  postlude::LinearParams params;
  params.x = row;
  std::printf("%d\\n", attempt(params, row, context));
}
"""
# The same on a GPU, in bf16, on a stream of its own and by a graph that it captures there.
GUIDE_GPU = """
#include <cuda_runtime_api.h>
#include <cstdlib>

void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "%s\\n", cudaGetErrorString(status));
  std::exit(1);
}

std::uint16_t* on_device(const std::vector<std::uint16_t>& bits) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, 2 * bits.size()));
  check(cudaMemcpy(memory, bits.data(), 2 * bits.size(), cudaMemcpyHostToDevice));
  return static_cast<std::uint16_t*>(memory);
}

int main() {
  const std::uint16_t one = 0x3f80, twenty = 0x41a0, minus_twenty = 0xc1a0;
  std::uint16_t* x = on_device({twenty, 0, 0, minus_twenty});
  std::uint16_t* y = on_device({one, one, one, one});
  const TensorView bias(on_device({0, one}), DType::bf16, {2}, {postlude::DeviceType::cuda, 0});
  const TensorView weight = on_gpu(on_device({one, 0, 0, one}), 2, 2);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreate(&stream));
  {
    postlude::Context context = make_context(stream);
    project(on_gpu(x, 2, 2), weight, bias, on_gpu(y, 2, 2), context);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t recorded = nullptr;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    project(on_gpu(x, 2, 2), weight, bias, on_gpu(y, 2, 2), context);
    check(cudaStreamEndCapture(stream, &graph));
    check(cudaGraphInstantiateWithFlags(&recorded, graph, 0));
    check(cudaMemsetAsync(y, 0, 8, stream));
    check(cudaGraphLaunch(recorded, stream));
    check(cudaStreamSynchronize(stream));
  }
  std::vector<std::uint16_t> result(4);
  check(cudaMemcpy(result.data(), y, 8, cudaMemcpyDeviceToHost));
  std::printf("y =");
  for (std::uint16_t value : result) std::printf(" %04x", value & 0x7fff);
  std::printf("\\n");
}
"""
GUIDE_C = """
#include <stdio.h>

static postlude_tensor floats(float* data, int64_t* shape) {
  postlude_tensor tensor = {0};
  tensor.data = data;
  tensor.device.device_type = POSTLUDE_CPU;
  tensor.ndim = 2;
  tensor.dtype.code = 2;
  tensor.dtype.bits = 32;
  tensor.dtype.lanes = 1;
  tensor.shape = shape;
  return tensor;
}

int main(void) {
  float x[2] = {30, -30}, eye[4] = {1, 0, 0, 1}, y[2];
  int64_t row[2] = {1, 2}, square[2] = {2, 2};
  const postlude_tensor given = floats(x, row), weight = floats(eye, square), out = floats(y, row);
  postlude_context* context = 0;
  if (postlude_context_create(POSTLUDE_CPU, 0, 0, &context) != POSTLUDE_OK) return 1;
  if (project(&given, &weight, &out, context) != POSTLUDE_OK) return 1;
  postlude_context_destroy(context);
  printf("y = %.3g %.3g\\n", y[0], y[1]);
  return 0;
}
"""
TUNE_CPP = """
#include <cstdio>

int main(int count, char**) {
  const auto type = count > 1 ? postlude::DeviceType::cuda : postlude::DeviceType::cpu;
  postlude::Context context(postlude::Device{type, 0});
  try {
    tune(context);
    std::printf("entries: %zu\\n", context.tune_table().size());
  } catch (const std::invalid_argument& error) {
    std::puts(error.what());
  }
}
"""
TUNE_C = """
#include <stdio.h>

int main(int count, char** arguments) {
  const int32_t device = count > 1 ? POSTLUDE_CUDA : POSTLUDE_CPU;
  postlude_context* context = 0;
  postlude_context_info info = {sizeof info};
  (void)arguments;
  if (postlude_context_create(device, 0, 0, &context) != POSTLUDE_OK) return 1;
  if (tune(context) == POSTLUDE_INVALID_ARGUMENT) {
    puts(postlude_last_error());
  } else if (postlude_context_get_info(context, &info) == POSTLUDE_OK) {
    printf("entries: %d\\n", (int)info.tune_entries);
  }
  postlude_context_destroy(context);
  return 0;
}
"""
# By the program's name: the page, its language, and what calls it.
PROGRAMS = {
    "guide_cpp": ("docs/guides/cpp.md", "cpp", GUIDE_CPP),
    "guide_gpu": ("docs/guides/cpp.md", "cpp", GUIDE_GPU),
    "guide_c": ("docs/guides/cpp.md", "c", GUIDE_C),
    "tune_cpp": ("docs/command_line.md", "cpp", TUNE_CPP),
    "tune_c": ("docs/command_line.md", "c", TUNE_C),
    "readme_cpp": ("README.md", "cpp", "int main() { example(); }\n"),
}
# The guide's own CMake, for a target of the name in it, and the same for the other programs.
BEFORE = """
cmake_minimum_required(VERSION 3.25)
project(pages LANGUAGES C CXX)
set(CMAKE_C_STANDARD 99)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_EXTENSIONS OFF)
add_compile_options(-Wall -Wextra -Wno-missing-field-initializers -Werror)
add_executable(engine guide_cpp.cpp)
"""
AFTER = """
if(postlude_WITH_CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()
file(GLOB sources ${CMAKE_CURRENT_SOURCE_DIR}/*.c ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
foreach(source IN LISTS sources)
  get_filename_component(name ${source} NAME_WE)
  if(name STREQUAL "guide_gpu" AND NOT postlude_WITH_CUDA)
    continue()
  endif()
  foreach(standard 17 20)
    add_executable(${name}_${standard} ${source})
    set_target_properties(${name}_${standard} PROPERTIES CXX_STANDARD ${standard})
    target_link_libraries(${name}_${standard} PRIVATE postlude::postlude)
  endforeach()
  if(name STREQUAL "guide_gpu")
    target_link_libraries(${name}_17 PRIVATE CUDA::cudart_static)
    target_link_libraries(${name}_20 PRIVATE CUDA::cudart_static)
  endif()
endforeach()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CMAKE is None, reason="there is no CMake to build with"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a program in a folder: as C99, or once each as C++17 and C++20, which say the same."""
    scratch = tmp_path_factory.mktemp("pages")
    tree, source, build = install_for_tests(scratch), scratch / "source", scratch / "programs"
    source.mkdir()
    cmake = [BEFORE, *blocks(GUIDE, "cmake"), AFTER]
    (source / "CMakeLists.txt").write_text("\n".join(cmake), encoding="utf-8")
    for name, (page, language, main) in PROGRAMS.items():
        text = "\n".join(blocks(ROOT / page, language)) + main
        (source / f"{name}.{language}").write_text(text, encoding="utf-8")
    configure(source, build, f"-DCMAKE_PREFIX_PATH={tree.prefix}")
    compile_all(build)
    assert (build / "engine").is_file(), "the guide's CMake has built its own target"

    def run_in(folder, name, *arguments):
        said = {
            command(
                "env", f"--chdir={folder}", build / f"{name}_{standard}", *arguments, **tree.search
            )
            for standard in (17, 20)
        }
        (text,) = said
        return text

    return run_in


def test_every_page_with_a_program_is_here():
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    found = {
        (page.relative_to(ROOT).as_posix(), language)
        for page in pages
        for language in ("cpp", "c")
        if f"\n```{language}\n" in page.read_text(encoding="utf-8")
    }
    assert found == {(page, language) for page, language, _ in PROGRAMS.values()}


def test_the_guides_cpp_computes_what_it_says(run, tmp_path):
    lines = run(tmp_path, "guide_cpp").splitlines()
    root, gate = 2**0.5, 2**0.5 / (1 + math.exp(-(2**0.5)))
    assert lines[0].replace("-0", "0") == "y = 20 0 0 0"
    assert lines[1] == f"qkv = {root:.4f} 0"
    assert lines[2] == f"x = {30 + gate * root:.4f} 0"
    assert lines[3].startswith("[linear] weight: expected a weight, got none") and lines[4] == "0"


def test_the_guides_c_computes_what_it_says(run, tmp_path):
    assert run(tmp_path, "guide_c") == "y = 30 -2.81e-12\n"


def test_the_readmes_cpp_runs(run, tmp_path):
    assert run(tmp_path, "readme_cpp") == ""


@pytest.mark.parametrize("program", ["tune_cpp", "tune_c"])
def test_a_tune_file_is_read(run, tmp_path, device, program):
    """Of this GPU; a Context of the CPU takes none."""
    if device == "cpu":
        (tmp_path / "h200.tune").write_text(HEADER)
        said = run(tmp_path, program)
        assert said.startswith("[tune_file] h200.tune: expected a Context of a GPU")
        return
    key = "dtype=bf16 m=16 n=512 k=512 epilogue=plain"
    entries = [f"{key} {tile} us=1.5 shipped_us=2.5\n" for tile in _C.tune_tiles(key, 0)[:1]]
    (tmp_path / "h200.tune").write_text(_C.tune_header(0) + "".join(entries))
    assert run(tmp_path, program, "cuda") == f"entries: {len(entries)}\n"


@pytest.mark.skipif(
    not (REQUIRE_GPU or torch.cuda.is_available()), reason="there is no GPU to run it on"
)
def test_the_guides_gpu_parts_compute_what_they_say(run, tmp_path):
    # 20, gelu_tanh(1), 0, gelu_tanh(-19), without signs, in bf16's bits.
    assert run(tmp_path, "guide_gpu") == "y = 41a0 3f57 0000 0000\n"
