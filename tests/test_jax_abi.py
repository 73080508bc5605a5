"""The structures of bindings/xla_abi.hpp lie in memory as jaxlib's own header has them."""

import re
from pathlib import Path

import pytest
from markdown import ROOT, compile_text

# Ours: (theirs, or before and since 0.4; our member:theirs ...).
STRUCTURES = {
    "Extension": ("Extension_Base InternalExtension", "size:struct_size type:type next:next"),
    "Version": (
        "Api_Version",
        "size:struct_size extensions:extension_start major:major_version minor:minor_version",
    ),
    "Buffer": (
        "Buffer",
        "size:struct_size extensions:extension_start type:dtype data:data rank:rank shape:dims",
    ),
    "Text": ("ByteSpan", "data:ptr size:len"),
    "Scalar": ("Scalar", "type:dtype value:value"),
    "Buffers": ("Args", "size:struct_size count:size kinds:types values:args"),
    "Buffers ": ("Rets", "size:struct_size count:size kinds:types values:rets"),
    "Attributes": (
        "Attrs",
        "size:struct_size extensions:extension_start count:size kinds:types names:names "
        "values:attrs",
    ),
    "CallFrame": (
        "CallFrame",
        "size:struct_size extensions:extension_start api:api execution:ctx stage:stage "
        "arguments:args results:rets attributes:attrs",
    ),
    "Metadata": (
        "Metadata",
        "size:struct_size version:api_version traits:traits state_type:state_type_id",
    ),
    "MetadataExtension": ("Metadata_Extension", "base:extension_base metadata:metadata"),
    "ErrorCreate": (
        "Error_Create_Args",
        "size:struct_size extensions:extension_start message:message code:errc",
    ),
    "StreamGet": (
        "Stream_Get_Args",
        "size:struct_size extensions:extension_start execution:ctx stream:stream",
    ),
    "MemoryAllocate": (
        "DeviceMemory_Allocate_Args",
        "size:struct_size extensions:extension_start execution:ctx bytes:size "
        "alignment:alignment data:data",
    ),
    "MemoryFree": (
        "DeviceMemory_Free_Args",
        "size:struct_size extensions:extension_start execution:ctx bytes:size data:data",
    ),
    "DeviceGet": (
        "DeviceOrdinal_Get_Args",
        "size:struct_size extensions:extension_start execution:ctx index:device_ordinal",
    ),
    "Api": (
        "Api",
        "size:struct_size extensions:extension_start version:api_version internal:internal_api "
        "create_error:XLA_FFI_Error_Create get_stream:XLA_FFI_Stream_Get "
        "allocate:XLA_FFI_DeviceMemory_Allocate free:XLA_FFI_DeviceMemory_Free "
        "get_device:XLA_FFI_DeviceOrdinal_Get",
    ),
}
NUMBERS = {
    "major_version": "API_MAJOR",
    "extension_metadata": "Extension_Metadata",
    "stage_execute": "ExecutionStage_EXECUTE",
    "kind_buffer": "ArgType_BUFFER",
    "kind_buffer ": "RetType_BUFFER",
    "kind_scalar": "AttrType_SCALAR",
    "kind_string": "AttrType_STRING",
    "type_bool": "DataType_PRED",
    "type_i64": "DataType_S64",
    "type_f16": "DataType_F16",
    "type_f32": "DataType_F32",
    "type_f64": "DataType_F64",
    "type_bf16": "DataType_BF16",
    "code_invalid_argument": "Error_Code_INVALID_ARGUMENT",
    "code_unimplemented": "Error_Code_UNIMPLEMENTED",
    "code_internal": "Error_Code_INTERNAL",
}


def program(header: Path) -> str:
    """A program that compiles where every layout and number agrees."""
    text = header.read_text(encoding="utf-8")
    lines = [f'#include "{header}"', f'#include "{ROOT / "bindings" / "xla_abi.hpp"}"']
    lines.append("namespace ours = postlude::python::xla;")
    for name, (theirs, members) in STRUCTURES.items():
        mine = f"ours::{name.strip()}"
        (its,) = (
            f"XLA_FFI_{t}" for t in theirs.split() if re.search(rf"struct XLA_FFI_{t}\b", text)
        )
        for pair in members.split():
            a, b = pair.split(":")
            lines.append(
                f"static_assert(offsetof({mine}, {a}) == offsetof({its}, {b}) && "
                f'sizeof({mine}::{a}) == sizeof({its}::{b}), "{name}::{a}");'
            )
    for mine, its in NUMBERS.items():
        lines.append(f'static_assert(ours::{mine.strip()} == XLA_FFI_{its}, "{mine}");')
    return "\n".join([*lines, ""])


def header() -> Path:
    """jaxlib's header of the C interface."""
    jax = pytest.importorskip("jax")
    return Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"


def test_the_layouts_are_those_of_jaxlib():
    compile_text(program(header()), "c++17")


def test_another_layout_would_be_noticed():
    text = program(header()).replace("offsetof(ours::Buffer, data)", "offsetof(ours::Buffer, rank)")
    with pytest.raises(AssertionError, match="Buffer::data"):
        compile_text(text, "c++17")
