// Package producers shows in its examples how another service sends commands: with nats.go alone, and with watermill.
package producers
