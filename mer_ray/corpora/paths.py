"""Paths of clips stay under the corpus's root, which is a folder or an `s3://` prefix."""

import os
import posixpath
from collections.abc import Sequence
from pathlib import PurePosixPath

from mer_ray.core.manifest import resolve_path

LINK_ADVICE = "put the files themselves there (a table may set corpus.root to a folder that holds all of them)"


def is_remote(path: str) -> bool:
    """Whether a path is a URL, e.g. `s3://bucket/prefix`."""
    return "://" in path


def absolute_root(path: str) -> str:
    """A root that does not depend on the working folder; URLs lose a trailing slash."""
    return path.rstrip("/") if is_remote(path) else os.path.abspath(path)


def parent_of(path: str) -> str:
    """The folder or prefix that holds a file."""
    return path.rpartition("/")[0] if is_remote(path) else os.path.dirname(os.path.abspath(path))


def name_of(path: str) -> str:
    """The last part of a path or URL."""
    return path.rstrip("/").rpartition("/")[2] if is_remote(path) else os.path.basename(os.path.abspath(path))


def common_root(roots: Sequence[str]) -> str | None:
    """The deepest folder, or prefix of one bucket, that holds all of some absolute roots; None where there is none."""
    remote = {is_remote(root) for root in roots}
    if remote == {False}:
        return os.path.commonpath(roots)
    if remote == {True} and len({root.partition("://")[0] for root in roots}) == 1:
        scheme = roots[0].partition("://")[0]
        shared = posixpath.commonpath([f"/{root.partition('://')[2]}" for root in roots])
        return None if shared == "/" else f"{scheme}:/{shared}"
    return None


def relative_to_root(path: str, root: str) -> str:
    """An absolute path or URL below the root as a relative one; anything else as it is."""
    if is_remote(path):
        return path.removeprefix(f"{root}/")
    if not os.path.isabs(path) or is_remote(root):
        return path
    relative = os.path.relpath(path, root)
    return path if PurePosixPath(relative).parts[:1] == ("..",) else relative


def why_outside(path: str, root: str) -> str | None:
    """How a path leaves its root, judged by the path alone; None where it does not.

    `..` is refused wherever it steps out, `a/../b.wav` stays inside. Symbolic links: see `why_linked_outside`.
    """
    if "\x00" in path:
        return "holds a NUL character"
    if is_remote(path):
        return "is a URL outside the root"
    if os.path.isabs(path):
        return "is an absolute path outside the root"
    if is_remote(root) and ".." in path.split("/"):
        return "holds '..'"
    if posixpath.normpath(path).split("/")[0] == "..":
        return "leaves the root through '..'"
    return None


def why_linked_outside(path: str, root: str) -> str | None:
    """How a local path leaves its root through symbolic links; None where it does not."""
    if is_remote(root):
        return None
    real_root, real_path = os.path.realpath(root), os.path.realpath(resolve_path(root, path))
    if os.path.commonpath([real_root, real_path]) == real_root:
        return None
    return f"is a symbolic link out of the root, to {real_path}"
