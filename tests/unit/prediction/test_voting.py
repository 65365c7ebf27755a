import numpy as np
import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.prediction.prior_shift import correct_prior, estimate_prior
from mer_ray.prediction.voting import Ballots, MajorityVote, MeanVote, PriorAwareVote, WeightedVote, check_vote, decide

CLASSES = ("calm", "sad", "glad")
# One clip, three voters: two hold calm most probable, `ear` sad.
ONE = [[0.5, 0.4, 0.1]], [[0.45, 0.35, 0.2]], [[0.1, 0.8, 0.1]]


def ballots(*voters, names=("eye", "word", "ear")):
    return Ballots(tuple(names), CLASSES, np.array(voters))


def test_the_mean_is_that_of_probabilities():
    found = decide(MeanVote(), ballots(*ONE))
    assert found.probs_NC[0].tolist() == pytest.approx([0.35, 1.55 / 3, 0.4 / 3])
    assert CLASSES[found.class_N[0]] == "sad"
    assert found.confidence_N[0] == pytest.approx(1.55 / 3)
    assert found.agreement_N.tolist() == [1]


def test_weights_are_the_names_and_voters_of_one_name_share_theirs():
    twice = ballots(*ONE, ONE[2], names=("eye", "word", "ear", "ear"))
    found = decide(WeightedVote(name="weighted", weights={"ear": 4, "eye": 2}), twice)
    expected = (2 * np.array(ONE[0][0]) + 1 * np.array(ONE[1][0]) + 4 * np.array(ONE[2][0])) / 7
    assert found.probs_NC[0].tolist() == pytest.approx(expected.tolist())


def test_the_majority_wins_whatever_the_mean_says():
    found = decide(MajorityVote(name="majority"), ballots(*ONE))
    assert CLASSES[found.class_N[0]] == "calm"
    assert found.confidence_N[0] == pytest.approx(0.35)
    assert found.agreement_N.tolist() == [2]


def test_of_as_many_votes_the_higher_mean_wins():
    found = decide(MajorityVote(name="majority"), ballots(ONE[0], ONE[2], names=("eye", "ear")))
    assert CLASSES[found.class_N[0]] == "sad"


def test_chosen_classes_follow_chosen_voters():
    """One vote of `ear` for sad against two for calm: 1 against 2, then 3 against 2; a vote of `ear` for another class stays 1."""
    weak = PriorAwareVote(name="prior_aware", classes=["sad"], voters=["ear"], weight=1.0)
    strong = PriorAwareVote(name="prior_aware", classes=["sad"], voters=["ear"], weight=3.0)
    other = PriorAwareVote(name="prior_aware", classes=["glad"], voters=["ear"], weight=3.0)
    assert [CLASSES[decide(rule, ballots(*ONE)).class_N[0]] for rule in (weak, strong, other)] == ["calm", "sad", "calm"]
    probs_C = decide(strong, ballots(*ONE)).probs_NC[0]
    # calm: mean of three; sad: weights 1, 1, 3; then normalised.
    raw = np.array([1.05 / 3, (0.4 + 0.35 + 3 * 0.8) / 5, 0.4 / 3])
    assert probs_C.tolist() == pytest.approx((raw / raw.sum()).tolist())


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (PriorAwareVote(name="prior_aware", classes=["sda"], voters=["ear"]), "no class 'sda'; did you mean 'sad'"),
        (PriorAwareVote(name="prior_aware", classes=["sad"], voters=["ears"]), "no voter 'ears'; did you mean 'ear'"),
        (WeightedVote(name="weighted", weights={"nose": 2}), "no voter 'nose'. Allowed: eye, word, ear"),
    ],
)
def test_unknown_names_are_refused(rule, message):
    with pytest.raises(ConfigError, match=message):
        check_vote(rule, ("eye", "word", "ear"), CLASSES)


def test_a_correction_is_bayes_rule():
    found = correct_prior([[0.5, 0.25, 0.25]], [0.5, 0.25, 0.25], [0.25, 0.25, 0.5])
    assert found[0].tolist() == pytest.approx([0.25, 0.25, 0.5])
    assert correct_prior([[1.0, 0.0, 0.0]], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5])[0].tolist() == pytest.approx([0.0, 0.5, 0.5])


def test_the_estimate_has_a_closed_form_for_two_kinds_of_clips():
    """Posteriors 0.8 / 0.2 and 0.2 / 0.8 at equal priors, shares 0.7 and 0.3 of the clips: 0.8 q + 0.2 (1 - q) = 0.7, so q = 5 / 6."""
    probs_NC = np.array([[0.8, 0.2]] * 7 + [[0.2, 0.8]] * 3)
    assert estimate_prior(probs_NC, [0.5, 0.5]).tolist() == pytest.approx([5 / 6, 1 / 6], abs=1e-5)


def test_a_shifted_prior_is_recovered_and_corrects_decisions():
    """Gaussians whose posteriors are known exactly: the only case in which the theory promises anything."""
    random = np.random.default_rng(0)
    train_C, target_C = np.array([0.6, 0.3, 0.1]), np.array([0.15, 0.25, 0.6])
    label_N = random.choice(3, 20_000, p=target_C)
    means_C = np.array([-1.0, 0.0, 1.0])
    x_N = means_C[label_N] + random.normal(0, 0.7, len(label_N))
    likelihood_NC = np.exp(-((x_N[:, None] - means_C) ** 2) / (2 * 0.7**2))
    probs_NC = likelihood_NC * train_C / (likelihood_NC * train_C).sum(axis=1, keepdims=True)
    found_C = estimate_prior(probs_NC, train_C)
    assert np.abs(found_C - target_C).max() < 0.02
    corrected_NC = correct_prior(probs_NC, train_C, found_C)
    before, after = ((one.argmax(axis=1) == label_N).mean() for one in (probs_NC, corrected_NC))
    assert after > before + 0.1
