"""A long clip in consecutive pieces, so that its frames need not lie in memory all at once."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import overload

from mer_ray.core.media_types import Audio, AudioFormat, Clip, FrameFormat, Frames
from mer_ray.decoders.budget import Budget
from mer_ray.decoders.clip import decode_clip, reads_stored_faces, segment_of, wanted_of_files
from mer_ray.decoders.degradation import clear, degrade, is_removed
from mer_ray.decoders.file_pass import decode_file_pieces
from mer_ray.decoders.limits import MediaLimits
from mer_ray.decoders.remote import local_copy
from mer_ray.decoders.stored_faces import FaceArray


@overload
def decode_pieces(
    clip: Clip, wanted: FrameFormat, limits: MediaLimits, piece_s: float, copies: Mapping[str, str] | None = None
) -> Iterator[Frames]: ...
@overload
def decode_pieces(
    clip: Clip, wanted: AudioFormat, limits: MediaLimits, piece_s: float, copies: Mapping[str, str] | None = None
) -> Iterator[Audio]: ...
def decode_pieces(
    clip: Clip, wanted: FrameFormat | AudioFormat, limits: MediaLimits, piece_s: float, copies: Mapping[str, str] | None = None
) -> Iterator[Frames] | Iterator[Audio]:
    """What `decode_clip` gives for one format, cut into pieces of `piece_s`; nothing where the clip lacks the modality.

    A piece holds as many frames as the format wants in `piece_s` (`rate_hz` times `piece_s`, rounded), the last one what is left.
    End to end the pieces are exactly what one pass gives: the same frames at the same times from the segment's start, the same samples.
    Of frames only one piece is in memory, beside the compressed pictures of the segment; `no_face_share` is that of the clip.
    Sound is small enough to be decoded whole: an hour at 16 kHz has 220 MiB.

    Raises:
        MediaError, ConfigError: as `decode_clip`, also between two pieces.

    """
    return (
        _frame_pieces(clip, wanted, limits, piece_s, copies or {})
        if isinstance(wanted, FrameFormat)
        else _sound_pieces(clip, wanted, limits, piece_s, copies or {})
    )


def _frame_pieces(clip: Clip, wanted: FrameFormat, limits: MediaLimits, piece_s: float, copies: Mapping[str, str]) -> Iterator[Frames]:
    if is_removed(wanted):
        return
    budget = Budget(clip.clip_id, limits)
    for frames in _clear_pieces(clip, clear(wanted), budget, limits, piece_s, copies):
        left_bytes = budget.left_bytes
        degraded = degrade(frames, wanted.degrade, clip.clip_id, budget, limits)
        assert isinstance(degraded, Frames)
        yield degraded
        budget.left_bytes = left_bytes


def _clear_pieces(
    clip: Clip, wanted: FrameFormat, budget: Budget, limits: MediaLimits, piece_s: float, copies: Mapping[str, str]
) -> Iterator[Frames]:
    if reads_stored_faces(wanted):
        if clip.faces_path is not None:
            with local_copy(copies.get(clip.faces_path, clip.faces_path), limits) as local_path:
                yield from FaceArray(local_path, clip, budget, limits).pieces(wanted, piece_s)
        return
    for path, of_file in wanted_of_files(clip, [wanted]).items():
        with local_copy(copies.get(path, path), limits) as local_path:
            yield from decode_file_pieces(local_path, path, of_file, segment_of(clip), budget, limits, piece_s)


def _sound_pieces(clip: Clip, wanted: AudioFormat, limits: MediaLimits, piece_s: float, copies: Mapping[str, str]) -> Iterator[Audio]:
    audio = decode_clip(clip, [wanted], limits, copies)[wanted]
    if isinstance(audio, Audio):
        num_samples = max(1, round(piece_s * audio.sample_rate_hz))
        for begin in range(0, len(audio.samples), num_samples):
            yield replace(audio, samples=audio.samples[begin : begin + num_samples])
