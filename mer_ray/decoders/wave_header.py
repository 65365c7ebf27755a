"""How much sound a WAV header promises beyond the file's end."""

import os
import struct
from pathlib import Path

# Programs that write WAV to a pipe cannot know the length: ffmpeg leaves 0xFFFFFFFF, sox just under 0x7FFFFFFF, others 0.
_STREAMED_BYTES = 0x7FFFF000
_CHUNK_HEADER = struct.Struct("<4sI")
_BYTES_PER_SECOND = struct.Struct("<8xI")


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
