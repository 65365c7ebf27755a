"""Tiny real media files, written with PyAV or byte by byte; frame k of a numbered video has the brightness of k."""

import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mer_ray.core.media_types import EncoderInput

Decode = Callable[..., EncoderInput | None]

FIRST_BRIGHTNESS = 20
BRIGHTNESS_STEP = 3
MAX_NUMBERED = 75


def numbered_images(num_images: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    assert num_images <= MAX_NUMBERED
    return [np.full((height, width, 3), FIRST_BRIGHTNESS + BRIGHTNESS_STEP * index, np.uint8) for index in range(num_images)]


def number_of(image: np.ndarray) -> int:
    return round((float(image.mean()) - FIRST_BRIGHTNESS) / BRIGHTNESS_STEP)


def moving_noise(num_images: int, width: int = 96, height: int = 64, seed: int = 0) -> list[np.ndarray]:
    """Pictures that differ everywhere, so that a picture decoded from wrong references is seen."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 255, (height, width + 3 * num_images, 3), dtype=np.uint8)
    return [np.ascontiguousarray(texture[:, 3 * index : 3 * index + width]) for index in range(num_images)]


def tone(duration_s: float, rate_hz: int = 16000, frequency_hz: float = 220.0, num_channels: int = 1) -> np.ndarray:
    times_T = np.arange(round(duration_s * rate_hz)) / rate_hz
    return np.tile((0.5 * np.sin(2 * np.pi * frequency_hz * times_T)).astype(np.float32), (num_channels, 1))


def noise(duration_s: float, rate_hz: int = 16000, num_channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.2 * rng.standard_normal((num_channels, round(duration_s * rate_hz)))).clip(-1, 1).astype(np.float32)


def write_media(
    path: Path,
    images: Sequence[np.ndarray] | None = None,
    sound: np.ndarray | None = None,
    *,
    fps: int = 25,
    rate_hz: int = 16000,
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    video_options: dict[str, str] | None = None,
    audio_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    picture_times: Iterable[int] | None = None,
    video_start_s: float = 0.0,
    sound_start_s: float = 0.0,
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Mux pictures (uint8 (H, W, 3)) and sound (float32 (C, T)); `picture_times` counts frame intervals."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        video = audio = None
        if images is not None:
            video = container.add_stream(video_codec, rate=fps, options=video_options or {})
            video.height, video.width = (images[0].shape[:2]) if len(images) else (48, 64)
            video.pix_fmt = {"mjpeg": "yuvj420p", "rawvideo": "bgr24"}.get(video_codec, "yuv420p")
            video.codec_context.time_base = Fraction(1, fps)
            if video_codec not in ("libx264", "libx265"):
                video.bit_rate = 4_000_000
            if pixel_aspect is not None:
                video.codec_context.sample_aspect_ratio = pixel_aspect
            if rotation:
                video.set_display_rotation(rotation)
        if sound is not None:
            layout = {1: "mono", 2: "stereo"}.get(len(sound), f"{len(sound)} channels")
            audio = container.add_stream(audio_codec, rate=rate_hz, layout=layout, options=audio_options or {})
        container.start_encoding()
        packets = []
        if video is not None and images is not None:
            times = list(picture_times) if picture_times is not None else range(len(images))
            for index, image in zip(times, images, strict=True):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index + round(video_start_s * fps), Fraction(1, fps)
                packets += video.encode(frame)
            packets += video.encode(None)
        if audio is not None and sound is not None:
            packets += encode_sound(audio, sound, rate_hz, sound_start_s)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def encode_sound(stream: av.AudioStream, sound: np.ndarray, rate_hz: int, start_s: float = 0.0) -> list[av.Packet]:
    if not sound.size:
        return list(stream.encode(None))
    context = stream.codec_context
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T).reshape(1, -1), format="flt", layout=context.layout)
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
    fifo = av.AudioFifo()
    for part in av.AudioResampler(format=context.format, layout=context.layout, rate=rate_hz).resample(frame):
        fifo.write(part)
    packets = []
    while (part := fifo.read(context.frame_size or 1024) or fifo.read(0, partial=True)) is not None:
        packets += stream.encode(part)
    packets += stream.encode(None)
    for packet in packets:
        packet.pts += round(start_s / packet.time_base)
        packet.dts = packet.pts
    return packets


def write_wave(
    path: Path, samples: np.ndarray, rate_hz: int = 16000, *, promised_bytes: int | None = None, left_out_bytes: int = 0
) -> Path:
    """A PCM file of int16 or float32 samples (T, C); the header may promise other than the file holds."""
    data = samples.tobytes()
    num_channels, width = samples.shape[1], samples.itemsize
    kind = 3 if samples.dtype == np.float32 else 1
    promised = len(data) if promised_bytes is None else promised_bytes
    layout = struct.pack("<HHIIHH", kind, num_channels, rate_hz, rate_hz * num_channels * width, num_channels * width, 8 * width)
    header = b"WAVEfmt " + struct.pack("<I", 16) + layout + b"data" + struct.pack("<I", promised)
    riff = b"RIFF" + struct.pack("<I", min(2**32 - 1, len(header) + promised)) + header
    path.write_bytes(riff + data[: len(data) - left_out_bytes])
    return path


def cut_file(path: Path, share: float) -> Path:
    """A copy that lacks its end."""
    cut = path.with_name(f"cut_{path.name}")
    data = path.read_bytes()
    cut.write_bytes(data[: int(len(data) * share)])
    return cut


def spoil_packets(path: Path, *, before_s: float, after_s: float) -> Path:
    """A copy whose packets outside of [before_s, after_s) hold rubbish, the index untouched."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is None or packet.pos is None or packet.size == 0:
                continue
            time_s = float(packet.pts * packet.time_base)
            if time_s < before_s or time_s >= after_s:
                data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    spoiled = path.with_name(f"spoiled_{path.name}")
    spoiled.write_bytes(data)
    return spoiled
