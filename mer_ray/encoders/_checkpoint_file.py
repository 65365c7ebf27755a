"""Tensors out of published checkpoint files of any age, without running what lies in them.

safetensors, torch's zip files, torch's older files, and plain pickles; a state dict, a training checkpoint around one, or a whole
pickled model.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from mer_ray.core.errors import EncoderError
from mer_ray.core.inert_pickle import InertObject, InertUnpickler, KnownName, Sealed, UnreadablePickleError

SAFE_SUFFIX = ".safetensors"
# What `torch.save` wrote first until version 1.6.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
ZIP_MAGIC = b"PK\x03\x04"
STORED_DTYPES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
# Where training scripts put the weights among optimiser states and scores, the usual names first.
WEIGHT_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
# What DataParallel puts before every name.
PARALLEL_PREFIX = "module."
MODULE_PARTS = ("_parameters", "_buffers", "_modules")
# Broken, compressed in an unknown way, encrypted.
ZIP_FAULTS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by its name, without the `module.` of DataParallel.

    Raises:
        EncoderError: no such file, a format that is not read, or no state dict or model in it.

    """
    if path.suffix == SAFE_SUFFIX:
        try:
            return dict(safetensors.torch.load_file(path))
        except (OSError, SafetensorError) as error:
            raise EncoderError(f"weights {path}: not a safetensors file that can be read ({error})") from error
    try:
        found = _find_tensors(read_checkpoint(path), path)
    except RecursionError as error:
        raise EncoderError(f"weights {path}: holds modules or dicts that contain themselves; the file is broken or hostile") from error
    if not found:
        raise EncoderError(f"weights {path}: holds no tensors; give a state dict or a pickled model")
    if all(name.startswith(PARALLEL_PREFIX) for name in found):
        found = {name.removeprefix(PARALLEL_PREFIX): tensor for name, tensor in found.items()}
    return found


def read_checkpoint(path: Path) -> Any:
    """The value that `torch.save` or `pickle.dump` wrote: `StoredTensor`, plain containers, and `InertObject` for all else.

    Raises:
        EncoderError: no such file, or one that is broken, of an unknown format, or names what would run code.

    """
    try:
        with path.open("rb") as opened:
            return _read(opened)
    except (OSError, EOFError, UnreadablePickleError, *ZIP_FAULTS) as error:
        raise EncoderError(f"weights {path}: cannot be read without running code of the file ({error})") from error


def _read(opened: BinaryIO) -> Any:
    # By its first bytes: an older file may end with a zip file.
    is_zip = opened.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    opened.seek(0)
    return _read_zip(opened) if is_zip else _read_stream(opened)


