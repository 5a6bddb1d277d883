// A program as anybody writes it, with no word about proxies: GET of a URL, or POST of a file to it.
package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	method, body := http.MethodGet, []byte(nil)
	if len(os.Args) > 2 {
		method = http.MethodPost
		var err error
		if body, err = os.ReadFile(os.Args[2]); err != nil {
			log.Fatal(err)
		}
	}
	request, err := http.NewRequest(method, os.Args[1], bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		log.Fatal(answer.Status)
	}
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		log.Fatal(err)
	}
}
