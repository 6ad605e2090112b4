// Command schemas writes the JSON schemas that kubeconform checks by: one file for each kind, with nothing left to refer
// to, that refuses members it does not know.
//
//	schemas DIR swagger.json
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type object = map[string]any

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: schemas DIR swagger.json")
	}
	written, err := write(os.Args[1], os.Args[2])
	if err != nil {
		log.Fatalf("schemas of %s: %v", os.Args[2], err)
	}
	fmt.Printf("schemas: %d in %s\n", written, os.Args[1])
}

// write writes the kinds of a Kubernetes version, from its OpenAPI document.
func write(dir, file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var document struct{ Definitions map[string]object }
	if err := json.Unmarshal(text, &document); err != nil {
		return 0, err
	}
	written := 0
	for name, definition := range document.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		// Options are of every group's versions, and no object that is applied.
		if len(kinds) != 1 {
			continue
		}
		kind := kinds[0].(object)
		whole := resolved(document.Definitions, name, nil)
		if err := put(dir, kind["group"].(string), kind["version"].(string), kind["kind"].(string), whole); err != nil {
			return 0, err
		}
		written++
	}
	return written, nil
}

// put writes one kind under the name by which kubeconform asks for it.
func put(dir, group, version, kind string, schema any) error {
	name := strings.ToLower(kind)
	if first, _, _ := strings.Cut(group, "."); first != "" {
		name += "-" + first
	}
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+"-"+version+".json"), text, 0o644)
}

// resolved is a definition with those that it refers to in it, which refuses members that it does not name, wherever it
// names any. One that is within itself takes anything there.
func resolved(all map[string]object, name string, within []string) any {
	if slices.Contains(within, name) {
		return object{}
	}
	if strings.HasSuffix(name, "util.intstr.IntOrString") {
		return object{"type": []any{"string", "integer"}}
	}
	if strings.HasSuffix(name, "api.resource.Quantity") {
		return object{"type": []any{"string", "number"}}
	}
	within = append(slices.Clone(within), name)
	var walk func(any) any
	walk = func(value any) any {
		switch value := value.(type) {
		case object:
			if ref, ok := value["$ref"].(string); ok {
				return resolved(all, strings.TrimPrefix(ref, "#/definitions/"), within)
			}
			out := object{}
			for key, member := range value {
				out[key] = walk(member)
			}
			_, named := out["properties"].(object)
			_, open := out["additionalProperties"]
			if named && !open {
				out["additionalProperties"] = false
			}
			return out
		case []any:
			out := make([]any, len(value))
			for i, member := range value {
				out[i] = walk(member)
			}
			return out
		default:
			return value
		}
	}
	return walk(all[name])
}
