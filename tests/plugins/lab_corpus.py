"""A plug-in that keeps its contract: wav files named <speaker>_<number>_<emotion>.wav."""

from pathlib import Path

from mer_ray.core.manifest import ManifestFacts
from mer_ray.corpora import Corpus, CorpusConfig, Fault, Scan, manifest_table

EMOTIONS = ("calm", "glad", "cross")


class LabConfig(CorpusConfig):
    language: str = "en"

    def build(self) -> "LabCorpus":
        return LabCorpus(self)


class LabCorpus(Corpus):
    def __init__(self, config: LabConfig) -> None:
        self.root, self.language = Path(config.path).absolute(), config.language

    def facts(self) -> ManifestFacts:
        return ManifestFacts(corpus="lab", classes=EMOTIONS, root=str(self.root))

    def scan(self) -> Scan:
        rows, numbers, faults = [], [], []
        for number, path in enumerate(sorted(self.root.glob("*.wav")), start=1):
            speaker, _, rest = path.stem.partition("_")
            emotion = rest.rpartition("_")[2]
            if emotion not in EMOTIONS:
                faults.append(Fault(number, path.stem, "emotion", f"{path.name!r} names no emotion", ", ".join(EMOTIONS)))
                continue
            rows.append((path.stem, path.name, speaker, emotion, self.language))
            numbers.append(number)
        names = ("clip_id", "path", "speaker_id", "emotion", "language")
        return Scan(manifest_table(dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}, len(rows)), numbers, faults)
