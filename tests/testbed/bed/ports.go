package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// given are the ports that this process gave to servers of its own.
var given = map[int]bool{}

// freePorts finds loopback ports that nobody listens on. They are below the
// range from which the kernel takes ports for outgoing connections: a server
// that is stopped for a while must find its port free when it comes back. None
// is given twice: what was given before may not listen yet.
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
		if given[port] {
			continue
		}
		given[port] = true
		if ports = append(ports, port); len(ports) == count {
			return ports, nil
		}
	}
	return nil, errors.New("no free loopback ports between 20000 and 32000")
}
