import json
import re

from mer_ray.reporting.probe_page import headline_of, render_probe


def entry(encoder: str, modality: str, number: int, score: float, *, level: bool | None, pooling: str = "mean") -> dict:
    bounds = None if level is None else [score - 0.05, score + 0.05]
    return {
        "encoder": f"{encoder}@01234567",
        "name": encoder,
        "modality": modality,
        "layer": f"layer_{number}",
        "number": number,
        "pooling": pooling,
        "dim": 8,
        "scores": {"weighted_f1": score, "uar": score, "accuracy": score, "valence_ccc": score - 0.1, "valence_mse": 1.0},
        "penalties": {"emotion": [1.0, 5.0], "valence": [1.0, 1.0]},
        "interval": bounds,
        "behind": None if level is None else 0.6 - score,
        "behind_interval": bounds,
        "is_level": level,
    }


def facts() -> dict:
    return {
        "corpus": "lab <one>",
        "manifest": "m.parquet",
        "store": "store",
        "values": ["valence"],
        "metric": "weighted_f1",
        "penalties": [1.0, 5.0],
        "num_clips": 40,
        "num_speakers": 8,
        "folds": "stratified",
        "num_folds": 4,
        "folds_are_new": True,
        "chance": {"weighted_f1": 0.2, "uar": 0.25},
        "notes": ["hubert: 1 of 40 clips have no audio features"],
        "entries": [
            entry("hubert", "audio", 2, 0.6, level=True),
            entry("clip", "vision", 0, 0.55, level=True),
            entry("hubert", "audio", 1, 0.4, level=False, pooling="std"),
            entry("hubert", "audio", 0, 0.3, level=None),
        ],
    }


def figures_of(page: str) -> dict:
    return json.loads(re.search(r'id="mer-ray-figures">(.*?)</script>', page, re.DOTALL).group(1))


def test_heat_maps_hold_each_score_at_its_encoder_and_layer():
    figures = figures_of(render_probe(facts()))
    assert set(figures) == {"weighted_f1-mean", "weighted_f1-std", "valence_ccc-mean", "valence_ccc-std", "leaders"}
    mean = figures["weighted_f1-mean"]["data"][0]
    assert mean["y"] == ["hubert", "clip"] and mean["z"] == [[0.3, None, 0.6], [0.55, None, None]]
    assert figures["weighted_f1-std"]["data"][0]["z"] == [[None, 0.4, None], [None, None, None]]
    assert (mean["zmin"], mean["zmax"]) == (0.3, 0.6)


def test_the_page_shows_the_ranking_and_what_is_level():
    page = render_probe(facts())
    assert "lab &lt;one&gt;" in page and "hubert: 1 of 40 clips have no audio features." in page and "4 folds made for this probe" in page
    assert "Best is hubert layer_2, mean: weighted F1 0.600 (chance: 0.200). 1 other candidate cannot be told from it" in page
    symbols = [one["marker"]["symbol"] for one in figures_of(page)["leaders"]["data"] if "marker" in one]
    assert symbols == ["circle", "circle", "circle-open"]
    alone = facts()
    alone["entries"][1]["is_level"] = False
    assert headline_of(alone).endswith("No other candidate is level with it.")
