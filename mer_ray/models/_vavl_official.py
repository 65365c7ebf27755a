"""Weights of the official VAVL code -> this project's model.

The names are those of github.com/ilucasgoncalves/VAVL (net/avmodel.py, net/modelWrapper.py) around the `conformer` package that it imports
(github.com/sooftware/conformer), with torch's LayerNorm.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from mer_ray.core.errors import ConfigError
from mer_ray.models.vavl import Vavl

# Official file, and the official module in it -> our module.
FILES = {
    "final_acoustic_head": (("conv_1d_a", "encoders.audio.bottleneck"), ("x_acoustic.encoder", "encoders.audio.conformer")),
    "final_visual_head": (("conv_1d_v", "encoders.vision.bottleneck"), ("x_visual.encoder", "encoders.vision.conformer")),
    "final_shared_head": (("x_shared.encoder", "shared.shared.conformer"), ("layer_norm", "shared.shared.norm")),
    "MLP_a_head": (("", "heads.audio"),),
    "MLP_v_head": (("", "heads.vision"),),
    "MLP_rec_a_head": (("", "rebuilders.audio"),),
    "MLP_rec_v_head": (("", "rebuilders.vision"),),
    "final_weights_head": (("", "audio_visual_head"),),
}
HEAD_LAYERS = {"projav1": "0", "projav2": "3", "out_layer": "4"}
# Inside `layers.<n>.sequential` of the conformer: its modules in order, and ours.
BLOCK_MODULES = (
    ("0.module.sequential.", "feed_forward."),
    ("1.module.layer_norm.", "attention_norm."),
    ("1.module.attention.", "attention."),
    ("2.module.sequential.0.", "convolution.layer_norm."),
    ("2.module.sequential.2.conv.", "convolution.expand."),
    ("2.module.sequential.4.conv.", "convolution.depthwise."),
    ("2.module.sequential.5.", "convolution.norm."),
    ("2.module.sequential.7.conv.", "convolution.reduce."),
    ("3.module.sequential.", "last_feed_forward."),
    ("4.", "last_norm."),
)
ATTENTION_NAMES = {
    "query_proj": "query",
    "key_proj": "key",
    "value_proj": "value",
    "pos_proj": "position",
    "out_proj": "output",
    "u_bias": "content_bias_NE",
    "v_bias": "position_bias_NE",
}
# Held by the official modules and never called, or computed anew here.
UNUSED = re.compile(r"conv_subsample\.|positional_encoding\.|num_batches_tracked|\.fc\.")


def load_official_state_dict(model: Vavl, files: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Load the official state dicts, by the names of their files without `.pt`; `MLP_av_head`, which is never called, may be among them.

    Raises:
        ConfigError: a file or a tensor is missing, unknown, or of another shape.

    """
    found: dict[str, Tensor] = {}
    for name, state in files.items():
        if name == "MLP_av_head":
            continue
        if name not in FILES:
            raise ConfigError(f"{name}: no file of the official VAVL; allowed: {', '.join(FILES)}")
        for key, tensor in state.items():
            if not UNUSED.search(f".{key}"):
                found[_our_name(name, key)] = tensor
    # Convolutions of length 1 are linear layers here.
    ours = model.state_dict()
    shaped = {
        key: tensor.squeeze(2) if key in ours and tensor.dim() == 3 and ours[key].dim() == 2 else tensor for key, tensor in found.items()
    }
    faults = [f"{key} is missing" for key in ours if key not in shaped] + [f"{key} is unknown" for key in shaped if key not in ours]
    faults += [
        f"{key} has the shape {tuple(shaped[key].shape)}, not {tuple(ours[key].shape)}"
        for key in ours
        if key in shaped and shaped[key].shape != ours[key].shape
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ConfigError(f"official weights of VAVL do not fit this model: {faults[0]}{more}")
    model.load_state_dict(shaped)


def _our_name(file: str, key: str) -> str:
    for official, ours in FILES[file]:
        if not official:
            layer, _, rest = key.partition(".")
            return f"{ours}.{HEAD_LAYERS.get(layer, layer)}.{rest}"
        if key.startswith(f"{official}."):
            return f"{ours}.{_inside_conformer(key.removeprefix(f'{official}.'))}"
    return key


def _inside_conformer(key: str) -> str:
    key = key.replace(".linear.", ".").replace("input_projection.0.", "projection.")
    block = re.match(r"layers\.(\d+)\.sequential\.(.*)", key)
    if not block:
        return key
    for official, ours in BLOCK_MODULES:
        if block[2].startswith(official):
            rest = block[2].removeprefix(official)
            first, dot, last = rest.partition(".")
            return f"blocks.{block[1]}.{ours}{ATTENTION_NAMES.get(first, first)}{dot}{last}"
    return key
