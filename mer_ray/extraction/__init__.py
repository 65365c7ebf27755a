"""Shell over corpora, decoders, encoders and store: manifest, synth and extract."""
