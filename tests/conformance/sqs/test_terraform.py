"""Terraform: what its provider for AWS does with queues, call by call; and the real one, where it is.

``make test-terraform PLUGINS=...`` runs it; it takes some minutes, most of them the provider's own waiting for AWS to
spread what was changed. Calls as in terraform-provider-aws, internal/service/sqs and internal/conns.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.conformance.sqs.nodes import ACCOUNT, REGION, client, refused

PLUGINS = os.environ.get("TERRAFORM_PLUGINS", "")
CONFIGURATION = Path(__file__).parent / "clients" / "terraform" / "main.tf"
ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
AS_BEFORE, CHANGED = 0, 2
"""What ``terraform plan -detailed-exitcode`` says of a configuration that is as it should be, or is not."""
TAGS = {"Name": "orders", "with space": "é"}
STATEMENT = {
    "Sid": "senders",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "sqs:SendMessage",
    "Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:us-east-1:123456789012:news"}},
}
JSON_ATTRIBUTES = {"Policy", "RedrivePolicy", "RedriveAllowPolicy"}
READS_OF_A_CREATION, READS_OF_A_DELETION = 3, 12
"""So often in a row the provider wants to see the same before it believes it."""


@pytest.fixture
def queues(endpoint: str) -> Iterator[Any]:
    """A client as it comes, retries and checks of types included."""
    with client(endpoint, retries=True) as made:
        yield made


def read(queues: Any, url: str) -> dict[str, str]:
    return dict(queues.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])


def settled(queues: Any, url: str, wanted: dict[str, str]) -> bool:
    """As the provider compares: texts to the letter, documents by what they mean, an empty text as one not told."""
    for _ in range(READS_OF_A_CREATION):
        told = read(queues, url)
        for name, value in wanted.items():
            if name in JSON_ATTRIBUTES and value:
                if json.loads(told.get(name, "null")) != json.loads(value):
                    return False
            elif told.get(name, "") != value:
                return False
    return True


def gone(queues: Any, url: str) -> bool:
    refusals = [
        refused(queues, "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
        for _ in range(READS_OF_A_DELETION)
    ]
    return {refusal.code for refusal in refusals} == {"AWS.SimpleQueueService.NonExistentQueue"}


def standard_attributes(name: str) -> dict[str, str]:
    """All that the resource has, as it sends them when they are configured; it sends none that are at their default."""
    return {
        "DelaySeconds": "5",
        "MaximumMessageSize": "2048",
        "MessageRetentionPeriod": "86400",
        "Policy": json.dumps({"Version": "2012-10-17", "Statement": [{**STATEMENT, "Resource": ARN + name}]}),
        "ReceiveMessageWaitTimeSeconds": "10",
        "RedriveAllowPolicy": json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [ARN + "source"]}),
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{ARN}{name}-dead", "maxReceiveCount": 4}),
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "45",
    }


FIFO_ATTRIBUTES = {
    "ContentBasedDeduplication": "true",
    "DeduplicationScope": "messageGroup",
    "FifoQueue": "true",
    "FifoThroughputLimit": "perMessageGroupId",
    "KmsDataKeyReusePeriodSeconds": "600",
    "KmsMasterKeyId": "alias/aws/sqs",
}


def test_who_it_works_for(endpoint: str) -> None:
    """Asked before all else, with two attempts and no region of the endpoint's name."""
    sts = boto3.client(
        "sts",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(),
    )
    identity = sts.get_caller_identity()
    sts.close()
    assert identity["Account"] == ACCOUNT
    assert identity["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert identity["UserId"]


def test_a_queue_from_its_creation_to_its_end(queues: Any, name: str) -> None:
    # creation, with tags; every attribute is told as it was given
    queues.create_queue(QueueName=name + "-dead")
    given = standard_attributes(name)
    url = queues.create_queue(QueueName=name, Attributes=given, tags=TAGS)["QueueUrl"]
    assert settled(queues, url, given)
    assert url.count("/") == 4
    assert url.endswith(f"/{ACCOUNT}/{name}")
    assert read(queues, url)["QueueArn"] == ARN + name
    assert queues.list_queue_tags(QueueUrl=url)["Tags"] == TAGS

    # a change sends all that differs, and what is no longer configured as an empty text
    changed = {"VisibilityTimeout": "60", "Policy": "", "RedrivePolicy": "", "RedriveAllowPolicy": ""}
    queues.set_queue_attributes(QueueUrl=url, Attributes=changed)
    assert settled(queues, url, changed)
    assert settled(queues, url, {"DelaySeconds": "5", "MaximumMessageSize": "2048", "SqsManagedSseEnabled": "true"})
    queues.untag_queue(QueueUrl=url, TagKeys=["with space"])
    queues.tag_queue(QueueUrl=url, Tags={"Name": "more"})
    assert queues.list_queue_tags(QueueUrl=url)["Tags"] == {"Name": "more"}

    # deletion, and the same name again at once
    queues.delete_queue(QueueUrl=url)
    assert gone(queues, url)
    again = queues.create_queue(QueueName=name)["QueueUrl"]
    assert again == url
    assert read(queues, again)["VisibilityTimeout"] == "30"
    assert "Tags" not in queues.list_queue_tags(QueueUrl=again)


def test_a_fifo_queue_with_a_key(queues: Any, name: str) -> None:
    url = queues.create_queue(QueueName=name + ".fifo", Attributes=FIFO_ATTRIBUTES)["QueueUrl"]
    assert settled(queues, url, {**FIFO_ATTRIBUTES, "SqsManagedSseEnabled": "false"})
    queues.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "", "KmsDataKeyReusePeriodSeconds": ""})
    assert settled(queues, url, {"KmsMasterKeyId": "", "KmsDataKeyReusePeriodSeconds": ""})
    queues.set_queue_attributes(
        QueueUrl=url, Attributes={"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    )
    assert settled(queues, url, {"FifoThroughputLimit": "perMessageGroupId"})


@pytest.mark.parametrize("attribute", sorted(JSON_ATTRIBUTES))
def test_policies_as_resources_of_their_own(queues: Any, name: str, attribute: str) -> None:
    """aws_sqs_queue_policy, ..._redrive_policy and ..._redrive_allow_policy: set one attribute, read that one alone,
    and empty it in the end."""
    queues.create_queue(QueueName=name + "-dead")
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    value = standard_attributes(name)[attribute]
    queues.set_queue_attributes(QueueUrl=url, Attributes={attribute: value})
    for _ in range(READS_OF_A_CREATION):
        told = queues.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])["Attributes"]
        assert told.keys() == {attribute}
        assert json.loads(told[attribute]) == json.loads(value)
    queues.set_queue_attributes(QueueUrl=url, Attributes={attribute: ""})
    assert "Attributes" not in queues.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])


