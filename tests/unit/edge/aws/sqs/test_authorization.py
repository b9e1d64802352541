"""Who may do what to which queue, and what those are told who may not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from broker.base.instants import SECOND
from broker.edge.aws.contract import Authorizing, AwsError, Caller, Context
from broker.edge.aws.models import load
from broker.edge.aws.protocol.names import QUERY_NAMES
from broker.edge.aws.sqs.authorization import NEVER_ACROSS_ACCOUNTS, NEVER_DENIED_TO_ROOT
from tests.unit.edge.aws.sqs.calling import ACCOUNT, BASE, REGION, Sqs, started
from tests.unit.services.running import soon

OTHER = "444455556666"
ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders"
URL = f"{BASE}/{ACCOUNT}/orders"


def root(account: str) -> Caller:
    return Caller(account, REGION, "AKIA", f"arn:aws:iam::{account}:root", account)


OWNER, STRANGER, NOBODY = root(ACCOUNT), root(OTHER), Caller("", REGION, anonymous=True)
CLERK = Caller(ACCOUNT, REGION, "AKIA", f"arn:aws:iam::{ACCOUNT}:user/clerk", "AIDACLERK")
ANN = Caller(OTHER, REGION, "AKIA", f"arn:aws:iam::{OTHER}:user/ann", "AIDAANN")


class Guarded:
    """A node that asks who may, with one queue; ``policy``: its statements, each allowing everybody everything but for
    what it says otherwise."""

    def __init__(self, sqs: Sqs) -> None:
        self.sqs = sqs
        self.service = sqs.service
        self.base_url = BASE
        self.source_ip = ""

    async def __call__(self, caller: Caller, operation: str, **given: Any) -> dict[str, Any]:
        """Refused by its authorization, or carried out. The queue is "orders" unless another one is named."""
        if not {"QueueUrl", "QueueName", "SourceArn", "TaskHandle"} & given.keys():
            given["QueueUrl"] = URL
        context = Context(caller, self.base_url, soon(self.sqs.cluster), "json", "request", self.source_ip)
        await self.service.authorize(context, operation, given)
        return await self.service.operations()[operation](context, given)

    async def may(self, caller: Caller, operation: str = "SendMessage", **given: Any) -> bool:
        if operation == "SendMessage":
            given.setdefault("MessageBody", "a book")
        try:
            await self(caller, operation, **given)
        except AwsError as error:
            if error.status == 403:
                return False
            raise
        return True

    async def refused(self, caller: Caller, operation: str, **given: Any) -> AwsError:
        with pytest.raises(AwsError) as caught:
            await self(caller, operation, **given)
        return caught.value

    async def set(self, *statements: dict[str, Any]) -> None:
        await self.sqs("SetQueueAttributes", QueueUrl=URL, Attributes={"Policy": policy(*statements)})


def policy(*statements: dict[str, Any]) -> str:
    every = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": ARN}
    merged = [every | statement for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": merged})


async def guarded(*statements: dict[str, Any]) -> Guarded:
    sqs = await started()
    await sqs.create(**{"Policy": policy(*statements)} if statements else {})
    return Guarded(sqs)


async def test_the_service_is_one_that_decides() -> None:
    assert isinstance((await started()).service, Authorizing)


async def test_without_a_policy_the_account_may_and_nobody_else() -> None:
    node = await guarded()
    assert [await node.may(caller) for caller in (OWNER, CLERK, STRANGER, ANN, NOBODY)] == [True, True] + [False] * 3


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        ({"AWS": OTHER}, {STRANGER, ANN}),
        ({"AWS": f"arn:aws:iam::{OTHER}:user/ann"}, {ANN}),
        ({"AWS": f"arn:aws:iam::{OTHER}:user/bob"}, set()),
        ({"Service": "sns.amazonaws.com"}, set()),
        ("*", {STRANGER, ANN, NOBODY}),
    ],
)
async def test_others_may_what_the_policy_allows_them(principal: Any, allowed: set[Caller]) -> None:
    node = await guarded({"Principal": principal})
    for caller in (STRANGER, ANN, NOBODY):
        assert await node.may(caller) is (caller in allowed)
    assert await node.may(OWNER)


async def test_a_deny_binds_the_account_too_and_wins() -> None:
    deny = {"Effect": "Deny", "Principal": {"AWS": CLERK.arn}, "Action": "sqs:SendMessage"}
    node = await guarded({}, deny)
    assert not await node.may(CLERK)
    assert await node.may(CLERK, "ReceiveMessage")
    assert await node.may(OWNER)
    assert await node.may(STRANGER)


async def test_a_policy_that_denies_everything_can_be_taken_away_by_the_root() -> None:
    node = await guarded({"Effect": "Deny"})
    assert not await node.may(OWNER)
    assert not await node.may(OWNER, "DeleteQueue")
    assert not await node.may(CLERK, "SetQueueAttributes", Attributes={"Policy": ""})
    assert {"GetQueueUrl", "GetQueueAttributes", "SetQueueAttributes"} == NEVER_DENIED_TO_ROOT
    await node(OWNER, "SetQueueAttributes", Attributes={"Policy": ""})
    assert await node.may(CLERK)


@pytest.mark.parametrize(
    ("operation", "action", "given"),
    [
        ("SendMessage", "SendMessage", {"MessageBody": "x"}),
        ("SendMessageBatch", "SendMessage", {"Entries": [{"Id": "a", "MessageBody": "x"}]}),
        ("ReceiveMessage", "ReceiveMessage", {}),
        ("DeleteMessageBatch", "DeleteMessage", {"Entries": [{"Id": "a", "ReceiptHandle": "x"}]}),
        (
            "ChangeMessageVisibilityBatch",
            "ChangeMessageVisibility",
            {"Entries": [{"Id": "a", "ReceiptHandle": "x", "VisibilityTimeout": 1}]},
        ),
        ("GetQueueAttributes", "GetQueueAttributes", {}),
        ("GetQueueUrl", "GetQueueUrl", {"QueueName": "orders", "QueueOwnerAWSAccountId": ACCOUNT}),
        ("PurgeQueue", "PurgeQueue", {}),
        ("ListDeadLetterSourceQueues", "ListDeadLetterSourceQueues", {}),
    ],
)
async def test_operations_have_their_names_in_policies(operation: str, action: str, given: dict[str, Any]) -> None:
    node = await guarded({"Action": f"SQS:{action}"})
    assert await node.may(STRANGER, operation, **given)

    await node.set({"Action": "sqs:*"}, {"Effect": "Deny", "Action": f"sqs:{action.lower()}"})
    assert not await node.may(STRANGER, operation, **given)


async def test_what_is_never_done_across_accounts() -> None:
    node = await guarded({"Action": "*"})
    task = {"SourceArn": ARN}
    given: dict[str, dict[str, Any]] = {
        "AddPermission": {"Label": "x", "AWSAccountIds": [OTHER], "Actions": ["SendMessage"]},
        "DeleteQueue": {},
        "ListMessageMoveTasks": task,
        "ListQueueTags": {},
        "RemovePermission": {"Label": "x"},
        "SetQueueAttributes": {"Attributes": {"DelaySeconds": "5"}},
        "StartMessageMoveTask": task,
        "TagQueue": {"Tags": {"a": "b"}},
        "UntagQueue": {"TagKeys": ["a"]},
    }
    for operation, members in given.items():
        error = await node.refused(STRANGER, operation, **members)
        assert (error.query_code, error.status) == ("AccessDenied", 403)
        assert f"perform: sqs:{operation.lower()} on resource: {ARN} because" in error.message
    named_nothing = {"CancelMessageMoveTask", "CreateQueue", "ListQueues"}
    assert given.keys() | named_nothing == NEVER_ACROSS_ACCOUNTS
    assert not any(node.service.takes_anonymous(operation) for operation in NEVER_ACROSS_ACCOUNTS)
    assert node.service.takes_anonymous("SendMessage")


async def test_every_operation_that_names_a_queue_of_another_account_asks_its_policy() -> None:
    node = await guarded()
    for name, operation in load("sqs", QUERY_NAMES["sqs"]).operations.items():
        if "QueueUrl" in operation.input.members:
            assert (await node.refused(STRANGER, name)).query_code == "AccessDenied", name


async def test_creating_and_listing_are_everybodys_own() -> None:
    node = await guarded({"Effect": "Deny"})
    created = await node(STRANGER, "CreateQueue", QueueName="orders")
    assert created == {"QueueUrl": f"{BASE}/{OTHER}/orders"}
    assert await node(STRANGER, "ListQueues", QueueUrl="") == {"QueueUrls": [created["QueueUrl"]]}


async def test_a_url_of_another_accounts_queue_reaches_that_queue() -> None:
    node = await guarded({"Principal": {"AWS": OTHER}})
    await node(STRANGER, "CreateQueue", QueueName="orders")
    found = await node(STRANGER, "GetQueueUrl", QueueName="orders", QueueOwnerAWSAccountId=ACCOUNT)
    await node(STRANGER, "SendMessage", MessageBody="from afar", **found)
    received = await node(OWNER, "ReceiveMessage")
    assert [message["Body"] for message in received["Messages"]] == ["from afar"]
    assert await node(STRANGER, "ReceiveMessage", QueueUrl=f"{BASE}/{OTHER}/orders") == {}


@pytest.mark.parametrize(
    ("condition", "base_url", "caller", "holds"),
    [
        ({"Bool": {"aws:SecureTransport": "true"}}, "https://queues", STRANGER, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, "http://queues", STRANGER, False),
        ({"StringEquals": {"aws:PrincipalAccount": OTHER}}, BASE, STRANGER, True),
        ({"StringEquals": {"aws:PrincipalAccount": OTHER}}, BASE, NOBODY, False),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{OTHER}:user/*"}}, BASE, ANN, True),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{OTHER}:user/*"}}, BASE, STRANGER, False),
        ({"StringEquals": {"aws:PrincipalType": "User", "aws:username": "ann"}}, BASE, ANN, True),
        ({"StringEquals": {"aws:userid": "AIDAANN"}}, BASE, ANN, True),
        ({"StringEquals": {"aws:PrincipalType": "Account", "aws:userid": OTHER}}, BASE, STRANGER, True),
        ({"Null": {"aws:username": "true"}}, BASE, STRANGER, True),
        ({"StringEquals": {"aws:PrincipalType": "Anonymous"}, "Null": {"aws:userid": "true"}}, BASE, NOBODY, True),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:*"}}, BASE, STRANGER, False),
        ({"StringEquals": {"aws:SourceAccount": OTHER}}, BASE, STRANGER, False),
        ({"StringEquals": {"aws:RequestedRegion": REGION, "aws:ResourceAccount": ACCOUNT}}, BASE, STRANGER, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2023-11-14T22:13:19Z"}}, BASE, STRANGER, True),
        ({"DateLessThan": {"aws:CurrentTime": "2023-11-14T22:13:23Z"}}, BASE, STRANGER, True),
        ({"DateLessThan": {"aws:CurrentTime": "2023-11-14T22:13:19Z"}}, BASE, STRANGER, False),
        ({"NumericGreaterThan": {"aws:EpochTime": 1_699_999_999}}, BASE, STRANGER, True),
        ({"NumericLessThan": {"aws:EpochTime": 1_699_999_999}}, BASE, STRANGER, False),
    ],
)
async def test_conditions(condition: dict[str, Any], base_url: str, caller: Caller, holds: bool) -> None:
    node = await guarded({"Condition": condition})
    node.base_url = base_url
    assert await node.may(caller) is holds


@pytest.mark.parametrize(
    ("source_ip", "holds"), [("203.0.113.7", True), ("::ffff:203.0.113.7", True), ("203.0.114.7", False), ("", False)]
)
async def test_the_address_of_the_caller(source_ip: str, holds: bool) -> None:
    node = await guarded({"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}})
    node.source_ip = source_ip
    assert await node.may(STRANGER) is holds


async def test_who_may_not_is_told_as_aws_does() -> None:
    node = await guarded({"Effect": "Deny", "Principal": {"AWS": CLERK.arn}})
    entries = [{"Id": "a", "MessageBody": "x"}]
    by_others = await node.refused(ANN, "SendMessageBatch", Entries=entries)
    by_nobody = await node.refused(NOBODY, "ReceiveMessage")
    by_clerk = await node.refused(CLERK, "SendMessage", MessageBody="x")

    for error in (by_others, by_nobody, by_clerk):
        assert (error.code, error.query_code, error.status) == ("AccessDeniedException", "AccessDenied", 403)
    assert by_others.message == (
        f"User: {ANN.arn} is not authorized to perform: sqs:sendmessage on resource: {ARN} because no resource-based "
        "policy allows the sqs:sendmessage action"
    )
    assert by_nobody.message == (
        f"User: anonymous is not authorized to perform: sqs:receivemessage on resource: {ARN} because no "
        "resource-based policy allows the sqs:receivemessage action"
    )
    assert by_clerk.message == (
        f"User: {CLERK.arn} is not authorized to perform: sqs:sendmessage on resource: {ARN} with an explicit deny in "
        "a resource-based policy"
    )


async def test_others_do_not_learn_whether_a_queue_exists() -> None:
    node = await guarded({"Effect": "Deny"})
    told = set()
    for name in ("orders", "missing", "no name!", "x" * 200):
        for operation, given in (
            ("SendMessage", {"QueueUrl": f"{BASE}/{ACCOUNT}/{name}", "MessageBody": "x"}),
            ("GetQueueUrl", {"QueueName": name, "QueueOwnerAWSAccountId": ACCOUNT}),
        ):
            error = await node.refused(STRANGER, operation, **given)
            told.add((error.code, error.status, error.message.replace(name, "NAME").replace(operation.lower(), "OP")))
    assert len(told) == 1
    assert (await node.refused(OWNER, "GetQueueUrl", QueueName="missing")).code == "QueueDoesNotExist"


async def test_nobody_has_no_queues() -> None:
    node = await guarded({})
    error = await node.refused(NOBODY, "GetQueueUrl", QueueName="orders")
    assert (error.query_code, error.status) == ("AccessDenied", 403)


async def test_a_change_counts_here_at_once_and_elsewhere_within_five_seconds() -> None:
    node, given = await guarded(), {"Label": "all", "AWSAccountIds": [OTHER], "Actions": ["SendMessage"]}
    elsewhere = Guarded(node.sqs.elsewhere())
    assert not await node.may(STRANGER)
    assert not await elsewhere.may(STRANGER)

    await node(OWNER, "AddPermission", **given)
    assert await node.may(STRANGER)
    assert not await elsewhere.may(STRANGER)
    node.sqs.cluster.clock.advance(5 * SECOND)
    assert await elsewhere.may(STRANGER)

    await node(OWNER, "RemovePermission", Label="all")
    assert not await node.may(STRANGER)


async def test_a_queue_made_anew_has_no_policy_of_the_one_before() -> None:
    node = await guarded({})
    assert await node.may(STRANGER)
    await node(OWNER, "DeleteQueue")
    assert not await node.may(STRANGER)
    await node(OWNER, "CreateQueue", QueueName="orders", Attributes={"Policy": policy({})})
    assert await node.may(STRANGER)


async def test_a_policy_that_cannot_be_read_lets_nobody_pass() -> None:
    node = await guarded({})
    node.sqs.cluster.elect(0, None)
    node.sqs.cluster.clock.watchers.clear()
    context = Context(OWNER, BASE, node.sqs.queues.clock.monotonic(), "json", "request")
    with pytest.raises(AwsError) as caught:
        await node.service.authorize(context, "SendMessage", {"QueueUrl": URL})
    assert (caught.value.code, caught.value.status) == ("ServiceUnavailable", 503)


async def test_moving_dead_letters_takes_what_it_does_to_both_queues() -> None:
    node = await guarded()
    other = ARN.replace("orders", "other")
    await node(OWNER, "CreateQueue", QueueName="other")
    started_as = {"SourceArn": ARN, "DestinationArn": other}
    for statement in ({"Action": "sqs:ReceiveMessage"}, {"Action": "sqs:StartMessageMoveTask"}):
        await node.set({"Effect": "Deny", **statement})
        assert not await node.may(OWNER, "StartMessageMoveTask", **started_as)
    await node.set({})
    denied = {"Effect": "Deny", "Action": "sqs:SendMessage", "Resource": other}
    await node(
        OWNER, "SetQueueAttributes", QueueUrl=URL.replace("orders", "other"), Attributes={"Policy": policy(denied)}
    )
    assert not await node.may(OWNER, "StartMessageMoveTask", **started_as)


async def test_the_callers_own_queue_needs_no_question_while_its_policy_is_known() -> None:
    node = await guarded()
    await node.may(OWNER)
    node.sqs.cluster.elect(0, None)
    context = Context(msgspec.structs.replace(OWNER), BASE, soon(node.sqs.cluster), "json", "request")
    await node.service.authorize(context, "SendMessage", {"QueueUrl": URL})
