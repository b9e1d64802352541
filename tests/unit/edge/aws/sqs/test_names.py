"""Queue URLs in every style, ARNs, and what the cluster calls the queues of other accounts and regions."""

from __future__ import annotations

import pytest

from broker.domain.queues.validation import check_queue_name
from broker.edge.aws.contract import AwsError, Caller
from broker.edge.aws.sqs.names import Names

NAMES = Names("000000000000", "us-east-1")
CALLER = Caller("000000000000", "us-east-1")


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("http://localhost:4566/000000000000/orders", "us-east-1"),
        ("https://broker.example.com/000000000000/orders/", "us-east-1"),
        ("/000000000000/orders", "us-east-1"),
        ("000000000000/orders", "us-east-1"),
        ("http://sqs.eu-central-1.localhost:4566/000000000000/orders", "eu-central-1"),
        ("https://sqs.us-gov-west-1.amazonaws.com/000000000000/orders", "us-gov-west-1"),
        ("http://ap-southeast-2.queue.localhost:4566/000000000000/orders", "ap-southeast-2"),
        ("http://localhost:4566/queue/eu-west-3/000000000000/orders", "eu-west-3"),
        ("http://sqs.internal:4566/000000000000/orders", "us-east-1"),
    ],
)
def test_a_url_is_read_in_every_style(url: str, region: str) -> None:
    found = NAMES.of_url(url, CALLER)
    assert (found.account, found.region, found.name) == ("000000000000", region, "orders")
    assert NAMES.of_url(url, CALLER) is found


def test_a_url_that_names_no_region_means_that_of_the_caller() -> None:
    url = "http://localhost:4566/000000000000/orders"
    there = NAMES.of_url(url, Caller("000000000000", "eu-west-1"))
    assert (there.region, NAMES.of_url(url, CALLER).region) == ("eu-west-1", "us-east-1")


@pytest.mark.parametrize(
    "url", ["", "orders", "http://localhost:4566/", "http://localhost:4566/abc/orders", "ftp://a/1/b"]
)
def test_what_is_no_url_of_a_queue_is_no_valid_address(url: str) -> None:
    with pytest.raises(AwsError) as caught:
        NAMES.of_url(url, CALLER)
    assert (caught.value.code, caught.value.status) == ("InvalidAddress", 404)
    assert caught.value.message == f"The address {url} is not valid for this endpoint."


@pytest.mark.parametrize(
    ("account", "region", "stored"),
    [
        ("000000000000", "us-east-1", "orders.fifo"),
        ("000000000000", "eu-west-1", "~000000000000~eu-west-1~orders.fifo"),
        ("123456789012", "us-east-1", "~123456789012~us-east-1~orders.fifo"),
    ],
)
def test_arns_and_stored_names_lead_back_to_the_queue(account: str, region: str, stored: str) -> None:
    queue = NAMES.of(account, region, "orders.fifo")

    assert queue.stored == stored
    assert queue.arn == f"arn:aws:sqs:{region}:{account}:orders.fifo"
    assert NAMES.of_arn(queue.arn) == NAMES.of_stored(stored) == queue
    assert queue.fifo
    check_queue_name(stored)


@pytest.mark.parametrize(
    "arn", ["", "orders", "arn:aws:sns:us-east-1:000000000000:orders", "arn:aws:sqs:us-east-1:1:a"]
)
def test_other_arns_name_no_queue(arn: str) -> None:
    assert NAMES.of_arn(arn) is None
