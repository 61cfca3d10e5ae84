package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// settings gives a flag that is not on the command line its value from the environment or
// else from the configuration file.
//
// A flag is named by its place: a flag of a group of commands or of a command that is in no group by
// its own name, a flag of a command within a group with the group before it. So --listen of serve is
// ROLLCALL_LISTEN and {"listen": …}, and --role of accounts create is
// ROLLCALL_ACCOUNTS_ROLE and {"accounts": {"role": …}}.
type settings struct {
	env    func(string) string
	places map[*kong.Flag][]string
	file   map[string]any
}

// learn finds the places of all flags.
func (s *settings) learn(k *kong.Kong) error {
	s.places = make(map[*kong.Flag][]string)
	var walk func(n *kong.Node, depth int)
	walk = func(n *kong.Node, depth int) {
		for _, f := range n.Flags {
			switch {
			case f.Name == "help":
			case depth == 2:
				s.places[f] = []string{underscored(n.Parent.Name), underscored(f.Name)}
			default:
				s.places[f] = []string{underscored(f.Name)}
			}
		}
		for _, c := range n.Children {
			walk(c, depth+1)
		}
	}
	walk(k.Model.Node, 0)
	return nil
}

func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

func variable(place []string) string {
	return "ROLLCALL_" + strings.ToUpper(strings.Join(place, "_"))
}

// describe adds the environment variable to the help of a flag.
func (s *settings) describe(v *kong.Value) string {
	if v.Flag == nil || s.places[v.Flag] == nil {
		return v.Help
	}
	return strings.TrimSpace(v.Help + " ($" + variable(s.places[v.Flag]) + ")")
}

// Validate implements kong.Resolver.
func (s *settings) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (s *settings) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	place, ok := s.places[f]
	if !ok {
		return nil, nil
	}
	if v := s.env(variable(place)); v != "" {
		return v, nil
	}
	var v any = s.file
	for _, name := range place {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, nil
		}
		v = m[name]
	}
	return v, nil
}

// BeforeResolve reads the configuration file, before flags are resolved.
func (c *cli) BeforeResolve(ctx *kong.Context, s *settings) error {
	path := s.env("ROLLCALL_CONFIG")
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Flag.Name == "config" {
			path, _ = ctx.FlagValue(p.Flag).(string)
		}
	}
	if path == "" {
		return nil
	}
	return s.read(path)
}

// read reads a configuration file. A name that no flag has is refused, so that a slip
// of the pen is not a setting that silently does nothing.
func (s *settings) read(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if err := json.Unmarshal(b, &s.file); err != nil {
		return fmt.Errorf("read the configuration %s: it must be one JSON object: %w", path, err)
	}
	var known []string
	for _, place := range s.places {
		known = append(known, strings.Join(place, "."))
	}
	for name, value := range s.file {
		names := []string{name}
		if group, ok := value.(map[string]any); ok {
			names = names[:0]
			for n := range group {
				names = append(names, name+"."+n)
			}
		}
		for _, n := range names {
			if !slices.Contains(known, n) {
				return fmt.Errorf("read the configuration %s: there is no setting %q; see the names of the flags in --help", path, n)
			}
		}
	}
	return nil
}
