"""What a file's own structure promises beyond the end of the file: signs of a copy that was cut short."""

import os
import struct
from pathlib import Path

# Programs that write WAV to a pipe cannot know the length: ffmpeg leaves 0xFFFFFFFF, sox just under 0x7FFFFFFF, others 0.
_STREAMED_BYTES = 0x7FFFF000
_CHUNK_HEADER = struct.Struct("<4sI")
_BYTES_PER_SECOND = struct.Struct("<8xI")
_BOX_HEADER = struct.Struct(">I4s")
_LARGE_BOX = struct.Struct(">Q")


def missing_wave_s(path: str) -> float:
    """Seconds that the header of a local WAV file promises and the file lacks; 0 where the header leaves the length open."""
    bytes_per_second = 0
    with Path(path).open("rb") as file:
        file.seek(12)
        while len(header := file.read(_CHUNK_HEADER.size)) == _CHUNK_HEADER.size:
            name, num_bytes = _CHUNK_HEADER.unpack(header)
            begin = file.tell()
            if name == b"data":
                if num_bytes == 0 or num_bytes >= _STREAMED_BYTES or bytes_per_second == 0:
                    return 0.0
                missing_bytes: int = begin + num_bytes - os.fstat(file.fileno()).st_size
                return max(0, missing_bytes) / bytes_per_second
            if name == b"fmt ":
                (bytes_per_second,) = _BYTES_PER_SECOND.unpack(file.read(_BYTES_PER_SECOND.size))
            # Chunks are padded to even lengths.
            file.seek(begin + num_bytes + num_bytes % 2)
    return 0.0


def missing_mp4_bytes(path: str) -> int:
    """Bytes that the last top-level box of a local MP4 or MOV file promises and the file lacks."""
    with Path(path).open("rb") as file:
        file_bytes = os.fstat(file.fileno()).st_size
        begin = 0
        while len(header := file.read(_BOX_HEADER.size)) == _BOX_HEADER.size:
            num_bytes, name = _BOX_HEADER.unpack(header)
            if num_bytes == 1:
                large = file.read(_LARGE_BOX.size)
                num_bytes = _LARGE_BOX.unpack(large)[0] if len(large) == _LARGE_BOX.size else 0
            if num_bytes < _BOX_HEADER.size or not name.isalnum():
                # A box of size 0 ends with the file; anything else here is padding behind the last box.
                return 0
            begin += num_bytes
            file.seek(begin)
        return max(0, begin - file_bytes)
