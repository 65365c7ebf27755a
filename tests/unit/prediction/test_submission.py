import pytest

from mer_ray.core.errors import ConfigError
from mer_ray.prediction.prediction_table import PRIOR, prior_rows
from mer_ray.prediction.submission import check_task, complete, read_candidates, to_submission
from mer_ray.training.bundle_facts import read_bundle_facts


@pytest.fixture
def facts(folds_bundle):
    return read_bundle_facts(folds_bundle)


def rows(facts, names):
    return prior_rows(names, (0.0, 1.0, 0.0), (1.5,), facts.task, "made by the test")


def test_exactly_the_candidates_once_in_their_order(facts):
    table = complete(rows(facts, ["c", "a", "b", "d"]), ["a", "zz", "c", "b"], facts)
    assert table["clip_id"].to_pylist() == ["a", "zz", "c", "b"]
    absent = table.to_pylist()[1]
    assert absent["used"] == PRIOR and absent["note"] == "no such clip in the manifest, or in the splits chosen" and absent["abstained"]
    assert absent["valence"] == pytest.approx(facts.prior_values[0])
    assert absent["emotion"] == facts.classes[facts.prior_probs.index(max(facts.prior_probs))]
    assert table["valence"].to_pylist()[0] == 1.5


def test_the_columns_of_each_year(facts):
    table = rows(facts, ["a"])
    assert to_submission(table, "mer2023").to_pylist() == [{"name": "a", "discrete": "angry", "valence": 1.5}]
    assert (
        to_submission(table, "mer2024").to_pylist() == to_submission(table, "mer2025").to_pylist() == [{"name": "a", "discrete": "angry"}]
    )


@pytest.mark.parametrize(
    "text",
    [
        "name,discrete\nb,happy\na,sad\n",
        "b\na\n",
        "\ufeffname\r\nb\r\na\r\n",
        "discrete,name\n,b\n,a\n\n",
        "discrete, name \nx, b \ny,a  \n",
    ],
    ids=["csv", "bare", "bom", "second", "blanks"],
)
def test_candidates_as_challenges_list_them(text, tmp_path):
    (tmp_path / "names.csv").write_text(text)
    assert read_candidates(tmp_path / "names.csv") == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no names"),
        ("name\n", "holds no names"),
        ("name\na\nb\na\n", "'a' is listed twice"),
        ("x,name\n1,a\n2\n", "row 2 has no name"),
        ("clip_id,emotion\na,happy\n", "has several columns, and none is called name"),
    ],
)
def test_lists_that_are_none_are_refused(text, message, tmp_path):
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_candidates(tmp_path / "names.csv")


def test_binary_and_missing_lists_are_refused(tmp_path):
    (tmp_path / "names.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a CSV of names in UTF-8"):
        read_candidates(tmp_path / "names.csv")
    with pytest.raises(ConfigError, match="no such file"):
        read_candidates(tmp_path / "none.csv")


def test_a_bundle_must_speak_the_challenge_s_language(facts):
    check_task(facts, "mer2023")
    with pytest.raises(ConfigError, match="predicts 'joy', the challenge has neutral, angry"):
        check_task(facts.model_copy(update={"classes": ("neutral", "joy", "angry")}), "mer2024")
    silent = facts.model_copy(update={"values": (), "prior_values": ()})
    check_task(silent, "mer2024")
    with pytest.raises(ConfigError, match="its file has a valence, the bundle predicts none"):
        check_task(silent, "mer2023")


def test_names_with_line_ends_in_them_are_whole(tmp_path):
    """Unicode knows line ends that no CSV does."""
    (tmp_path / "names.csv").write_text('name\n"two\nlines"\nsep\u2028arated\n', newline="")
    assert read_candidates(tmp_path / "names.csv") == ["two\nlines", "sep\u2028arated"]
