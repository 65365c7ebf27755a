from mer_ray.submission.ray_jobs import _Shown


def test_a_log_that_is_read_anew_after_a_break_is_shown_once() -> None:
    said: list[str] = []
    shown = _Shown(said.append)

    for texts in (["ab", "cd"], ["abc", "def"], ["abcdef"], ["abcdefg"]):
        shown.begin()
        for text in texts:
            shown.add(text)

    assert "".join(said) == "abcdefg"
