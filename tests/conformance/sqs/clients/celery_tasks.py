"""Tasks of a Celery app whose broker is the node at AWS_ENDPOINT_URL. Run by Celery's own Python, not by the tests'.

As a program: sends tasks and prints what came of them, as JSON. RESULTS: a folder for results and counts of tries.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery

RESULTS = Path(os.environ["RESULTS"])
TIMEOUT = 60

app = Celery("celery_tasks", broker="sqs://", backend=f"file://{RESULTS}")
app.conf.update(
    task_default_queue=os.environ["QUEUE"],
    worker_enable_remote_control=False,
    broker_transport_options={
        "region": "us-east-1",
        "endpoint_url": os.environ["AWS_ENDPOINT_URL"],
        "wait_time_seconds": 5,
        "polling_interval": 0.1,
    },
)


@app.task
def add(one: int, other: int) -> int:
    return one + other


@app.task(bind=True, max_retries=3)
def third_time(self: Any) -> int:
    """Fails twice."""
    tries = RESULTS / "tries"
    tries.write_text(f"{tries.read_text() if tries.exists() else ''}x")
    if len(tries.read_text()) < 3:
        raise self.retry(countdown=1)
    return len(tries.read_text())


if __name__ == "__main__":
    sums = [add.delay(number, 1) for number in range(10)]
    later = add.apply_async((40, 2), countdown=1)
    retried = third_time.delay()
    found = {
        "sums": [result.get(timeout=TIMEOUT) for result in sums],
        "later": later.get(timeout=TIMEOUT),
        "tries": retried.get(timeout=TIMEOUT),
    }
    print(json.dumps(found))
