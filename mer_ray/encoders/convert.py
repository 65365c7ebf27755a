"""Published checkpoints of any age become safetensors files, once, without running what lies in them."""

from dataclasses import dataclass
from pathlib import Path

import safetensors.torch

from mer_ray.core.artefacts import digest_file
from mer_ray.core.errors import EncoderError
from mer_ray.core.table import Table
from mer_ray.encoders._checkpoint_file import SAFE_SUFFIX, read_state_dict

MEBIBYTE = 2**20
# Endings that belong together, as in `model.pth.tar`.
CHECKPOINT_SUFFIXES = (".tar", ".pth", ".pt", ".bin", ".pkl", ".ckpt")


@dataclass(frozen=True)
class ConvertSummary:
    """What was read and written: files, the source's sha256, tensors, their values, and the largest of them by name and shape."""

    source: Path
    out: Path
    source_sha256: str
    num_tensors: int
    num_values: int
    largest: tuple[tuple[str, tuple[int, ...]], ...]

    def table(self) -> Table:
        """The largest tensors, by which a reader recognises the network."""
        return Table(
            title=f"{self.source.name} -> {self.out}",
            columns=("tensor", "shape"),
            rows=tuple((name, " x ".join(map(str, shape))) for name, shape in self.largest),
            notes=(
                f"{self.num_tensors} tensors, {self.num_values:,} values, {self.out.stat().st_size / MEBIBYTE:.1f} MiB",
                f"sha256 of the source: {self.source_sha256}",
            ),
        )


def convert_checkpoint(source: Path, out: Path | None) -> ConvertSummary:
    """Write the tensors of `source` as safetensors to `out` (None: beside the source, with that ending).

    State dicts, training checkpoints that hold one, and whole pickled models are read; `module.` of DataParallel is dropped. The
    file's header keeps the source's name and sha256.

    Raises:
        EncoderError: the source cannot be read without running code, holds no tensors, or `out` exists or cannot be written.

    """
    out = out or _beside(source)
    if out.suffix != SAFE_SUFFIX:
        raise EncoderError(f"{out}: the converted file must end with {SAFE_SUFFIX}, by which it is recognised")
    if out.exists():
        raise EncoderError(f"{out} exists already; name another file, or delete it")
    tensors = read_state_dict(source)
    digest = digest_file(source)
    # Several names may share memory; the format stores each by itself.
    separate = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(separate, temporary, metadata={"format": "pt", "source": source.name, "source_sha256": digest})
        temporary.replace(out)
    except OSError as error:
        raise EncoderError(f"{out}: cannot be written ({error})") from error
    by_size = sorted(tensors.items(), key=lambda item: item[1].numel(), reverse=True)
    return ConvertSummary(
        source=source,
        out=out,
        source_sha256=digest,
        num_tensors=len(tensors),
        num_values=sum(tensor.numel() for tensor in tensors.values()),
        largest=tuple((name, tuple(tensor.shape)) for name, tensor in by_size[:5]),
    )


def _beside(source: Path) -> Path:
    name = source.name
    while name.endswith(CHECKPOINT_SUFFIXES):
        name = name[: name.rindex(".")]
    return source.with_name(f"{name}{SAFE_SUFFIX}")
