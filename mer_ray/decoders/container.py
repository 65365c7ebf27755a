"""Opens media files safely: regular files only, whitelisted protocols and containers, every refusal a sentence."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from mer_ray.core.errors import MediaError
from mer_ray.decoders.limits import MediaLimits

SUPPORTED_FORMATS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "flv", "wav", "mp3", "flac", "ogg")
# A text file such as a renamed ffconcat or HLS playlist passes the protocol list and reads its neighbours: both lists are needed.
_OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(SUPPORTED_FORMATS)}


@dataclass(frozen=True, slots=True)
class OpenMedia:
    """An open file with the streams that count: pictures (cover art is none) and sound. `name` is how errors call the file."""

    name: str
    container: InputContainer
    video: VideoStream | None
    audio: AudioStream | None

    @property
    def format(self) -> str:
        """FFmpeg's name of the container, e.g. `mov,mp4,m4a,3gp,3g2,mj2`."""
        return str(self.container.format.name)

    def check_limits(self, limits: MediaLimits) -> None:
        """Refuse pictures and sound that are too large, by their headers.

        Raises:
            MediaError: beyond `max_frame_pixels` or `max_channels`.

        """
        if self.video is not None:
            check_pixels(self.name, self.video.codec_context.width, self.video.codec_context.height, limits)
        if self.audio is not None and (channels := self.audio.codec_context.layout.nb_channels) > limits.max_channels:
            raise MediaError(f"{self.name}: {channels} channels, more than the limit max_channels={limits.max_channels}")


def check_pixels(name: str, width: int, height: int, limits: MediaLimits) -> None:
    """Refuse pictures beyond `max_frame_pixels`.

    Raises:
        MediaError: too large.

    """
    if width * height > limits.max_frame_pixels:
        raise MediaError(
            f"{name}: pictures of {width}x{height} = {width * height} pixels, more than the limit "
            f"max_frame_pixels={limits.max_frame_pixels}; scale the file down or raise the limit"
        )


@contextmanager
def open_container(source: str | Any, name: str | None = None) -> Iterator[OpenMedia]:
    """Open a local path or a seekable binary file object for reading.

    Raises:
        MediaError: missing, no permission, not a regular file, not a supported container, or without any picture or sound.

    """
    name = name or str(source)
    with explain_errors(name):
        if isinstance(source, str):
            refuse_irregular(source, name)
            # The prefix keeps FFmpeg from reading `10:30.mp4` or `concat:...` as a protocol.
            source = f"file:{source}"
        container = av.open(source, mode="r", container_options=_OPEN_OPTIONS, metadata_errors="replace")
    with container:
        yield _choose_streams(name, container)


def _choose_streams(name: str, container: InputContainer) -> OpenMedia:
    video = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    audio = list(container.streams.audio)
    if not video and not audio:
        raise MediaError(f"{name}: no stream of pictures or sound in this file; remove it from the corpus or export it again")
    best_video = _prefer(video, container.streams.best("video"))
    best_audio = _prefer(audio, container.streams.best("audio", related=best_video))
    for stream in (best_video, best_audio):
        if stream is not None and stream.codec_context is None:
            raise MediaError(f"{name}: stream {stream.index} ({stream.type}) uses a codec that this FFmpeg cannot decode; convert the file")
    return OpenMedia(name, container, best_video, best_audio)


def _prefer(streams: list[Any], best: Any) -> Any:
    """FFmpeg's choice where it is one of ours: it may have chosen cover art."""
    return best if best in streams else next(iter(streams), None)


@contextmanager
def explain_errors(name: str, where: str = "") -> Iterator[None]:
    """Turn errors of FFmpeg and of the file system into a MediaError with a sentence; `where` is a place such as ` at 3.20 s`.

    Raises:
        MediaError: instead of the original, which is its cause.

    """
    try:
        yield
    except FileNotFoundError as error:
        raise MediaError(f"{name}: no such file; check the path and the root of the manifest") from error
    except PermissionError as error:
        raise MediaError(f"{name}: no permission to read this file") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise MediaError(f"{name}: a folder where a media file is expected, or a file where a folder is") from error
    except OSError as error:
        raise MediaError(f"{name}: cannot be read{where}: {error.strerror or error}") from error
    except av.error.FFmpegError as error:
        if where:
            raise MediaError(f"{name}: damaged{where}: {error.strerror or error}; copy or export it again") from error
        raise MediaError(
            f"{name}: not a media file that can be read: damaged, cut short, or none of the containers {', '.join(SUPPORTED_FORMATS)}"
        ) from error


def refuse_empty(name: str, num_bytes: int) -> None:
    """Refuse a file of no bytes.

    Raises:
        MediaError: it is empty.

    """
    if num_bytes == 0:
        raise MediaError(f"{name}: the file is empty (0 bytes); copy or export it again")


def refuse_irregular(path: str, name: str) -> None:
    """Refuse what is no readable file with content; inside of `explain_errors`, as it raises the system's own errors too.

    Raises:
        MediaError: a pipe, socket or device, or an empty file.
        OSError: missing, a folder, or not permitted.

    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(path)
    if not stat.S_ISREG(status.st_mode):
        # Opening a pipe or a device could wait forever.
        raise MediaError(f"{name}: not a regular file but a pipe, socket or device")
    if not os.access(path, os.R_OK):
        raise PermissionError(path)
    refuse_empty(name, status.st_size)
