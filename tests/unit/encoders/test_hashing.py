import numpy as np
import pytest

from mer_ray.encoders.hashing import HashingConfig, HashingEncoder, describe_surface, normalise_sentence

NGRAM_LAYERS = [layer for layer in HashingConfig().layers() if layer != "surface"]


@pytest.fixture(scope="module")
def encoder() -> HashingEncoder:
    return HashingConfig().build("cpu")


def vectors(encoder: HashingEncoder, layer: str, *sentences: str) -> list[np.ndarray]:
    return [features.mean[layer] for features in encoder.encode(sentences)]


def similarity(encoder: HashingEncoder, layer: str, first: str, second: str) -> float:
    a, b = vectors(encoder, layer, first, second)
    return float(a @ b)


@pytest.mark.parametrize("layer", NGRAM_LAYERS)
def test_equal_sentences_have_equal_vectors_of_length_one(encoder: HashingEncoder, layer: str) -> None:
    first, second, third = vectors(encoder, layer, "I am so happy today", "I am so happy today", "leave me alone")
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("layer", NGRAM_LAYERS)
def test_sentences_that_share_words_are_closer(encoder: HashingEncoder, layer: str) -> None:
    near = similarity(encoder, layer, "I am so happy to see you", "I am so happy to meet you")
    far = similarity(encoder, layer, "I am so happy to see you", "Get out before we lose everything")
    assert near > far + 0.3


@pytest.mark.parametrize("layer", NGRAM_LAYERS)
def test_chinese_without_spaces_is_compared_by_its_characters(encoder: HashingEncoder, layer: str) -> None:
    near = similarity(encoder, layer, "我今天真的很高兴", "我今天真的很生气")
    far = similarity(encoder, layer, "我今天真的很高兴", "快点离开这里吧")
    assert near > far + 0.15


def test_pairs_of_words_tell_their_order(encoder: HashingEncoder) -> None:
    assert similarity(encoder, "word_1_1024", "dog bites man", "man bites dog") == pytest.approx(1.0, abs=1e-5)
    assert similarity(encoder, "word_12_2048", "dog bites man", "man bites dog") < 0.8


def test_case_width_and_spaces_do_not_matter_to_ngrams(encoder: HashingEncoder) -> None:
    assert normalise_sentence("  Ｈｅｌｌｏ \n WORLD ") == "hello world"
    for layer in NGRAM_LAYERS:
        first, second = vectors(encoder, layer, "Hello   WORLD", "hello world")
        assert np.array_equal(first, second), layer


def test_a_sentence_without_words_is_zero(encoder: HashingEncoder) -> None:
    features = encoder.encode([""])[0]
    assert not any(vector.any() for vector in features.mean.values())
    assert (features.num_frames, features.frame_s) == (1, 0.0)


def test_deviations_of_a_single_frame_are_zero(encoder: HashingEncoder) -> None:
    assert not any(vector.any() for vector in encoder.encode(["what a day"])[0].std.values())


def test_surface_counts_marks_capitals_and_lengths() -> None:
    calm, loud = describe_surface("well, fine."), describe_surface("NO way!!! Sooo good?")
    assert calm.tolist() == pytest.approx([np.log1p(11), np.log1p(2), 4.0, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0])
    assert loud[3] == pytest.approx(1 / 4)
    assert loud[4] == pytest.approx(1 / 4)
    assert loud[5] == pytest.approx(3 / 4)
    assert loud[6] == pytest.approx(1 / 4)


def test_wide_marks_count_as_plain_ones() -> None:
    assert describe_surface("真的！！")[5] == pytest.approx(1.0)
    assert describe_surface("嗯…")[9] == pytest.approx(1.0)
