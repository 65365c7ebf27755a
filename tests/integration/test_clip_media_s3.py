"""Clips in a bucket, copied beside a report from a real S3 server."""

from pathlib import Path

from media_factory import numbered_images, tone, write_media

from mer_ray.core.media_types import Clip
from mer_ray.core.s3 import s3_filesystem
from mer_ray.reporting.clip_media import copy_clips


def test_clips_of_a_bucket_are_fetched_once(s3_bucket: str, tmp_path: Path) -> None:
    path, key = f"{s3_bucket}/clips/clip.mp4", f"{s3_bucket}/clips/clip.mp4".removeprefix("s3://")
    s3_filesystem().put_file(str(write_media(tmp_path / "clip.mp4", numbered_images(25), tone(1.0))), key)
    clips = {"whole": Clip("whole", path), "part": Clip("part", path, start_s=0.5), "gone": Clip("gone", f"{s3_bucket}/clips/gone.mp4")}

    def copied() -> dict[str, float]:
        previews, faults = copy_clips(clips, tmp_path / "copies")
        assert set(faults) == {"gone"}
        assert f"{s3_bucket}/clips/gone.mp4: no such file" in faults["gone"]
        assert {name: round(preview.duration_s, 1) for name, preview in previews.items()} == {"whole": 1.0, "part": 0.5}
        return {name: (tmp_path / "copies" / preview.file).stat().st_mtime_ns for name, preview in previews.items()}

    first = copied()
    assert copied() == first
    s3_filesystem().put_file(str(write_media(tmp_path / "clip.mp4", numbered_images(25), tone(1.0, frequency_hz=440))), key)
    second = copied()
    assert all(second[name] != first[name] for name in first)
