"""A fence stops the instance it names, ends the very process that it was, and no other."""

import subprocess
import sys
from pathlib import Path

from twinloop.engine.live.measured import FENCE_WORDS
from twinloop.engine.live.shared import FENCE, SharedWords
from twinloop.engine.seam import process_start
from twinloop.engine.sidecar.fence import Fence

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_held_process_is_ended_and_a_stopped_one_too(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPS) as child:
        mine = SharedWords(tmp_path / FENCE_WORDS, FENCE)
        fence = Fence(tmp_path)
        fence.hold(7, child.pid, process_start(child.pid))
        assert not fence.exited(7)
        assert mine.peek(0) == 0
        assert fence.close_to(7)
        assert mine.peek(0) == 7
        assert fence.exited(7)
        assert child.wait() == -9
        fence.let_go()
        mine.close()


def test_a_process_of_the_same_number_that_began_at_another_time_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPS) as child:
        fence = Fence(tmp_path)
        fence.hold(7, child.pid, process_start(child.pid) + 1)
        assert not fence.close_to(7)  # The word stands all the same.
        assert child.poll() is None
        child.kill()
    assert process_start(child.pid) == 0


def test_another_instance_is_not_ended_by_what_was_held(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPS) as child:
        fence = Fence(tmp_path)
        fence.hold(7, child.pid, process_start(child.pid))
        assert not fence.close_to(8)
        assert child.poll() is None
        child.kill()
        fence.let_go()
