// Command bed starts and ends test beds: a Kubernetes control plane, fake
// nodes and an authorization server, as ordinary processes of this user.
//
// It is called by the script testbed, which builds it and all that it starts.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const usage = `usage: testbed up|down|status [--dir DIR]
       testbed start|stop|restart NAME [--dir DIR]
       testbed keycloak up|clients|initial-access-token [--dir DIR]
       testbed keycloak save|restore FILE [--dir DIR]`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var words []string
	dir := ""
	for i := 0; i < len(args); i++ {
		switch value, joined := strings.CutPrefix(args[i], "--dir="); {
		case joined:
			dir = value
		case args[i] == "--dir" && i+1 < len(args):
			i++
			dir = args[i]
		case strings.HasPrefix(args[i], "-"):
			return fmt.Errorf("unknown option %s\n%s", args[i], usage)
		default:
			words = append(words, args[i])
		}
	}
	if dir == "" {
		return errors.New("no --dir given")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}

	command := strings.Join(words, " ")
	switch {
	case command == "up":
		return up(ctx, dir)
	case command == "cluster":
		// For the script, which need not build what is not used.
		wanted, err := wantedSettings(dir)
		switch {
		case err != nil:
		case wanted.NoCluster:
			fmt.Println("none")
		case wanted.Kubeconfig == "":
			if value := os.Getenv("KUBECONFIG"); value != "" {
				say("KUBECONFIG=%s is not used", value)
			}
			fmt.Println("own")
		}
		return err
	case command == "down":
		return down(dir)
	case command == "status":
		return status(dir)
	case command == "keycloak up":
		return keycloakUp(ctx, dir)
	case command == "keycloak clients":
		return keycloakClients(ctx, dir)
	case command == "keycloak initial-access-token":
		return keycloakInitialAccessToken(ctx, dir)
	case len(words) == 3 && words[0] == "keycloak" && words[1] == "save":
		return keycloakSave(ctx, dir, words[2])
	case len(words) == 3 && words[0] == "keycloak" && words[1] == "restore":
		return keycloakRestore(ctx, dir, words[2])
	case len(words) == 2 && words[0] == "start":
		return startOne(ctx, dir, words[1])
	case len(words) == 2 && words[0] == "stop":
		return stopOne(dir, words[1])
	case len(words) == 2 && words[0] == "restart":
		if err := stopOne(dir, words[1]); err != nil {
			return err
		}
		return startOne(ctx, dir, words[1])
	}
	return fmt.Errorf("unknown command %q\n%s", command, usage)
}

// say reports progress, apart from the answers on standard output.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "testbed: "+format+"\n", args...)
}
