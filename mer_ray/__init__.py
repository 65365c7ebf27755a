"""mer_ray: emotion recognition from video, audio and text on a laptop or a Ray cluster."""

__version__ = "0.1.0"
