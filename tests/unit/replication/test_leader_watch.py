import asyncio

from broker.base.ids import GroupId
from broker.replication.leader_watch import LeaderWatch

HERE, THERE = GroupId(1), GroupId(2)


async def test_news_reach_who_waits_for_this_group():
    watch = LeaderWatch()
    here = asyncio.ensure_future(watch.news(HERE))
    there = asyncio.ensure_future(watch.news(THERE))
    await asyncio.sleep(0)
    watch.tell(HERE)
    await here
    assert not there.done()
    watch.tell_all()
    await there
    assert len(watch) == 0


async def test_who_gives_up_is_forgotten_though_no_news_come():
    watch = LeaderWatch()
    patient = asyncio.ensure_future(watch.news(HERE))
    for _ in range(100):
        impatient = asyncio.ensure_future(watch.news(HERE))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait([impatient])
    assert len(watch) == 1
    watch.tell(HERE)
    await patient
