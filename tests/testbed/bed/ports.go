package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// claimed holds the claims on ports that this process gave to servers of its own. They end with the process, when those
// servers listen by themselves.
var claimed []net.Listener

// freePorts finds loopback ports that nobody listens on. They are below the
// range from which the kernel takes ports for outgoing connections: a server
// that is stopped for a while must find its port free when it comes back. None
// is given twice, by this process or by another bed that starts at the same
// time: what was given before may not listen yet.
func freePorts(count int) ([]int, error) {
	const first, last = 20000, 32000
	var ports []int
	for range 1000 {
		port := first + rand.IntN(last-first)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		listener.Close()
		// A socket of a name alone, without a file: one process has it, as long as it lives.
		claim, err := net.Listen("unix", fmt.Sprintf("@oauthclient-testbed-port-%d", port))
		if err != nil {
			continue
		}
		claimed = append(claimed, claim)
		if ports = append(ports, port); len(ports) == count {
			return ports, nil
		}
	}
	return nil, errors.New("no free loopback ports between 20000 and 32000")
}
