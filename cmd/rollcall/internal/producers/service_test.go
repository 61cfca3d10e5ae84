package producers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
)

// patience bounds an example.
const patience = 30 * time.Second

// against runs an example against a new service with the application demo. It hands it the address that NATS clients connect to and
// the secret of a producer's token, which otherwise bin/rollcall tokens create --role producer tells.
func against(send func(ctx context.Context, url, token string) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := serve(ctx, send); err != nil {
		fmt.Println(err) // which no example expects
	}
}

func serve(ctx context.Context, send func(ctx context.Context, url, token string) error) (err error) {
	data, err := os.MkdirTemp("", "rollcall-example-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	s, err := service.Start(ctx, service.Config{Data: data, Listen: "127.0.0.1:0", NATSListen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop(context.WithoutCancel(ctx))) }()
	token, err := producerToken(ctx, s)
	if err != nil {
		return err
	}
	return send(ctx, s.NATSURL(), token)
}

func producerToken(ctx context.Context, s *service.Service) (string, error) {
	api, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		return "", err
	}
	defer api.Close()
	if _, err := api.CreateApp(ctx, client.AppChange{App: "demo"}); err != nil {
		return "", fmt.Errorf("create the application: %w", err)
	}
	token, err := api.CreateToken(ctx, "orders", "producer", "demo")
	return token.Secret, err
}
