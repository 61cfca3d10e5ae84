package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// settings gives a flag that is not on the command line its value from the environment or
// else from the configuration file.
//
// A flag of a command has its place below the words of that command, one that the commands of a
// group share has its own name: --listen of serve is {"serve": {"listen": …}}, --role of accounts
// create is {"accounts": {"create": {"role": …}}}, --server is {"server": …}. Environment variables
// are named the same way, ROLLCALL_ACCOUNTS_CREATE_ROLE, but for serve, whose variables leave its name out:
// ROLLCALL_LISTEN.
type settings struct {
	env    func(string) (string, bool)
	places map[*kong.Flag][]string
	file   map[string]any // by place, its names joined with dots
}

// learn finds the places of all flags.
func (s *settings) learn(k *kong.Kong) error {
	s.places = make(map[*kong.Flag][]string)
	var walk func(n *kong.Node, words []string)
	walk = func(n *kong.Node, words []string) {
		at := words
		if !n.Leaf() {
			at = nil // shared by all commands below
		}
		for _, f := range n.Flags {
			switch f.Name {
			case "help":
			case "server": // one for all commands, also for one that has no group
				s.places[f] = []string{f.Name}
			default:
				s.places[f] = append(slices.Clone(at), underscored(f.Name))
			}
		}
		for _, c := range n.Children {
			walk(c, append(slices.Clone(words), underscored(c.Name)))
		}
	}
	walk(k.Model.Node, nil)
	return nil
}

func dotted(place []string) string { return strings.Join(place, ".") }

func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

// variable returns the name of the environment variable of a place.
func variable(place []string) string {
	if place[0] == "serve" {
		place = place[1:]
	}
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
	// A variable that is set to nothing is a value too: none.
	if v, ok := s.env(variable(place)); ok {
		return v, nil
	}
	return s.file[dotted(place)], nil
}

// BeforeResolve reads the configuration file, before flags are resolved.
func (c *cli) BeforeResolve(ctx *kong.Context, s *settings) error {
	path, _ := s.env("ROLLCALL_CONFIG")
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
	var file map[string]any
	if !json.Valid(b) || !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		return fmt.Errorf("read the configuration %s: it must be one JSON object%s", path, flawOf(b))
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return fmt.Errorf("read the configuration %s: %w", path, err)
	}
	known := make(map[string]*kong.Flag) // nil for a group
	for f, place := range s.places {
		known[dotted(place)] = f
		for n := 1; n < len(place); n++ {
			known[dotted(place[:n])] = nil
		}
	}
	delete(known, "config") // one configuration does not lead to another
	s.file = make(map[string]any)
	if err := s.take(known, nil, file); err != nil {
		return fmt.Errorf("read the configuration %s: %w", path, err)
	}
	return nil
}

// flawOf tells where a text stops being JSON, nothing where it is.
func flawOf(b []byte) string {
	var flaw *json.SyntaxError
	if errors.As(json.Unmarshal(b, new(any)), &flaw) {
		return fmt.Sprintf("; behind %d bytes: %s", flaw.Offset, flaw)
	}
	return ""
}

// take keeps the settings of a group, which is at a place of the file.
func (s *settings) take(known map[string]*kong.Flag, at []string, group map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(group)) {
		place := append(slices.Clone(at), name)
		flag, ok := known[dotted(place)]
		below, isGroup := group[name].(map[string]any)
		var err error
		switch {
		case !ok || strings.Contains(name, "."):
			err = fmt.Errorf(`there is no setting %q; a flag of a command is named below it, like {"serve": {"listen": …}}, see the flags in --help`, dotted(place))
		case flag != nil:
			s.file[dotted(place)], err = setting(flag, dotted(place), group[name])
		case isGroup:
			err = s.take(known, place, below)
		default:
			err = fmt.Errorf(`%q is no setting but a group of them; write {%q: {…}} with the names of flags inside`, dotted(place), name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setting returns a value of the file as text, as it would stand on the command line, several for a flag
// that takes several, nil for null.
func setting(flag *kong.Flag, name string, value any) (any, error) {
	switch v := value.(type) {
	case nil, string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case []any:
		if flag.IsSlice() && !slices.ContainsFunc(v, func(item any) bool { _, text := item.(string); return !text }) {
			return v, nil
		}
	}
	if flag.IsSlice() {
		return nil, fmt.Errorf("the setting %q takes a text or a list of texts, and nothing else", name)
	}
	return nil, fmt.Errorf("the setting %q takes one value: a text, a number, true or false; it is a list or an object", name)
}
