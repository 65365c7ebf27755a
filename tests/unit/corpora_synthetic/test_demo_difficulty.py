"""The demo's difficulty is fixed: whoever changes it changes the golden file, and knows that the figures demo.* move."""

import json
from pathlib import Path

from mer_ray.core.config import identity_of, load_yaml, parse_config
from mer_ray.core.media_types import MODALITIES
from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.corpora.synthetic.corpus import describe_corpus
from mer_ray.corpora.synthetic.latents import draw_latents
from mer_ray.workflow.job import load_job

ROOT = Path(__file__).resolve().parents[3]


def test_the_demo_corpus_is_the_golden_one() -> None:
    step = next(step for step in load_yaml(ROOT / "jobs" / "demo.yaml")["steps"] if step["verb"] == "synth")
    config = parse_config(SynthConfig, {key: value for key, value in step.items() if key != "verb"}, "demo.yaml")
    golden = json.loads((ROOT / "tests" / "golden" / "demo_corpus.json").read_text())
    facts = describe_corpus(config, draw_latents(config))
    assert identity_of(config) == golden["identity"]
    assert facts.latents_digest == golden["latents_digest"]
    assert {name: round(value, 3) for name, value in facts.ceilings.items()} == golden["ceilings"]
    assert config.num_clips == 360 and config.num_unlabelled == 0
    assert 0.80 <= facts.ceilings["fused"] <= 0.95
    assert max(facts.ceilings[modality] for modality in MODALITIES) <= facts.ceilings["fused"] - 0.10


def test_the_twins_of_experiments_have_the_demos_corpus() -> None:
    part, demo = (load_job(ROOT / "jobs" / name, []).steps[0].config for name in ("parts/synthetic.yaml", "demo.yaml"))
    assert identity_of(part) == identity_of(demo)
