import re

import pytest

from mer_ray.submission.ray_jobs import new_job_id


@pytest.mark.parametrize(
    ("name", "beginning"), [("demo", "demo"), ("-x my job", "x-my-job"), ("../é$(x)", "x"), ("日本", "job"), ("a" * 300, "a" * 40)]
)
def test_an_id_is_a_plain_word_that_begins_with_the_name(name: str, beginning: str) -> None:
    assert re.fullmatch(rf"{beginning}-[0-9a-f]{{8}}", new_job_id(name))
    assert new_job_id(name) != new_job_id(name)
