"""What `cmake --install` gives: a tree that other projects build against, wherever it lies."""

import re
import shutil
from pathlib import Path

import pytest
from building import (
    CMAKE,
    LANGUAGES,
    RESULT_OF_EXAMPLES,
    ROOT,
    Tree,
    check_exports,
    command,
    configure,
    install,
    run_example,
)

LINEAR = """
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "postlude/postlude.hpp"

int main() {
  using postlude::TensorView;
  std::vector<float> x = {1, 2}, weight = {1, 0, 0, 1, 1, 1}, y(3);
  postlude::LinearParams params;
  params.x = TensorView(x.data(), postlude::DType::f32, {1, 2});
  params.weight = TensorView(weight.data(), postlude::DType::f32, {3, 2});
  postlude::Context context;
  const TensorView out(y.data(), postlude::DType::f32, {1, 3});
  context.reserve(postlude::workspace_size(params, out, context));
  postlude::linear(params, out, context);
  std::printf("y = %g %g %g\\n", y[0], y[1], y[2]);
  try {
    postlude::linear(params, params.x, context);  // of the wrong shape
  } catch (const std::invalid_argument&) {
    std::printf("refused\\n");
  }
}
"""

OTHER_VERSIONS = """
cmake_minimum_required(VERSION 3.25)
project(other LANGUAGES NONE)
foreach(version 0.0 0.2 1.0)
  find_package(postlude ${version} CONFIG QUIET)
  message(STATUS "${version}: ${postlude_FOUND}, there is ${postlude_CONSIDERED_VERSIONS}")
endforeach()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CMAKE is None, reason="there is no CMake to build with"),
    pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler"),
]


@pytest.fixture(scope="module", params=["static", "shared"])
def tree(request, tmp_path_factory):
    return install(request.param, tmp_path_factory.mktemp(request.param))


def run_consumer(tree: Tree, prefix: Path, build: Path, language: str) -> str:
    """What an example prints when it is built alone against the installed library."""
    search, libraries = f"-DCMAKE_PREFIX_PATH={prefix}", ":".join(tree.dependencies)
    return run_example(build, language, prefix, search, LD_LIBRARY_PATH=libraries)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_project_builds_against_it(tree, tmp_path, language):
    assert run_consumer(tree, tree.prefix, tmp_path, language) == RESULT_OF_EXAMPLES


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_may_be_moved(tree, tmp_path, language):
    elsewhere = tree.prefix.rename(tmp_path / "elsewhere")
    try:
        output = run_consumer(tree, elsewhere, tmp_path / "build", language)
    finally:
        elsewhere.rename(tree.prefix)
    assert output == RESULT_OF_EXAMPLES


def test_it_is_complete_and_names_no_folder_of_the_build(tree):
    files = {path.name: path for path in tree.prefix.rglob("*") if path.is_file()}
    headers = {path.name for path in (ROOT / "include" / "postlude").iterdir()}
    cmake = {"postludeConfig.cmake", "postludeConfigVersion.cmake", "postludeTargets.cmake"}
    library = "libpostlude.a" if tree.kind == "static" else "libpostlude.so"
    assert headers | cmake | {library, "postlude.pc"} <= set(files)
    for path in files.values():
        if path.suffix in {".cmake", ".pc", ".py", ".hpp", ".h"}:
            text = path.read_text(encoding="utf-8")
            for folder in (ROOT, tree.prefix.parent, *tree.dependencies):
                assert f"{folder}/" not in text, path


def test_other_versions_are_refused(tree, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(OTHER_VERSIONS)
    output = configure(tmp_path, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={tree.prefix}")
    assert re.findall(r"-- (\d\.\d): 0, there is \d+\.\d+\.\d+\n", output) == ["0.0", "0.2", "1.0"]


def test_a_missing_onednn_is_named(tree, tmp_path):
    arguments = [f"-DCMAKE_PREFIX_PATH={tree.prefix}", "-DCMAKE_DISABLE_FIND_PACKAGE_dnnl=ON"]
    output = configure(ROOT / "examples" / "cpp", tmp_path, *arguments, fails=True)
    assert "Postlude needs oneDNN" in output


@pytest.mark.parametrize("standard", [17, 20])
def test_pkg_config_is_enough(tree, tmp_path, standard):
    if shutil.which("pkg-config") is None:
        pytest.skip("there is no pkg-config")
    files = str(next(tree.prefix.rglob("postlude.pc")).parent)
    flags = command("pkg-config", "--cflags", "--libs", "postlude", PKG_CONFIG_PATH=files).split()
    source, program = tmp_path / "linear.cpp", tmp_path / "linear"
    source.write_text(LINEAR)
    library = str(next(tree.prefix.rglob("libpostlude.*")).parent)
    # The linker follows a shared library's own needs through -rpath-link.
    search = [f"-L{folder}" for folder in tree.dependencies]
    search += [f"-Wl,-rpath-link,{folder}" for folder in tree.dependencies]
    warnings = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    command("c++", f"-std=c++{standard}", *warnings, source, *flags, *search, "-o", program)
    folders = ":".join([library, *tree.dependencies])
    assert command(program, LD_LIBRARY_PATH=folders) == "y = 1 2 3\nrefused\n"


@pytest.mark.parametrize("tree", ["shared"], indirect=True)
def test_a_shared_library_exports_its_interface_alone(tree):
    check_exports(next(tree.prefix.rglob("libpostlude.so")))
