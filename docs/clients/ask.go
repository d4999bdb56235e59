// Asks a question about a document: ask HOST:PORT CA.PEM TOKEN-FILE DOCUMENT QUESTION
//
// Package pb is made from protos/guardedvlm/v1/guard.proto by protoc with --go_out and --go-grpc_out.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	pb "guardedvlm/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func main() {
	target, ca, tokenFile, document, question := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	authority, err := credentials.NewClientTLSFromFile(ca, "")
	if err != nil {
		log.Fatal(err)
	}
	connection, err := grpc.Dial(target, grpc.WithTransportCredentials(authority))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		log.Fatal(err)
	}
	content, err := os.ReadFile(document)
	if err != nil {
		log.Fatal(err)
	}
	background := metadata.AppendToOutgoingContext(
		context.Background(), "authorization", "Bearer "+strings.TrimSpace(string(token)))
	within, cancel := context.WithTimeout(background, 120*time.Second)
	defer cancel()
	found, err := pb.NewGuardServiceClient(connection).AnalyzeImage(within, &pb.AnalyzeImageRequest{
		RequestId: fmt.Sprintf("ask-%d", time.Now().UnixNano()), // the same one when the call is made again
		Document:  &pb.Document{Content: content},
		Query:     &pb.Query{Question: question},
	})
	if err != nil {
		// "RESIDUAL_FOUND: verification found ..."; the reason alone stands in ErrorInfo, in the status's details.
		refused := status.Convert(err)
		log.Fatalf("%s %s", refused.Code(), refused.Message())
	}
	fmt.Println(found.GetAnalysis().GetAnswer())
}
