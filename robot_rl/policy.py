"""Acting from published weights with numpy alone: what runs on the robot's machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import SpecError
from robot_rl.messages import Policy
from robot_rl.specs import FEATURE_OFFSET, FEATURE_SCALE, ActionSpec, FeatureField, ObservationSpec

LN_EPS = np.float32(1e-6)
CNN_SIDE = 4
"""Side of the map that convolutions of a policy's own come to."""
Vector = NDArray[np.float32]


def cnn_layers(side: int) -> int:
    """Return how many convolutions, each halving it, a square picture passes until `CNN_SIDE` is left."""
    return max(round(np.log2(side / CNN_SIDE)), 0)


class _Layer:
    """One hidden layer and the memory it writes to."""

    def __init__(self, w: Vector, b: Vector | None, scale: Vector | None, shift: Vector, relu: bool) -> None:
        # Stored transposed: a matrix times a vector then reads memory in order.
        self.w = np.ascontiguousarray(w.T)
        self.b, self.scale, self.shift, self.relu = b, scale, shift.copy(), relu
        self.out = np.empty(len(shift), np.float32)
        self.mean = np.full(len(shift), 1.0 / len(shift), np.float32)

    def __call__(self, x: Vector) -> Vector:
        out = self.out
        np.dot(self.w, x, out=out)
        if self.b is not None:
            out += self.b
        if self.scale is not None:
            out -= out.dot(self.mean)
            out *= 1.0 / np.sqrt(out.dot(out) * self.mean[0] + LN_EPS)
            out *= self.scale
        out += self.shift
        return np.maximum(out, 0.0, out=out) if self.relu else np.tanh(out, out=out)


class _Convolutions:
    """A camera's own convolutions, where its pictures pass through no frozen encoder. See `robot_rl.agents.cnn`."""

    def __init__(self, layers: Sequence[tuple[Vector, Vector]]) -> None:
        # As one matrix for each layer: (outputs, inputs * 9), the window's axes last as numpy gives them.
        self._layers = [(w.transpose(3, 2, 0, 1).reshape(w.shape[3], -1).copy(), shift) for w, shift in layers]

    def __call__(self, picture: NDArray[np.uint8]) -> Vector:
        """Return the (4, 4, channels) map of a (side, side, 3) picture."""
        x = picture.astype(np.float32) / np.float32(255.0) - np.float32(0.5)
        for w, shift in self._layers:
            padded = np.pad(x, ((0, 1), (0, 1), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))[::2, ::2]
            side = windows.shape[0]
            x = np.maximum(windows.reshape(side * side, -1) @ w.T + shift, np.float32(0.0)).reshape(side, side, -1)
        return x


class _Eye:
    """A camera's head: from a stored map of features to a few numbers. See `robot_rl.agents.eyes`."""

    def __init__(self, masks: Vector, w: Vector, vectors: Vector, own: _Convolutions | None = None) -> None:
        combined = np.einsum("pck,ckh->hpc", masks, w, optimize=True).reshape(w.shape[2], -1)
        self._own = own
        # A stored byte stands for byte * FEATURE_SCALE + FEATURE_OFFSET: the product is scaled, its sum shifted.
        scale, offset = (1.0, 0.0) if own is not None else (FEATURE_SCALE, FEATURE_OFFSET)
        self._w = np.ascontiguousarray(combined * np.float32(scale))
        self._b = np.float32(offset) * combined.sum(axis=1) + vectors[0]
        self._scale, self._shift = vectors[1].copy(), vectors[2].copy()

    @property
    def size(self) -> int:
        """How many numbers it makes."""
        return len(self._shift)

    def __call__(self, stored: NDArray[np.uint8]) -> Vector:
        seen = stored.astype(np.float32) if self._own is None else self._own(stored)
        h = self._w @ seen.ravel() + self._b
        h -= h.mean()
        h *= self._scale / np.sqrt(h.dot(h) / np.float32(len(h)) + LN_EPS)
        return np.tanh(h + self._shift)


