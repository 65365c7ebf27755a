"""One media file becomes arrays: sound, frames, text. CPU only."""
