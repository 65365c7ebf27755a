"""One clip to arrays: sound, frames and text, each file opened and read once."""

import math
from collections.abc import Collection

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import AudioFormat, Clip, EncoderInput, FrameFormat, InputFormat, TextFormat
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.file_pass import Segment, Wanted, decode_file
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.remote import local_copy


def decode_clip(clip: Clip, formats: Collection[InputFormat], limits: MediaLimits) -> dict[InputFormat, EncoderInput | None]:
    """Decode a clip into every wanted format; None where the clip lacks the modality.

    A modality is lacking where its path is not set, where `path` has no such stream, or where the text is blank; an `audio_path` or
    `video_path` without its stream is an error. Sound and frames share one time axis, whose 0 is the segment's start.

    Raises:
        MediaError: a file that is missing, damaged, cut short, empty, or beyond the limits; a segment outside of its file.

    """
    decoded: dict[InputFormat, EncoderInput | None] = dict.fromkeys(formats)
    for text_format in formats:
        if isinstance(text_format, TextFormat) and clip.text is not None and clip.text.strip():
            decoded[text_format] = clip.text
    segment, budget = _segment(clip), Budget(clip.clip_id, limits)
    for path, wanted in _wanted_of_files(clip, formats).items():
        with local_copy(path, limits) as local_path:
            decoded.update(decode_file(local_path, path, wanted, segment, budget, limits))
    return decoded


def _wanted_of_files(clip: Clip, formats: Collection[InputFormat]) -> dict[str, Wanted]:
    audio_formats = tuple(wanted for wanted in formats if isinstance(wanted, AudioFormat))
    frame_formats = tuple(wanted for wanted in formats if isinstance(wanted, FrameFormat))
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


def _segment(clip: Clip) -> Segment:
    start_s = 0.0 if clip.start_s is None else clip.start_s
    end_s = math.inf if clip.end_s is None else clip.end_s
    if not 0 <= start_s < end_s:
        raise MediaError(f"{clip.clip_id}: a segment from {start_s:g} s to {end_s:g} s; start_s must be at least 0 and less than end_s")
    return Segment(start_s, end_s)
