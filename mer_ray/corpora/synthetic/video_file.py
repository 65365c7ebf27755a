"""One clip as an .mp4: H.264 and AAC, and a size that tells the clip's length and nothing else."""

import io
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mer_ray.core.errors import MediaError
from mer_ray.core.media_types import ByteArray, FloatArray
from mer_ray.corpora.synthetic.voice import SAMPLE_RATE_HZ

AUDIO_BITS_PER_S = 48_000
VIDEO_BITS_PER_PIXEL = 0.25
CONTAINER_BYTES = 14_000
FREE_BOX_HEADER_BYTES = 8
AAC_SAMPLES = 1024
# One quantiser for all blocks and no filter across them: otherwise the wall flickers, by fractions of a grey level, with the
# liveliness of the face in front of it, and a classifier sees that.
X264 = "qp=26:bframes=0:mbtree=0:aq-mode=0:scenecut=0:no-deblock=1"


def size_budget(duration_s: float, frame_rate_hz: int, size: int) -> int:
    """The bytes of a clip's file, whatever it shows and whichever streams it has."""
    bits_per_s = AUDIO_BITS_PER_S * 1.2 + VIDEO_BITS_PER_PIXEL * frame_rate_hz * size * size
    return CONTAINER_BYTES + round(bits_per_s * duration_s / 8)


def write_clip(path: Path, images: ByteArray | None, samples: FloatArray | None, duration_s: float, frame_rate_hz: int, size: int) -> None:
    """Encode pictures (N, size, size, 3) and sound (T,), either of them optional, on one thread; publish the whole file or none.

    Raises:
        MediaError: the clip does not fit its size budget.

    """
    budget = size_budget(duration_s, frame_rate_hz, size)
    encoded = _encode(images, samples, frame_rate_hz)
    if len(encoded) + FREE_BOX_HEADER_BYTES > budget:
        raise MediaError(f"{path}: the clip takes {len(encoded)} bytes, more than its {budget}; choose a larger size or frame_rate_hz")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(encoded + _free_box(budget - len(encoded)))
    os.replace(temporary, path)


def _free_box(num_bytes: int) -> bytes:
    """Space that every reader of the format skips (ISO/IEC 14496-12, 8.1.2)."""
    return struct.pack(">I4s", num_bytes, b"free") + bytes(num_bytes - FREE_BOX_HEADER_BYTES)


def _encode(images: ByteArray | None, samples: FloatArray | None, frame_rate_hz: int) -> bytes:
    buffer = io.BytesIO()
    # Bit-exact: no encoder names, no times, so that the same clip is the same bytes.
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        # The header names all streams, so they are there before the first packet.
        video = None if images is None else _add_video(container, images, frame_rate_hz)
        audio = None if samples is None else _add_audio(container)
        if video is not None and images is not None:
            for image in images:
                container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(video.encode(None))
        if audio is not None and samples is not None:
            for frame in _audio_frames(samples):
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return buffer.getvalue()


def _add_video(container: av.container.OutputContainer, images: ByteArray, frame_rate_hz: int) -> av.VideoStream:
    stream = container.add_stream("libx264", rate=frame_rate_hz, options={"preset": "veryfast", "x264-params": X264})
    stream.height, stream.width = images.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1
    return stream


def _add_audio(container: av.container.OutputContainer) -> av.AudioStream:
    stream = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
    stream.bit_rate = AUDIO_BITS_PER_S
    return stream


def _audio_frames(samples: FloatArray) -> Iterator[av.AudioFrame]:
    for start in range(0, len(samples), AAC_SAMPLES):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None, start : start + AAC_SAMPLES]), format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = start
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        yield frame
