// Package consoletest tests the console as people meet it: a real service, a real Chromium, every flow in both languages, with axe looking for what
// keeps anybody out. It holds tests alone.
//
// Screenshots of each page are kept with go test -artifacts.
package consoletest
