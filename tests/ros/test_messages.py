from __future__ import annotations

import array
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from robot_rl.errors import WireError
from robot_rl.robot import Executed
from robot_rl_hardware.ros import messages

numbers = st.floats(-1e6, 1e6)
threes, fours, sixes = (st.lists(numbers, min_size=n, max_size=n).map(np.array) for n in (3, 4, 6))
stamps = st.integers(0, 2**31 * 10**9 - 1)


@pytest.fixture(autouse=True, scope="module")
def checked():
    """Make the checks that Humble always makes."""
    import os

    before = os.environ.get("ROS_PYTHON_CHECK_FIELDS")
    os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
    yield
    if before is None:
        del os.environ["ROS_PYTHON_CHECK_FIELDS"]


@given(stamps, threes, fours)
def test_a_pose_comes_back_with_its_stamp(stamp: int, p: np.ndarray, quat: np.ndarray) -> None:
    message = messages.to_pose(stamp, p, quat)
    back_p, back_quat = messages.from_pose(message)
    assert messages.stamp_ns(message) == stamp
    assert np.array_equal(back_p, p)
    assert np.array_equal(back_quat, quat)
    assert message.pose.orientation.w == quat[0]  # wxyz here, named fields there
    assert message.pose.orientation.z == quat[3]


@given(sixes)
def test_twists_and_wrenches_come_back(six: np.ndarray) -> None:
    assert np.array_equal(messages.from_twist(messages.to_twist(1, six)), six)
    assert np.array_equal(messages.from_wrench(messages.to_wrench(1, six)), six)


@given(st.permutations(range(9)), st.lists(numbers, min_size=9, max_size=9))
def test_joints_are_found_by_name_whatever_their_order(order: list[int], values: list[float]) -> None:
    names = [*messages.ARM_JOINTS, "finger", "lift"]
    message = messages.to_joints(1, [names[i] for i in order], [values[i] for i in order], np.array(values)[order])
    q, dq = messages.from_joints(message, messages.ARM_JOINTS)
    assert np.array_equal(q, values[:7])
    assert np.array_equal(dq, values[:7])


def test_a_missing_joint_is_named() -> None:
    with pytest.raises(WireError, match="fr3_joint7"):
        messages.from_joints(messages.to_joints(1, messages.ARM_JOINTS[:6], [0.0] * 6), messages.ARM_JOINTS)
    with pytest.raises(WireError, match="no position"):
        messages.from_joints(messages.to_joints(1, messages.ARM_JOINTS, [0.0]), messages.ARM_JOINTS)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.randoms(use_true_random=False))
def test_a_picture_comes_back(height: int, width: int, random) -> None:
    image = np.frombuffer(random.randbytes(height * width * 3), np.uint8).reshape(height, width, 3)
    for given_image in (image, image[:, ::-1], np.asfortranarray(image)):
        back = messages.from_image(messages.to_image(1, given_image, "camera"))
        assert np.array_equal(back, given_image)
        assert back.flags.writeable


def test_other_encodings_and_padded_rows_are_understood() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    message = messages.to_image(1, image[..., ::-1], "camera")
    message.encoding = "bgr8"
    assert np.array_equal(messages.from_image(message), image)
    padded = np.zeros((2, 12), np.uint8)
    padded[:, :9] = image.reshape(2, 9)
    message = messages.to_image(1, image, "camera")
    message.step, message.data = 12, array.array("B", padded.tobytes())
    assert np.array_equal(messages.from_image(message), image)
    message.encoding, message.step, message.data = "mono8", 3, array.array("B", bytes(range(6)))
    assert np.array_equal(messages.from_image(message)[..., 2], np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(("field", "value"), [("encoding", "16UC1"), ("height", 9), ("step", 1), ("width", 0)])
def test_a_picture_that_does_not_fit_itself_is_refused(field: str, value: object) -> None:
    message = messages.to_image(1, np.zeros((4, 4, 3), np.uint8), "camera")
    setattr(message, field, value)
    with pytest.raises(WireError, match="a picture"):
        messages.from_image(message)


def test_a_compressed_picture_comes_back_nearly_and_a_broken_one_is_refused() -> None:
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    image = np.stack([3 * x, 4 * y, x + y], axis=2).astype(np.uint8)
    message = messages.to_compressed(5, image, "camera")
    assert (messages.stamp_ns(message), message.format, message.header.frame_id) == (5, "jpeg", "camera")
    assert len(message.data) < image.nbytes / 3
    back = messages.from_compressed(message)
    assert back.shape == image.shape
    assert np.abs(back.astype(int) - image).mean() < 3.0
    for broken in (b"", b"no picture", bytes(message.data[:40])):
        message.data = array.array("B", broken)
        with pytest.raises(WireError, match=f"its {len(broken)} bytes cannot be decoded; allowed: JPEG or PNG"):
            messages.from_compressed(message)


@given(stamps, threes, fours, st.booleans(), st.booleans(), st.lists(st.text(max_size=8), max_size=3), st.text())
def test_an_answer_comes_back(stamp, p, quat, close, stopped, events, reason) -> None:
    message = messages.executed_to_text(stamp, Executed(p, quat, close, tuple(events), stopped, reason))
    back_stamp, back = messages.executed_from_text(message)
    assert back_stamp == stamp
    assert np.array_equal(back.p_BE, p)
    assert np.array_equal(back.quat_BE, quat)
    assert (back.close_gripper, back.events, back.stopped, back.reason) == (close, tuple(events), stopped, reason)


def test_what_json_cannot_say_becomes_nothing() -> None:
    text = messages.to_text({"a": math.nan, "b": np.float32(1.5), "c": np.arange(2), "d": (True, None, np.int64(3))})
    assert json.loads(text.data) == {"a": None, "b": 1.5, "c": [0, 1], "d": [True, None, 3]}


@pytest.mark.parametrize("text", ["", "[1]", "{", "nonsense", '{"stamp_ns": 1}', '"' + "x" * 70_000 + '"', "[" * 9_000])
def test_an_answer_that_is_none_is_refused(text: str) -> None:
    from std_msgs.msg import String

    with pytest.raises(WireError):
        messages.executed_from_text(String(data=text))
