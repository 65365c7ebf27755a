"""Pickles read as data: nothing that they name is imported or called.

A pickle is a program: whoever opens it with `pickle.load` runs what its author wrote. Here every name that the pickle mentions
becomes an inert class whose "call" only keeps its arguments, but for a fixed table of plain containers and numpy arrays, which our own
code rebuilds. Names that only serve to run something are refused, so that a hostile file is noticed.
"""

import io
import pickle
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn

import numpy as np

from mer_ray.core.errors import MerRayError

# Modules of the standard library whose names a stored value has no reason to mention.
RUNNING_MODULES = (
    frozenset(("os", "posix", "nt", "sys", "subprocess", "_posixsubprocess", "multiprocessing", "commands", "popen2", "pty", "io", "_io"))
    | frozenset(("shutil", "tempfile", "ctypes", "signal", "threading", "concurrent", "asyncio", "pip", "ensurepip", "venv", "setuptools"))
    | frozenset(("importlib", "imp", "runpy", "code", "codeop", "pdb", "bdb", "profile", "cProfile", "trace", "timeit", "pydoc"))
    | frozenset(("marshal", "pickle", "_pickle", "dill", "cloudpickle"))
    | frozenset(("socket", "socketserver", "ssl", "http", "urllib", "urllib2", "smtplib", "webbrowser"))
)
RUNNING_BUILTINS = frozenset(
    ("__import__", "apply", "breakpoint", "compile", "delattr", "eval", "exec", "execfile", "file", "globals", "input", "open", "setattr")
)
# How Python 2 called them.
RENAMED_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
PLAIN_DTYPE = re.compile(r"[|<>=]?(?:[biufc?O]\d{0,2}|[SU]\d{0,9})")
PICKLE_FAULTS = (
    *(pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError),
    *(MemoryError, OverflowError, RecursionError, TypeError, ValueError),
)


class UnreadablePickleError(MerRayError):
    """A pickle is broken, or names what would run code."""


class InertObject:
    """What a pickle stores of an object whose class was not imported.

    `class_name` is the full name of its class, or of the function that the pickle wanted to call; `arguments` what it was to be
    called with, `state` its attributes, `elements` and `entries` what was put into it as into a list or a dict.
    """

    class_name: ClassVar[str]

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    state: Any
    elements: list[Any]
    entries: dict[Any, Any]

    def __new__(cls, *arguments: Any, **keywords: Any) -> "InertObject":
        """Keep the arguments; the unpickler calls nothing else to make an object."""
        made = object.__new__(cls)
        made.arguments, made.keywords = arguments, keywords
        made.state, made.elements, made.entries = {}, [], {}
        return made

    def __setstate__(self, state: Any) -> None:
        """Keep the attributes; those in slots come as a second dict."""
        if isinstance(state, tuple) and len(state) == 2 and all(part is None or isinstance(part, dict) for part in state):
            state = {**(state[0] or {}), **(state[1] or {})}
        self.state = state

    def append(self, element: Any) -> None:
        """Keep an element of a list."""
        self.elements.append(element)

    def extend(self, elements: Any) -> None:
        """Keep elements of a list."""
        self.elements.extend(elements)

    def add(self, element: Any) -> None:
        """Keep a member of a set."""
        self.elements.append(element)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def __repr__(self) -> str:
        return f"<pickled {self.class_name}>"


class Sealed:
    """An object that a pickle can hand on but not change; subclasses have slots, which they fill with `object.__setattr__`."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise UnreadablePickleError(f"the pickle sets the attribute {name!r} of what it did not make; it is broken or hostile")


class KnownName(Sealed):
    """What a name of the table stands for: one of our functions, out of a pickle's reach."""

    __slots__ = ("_build",)

    _build: Callable[..., Any]

    def __init__(self, build: Callable[..., Any]) -> None:
        object.__setattr__(self, "_build", build)

    def __call__(self, *arguments: Any) -> Any:
        """What our function makes of the arguments."""
        return self._build(*arguments)


