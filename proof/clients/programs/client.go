// Go's own TLS and HTTP/2: asks for two pages, one of which the policy denies.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	for _, url := range os.Args[1:] {
		answer, err := http.Get(url)
		if err != nil {
			fmt.Println("error", err)
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		fmt.Println(answer.StatusCode, answer.Proto, string(body))
	}
}
