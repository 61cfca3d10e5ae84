package consumers_test

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

// against runs an example against a new service whose application demo has three accounts. It hands it the address that NATS clients
// connect to, the secret of an exporter's token, which otherwise bin/rollcall tokens create --role exporter tells, and a folder.
func against(consume func(ctx context.Context, url, token, folder string) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := serve(ctx, consume); err != nil {
		fmt.Println(err) // which no example expects
	}
}

func serve(ctx context.Context, consume func(ctx context.Context, url, token, folder string) error) (err error) {
	folder, err := os.MkdirTemp("", "rollcall-example-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	s, err := service.Start(ctx, service.Config{Data: folder + "/data", Listen: "127.0.0.1:0", NATSListen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop(context.WithoutCancel(ctx))) }()
	api, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		return err
	}
	defer api.Close()
	if _, err := api.CreateApp(ctx, client.AppChange{App: "demo"}); err != nil {
		return fmt.Errorf("create the application: %w", err)
	}
	for id, nickname := range map[string]string{"sora": "소라", "haru": "하루", "li.na": "李娜"} {
		if _, err := api.CreateAccount(ctx, "demo", map[string]any{"user_id": id, "nickname": nickname}); err != nil {
			return err
		}
	}
	token, err := api.CreateToken(ctx, "warehouse", "exporter", "demo")
	if err != nil {
		return err
	}
	return consume(ctx, s.NATSURL(), token.Secret, folder)
}
