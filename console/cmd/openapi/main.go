// Command openapi writes the description of the console's API to standard output. `go generate ./...` in the module's top
// folder keeps openapi.json current, and a test holds it.
package main

import (
	"fmt"
	"os"

	"github.com/leastwise/leastwise/console/api"
)

func main() {
	text, err := api.OpenAPI()
	if err == nil {
		_, err = os.Stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}
