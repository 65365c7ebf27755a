"""Where everything lies in a store, and the file system it lies on.

<store>/<corpus>/features/<key>/part-<hash>.parquet, _encoder.json, _cost.json, and _plugin.py of a user's
<store>/<corpus>/failures/<key>/part-<hash>.parquet
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import fsspec

from mer_ray.core.errors import StoreError
from mer_ray.core.manifest import CORPUS_NAME
from mer_ray.core.s3 import s3_filesystem

PartKind = Literal["features", "failures"]

RECORD_NAME = "_encoder.json"
PLUGIN_NAME = "_plugin.py"
COST_NAME = "_cost.json"
# What lies beside the parts and tells how they were made.
DESCRIPTION_NAMES = (RECORD_NAME, PLUGIN_NAME, COST_NAME)


@dataclass(frozen=True)
class Store:
    """A feature store: `root` is an absolute folder, or bucket and prefix on S3. Pickles; opens its connection when used."""

    url: str
    root: str
    protocol: Literal["file", "s3"]

    @property
    def is_local(self) -> bool:
        """True where files can be renamed in place."""
        return self.protocol == "file"

    @property
    def filesystem(self) -> Any:
        """The fsspec file system; S3 takes credentials and AWS_ENDPOINT_URL from the usual environment."""
        if self.is_local:
            return fsspec.filesystem("file")
        return s3_filesystem()

    def corpus_folder(self, corpus: str) -> str:
        """The folder of one corpus."""
        return f"{self.root}/{_checked(corpus, 'corpus')}"

    def kind_folder(self, corpus: str, kind: PartKind) -> str:
        """The folder that holds one folder per encoder."""
        return f"{self.corpus_folder(corpus)}/{kind}"

    def part_folder(self, corpus: str, key: str, kind: PartKind) -> str:
        """The folder of the parts of one encoder."""
        return f"{self.kind_folder(corpus, kind)}/{_checked(key, 'encoder key')}"

    def record_path(self, corpus: str, key: str) -> str:
        """The path of an encoder's `_encoder.json`."""
        return f"{self.part_folder(corpus, key, 'features')}/{RECORD_NAME}"

    def plugin_path(self, corpus: str, key: str) -> str:
        """The path of the code of an encoder that is a plug-in."""
        return f"{self.part_folder(corpus, key, 'features')}/{PLUGIN_NAME}"

    def cost_path(self, corpus: str, key: str) -> str:
        """The path of what an encoder took to compute."""
        return f"{self.part_folder(corpus, key, 'features')}/{COST_NAME}"

    def locate(self, path: str) -> str:
        """A path of this store as a person would type it."""
        return path if self.is_local else f"s3://{path}"


def open_store(url: str | Path) -> Store:
    """Open a store in a local folder or under `s3://bucket/prefix`; nothing is created or contacted yet.

    Raises:
        StoreError: another protocol, `s3://` without a bucket, or with credentials in it.

    """
    text = str(url)
    protocol, separator, rest = text.partition("://")
    if not separator or protocol == "file":
        folder = os.path.abspath(os.path.expanduser(rest if separator else text))
        return Store(url=folder, root=folder, protocol="file")
    if "@" in rest.partition("/")[0]:
        # Not shown: it would be in every message, summary and record.
        raise StoreError(
            "store s3://...@...: credentials have no place in a URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    root = rest.strip("/")
    if protocol != "s3" or not root:
        raise StoreError(f"store {text}: not a place for a store; write a local folder or s3://bucket/prefix")
    return Store(url=f"s3://{root}", root=root, protocol="s3")


def _checked(name: str, what: str) -> str:
    if not CORPUS_NAME.fullmatch(name):
        raise StoreError(f"{what} {name!r}: cannot be a folder's name; use letters, digits and . _ @ + -, starting with a letter or digit")
    return name
