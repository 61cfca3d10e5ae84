// Package consumers shows in its example how another service orders an export by message, hears that it is completed, and loads its file.
package consumers
