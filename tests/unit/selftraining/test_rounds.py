"""Self-training as arrays: what is selected, from what, and what students learn."""

import dataclasses

import numpy as np
import pytest
from selftrain_corpus import Shifted

from mer_ray.corpora.synthetic.config import SynthConfig
from mer_ray.extraction.synth import synthesise
from mer_ray.selftraining.committee import labels_of
from mer_ray.selftraining.loading import load_selftrain_data
from mer_ray.selftraining.pseudo_labels import make_pseudo_labels, with_pseudo_labels
from mer_ray.selftraining.round_facts import quality
from mer_ray.selftraining.rounds import best_round, rounds_of, unlabelled_rows, why_ended
from mer_ray.selftraining.selftrain import labels_by_split
from mer_ray.training.protocol import partitions


@pytest.fixture(scope="module")
def trained(shifted, tmp_path_factory):
    """A finished self-training of one round."""
    import torch

    from mer_ray.selftraining.fitted import fit_in_memory
    from mer_ray.training.communicator import Communicator
    from mer_ray.training.worker import make_worker

    config = shifted.config(tmp_path_factory.mktemp("none"))
    data = load_selftrain_data(config)
    fit = fit_in_memory(lambda training, one: make_worker(training, one, Communicator(), torch.device("cpu")))
    return config, data, list(rounds_of(config, data.by_teacher, lambda _: fit))


def select(trained, **selection):
    """The pseudo-labels of the teachers under another selection."""
    config, data, rounds = trained
    changed = config.model_copy(update={"selection": config.selection.model_copy(update=selection)})
    first = data.by_teacher["both"]
    dev = labels_of(first, partitions(config.protocol, first)[0].dev)
    return make_pseudo_labels(changed, rounds[0].committee, dev, unlabelled_rows(config, first))


def test_students_learn_from_gold_and_from_what_was_selected(trained):
    config, data, (teachers, students) = trained
    pseudo = students.pseudo
    assert teachers.pseudo is None
    assert 0 < pseudo.selected_U.sum() < len(pseudo.rows)
    assert students.num_train == teachers.num_train + pseudo.selected_U.sum() == 100 + pseudo.selected_U.sum()
    own = with_pseudo_labels(data.by_teacher["both"], pseudo, config.student)
    (partition,) = partitions(config.protocol, own)
    added = np.setdiff1d(partition.train, partitions(config.protocol, data.by_teacher["both"])[0].train)
    assert added.tolist() == sorted(pseudo.rows[pseudo.selected_U].tolist())
    assert own.emotion_probs_NC[added].argmax(axis=1).tolist() == pseudo.decision.class_N[pseudo.selected_U].tolist()
    assert set(own.emotion_probs_NC[added].max(axis=1)) == {1.0}
    assert (own.emotion_N[added] == -1).all()


def test_soft_labels_keep_the_probabilities_and_weights_go_into_the_loss(trained):
    config, data, (_, students) = trained
    pseudo, first = students.pseudo, data.by_teacher["both"]
    soft = config.student.model_copy(update={"labels": "soft", "pseudo_weight": 0.25})
    own = with_pseudo_labels(first, pseudo, soft)
    rows = pseudo.rows[pseudo.selected_U]
    assert np.allclose(own.emotion_probs_NC[rows], pseudo.decision.probs_NC[pseudo.selected_U], atol=1e-6)
    assert set(own.weight_N[rows]) == {0.25}
    assert set(np.delete(own.weight_N, rows)) == {1.0}
    gold = partitions(config.protocol, first)[0].train
    assert np.allclose(own.class_counts(np.append(gold, rows)), first.class_counts(gold) + 0.25 * own.emotion_probs_NC[rows].sum(axis=0))
    assert own.digest() != with_pseudo_labels(first, pseudo, config.student).digest() != first.digest()


def test_a_clip_is_selected_above_its_classes_threshold_and_where_enough_agree(trained):
    lax = select(trained, threshold=0.0, min_agreement=1)
    assert lax.selected_U.tolist() == (lax.decision.agreement_N >= 1).tolist()
    both = select(trained, threshold=0.0, min_agreement=2)
    first, second = both.committee.probs["unlabelled"].argmax(axis=2)
    assert both.selected_U.tolist() == (first == second).tolist()
    classes = both.committee.classes
    mixed = select(trained, threshold=dict.fromkeys(classes, 0.0) | {"sad": 1.0})
    assert mixed.selected_U.tolist() == (lax.selected_U & (mixed.decision.class_N != classes.index("sad"))).tolist()


def test_class_weights_are_part_of_the_prior_that_models_learnt(trained, shifted, tmp_path, in_memory):
    assert trained[2][0].committee.train_prior_C.tolist() == pytest.approx([1 / 6] * 6)
    config = shifted.config(tmp_path, train={"class_weights": "none", "epochs": 1}, teachers=[{"name": "both"}])
    data = load_selftrain_data(config).by_teacher
    teachers = next(rounds_of(config, data, lambda _: in_memory))
    assert teachers.committee.train_prior_C.tolist() == pytest.approx((data["both"].class_counts(np.arange(100)) / 100).tolist())


