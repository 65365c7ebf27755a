"""The synthetic corpus: real media files whose face, voice and words follow an emotion by known probabilities."""
