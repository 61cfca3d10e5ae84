// Package freeport chooses ports of loopback for servers that must know theirs, or each other's, before they start, and for
// those that start again on theirs.
//
// It owns nothing: a port is free when it is chosen, and stays so as far as chance allows.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Ports are chosen from lowest to highest. These are below what the usual systems give a connection or a listener that asks for
// any port, so that none of those takes the port of a server that is stopped for a moment.
const (
	lowest  = 12_000
	highest = 32_000
)

// Choose returns n different ports of 127.0.0.1 that nobody listens on, at random. It is safe for concurrent use; those of two calls
// differ in all likelihood, and surely only while both are in use.
func Choose(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range highest - lowest {
		if len(ports) == n {
			return ports, nil
		}
		port := lowest + rand.IntN(highest-lowest)
		l, err := net.Listen("tcp", Address(port))
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			continue
		case err != nil:
			return nil, fmt.Errorf("choose a port: %w", err)
		}
		defer l.Close() // all stay taken until all are chosen
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("choose a port: none of %d to %d is free", lowest, highest)
}

// Address returns the address of a port of loopback.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
