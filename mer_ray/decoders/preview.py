"""A small copy of a clip that any browser plays: H.264 and AAC in MP4, with a still; sound alone as M4A.

Shapes: T samples, N pictures, H height, W width.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import Audio, AudioFormat, ByteArray, Clip, FrameFormat, Frames
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.clip import segment_of, wanted_of_files
from mer_ray.decoders.container import OpenMedia, explain_errors, open_container
from mer_ray.decoders.file_pass import Segment, decode_file
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.remote import local_copy
from mer_ray.decoders.scaling import FrameScaler
from mer_ray.decoders.timeline import promised_duration_s

# Raised whenever copies come out differently, so that older ones are made anew.
PREVIEW_VERSION = 1
# Our choice: a face and a sentence are recognised, and 30 clips take a few megabytes.
MAX_PREVIEW_S = 15.0
MAX_SIDE = 320
FRAME_RATE_HZ = 15
SOUND = AudioFormat(16_000)
SOUND_BITS_PER_S = 32_000
STILL_QUALITY = 75
# Quick enough for a report, of the same look at this size; a key frame every two seconds so that jumping about is quick.
X264 = {"preset": "superfast", "crf": "26", "g": str(2 * FRAME_RATE_HZ)}
# The default coder takes four times as long.
AAC = {"aac_coder": "fast"}
# The index first, so that a browser starts before it has read all; no names of programs and times: the same clip is the same bytes.
MP4 = {"movflags": "+faststart", "fflags": "+bitexact"}
TICKS_PER_S = 15_360
AAC_SAMPLES = 1024
# Durations are rounded to a frame.
_ROUNDING_S = 0.1


@dataclass(frozen=True, slots=True)
class Preview:
    """What `write_preview` wrote: file names; pixels of the pictures, 0 for sound alone; whether it is only the clip's first part."""

    file: str
    still: str | None
    width: int
    height: int
    duration_s: float
    is_cut: bool


