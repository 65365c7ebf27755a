"""Which face of each frame is the clip's, and where it is in frames that the detector has not seen.

Shapes: M frames seen by the detector, N frames wanted.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mer_ray.decoders.face_detector import Face
from mer_ray.decoders.frame_choice import Times

# Boxes that overlap this much (intersection over union) in neighbouring frames are the same face.
_SAME_FACE_OVERLAP = 0.3
# A face that the detector has missed this often is gone; whoever comes to its place is another one.
_MAX_MISSED = 3


def choose_faces(found: Sequence[Sequence[Face]], choice: Literal["largest", "continuous"]) -> list[Face | None]:
    """Of the faces of each frame (M) the largest, or the one that is seen in most frames of the clip; None where there is none.

    Faces are followed by the overlap of their boxes. So a frame is without a face only where the detector finds none. Our choice.
    """
    tracks = _follow(found)
    num_seen = Counter(track for of_frame in tracks for track in of_frame)

    def rank(seen: tuple[Face, int]) -> tuple[int, float]:
        face, track = seen
        return (0 if choice == "largest" else num_seen[track], face.area)

    chosen: list[Face | None] = []
    for faces, of_frame in zip(found, tracks, strict=True):
        best = max(zip(faces, of_frame, strict=True), key=rank, default=None)
        chosen.append(None if best is None else best[0])
    return chosen


def carry_faces(seen: Sequence[Face | None], seen_s: Times, times_s: Times) -> list[Face | None]:
    """Faces at `times_s` (N,) from those at `seen_s` (M,), both ascending and with the same ends.

    Between two sights of the same face it moves evenly; otherwise a frame takes what was seen at the nearer time.
    """
    carried: list[Face | None] = []
    for time_s in times_s:
        after = int(np.searchsorted(seen_s, time_s))
        if seen_s[after] == time_s:
            carried.append(seen[after])
            continue
        here, there = seen[after - 1], seen[after]
        weight = float((time_s - seen_s[after - 1]) / (seen_s[after] - seen_s[after - 1]))
        if here is not None and there is not None and overlap(here, there) >= _SAME_FACE_OVERLAP:
            carried.append(here.towards(there, weight))
        else:
            carried.append(here if weight < 0.5 else there)
    return carried


def overlap(one: Face, other: Face) -> float:
    """The intersection of two boxes over their union, 0 to 1."""
    begin, end = np.maximum(one.box[:2], other.box[:2]), np.minimum(one.box[:2] + one.box[2:], other.box[:2] + other.box[2:])
    common = float(np.prod(np.maximum(end - begin, 0)))
    return common / max(one.area + other.area - common, 1e-9)


def _follow(found: Sequence[Sequence[Face]]) -> list[list[int]]:
    """The number of the track of every face: the best overlap first, each face and each track once per frame."""
    last: dict[int, tuple[int, Face]] = {}
    tracks: list[list[int]] = []
    num_tracks = 0
    for frame, faces in enumerate(found):
        of_frame: dict[int, int] = {}
        present = {track: face for track, (seen_at, face) in last.items() if frame - seen_at <= _MAX_MISSED}
        pairs = [(overlap(face, past), index, track) for index, face in enumerate(faces) for track, past in present.items()]
        for value, index, track in sorted(pairs, key=lambda pair: -pair[0]):
            if value >= _SAME_FACE_OVERLAP and index not in of_frame and track not in of_frame.values():
                of_frame[index] = track
        for index in range(len(faces)):
            if index not in of_frame:
                of_frame[index] = num_tracks
                num_tracks += 1
            last[of_frame[index]] = (frame, faces[index])
        tracks.append([of_frame[index] for index in range(len(faces))])
    return tracks
