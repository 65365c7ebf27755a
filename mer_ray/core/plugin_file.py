"""A user's Python file as a module: read and hashed, run under a name of its own, its classes found.

The text travels with what is made of it, so that another process runs the same code where no such file lies.
"""

import ast
import hashlib
import importlib.abc
import importlib.util
import inspect
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from rich.console import Console

from mer_ray.core.artefacts import write_text
from mer_ray.core.config import nearest
from mer_ray.core.errors import ConfigError, MerRayError

Family = TypeVar("Family")

_running = threading.RLock()


@dataclass(frozen=True)
class PluginFile:
    """A plug-in's `text`, and the `path` that it was read from."""

    path: Path
    text: str

    @cached_property
    def sha256(self) -> str:
        """Of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def module_name(self) -> str:
        """Its own for each content: two files of one name never mix."""
        return f"mer_ray_plugin_{self.sha256}"

    @property
    def copied_name(self) -> str:
        """The name of its copies beside artefacts."""
        return copied_name(self.sha256, self.path)

    @property
    def is_running(self) -> bool:
        """Whether this process has run this very text already."""
        return self.module_name in sys.modules

    def write_to(self, folder: Path) -> Path:
        """Copy the text into a folder, whole or not at all; where it is now."""
        copy = folder / self.copied_name
        write_text(copy, self.text)
        return copy

    def announce(self) -> None:
        """Say loudly that this code is about to run, once per process."""
        if not self.is_running:
            warning = f"mer-ray: warning: runs the Python code of {self.path} (sha256 {self.sha256})"
            Console(stderr=True).print(warning, markup=False, highlight=False, soft_wrap=True)

    def module(self) -> ModuleType:
        """The file as a module; its code runs at the first call in a process.

        Raises:
            ConfigError: a syntax error, or whatever its code raises.

        """
        # Two threads of a worker must not run it twice: there would be two classes of each name.
        with _running:
            if not self.is_running:
                self._run()
            return sys.modules[self.module_name]

    def _run(self) -> None:
        specification = importlib.util.spec_from_loader(self.module_name, _TextLoader(self))
        assert specification is not None and specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[self.module_name] = module
        try:
            with foreign_code(self, "its code"):
                specification.loader.exec_module(module)
        except ConfigError:
            del sys.modules[self.module_name]
            raise

    def find_classes(self, family: type[Family]) -> dict[str, type[Family]]:
        """The public, complete classes of a family that the file defines, by name.

        Raises:
            ConfigError: as of `module`.

        """
        return {
            name: found
            for name, found in vars(self.module()).items()
            if inspect.isclass(found)
            and issubclass(found, family)
            and found.__module__ == self.module_name
            and not name.startswith("_")
            and not inspect.isabstract(found)
        }

    def find_class(self, name: str, family: type[Family]) -> type[Family]:
        """One of `find_classes`.

        Raises:
            ConfigError: as of `module`; no such class, one of another family, or one that lacks methods.

        """
        candidates = self.find_classes(family)
        if name in candidates:
            return candidates[name]
        allowed = nearest(name, list(candidates)) or f"; the file defines no {family.__name__}"
        found = getattr(self.module(), name, None)
        if not inspect.isclass(found) or found.__module__ != self.module_name or name.startswith("_"):
            raise ConfigError(f"{self.path}: defines no public class {name!r}{allowed}")
        place = f"{self.path}:{self._line_of(name)}"
        if issubclass(found, family):
            raise ConfigError(f"{place}: class {name} lacks {', '.join(sorted(getattr(found, '__abstractmethods__', ())))}{allowed}")
        raise ConfigError(f"{place}: class {name} is no {family.__module__.rpartition('._')[0]}.{family.__name__}{allowed}")

    def _line_of(self, name: str) -> int:
        """Where a class begins; 1 for a class that no statement of the file makes."""
        lines = {node.name: node.lineno for node in ast.walk(ast.parse(self.text.encode())) if isinstance(node, ast.ClassDef)}
        return lines.get(name, 1)


class _TextLoader(importlib.abc.SourceLoader):
    """Gives the text as the module's source, also to tracebacks and `inspect`, wherever the file has gone."""

    def __init__(self, file: PluginFile) -> None:
        self.file = file

    def get_filename(self, fullname: str) -> str:
        """The path that tracebacks name."""
        return str(self.file.path)

    def get_data(self, path: str) -> bytes:
        """The source."""
        return self.file.text.encode()


def copied_name(sha256: str, path: Path) -> str:
    """The name of the copies of a file beside artefacts."""
    return f"{sha256[:8]}-{path.name}"


def read_plugin(path: Path) -> PluginFile:
    """Read a plug-in; nothing of it runs.

    Raises:
        ConfigError: no such file, or no text.

    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; a plug-in is one Python file")
    try:
        return PluginFile(path, path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a Python file: its byte {error.start} is no UTF-8") from error


@contextmanager
def foreign_code(file: PluginFile, doing: str) -> Iterator[None]:
    """Tell whatever the code of a plug-in raises in one line, with the place in its file; errors of ours stay what they are.

    Raises:
        ConfigError: the block raised something else.

    """
    try:
        yield
    except MerRayError:
        raise
    except SyntaxError as error:
        raise ConfigError(f"{file.path}:{error.lineno or 1}: not valid Python: {error.msg}") from error
    except (Exception, SystemExit) as error:
        # What a user's code can raise cannot be listed.
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file.path)]
        place = f"{file.path}:{lines[-1]}" if lines else str(file.path)
        reason = " ".join(str(error).split())
        raise ConfigError(f"{place}: {doing} raised {type(error).__name__}{f': {reason}' if reason else ''}") from error
