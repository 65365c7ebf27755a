"""Shell over corpora, decoders, encoders and store: manifest, synth, extract, transcribe, import and export of features."""
