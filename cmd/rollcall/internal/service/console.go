package service

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/console"
	"rollcall/handlers/export"
)

// openConsole makes the web page.
func (s *Service) openConsole() (err error) {
	secret, _, err := s.linkKeys() // the one that instances share; the console derives a key of its own from it. Another master key ends sessions
	if err != nil {
		return err
	}
	s.console, err = console.New(console.Config{
		Queries: s.queries, Exports: s.exports, Tokens: s.tokens, Log: s.store, Audit: s.audit(), Ledger: proofs{s.ledger}, Erasures: s.erasures(), DeadLetters: s.intake,
		API:       func() http.Handler { return s.api },
		Condition: s.condition, Secret: secret,
		Secure: strings.HasPrefix(s.cfg.PublicURL, "https:"), Version: s.cfg.Version, Logger: s.logger,
	})
	return err
}

// ConsoleURL returns the address of the web page.
func (s *Service) ConsoleURL() string { return s.URL() + "/console/" }

// SignInURL returns a link that signs its visitor in to the web page as an operator, once, within ten minutes. Several instances behind one
// address do not know each other's links.
func (s *Service) SignInURL() string { return s.URL() + s.console.SignInPath(s.operatorToken) }

// condition tells how this instance is, as /readyz and the figures of /metrics do.
func (s *Service) condition(ctx context.Context) console.Condition {
	standing := s.observer.standing()
	c := console.Condition{
		Unready: noticeOf(standing.ready), Warnings: s.notices, Began: s.started, Now: time.Now(), Projections: s.followers(standing), Streams: streamsOf(standing),
		Waiting: standing.fullest, MaxWaiting: uint64(s.cfg.MaxWaiting), Exports: exportCounts(s.exports.Counts()), Running: s.exports.Running(),
	}
	if standing.log == nil {
		c.Position = uint64(standing.last)
	}
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	if _, checkpoint, err := s.ledger.Latest(ctx); err == nil { // without one nothing is signed
		c.Signed = checkpoint.Size
	}
	return c
}

func (s *Service) followers(standing standing) []console.Follower {
	all := make([]console.Follower, len(s.runners))
	for i, r := range s.runners {
		status, lag := r.Status(), standing.lags[i]
		all[i] = console.Follower{
			Name: status.Name, Position: uint64(status.Position), Behind: lag.events, Age: lag.age, AgeKnown: lag.known,
			Halted: noticeOf(status.Halted), Retrying: noticeOf(because("retrying", status.Retrying)), Leading: status.Leading,
		}
	}
	return all
}

// streamsOf returns the streams that answer, in the order in which they are looked at.
func streamsOf(standing standing) (all []console.Stream) {
	for _, name := range observedStreams() {
		state, ok := standing.streams[name]
		if !ok {
			continue
		}
		all = append(all, console.Stream{Name: name, Messages: state.Msgs, Bytes: state.Bytes, Oldest: oldestOf(state)})
	}
	return all
}

// oldestOf returns when the oldest message of a stream came in, zero when there is none.
func oldestOf(state jetstream.StreamState) time.Time {
	if state.Msgs == 0 {
		return time.Time{}
	}
	return state.FirstTime
}

// exportCounts returns how many exports have each status that there is.
func exportCounts(kinds map[export.Kind]int) (all []console.ExportCount) {
	counts := make(map[export.Status]int)
	for kind, n := range kinds {
		counts[kind.Status] += n
	}
	for status, n := range counts {
		all = append(all, console.ExportCount{Status: string(status), Count: n})
	}
	slices.SortFunc(all, func(a, b console.ExportCount) int { return cmp.Compare(a.Status, b.Status) })
	return all
}
