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
    """Those of the calling thread; all zero where the system says nothing of them."""
    found = SchedulingAttributes()
    number = SCHED_SETATTR[platform.machine()] + BESIDE
    ctypes.CDLL(None, use_errno=True).syscall(number, 0, ctypes.byref(found), ctypes.sizeof(found), 0)
    return found


def in_a_thread_of_its_own() -> tuple[SchedulingAttributes, SchedulingAttributes, SchedulingAttributes, bool]:
    """What a thread is scheduled by before and after, one that it starts then, and whether it could ask."""
    before = attributes()
    try:
        wake_promptly()
    except OSError:
        allowed = False
    else:
        allowed = True
    after = attributes()
    with ThreadPoolExecutor(1) as child:
        return before, after, child.submit(attributes).result(), allowed


def test_slices_are_the_shortest_and_neither_the_share_nor_other_threads_change() -> None:
    """Linux before 6.12 says no slice of an ordinary thread, a container may refuse the call: nothing changes."""
    if platform.machine() not in SCHED_SETATTR:
        pytest.skip("a machine whose calls are not known")
    with ThreadPoolExecutor(1) as thread:
        before, after, child, allowed = thread.submit(in_a_thread_of_its_own).result()
    has_slices = bool(before.runtime_ns) and allowed and os.getpriority(os.PRIO_PROCESS, 0) >= 0
    assert (after.policy, after.nice) == (before.policy, before.nice)
    assert after.runtime_ns == (SLICE_NS if has_slices else before.runtime_ns)
    assert before.runtime_ns == child.runtime_ns != SLICE_NS


def test_whoever_chose_a_policy_keeps_it() -> None:
    def batch() -> tuple[int, int]:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        wake_promptly()
        return os.sched_getscheduler(0), attributes().runtime_ns

    with ThreadPoolExecutor(1) as thread:
        policy, slice_ns = thread.submit(batch).result()
    assert policy == os.SCHED_BATCH
    assert slice_ns != SLICE_NS
