"""A small random Whisper with a real tokenizer and feature extractor, saved as its authors would."""

import json
from pathlib import Path

import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

LANGUAGES = ("en", "zh", "de")
MAX_TOKENS = 24


def save_small_whisper(folder: Path, seed: int = 0, *, multilingual: bool = True) -> Path:
    """Two layers, 80 mel bands, windows of 2 s instead of 30, texts of at most 24 tokens with the prompt."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    words = sorted(ByteLevel.alphabet())
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = ["<|endoftext|>", "<|startoftranscript|>"]
    if multilingual:
        special += [*(f"<|{language}|>" for language in LANGUAGES), "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    numbers = {token: len(words) + place for place, token in enumerate(special)}
    tokenizer = transformers.WhisperTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=2).save_pretrained(folder)

    start, end = numbers["<|startoftranscript|>"], numbers["<|endoftext|>"]
    architecture = transformers.WhisperConfig(
        vocab_size=len(words) + len(special),
        num_mel_bins=80,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=100,
        max_target_positions=MAX_TOKENS,
        decoder_start_token_id=start,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        init_std=0.3,
    )
    model = transformers.WhisperForConditionalGeneration(architecture)
    generation = model.generation_config
    generation._from_model_config = False
    generation.max_length = MAX_TOKENS
    generation.suppress_tokens = [number for token, number in numbers.items() if token != "<|endoftext|>"]
    generation.begin_suppress_tokens = [end]
    generation.no_timestamps_token_id = numbers["<|notimestamps|>"]
    generation.is_multilingual = multilingual
    if multilingual:
        generation.lang_to_id = {f"<|{language}|>": numbers[f"<|{language}|>"] for language in LANGUAGES}
        generation.task_to_id = {task: numbers[f"<|{task}|>"] for task in ("translate", "transcribe")}
    model.save_pretrained(folder)
    return folder
