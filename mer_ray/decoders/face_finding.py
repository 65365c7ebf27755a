"""The faces of the frames that several formats want: each frame is searched once, however many formats share it.

Shapes: N frames wanted by a format.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame

from mer_ray.core.faces import DetectedFaces
from mer_ray.core.media_types import FrameFormat
from mer_ray.decoders.face_choice import carry_faces, choose_faces
from mer_ray.decoders.face_detector import MAX_PIXELS, Face, load_detector
from mer_ray.decoders.frame_choice import Indices, Times
from mer_ray.decoders.scaling import FrameScaler


@dataclass(frozen=True)
class _Search:
    faces: DetectedFaces
    wanted: Indices
    seen: Indices


class FaceFinder:
    """Searches pictures, which are named by their index in the stream, and says where each format's face is."""

    def __init__(self, chosen: Mapping[FrameFormat, Indices], scaler: FrameScaler) -> None:
        self._scaler = scaler
        self._searches = {
            wanted: _Search(wanted.faces, indices, _to_search(indices, wanted.faces.detect_every))
            for wanted, indices in chosen.items()
            if isinstance(wanted.faces, DetectedFaces)
        }
        self._found: dict[tuple[str, float], dict[int, list[Face]]] = {}

    @property
    def to_search(self) -> set[int]:
        """The pictures that the detector must see."""
        return {int(index) for search in self._searches.values() for index in search.seen}

    def search(self, index: int, frame: VideoFrame) -> None:
        """Find the faces of a picture, in pixels of the upright picture; ignored where no format searches it."""
        image = None
        for search in self._searches.values():
            found = self._found.setdefault(_detector_key(search.faces), {})
            if index in found or index not in search.seen:
                continue
            if image is None:
                image = self._scaler.upright(frame, MAX_PIXELS)
                width, height = self._scaler.upright_size(frame)
                factors = width / image.shape[1], height / image.shape[0]
            found[index] = [face.scaled(*factors) for face in load_detector(search.faces).find(image)]

    def faces(self, wanted: FrameFormat, times_P: Times) -> list[Face | None]:
        """Where the face is in each frame (N) of a format, after all pictures were searched."""
        search = self._searches[wanted]
        found = self._found[_detector_key(search.faces)]
        chosen = choose_faces([found[int(index)] for index in search.seen], search.faces.choice)
        return carry_faces(chosen, times_P[search.seen], times_P[search.wanted])


def _detector_key(faces: DetectedFaces) -> tuple[str, float]:
    return faces.digest(), faces.min_score


def _to_search(wanted: Indices, every: int) -> Indices:
    """Every n-th frame, and the last one, so that all others lie between two."""
    return np.unique(np.append(wanted[::every], wanted[-1:]))
