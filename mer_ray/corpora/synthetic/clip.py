"""One clip from its plan to its file: what a worker process runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from mer_ray.corpora.synthetic.expression import show_face, show_voice
from mer_ray.corpora.synthetic.face import FaceLook, draw_clip, pose_frames
from mer_ray.corpora.synthetic.video_file import write_clip
from mer_ray.corpora.synthetic.voice import VoiceLook, speak

# Starting processes costs about as much as so many clips.
MIN_CLIPS_FOR_PROCESSES = 24
IDLE_WORKER_TIMEOUT_S = 10


@dataclass(frozen=True)
class ClipPlan:
    """All that decides one file: classes shown by face and voice (None: no such stream), seeds, length, format."""

    path: Path
    speaker_seed: int
    vision_seed: int
    audio_seed: int
    vision_expression: int | None
    audio_expression: int | None
    valence_offset: float
    duration_s: float
    frame_rate_hz: int
    size: int


def render_clip(plan: ClipPlan) -> None:
    """Draw, speak and encode one clip."""
    images = samples = None
    # The speaker's stream is the same in all of their clips; face and voice come from it in this order.
    speaker_rng = np.random.default_rng(plan.speaker_seed)
    face_look, voice_look = FaceLook.draw(speaker_rng), VoiceLook.draw(speaker_rng)
    if plan.vision_expression is not None:
        rng = np.random.default_rng(plan.vision_seed)
        shown = show_face(plan.vision_expression, plan.valence_offset, rng)
        poses = pose_frames(shown, round(plan.duration_s * plan.frame_rate_hz), plan.frame_rate_hz, rng)
        images = draw_clip(face_look, poses, plan.size)
    if plan.audio_expression is not None:
        rng = np.random.default_rng(plan.audio_seed)
        samples = speak(voice_look, show_voice(plan.audio_expression, plan.valence_offset, rng), plan.duration_s, rng)
    write_clip(plan.path, images, samples, plan.duration_s, plan.frame_rate_hz, plan.size)


def render_clips(plans: Sequence[ClipPlan], num_processes: int) -> Iterator[None]:
    """Render all plans, a clip per process at a time; yields as each is published."""
    if num_processes == 1 or len(plans) < MIN_CLIPS_FOR_PROCESSES:
        for plan in plans:
            render_clip(plan)
            yield
        return
    # Not multiprocessing: it runs the user's script again in each process, and fails where that lacks a `__main__` guard.
    parallel = Parallel(num_processes, backend="loky", return_as="generator_unordered", idle_worker_timeout=IDLE_WORKER_TIMEOUT_S)
    yield from parallel(delayed(render_clip)(plan) for plan in plans)