def _find_tensors(value: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(value, InertObject):
        if not _is_module(value):
            raise EncoderError(f"weights {path}: holds {value.class_name}, which is no torch module; give a state dict or a pickled model")
        return _module_tensors(value, "")
    if isinstance(value, dict):
        if value and all(isinstance(name, str) and isinstance(item, StoredTensor) for name, item in value.items()):
            return {name: item.tensor for name, item in value.items()}
        for key in WEIGHT_KEYS:
            if isinstance(value.get(key), dict | InertObject):
                return _find_tensors(value[key], path)
        keys = ", ".join(map(str, list(value)[:8])) or "nothing"
        raise EncoderError(f"weights {path}: holds {keys}; none is a state dict (one of {', '.join(WEIGHT_KEYS)} is looked for)")
    raise EncoderError(f"weights {path}: holds a {type(value).__name__}; give a state dict or a pickled model")


def _is_module(value: Any) -> bool:
    state = value.state if isinstance(value, InertObject) else None
    return isinstance(state, dict) and all(isinstance(state.get(part), dict) for part in MODULE_PARTS)


def _module_tensors(module: InertObject, prefix: str) -> dict[str, Tensor]:
    """What `state_dict()` of the pickled module would give: parameters and buffers by their path."""
    state: Mapping[str, Any] = module.state
    not_stored = state.get("_non_persistent_buffers_set")
    not_stored = not_stored if isinstance(not_stored, set) else ()
    own = {**state["_parameters"], **{name: buffer for name, buffer in state["_buffers"].items() if name not in not_stored}}
    tensors = {f"{prefix}{name}": item.tensor for name, item in own.items() if isinstance(item, StoredTensor)}
    for name, child in state["_modules"].items():
        if _is_module(child):
            tensors.update(_module_tensors(child, f"{prefix}{name}."))
    return tensors


class StoredBytes(Sealed):
    """The memory of one or more tensors: `content` uint8 (bytes,), to be seen as `dtype`."""

    __slots__ = ("content", "dtype")

    content: Tensor
    dtype: torch.dtype

    def __init__(self, content: Tensor, dtype: torch.dtype) -> None:
        object.__setattr__(self, "content", content)
        object.__setattr__(self, "dtype", dtype)


class StoredTensor(Sealed):
    """A tensor out of reach of the pickle, which could resize a torch tensor to any size by its `__setstate__`."""

    __slots__ = ("tensor",)

    tensor: Tensor

    def __init__(self, tensor: Tensor) -> None:
        object.__setattr__(self, "tensor", tensor)


def _read_zip(opened: BinaryIO) -> Any:
    """A file of torch since 1.6: `<name>/data.pkl`, and one `<name>/data/<key>` per storage."""
    with zipfile.ZipFile(opened) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("data.pkl")]
        if len(pickles) != 1 or any(name.endswith("constants.pkl") for name in names):
            raise UnreadablePickleError("a zip file that torch.save() did not write; a TorchScript program holds code, not only weights")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise UnreadablePickleError("written on a big-endian machine; save it again on another")
        num_left = opened.seek(0, io.SEEK_END)
        storages: dict[str, StoredBytes] = {}

        def load_storage(reference: Any) -> StoredBytes:
            nonlocal num_left
            key, dtype, num_bytes = _check_reference(reference)
            if key not in storages:
                # Stored as they are, all of them fit into the file; what is compressed, or named twice, could unpack without end.
                num_left -= archive.getinfo(f"{root}data/{key}").file_size
                if num_left < 0:
                    raise UnreadablePickleError(f"storage {key} unpacks to more than the file holds; torch.save() compresses nothing")
                content = archive.read(f"{root}data/{key}")
                if len(content) < num_bytes:
                    raise UnreadablePickleError(f"storage {key} has {len(content)} of {num_bytes} bytes; download the file again")
                storages[key] = StoredBytes(_as_tensor(content), dtype)
            return storages[key]

        return InertUnpickler(io.BytesIO(archive.read(pickles[0])), TORCH_NAMES, load_storage).load()


def _read_stream(opened: BinaryIO) -> Any:
    """A file of torch before 1.6, or a plain pickle."""
    first = InertUnpickler(opened, TORCH_NAMES).load()
    if not isinstance(first, int) or first != LEGACY_MAGIC:
        return first
    # The protocol's version, and the sizes of numbers on the machine that wrote the file.
    for _ in range(2):
        InertUnpickler(opened).load()
    position = opened.tell()
    num_left = opened.seek(0, io.SEEK_END) - position
    opened.seek(position)
    storages: dict[str, StoredBytes] = {}

    def load_storage(reference: Any) -> Any:
        nonlocal num_left
        if isinstance(reference, tuple) and reference[:1] == ("module",):
            # A class with the text of its source file, which torch kept for a warning.
            return reference[1]
        key, dtype, num_bytes = _check_reference(reference)
        if key not in storages:
            if num_bytes > num_left:
                raise UnreadablePickleError(f"storage {key} has {num_bytes} bytes, the file only {num_left} more; download it again")
            num_left -= num_bytes
            storages[key] = StoredBytes(torch.zeros(num_bytes, dtype=torch.uint8), dtype)
        view = reference[5] if len(reference) > 5 else None
        if view is None:
            return storages[key]
        _, offset, size = view
        first_byte, num_view_bytes = offset * dtype.itemsize, size * dtype.itemsize
        return StoredBytes(storages[key].content[first_byte : first_byte + num_view_bytes], dtype)

    value = InertUnpickler(opened, TORCH_NAMES, load_storage).load()
    keys = InertUnpickler(opened).load()
    if not isinstance(keys, list):
        raise UnreadablePickleError("the names of its storages are no list; download the file again")
    for key in keys:
        header = opened.read(8)
        storage = storages.get(str(key))
        if storage is None or len(header) < 8 or struct.unpack("<q", header)[0] * storage.dtype.itemsize != len(storage.content):
            raise UnreadablePickleError(f"storage {key} is cut short or not the one that is named; download the file again")
        content = opened.read(len(storage.content))
        if len(content) != len(storage.content):
            raise UnreadablePickleError(f"storage {key} is cut short; download the file again")
        # In place: the tensors are views of this memory already.
        storage.content.copy_(_as_tensor(content))
    return value


