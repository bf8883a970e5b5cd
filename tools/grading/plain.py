"""Values as JSON and back: all that passes between the judge and the process of a learner's code.

What comes from that process is read as numbers and text alone; nothing in it can run. Tensors and
arrays travel as their type, shape and bytes. What is not plain data is left to a function of the
caller, `other`.
"""

import base64
import dataclasses
import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

COLLECTIONS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
RECORDS = {"Scene": "xai_course.beetlebox.scene", "Traits": "xai_course.beetlebox.scene"}
MOST = 10_000  # items of one list: with more, a check could be kept busy for hours
TENSORS = {
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    *("bool", "uint8", "int8", "int16", "int32", "int64"),
}
NUMBERS = "biufc"  # the kinds of NumPy's types that are numbers

Other = Callable[[Any], Any]


def encode(value: Any, other: Other) -> Any:
    """A value as what JSON can hold; `other` encodes what is no plain data."""
    if value is None or isinstance(value, bool):
        return value
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(value)
    if value is ...:
        return {"kind": "dots"}
    for name, collection in COLLECTIONS.items():
        if isinstance(value, collection) and len(value) <= MOST:
            return {"kind": name, "items": [encode(item, other) for item in value]}
    name = type(value).__name__
    if RECORDS.get(name) == type(value).__module__:
        fields = {f.name: encode(getattr(value, f.name), other) for f in dataclasses.fields(value)}
        return {"kind": "record", "name": name, "fields": fields}
    return encode_numbers(value) or other(value)


def encode_numbers(value: Any) -> dict[str, Any] | None:
    """A tensor or an array of numbers as JSON; None for anything else."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        kind, grad = str(value.dtype).removeprefix("torch."), value.requires_grad
        if kind not in TENSORS or value.layout is not torch.strided or value.is_meta:
            return None
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().flatten()
        shape, data = list(value.shape), flat.view(torch.uint8).numpy().tobytes()
        return {"kind": "tensor", "grad": grad, **numbers(kind, shape, data)}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in NUMBERS:
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return {"kind": kind, **numbers(value.dtype.str, list(value.shape), value.tobytes())}
    return None


def numbers(kind: str, shape: list[int], data: bytes) -> dict[str, Any]:
    """Numbers as JSON: their type, their shape and their bytes."""
    return {"type": kind, "shape": shape, "data": base64.b64encode(data).decode("ascii")}


def decode(data: Any, other: Other) -> Any:
    """The value that `encode` was given; `other` decodes what is no plain data.

    Raises an error of any kind, and runs nothing, for data that `encode` did not make.
    """
    if data is None or isinstance(data, bool | str | int | float):
        return data
    kind = data["kind"]
    if kind == "dots":
        return ...
    if kind in COLLECTIONS:
        return COLLECTIONS[kind](decode_items(data["items"], other))
    if kind == "record":
        record = getattr(importlib.import_module(RECORDS[data["name"]]), data["name"])
        return record(**{name: decode(value, other) for name, value in data["fields"].items()})
    if kind in ("tensor", "array", "scalar"):
        return decode_numbers(data)
    return other(data)


def decode_items(items: list[Any], other: Other) -> list[Any]:
    """The items of a collection."""
    if len(items) > MOST:
        raise ValueError(f"items: got {len(items)}; must be at most {MOST}.")
    return [decode(item, other) for item in items]


def decode_numbers(data: dict[str, Any]) -> Any:
    """The tensor, array or NumPy number that `encode_numbers` was given."""
    shape, held = [int(size) for size in data["shape"]], base64.b64decode(data["data"])
    if data["kind"] != "tensor":
        dtype = np.dtype(data["type"])
        if dtype.kind not in NUMBERS:
            raise ValueError(f"type: got {dtype}; must be one of numbers.")
        array = np.frombuffer(held, dtype).reshape(shape).copy()
        return array if data["kind"] == "array" else array[()]
    import torch

    if data["type"] not in TENSORS:
        raise ValueError(f"type: got {data['type']}; must be one of {sorted(TENSORS)}.")
    flat = torch.frombuffer(bytearray(held), dtype=torch.uint8) if held else torch.tensor([]).byte()
    # A byte that is neither 0 nor 1 is no truth value, and PyTorch would not notice.
    kind = getattr(torch, data["type"])
    tensor = (flat != 0 if kind is torch.bool else flat.view(kind)).reshape(shape)
    return tensor.requires_grad_(bool(data["grad"]))
