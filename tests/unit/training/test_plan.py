"""What a dry run tells without features, a training or Ray."""

import os

import pytest
from training_corpus import make_corpus

from mer_ray.core.errors import ConfigError, RunError, StoreError
from mer_ray.training import train
from mer_ray.training.plan import plan_training, state_of_training


def test_streams_that_the_model_does_not_take_are_told(corpus):
    guided = {"name": "audio_guided", "guide": "text"}
    with pytest.raises(ConfigError, match=r"guide: 'text' is none of the inputs nor their modality; name one of tone \(audio\)"):
        plan_training(corpus.config(model=guided))
    with pytest.raises(ConfigError, match="guide: 'text' is none of the inputs"):
        plan_training(corpus.config(candidates=[{"epochs": 1}, {"model": guided}]))


def test_inputs_that_the_store_lacks_are_told(corpus):
    with pytest.raises(ConfigError, match="no layer 'middle'; allowed: low, high"):
        plan_training(corpus.config(inputs=[{"encoder": "tone", "layers": ["middle"]}]))
    with pytest.raises(StoreError, match="planted has no encoder tune"):
        plan_training(corpus.config(inputs=[{"encoder": "tune"}]))


def test_frames_are_planned_as_frames(tmp_path):
    corpus = make_corpus(tmp_path, frames=True)
    frames = [{"encoder": name, "frames": True, "statistics": []} for name in ("tone", "face")]
    assert plan_training(corpus.config(inputs=frames, model={"name": "vavl", "width": 8, "num_heads": 2}))
    with pytest.raises(ConfigError, match="reads frames only"):
        plan_training(corpus.config(model={"name": "vavl", "width": 8, "num_heads": 2}))


def test_a_store_that_is_not_there_yet_is_no_fault(corpus, tmp_path):
    config = corpus.config(store=str(tmp_path / "later"), model={"name": "audio_guided", "guide": "text"})
    assert plan_training(config) and not (tmp_path / "later").exists()


def test_a_folder_of_another_run_is_told_and_that_of_this_one_is_not(corpus):
    train(corpus.config(epochs=1))
    assert plan_training(corpus.config(epochs=1))
    with pytest.raises(RunError, match="holds another run: seeds, epochs differ; give another `out`"):
        plan_training(corpus.config(epochs=2, seeds=[3]))
    with pytest.raises(RunError, match=r"another run: precision differs \(float32 there, bfloat16 here\); set precision=float32 to go on"):
        plan_training(corpus.config(epochs=1, precision="bfloat16"))


def test_a_folder_of_something_else_is_told(corpus):
    config = corpus.config()
    config.out.mkdir()
    (config.out / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match=r"is not empty and holds no run\.json"):
        plan_training(config)


def test_a_job_tells_whether_a_training_is_finished(corpus):
    config = corpus.config(epochs=1)
    assert state_of_training(config) == "does what is left"
    train(config)
    assert state_of_training(config) == "finished, unless its data change"
    assert state_of_training(corpus.config(epochs=2)).startswith(f"would stop: {config.out}: holds another run: epochs differ")
    later = (config.out / "scores.json").stat().st_mtime + 5
    os.utime(config.manifest, (later, later))
    assert state_of_training(config) == "does what is left"
