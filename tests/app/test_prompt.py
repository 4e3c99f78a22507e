"""The loop's slices of the scheduler, as the kernel itself says them."""

from __future__ import annotations

import ctypes
import os
import platform
from concurrent.futures import ThreadPoolExecutor

import pytest

from monitor.app.process import SCHED_SETATTR, SLICE_NS, SchedulingAttributes, wake_promptly

# sched_getattr(2) stands beside sched_setattr(2) in the tables of all machines.
BESIDE = 1


def attributes() -> SchedulingAttributes:
    """Those of the calling thread."""
    found = SchedulingAttributes()
    number = SCHED_SETATTR[platform.machine()] + BESIDE
    answer = ctypes.CDLL(None, use_errno=True).syscall(number, 0, ctypes.byref(found), ctypes.sizeof(found), 0)
    if answer != 0 or not found.runtime_ns:
        pytest.skip("this system says nothing of slices: Linux 6.12 does")
    return found


def in_a_thread_of_its_own() -> tuple[SchedulingAttributes, ...]:
    """What a thread is scheduled by before and after, and one that it starts then."""
    before = attributes()
    try:
        wake_promptly()
    except PermissionError:
        pytest.skip("whoever runs these tests may not ask for slices")
    after = attributes()
    with ThreadPoolExecutor(1) as child:
        return before, after, child.submit(attributes).result()


def test_slices_are_the_shortest_and_neither_the_share_nor_other_threads_change() -> None:
    if platform.machine() not in SCHED_SETATTR or os.getpriority(os.PRIO_PROCESS, 0) < 0:
        pytest.skip("a machine whose calls are not known, or a priority that somebody chose")
    with ThreadPoolExecutor(1) as thread:
        before, after, child = thread.submit(in_a_thread_of_its_own).result()
    assert (after.policy, after.nice, after.runtime_ns) == (os.SCHED_OTHER, before.nice, SLICE_NS)
    assert before.runtime_ns == child.runtime_ns > SLICE_NS


def test_whoever_chose_a_policy_keeps_it() -> None:
    def batch() -> tuple[int, int]:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        wake_promptly()
        return os.sched_getscheduler(0), attributes().runtime_ns

    with ThreadPoolExecutor(1) as thread:
        policy, slice_ns = thread.submit(batch).result()
    assert policy == os.SCHED_BATCH
    assert slice_ns != SLICE_NS
