// The SDK for Go, version 2: one message all its way, a batch, an error by its type. Prints what it saw, as JSON. Debian's release of the
// SDK is of the time when it spoke the query protocol with SQS.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func must[T any](answer T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return answer
}

func main() {
	ctx, name := context.Background(), os.Getenv("QUEUE")
	client := sqs.New(sqs.Options{
		Region:           "us-east-1",
		Credentials:      credentials.NewStaticCredentialsProvider("test", "test", ""),
		EndpointResolver: sqs.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL")),
	})
	url := must(client.CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName:  &name,
		Attributes: map[string]string{"VisibilityTimeout": "40"},
		Tags:       map[string]string{"team": "a"},
	})).QueueUrl
	all := []types.QueueAttributeName{types.QueueAttributeNameAll}
	attributes := must(client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: all}))
	tags := must(client.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: url}))
	raw := types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}}
	must(client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl:          url,
		MessageBody:       aws.String("é & ✓"),
		MessageAttributes: map[string]types.MessageAttributeValue{"raw": raw},
	}))
	received := must(client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:              url,
		WaitTimeSeconds:       5,
		AttributeNames:        all,
		MessageAttributeNames: []string{"All"},
	})).Messages[0]
	must(client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: received.ReceiptHandle}))
	batch := must(client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{
		QueueUrl: url,
		Entries: []types.SendMessageBatchRequestEntry{
			{Id: aws.String("a"), MessageBody: aws.String("x")},
			{Id: aws.String("b"), MessageBody: aws.String("y"), DelaySeconds: 901},
		},
	}))
	_, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(name + "-none")})
	var missing *types.QueueDoesNotExist
	told := must(json.Marshal(map[string]any{
		"visibility": attributes.Attributes["VisibilityTimeout"],
		"tags":       tags.Tags,
		"body":       received.Body,
		"raw":        received.MessageAttributes["raw"].BinaryValue,
		"receives":   received.Attributes["ApproximateReceiveCount"],
		"batch":      []any{batch.Successful[0].Id, batch.Failed[0].Id, batch.Failed[0].Code, batch.Failed[0].SenderFault},
		"missing":    errors.As(err, &missing),
	}))
	fmt.Println(string(told))
}
