package service

import (
	"errors"
	"fmt"

	"rollcall/handlers/console"
	"rollcall/projections"
)

// coded is an error under whose code the console has words for it, in the languages of its pages.
type coded struct {
	code string
	error
}

func (c coded) Unwrap() error { return c.error }

// because gives an error a code. No error stays none.
func because(code string, err error) error {
	if err == nil {
		return nil
	}
	return coded{code, err}
}

// noticeOf returns what the console tells of an error.
func noticeOf(err error) console.Notice {
	if err == nil {
		return console.Notice{}
	}
	n := console.Notice{Text: err.Error()}
	if halt, ok := errors.AsType[*projections.HaltError](err); ok {
		n.Code = "halted"
		if halt.LogDamaged() {
			n.Code = "log_damaged"
		}
	} else if c, ok := errors.AsType[coded](err); ok {
		n.Code = c.code
	}
	return n
}

// warn remembers what an operator should know of the deployment, and logs it.
func (s *Service) warn(code, format string, args ...any) {
	n := console.Notice{Code: code, Text: fmt.Sprintf(format, args...)}
	s.notices = append(s.notices, n)
	s.logger.Warn(n.Text)
}

// warnings returns what an operator should know of the deployment.
func (s *Service) warnings() (all []string) {
	for _, n := range s.notices {
		all = append(all, n.Text)
	}
	return all
}
