package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
)

// ErrPoison marks the error of a message that can never be handled, however often it is tried.
// Handlers wrap it.
var ErrPoison = errors.New("the message can never be handled")

// RouterConfig tells how handlers are run.
type RouterConfig struct {
	// Poison, if set, gets the messages that can never be handled: those whose handler returned ErrPoison
	// or panicked. They are published on PoisonSubject with the reason in their metadata and count as handled. A
	// duplicate there must not be an error: see PublisherConfig.DropDuplicates.
	Poison        message.Publisher
	PoisonSubject string
	// Any other error is tried again in the lane of the message after RetryAfter, 1 s, which doubles up to MaxRetryAfter,
	// 1 min, for as long as Retry returns true; always when it is nil.
	RetryAfter, MaxRetryAfter time.Duration
	Retry                     func(error) bool
	// CloseTimeout is how long Close waits for handlers: 30 s. Longer than that of the subscribers.
	CloseTimeout time.Duration
	Logger       *slog.Logger
}

// NewRouter returns a watermill router whose handlers survive a panic, are tried again in their lane
// and give up messages that are poison. An error that comes from the end of a context
// never makes a message poison.
func NewRouter(cfg RouterConfig) (*message.Router, error) {
	positive(&cfg.RetryAfter, time.Second)
	positive(&cfg.MaxRetryAfter, time.Minute)
	logger := watermill.LoggerAdapter(watermill.NopLogger{})
	if cfg.Logger != nil {
		// What watermill tells at info is of interest to those who look for a fault in it.
		logger = watermill.NewSlogLoggerWithLevelMapping(cfg.Logger, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: cfg.CloseTimeout}, logger)
	if err != nil {
		return nil, fmt.Errorf("set up the router: %w", err)
	}
	if cfg.Poison != nil {
		poison, err := middleware.PoisonQueueWithFilter(cfg.Poison, cfg.PoisonSubject, isPoison)
		if err != nil {
			return nil, fmt.Errorf("set up the router: %w", err)
		}
		router.AddMiddleware(poison)
	}
	retry := middleware.Retry{
		MaxRetries:          math.MaxInt32,
		InitialInterval:     cfg.RetryAfter,
		MaxInterval:         cfg.MaxRetryAfter,
		Multiplier:          2,
		ResetContextOnRetry: true,
		ShouldRetry: func(p middleware.RetryParams) bool {
			return !isPoison(p.Err) && (cfg.Retry == nil || cfg.Retry(p.Err))
		},
		Logger: logger,
	}
	router.AddMiddleware(retry.Middleware, middleware.Recoverer)
	return router, nil
}

// isPoison tells whether an error is about the message rather than about the
// circumstances.
func isPoison(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var panicked middleware.RecoveredPanicError
	return errors.Is(err, ErrPoison) || errors.As(err, &panicked)
}
