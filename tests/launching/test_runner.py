"""The runner starts, watches and ends real processes as a launch file says."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

THREE = """
def generate_launch_description():
    end = [Shutdown(reason="one has ended")]
    return LaunchDescription([witness(name, on_exit=end) for name in ("arm", "cameras", "train")])
"""
Run = Callable[..., Any]


def test_ctrl_c_ends_the_last_started_first_and_each_before_the_next(launch: Run) -> None:
    run = launch(THREE)
    run.began("arm", "cameras", "train")
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 0
    assert run.ends() == ["train", "cameras", "arm"]
    assert not any(run.lives(pid) for pid in run.pids.values())


@pytest.mark.parametrize("victim", ["arm", "cameras", "train"])
def test_the_death_of_any_process_ends_the_others_in_order_and_gives_the_status(launch: Run, victim: str) -> None:
    run = launch(THREE)
    run.began("arm", "cameras", "train")
    os.kill(run.pids[victim], signal.SIGKILL)
    assert run.ended() == 128 + signal.SIGKILL
    assert run.ends() == [name for name in ("train", "cameras", "arm") if name != victim]
    assert f"{victim} has ended (signal SIGKILL)" in run.words()


def test_who_ignores_a_signal_gets_the_next_one(launch: Run) -> None:
    run = launch("""
        def generate_launch_description():
            quick = dict(sigterm_timeout="0.2", sigkill_timeout="0.2")
            return LaunchDescription([
                witness("deaf", "SIGINT,SIGTERM", **quick), witness("slow", "SIGINT", **quick),
            ])
        """)
    run.began("deaf", "slow")
    run.process.send_signal(signal.SIGTERM)
    assert run.ended() == 0
    seen = {name: [e for n, e, _ in run.told() if n == name and e != "began"] for name in ("deaf", "slow")}
    assert seen == {"deaf": ["SIGINT", "SIGTERM"], "slow": ["SIGINT", "SIGTERM"]}
    assert "deaf did not stop in time and is killed" in run.words()
    assert not any(run.lives(pid) for pid in run.pids.values())


def test_a_second_ctrl_c_hurries(launch: Run) -> None:
    run = launch("""
        def generate_launch_description():
            return LaunchDescription([witness("slow", "SIGINT", sigterm_timeout="1000")])
        """)
    run.began("slow")
    run.process.send_signal(signal.SIGINT)
    run.wait_for(lambda: ["slow", "SIGINT", str(run.pids["slow"])] in run.told(), "SIGINT")
    run.process.send_signal(signal.SIGINT)
    assert run.ended() == 0


def test_children_end_when_the_launcher_is_killed(launch: Run) -> None:
    run = launch(THREE)
    run.began("arm", "cameras", "train")
    run.process.kill()
    run.wait_for(lambda: not any(run.lives(pid) for pid in run.pids.values()), "the children's end", alive=False)
    assert set(run.ends()) == {"train", "cameras", "arm"}


def test_what_a_process_leaves_behind_is_swept_up(launch: Run) -> None:
    run = launch("""
        def generate_launch_description():
            code = "import subprocess, sys; subprocess.Popen([sys.executable, *sys.argv[1:]])"
            left = ["-c", WITNESS, "left", os.environ["EVENTS"], "none"]
            return LaunchDescription([ExecuteProcess(cmd=[sys.executable, "-c", code, *left], name="parent")])
        """)
    run.began("left")
    assert run.ended() == 0
    assert not run.lives(run.pids["left"])


def test_the_status_is_that_of_the_first_failure(launch: Run) -> None:
    run = launch("""
        def generate_launch_description():
            def end(status):
                return ExecuteProcess(cmd=[sys.executable, "-c", f"import sys; sys.exit({status})"], name=f"e{status}")
            second = RegisterEventHandler(OnProcessExit(target_action=(first := end(7)), on_exit=[end(3)]))
            return LaunchDescription([second, first])
        """)
    assert run.ended() == 7
    assert "e3 has ended (status 3)" in run.words()


def test_a_dead_executable_is_a_sentence_and_the_others_end(launch: Run) -> None:
    run = launch("""
        def generate_launch_description():
            return LaunchDescription([witness("arm"), ExecuteProcess(cmd=["/nowhere/driver"], name="driver")])
        """)
    assert run.ended() == 2
    assert "'driver' cannot be started: /nowhere/driver: No such file or directory" in run.words()
    assert "Traceback" not in run.err.read_text()
    pids = [int(pid) for _, event, pid in run.told() if event == "began"]
    assert not any(run.lives(pid) for pid in pids)


def test_a_node_gets_its_name_namespace_parameters_and_remaps_in_ros_words(launch: Run, tmp_path: Path) -> None:
    keep = tmp_path / "kept.yaml"
    run = launch(
        """
        def generate_launch_description():
            code = "import shutil, sys; a = sys.argv[2:]; print('SAID', *a)\\n"
            code += "shutil.copy(a[a.index('--params-file') + 1], sys.argv[1])"
            return LaunchDescription([
                DeclareLaunchArgument("kept"),
                DeclareLaunchArgument("width", default_value="0.04"),
                PushRosNamespace("cell"),
                Node(
                    executable=sys.executable, arguments=["-c", code, LaunchConfiguration("kept"), "own"], name="hand",
                    namespace="left", parameters=[{"width": LaunchConfiguration("width"), "n": 3, "xs": [1.0, 2.0]}],
                    remappings=[("a", "/b")],
                ),
            ])
        """,
        f"kept:={keep}",
    )
    assert run.ended() == 0
    words = run.said()[0].split()
    assert words[0] == "own"
    ros = words[words.index("--ros-args") :]
    assert "__node:=hand" in ros
    assert "__ns:=/cell/left" in ros
    assert "a:=/b" in ros
    assert yaml.safe_load(keep.read_text()) == {"/**": {"ros__parameters": {"width": "0.04", "n": 3, "xs": [1.0, 2.0]}}}


def test_groups_conditions_includes_timers_functions_and_environment(launch: Run, tmp_path: Path) -> None:
    inner = tmp_path / "inner.launch.py"
    inner.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import DeclareLaunchArgument, ExecuteProcess\n"
        "from launch.substitutions import LaunchConfiguration, EnvironmentVariable\n"
        "import sys\n"
        "def generate_launch_description():\n"
        "    code = \"import sys; print('SAID', *sys.argv[1:])\"\n"
        "    words = ['inner', LaunchConfiguration('who'), EnvironmentVariable('PLACE')]\n"
        "    return LaunchDescription([DeclareLaunchArgument('who'),\n"
        "        ExecuteProcess(cmd=[sys.executable, '-c', code, *words])])\n"
    )
    run = launch(
        """
        def generate_launch_description():
            driver = LaunchConfiguration("driver")
            is_twin = PythonExpression(["'", driver, "' == 'twin' and 1 < 2"])
            def decide(context):
                return [say("f", "function", driver.perform(context))]
            here = PathJoinSubstitution([ThisLaunchFileDir(), "inner.launch.py"])
            return LaunchDescription([
                DeclareLaunchArgument("driver", default_value=TextSubstitution(text="twin"), choices=["twin", "fci"]),
                SetEnvironmentVariable("PLACE", "outside"),
                GroupAction([
                    SetEnvironmentVariable("PLACE", ["in", "side"]),
                    SetLaunchConfiguration("driver", "other"),
                    IncludeLaunchDescription(PythonLaunchDescriptionSource(here), launch_arguments=[("who", driver)]),
                ]),
                GroupAction([say("no", "never")], condition=UnlessCondition(is_twin)),
                GroupAction([say("yes", "condition")], condition=IfCondition(is_twin)),
                OpaqueFunction(function=decide),
                TimerAction(period=0.1, actions=[say("t", "timer", EnvironmentVariable("PLACE"))]),
                say("d", "default", EnvironmentVariable("ABSENT", default_value="none")),
                LogInfo(msg=["driver ", driver]),
            ])
        """,
    )
    assert run.ended() == 0
    said = ["condition", "default none", "function twin", "inner other inside", "timer outside"]
    assert sorted(run.said()) == said
    assert "driver twin" in run.out.read_text().splitlines()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needs an argument: robot:=... (which one)"),
        (["robt:=a"], "has no argument 'robt'; it has robot, speed. Did you mean 'robot'?"),
        (["robot=a"], "Did you mean 'robot:=a'?"),
        (["robot:=b"], "robot is 'b'; allowed: a, ab."),
    ],
)
def test_a_mistaken_argument_is_a_sentence_before_anything_starts(launch: Run, words: list[str], says: str) -> None:
    run = launch(
        """
        def generate_launch_description():
            return LaunchDescription([
                witness("early"),
                DeclareLaunchArgument("robot", choices=["a", "ab"], description="which one"),
                DeclareLaunchArgument("speed", default_value="1"),
            ])
        """,
        *words,
    )
    assert run.ended() == 2
    assert says in run.words()
    assert "Traceback" not in run.err.read_text()
    assert run.told() == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("from launch.actions import ExecuteLocal", "uses launch.actions.ExecuteLocal, which robot-rl launch does not"),
        ("import launch.frontend", "imports launch.frontend, which robot-rl launch does not know"),
        ("import no_such_module_of_ros", "imports no_such_module_of_ros, which is not installed"),
        ("def generate_launch_description(:", "SyntaxError"),
        ("x = 1", "has no function generate_launch_description()"),
        ("def generate_launch_description(): return 3", "returned int"),
        ("def generate_launch_description(): Node(executable='x', respawn=True)", "'respawn'"),
        ("def generate_launch_description(): Node(executable='x', package='p')", "package index of a system ROS"),
    ],
)
def test_a_mistaken_file_is_a_sentence(launch: Run, body: str, says: str) -> None:
    run = launch(body)
    assert run.ended() == 2
    assert says in run.words()
    assert "Traceback" not in run.err.read_text()


def test_a_missing_file_is_a_sentence_with_those_that_exist(launch: Run, tmp_path: Path) -> None:
    (tmp_path / "arm.launch.py").write_text("")
    run = launch(tmp_path / "arn.launch.py")
    assert run.ended() == 2
    assert "Did you mean 'arm.launch.py'?" in run.words()


def test_a_taken_domain_is_a_sentence_and_free_again_afterwards(launch: Run, tmp_path: Path) -> None:
    body = """
        HOLDS = "namespace"
        def generate_launch_description():
            return LaunchDescription([DeclareLaunchArgument("namespace", default_value="/arm"), witness("arm")])
        """
    env = {"ROS_DOMAIN_ID": "99", "TMPDIR": str(tmp_path)}
    first = launch(body, env=env)
    first.began("arm")
    second = launch(body, env=env)
    assert second.ended() == 2
    assert "ROS domain 99 is taken: robot-rl launch file0.launch.py (process" in second.words()
    third = launch(body, "namespace:=/left", env=env)
    third.wait_for(lambda: len([e for _, e, _ in third.told() if e == "began"]) == 2, "an arm of another name")
    first.process.kill()  # the kernel lets go of what it held
    first.process.wait()
    fourth = launch(body, env=env)
    fourth.wait_for(lambda: len([e for _, e, _ in fourth.told() if e == "began"]) == 3, "the next launch")
    for run in (third, fourth):
        run.process.send_signal(signal.SIGINT)
        assert run.ended() == 0
