"""Networks as their authors wrote them, layer by layer and unfolded: what a converted trunk must agree with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Kernel, stride and expansion of each of the first eleven blocks of EfficientNet-Lite0.
LITE0 = [(3, 1, 1), (3, 2, 6), (3, 1, 6), (5, 2, 6), (5, 1, 6), (3, 2, 6), *[(3, 1, 6)] * 2, *[(5, 1, 6)] * 3]


def reference_features(
    torch: Any, network: str, arrays: Mapping[str, NDArray[Any]], images: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return (N, 4, 4, channels) features of (N, H, W, 3) pictures, in double precision."""
    weights = {name: torch.from_numpy(np.asarray(a)).double() for name, a in arrays.items()}
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy((images / 255.0 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        y = _lite0(torch, weights, x) if network == "efficientnet_lite0" else _resnet18(torch, weights, x)
        return torch.nn.functional.adaptive_avg_pool2d(y, 4).permute(0, 2, 3, 1).numpy()


def _norm(torch: Any, weights: Mapping[str, Any], name: str, x: Any, eps: float) -> Any:
    parts = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return torch.nn.functional.batch_norm(x, *parts, training=False, eps=eps)


def _lite0(torch: Any, weights: Mapping[str, Any], x: Any) -> Any:
    functional = torch.nn.functional

    def conv(name: str, norm: str, x: Any, stride: int, groups: int = 1) -> Any:
        kernel = weights[f"{name}.weight"]
        need = max((-(-x.shape[2] // stride) - 1) * stride + kernel.shape[2] - x.shape[2], 0)
        x = functional.pad(x, (need // 2, need - need // 2) * 2)
        return _norm(torch, weights, norm, functional.conv2d(x, kernel, None, stride, 0, 1, groups), 1e-3)

    x = functional.relu6(conv("_conv_stem", "_bn0", x, 2))
    for i, (_, stride, expansion) in enumerate(LITE0):
        at, y = f"_blocks.{i}", x
        if expansion != 1:
            y = functional.relu6(conv(f"{at}._expand_conv", f"{at}._bn0", y, 1))
        y = functional.relu6(conv(f"{at}._depthwise_conv", f"{at}._bn1", y, stride, y.shape[1]))
        y = conv(f"{at}._project_conv", f"{at}._bn2", y, 1)
        x = x + y if y.shape == x.shape else y
    return x


def _resnet18(torch: Any, weights: Mapping[str, Any], x: Any) -> Any:
    functional = torch.nn.functional

    def conv(name: str, norm: str, x: Any, stride: int) -> Any:
        kernel = weights[f"{name}.weight"]
        return _norm(torch, weights, norm, functional.conv2d(x, kernel, None, stride, kernel.shape[2] // 2), 1e-5)

    x = functional.max_pool2d(functional.relu(conv("conv1", "bn1", x, 2)), 3, 2, 1)
    for stage in (1, 2, 3):
        for block in (0, 1):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = functional.relu(conv(f"{at}.conv1", f"{at}.bn1", x, stride))
            y = conv(f"{at}.conv2", f"{at}.bn2", y, 1)
            skip = f"{at}.downsample"
            x = functional.relu(y + (conv(f"{skip}.0", f"{skip}.1", x, stride) if f"{skip}.0.weight" in weights else x))
    return x
