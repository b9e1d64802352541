// The SDK for JavaScript, version 3, and sqs-consumer, over the node at AWS_ENDPOINT_URL. Prints, as JSON, what was consumed.

const { SQSClient, CreateQueueCommand, GetQueueAttributesCommand, SendMessageBatchCommand } = require("@aws-sdk/client-sqs");
const { Consumer } = require("sqs-consumer");

const EXPECTED = 20;
const TIMEOUT = 60_000;

async function main() {
  const sqs = new SQSClient({ endpoint: process.env.AWS_ENDPOINT_URL, region: "us-east-1" });
  const QueueUrl = (await sqs.send(new CreateQueueCommand({ QueueName: process.env.QUEUE }))).QueueUrl;
  for (let batch = 0; batch < 2; batch += 1) {
    const Entries = Array.from({ length: 10 }, (_, place) => ({
      Id: String(place),
      MessageBody: String(batch * 10 + place),
      MessageAttributes: { kind: { DataType: "String", StringValue: "even" } },
    }));
    await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
  }
  const seen = [];
  let failed = 0;
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`only ${seen.length} came`)), TIMEOUT);
    const consumer = Consumer.create({
      queueUrl: QueueUrl,
      sqs,
      batchSize: 10,
      waitTimeSeconds: 5,
      visibilityTimeout: 30,
      heartbeatInterval: 10,
      terminateVisibilityTimeout: true,
      messageAttributeNames: ["All"],
      handleMessage: async (message) => {
        if (message.Body === "7" && failed === 0) {
          failed += 1;
          throw new Error("not yet");
        }
        seen.push(`${message.Body} ${message.MessageAttributes.kind.StringValue}`);
        return message; // what is returned is deleted
      },
    });
    consumer.on("error", reject);
    consumer.on("processing_error", () => {}); // it comes again
    consumer.on("response_processed", () => {
      if (seen.length >= EXPECTED) {
        clearTimeout(timer);
        consumer.stop();
        resolve();
      }
    });
    consumer.start();
  });
  const counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
  const left = (await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: counts }))).Attributes;
  console.log(JSON.stringify({ seen, failed, left }));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
