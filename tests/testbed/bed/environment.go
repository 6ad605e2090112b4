package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// variable is one line of DIR/env.
type variable struct{ name, value string }

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]*$`)

// writeEnvironment writes what a shell can source, and others can split at
// "=": a value is quoted only when a shell would otherwise take it apart.
func writeEnvironment(dir string, variables []variable) error {
	var text strings.Builder
	for _, v := range variables {
		value := v.value
		if !plain.MatchString(value) {
			value = "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
		}
		fmt.Fprintf(&text, "%s=%s\n", v.name, value)
	}
	return writeFile(filepath.Join(dir, "env"), []byte(text.String()))
}
