"""`mer-ray synth`: make a synthetic corpus, as media files or as a feature store."""

import time
from dataclasses import dataclass
from pathlib import Path

from mer_ray.core.artefacts import num_cores
from mer_ray.core.progress import track
from mer_ray.core.table import Table
from mer_ray.corpora.synthetic.clip import render_clips
from mer_ray.corpora.synthetic.config import PlantedConfig, SynthConfig
from mer_ray.corpora.synthetic.corpus import CORPUS_FILE, describe_corpus, open_folder, plan_clips, prepare_clips_folder, write_tables
from mer_ray.corpora.synthetic.latents import Latents, draw_latents
from mer_ray.corpora.synthetic.mer2023_tree import write_mer2023_tree
from mer_ray.extraction.planting import plant_store, write_planted_manifest


@dataclass(frozen=True)
class SynthSummary:
    """What was made: `num_made` clips now, `num_kept` before; `ceilings` and `drawn` as in `CorpusFacts`."""

    out: Path
    num_labelled: int
    num_unlabelled: int
    num_made: int
    num_kept: int
    seconds: float
    latents_digest: str
    ceilings: dict[str, float]
    drawn: dict[str, float]

    def tables(self) -> list[Table]:
        """For people: how good a recogniser can be, and what lies where."""
        kept = f", {self.num_kept} were there already" if self.num_kept else ""
        made = f"{self.out}: {self.num_made} clips made in {self.seconds:.1f} s{kept}"
        counts = f"{self.num_labelled} labelled and {self.num_unlabelled} unlabelled clips"
        rows = tuple((name, ceiling, self.drawn[name]) for name, ceiling in self.ceilings.items())
        columns = ("input", "best possible weighted F1", "best possible on these clips")
        return [Table("Synthetic corpus", columns, rows, (made, counts))]


def synthesise(config: SynthConfig) -> SynthSummary:
    """Make what is missing of a corpus; a finished one is left as it is.

    Raises:
        ConfigError: the folder holds another corpus.
        MediaError: a clip does not fit its size budget.

    """
    start_s = time.monotonic()
    open_folder(config)
    latents = draw_latents(config)
    num_made = _make_media(config, latents) if config.features is None else _make_features(config, config.features, latents)
    facts = describe_corpus(config, latents)
    if num_made or not (config.out / CORPUS_FILE).is_file():
        write_tables(config, latents, facts)
    for name in config.networks:
        # transformers takes seconds to import.
        from mer_ray.extraction.small_networks import write_small_network

        write_small_network(name, config.out / "networks" / name)
    if config.layout == "mer2023":
        write_mer2023_tree(config, latents)
    return SynthSummary(
        out=config.out,
        num_labelled=config.num_clips,
        num_unlabelled=config.num_unlabelled,
        num_made=num_made,
        num_kept=latents.num_clips - num_made,
        seconds=time.monotonic() - start_s,
        latents_digest=facts.latents_digest,
        ceilings=facts.ceilings,
        drawn=facts.drawn,
    )


def _make_media(config: SynthConfig, latents: Latents) -> int:
    """Make the files that are missing: how many clips that were."""
    prepare_clips_folder(config.out)
    plans, num_without_file = plan_clips(config, latents)
    with track("synth", total=len(plans)) as bar:
        for _ in render_clips(plans, config.num_processes or num_cores()):
            bar.advance()
    is_new = not (config.out / CORPUS_FILE).is_file()
    return len(plans) + (num_without_file if is_new else 0)


def _make_features(config: SynthConfig, planted: PlantedConfig, latents: Latents) -> int:
    """Plant all features anew, which takes seconds and replaces the same ones: how many clips that were."""
    plant_store(config, planted, latents)
    write_planted_manifest(config, planted, latents)
    return latents.num_clips
