// Command gost is the part of gost that `make bench` needs: a SOCKS5 server, as gost itself puts it together for the
// command line `gost -L ADDRESS`. Its own command is no module with versions.
package main

import (
	"log"
	"os"

	_ "github.com/go-gost/x/handler/socks/v5"
	_ "github.com/go-gost/x/listener/tcp"

	gost "github.com/go-gost/x/config"
	"github.com/go-gost/x/config/cmd"
	"github.com/go-gost/x/config/loader"
	"github.com/go-gost/x/registry"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: gost socks5://ADDRESS:PORT")
	}
	config, err := cmd.BuildConfigFromCmd(os.Args[1:], nil)
	if err != nil {
		log.Fatal(err)
	}
	// As for all that are measured: no log of connections.
	config.Log = &gost.LogConfig{Output: "none"}
	if err := loader.Load(config); err != nil {
		log.Fatal(err)
	}
	for _, service := range registry.ServiceRegistry().GetAll() {
		log.Fatal(service.Serve())
	}
	log.Fatal("no service in ", os.Args[1])
}
