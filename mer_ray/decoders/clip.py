"""One clip to arrays: sound, frames and text, each file opened and read once."""

import math
from collections.abc import Collection, Mapping
from typing import TypeGuard

from mer_ray.core.errors import MediaError
from mer_ray.core.faces import StoredFaces
from mer_ray.core.media_types import AudioFormat, Clip, EncoderInput, FrameFormat, InputFormat, TextFormat
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.degradation import clear, degrade, is_removed
from mer_ray.decoders.file_pass import Segment, Wanted, decode_file
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.remote import local_copy
from mer_ray.decoders.stored_faces import FaceArray


def decode_clip(
    clip: Clip, formats: Collection[InputFormat], limits: MediaLimits, copies: Mapping[str, str] | None = None
) -> dict[InputFormat, EncoderInput | None]:
    """Decode a clip into every wanted format; None where the clip lacks the modality.

    A modality is lacking where its path is not set, where `path` has no such stream, or where the text is blank; an `audio_path` or
    `video_path` without its stream is an error. Sound and frames share one time axis, whose 0 is the segment's start. Where faces are
    wanted, frames without one are left out, so that a clip without any gives `Frames` of no images.
    Formats that differ in their degradation alone are made from one decoding; one that takes its modality away is None.
    `copies` has local copies of remote files that were fetched before.

    Raises:
        MediaError: a file that is missing, damaged, cut short, empty, or beyond the limits; a segment outside of its file.
        ConfigError: no face detector where a format needs one.

    """
    budget = Budget(clip.clip_id, limits)
    needed = dict.fromkeys(clear(wanted) for wanted in formats if not is_removed(wanted))
    decoded = _decode(clip, needed, budget, limits, copies or {})
    return {
        wanted: None if is_removed(wanted) else degrade(decoded[clear(wanted)], wanted.degrade, clip.clip_id, budget, limits)
        for wanted in formats
    }


def _decode(
    clip: Clip, formats: Collection[InputFormat], budget: Budget, limits: MediaLimits, copies: Mapping[str, str]
) -> dict[InputFormat, EncoderInput | None]:
    decoded: dict[InputFormat, EncoderInput | None] = dict.fromkeys(formats)
    for text_format in formats:
        if isinstance(text_format, TextFormat) and clip.text is not None and clip.text.strip():
            decoded[text_format] = clip.text
    segment = segment_of(clip)
    for path, wanted in wanted_of_files(clip, formats).items():
        with local_copy(copies.get(path, path), limits) as local_path:
            decoded.update(decode_file(local_path, path, wanted, segment, budget, limits))
    stored = [wanted for wanted in formats if reads_stored_faces(wanted)]
    if stored and clip.faces_path is not None:
        with local_copy(copies.get(clip.faces_path, clip.faces_path), limits) as local_path:
            decoded.update(FaceArray(local_path, clip, budget, limits).finish(stored))
    return decoded


def reads_stored_faces(wanted: InputFormat) -> TypeGuard[FrameFormat]:
    """Whether a format reads the crops of `faces_path`."""
    return isinstance(wanted, FrameFormat) and isinstance(wanted.faces, StoredFaces)


def wanted_of_files(clip: Clip, formats: Collection[InputFormat]) -> dict[str, Wanted]:
    """What is wanted of each media file of a clip."""
    audio_formats = tuple(wanted for wanted in formats if isinstance(wanted, AudioFormat))
    frame_formats = tuple(wanted for wanted in formats if isinstance(wanted, FrameFormat) and not reads_stored_faces(wanted))
    audio_path, video_path = clip.audio_path or clip.path, clip.video_path or clip.path
    files: dict[str, Wanted] = {}
    for path in dict.fromkeys((audio_path, video_path)):
        if path is not None:
            files[path] = Wanted(
                audio_formats if path == audio_path else (),
                frame_formats if path == video_path else (),
                needs_audio=path == clip.audio_path,
                needs_video=path == clip.video_path,
            )
    return {path: wanted for path, wanted in files.items() if wanted.audio or wanted.frames}


def segment_of(clip: Clip) -> Segment:
    """The part of its files that is the clip.

    Raises:
        MediaError: it ends before it starts.

    """
    start_s = 0.0 if clip.start_s is None else clip.start_s
    end_s = math.inf if clip.end_s is None else clip.end_s
    if not 0 <= start_s < end_s:
        raise MediaError(f"{clip.clip_id}: a segment from {start_s:g} s to {end_s:g} s; start_s must be at least 0 and less than end_s")
    return Segment(start_s, end_s)