def write_preview(clip: Clip, stem: Path, limits: MediaLimits) -> Preview | None:
    """Write `<stem>.mp4` and `<stem>.jpg`, or `<stem>.m4a` for sound alone; None where the clip has no media.

    The first `MAX_PREVIEW_S` of the clip's segment, `MAX_SIDE` pixels at most, mono. Separate files of sound and pictures are joined;
    one time axis as `decode_clip` has it. Files appear whole or not at all.

    Raises:
        MediaError: as `decode_clip`, or the copy cannot be written.

    """
    pictures, sound, is_cut = _decode(clip, limits)
    if pictures is None and sound is None:
        return None
    if pictures is None:
        assert sound is not None
        file = stem.with_name(f"{stem.name}.m4a")
        _write_media(file, None, sound)
        return Preview(file.name, None, 0, 0, _duration_s(None, sound), is_cut)
    file, still = stem.with_name(f"{stem.name}.mp4"), stem.with_name(f"{stem.name}.jpg")
    _write_media(file, pictures, sound)
    _write_still(still, pictures.images[len(pictures.images) // 2])
    height, width = pictures.images.shape[1:3]
    return Preview(file.name, still.name, width, height, _duration_s(pictures, sound), is_cut)


def _decode(clip: Clip, limits: MediaLimits) -> tuple[Frames | None, Audio | None, bool]:
    """Pictures (N, H, W, 3) of even sides in true proportions, sound, and whether the clip goes on behind them."""
    pictures: Frames | None = None
    sound: Audio | None = None
    goes_on = False
    segment, budget = segment_of(clip), Budget(clip.clip_id, limits)
    for path, wanted in wanted_of_files(clip, (SOUND, FrameFormat(MAX_SIDE, rate_hz=FRAME_RATE_HZ))).items():
        with local_copy(path, limits) as local_path:
            upright, promised_s = _look(local_path, path, limits)
            size = _even(min(MAX_SIDE, max(upright or (MAX_SIDE,))))
            frame_format = FrameFormat(size, rate_hz=FRAME_RATE_HZ, crop="whole")
            shown = _first_part(segment, promised_s)
            of_file = replace(wanted, frames=(frame_format,) if wanted.frames else ())
            decoded = decode_file(local_path, path, of_file, shown, budget, limits)
        if isinstance(heard := decoded.get(SOUND), Audio):
            sound = heard
        if upright is not None and isinstance(seen := decoded.get(frame_format), Frames):
            pictures = replace(seen, images=_without_bars(seen.images, upright))
        end_s = min(segment.end_s, math.inf if promised_s is None else promised_s)
        goes_on |= end_s > segment.start_s + MAX_PREVIEW_S + _ROUNDING_S
    # Where no header tells the length, that of the copy does.
    return pictures, sound, goes_on and _duration_s(pictures, sound) > MAX_PREVIEW_S - _ROUNDING_S


def _look(local_path: str, name: str, limits: MediaLimits) -> tuple[tuple[int, int] | None, float | None]:
    """Width and height of the file's upright picture with square pixels (None without pictures), and its promised length in seconds."""
    with open_container(local_path, name) as media:
        media.check_limits(limits)
        return None if media.video is None else _upright_size(media, media.video), promised_duration_s(media)


def _upright_size(media: OpenMedia, stream: VideoStream) -> tuple[int, int]:
    # How a picture is turned stands in it, not in the header.
    stream.codec_context.thread_count = 1
    with explain_errors(media.name, " in its first picture"):
        first = next(media.container.decode(stream), None)
    if first is None:
        raise MediaError(f"{media.name}: a stream of pictures without pictures")
    return FrameScaler(stream.sample_aspect_ratio).upright_size(first)


def _first_part(segment: Segment, promised_s: float | None) -> Segment:
    """At most `MAX_PREVIEW_S` of it; a whole file that is short enough stays whole, so that a lacking end is noticed."""
    end_s = segment.start_s + MAX_PREVIEW_S
    if segment.end_s <= end_s or (promised_s is not None and segment.end_s == math.inf and promised_s <= end_s):
        return segment
    return Segment(segment.start_s, end_s)


def _even(pixels: int) -> int:
    """Pictures of 4:2:0 sampling have even sides."""
    return max(2, pixels // 2 * 2)


def _without_bars(images: ByteArray, upright: tuple[int, int]) -> ByteArray:
    """The middle of letterboxed squares (N, S, S, 3) that the picture fills."""
    side = images.shape[1]
    width, height = (_even(round(side * length / max(upright))) for length in upright)
    left, top = (side - width) // 2, (side - height) // 2
    return np.ascontiguousarray(images[:, top : top + height, left : left + width])


def _duration_s(pictures: Frames | None, sound: Audio | None) -> float:
    ends_s = [0.0]
    if pictures is not None:
        ends_s.append(float(pictures.times_s[-1]) + 1 / FRAME_RATE_HZ)
    if sound is not None:
        ends_s.append(len(sound.samples) / sound.sample_rate_hz)
    return max(ends_s)


def _write_media(path: Path, pictures: Frames | None, sound: Audio | None) -> None:
    with _published(path) as temporary, av.open(str(temporary), "w", format="mp4", options=MP4) as container:
        # The header names all streams, so they are there before the first packet.
        video = None if pictures is None else _add_video(container, pictures.images)
        audio = None if sound is None else _add_audio(container)
        if video is not None and pictures is not None:
            for frame in _video_frames(pictures):
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None and sound is not None:
            for part in _audio_frames(sound):
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))


def _add_video(container: OutputContainer, images: ByteArray) -> VideoStream:
    stream = container.add_stream("libx264", rate=FRAME_RATE_HZ, options=X264)
    stream.height, stream.width = images.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
    # Clips are copied side by side.
    stream.codec_context.thread_count = 1
    return stream


def _add_audio(container: OutputContainer) -> AudioStream:
    stream = container.add_stream("aac", rate=SOUND.sample_rate_hz, layout="mono", options=AAC)
    stream.bit_rate = SOUND_BITS_PER_S
    return stream


def _video_frames(pictures: Frames) -> Iterator[av.VideoFrame]:
    for image, time_s in zip(pictures.images, pictures.times_s, strict=True):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = round(float(time_s) * TICKS_PER_S), Fraction(1, TICKS_PER_S)
        yield frame


def _audio_frames(sound: Audio) -> Iterator[av.AudioFrame]:
    for start in range(0, len(sound.samples), AAC_SAMPLES):
        samples_1T = np.ascontiguousarray(sound.samples[None, start : start + AAC_SAMPLES])
        frame = av.AudioFrame.from_ndarray(samples_1T, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = sound.sample_rate_hz, start, Fraction(1, sound.sample_rate_hz)
        yield frame


def _write_still(path: Path, image: ByteArray) -> None:
    """A JPEG of one picture (H, W, 3)."""
    written, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, STILL_QUALITY])
    assert written
    with _published(path) as temporary:
        temporary.write_bytes(data.tobytes())


@contextmanager
def _published(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place at the end, and goes if that is not reached."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: the copy cannot be written: {error.strerror or error}; is the disk full or not yours?") from error
    finally:
        temporary.unlink(missing_ok=True)
