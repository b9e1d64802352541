"""Actors of dramatiq over the node at AWS_ENDPOINT_URL, and their worker: prints what was done, as JSON.

Run by dramatiq's own Python, not by the tests'.
"""

from __future__ import annotations

import json
import os
from threading import Condition

import dramatiq
from dramatiq.middleware import AgeLimit, Retries
from dramatiq_sqs import SQSBroker

TIMEOUT = 60
EXPECTED = 12

broker = SQSBroker(
    namespace="dramatiq",
    endpoint_url=os.environ["AWS_ENDPOINT_URL"],
    region_name="us-east-1",
    middleware=[AgeLimit(), Retries(min_backoff=100, max_backoff=100)],
    tags={"owner": "conformance"},
)
dramatiq.set_broker(broker)
done: list[str] = []
tries: list[int] = []
changed = Condition()


@dramatiq.actor
def work(what: str) -> None:
    with changed:
        done.append(what)
        changed.notify()


@dramatiq.actor
def second_time() -> None:
    tries.append(1)
    if len(tries) < 2:
        raise RuntimeError("not yet")
    work.fn("second time")


for number in range(10):
    work.send(str(number))
work.send_with_options(args=("late",), delay=1_000)
second_time.send()
worker = dramatiq.Worker(broker, worker_threads=2)
worker.start()
with changed:
    changed.wait_for(lambda: len(done) >= EXPECTED, TIMEOUT)
worker.stop()
print(json.dumps(sorted(done)))
