// Says to echo.Echo what comes in, and prints what comes back. Arguments: its host and port, and `tls` where it has that.
//
// It finds the proxy by the variables, as gRPC-Go does by itself.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	by := insecure.NewCredentials()
	if len(os.Args) > 2 {
		by = credentials.NewTLS(nil)
	}
	client, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(by))
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	var said wrapperspb.StringValue
	err = client.Invoke(context.Background(), "/echo.Echo/Say", wrapperspb.String(string(text)), &said)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(said.GetValue())
}