def test_truth_of_the_unlabelled_part_is_never_used(shifted, tmp_path, in_memory, random):
    """Shuffled, it changes reports and nothing else."""
    selection = {"from_dev": {"precision": 0.6, "per": "all", "level": 0.5}, "prior": "em", "temperature": "dev"}
    config = shifted.config(tmp_path, selection=selection, teachers=[{"name": "both"}])
    data = load_selftrain_data(config)
    true = data.truth["unlabelled"]
    shuffled = dataclasses.replace(true, emotion_N=random.permutation(true.emotion_N))
    found = []
    for one in (data, dataclasses.replace(data, truth={"unlabelled": shuffled})):
        rounds = list(rounds_of(config, one.by_teacher, lambda _: in_memory))
        last = rounds[-1].pseudo
        labels = labels_by_split(config, one)["unlabelled"]
        found.append(
            (last, [r.dev_score for r in rounds], quality(last.decision, last.selected_U, labels, one.by_teacher["both"].task.classes))
        )
    (first, scores, well), (other, scores_again, badly) = found
    assert first.selected_U.any()
    assert first.selected_U.tolist() == other.selected_U.tolist()
    assert first.decision.class_N.tolist() == other.decision.class_N.tolist()
    assert scores == scores_again
    assert well["precision"] > badly["precision"] + 0.2


def test_no_training_sees_a_label_of_the_unlabelled_part(shifted, tmp_path):
    """Also not where the manifest knows it: here the labelled split `target` is taken as unlabelled."""
    data = load_selftrain_data(shifted.config(tmp_path, unlabelled=["target"], truth=None))
    first = data.by_teacher["both"]
    hidden_N = np.array([split == "target" for split in first.splits])
    assert hidden_N.sum() == 80
    assert (first.emotion_N[hidden_N] == -1).all()
    assert (first.emotion_N[~hidden_N] >= 0).all()
    assert (data.truth["target"].emotion_N >= 0).all()


def test_rounds_end_when_dev_stops_rising_when_time_is_up_or_when_nothing_is_selected(shifted, tmp_path, in_memory):
    def numbers(**changes):
        config = shifted.config(tmp_path, train={"epochs": 1}, teachers=[{"name": "both"}], **changes)
        rounds = list(rounds_of(config, load_selftrain_data(config).by_teacher, lambda _: in_memory))
        best = best_round(config, rounds).number
        return [one.number for one in rounds], best, why_ended(config, rounds, 1.0)

    done, best, why = numbers(max_rounds=4, patience=1, selection={"threshold": 0.3})
    assert (done[-1], why) in [(best + 1, "dev has not risen for 1 round"), (4, "max_rounds is 4")]
    done, _, why = numbers(max_rounds=4, budget_s=1e-9)
    assert (done, why) == ([0], "the budget of 1e-09 s is spent")
    done, _, why = numbers(max_rounds=4, selection={"threshold": 1.0})
    assert (done, why) == ([0], None)


def test_whoever_prunes_stops_asking(shifted, tmp_path, in_memory):
    config = shifted.config(tmp_path, train={"epochs": 1}, max_rounds=3, patience=3, selection={"threshold": 0.0})
    trained = []

    def fit(number):
        trained.append(number)
        return in_memory

    rounds = rounds_of(config, load_selftrain_data(config).by_teacher, fit)
    assert [next(rounds).number, next(rounds).number] == [0, 1]
    rounds.close()
    assert trained == [0, 1]


def test_precision_and_coverage_by_hand(trained):
    """Four clips of two classes; selected: a right one of each, and one that is named sad and is calm."""
    from mer_ray.prediction.voting import Decision
    from mer_ray.selftraining.committee import Labels

    decision = Decision(np.array([0, 1, 1, 0, 1]), np.zeros((5, 2)), np.ones(5), np.ones(5))
    selected_N = np.array([True, True, True, False, True])
    found = quality(decision, selected_N, Labels(np.array([0, 1, 0, 0, -1]), {}), ("calm", "sad"))
    assert (found["num_known"], found["coverage"]) == (4, 0.75)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["per_class"]["calm"] == {"num_true": 3, "num_selected": 1, "precision": 1.0, "coverage": pytest.approx(2 / 3)}
    assert found["per_class"]["sad"] == {"num_true": 1, "num_selected": 2, "precision": 0.5, "coverage": 1.0}


def test_folds_of_the_training_split_become_dev_and_test(tmp_path):
    """For corpora of folds: here 90 clips in 3 folds and 30 without a label."""
    quality = {"confusion": 0.0, "noise": 0.0, "missing": 0.0}
    features = {"num_folds": 3, "num_layers": 1, "dim": 8, "peak_layers": dict.fromkeys(("audio", "vision", "text"), 0)}
    made = {"num_clips": 90, "num_unlabelled": 30, "num_speakers": 9, "audio": quality, "features": features}
    synthesise(SynthConfig.model_validate({"out": tmp_path, **made}))
    training = {"protocol": {"name": "splits", "test": ["test"]}, "class_weights": "none"}
    config = Shifted(tmp_path).config(tmp_path / "out", train=training, folds_as={"dev": [1], "test": [2]})
    first = load_selftrain_data(config).by_teacher["both"]
    (partition,) = partitions(config.protocol, first)
    for rows, fold in ((partition.train, 0), (partition.dev, 1), (partition.test["test"], 2)):
        assert set(first.folds_N[rows]) == {fold}
    assert len(partition.train) + len(partition.dev) + len(partition.test["test"]) == 90
    assert len(partition.test["unlabelled"]) == 30
