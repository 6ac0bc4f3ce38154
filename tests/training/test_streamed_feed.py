"""The order of copies and steps, on streams that run as late as they may."""

import pytest
import torch

from mflag.data.feeds import BatchReader
from mflag.data.feeds.slots import DeviceSlot
from mflag.data.feeds.streamed import StreamedFeed
from mflag.data.index_stream import IndexStream

from .streams import LateCopies


def reader(prepared):
    return BatchReader(prepared, IndexStream(len(prepared.rows("train")), 8, seed=0), 64)


def run(prepared, copies, steps, prefetch=1):
    """Queue a step a batch, as training does; return what each step saw, and what it should see."""
    seen, wanted = [], []
    feed = StreamedFeed(reader(prepared), range(steps), prefetch, copies)
    for step, batch in enumerate(feed):
        images = batch.images
        copies.compute.add(lambda images=images: seen.append(images.clone()))
        wanted.append(reader(prepared).read(step).images)
    feed.close()
    copies.compute.run_all()
    return seen, wanted


@pytest.mark.parametrize("prefetch", [1, 2, 5])
def test_every_step_sees_its_own_images(prepared, prefetch):
    seen, wanted = run(prepared, LateCopies(), 20, prefetch)
    assert len(seen) == 20
    assert all(map(torch.equal, seen, wanted))


class WithoutWaitForUse(LateCopies):
    def copy(self, source, target, after):
        event = super().copy(source, target, None)
        self.copies.run_all()  # a copy engine that is ahead of the computation
        return event


class WithoutWaitForCopy(LateCopies):
    def await_here(self, event):
        pass

    def mark_here(self):
        self.compute.run_all()  # a computation that is ahead of the copies
        return super().mark_here()


class Ended:
    def synchronize(self):
        pass


class WithoutWaitForPinnedMemory(LateCopies):
    def copy(self, source, target, after):
        self.held = super().copy(source, target, after)
        return Ended()

    def await_here(self, event):
        self.compute.add(self.copies.run_all)


@pytest.mark.parametrize(
    "copies", [WithoutWaitForUse, WithoutWaitForCopy, WithoutWaitForPinnedMemory]
)
def test_without_any_one_of_the_waits_a_step_sees_other_images(prepared, copies):
    seen, wanted = run(prepared, copies(), 20)
    assert not all(map(torch.equal, seen, wanted))


def test_the_copy_of_the_next_batch_waits_for_no_step_but_the_one_before_in_its_memory(prepared):
    copies = LateCopies()
    first, second = (DeviceSlot((1, 1, 2, 2), copies) for _ in range(2))
    for value, slot in enumerate((first, second)):
        slot.memory().fill_(value)
        slot.send()
    first.receive()
    steps = []
    copies.compute.add(lambda: steps.append("first"))
    first.done()
    copies.copies.run_all()  # the second copy ends while the first step has not begun
    assert not steps and second.receive().unique().tolist() == [1]
    first.memory().fill_(7)
    first.send()
    copies.copies.run_all()
    assert steps == ["first"]


def test_closing_waits_for_copies_under_way(prepared):
    copies = LateCopies()
    feed = StreamedFeed(reader(prepared), range(9), 2, copies)
    batch = next(iter(feed))
    feed.close()
    assert torch.equal(batch.images, reader(prepared).read(0).images)
