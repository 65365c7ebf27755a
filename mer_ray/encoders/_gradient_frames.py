"""Frames -> edges, intensities and motion on grids.

Shapes: N frames, H height, W width, K edge orientations, G cells across and down (row by row), D feature dimension.
"""

import cv2
import numpy as np
import torch

from mer_ray.core.media_types import ByteArray, FloatArray

NUM_ORIENTATIONS = 8
CELL_PIXELS = 8
# As in Dalal and Triggs (2005): no cell's orientation may dominate its neighbourhood.
MAX_SHARE = 0.4
# Contrast (parts of full intensity) below which an edge counts as noise.
CONTRAST_FLOOR = np.float32(0.02)


def to_grey(images: ByteArray) -> FloatArray:
    """Luminance in [0, 1]: (N, H, W)."""
    return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]).astype(np.float32) / np.float32(255)


def shrink(grey_NHW: FloatArray, size: int) -> FloatArray:
    """Every frame averaged down to `size` x `size`."""
    return np.stack([cv2.resize(grey_HW, (size, size), interpolation=cv2.INTER_AREA) for grey_HW in grey_NHW])


def slopes(grey_NHW: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Intensity change per pixel to the right and downwards, by central differences; edges repeat."""
    padded = np.pad(grey_NHW, ((0, 0), (1, 1), (1, 1)), mode="edge")
    half = np.float32(0.5)
    return half * (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]), half * (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1])


def oriented_gradients(grey_NHW: FloatArray) -> FloatArray:
    """Histograms of edge orientation in cells of 8 pixels, contrast-normalised over 3 x 3 cells: (N, G * G * K).

    Dalal and Triggs (2005) with unsigned orientations shared between neighbouring bins, cells that overlap by half, and one
    norm per cell.
    """
    right_NHW, down_NHW = slopes(grey_NHW)
    strength_NHW = np.sqrt(right_NHW**2 + down_NHW**2)
    position_NHW = np.arctan2(down_NHW, right_NHW) * np.float32(NUM_ORIENTATIONS / np.pi) % NUM_ORIENTATIONS
    lower_NHW = np.floor(position_NHW)
    upper_share_NHW = position_NHW - lower_NHW
    lower_NHW = lower_NHW.astype(np.int64) % NUM_ORIENTATIONS
    num_frames, height, width = grey_NHW.shape
    maps_NKHW = torch.zeros(num_frames, NUM_ORIENTATIONS, height, width)
    lower = torch.from_numpy(lower_NHW)[:, None]
    maps_NKHW.scatter_(1, lower, torch.from_numpy(strength_NHW * (1 - upper_share_NHW))[:, None])
    maps_NKHW.scatter_(1, (lower + 1) % NUM_ORIENTATIONS, torch.from_numpy(strength_NHW * upper_share_NHW)[:, None])
    halves_NKGG = torch.nn.functional.avg_pool2d(maps_NKHW, CELL_PIXELS)
    cells_NKGG = torch.nn.functional.avg_pool2d(halves_NKGG, 3, stride=1, padding=1, count_include_pad=False) / 2 + halves_NKGG / 2
    energy_N1GG = cells_NKGG.square().sum(dim=1, keepdim=True)
    norm_N1GG = torch.nn.functional.avg_pool2d(energy_N1GG, 3, stride=1, padding=1, count_include_pad=False).sqrt()
    shares_NKGG = (cells_NKGG / (norm_N1GG + float(CONTRAST_FLOOR))).clamp(max=MAX_SHARE)
    shares_ND: FloatArray = shares_NKGG.permute(0, 2, 3, 1).reshape(num_frames, -1).numpy()
    return shares_ND


def cell_means(values_NHW: FloatArray, num_cells: int) -> FloatArray:
    """The mean in each of num_cells x num_cells cells: (N, G * G)."""
    num_frames, height, width = values_NHW.shape
    cells = values_NHW.reshape(num_frames, num_cells, height // num_cells, num_cells, width // num_cells)
    means_ND: FloatArray = cells.mean(axis=(2, 4)).reshape(num_frames, -1)
    return means_ND


def standardise(grey_NHW: FloatArray) -> FloatArray:
    """Every frame with mean 0 and deviation 1: light and palette go, patterns stay."""
    centred_NHW = grey_NHW - grey_NHW.mean(axis=(1, 2), keepdims=True)
    standard_NHW: FloatArray = centred_NHW / (centred_NHW.std(axis=(1, 2), keepdims=True) + CONTRAST_FLOOR)
    return standard_NHW


def differences(values: FloatArray) -> FloatArray:
    """Each frame less the one before; the first repeats the second's, a single frame has 0."""
    if len(values) == 1:
        return np.zeros_like(values)
    steps = np.diff(values, axis=0)
    return np.concatenate([steps[:1], steps])


def flow(grey_NHW: FloatArray, num_cells: int) -> FloatArray:
    """Motion from the frame before, in pixels to the right and down per cell: (N, G * G * 2); Lucas and Kanade (1981), damped."""
    change_NHW = differences(grey_NHW)
    right_NHW, down_NHW = slopes(grey_NHW)
    rr, dd, rd, rc, dc = (
        cell_means(product, num_cells)
        for product in (right_NHW**2, down_NHW**2, right_NHW * down_NHW, right_NHW * change_NHW, down_NHW * change_NHW)
    )
    rr, dd = rr + CONTRAST_FLOOR**2, dd + CONTRAST_FLOOR**2
    determinant = rr * dd - rd**2
    return np.stack([(rd * dc - dd * rc) / determinant, (rd * rc - rr * dc) / determinant], axis=-1).reshape(len(grey_NHW), -1)
