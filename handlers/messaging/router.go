package messaging

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
)

// RouterConfig tells how handlers are run.
type RouterConfig struct {
	// An error or a panic is tried again, in the place of the message, after RetryAfter, 1 s, which doubles up to MaxRetryAfter,
	// 1 min, for as long as Retry returns true; always when it is nil.
	RetryAfter, MaxRetryAfter time.Duration
	Retry                     func(error) bool
	// CloseTimeout is how long Close waits for handlers: 30 s. Longer than that of the subscribers.
	CloseTimeout time.Duration
	Logger       *slog.Logger
}

const (
	defaultRetryAfter    = time.Second
	defaultMaxRetryAfter = time.Minute
)

func (c *RouterConfig) setDefaults() {
	positive(&c.RetryAfter, defaultRetryAfter)
	positive(&c.MaxRetryAfter, defaultMaxRetryAfter)
}

// NewRouter returns a watermill router whose handlers survive a panic and are tried again in their place.
func NewRouter(cfg RouterConfig) (*message.Router, error) {
	cfg.setDefaults()
	logger := watermill.LoggerAdapter(watermill.NopLogger{})
	if cfg.Logger != nil {
		// What watermill tells at info is of interest to those who look for a fault in it.
		logger = watermill.NewSlogLoggerWithLevelMapping(cfg.Logger, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: cfg.CloseTimeout}, logger)
	if err != nil {
		return nil, fmt.Errorf("set up the router: %w", err)
	}
	retry := middleware.Retry{
		MaxRetries:          math.MaxInt32,
		InitialInterval:     cfg.RetryAfter,
		MaxInterval:         cfg.MaxRetryAfter,
		Multiplier:          2,
		ResetContextOnRetry: true,
		ShouldRetry: func(p middleware.RetryParams) bool {
			return cfg.Retry == nil || cfg.Retry(p.Err)
		},
		Logger: logger,
	}
	router.AddMiddleware(retry.Middleware, middleware.Recoverer)
	return router, nil
}
