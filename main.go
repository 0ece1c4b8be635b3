// Command tlsctl is the mutual-TLS lab and connection doctor: it makes certificates, runs test servers, sends payloads
// and explains why a connection fails.
package main

import (
	"os"

	"github.com/tlsctl/tlsctl/commands"
)

func main() {
	os.Exit(commands.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
