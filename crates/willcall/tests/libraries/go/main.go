// Verifies a call with the code of docs/receiving.md: JSON in, one line out.
package main

import (
	"encoding/json"
	"net/http"
	"os"
)

func main() {
	var given struct {
		Headers map[string]string
		Body    string
		Secrets struct{ Standard string }
	}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		panic(err)
	}
	header := http.Header{}
	for name, value := range given.Headers {
		header.Set(name, value)
	}
	verified := []bool{
		IsSigned(header, []byte(given.Body), given.Secrets.Standard),
		IsSigned(header, []byte(given.Body+" "), given.Secrets.Standard),
	}
	if err := json.NewEncoder(os.Stdout).Encode(verified); err != nil {
		panic(err)
	}
}
