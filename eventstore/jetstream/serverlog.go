package jetstream

import (
	"fmt"
	"log/slog"
	"sync"
)

// serverLog writes the log of the server with slog. What the server tells in its ordinary work, its banner
// first of all, is for debugging: the service has a log of its own.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	last  string // the latest error
	fatal bool   // the server cannot go on
}

// Noticef logs at debug level.
func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// Warnf logs a warning.
func (l *serverLog) Warnf(format string, v ...any) { l.log.Warn(fmt.Sprintf(format, v...)) }

// Errorf logs an error.
func (l *serverLog) Errorf(format string, v ...any) { l.error(fmt.Sprintf(format, v...), false) }

// Fatalf logs an error that the server cannot go on after. It does not end the process.
func (l *serverLog) Fatalf(format string, v ...any) { l.error(fmt.Sprintf(format, v...), true) }

// Debugf logs at debug level.
func (l *serverLog) Debugf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// Tracef drops what the server would trace: the text of messages and of credentials.
func (l *serverLog) Tracef(string, ...any) {}

func (l *serverLog) error(text string, fatal bool) {
	l.mu.Lock()
	l.last, l.fatal = text, l.fatal || fatal
	l.mu.Unlock()
	l.log.Error(text)
}

func (l *serverLog) lastError() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *serverLog) isFatal() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
