from mer_ray.core.counting import say_count


def test_one_is_singular_and_all_others_are_plural() -> None:
    assert [say_count(number, "clip") for number in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