class InertUnpickler(pickle.Unpickler):
    """Reads one pickle; `known` adds names to the table, `load_persistent` rebuilds what is stored outside the pickle."""

    def __init__(self, file: BinaryIO, known: Mapping[str, Any] | None = None, load_persistent: Callable[[Any], Any] | None = None) -> None:
        # Strings of Python 2 are bytes; latin1 keeps each of them.
        super().__init__(file, encoding="latin1")
        self._file = file
        self._known = {**KNOWN_NAMES, **(known or {})}
        self._load_persistent = load_persistent
        self._classes: dict[str, type[InertObject]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for: our own function, or an inert class; nothing is imported.

        Raises:
            UnreadablePickleError: the name belongs to what runs code, files or processes.

        """
        module = RENAMED_MODULES.get(module, module)
        full_name = f"{module}.{name}"
        if full_name in self._known:
            return self._known[full_name]
        if module.split(".")[0] in RUNNING_MODULES or (module == "builtins" and name.split(".")[0] in RUNNING_BUILTINS):
            raise UnreadablePickleError(
                f"the pickle names {full_name}, which runs code or touches the system; stored values never need it: delete the file"
            )
        if full_name not in self._classes:
            self._classes[full_name] = type("InertObject", (InertObject,), {"class_name": full_name, "__module__": __name__})
        return self._classes[full_name]

    def persistent_load(self, pid: Any) -> Any:
        """What is stored outside the pickle.

        Raises:
            UnreadablePickleError: nothing is.

        """
        if self._load_persistent is None:
            raise UnreadablePickleError("the pickle refers to values outside it, as only torch's own files may")
        return self._load_persistent(pid)

    def load(self) -> Any:
        """The stored value.

        Raises:
            UnreadablePickleError: the pickle is broken, or names what would run code.

        """
        try:
            _check_memo(self._file)
            return super().load()
        except PICKLE_FAULTS as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UnreadablePickleError(f"not a pickle that can be read as data ({reason})") from error


def _check_memo(file: BinaryIO) -> None:
    """Refuse a number of the memo that no pickler gives: Python fills its memo up to it, 64 GB for a pickle of ten bytes."""
    begin = file.tell()
    num_opcodes = 0
    while code := file.read(1):
        opcode = OPCODES.get(code.decode("latin1"))
        if opcode is None or opcode.name == "STOP":
            break
        num_opcodes += 1
        if opcode.name == "STRING":
            # Bytes of Python 2 in its own notation; pickletools reads ASCII alone.
            file.readline()
            continue
        argument: Any = opcode.arg.reader(file) if opcode.arg is not None else None
        # Picklers count up from 0 or 1.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= argument <= num_opcodes:
            raise UnreadablePickleError(f"the pickle numbers a value {argument} after {num_opcodes} steps; it is broken or hostile")
    file.seek(begin)


def load_inert(path: Path) -> Any:
    """The value of a pickle file, classes that are no plain containers or numpy arrays as `InertObject`.

    Raises:
        UnreadablePickleError: the file is no pickle, is broken, or names what would run code.

    """
    try:
        with path.open("rb") as opened:
            return InertUnpickler(opened).load()
    except (OSError, UnreadablePickleError) as error:
        raise UnreadablePickleError(f"{path}: {error}") from error


def load_inert_bytes(data: bytes) -> Any:
    """The value of a pickle in memory; see `load_inert`.

    Raises:
        UnreadablePickleError: the bytes are no pickle, are broken, or name what would run code.

    """
    return InertUnpickler(io.BytesIO(data)).load()


class PickledDict(dict[Any, Any]):
    """An OrderedDict or defaultdict; attributes, which torch adds to state dicts, are dropped."""

    def __setstate__(self, state: Any) -> None:
        """Attributes are no part of the value."""


class PickledDtype:
    """A numpy dtype of plain numbers, strings or objects; numpy's own would take flags from the pickle, which break memory."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        code = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(code, str) or not PLAIN_DTYPE.fullmatch(code):
            raise UnreadablePickleError(f"numpy values of type {code!r} are not read; numbers, strings and objects are")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        """Only the byte order is taken over; fields of structured types are refused."""
        order, *shapes_and_fields = state[1:5]
        if any(part is not None for part in shapes_and_fields) or order not in ("<", ">", "=", "|"):
            raise UnreadablePickleError("numpy values with fields are not read; numbers, strings and objects are")
        if self.code.lstrip("|<>=")[0] in "SU" and state[5] >= 0:
            self.code = f"{self.code.lstrip('|<>=')[0]}{state[5] // (4 if 'U' in self.code else 1)}"
        self.order = order

    def build(self) -> np.dtype[Any]:
        """The numpy dtype."""
        plain: np.dtype[Any] = np.dtype(self.order + self.code.lstrip("|<>="))
        return plain


class PickledArray(np.ndarray[Any, np.dtype[Any]]):
    """A numpy array whose content must have exactly the size of its shape, and is given once."""

    _is_filled = False

    def __setstate__(self, state: Any) -> None:
        """Fill the array from (version, shape, dtype, Fortran order, content); numpy's own trusts what it is given.

        A second time would free memory that rows of the array, taken from it before, still point to.
        """
        if self._is_filled:
            raise UnreadablePickleError("the pickle fills a numpy array twice; it is broken or hostile")
        self._is_filled = True
        _, shape, dtype, is_fortran, content = state
        values = _array(content, dtype, shape, "F" if is_fortran else "C")
        stored = values.ravel().tolist() if values.dtype.hasobject else values.tobytes("A")
        filled: Any = super()
        filled.__setstate__((1, values.shape, values.dtype, bool(is_fortran), stored))


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray[Any, np.dtype[Any]]:
    numpy_dtype = _plain_dtype(dtype)
    if order not in ("C", "F"):
        raise UnreadablePickleError(f"a numpy array in order {order!r} is not read")
    if numpy_dtype.hasobject:
        if not isinstance(content, list):
            raise UnreadablePickleError("a numpy array of objects without a list of them; the pickle is broken or hostile")
        objects = np.empty(len(content), dtype=object)
        # One by one: numpy would look into lists among them.
        for number, value in enumerate(content):
            objects[number] = value
        # Numpy writes objects row by row, whatever the array's order.
        return objects.reshape(shape)
    return np.frombuffer(_as_bytes(content), dtype=numpy_dtype).reshape(shape, order=order).copy(order=order)


def _scalar(dtype: Any, content: Any = b"") -> Any:
    numpy_dtype = _plain_dtype(dtype)
    return content if numpy_dtype.hasobject else np.frombuffer(_as_bytes(content), dtype=numpy_dtype, count=1)[0]


def _plain_dtype(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, PickledDtype):
        raise UnreadablePickleError("a numpy value without a plain dtype; the pickle is broken or hostile")
    return dtype.build()


def _as_bytes(content: Any) -> bytes:
    # Python 2 wrote a str.
    if isinstance(content, str):
        return content.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise UnreadablePickleError(f"a numpy value whose content is {type(content).__name__}; the pickle is broken or hostile")
    return bytes(content)


def _empty_array(*_: Any) -> PickledArray:
    return np.ndarray.__new__(PickledArray, (0,), np.uint8)


def _filled_array(content: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    """How protocol 5 stores an array; of our class, so that a later state is refused."""
    filled = _array(content, dtype, shape, order).view(PickledArray)
    filled._is_filled = True
    return filled


def _reconstruct(made_class: Any, *arguments: Any) -> Any:
    """What `copyreg._reconstructor` and `__newobj__` do, for inert classes."""
    if not (isinstance(made_class, type) and issubclass(made_class, InertObject)):
        raise UnreadablePickleError("the pickle builds an object of no class; it is broken or hostile")
    return made_class(*arguments)


def _bytes(content: bytes | str | list[int] = b"", encoding: str = "latin1") -> bytes:
    """A number, which Python would turn into so many zeros, is refused."""
    if isinstance(content, int):
        raise UnreadablePickleError("the pickle asks for bytes without content; it is broken or hostile")
    return _encode(content, encoding) if isinstance(content, str) else bytes(content)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 stores bytes."""
    return text.encode("latin1" if encoding in ("latin1", "latin-1") else "utf-8")


NUMPY_NAMES = {
    f"{package}.{name}": KnownName(build)
    for package in ("numpy.core", "numpy._core")
    for name, build in (
        ("multiarray._reconstruct", _empty_array),
        ("multiarray.scalar", _scalar),
        ("numeric._frombuffer", _filled_array),
    )
}
KNOWN_NAMES: dict[str, Any] = {
    **NUMPY_NAMES,
    "numpy.dtype": KnownName(PickledDtype),
    "collections.OrderedDict": PickledDict,
    "collections.defaultdict": KnownName(lambda *_: PickledDict()),
    "copyreg._reconstructor": KnownName(_reconstruct),
    "copyreg.__newobj__": KnownName(_reconstruct),
    "_codecs.encode": KnownName(_encode),
    "builtins.bytes": KnownName(_bytes),
    "builtins.bytearray": KnownName(lambda *parts: bytearray(_bytes(*parts))),
    **{f"builtins.{built.__name__}": KnownName(built) for built in (set, frozenset, list, tuple, dict, complex, slice)},
}
