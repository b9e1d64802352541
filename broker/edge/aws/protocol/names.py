"""Names of the query protocol for services whose models speak of JSON alone by now. Older SDKs go on speaking it.

Of SQS: as in the "API Reference" of the version 2012-11-05, which shows for each operation a query and its answer.
"""

from __future__ import annotations

from broker.edge.aws.models import QueryNames

_NAME_VALUE = ("Name", "Value")

QUERY_NAMES = {
    "sqs": QueryNames(
        namespace="http://queue.amazonaws.com/doc/2012-11-05/",
        members={
            "Attributes": "Attribute",
            "MessageAttributes": "MessageAttribute",
            "MessageSystemAttributes": "MessageSystemAttribute",
            "Tags": "Tag",
            "tags": "Tag",
        },
        elements={
            "AWSAccountIdList": "AWSAccountId",
            "ActionNameList": "ActionName",
            "AttributeNameList": "AttributeName",
            "BatchResultErrorEntryList": "BatchResultErrorEntry",
            "BinaryList": "BinaryListValue",
            "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
            "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
            "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
            "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
            "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
            "MessageAttributeNameList": "MessageAttributeName",
            "MessageList": "Message",
            "MessageSystemAttributeList": "MessageSystemAttributeName",
            "QueueUrlList": "QueueUrl",
            "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
            "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
            "StringList": "StringListValue",
            "TagKeyList": "TagKey",
        },
        entries={
            "MessageBodyAttributeMap": _NAME_VALUE,
            "MessageBodySystemAttributeMap": _NAME_VALUE,
            "MessageSystemAttributeMap": _NAME_VALUE,
            "QueueAttributeMap": _NAME_VALUE,
            "TagMap": ("Key", "Value"),
        },
    ),
}
