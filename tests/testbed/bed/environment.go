package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// variable is one line of DIR/env.
type variable struct{ name, value string }

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]*$`)

// writeEnvironment writes what a shell can source, and others can split at
// "=": a value is quoted only when a shell would otherwise take it apart.
func writeEnvironment(dir string, variables []variable) error {
	return writeFile(filepath.Join(dir, "env"), []byte(lines(variables)))
}

func lines(variables []variable) string {
	var text strings.Builder
	for _, v := range variables {
		value := v.value
		if !plain.MatchString(value) {
			value = "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
		}
		fmt.Fprintf(&text, "%s=%s\n", v.name, value)
	}
	return text.String()
}

// addToEnvironment adds variables to an environment, or replaces them.
func addToEnvironment(dir string, variables []variable) error {
	path := filepath.Join(dir, "env")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var text strings.Builder
	for line := range strings.Lines(string(data)) {
		name, _, _ := strings.Cut(line, "=")
		if !slices.ContainsFunc(variables, func(v variable) bool { return v.name == name }) {
			text.WriteString(line)
		}
	}
	text.WriteString(lines(variables))
	return writeFile(path, []byte(text.String()))
}
