// Decides about pods as a Kubernetes API server does. A JSON object on stdin holds `pod` and, for `admission mutate`, `policy`: the
// pod as the MutatingAdmissionPolicy leaves it is printed. `admission restricted` says what of the pod the restricted pod
// security standard forbids. `admission json` turns YAML documents on stdin into a JSON list.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/api/admissionregistration/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

type question struct {
	Policy *v1beta1.MutatingAdmissionPolicy `json:"policy"`
	Pod    *corev1.Pod                      `json:"pod"`
}

func main() {
	if err := answer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: admission mutate|restricted|json")
	}
	if os.Args[1] == "json" {
		return documents(os.Stdin)
	}
	var asked question
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	switch os.Args[1] {
	case "mutate":
		pod, err := mutate(context.Background(), asked.Policy, asked.Pod)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(pod)
	case "restricted":
		return restricted(asked.Pod)
	default:
		return fmt.Errorf("%s is unknown: mutate, restricted or json", os.Args[1])
	}
}

func documents(input io.Reader) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bufio.NewReader(input), 4096)
	found := []map[string]any{}
	for {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return json.NewEncoder(os.Stdout).Encode(found)
		}
		if err != nil {
			return err
		}
		if document != nil {
			found = append(found, document)
		}
	}
}