class NumpyPolicy:
    """The actor network of an agent, evaluated one state at a time.

    Args:
        observation_spec, action_spec: What the policy reads and gives.
        weights: As `Agent.policy` gives them: `w0 [b0 scale0] shift0 w1 ...`, `head`, `bias`, `activation`,
            `std_bounds`, and for each camera with features `eye/<camera>/masks`, `.../w`, `.../vectors`.
        noise_scale: Multiplies the standard deviation of the continuous action when it is sampled.

    Raises:
        SpecError: The weights do not fit the specifications.
    """

    def __init__(
        self,
        observation_spec: ObservationSpec,
        action_spec: ActionSpec,
        weights: Mapping[str, NDArray[np.float32]],
        noise_scale: float = 1.0,
    ) -> None:
        self.noise_scale = noise_scale
        self.version = 0
        # A clone is judged as it acts: its mode stands still wherever its demonstrators now and then did.
        self.sampled = False
        self._offset = observation_spec.offset
        self._inverse_scale = (1.0 / observation_spec.scale).astype(np.float32)
        self._c, self._k = action_spec.continuous_size, action_spec.joint_choices
        self._joint_values = action_spec.joint_values
        self._size = observation_spec.size
        self._cameras = {k: f for k, f in observation_spec.images.items() if isinstance(f, FeatureField)}
        self._set(weights)

    def load(self, policy: Policy) -> None:
        """Act with newer weights from now on; on error the old ones stay."""
        self._set(policy.weights)
        self.version = policy.version

    def act(self, observation: Any, rng: np.random.Generator | None = None) -> NDArray[np.float32]:
        """Return the (A,) action in [-1, 1] for an observation.

        Args:
            observation: The (S,) state in physical units, as the observation specification says, or a dictionary of it
                ("state") and what cameras see. Of features (views, height, width, channels) the first view is read;
                pictures are not.
            rng: Samples the action; without it, the mode is returned: tanh of the mean and the likeliest choice.
        """
        state = observation["state"] if isinstance(observation, Mapping) else observation
        if state.shape != (self._size,):
            raise SpecError(f"the policy reads states of shape {(self._size,)}, got {state.shape}")
        x, s = self._x, self._size
        np.subtract(state, self._offset, out=x[:s])
        x[:s] *= self._inverse_scale
        for name, eye in self._eyes.items():
            x[s : s + eye.size] = eye(self._seen(observation, name))
            s += eye.size
        for layer in self._layers:
            x = layer(x)
        head, c = self._head, self._c
        np.dot(self._head_w, x, out=head)
        head += self._head_b
        action = np.empty(c + self._joint_values.shape[1], np.float32)
        u = head[:c]
        if rng is not None:
            std = np.exp(self._low + self._half * (1.0 + np.tanh(head[c : 2 * c])))
            u = u + (self.noise_scale * std) * rng.standard_normal(c, np.float32)
        np.tanh(u, out=action[:c])
        if self._k > 1:
            logits = head[2 * c :]
            if rng is not None:
                logits = logits + rng.gumbel(size=self._k)
            action[c:] = self._joint_values[int(logits.argmax())]
        return action

    def _seen(self, observation: Any, camera: str) -> NDArray[np.uint8]:
        """Return the first view of a camera's features."""
        stored = observation.get(camera) if isinstance(observation, Mapping) else None
        shape = self._cameras[camera].view_shape
        if stored is None or stored.shape[1:] != shape or stored.dtype != np.uint8:
            found = "nothing" if stored is None else f"{stored.dtype} of shape {stored.shape}"
            raise SpecError(
                f"the policy reads features of the camera '{camera}', uint8 of shape (views, *{shape}), got {found}; "
                "encode its pictures (obs=images)"
            )
        return stored[0]

    def _set(self, weights: Mapping[str, Any]) -> None:
        arrays = {k: np.asarray(v, np.float32) for k, v in weights.items()}
        self._check(arrays)
        # An error above leaves the old weights acting; nothing below can fail.
        self._eyes = {name: _eye(name, camera, arrays) for name, camera in self._cameras.items()}
        self._x = np.empty(self._size + sum(eye.size for eye in self._eyes.values()), np.float32)
        relu = bool(arrays["activation"][0])
        count = sum(re.fullmatch(r"w\d+", k) is not None for k in arrays)
        self._layers = [
            _Layer(arrays[f"w{i}"], arrays.get(f"b{i}"), arrays.get(f"scale{i}"), arrays[f"shift{i}"], relu)
            for i in range(count)
        ]
        self._head_w = np.ascontiguousarray(arrays["head"].T)
        self._head_b = arrays["bias"].copy()
        self._head = np.empty(len(self._head_b), np.float32)
        low, high = np.log(arrays["std_bounds"])
        self._low, self._half = np.float32(low), np.float32(0.5 * (high - low))

    def _eye_shapes(self, name: str, camera: FeatureField, arrays: Mapping[str, Vector]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a camera's head; how many masks and numbers it has, its weights say themselves."""
        w = arrays.get(f"eye/{name}/w")
        masks, width = w.shape[1:] if w is not None and w.ndim == 3 else (0, 0)
        height, across, channels = camera.view_shape
        own: dict[str, tuple[int, ...]] = {}
        if camera.raw:
            for i in range(cnn_layers(height)):
                shift = arrays.get(f"eye/{name}/shift{i}")
                outputs = len(shift) if shift is not None and shift.ndim == 1 else 0
                own |= {f"eye/{name}/conv{i}": (3, 3, channels, outputs), f"eye/{name}/shift{i}": (outputs,)}
                channels = outputs
            height = across = CNN_SIDE
        return own | {
            f"eye/{name}/masks": (height * across, channels, masks),
            f"eye/{name}/w": (channels, masks, width),
            f"eye/{name}/vectors": (3, width),
        }

    def _check(self, arrays: Mapping[str, Vector]) -> None:
        """Refuse weights whose names or shapes do not fit the specifications."""
        outputs = 2 * self._c + (self._k if self._k > 1 else 0)
        expected: dict[str, tuple[int, ...]] = {"activation": (1,), "std_bounds": (2,), "bias": (outputs,)}
        width, i = self._size, 0
        for name, camera in self._cameras.items():
            eye = self._eye_shapes(name, camera, arrays)
            expected |= eye
            width += eye[f"eye/{name}/vectors"][1]
        while f"w{i}" in arrays:
            out = arrays[f"w{i}"].shape[-1] if arrays[f"w{i}"].ndim else 0
            expected[f"w{i}"] = (width, out)
            names = [f"shift{i}"]
            if "scale0" in arrays:
                names += [f"scale{i}"] if i > 0 else ["scale0", "b0"]
            expected |= dict.fromkeys(names, (out,))
            width, i = out, i + 1
        if i == 0:
            raise SpecError(f"policy weights hold no 'w0', got {sorted(arrays)}. Publish what `Agent.policy` gives")
        expected["head"] = (width, outputs)
        missing, extra = sorted(expected.keys() - arrays), sorted(arrays.keys() - expected)
        if missing or extra:
            raise SpecError(f"policy weights lack {missing} and have unknown {extra}; expected {sorted(expected)}")
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise SpecError(
                    f"policy weight '{name}' has shape {arrays[name].shape}, the task's specifications need {shape}; "
                    "the actor and the learner must run the same task"
                )
            if not np.isfinite(arrays[name]).all():
                raise SpecError(f"policy weight '{name}' is not finite; the learner has diverged")


def _eye(name: str, camera: FeatureField, arrays: Mapping[str, Vector]) -> _Eye:
    """Return a camera's head, behind convolutions of its own where no frozen encoder has seen its pictures."""
    part = {key.removeprefix(f"eye/{name}/"): array for key, array in arrays.items() if key.startswith(f"eye/{name}/")}
    layers = [(part[f"conv{i}"], part[f"shift{i}"]) for i in range(cnn_layers(camera.height) if camera.raw else 0)]
    own = _Convolutions(layers) if camera.raw else None
    return _Eye(part["masks"], part["w"], part["vectors"], own)
