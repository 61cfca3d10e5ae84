package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of the HTTP server. Bodies and streams have their own in package httpapi.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// web is the HTTP server.
type web struct {
	server *http.Server
	done   chan struct{} // closed when the server serves no more; then failed tells why
	failed error
}

// listen opens the socket, so that its address is known before anything is served.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; stop what listens there or choose another address with --listen", address, err)
	}
	return l, nil
}

// serve serves the handler until stop. drain is called when stop begins.
func serve(l net.Listener, handler http.Handler, drain func(), logger *slog.Logger) *web {
	w := &web{done: make(chan struct{}), server: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return through(context.Background(), doorHTTP) },
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}}
	w.server.RegisterOnShutdown(drain)
	go func() {
		defer close(w.done)
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.failed = fmt.Errorf("serve HTTP: %w", err)
		}
	}()
	return w
}

// stop takes no more requests and finishes those in flight, until ctx ends; then it breaks them off.
func (w *web) stop(ctx context.Context) error {
	err := w.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were broken off: %w", err), w.server.Close())
	}
	<-w.done
	return errors.Join(err, w.failed)
}

// ignoreClosed passes over that the server has closed its socket already.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
