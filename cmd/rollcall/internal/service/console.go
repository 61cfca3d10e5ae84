package service

import (
	"strings"

	"rollcall/handlers/console"
)

// openConsole makes the web page.
func (s *Service) openConsole() (err error) {
	secret, _, err := s.linkKeys() // the one that instances share; the console derives a key of its own from it. Another master key ends sessions
	if err != nil {
		return err
	}
	s.console, err = console.New(console.Config{
		Queries: s.queries, Exports: s.exports, Tokens: s.tokens, Log: s.store, Secret: secret,
		Secure: strings.HasPrefix(s.cfg.PublicURL, "https:"), Version: s.cfg.Version, Logger: s.logger,
	})
	return err
}

// ConsoleURL returns the address of the web page.
func (s *Service) ConsoleURL() string { return s.URL() + "/console/" }

// SignInURL returns a link that signs its visitor in to the web page as an operator, once, within ten minutes. Several instances behind one
// address do not know each other's links.
func (s *Service) SignInURL() string { return s.URL() + s.console.SignInPath(s.operatorToken) }
