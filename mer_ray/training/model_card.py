"""The model card of a bundle: what it reads, where it comes from, how good it is, what it must not be used for."""

import re

from mer_ray.store.record import EncoderRecord
from mer_ray.training.bundle_facts import BundleFacts, GroupFacts

# Words of licences that forbid commercial use: Creative Commons NC, and those that say it.
NON_COMMERCIAL = re.compile(r"non.?commercial|no commercial|(?<![a-z])nc(?![a-z])|research (use )?only|research purposes|academic", re.I)

USE = """## Intended use and limits

For research on how emotion is expressed and perceived. It learnt how annotators labelled recorded behaviour, not what a person
feels, and it inherits the biases of its corpus; scores on other speakers, languages, recordings and cultures are lower, often much
lower. Do not use it to judge individuals: not for hiring, policing, schooling, insurance, or at borders; in the European Union
inferring emotions at work and in education is prohibited (AI Act, Article 5). Check its scores per group of speakers before you
rely on any.
"""


def write_card(facts: BundleFacts) -> str:
    """Markdown; an encoder or a corpus for non-commercial use only is named in the first lines."""
    lines = [f"# {' + '.join(group.run for group in facts.groups)}: emotion recognition on {facts.corpus}", ""]
    bound = [record.key for record in facts.encoders.values() if is_non_commercial(record.licence)]
    if bound:
        lines += [f"**Not for commercial use:** the weights of {', '.join(bound)} are licensed for non-commercial use only.", ""]
    if is_non_commercial(facts.corpus_licence):
        lines += [f"**Not for commercial use:** the corpus {facts.corpus} is licensed for non-commercial use only.", ""]
    unclear = [record.key for record in facts.encoders.values() if is_unclear(record.licence)]
    if unclear:
        names = ", ".join(unclear)
        lines += [f"**Licence unclear:** no licence is stated for the weights of {names}: ask their authors before sharing.", ""]
    modalities = dict.fromkeys(stream.modality for group in facts.groups for stream in group.streams)
    predicts = ", ".join(("emotion", *facts.values))
    lines += [
        f"Reads {', '.join(modalities)}; predicts {predicts}.",
        f"Classes: {', '.join(facts.classes)}.",
        "",
        "## Licences",
        "",
        "| what | licence |",
        "|---|---|",
        f"| corpus {facts.corpus} | {facts.corpus_licence or 'not stated in the manifest'} |",
        *[f"| encoder {record.key} | {record.licence or 'not stated'} |" for record in facts.encoders.values()],
        "",
        "The trained weights in `members/` were learnt from these: their licences bind whoever uses the bundle.",
        "",
        "## Encoders",
        "",
        "| encoder | layers read | modality | sha256 of its weights |",
        "|---|---|---|---|",
        *[_encoder_row(facts, record) for record in facts.encoders.values()],
        "",
    ]
    for group in facts.groups:
        lines += _group_lines(group, len(facts.groups) > 1)
    lines += [USE, f"Written by mer_ray {facts.mer_ray}, {facts.created}.", ""]
    return "\n".join(lines)


def is_non_commercial(licence: str | None) -> bool:
    """Whether a licence, as people name it, forbids commercial use."""
    return licence is not None and NON_COMMERCIAL.search(licence) is not None


def is_unclear(licence: str | None) -> bool:
    """Whether nobody has stated a licence."""
    return licence is None or licence == "unknown" or "none stated" in licence


def _encoder_row(facts: BundleFacts, record: EncoderRecord) -> str:
    read = [layer for group in facts.groups for stream in group.inputs if stream.encoder == record.key for layer in stream.layers]
    return f"| {record.key} | {', '.join(map(str, dict.fromkeys(read)))} | {record.modality} | {record.weights_digest or 'has none'} |"


def _group_lines(group: GroupFacts, is_one_of_several: bool) -> list[str]:
    clips = ", ".join(f"{split} {count}" for split, count in group.num_clips.items())
    weight = f", with the weight {group.weight:g}" if is_one_of_several else ""
    metrics = dict.fromkeys(name for scores in group.scores.values() for name in scores)
    if group.calibrated_on is None:
        calibration = "Its probabilities are not calibrated: there were no development clips to fit a temperature on."
    else:
        effect = "softer" if group.temperature > 1 else "sharper"
        calibration = (
            f"Log probabilities are divided by the temperature {group.temperature:.3f}, which makes them {effect}; "
            f"it was fitted on: {group.calibrated_on}."
        )
    return [
        f"## {group.run}",
        "",
        f"{len(group.members)} models of folds and seeds, whose probabilities and values are averaged{weight}.",
        f"Trained on {group.num_trained} clips by the protocol: {group.protocol}. Scored clips: {clips}.",
        f"Normalisation: {group.normalise}.",
        calibration,
        "",
        "Scores of single models on clips that they were not trained on, mean over the seeds; their average is usually a little better:",
        "",
        f"| metric | {' | '.join(group.scores)} |",
        f"|---|{'---|' * len(group.scores)}",
        *[f"| {name} | {' | '.join(_shown(scores.get(name)) for scores in group.scores.values())} |" for name in metrics],
        "",
    ]


def _shown(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"
