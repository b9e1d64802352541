// The SDK for JavaScript, version 3, by itself: one message all its way, a batch, a FIFO queue, an error by its class. Prints what it
// saw, as JSON. The SDK checks the digests of what it sends and receives.

const {
  SQSClient, CreateQueueCommand, SendMessageCommand, SendMessageBatchCommand, ReceiveMessageCommand,
  ChangeMessageVisibilityCommand, DeleteMessageCommand, DeleteMessageBatchCommand, GetQueueUrlCommand, QueueDoesNotExist,
} = require("@aws-sdk/client-sqs");

const NAME = process.env.QUEUE;

async function main() {
  const sqs = new SQSClient({ endpoint: process.env.AWS_ENDPOINT_URL, region: "us-east-1" });
  const receive = (QueueUrl, more) => sqs.send(new ReceiveMessageCommand({ QueueUrl, WaitTimeSeconds: 5, ...more }));

  const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: NAME, tags: { team: "a" } }));
  const attributes = { raw: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) }, n: { DataType: "Number", StringValue: "7" } };
  const sent = await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: "é ✓", MessageAttributes: attributes }));
  const all = { MessageSystemAttributeNames: ["All"], MessageAttributeNames: ["All"] };
  const [first] = (await receive(QueueUrl, all)).Messages;
  await sqs.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: first.ReceiptHandle, VisibilityTimeout: 0 }));
  const [second] = (await receive(QueueUrl, all)).Messages;
  await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: second.ReceiptHandle }));

  const entries = [{ Id: "a", MessageBody: "x" }, { Id: "b", MessageBody: "y", DelaySeconds: 901 }];
  const batch = await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries: entries }));

  const fifo = { FifoQueue: "true", ContentBasedDeduplication: "true" };
  const ordered = (await sqs.send(new CreateQueueCommand({ QueueName: `${NAME}.fifo`, Attributes: fifo }))).QueueUrl;
  for (const body of ["1", "2", "2", "3"]) {
    await sqs.send(new SendMessageCommand({ QueueUrl: ordered, MessageBody: body, MessageGroupId: "g" }));
  }
  const inOrder = (await receive(ordered, { MaxNumberOfMessages: 10, ...all })).Messages;
  const done = inOrder.map((message, place) => ({ Id: String(place), ReceiptHandle: message.ReceiptHandle }));
  const deleted = await sqs.send(new DeleteMessageBatchCommand({ QueueUrl: ordered, Entries: done }));

  const missing = await sqs.send(new GetQueueUrlCommand({ QueueName: `${NAME}-none` })).catch((error) => error);
  console.log(JSON.stringify({
    sameId: sent.MessageId === first.MessageId,
    body: second.Body,
    raw: [...second.MessageAttributes.raw.BinaryValue],
    number: second.MessageAttributes.n.StringValue,
    receives: [first, second].map((message) => message.Attributes.ApproximateReceiveCount),
    batch: [batch.Successful.map((each) => each.Id), batch.Failed.map((each) => [each.Id, each.Code, each.SenderFault])],
    ordered: inOrder.map((message) => [message.Body, message.Attributes.MessageGroupId]),
    deleted: deleted.Successful.length,
    missing: [missing instanceof QueueDoesNotExist, missing.name, missing.$metadata.httpStatusCode],
  }));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