def test_a_queue_that_was_made_elsewhere_is_taken_over_by_its_url(queues: Any, name: str) -> None:
    """An import knows the URL, from whatever host, and reads; the data source knows the name."""
    url = queues.create_queue(QueueName=name, Attributes={"DelaySeconds": "7"}, tags=TAGS)["QueueUrl"]
    assert queues.get_queue_url(QueueName=name)["QueueUrl"] == url
    foreign = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
    assert read(queues, foreign) == read(queues, url)
    assert queues.list_queue_tags(QueueUrl=foreign)["Tags"] == TAGS


class Terraform:
    """The program, in a folder of its own, with the provider from ``PLUGINS``."""

    def __init__(self, folder: Path, endpoint: str, name: str) -> None:
        shutil.copy(CONFIGURATION, folder)
        self._folder = folder
        self._variables = {"endpoint": endpoint, "name": name}
        self._logs = count(1)
        self("init", f"-plugin-dir={PLUGINS}", variables=False)

    def __call__(self, command: str, *arguments: str, variables: bool = True, expected: int = 0) -> None:
        given = [f"-var={name}={value}" for name, value in self._variables.items()] if variables else []
        env = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}
        log = self._folder / f"{next(self._logs)}-{command}.log"
        with log.open("wb") as output:
            ended = subprocess.run(
                ["terraform", *command.split("-"), "-no-color", *given, *arguments],
                cwd=self._folder, env=env, stdout=output, stderr=output, check=False,
            )  # fmt: skip
        assert ended.returncode == expected, log.read_text()

    def change(self, **variables: str) -> None:
        self._variables |= variables


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.skipif(not PLUGINS or shutil.which("terraform") is None, reason="no Terraform with a provider for AWS")
def test_terraform_itself(endpoint: str, name: str, tmp_path: Path) -> None:
    terraform = Terraform(tmp_path, endpoint, name)
    terraform("apply", "-auto-approve")
    terraform("plan", "-detailed-exitcode", expected=AS_BEFORE)
    terraform.change(visibility_timeout="60", team="b")
    terraform("plan", "-detailed-exitcode", expected=CHANGED)
    terraform("apply", "-auto-approve")
    terraform("plan", "-detailed-exitcode", expected=AS_BEFORE)
    terraform("state-rm", "aws_sqs_queue.ordered", variables=False)
    terraform("import", "aws_sqs_queue.ordered", f"{endpoint}/{ACCOUNT}/{name}.fifo")
    terraform("plan", "-detailed-exitcode", expected=AS_BEFORE)
    terraform("destroy", "-auto-approve")
