package service

import (
	"context"
	"errors"

	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/handlers/command"
	"rollcall/handlers/erasure"
	"rollcall/handlers/intake"
	"rollcall/handlers/messaging"
)

// openIntake opens what commands come in by, and the use cases behind it.
func (s *Service) openIntake(ctx context.Context) error {
	observe := func(ctx context.Context, o command.Observation) {
		s.metrics.command(ctx, o)
		s.writes.command(ctx, o)
	}
	s.commands = command.New(s.metrics.store(s.cfg.Tracing.Store(s.store)), s.codec, s.keys, command.Options{Observe: observe})
	s.queries = s.reads()
	_, err := patiently(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, messaging.OpenCommands(ctx, s.js, s.cfg.Replicas, s.cfg.MaxWaiting)
	})
	if err != nil {
		return err
	}
	outcomes, err := patiently(ctx, func(ctx context.Context) (*messaging.Outcomes, error) {
		return messaging.OpenOutcomes(ctx, s.js, s.cfg.Replicas)
	})
	if err != nil {
		return err
	}
	s.closing("outcomes", func() error { outcomes.Close(); return nil })
	s.dead, err = patiently(ctx, func(ctx context.Context) (*messaging.DeadLetters, error) {
		return messaging.OpenDeadLetters(ctx, s.js, s.cfg.Replicas)
	})
	if err != nil {
		return err
	}
	s.intake, err = intake.New(intake.Config{
		Commands: s.commands, Exports: s.exports, Senders: s.tokens, Outcomes: outcomes, DeadLetters: s.dead, Log: s.store, Wrote: s.queries.Wrote,
	})
	return err
}

// runIntake begins to take commands and requests in from NATS, and to decide them.
func (s *Service) runIntake() error {
	s.run("the worker of commands", s.asOne("commands", func(ctx context.Context) error {
		return messaging.RunCommands(ctx, s.js, messaging.CommandsConfig{
			Decide: s.metrics.decided(s.cfg.Tracing.Decide(s.intake.Decide)), Bury: s.metrics.bury(s.intake.Bury), Buried: s.intake.Buried,
			DeadLetters: s.dead, Logger: s.logger,
		})
	}))
	s.run("the removal of consumers of revoked tokens", s.removeConsumers)
	s.run("the look at decided commands", s.watchDecided)
	s.run("forgetting of accounts that are not used", s.commands.Run)
	if s.doorConn == nil {
		return nil
	}
	identify := identify(s.tokens)
	ingress, err := messaging.NewIngress(s.doorConn, s.js, messaging.IngressConfig{Identify: identify, Observe: s.metrics.takenIn, Logger: s.logger})
	if err != nil {
		return err
	}
	requests, err := messaging.NewRPC(s.doorConn, messaging.RPCConfig{
		Commands: s.commands, Queries: s.queries, Consumers: s.consumers, Identify: identify, Version: s.cfg.Version, Logger: s.logger,
		NewID: func() string { return ulid.Make().String() }, Observe: s.observeRequest,
	})
	if err != nil {
		return err
	}
	s.run("the intake of commands", ingress.Run)
	s.run("requests over NATS", requests.Run)
	if s.doorConn != s.conn {
		s.run("questions for outcomes over NATS", func(ctx context.Context) error {
			return messaging.RelayOutcomes(ctx, s.doorConn, s.conn, s.logger)
		})
	}
	return nil
}

// observeRequest times and traces a request over NATS.
func (s *Service) observeRequest(ctx context.Context, verb, traceParent string) (context.Context, string, func(domain.Code)) {
	ctx, timed := s.metrics.request(ctx, verb)
	ctx, traceParent, traced := s.cfg.Tracing.Request(ctx, verb, traceParent)
	return ctx, traceParent, func(code domain.Code) {
		traced(code)
		timed(code)
	}
}

// deadLetterForgetter has the dead letters removed that may hold a deleted account. Intake is opened after erasure, and before it runs.
type deadLetterForgetter struct{ service *Service }

// Forget implements erasure.Forgetter.
func (f deadLetterForgetter) Forget(ctx context.Context, accounts []erasure.Erased) error {
	deletions := make(map[domain.AppID][]intake.Deletion)
	for _, a := range accounts {
		app := domain.AppID(a.App)
		deletions[app] = append(deletions[app], intake.Deletion{User: domain.UserID(a.UserID), At: a.Deletion.Recorded})
	}
	var errs []error
	for app, d := range deletions {
		errs = append(errs, f.service.intake.Forget(ctx, app, d...))
	}
	return errors.Join(errs...)
}
