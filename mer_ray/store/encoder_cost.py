"""What an encoder took to compute: `_cost.json` beside its record, measured by the extraction that encoded the most clips."""

from pydantic import Field, ValidationError

from mer_ray.core.config import Config
from mer_ray.core.errors import StoreError
from mer_ray.store.layout import Store
from mer_ray.store.publishing import publish, read_if_there


class EncoderCost(Config):
    """Seconds that one device (`cuda`: a GPU, `cpu`: a core) computed for `num_clips` clips, without fetching, decoding and writing."""

    device: str
    num_clips: int = Field(ge=1)
    device_s: float = Field(ge=0, allow_inf_nan=False)

    @property
    def milliseconds_per_clip(self) -> float:
        """Of one device."""
        return 1000 * self.device_s / self.num_clips


def note_cost(store: Store, corpus: str, key: str, cost: EncoderCost) -> None:
    """Write it, unless a measurement of more clips is there.

    Raises:
        StoreError: the store cannot be written, or what is there is no measurement.

    """
    known = find_cost(store, corpus, key)
    if known is None or known.num_clips <= cost.num_clips:
        with publish(store, store.cost_path(corpus, key)) as temporary:
            temporary.write_text(cost.model_dump_json(indent=1) + "\n", encoding="utf-8")


def find_cost(store: Store, corpus: str, key: str) -> EncoderCost | None:
    """Read it; None where no extraction has measured this encoder, as with imported features.

    Raises:
        StoreError: the file is no measurement, or cannot be read.

    """
    path = store.cost_path(corpus, key)
    text = read_if_there(store, path)
    if text is None:
        return None
    try:
        return EncoderCost.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(
            f"{store.locate(path)}: not a measurement of an encoder; remove this file, the next extraction writes it"
        ) from error
