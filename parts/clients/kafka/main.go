// Serves Kafka's protocol at 127.0.0.1:9092 as one broker, with a topic `orders`.
//
// The argument is where the broker tells its clients to come: what Kafka calls `advertised.listeners`.
package main

import (
	"log"
	"net"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"
)

// advertised is a listener that gives itself out for another address.
type advertised struct {
	net.Listener
	address net.Addr
}

func (listener advertised) Addr() net.Addr { return listener.address }

// named is an address that may be a name.
type named string

func (named) Network() string        { return "tcp" }
func (address named) String() string { return string(address) }

func main() {
	address := named(os.Args[1])
	listen := func(_, _ string) (net.Listener, error) {
		listener, err := net.Listen("tcp", "127.0.0.1:9092")
		return advertised{listener, address}, err
	}
	_, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.ListenFn(listen))
	if err != nil {
		log.Fatal(err)
	}
	select {}
}