def _check_reference(reference: Any) -> tuple[str, torch.dtype, int]:
    """Name, type and size in bytes of a storage, out of torch's ('storage', type, name, device, number of values, ...)."""
    if not (isinstance(reference, tuple) and len(reference) >= 5 and reference[0] == "storage" and isinstance(reference[1], torch.dtype)):
        raise UnreadablePickleError("refers to values outside it that are no tensors")
    dtype, num_values = reference[1], reference[4]
    if not isinstance(num_values, int) or num_values < 0:
        raise UnreadablePickleError(f"a storage of {num_values!r} values")
    return str(reference[2]), dtype, num_values * dtype.itemsize


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0, dtype=torch.uint8)


def _build_tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> StoredTensor:
    """A tensor in its storage; torch itself checks that it ends within it."""
    if not isinstance(storage, StoredBytes):
        raise UnreadablePickleError("a tensor without a storage; the pickle is broken or hostile")
    num_values = len(storage.content) // storage.dtype.itemsize
    try:
        values = storage.content[: num_values * storage.dtype.itemsize].view(storage.dtype)
        tensor = values.as_strided(tuple(size), tuple(stride), offset)
    except RuntimeError as error:
        raise UnreadablePickleError(f"a tensor of {tuple(size)} in a storage of {num_values} values") from error
    if tensor.numel() > num_values:
        # Repeated values take no memory here, and without limit where they are copied.
        raise UnreadablePickleError(f"a tensor of {tuple(size)} in a storage of {num_values} values")
    return StoredTensor(tensor)


def _build_typed_tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *more: Any) -> StoredTensor:
    """`_rebuild_tensor_v3`: the type comes apart from the storage."""
    dtype = next((part for part in more if isinstance(part, torch.dtype)), None)
    if not isinstance(storage, StoredBytes) or dtype is None:
        raise UnreadablePickleError("a tensor without a storage or type; the pickle is broken or hostile")
    return _build_tensor(StoredBytes(storage.content, dtype), offset, size, stride)


def _keep_tensor(tensor: Any, *_: Any) -> Any:
    return tensor


def _build_from_type(build: Any, _kept_type: Any, arguments: tuple[Any, ...], _state: Any) -> Any:
    if not isinstance(build, KnownName):
        raise UnreadablePickleError("a tensor of a class that is not known")
    return build(*arguments)


def _load_from_bytes(content: bytes) -> Any:
    """How pickle.dump, unlike torch.save, stores a storage."""
    return _read(io.BytesIO(content))


DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
TORCH_NAMES: dict[str, Any] = {
    **{f"torch.{name}": dtype for name, dtype in STORED_DTYPES.items()},
    **{f"torch.storage.{name}": dtype for name, dtype in STORED_DTYPES.items()},
    **{f"torch.{name}": getattr(torch, name) for name in DTYPES},
    "torch._utils._rebuild_tensor": KnownName(_build_tensor),
    "torch._utils._rebuild_tensor_v2": KnownName(_build_tensor),
    "torch._utils._rebuild_tensor_v3": KnownName(_build_typed_tensor),
    "torch._utils._rebuild_parameter": KnownName(_keep_tensor),
    "torch._utils._rebuild_parameter_with_state": KnownName(_keep_tensor),
    "torch._tensor._rebuild_from_type_v2": KnownName(_build_from_type),
    "torch.storage._load_from_bytes": KnownName(_load_from_bytes),
    "torch.Size": KnownName(tuple),
}
