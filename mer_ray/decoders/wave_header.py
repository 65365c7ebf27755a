"""What a WAV header says about its own length."""

import struct
from pathlib import Path

# Programs that write WAV to a pipe cannot know the length: ffmpeg leaves 0xFFFFFFFF, sox just under 0x7FFFFFFF, others 0.
_STREAMED_BYTES = 0x7FFFF000
_CHUNK_HEADER = struct.Struct("<4sI")


def is_streamed_wave(path: str) -> bool:
    """Whether a local WAV file leaves its length open, so that its end is no sign of a cut."""
    with Path(path).open("rb") as file:
        file.seek(12)
        while len(header := file.read(_CHUNK_HEADER.size)) == _CHUNK_HEADER.size:
            name, num_bytes = _CHUNK_HEADER.unpack(header)
            if name == b"data":
                return bool(num_bytes == 0 or num_bytes >= _STREAMED_BYTES)
            # Chunks are padded to even lengths.
            file.seek(num_bytes + num_bytes % 2, 1)
    return False
