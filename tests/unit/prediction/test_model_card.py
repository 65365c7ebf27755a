from mer_ray.training.bundle_facts import read_bundle_facts
from mer_ray.training.model_card import is_non_commercial, is_unclear, write_card


def licensed(facts, licence):
    key, record = next(iter(facts.encoders.items()))
    return key, facts.model_copy(update={"encoders": facts.encoders | {key: record.model_copy(update={"licence": licence})}})


def test_a_non_commercial_encoder_is_named_in_the_first_lines(folds_bundle):
    key, facts = licensed(read_bundle_facts(folds_bundle), "CC-BY-NC-4.0")
    first = write_card(facts).splitlines()[:5]
    assert any(line.startswith("**Not for commercial use:**") and key in line for line in first)
    key, free = licensed(read_bundle_facts(folds_bundle), "Apache-2.0")
    assert "commercial" not in write_card(free)


def test_a_licence_that_nobody_states_is_named_too(folds_bundle):
    key, facts = licensed(read_bundle_facts(folds_bundle), "unknown")
    assert f"no licence is stated for the weights of {key}" in "".join(write_card(facts).splitlines()[:6])


def test_a_corpus_for_research_only_binds_too(folds_bundle):
    facts = read_bundle_facts(folds_bundle).model_copy(update={"corpus_licence": "EULA, academic research only"})
    assert "the corpus planted is licensed for non-commercial use only" in "".join(write_card(facts).splitlines()[:5])


def test_licences_as_people_write_them():
    for licence in (
        "CC BY-NC-SA 4.0",
        "cc-by-nc-4.0",
        "Apache-2.0; trained on AffectNet, which is for non-commercial research",
        "research only",
        "CC BY NC 4.0",
        "for research use only",
        "for research purposes",
    ):
        assert is_non_commercial(licence), licence
    for licence in ("Apache-2.0", "MIT", "openrail", "NCSA", None, "ODbL 1.0", "CC BY 4.0"):
        assert not is_non_commercial(licence), licence
    assert is_unclear(None) and is_unclear("unknown") and is_unclear("none stated for the weights") and not is_unclear("MIT")


def test_the_card_says_what_was_trained_and_how_well(folds_bundle):
    card = (folds_bundle / "README.md").read_text()
    facts = read_bundle_facts(folds_bundle)
    assert "Reads audio, vision; predicts emotion, valence." in card
    assert "8 models of folds and seeds" in card
    assert f"| weighted_f1 | {facts.groups[0].scores['test']['weighted_f1']:.3f} |" in card
    for key in facts.encoders:
        assert f"| {key} | " in card


def test_the_card_says_which_way_the_temperature_works(folds_bundle):
    facts = read_bundle_facts(folds_bundle)

    def card(temperature):
        group = facts.groups[0].model_copy(update={"temperature": temperature, "calibrated_on": "other folds"})
        return write_card(facts.model_copy(update={"groups": (group,)}))

    assert "temperature 0.620, which makes them sharper; it was fitted on: other folds" in card(0.62)
    assert "temperature 1.700, which makes them softer" in card(1.7)
    assert "Trained on 48 clips by the protocol: folds." in card(1.0)
