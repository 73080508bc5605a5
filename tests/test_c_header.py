"""The C header beside DLPack's own: in either order, in C99 and in C++, with no warning."""

import shutil
import subprocess
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parent.parent
# The copy of dlpack.h that torch ships.
DLPACK = Path(torch.__file__).parent / "include" / "ATen"

# A DLTensor is a postlude_tensor where dlpack.h came first.
FIRST = """
#include <dlpack.h>
#include "postlude/postlude.h"

postlude_status call(const DLTensor* x, postlude_linear_params* params) {
  params->x = x;
  return postlude_linear(params, x, 0);
}
"""
# Otherwise it has the same layout.
LAST = """
#include "postlude/postlude.h"
#include <dlpack.h>

typedef char same_size[sizeof(DLTensor) == sizeof(postlude_tensor) ? 1 : -1];
typedef char same_dtype[offsetof(DLTensor, dtype) == offsetof(postlude_tensor, dtype) ? 1 : -1];
typedef char same_lanes[sizeof(DLDataType) == sizeof(postlude_tensor_dtype) ? 1 : -1];
typedef char same_shape[offsetof(DLTensor, shape) == offsetof(postlude_tensor, shape) ? 1 : -1];
typedef char same_strides[
    offsetof(DLTensor, strides) == offsetof(postlude_tensor, strides) ? 1 : -1];
typedef char same_offset[
    offsetof(DLTensor, byte_offset) == offsetof(postlude_tensor, byte_offset) ? 1 : -1];

postlude_status call(const DLTensor* x, postlude_linear_params* params) {
  params->x = (const postlude_tensor*)x;
  return postlude_linear(params, params->x, 0);
}
"""


@pytest.mark.parametrize("source", [FIRST, LAST], ids=["dlpack first", "dlpack last"])
@pytest.mark.parametrize("language", ["c99", "c11", "c++17"])
def test_compiles_beside_dlpack(source, language, tmp_path):
    assert (DLPACK / "dlpack.h").is_file(), "torch ships dlpack.h"
    compiler = shutil.which("c++" if "++" in language else "cc")
    if compiler is None:
        pytest.skip("there is no compiler")
    file = tmp_path / ("call.cpp" if "++" in language else "call.c")
    file.write_text(source)
    # torch's header is the system's: its own warnings are not ours.
    command = [compiler, f"-std={language}", "-Wall", "-Wextra", "-pedantic", "-Werror", "-c"]
    command += [f"-I{ROOT / 'include'}", f"-isystem{DLPACK}", str(file), "-o", str(tmp_path / "o")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
